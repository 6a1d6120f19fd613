package code

import (
	"errors"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// errNoModule is what is wrong with a go.mod that names no module.
var errNoModule = errors.New("it names no module")

// parseGoMod reads a go.mod. Replacements stand among the dependencies, since they decide what is built.
func parseGoMod(data []byte) ([]dependency, error) {
	f, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		return nil, err
	}
	if f.Module == nil {
		return nil, errNoModule
	}
	lines := strings.Split(string(data), "\n")
	text := func(l *modfile.Line) (int, string) {
		if l == nil || l.Start.Line < 1 || l.Start.Line > len(lines) {
			return 0, ""
		}
		return l.Start.Line, lines[l.Start.Line-1]
	}
	var deps []dependency
	for _, r := range f.Require {
		d := dependency{name: r.Mod.Path, version: r.Mod.Version, indirect: r.Indirect}
		d.line, d.text = text(r.Syntax)
		deps = append(deps, d)
	}
	for _, r := range f.Replace {
		if r.New.Version != "" {
			continue
		}
		d := dependency{name: r.Old.Path, pin: local, target: r.New.Path}
		d.line, d.text = text(r.Syntax)
		deps = append(deps, d)
	}
	return deps, nil
}

// isPseudo says whether a Go version names a commit that nobody released.
func isPseudo(version string) bool { return module.IsPseudoVersion(version) }
