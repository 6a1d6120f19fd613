package code

import (
	"context"
	"os"
	"path"
	"regexp"
	"strings"

	"polity.run/tool/files"
)

// tree is the folder under review.
type tree struct {
	root   *os.Root
	folder string
	files  []*files.File // in the order of a walk
	index  map[string]*files.File
	tally  *files.Tally
}

// survey lists the folder. The caller closes the root.
func survey(ctx context.Context, folder string) (*tree, error) {
	root, err := files.Open(folder)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, folder: folder, index: map[string]*files.File{}}
	t.tally, err = files.Walk(ctx, root, files.Limits{}, func(f *files.File) error {
		t.files = append(t.files, f)
		t.index[f.Path] = f
		return nil
	})
	if err != nil {
		root.Close()
		return nil, err
	}
	return t, nil
}

// has says whether the folder has the file.
func (t *tree) has(name string) bool { return t.index[name] != nil }

// text returns a file's text, and whether there is one to judge. Generated text counts.
func (t *tree) text(name string) ([]byte, bool) {
	f := t.index[name]
	if f == nil {
		return nil, false
	}
	data, kind := f.Read()
	return data, kind == files.Text || kind == files.Generated
}

// find returns the files whose path matches.
func (t *tree) find(re *regexp.Regexp) []string {
	var names []string
	for _, f := range t.files {
		if re.MatchString(f.Path) {
			names = append(names, f.Path)
		}
	}
	return names
}

// near returns the first of the named files that is in the folder dir or one above it, or "".
func (t *tree) near(dir string, names []string) string {
	for {
		for _, n := range names {
			if p := path.Join(dir, n); t.has(p) {
				return p
			}
		}
		if dir == "." {
			return ""
		}
		dir = path.Dir(dir)
	}
}

// source is a file of source code with its text.
type source struct {
	*files.File
	lang *language
	data []byte
	kind files.Kind
}

// sources reads every file of a known language. Its error is ctx's or fn's.
func (t *tree) sources(ctx context.Context, fn func(source) error) error {
	for _, f := range t.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		lang := languageOf(f.Path)
		if lang == nil {
			continue
		}
		data, kind := f.Read()
		if kind != files.Text && kind != files.Generated {
			continue
		}
		if err := fn(source{f, lang, data, kind}); err != nil {
			return err
		}
	}
	return nil
}

// support names folders whose files help the project's work and are not shipped with it.
var support = map[string]bool{
	"test": true, "tests": true, "testing": true, "testdata": true, "testutil": true, "__tests__": true, "__mocks__": true, "__fixtures__": true,
	"spec": true, "specs": true, "e2e": true, "fixture": true, "fixtures": true, "mock": true, "mocks": true,
	"example": true, "examples": true, "sample": true, "samples": true, "demo": true, "demos": true, "_examples": true,
	"bench": true, "benchmark": true, "benchmarks": true, "third_party": true,
}

// supporting says whether a file is a test or stands in a folder of tests, fixtures or examples.
func supporting(name string) bool {
	if l := languageOf(name); l != nil && l.isTest(name) {
		return true
	}
	return inSupport(name)
}

func inSupport(name string) bool {
	dir := path.Dir(name)
	for _, part := range strings.Split(strings.ToLower(dir), "/") {
		if support[part] {
			return true
		}
	}
	return false
}
