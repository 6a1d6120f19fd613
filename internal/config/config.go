// Package config reads the file of settings.
//
// It exists so that a setting that is misspelled is an error with its line, and not a default.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"polity.run/fault"
)

const fileMax = 1 << 20 // bytes

// Setting is one of a file.
type Setting struct {
	Values []string // more than one for a list
	Line   int
}

// Read reads a file of TOML: settings by their names, each a text, a number, true or false, or a list of texts. It returns fault.NotFound if there is none,
// and fault.Invalid, with all problems, for what is not known or cannot be.
func Read(path string, known []string) (map[string]Setting, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("config: there is no %s", path)
	}
	if err != nil {
		return nil, fault.Denied.New("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err != nil {
		return nil, fault.Denied.New("config: %w", err)
	}
	if len(data) > fileMax {
		return nil, fault.Invalid.New("config: %s is larger than %d bytes", path, fileMax)
	}
	return parse(path, string(data), known)
}

func parse(path, text string, known []string) (map[string]Setting, error) {
	var raw map[string]any
	if err := toml.Unmarshal([]byte(text), &raw); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return nil, fault.Invalid.New("%s:%d:%d: this is not TOML: %s", path, line, column, strings.TrimPrefix(at.Error(), "toml: "))
		}
		return nil, fault.Invalid.New("%s: this is not TOML: %w", path, err)
	}
	all := map[string]Setting{}
	var wrong []error
	for _, name := range sorted(raw, text) {
		line := lineOf(text, name)
		if !slices.Contains(known, name) {
			near := ""
			if n := fault.Nearest(name, known); n != "" {
				near = "; did you mean " + n + "?"
			}
			wrong = append(wrong, fault.Invalid.New("%s:%d: there is no setting %s%s", path, line, name, near))
			continue
		}
		values, ok := valuesOf(raw[name])
		if !ok {
			wrong = append(wrong, fault.Invalid.New("%s:%d: %s: want a text, a number, true or false, or a list of texts", path, line, name))
			continue
		}
		all[name] = Setting{values, line}
	}
	return all, errors.Join(wrong...)
}

// sorted are the names of settings in the order of the file.
func sorted(raw map[string]any, text string) []string {
	names := make([]string, 0, len(raw))
	for name := range raw {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := lineOf(text, a) - lineOf(text, b); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return names
}

// lineOf is the line on which a setting, or the table of its name, begins, from 1; 0 if it is written in some other way.
func lineOf(text, name string) int {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimLeft(line, " \t[\"'")
		if rest, ok := strings.CutPrefix(line, name); ok && strings.ContainsAny(rest[:min(1, len(rest))], " \t=].\"'") {
			return n
		}
	}
	return 0
}

func valuesOf(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case bool, int64, float64:
		return []string{fmt.Sprint(v)}, true
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			text, ok := e.(string)
			if !ok {
				return nil, false
			}
			list = append(list, text)
		}
		return list, true
	default:
		return nil, false
	}
}
