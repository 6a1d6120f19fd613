package environ

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"polity.run/fault"
)

// The limits of a watched folder, and what it is watched by where nobody says.
const (
	FilesMax    = 100_000          // files that match
	SizeDefault = 64 << 20         // bytes of a file; a larger one is left out, and noted
	TextMax     = 64 << 10         // bytes of a file whose text is in the observation
	PollDefault = time.Second      // between two looks
	PollMin     = time.Millisecond // the shortest
	batch       = 1000             // entries that are read at once
)

// Folder is a folder in which files appear and change. A file is observed once it stands still: two looks found the same size
// and time. Symbolic links, files whose names begin with a dot, and folders below are not looked at.
//
// An observation's ID is the file's name and the digest of its content: the same content under the same name is observed once,
// however often it is written and whoever watches.
type Folder struct {
	Path    string        // of the folder
	Files   string        // which files, as in *.eml; "" for all
	Deleted bool          // whether a file that is gone is observed, too; only one that this source saw
	SizeMax int64         // bytes; 0 is SizeDefault
	Poll    time.Duration // 0 is PollDefault
	// Note is told what is left out, and why; nil for nobody.
	Note func(text string)
}

// fileInput is what an observation of a Folder says.
type fileInput struct {
	Event  string  `json:"event"` // file.created, file.changed or file.deleted
	File   string  `json:"file"`
	Folder string  `json:"folder_name"`
	Size   int64   `json:"size"` // bytes
	Digest string  `json:"digest"`
	Text   *string `json:"text,omitempty"` // if it is text and small
}

// Open returns the folder as a source. It returns fault.NotFound if there is no such folder, and fault.Invalid for a bad Folder.
// Once takes two looks.
func (f Folder) Open() (Source, error) {
	f.SizeMax, f.Poll = cmp.Or(f.SizeMax, SizeDefault), cmp.Or(f.Poll, PollDefault)
	if f.SizeMax < 0 || f.Poll < PollMin {
		return nil, fault.Invalid.New("folder %s: a size of %d bytes and a look each %s: want more", f.Path, f.SizeMax, f.Poll)
	}
	if err := CheckFiles(f.Files); err != nil {
		return nil, err
	}
	info, err := os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.NotFound.New("there is no folder %s to watch; make it first", f.Path)
	case err != nil:
		return nil, fault.Denied.New("folder %s: %w", f.Path, err)
	case !info.IsDir():
		return nil, fault.Invalid.New("%s is not a folder that could be watched", f.Path)
	}
	return &folder{Folder: f, known: map[string]*file{}}, nil
}

// CheckFiles returns fault.Invalid for a Folder.Files that is no pattern of names.
func CheckFiles(pattern string) error {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return fault.Invalid.New("%q is not a pattern of file names; write it as in *.eml", pattern)
	}
	if strings.ContainsRune(pattern, '/') {
		return fault.Invalid.New("%q reaches into folders; only the files of the folder itself are watched, as in *.eml", pattern)
	}
	return nil
}

type folder struct {
	Folder
	known map[string]*file
	looks int // so far
}

// look is how a file stood there.
type look struct {
	size     int64
	modified time.Time
}

// file is what is known of a file.
type file struct {
	now    look
	seen   int    // the last look that found it
	done   look   // how it stood when it was dealt with; zero before
	digest string // of the content that was observed last; "" if none was
}

func (f *folder) Name() string { return "folder " + f.Path }

func (f *folder) Run(ctx context.Context, emit Emit) error {
	for {
		if err := f.look(ctx, emit); err != nil {
			return err
		}
		if err := pause(ctx, f.Name(), f.Poll); err != nil {
			return err
		}
	}
}

func (f *folder) Once(ctx context.Context, emit Emit) error {
	if err := f.look(ctx, emit); err != nil {
		return err
	}
	if err := pause(ctx, f.Name(), f.Poll); err != nil {
		return err
	}
	return f.look(ctx, emit)
}

// look looks at the folder and emits what stands still and was not observed, the oldest first.
func (f *folder) look(ctx context.Context, emit Emit) error {
	still, err := f.list()
	if err != nil {
		return err
	}
	for _, name := range still {
		if ctx.Err() != nil {
			return ended(ctx, f.Name())
		}
		if err := f.observe(ctx, emit, name); err != nil {
			return err
		}
	}
	return f.forget(ctx, emit)
}

// list returns the files that stand still and were not dealt with, the oldest first.
func (f *folder) list() (still []string, err error) {
	dir, err := os.Open(f.Path)
	if err != nil {
		return nil, fault.Unavailable.New("folder %s: %w", f.Path, err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	f.looks++
	found := 0
	for {
		entries, err := dir.ReadDir(batch)
		for _, e := range entries {
			if !f.matches(e) {
				continue
			}
			if found++; found > FilesMax {
				return nil, fault.Full.New("folder %s: more than %d files match; move away what was dealt with", f.Path, FilesMax)
			}
			if f.note(e) {
				still = append(still, e.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault.Unavailable.New("folder %s: %w", f.Path, err)
		}
	}
	slices.SortFunc(still, func(a, b string) int {
		return cmp.Or(f.known[a].now.modified.Compare(f.known[b].now.modified), strings.Compare(a, b))
	})
	return still, nil
}

func (f *folder) matches(e fs.DirEntry) bool {
	name := e.Name()
	if !e.Type().IsRegular() || name[0] == '.' {
		return false
	}
	ok, err := filepath.Match(cmp.Or(f.Files, "*"), name)
	return ok && err == nil
}

// note remembers how a file stands there, and says whether it has to be dealt with.
func (f *folder) note(e fs.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false // it has just gone
	}
	now := look{info.Size(), info.ModTime()}
	k := f.known[e.Name()]
	if k == nil {
		k = &file{}
		f.known[e.Name()] = k
	}
	stands := k.now == now
	k.now, k.seen = now, f.looks
	return stands && k.done != now
}

// observe emits what is in a file, if that is news.
func (f *folder) observe(ctx context.Context, emit Emit, name string) error {
	k := f.known[name]
	input, moved, err := f.read(name, k.now)
	switch {
	case moved:
		return nil
	case err != nil:
		f.tell(fmt.Sprintf("file %s is left out: %v", name, err))
		k.done = k.now
		return nil
	case input.Digest == k.digest:
		k.done = k.now
		return nil
	}
	input.Event = "file.created"
	if k.digest != "" {
		input.Event = "file.changed"
	}
	o, err := observe(name+" "+input.Digest, time.Now(), input)
	if err == nil {
		err = emit(ctx, o)
	}
	if err == nil {
		k.done, k.digest = k.now, input.Digest
	}
	return err
}

func (f *folder) tell(text string) {
	if f.Note != nil {
		f.Note(text)
	}
}

// read reads a file. It says whether the file does not stand any more as it did.
func (f *folder) read(name string, stood look) (input *fileInput, moved bool, err error) {
	if !utf8.ValidString(name) {
		return nil, false, fault.Invalid.New("its name is not text")
	}
	if stood.size > f.SizeMax {
		return nil, false, fault.Invalid.New("it has %d bytes, which is more than %d", stood.size, f.SizeMax)
	}
	in, err := os.OpenFile(filepath.Join(f.Path, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	var head strings.Builder
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(sum, &limited{&head, TextMax + 1}), io.LimitReader(in, f.SizeMax+1))
	if err != nil {
		return nil, false, err
	}
	info, err := in.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() || n != stood.size || stood != (look{info.Size(), info.ModTime()}) {
		return nil, true, nil
	}
	input = &fileInput{File: name, Folder: filepath.Base(f.Path), Size: n, Digest: hex.EncodeToString(sum.Sum(nil))}
	if text := head.String(); n <= TextMax && utf8.ValidString(text) && !strings.ContainsRune(text, 0) {
		input.Text = &text
	}
	return input, false, nil
}

// limited keeps the first n bytes and lets the rest go.
type limited struct {
	to *strings.Builder
	n  int
}

func (l *limited) Write(p []byte) (int, error) {
	l.to.Write(p[:min(len(p), max(0, l.n-l.to.Len()))])
	return len(p), nil
}

// forget lets go of the files that two looks did not find, and emits that they are gone if that is wanted.
func (f *folder) forget(ctx context.Context, emit Emit) error {
	var gone []string
	for name, k := range f.known {
		if k.seen < f.looks-1 {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	for _, name := range gone {
		k := f.known[name]
		if f.Deleted && k.digest != "" {
			o, err := observe("deleted "+name+" "+k.digest, time.Now(),
				fileInput{Event: "file.deleted", File: name, Folder: filepath.Base(f.Path), Size: k.done.size, Digest: k.digest})
			if err == nil {
				err = emit(ctx, o)
			}
			if err != nil {
				return err
			}
		}
		delete(f.known, name)
	}
	return nil
}
