package files

import (
	"path"
	"strings"

	"polity.run/fault"
)

// GlobMax is the longest glob, in bytes.
const GlobMax = 512

// isGlob says whether a path has wildcards.
func isGlob(p string) bool { return strings.ContainsAny(p, "*?[") }

// Match says whether the glob matches the slash-separated path. Its parts match as by path.Match, so '*' stays
// within one name; a part "**" matches any number of folders, none included. So "*.go" matches in the
// folder itself only, and "**/*.go" in every folder. A malformed glob is fault.Invalid.
func Match(glob, name string) (bool, error) {
	parts, err := compileGlob(glob)
	if err != nil {
		return false, err
	}
	return parts.match(name), nil
}

type globParts []string

// compileGlob checks the glob once, so that matching cannot fail.
func compileGlob(glob string) (globParts, error) {
	if glob == "" || len(glob) > GlobMax {
		return nil, fault.Invalid.New("files: glob %.40q: want 1 to %d bytes", glob, GlobMax)
	}
	parts := globParts(strings.Split(glob, "/"))
	for _, p := range parts {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fault.Invalid.New("files: glob %q: part %q is malformed", glob, p)
		}
	}
	return parts, nil
}

// match walks glob and path together. reach[i] says whether the first i parts match the names so
// far, which keeps the work at parts times names whatever the glob is.
func (g globParts) match(name string) bool {
	reach := make([]bool, len(g)+1)
	reach[0] = true
	g.skipFolders(reach)
	for _, word := range strings.Split(name, "/") {
		next := make([]bool, len(g)+1)
		for i, part := range g {
			switch {
			case !reach[i]:
			case part == "**":
				next[i] = true
			default:
				ok, err := path.Match(part, word)
				next[i+1] = next[i+1] || (ok && err == nil)
			}
		}
		g.skipFolders(next)
		reach = next
	}
	return reach[len(g)]
}

// skipFolders lets each "**" that is reached match nothing.
func (g globParts) skipFolders(reach []bool) {
	for i, part := range g {
		if reach[i] && part == "**" {
			reach[i+1] = true
		}
	}
}
