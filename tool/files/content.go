package files

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"syscall"

	"polity.run/fault"
)

// Kind says what a file's content is.
type Kind uint8

// The kinds of content.
const (
	Text      Kind = iota + 1 // written by people, as far as one can tell
	Empty                     // no bytes
	Generated                 // text that says a program wrote it
	Minified                  // text that was packed by a program
	Binary                    // not text
	Large                     // text above the limit; not read
	Unread                    // could not be opened, or the limit of bytes in all was reached
)

// String returns the kind's word.
func (k Kind) String() string {
	words := [...]string{"?", "text", "empty", "generated", "minified", "binary", "large", "unread"}
	if int(k) >= len(words) {
		return "?"
	}
	return words[k]
}

// File is a regular file that a walk saw. It is as it was when the walk saw it.
type File struct {
	Path string // slash-separated, relative to the root
	Size int64
	Mode fs.FileMode

	walk *walk
	kind Kind // once read
}

// sniffMax is how much of a file tells whether it is text.
const sniffMax = 8000

// Read returns the content and its kind. Data is nil for Empty, Binary, Large and Unread, of which the
// walk's Tally takes note once. Each call reads the file anew and counts against the walk's limit; the caller
// owns the data.
func (f *File) Read() ([]byte, Kind) {
	data, kind := f.read()
	if f.kind == 0 {
		f.kind = kind
		f.note()
	}
	return data, kind
}

func (f *File) read() ([]byte, Kind) {
	switch {
	case f.Size == 0:
		return nil, Empty
	case binaryExt[strings.ToLower(path.Ext(f.Path))]:
		return nil, Binary
	case f.walk.tally.Bytes+min(f.Size, f.walk.limits.Bytes) > f.walk.limits.Total:
		return nil, Unread
	}
	limit := f.walk.limits.Bytes
	if f.Size > limit {
		limit = min(limit, sniffMax)
	}
	data, more, err := readFile(f.walk.root, f.Path, limit)
	if err != nil {
		return nil, Unread
	}
	f.walk.tally.Bytes += int64(len(data))
	switch {
	case isBinary(data):
		return nil, Binary
	case more:
		return nil, Large
	case isMinified(f.Path, data):
		return data, Minified
	case isGenerated(f.Path, data):
		return data, Generated
	default:
		return data, Text
	}
}

// note tells the tally what was left out.
func (f *File) note() {
	t := f.walk.tally
	switch f.kind {
	case Binary:
		t.binary.add(f.Path)
	case Minified:
		t.minified.add(f.Path)
	case Large:
		t.large.add(f.Path)
	case Unread:
		if t.Bytes+min(f.Size, f.walk.limits.Bytes) > f.walk.limits.Total {
			t.overBudget.add(f.Path)
		} else {
			t.closed.add(f.Path)
		}
	}
}

// readFile reads at most limit bytes of a regular file and says whether there are more. It never
// waits for a pipe that was put where a file had been.
func readFile(root *os.Root, name string, limit int64) (data []byte, more bool, err error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, fault.Invalid.New("files: read %q: not a regular file", name)
	}
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if int64(len(data)) > limit {
		return data[:limit], true, err
	}
	return data, false, err
}

// isBinary says whether the beginning of a file is not text. UTF-16 counts as binary: its lines cannot be quoted.
func isBinary(data []byte) bool {
	return bytes.IndexByte(data[:min(len(data), sniffMax)], 0) >= 0
}

// What packed text looks like.
const (
	packedLine = 5000 // bytes of the longest line of a script or style sheet
	packedMean = 300  // bytes of the average line
)

var packable = map[string]bool{".js": true, ".mjs": true, ".cjs": true, ".css": true, ".html": true, ".svg": true, ".json": true}

func isMinified(name string, data []byte) bool {
	ext := strings.ToLower(path.Ext(name))
	stem := strings.TrimSuffix(strings.ToLower(name), ext)
	if ext == ".map" || strings.HasSuffix(stem, ".min") || strings.HasSuffix(stem, "-min") {
		return true
	}
	if !packable[ext] {
		return false
	}
	longest, lines := 0, 1
	for _, line := range Lines(data) {
		longest, lines = max(longest, len(line)), lines+1
	}
	return longest > packedLine && len(data)/lines > packedMean
}

// generatedHead is where a generated file says that it is one: among its first bytes.
const generatedHead = 4096

var generatedMark = regexp.MustCompile(
	`(?m)^(//|#|--|/?\*+|<!--|;)?\s*(Code generated .*DO NOT EDIT\.?|.*@generated\b.*|.*(?i:automatically generated|auto-?generated) (by|from|file)\b.*)\s*(\*/|-->)?\s*$`)

// lockFiles are written by package managers.
var lockFiles = map[string]bool{
	"package-lock.json": true, "npm-shrinkwrap.json": true, "yarn.lock": true, "pnpm-lock.yaml": true, "bun.lock": true,
	"go.sum": true, "go.work.sum": true, "Cargo.lock": true, "Gemfile.lock": true, "composer.lock": true, "poetry.lock": true,
	"uv.lock": true, "pdm.lock": true, "Pipfile.lock": true, "gradle.lockfile": true, "flake.lock": true, "mix.lock": true,
}

func isGenerated(name string, data []byte) bool {
	if lockFiles[path.Base(name)] {
		return true
	}
	head := data[:min(len(data), generatedHead)]
	if path.Ext(name) == ".go" {
		return goGenerated.Match(data)
	}
	return generatedMark.Match(head)
}

// goGenerated is the convention of go.dev/s/generatedcode: the whole line, anywhere before the code.
var goGenerated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.\r?$`)

var binaryExt = extensions(".png .jpg .jpeg .gif .ico .bmp .webp .tif .tiff .psd .pdf .zip .gz .tgz .bz2 .xz .zst .7z .rar .tar " +
	".jar .war .class .so .dylib .dll .exe .a .lib .wasm .woff .woff2 .ttf .otf .eot .mp3 .mp4 .mov .avi .mkv .ogg .wav .flac " +
	".pyc .pyo .whl .db .sqlite .sqlite3 .parquet .npy .npz .onnx .pkl .pt .safetensors .h5 .docx .xlsx .pptx .iso .dmg .deb .rpm")

func extensions(list string) map[string]bool {
	m := map[string]bool{}
	for _, e := range strings.Fields(list) {
		m[e] = true
	}
	return m
}
