package manifest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"polity.run/fault"
)

// open finds the manifest that path means and reads it. It returns the file's own path.
func open(path string) (string, []byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
		info, err = os.Stat(path)
	}
	if err != nil {
		return path, nil, outside(path, err)
	}
	path = filepath.Clean(path)
	if !info.Mode().IsRegular() {
		return path, nil, Problems{{File: path, Text: "this is not a regular file"}}
	}
	f, err := os.Open(path)
	if err != nil {
		return path, nil, outside(path, err)
	}
	defer f.Close()
	data, err := readAll(f, info, SizeMax)
	if errors.Is(err, fault.Invalid) {
		return path, nil, Problems{{File: path, Text: err.Error(), Fix: "move instructions and schemas to files of their own"}}
	}
	if err != nil {
		return path, nil, outside(path, err)
	}
	return path, data, nil
}

// outside words why the manifest itself cannot be read.
func outside(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.NotFound.New("manifest: open: there is no file %s; name a manifest or a folder that holds %s", path, FileName)
	case errors.Is(err, fs.ErrPermission):
		return fault.Denied.New("manifest: open: %w", err)
	default:
		return fault.Unavailable.New("manifest: open: %w", err)
	}
}

// readAll reads a file of at most limit bytes. A larger one is refused by its size, before it is
// read, and one that grows meanwhile at the limit.
func readAll(f io.Reader, info fs.FileInfo, limit int) ([]byte, error) {
	if info.Size() > int64(limit) {
		return nil, fault.Invalid.New("the file has %d bytes; at most %d are allowed", info.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fault.Invalid.New("the file has more than %d bytes", limit)
	}
	return data, nil
}

// folder is the manifest's folder. Nothing outside it can be read: neither by "..", nor by an
// absolute path, nor through a symbolic link.
type folder struct{ root *os.Root }

func openFolder(manifest string) (*folder, error) {
	root, err := os.OpenRoot(filepath.Dir(manifest))
	if err != nil {
		return nil, outside(manifest, err)
	}
	return &folder{root}, nil
}

// close gives the folder back. Its error cannot matter: nothing was written.
func (d *folder) close() { _ = d.root.Close() }

// read returns a regular file's content and whether it may be executed. The name has slashes. The
// error is one clause for a Problem, always fault.Invalid: the manifest names what cannot be used.
func (d *folder) read(name string, limit int) (data []byte, executable bool, err error) {
	if err := inside(name); err != nil {
		return nil, false, err
	}
	name = filepath.FromSlash(name)
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, false, unreadable(name, err)
	}
	if info.IsDir() {
		return nil, false, fault.Invalid.New("%s is a folder; name a file", shown(name))
	}
	if !info.Mode().IsRegular() {
		return nil, false, fault.Invalid.New("%s is not a regular file", shown(name))
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, false, unreadable(name, err)
	}
	defer f.Close()
	data, err = readAll(f, info, limit)
	if err != nil && !errors.Is(err, fault.Invalid) {
		err = unreadable(name, err)
	}
	return data, info.Mode()&0o111 != 0, err
}

// inside refuses a name that could not be in the folder, whatever is on the disk.
func inside(name string) error {
	switch {
	case name == "" || strings.ContainsAny(name, "\x00\\"):
		return fault.Invalid.New("%s is not a file's name", shown(name))
	case strings.HasPrefix(name, "/"):
		return fault.Invalid.New("%s is an absolute path; name a file of the manifest's folder", shown(name))
	case !filepath.IsLocal(filepath.FromSlash(name)):
		return fault.Invalid.New("%s leaves the manifest's folder; copy the file into it", shown(name))
	default:
		return nil
	}
}

func unreadable(name string, err error) error {
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Invalid.New("there is no file %s in the manifest's folder", shown(name))
	case errors.As(err, &at):
		return fault.Invalid.New("file %s: %w", shown(name), at.Err)
	default:
		return fault.Invalid.New("file %s: %w", shown(name), err)
	}
}
