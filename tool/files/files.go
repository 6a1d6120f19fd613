// Package files looks at the files of one folder: it lists them, reads them, and checks that a
// citation of them is true.
//
// It exists so that whoever reads a folder on behalf of an agent does it in one way: confined to
// the folder, bounded, and with the same answer each time. Everything is opened through an os.Root,
// so no path and no symbolic link leads out. A reader's life is
//
//	Open(folder) -> Walk(root, limits, fn) -> File.Read -> Quote(line) -> evidence -> files.cite
//
// [Tools] makes the three tools: files.list, files.read and files.cite.
package files

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
)

// The limits of a walk where Limits names none.
const (
	FilesMax = 50_000    // files seen
	DepthMax = 40        // folders inside each other
	BytesMax = 1 << 20   // bytes of one file that is read
	TotalMax = 128 << 20 // bytes of all files that are read
)

// version is the version of the tools: it changes when the same folder would be answered otherwise.
const version = "1"

// Tools returns the tools of this package. Each reads only below its call's folder and changes nothing.
func Tools() ([]tool.Tool, error) {
	list, err := tool.Func(tool.Spec{
		Name: "files.list", Version: version, Effect: polity.EffectNone,
		Description: "List the files of the folder by glob and extension, with their sizes.",
	}, list)
	if err != nil {
		return nil, err
	}
	read, err := tool.Func(tool.Spec{
		Name: "files.read", Version: version, Effect: polity.EffectNone,
		Description: "Read numbered lines of one text file.",
	}, read)
	if err != nil {
		return nil, err
	}
	cite, err := tool.Func(tool.Spec{
		Name: "files.cite", Version: version, Effect: polity.EffectNone,
		Description: "Check that each citation is true of the folder: the line says it, or the file is missing.",
	}, cite)
	if err != nil {
		return nil, err
	}
	return []tool.Tool{list, read, cite}, nil
}

// Open opens the folder that a call may read. The caller closes the root. It returns fault.Invalid
// for a call without a folder and for a path that is not absolute or no folder, fault.NotFound where nothing
// is, and fault.Denied where this process may not look.
func Open(folder string) (*os.Root, error) {
	if folder == "" {
		return nil, fault.Invalid.New("files: open: the call names no folder")
	}
	if !filepath.IsAbs(folder) {
		return nil, fault.Invalid.New("files: open %q: want an absolute path", folder)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return nil, wrap("files: open", err)
	}
	if !info.IsDir() {
		return nil, fault.Invalid.New("files: open %q: not a folder", folder)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, wrap("files: open", err)
	}
	return root, nil
}

// wrap gives an error of the file system its kind.
func wrap(verb string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.NotFound.New("%s: %w", verb, err)
	case errors.Is(err, fs.ErrPermission):
		return fault.Denied.New("%s: %w", verb, err)
	default:
		return fault.Failed.New("%s: %w", verb, err)
	}
}

// local returns a name as a clean slash-separated path inside the folder, or an Invalid fault.
func local(name string) (string, error) {
	if name == "" {
		return "", fault.Invalid.New("files: a path is needed")
	}
	if strings.IndexByte(name, 0) >= 0 || !utf8.ValidString(name) {
		return "", fault.Invalid.New("files: path %.80q: not text", name)
	}
	clean := path.Clean(name)
	if !filepath.IsLocal(filepath.FromSlash(clean)) {
		return "", fault.Invalid.New("files: path %.80q leads out of the folder", name)
	}
	return clean, nil
}

// absent says whether err means that nothing has the path.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// escapes says whether err is an os.Root's refusal to leave it. The os package gives it no name.
func escapes(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && strings.Contains(p.Err.Error(), "escapes")
}
