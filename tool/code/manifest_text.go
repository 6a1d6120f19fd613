package code

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"

	"polity.run/tool/files"
)

var (
	requirement = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*)$`)
	pipExact    = regexp.MustCompile(`^\(?={2,3}\s*[^*,\s]+\)?$`)
	pipAddress  = regexp.MustCompile(`^(?:git|hg|svn|bzr)\+|^(?:https?|file):`)
)

// parseRequirements reads a requirements.txt. Options other than -e are left out, and included files are read
// as the manifests they are.
func parseRequirements(data []byte) ([]dependency, error) {
	var deps []dependency
	continued := false
	for n, line := range files.Lines(data) {
		skip := continued
		continued = strings.HasSuffix(strings.TrimSpace(line), "\\")
		if skip {
			continue
		}
		d, ok := parseRequirement(strings.TrimSuffix(strings.TrimSpace(line), "\\"))
		if !ok {
			continue
		}
		d.line, d.text = n, line
		deps = append(deps, d)
	}
	return deps, nil
}

// parseRequirement reads one requirement of PEP 508, or a path or address that pip accepts instead.
func parseRequirement(s string) (dependency, bool) {
	if i := strings.Index(" "+s, " #"); i >= 0 {
		s = s[:i]
	}
	s, _, _ = strings.Cut(s, " --")
	s = strings.TrimSpace(s)
	for _, flag := range []string{"-e ", "--editable ", "--editable="} {
		if rest, ok := strings.CutPrefix(s, flag); ok {
			s = strings.TrimSpace(rest)
			break
		}
	}
	switch {
	case s == "" || strings.HasPrefix(s, "-"):
		return dependency{}, false
	case pipAddress.MatchString(s):
		return dependency{name: withoutUser(s), pin: remote, fixed: commitID.MatchString(s)}, true
	case strings.HasPrefix(s, ".") || strings.HasPrefix(s, "/"):
		return dependency{name: s, pin: local, target: s}, true
	}
	m := requirement.FindStringSubmatch(s)
	if m == nil {
		return dependency{}, false
	}
	return classifyPip(m[1], m[2]), true
}

var userInfo = regexp.MustCompile(`://[^/@\s]*@`)

// withoutUser removes a name and password from an address.
func withoutUser(address string) string { return userInfo.ReplaceAllString(address, "://") }

func classifyPip(name, rest string) dependency {
	spec, _, _ := strings.Cut(rest, ";")
	spec = strings.TrimSpace(spec)
	d := dependency{name: name, version: strings.TrimLeft(spec, "=~<>!() ")}
	switch address, at := strings.CutPrefix(spec, "@"); {
	case at:
		d.pin, d.version, d.fixed = remote, "", commitID.MatchString(address)
	case spec == "":
		d.pin = open
	case pipExact.MatchString(spec):
		d.pin = exact
	default:
		d.pin = ranged
	}
	return d
}

// parseGemfile reads the gem lines of a Gemfile, which is a program: what it computes is not seen.
func parseGemfile(data []byte) ([]dependency, error) {
	var deps []dependency
	for n, line := range files.Lines(data) {
		m := gemLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		d := dependency{name: m[1], line: n, text: line}
		options := m[2]
		versions := gemVersion.FindAllStringSubmatch(options, -1)
		switch {
		case gemPath.MatchString(options):
			d.pin, d.target = local, gemPath.FindStringSubmatch(options)[1]
		case gemRemote.MatchString(options):
			d.pin, d.fixed = remote, gemRef.MatchString(options)
		case len(versions) == 0:
			d.pin = open
		case len(versions) == 1 && npmExact.MatchString(strings.TrimSpace(strings.TrimPrefix(versions[0][1], "="))):
			d.pin, d.version = exact, versions[0][1]
		default:
			d.pin, d.version = ranged, versions[0][1]
		}
		deps = append(deps, d)
	}
	return deps, nil
}

var (
	gemLine    = regexp.MustCompile(`^\s*gem\s*\(?\s*['"]([^'"]+)['"]([^#]*)`)
	gemVersion = regexp.MustCompile(`^\s*,\s*['"]([^'"]+)['"]`)
	gemPath    = regexp.MustCompile(`(?:\bpath:|:path\s*=>)\s*['"]([^'"]+)['"]`)
	gemRemote  = regexp.MustCompile(`\b(?:git|github|gitlab|bitbucket|gist):|:(?:git|github)\s*=>`)
	gemRef     = regexp.MustCompile(`(?:\bref:|:ref\s*=>)\s*['"][0-9a-f]{7,40}['"]`)
)

// parseGradle reads the declarations of a Gradle build whose coordinates are written out. A build is a program:
// what it computes or takes from a catalogue is not seen.
func parseGradle(data []byte) ([]dependency, error) {
	var deps []dependency
	for n, line := range files.Lines(data) {
		m := gradleLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		d := dependency{name: m[2] + ":" + m[3], version: m[4], line: n, text: line, pin: mavenPin(m[4])}
		d.dev = strings.HasPrefix(strings.ToLower(m[1]), "test")
		deps = append(deps, d)
	}
	return deps, nil
}

var gradleLine = regexp.MustCompile(
	`^\s*(\w*(?:[iI]mplementation|[aA]pi|[cC]ompile|[cC]ompileOnly|[rR]untime|[rR]untimeOnly|classpath|kapt|ksp|annotationProcessor))\s*\(?\s*['"]([^'":]+):([^'":]+):([^'":@]+)`)

func mavenPin(v string) pin {
	switch {
	case v == "LATEST" || v == "RELEASE" || v == "+" || strings.HasPrefix(v, "latest.") || strings.HasSuffix(v, "-SNAPSHOT"):
		return open
	case strings.ContainsAny(v, "[(,+"):
		return ranged
	default:
		return exact
	}
}

// parsePOM reads the dependencies of a pom.xml. One without a version has it from elsewhere and is left out.
func parsePOM(data []byte) ([]dependency, error) {
	dec := xml.NewDecoder(bytes.NewReader(data))
	dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	find := newLineFinder(data)
	var deps []dependency
	var open []string
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return deps, nil
		}
		if err != nil {
			return nil, err
		}
		switch e := token.(type) {
		case xml.StartElement:
			if e.Name.Local == "dependency" && len(open) > 0 && open[len(open)-1] == "dependencies" {
				d, err := pomDependency(dec, e, find)
				if err != nil {
					return nil, err
				}
				if d.version != "" {
					deps = append(deps, d)
				}
				continue
			}
			open = append(open, e.Name.Local)
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
}

func pomDependency(dec *xml.Decoder, start xml.StartElement, find *lineFinder) (dependency, error) {
	var e struct {
		Group    string `xml:"groupId"`
		Artifact string `xml:"artifactId"`
		Version  string `xml:"version"`
		Scope    string `xml:"scope"`
	}
	line, _ := dec.InputPos()
	if err := dec.DecodeElement(&e, &start); err != nil {
		return dependency{}, err
	}
	version := strings.TrimSpace(e.Version)
	d := dependency{name: strings.TrimSpace(e.Group) + ":" + strings.TrimSpace(e.Artifact), version: version,
		pin: mavenPin(version), dev: strings.TrimSpace(e.Scope) == "test"}
	last, _ := dec.InputPos()
	for n := line; n <= last && n <= len(find.lines); n++ {
		if strings.Contains(find.lines[n-1], "<version>") {
			d.line, d.text = n, find.lines[n-1]
			break
		}
	}
	return d, nil
}
