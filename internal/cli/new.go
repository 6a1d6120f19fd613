package cli

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polity.run/fault"
	"polity.run/manifest"
)

// templates holds a folder for each template. Its README.md begins with "# NAME: what it is", and the lines of its console block
// are what to do next.
//
//go:embed all:templates
var templates embed.FS

const (
	templateDefault = "review"
	schemaName      = "polity.schema.json" // as the templates' manifests name it
)

const newHelp = `Make a folder with an organization that runs at once, offline: a manifest, scenarios that test it,
and a README.md with the next commands. Nothing that is there already is overwritten.

Templates:
`

func (a *app) newNew() *cobra.Command {
	names, about := templateList()
	template := choice{value: templateDefault, allowed: names}
	force := false
	cmd := &cobra.Command{
		Use: "new DIR", Short: "Make a folder with an organization that runs at once", Long: newHelp + about,
		Example: "  polity new shop\n  polity new shop --template desk", Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if force {
				return usagef("new overwrites nothing, so there is no --force: name another folder, or delete what is there")
			}
			return a.make(args[0], template.value)
		},
	}
	cmd.Flags().VarP(&template, "template", "t", "what to begin with")
	cmd.Flags().BoolVar(&force, "force", false, "is refused")
	if err := cmd.Flags().MarkHidden("force"); err != nil {
		panic("cli: " + err.Error()) // it was added above
	}
	return cmd
}

// templateList returns the names of the templates, and a line about each.
func templateList() (names []string, about string) {
	entries, err := templates.ReadDir("templates")
	if err != nil {
		panic("cli: the templates are not in the program: " + err.Error())
	}
	for _, e := range entries {
		names = append(names, e.Name())
		title, _, _ := strings.Cut(readme(e.Name()), "\n")
		name, what, _ := strings.Cut(strings.TrimPrefix(title, "# "), ": ")
		about += "  " + name + strings.Repeat(" ", max(1, 10-len(name))) + what + "\n"
	}
	return names, strings.TrimSuffix(about, "\n")
}

func readme(template string) string {
	data, err := templates.ReadFile(path.Join("templates", template, "README.md"))
	if err != nil {
		panic("cli: template " + template + " has no README.md: " + err.Error())
	}
	return string(data)
}

var consoleLine = regexp.MustCompile(`(?m)^\$ (.*)$`)

// nextCommands are the commands that a template's README.md shows.
func nextCommands(template string) []string {
	var lines []string
	for _, m := range consoleLine.FindAllStringSubmatch(readme(template), -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// make writes a template into a folder.
func (a *app) make(dir, template string) error {
	files, err := templateFiles(template)
	if err != nil {
		return err
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	text := clean(dir) + ": " + template + ", " + count(len(files), "file") + "\n\n  cd " + clean(dir) + "\n"
	for _, line := range nextCommands(template) {
		text += "  " + line + "\n"
	}
	return a.out([]byte(text))
}

// templateFiles are a template's files by their paths within it, and the schema of manifests for editors.
func templateFiles(template string) (map[string][]byte, error) {
	schema, err := manifest.Schema()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{schemaName: append(schema, '\n')}
	root := path.Join("templates", template)
	err = fs.WalkDir(templates, root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[strings.TrimPrefix(name, root+"/")], err = templates.ReadFile(name)
		return err
	})
	if err != nil {
		return nil, fault.Internal.New("template %s: %w", template, err)
	}
	return files, nil
}

// writeNew writes files into a folder, which it makes if there is none. If one of them is there already, it writes nothing.
func writeNew(dir string, files map[string][]byte) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Denied.New("new: %w; name a folder that can be made", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fault.Denied.New("new: %w", err)
	}
	defer closeInto(&err, root)
	var names, taken []string
	for name := range files {
		names = append(names, name)
		if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			taken = append(taken, name)
		}
	}
	slices.Sort(names)
	if slices.Sort(taken); len(taken) > 0 {
		return fault.Conflict.New("new: there already: %s; nothing is overwritten and nothing was written: name another folder",
			strings.Join(taken, ", "))
	}
	for _, name := range names {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fault.Denied.New("new: %w", err)
		}
		if err := writeOne(root, name, files[name]); err != nil {
			return fault.Denied.New("new: %w", err)
		}
	}
	return nil
}

func writeOne(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
