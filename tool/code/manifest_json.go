package code

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"

	"polity.run/tool/files"
)

// errObject says that a manifest is no JSON object.
var errObject = errors.New("not a JSON object")

// member is a name and its text in an object of a JSON file.
type member struct {
	section, name, value string
	line                 int
	text                 string
}

// members returns the text members of the named sections of a JSON object, with their lines. It
// checks the whole file.
func members(data []byte, sections map[string]bool) ([]member, error) {
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	var lines []string
	for _, l := range files.Lines(data) {
		lines = append(lines, l)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var out []member
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		section, _ := key.(string)
		if !sections[section] {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return nil, err
			}
			continue
		}
		if out, err = sectionMembers(dec, section, data, lines, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func checkJSON(data []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	if object == nil {
		return errObject
	}
	return nil
}

// sectionMembers reads one section, which begins at the decoder. A section that is no object has no members.
func sectionMembers(dec *json.Decoder, section string, data []byte, lines []string, out []member) ([]member, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	base := int(dec.InputOffset()) - len(raw)
	seen, line := base, 1+bytes.Count(data[:base], []byte{'\n'})
	inner := json.NewDecoder(bytes.NewReader(raw))
	if first, err := inner.Token(); err != nil || first != json.Delim('{') {
		return out, nil
	}
	for inner.More() {
		key, err := inner.Token()
		if err != nil {
			return nil, err
		}
		here := base + int(inner.InputOffset())
		line += bytes.Count(data[seen:here], []byte{'\n'})
		seen = here
		var value any
		if err := inner.Decode(&value); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		name, _ := key.(string)
		text, ok := value.(string)
		if !ok {
			continue
		}
		m := member{section: section, name: name, value: text, line: line}
		if line <= len(lines) {
			m.text = lines[line-1]
		}
		out = append(out, m)
	}
	return out, nil
}

// parsePackageJSON reads a package.json. Peer dependencies are left out: they are meant to be ranges.
func parsePackageJSON(data []byte) ([]dependency, error) {
	all, err := members(data, map[string]bool{"dependencies": true, "devDependencies": true, "optionalDependencies": true})
	if err != nil {
		return nil, err
	}
	var deps []dependency
	for _, m := range all {
		d := dependency{name: m.name, version: m.value, line: m.line, text: m.text, dev: m.section == "devDependencies"}
		d.classifyNPM(m.value)
		deps = append(deps, d)
	}
	return deps, nil
}

var (
	npmExact  = regexp.MustCompile(`^[=v]*\d+\.\d+\.\d+(?:[-+][\w.+-]*)?$`)
	npmRemote = regexp.MustCompile(`^(?:git[+:@]|https?:|ssh:|github:|gitlab:|bitbucket:|gist:|[\w.-]+/[\w.-]+(?:#|$))`)
	commitID  = regexp.MustCompile(`[#@/=]([0-9a-f]{40}|[0-9a-f]{64})\b`)
)

func (d *dependency) classifyNPM(v string) {
	v = strings.TrimSpace(v)
	if rest, ok := strings.CutPrefix(v, "npm:"); ok {
		v = rest[strings.LastIndexByte(rest, '@')+1:]
		d.version = v
	}
	switch {
	case strings.HasPrefix(v, "file:"), strings.HasPrefix(v, "link:"), strings.HasPrefix(v, "portal:"):
		_, target, _ := strings.Cut(v, ":")
		d.pin, d.target = local, target
	case strings.HasPrefix(v, "workspace:"), strings.HasPrefix(v, "catalog:"):
		d.pin, d.target = local, "."
	case v == "", v == "*", v == "x", v == "latest", v == "next":
		d.pin = open
	case npmExact.MatchString(v):
		d.pin = exact
	case npmRemote.MatchString(v):
		d.pin, d.fixed = remote, commitID.MatchString(v)
	default:
		d.pin = ranged
	}
}

// parseComposer reads a composer.json. PHP itself and its extensions are not dependencies.
func parseComposer(data []byte) ([]dependency, error) {
	all, err := members(data, map[string]bool{"require": true, "require-dev": true})
	if err != nil {
		return nil, err
	}
	var deps []dependency
	for _, m := range all {
		if !strings.Contains(m.name, "/") {
			continue
		}
		d := dependency{name: m.name, version: m.value, line: m.line, text: m.text, dev: m.section == "require-dev", pin: ranged}
		switch v := strings.TrimSpace(m.value); {
		case v == "*" || v == "" || strings.HasPrefix(v, "dev-"):
			d.pin = open
		case npmExact.MatchString(v):
			d.pin = exact
		}
		deps = append(deps, d)
	}
	return deps, nil
}
