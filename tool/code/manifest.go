package code

import (
	"context"
	"errors"
	"path"
	"regexp"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// pin says how far a declaration fixes which version is used.
type pin uint8

const (
	exact  pin = iota // one version
	ranged            // from a range
	open              // any version
	local             // a folder
	remote            // a repository or an archive at some address
)

// dependency is one declaration of a manifest.
type dependency struct {
	name, version string
	pin           pin
	line          int // 0 if unknown
	text          string
	indirect      bool   // not used by the project itself
	dev           bool   // used for its development only
	fixed         bool   // remote, at one commit
	target        string // local: the folder
}

func (d dependency) evidence(file string) []polity.Evidence {
	if d.line == 0 {
		return whole(file)
	}
	return []polity.Evidence{at(file, d.line, d.text)}
}

// before1 says whether the version promises no compatibility: 0.x by semantic versioning.
func (d dependency) before1() bool {
	v := strings.TrimLeft(d.version, "^~=v ")
	return (d.pin == exact || d.pin == ranged) && strings.HasPrefix(v, "0.")
}

// manifest is a file that declares dependencies.
type manifest struct {
	path   string
	eco    *ecosystem
	deps   []dependency
	broken error
	lock   string // the lock file that fixes the versions, or ""
}

// ecosystem is how one package manager writes things down.
type ecosystem struct {
	name   string
	files  *regexp.Regexp // base names of its manifests
	parse  func(data []byte) ([]dependency, error)
	locks  []string // names of its lock files; none if it has no such thing
	semver bool     // versions below 1.0 promise no compatibility, by the ecosystem's rule
}

var ecosystems = []*ecosystem{
	{"Go", regexp.MustCompile(`^go\.mod$`), parseGoMod, []string{"go.sum"}, true},
	{"npm", regexp.MustCompile(`^package\.json$`), parsePackageJSON,
		[]string{"package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"}, true},
	{"pip", regexp.MustCompile(`^requirements[\w.-]*\.txt$`), parseRequirements, nil, false},
	{"Python", regexp.MustCompile(`^pyproject\.toml$`), parsePyproject, []string{"poetry.lock", "uv.lock", "pdm.lock", "pylock.toml"}, false},
	{"Pipenv", regexp.MustCompile(`^Pipfile$`), parsePipfile, []string{"Pipfile.lock"}, false},
	{"Cargo", regexp.MustCompile(`^Cargo\.toml$`), parseCargo, []string{"Cargo.lock"}, true},
	{"Maven", regexp.MustCompile(`^pom\.xml$`), parsePOM, nil, false},
	{"Gradle", regexp.MustCompile(`^build\.gradle(?:\.kts)?$`), parseGradle, []string{"gradle.lockfile"}, false},
	{"Bundler", regexp.MustCompile(`^Gemfile$`), parseGemfile, []string{"Gemfile.lock"}, false},
	{"Composer", regexp.MustCompile(`^composer\.json$`), parseComposer, []string{"composer.lock"}, false},
}

// errNoText is what is wrong with a manifest that cannot be read at all.
var errNoText = errors.New("its text cannot be read")

// errTooMany is what is wrong with a manifest that declares more than is judged.
var errTooMany = errors.New("the folder declares too many dependencies")

// depsMax is how many dependencies of a folder are judged.
const depsMax = 100_000

// manifests reads the manifests of the folder. Those of tests and examples are counted only. Beyond depsMax
// dependencies a manifest counts as one that cannot be read.
func (t *tree) manifests(ctx context.Context) (found []*manifest, aside int, err error) {
	total := 0
	for _, f := range t.files {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		eco := ecosystemOf(f.Path)
		if eco == nil {
			continue
		}
		if inSupport(f.Path) {
			aside++
			continue
		}
		data, kind := f.Read()
		m := &manifest{path: f.Path, eco: eco, lock: t.near(path.Dir(f.Path), eco.locks)}
		switch kind {
		case files.Binary, files.Large, files.Unread:
			m.broken = errNoText
		default:
			m.deps, m.broken = eco.parse(data)
		}
		if total+len(m.deps) > depsMax {
			m.deps, m.broken = nil, errTooMany
		}
		total += len(m.deps)
		found = append(found, m)
	}
	return found, aside, nil
}

func ecosystemOf(name string) *ecosystem {
	base := path.Base(name)
	for _, e := range ecosystems {
		if e.files.MatchString(base) {
			return e
		}
	}
	return nil
}

// lineFinder finds the lines that declare names, each search going on where the last one of that
// name ended. It serves formats whose parser gives no positions.
type lineFinder struct {
	lines lines
	words map[string][]int // the lines that may declare a word, as indices, for the searches to come
}

// wordsMax is how many words of a line a declaration is looked for among.
const wordsMax = 64

func newLineFinder(data []byte) *lineFinder {
	f := &lineFinder{lines: linesOf(data), words: map[string][]int{}}
	for i, line := range f.lines {
		words := strings.FieldsFunc(line, func(r rune) bool { return r < 128 && !isWord(byte(r)) })
		for _, w := range words[:min(len(words), wordsMax)] {
			if at := f.words[w]; len(at) == 0 || at[len(at)-1] != i {
				f.words[w] = append(at, i)
			}
		}
	}
	return f
}

// find returns the next line that declares the name (bare or quoted, at the line's beginning or
// after a bracket or comma), or 0.
func (f *lineFinder) find(name string) (int, string) {
	for candidates := f.words[name]; len(candidates) > 0; candidates = candidates[1:] {
		i := candidates[0]
		if declares(f.lines[i], name) {
			f.words[name] = candidates[1:]
			return i + 1, f.lines[i]
		}
	}
	delete(f.words, name)
	return 0, ""
}

// declares says whether a line that holds the name declares it: the name begins the line, is a table's, or
// stands in quotes of a list.
func declares(line, name string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(line, " \t\"'[{,"), name)
	if ok && (rest == "" || !isWord(rest[0])) {
		return true
	}
	return strings.HasPrefix(strings.TrimSpace(line), "[") || strings.Contains(line, `"`+name) || strings.Contains(line, `'`+name)
}

func isWord(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
