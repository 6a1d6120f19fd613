package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"polity.run/fault"
)

// The limits of a folder that a run is given.
const (
	folderFilesMax = 100_000 // files, links and folders
	folderBytesMax = 2 << 30 // bytes of all files together
	gitFileMax     = 4 << 20 // bytes of a file of version control
)

// folderLimits are the limits in force. Tests have smaller ones.
type folderLimits struct {
	files int
	bytes int64
}

// folderDigest names what is in a folder: a run that is asked about the same content is the same run, and
// one that is asked after a change is a new one. It covers paths, types, sizes and contents, of
// symbolic links where they point to, and of version control only which commit is checked out. The
// folder skip is left out. Special files are never opened.
func folderDigest(ctx context.Context, root, skip string, limits folderLimits) (string, error) {
	d := &digester{ctx: ctx, root: root, skip: skip, limits: limits, sum: sha256.New(), buf: make([]byte, 64<<10)}
	if err := filepath.WalkDir(root, d.visit); err != nil {
		if fault.Of(err).Kind != fault.Internal {
			return "", err
		}
		return "", fault.Denied.New("folder %s: cannot be read as a whole: %w", root, err)
	}
	return hex.EncodeToString(d.sum.Sum(nil)), nil
}

type digester struct {
	ctx    context.Context // of the one call to folderDigest
	root   string
	skip   string
	limits folderLimits
	files  int
	bytes  int64
	sum    hash.Hash
	buf    []byte
}

// visit adds one entry. WalkDir comes in the order of names.
func (d *digester) visit(path string, entry fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case d.ctx.Err() != nil:
		return fault.Cancelled.New("folder %s: %w", d.root, context.Cause(d.ctx))
	case path == d.root:
		return nil
	case path == d.skip:
		return filepath.SkipDir
	}
	if d.files++; d.files > d.limits.files {
		return fault.Full.New("folder %s: more than %d files; name a smaller folder with --in, or use --new, which looks at no content",
			d.root, d.limits.files)
	}
	name, err := filepath.Rel(d.root, path)
	if err != nil {
		return err
	}
	name = filepath.ToSlash(name)
	switch mode := entry.Type(); {
	case entry.IsDir() && entry.Name() == ".git":
		d.line("git %q %s", name, headCommit(path))
		return filepath.SkipDir
	case entry.IsDir():
		d.line("folder %q", name)
		return nil
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		d.line("link %q %q", name, target)
		return err
	case mode.IsRegular():
		return d.file(path, name)
	default:
		d.line("special %q %s", name, mode)
		return nil
	}
}

func (d *digester) line(format string, args ...any) { fmt.Fprintf(d.sum, format+"\n", args...) }

// file adds a file's content. It reads no more than the size that is left.
func (d *digester) file(path, name string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer closeInto(&err, f)
	content := sha256.New()
	n, err := io.CopyBuffer(content, io.LimitReader(f, d.limits.bytes-d.bytes+1), d.buf)
	if err != nil {
		return err
	}
	if d.bytes += n; d.bytes > d.limits.bytes {
		return fault.Full.New("folder %s: more than %d MiB; name a smaller folder with --in, or use --new, which looks at no content",
			d.root, d.limits.bytes>>20)
	}
	d.line("file %q %d %x", name, n, content.Sum(nil))
	return nil
}

// headCommit returns the commit that is checked out, or what stands for it if that cannot be told.
func headCommit(git string) string {
	head, err := gitFile(filepath.Join(git, "HEAD"))
	if err != nil {
		return "none"
	}
	head = strings.TrimSpace(head)
	ref, ok := strings.CutPrefix(head, "ref: ")
	if !ok {
		return head
	}
	if !filepath.IsLocal(ref) {
		return "none"
	}
	if commit, err := gitFile(filepath.Join(git, filepath.FromSlash(ref))); err == nil {
		return strings.TrimSpace(commit)
	}
	packed, err := gitFile(filepath.Join(git, "packed-refs"))
	if err != nil {
		return ref // nothing is committed yet
	}
	for line := range strings.Lines(packed) {
		if commit, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return commit
		}
	}
	return ref
}

func gitFile(path string) (text string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > gitFileMax {
		return "", errors.New("not a file that version control writes")
	}
	data, err := os.ReadFile(path)
	return string(data), err
}

// realFolder returns a folder's absolute path without symbolic links.
func realFolder(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fault.Invalid.New("folder %s: %w", path, err)
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.NotFound.New("there is no folder %s", path)
	}
	if err != nil {
		return "", fault.Denied.New("folder %s: %w", path, err)
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return "", fault.Denied.New("folder %s: %w", path, err)
	}
	if !info.IsDir() {
		return "", fault.Invalid.New("%s is not a folder; --in names the folder to look at", path)
	}
	return resolved, nil
}
