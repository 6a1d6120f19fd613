package files

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// entriesMax is how many entries of one folder are looked at.
const entriesMax = 200_000

// Limits bound a walk. A zero field takes the default that is named.
type Limits struct {
	Files int   // files seen; FilesMax
	Depth int   // folders inside each other; DepthMax
	Bytes int64 // of one file that is read; BytesMax
	Total int64 // of all files that are read; TotalMax
}

func (l Limits) orDefault() Limits {
	return Limits{
		Files: cmp.Or(l.Files, FilesMax), Depth: cmp.Or(l.Depth, DepthMax),
		Bytes: cmp.Or(l.Bytes, BytesMax), Total: cmp.Or(l.Total, TotalMax),
	}
}

// errFull ends a walk that reached its limit of files.
var errFull = errors.New("limit of files")

// Walk calls fn for every regular file below root, folder by folder in the order of their names, so the same
// folder is always walked in the same order. It does not follow symbolic links and does not enter
// version control, installed dependencies and build results (.git, node_modules, vendor ...); the
// returned Tally says what was left out. What cannot be looked at is tallied, never an error: Walk
// returns only ctx's error and fn's.
//
// The files given to fn may be read after Walk returned, while root is open. Walk and the
// files' reads belong to one goroutine.
func Walk(ctx context.Context, root *os.Root, l Limits, fn func(*File) error) (*Tally, error) {
	w := &walk{ctx: ctx, root: root, limits: l.orDefault(), tally: &Tally{}, fn: fn}
	err := w.folder(".", 0)
	if errors.Is(err, errFull) {
		w.tally.full = w.limits.Files
		err = nil
	}
	return w.tally, err
}

type walk struct {
	ctx    context.Context // of the one call to Walk
	root   *os.Root
	limits Limits
	tally  *Tally
	fn     func(*File) error
}

// folder walks one folder.
func (w *walk) folder(dir string, depth int) error {
	entries := w.entries(dir)
	present := make(map[string]bool, len(entries))
	for _, e := range entries {
		present[e.Name()] = true
	}
	for _, e := range entries {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(dir, e, depth, present); err != nil {
			return err
		}
	}
	return nil
}

// entry walks one entry of a folder.
func (w *walk) entry(dir string, e fs.DirEntry, depth int, present map[string]bool) error {
	name := path.Join(dir, e.Name())
	switch {
	case !utf8.ValidString(e.Name()):
		w.tally.names.add(strings.ToValidUTF8(name, "\uFFFD"))
	case e.IsDir() && outside(e.Name(), present):
		if !versionControl[e.Name()] {
			w.tally.folders.add(name)
		}
	case e.IsDir() && depth+1 > w.limits.Depth:
		w.tally.deep.add(name)
	case e.IsDir():
		return w.folder(name, depth+1)
	case e.Type()&fs.ModeSymlink != 0:
		w.tally.links.add(name)
	case e.Type().IsRegular():
		return w.file(name, e)
	default:
		w.tally.special.add(name)
	}
	return nil
}

func (w *walk) file(name string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		w.tally.closed.add(name)
		return nil
	}
	if w.tally.Files >= w.limits.Files {
		return errFull
	}
	w.tally.Files++
	return w.fn(&File{Path: name, Size: info.Size(), Mode: info.Mode(), walk: w})
}

// entries reads a folder in the order of its names.
func (w *walk) entries(dir string) []fs.DirEntry {
	f, err := w.root.Open(dir)
	if err != nil {
		w.tally.closed.add(dir)
		return nil
	}
	defer f.Close()
	entries, err := f.ReadDir(entriesMax)
	if err != nil && !errors.Is(err, io.EOF) {
		w.tally.closed.add(dir)
	}
	if len(entries) == entriesMax {
		w.tally.wide.add(dir)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

var versionControl = map[string]bool{".git": true, ".hg": true, ".svn": true, ".jj": true, ".bzr": true}

// foreign names folders that hold installed or cached things, wherever they are.
var foreign = map[string]bool{
	"node_modules": true, "bower_components": true, "vendor": true, ".venv": true, "__pycache__": true,
	".tox": true, ".nox": true, ".mypy_cache": true, ".pytest_cache": true, ".ruff_cache": true,
	".gradle": true, ".terraform": true, ".next": true, ".nuxt": true, ".cache": true, "site-packages": true,
}

// built names folders that hold build results if one of the named files stands beside them. Without
// one they are ordinary folders: go/build is a package.
var built = map[string][]string{
	"build":  {"package.json", "pyproject.toml", "setup.py", "build.gradle", "build.gradle.kts", "CMakeLists.txt", "pubspec.yaml"},
	"dist":   {"package.json", "pyproject.toml", "setup.py"},
	"out":    {"package.json", "build.gradle", "build.gradle.kts"},
	"target": {"Cargo.toml", "pom.xml", "build.sbt", "project.clj"},
	"venv":   {"requirements.txt", "pyproject.toml", "setup.py", "manage.py"},
}

// outside says whether a folder is not the project's own work.
func outside(name string, present map[string]bool) bool {
	if versionControl[name] || foreign[name] {
		return true
	}
	return slices.ContainsFunc(built[name], func(marker string) bool { return present[marker] })
}
