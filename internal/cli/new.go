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

	"polity.run/examples"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/pattern"
)

// templates holds a folder for each template. Its README.md begins with "# NAME: what it is", and the lines of its first console
// block are what to do next.
//
//go:embed all:templates
var templates embed.FS

const (
	templateDefault = "review"
	schemaName      = "polity.schema.json" // as the templates' manifests name it
)

const newHelp = `Make a folder with an organization that runs at once, offline: a manifest, scenarios that test it,
and a README.md with the next commands. Nothing that is there already is overwritten.

With --pattern it is the example of an organization's pattern instead of a template.

Templates:
`

func (a *app) newNew() *cobra.Command {
	names, about := templateList()
	template, which := choice{value: templateDefault, allowed: names}, choice{allowed: patternList()}
	force := false
	cmd := &cobra.Command{
		Use: "new DIR", Short: "Make a folder with an organization that runs at once", Long: newHelp + about,
		Example: "  polity new shop\n  polity new shop --template desk\n  polity new shop --pattern sequence", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case force:
				return usagef("new overwrites nothing, so there is no --force: name another folder, or delete what is there")
			case which.value != "" && cmd.Flags().Changed("template"):
				return usagef("--template and --pattern do not go together")
			case which.value != "":
				return a.make(args[0], patternStarter(which.value))
			default:
				return a.make(args[0], templateStarter(template.value))
			}
		},
	}
	cmd.Flags().VarP(&template, "template", "t", "what to begin with")
	cmd.Flags().VarP(&which, "pattern", "p", "begin with the example of this pattern")
	cmd.Flags().BoolVar(&force, "force", false, "is refused")
	if err := cmd.Flags().MarkHidden("force"); err != nil {
		panic("cli: " + err.Error()) // it was added above
	}
	return cmd
}

// starter is a folder to begin with.
type starter struct {
	name  string
	files fs.FS
	// local makes what a file says true in a folder of its own; nil for a file that says so already.
	local func(name, text string) string
}

func templateStarter(name string) starter {
	return starter{name, within(templates, path.Join("templates", name)), nil}
}

// patternHub is the pattern whose example is a template, since the one of this repository looks at source code.
const patternHub = "hub"

// patternStarter is the example of a pattern. What it says of its place in this repository is made true for the new folder.
func patternStarter(name string) starter {
	if name == patternHub {
		return templateStarter(templateDefault)
	}
	return starter{name, within(examples.Files, name), func(file, text string) string {
		text = strings.ReplaceAll(text, "$schema=../../"+schemaName, "$schema="+schemaName)
		if path.Ext(file) != ".md" {
			return text
		}
		text = guideLink.ReplaceAllString(text, "$1")
		text = strings.ReplaceAll(text, "examples/"+name+"/", "")
		return strings.ReplaceAll(text, "examples/"+name, ".")
	}}
}

// guideLink is a link to a page that a new folder does not have.
var guideLink = regexp.MustCompile(`\[([^\]]+)\]\(\.\./[^)]*\)`)

func within(files fs.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic("cli: " + dir + " is not in the program: " + err.Error())
	}
	return sub
}

// patternList lists the patterns that there is an example of, in the order of their documentation.
func patternList() []string {
	return slices.DeleteFunc(pattern.Names(), func(name string) bool {
		_, err := fs.Stat(examples.Files, name)
		return err != nil && name != patternHub
	})
}

// templateList returns the names of the templates, and a line about each.
func templateList() (names []string, about string) {
	entries, err := templates.ReadDir("templates")
	if err != nil {
		panic("cli: the templates are not in the program: " + err.Error())
	}
	for _, e := range entries {
		names = append(names, e.Name())
		title, _, _ := strings.Cut(templateStarter(e.Name()).readme(), "\n")
		name, what, _ := strings.Cut(strings.TrimPrefix(title, "# "), ": ")
		about += "  " + name + strings.Repeat(" ", max(1, 10-len(name))) + what + "\n"
	}
	return names, strings.TrimSuffix(about, "\n")
}

func (s starter) readme() string {
	data, err := s.read("README.md")
	if err != nil {
		panic("cli: " + s.name + " has no README.md: " + err.Error())
	}
	return string(data)
}

func (s starter) read(name string) ([]byte, error) {
	data, err := fs.ReadFile(s.files, name)
	if err == nil && s.local != nil {
		data = []byte(s.local(name, string(data)))
	}
	return data, err
}

var (
	consoleBlock = regexp.MustCompile("(?ms)^```console\n(.*?)^```")
	consoleLine  = regexp.MustCompile(`(?m)^\$ (.*)$`)
)

// next are the commands that the README.md shows first.
func (s starter) next() []string {
	var lines []string
	for _, m := range consoleLine.FindAllStringSubmatch(consoleBlock.FindString(s.readme()), -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// make writes a starter into a folder.
func (a *app) make(dir string, s starter) error {
	files, err := s.all()
	if err != nil {
		return err
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	text := clean(dir) + ": " + s.name + ", " + count(len(files), "file") + "\n\n  cd " + clean(dir) + "\n"
	for _, line := range s.next() {
		text += "  " + line + "\n"
	}
	return a.out([]byte(text))
}

// all are the files by their paths, and the schema of manifests for editors.
func (s starter) all() (map[string][]byte, error) {
	schema, err := manifest.Schema()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{schemaName: append(schema, '\n')}
	err = fs.WalkDir(s.files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[name], err = s.read(name)
		return err
	})
	if err != nil {
		return nil, fault.Internal.New("new: %s: %w", s.name, err)
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
