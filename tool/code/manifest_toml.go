package code

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// tomlMax is the longest TOML manifest that is read, in bytes. The time that its parser takes grows with the square
// of the number of keys.
const tomlMax = 128 << 10

// errLong is what is wrong with a manifest that is longer than any that people write.
var errLong = fmt.Errorf("it is longer than %d bytes", tomlMax)

// table is a TOML table.
type table = map[string]any

// readTOML reads a manifest.
func readTOML(data []byte) (table, error) {
	if len(data) > tomlMax {
		return nil, errLong
	}
	var doc table
	if err := toml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// sub returns the table at the path, or nil.
func sub(t table, path ...string) table {
	for _, p := range path {
		t, _ = t[p].(table)
	}
	return t
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// versioner classifies a version's text.
type versioner func(v string) pin

// entries reads a table of dependencies: a name with a version, or with a table.
func entries(t table, dev bool, classify versioner, find *lineFinder) []dependency {
	var deps []dependency
	for _, name := range slices.Sorted(maps.Keys(t)) {
		d := dependency{name: name, dev: dev}
		switch v := t[name].(type) {
		case string:
			d.version, d.pin = v, classify(v)
		case table:
			if inherited, _ := v["workspace"].(bool); inherited {
				continue
			}
			d.fromTable(v, classify)
		default:
			continue
		}
		d.line, d.text = find.find(name)
		deps = append(deps, d)
	}
	return deps
}

func (d *dependency) fromTable(v table, classify versioner) {
	d.version = text(v["version"])
	switch {
	case v["path"] != nil:
		d.pin, d.target = local, text(v["path"])
	case v["git"] != nil || v["url"] != nil || v["file"] != nil:
		d.pin, d.fixed = remote, len(text(v["rev"])) >= 7 || len(text(v["ref"])) == 40
	default:
		d.pin = classify(d.version)
	}
}

// parseCargo reads a Cargo.toml. A bare version is a range there.
func parseCargo(data []byte) ([]dependency, error) {
	doc, err := readTOML(data)
	if err != nil {
		return nil, err
	}
	find := newLineFinder(data)
	deps := cargoTables(doc, find)
	deps = append(deps, entries(sub(doc, "workspace", "dependencies"), false, cargoPin, find)...)
	targets := sub(doc, "target")
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		deps = append(deps, cargoTables(sub(targets, name), find)...)
	}
	return deps, nil
}

func cargoTables(t table, find *lineFinder) []dependency {
	deps := entries(sub(t, "dependencies"), false, cargoPin, find)
	deps = append(deps, entries(sub(t, "dev-dependencies"), true, cargoPin, find)...)
	return append(deps, entries(sub(t, "build-dependencies"), true, cargoPin, find)...)
}

func cargoPin(v string) pin {
	switch v = strings.TrimSpace(v); {
	case v == "*" || v == "":
		return open
	case strings.HasPrefix(v, "=") && !strings.Contains(v, "*"):
		return exact
	default:
		return ranged
	}
}

// parsePyproject reads a pyproject.toml: the standard's lists (PEP 621, PEP 735) and Poetry's tables.
func parsePyproject(data []byte) ([]dependency, error) {
	doc, err := readTOML(data)
	if err != nil {
		return nil, err
	}
	find := newLineFinder(data)
	deps := listed(sub(doc, "project")["dependencies"], false, find)
	for _, group := range []table{sub(doc, "project", "optional-dependencies"), sub(doc, "dependency-groups")} {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			deps = append(deps, listed(group[name], true, find)...)
		}
	}
	poetry := sub(doc, "tool", "poetry")
	deps = append(deps, entries(withoutPython(sub(poetry, "dependencies")), false, poetryPin, find)...)
	deps = append(deps, entries(sub(poetry, "dev-dependencies"), true, poetryPin, find)...)
	groups := sub(poetry, "group")
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		deps = append(deps, entries(sub(groups, name, "dependencies"), true, poetryPin, find)...)
	}
	return deps, nil
}

func withoutPython(t table) table {
	t = maps.Clone(t)
	delete(t, "python")
	return t
}

// listed reads a list of requirements.
func listed(v any, dev bool, find *lineFinder) []dependency {
	items, _ := v.([]any)
	var deps []dependency
	for _, item := range items {
		d, ok := parseRequirement(text(item))
		if !ok {
			continue
		}
		d.dev = dev
		d.line, d.text = find.find(d.name)
		deps = append(deps, d)
	}
	return deps
}

var poetryExact = regexp.MustCompile(`^={0,3}\s*\d[\w.+!-]*$`)

func poetryPin(v string) pin {
	switch v = strings.TrimSpace(v); {
	case v == "*" || v == "":
		return open
	case poetryExact.MatchString(v):
		return exact
	default:
		return ranged
	}
}

// parsePipfile reads a Pipfile.
func parsePipfile(data []byte) ([]dependency, error) {
	doc, err := readTOML(data)
	if err != nil {
		return nil, err
	}
	find := newLineFinder(data)
	deps := entries(sub(doc, "packages"), false, poetryPin, find)
	return append(deps, entries(sub(doc, "dev-packages"), true, poetryPin, find)...), nil
}
