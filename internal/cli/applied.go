package cli

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"polity.run/fault"
	"polity.run/manifest"
)

const (
	manifestsMax = 1000 // of a folder
	headMax      = 100  // lines of a file that are looked at for what it is
)

// manifestsOf returns the manifests of a file or a folder: the file; or polity.yaml, other *.yaml that are manifests, and one folder deep the same.
func manifestsOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.NotFound.New("there is no %s", path)
	case err != nil:
		return nil, fault.Denied.New("%w", err)
	case !info.IsDir():
		return []string{path}, nil
	}
	list, below, err := foundIn(path)
	if err != nil {
		return nil, err
	}
	for _, dir := range below {
		more, _, err := foundIn(dir)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	if len(list) > manifestsMax {
		return nil, fault.Full.New("%s holds %d manifests; the most is %d", path, len(list), manifestsMax)
	}
	return list, nil
}

// foundIn returns the manifests of one folder, and the folders in it.
func foundIn(dir string) (list, below []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fault.Denied.New("%w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch ext := filepath.Ext(e.Name()); {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			below = append(below, path)
		case e.Name() == "polity.yaml":
			list = append(list, path)
		case ext == ".yaml" || ext == ".yml":
			is, err := isManifest(path)
			if err != nil {
				return nil, nil, err
			}
			if is {
				list = append(list, path)
			}
		}
	}
	return list, below, nil
}

// isManifest says whether a file has "polity:" at the beginning of a line before anything else but comments, and so means to be one, and no "scenarios:" after it,
// which say what is expected of one.
func isManifest(path string) (is bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fault.Denied.New("%w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 0; lines.Scan() && n < headMax; n++ {
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "polity:"):
			is = true
		case is && strings.HasPrefix(text, "scenarios:"):
			return false, nil
		case is || strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") || text == "---":
		default:
			return false, nil
		}
	}
	return is, nil // what is no text is no manifest, too
}

// loadAll reads all manifests of files and folders, and tells everything that is wrong in any of them.
func (a *app) loadAll(paths []string) ([]*manifest.Manifest, error) {
	var files []string
	for _, path := range paths {
		more, err := manifestsOf(path)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			return nil, fault.NotFound.New("%s holds no manifest: no polity.yaml, and no other *.yaml that begins with \"polity:\"", path)
		}
		files = append(files, more...)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	var all []*manifest.Manifest
	var wrong []error
	for _, path := range files {
		m, err := a.load(path)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		all = append(all, m)
	}
	return all, errors.Join(wrong...)
}
