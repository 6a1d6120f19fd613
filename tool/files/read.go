package files

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"

	"polity.run/fault"
	"polity.run/tool"
)

// The limits of one reading.
const (
	readDefault = 200
	readMax     = 2_000   // lines
	readBytes   = 1 << 20 // of the lines together
	rowMax      = 2_000   // bytes of a line
)

// Read is the input of files.read.
type Read struct {
	Path  string `json:"path" jsonschema:"slash-separated path within the folder"`
	From  int    `json:"from,omitempty" jsonschema:"first line, from 1"`
	Lines int    `json:"lines,omitempty" jsonschema:"how many lines; default 200, at most 2000"`
}

// Page is the output of files.read.
type Page struct {
	Path  string   `json:"path"`
	Size  int64    `json:"size"`
	Total int      `json:"total"` // lines of the file, as far as it was read
	Lines []Row    `json:"lines"`
	Notes []string `json:"notes,omitempty"`
}

// Row is one line of a file.
type Row struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

func read(_ context.Context, c tool.Call, in Read) (Page, error) {
	if in.From < 0 || in.Lines < 0 || in.Lines > readMax {
		return Page{}, fault.Invalid.New("files.read: from %d, lines %d: want a first line from 1 and at most %d lines", in.From, in.Lines, readMax)
	}
	name, err := local(in.Path)
	if err != nil {
		return Page{}, err
	}
	root, err := Open(c.Folder)
	if err != nil {
		return Page{}, err
	}
	defer root.Close()
	info, err := stat(root, name)
	if err != nil {
		return Page{}, err
	}
	data, more, err := readFile(root, name, BytesMax)
	if err != nil {
		return Page{}, wrap("files.read", err)
	}
	page := Page{Path: name, Size: info.Size(), Lines: []Row{}}
	switch {
	case isBinary(data):
		page.Notes = append(page.Notes, "The file is binary and was not read.")
		return page, nil
	case more:
		page.Notes = append(page.Notes, fmt.Sprintf("Only the first %d bytes of the file were read.", BytesMax))
	}
	page.fill(data, cmp.Or(in.From, 1), cmp.Or(in.Lines, readDefault))
	return page, nil
}

// fill takes the wanted lines.
func (p *Page) fill(data []byte, from, count int) {
	room, long := readBytes, 0
	for n, line := range Lines(data) {
		p.Total = n
		if n < from || len(p.Lines) == count || room <= 0 {
			continue
		}
		text := cutRow(line)
		if len(text) < len(line) {
			long++
		}
		room -= len(text)
		p.Lines = append(p.Lines, Row{n, text})
	}
	if long > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d lines were cut at %d bytes.", long, rowMax))
	}
	if from > p.Total {
		p.Notes = append(p.Notes, fmt.Sprintf("The file has %d lines; none from %d on.", p.Total, from))
	}
}

// stat returns what is known of a regular file: NotFound where nothing is, Denied for a link that
// leads out of the folder, Invalid for what is no regular file.
func stat(root *os.Root, name string) (fs.FileInfo, error) {
	info, err := root.Stat(name)
	switch {
	case err == nil && info.Mode().IsRegular():
		return info, nil
	case err == nil && info.IsDir():
		return nil, fault.Invalid.New("files: %q is a folder", name)
	case err == nil:
		return nil, fault.Invalid.New("files: %q is not a regular file", name)
	case escapes(err):
		return nil, fault.Denied.New("files: %q is a link that leads out of the folder", name)
	case absent(err):
		return nil, fault.NotFound.New("files: %q does not exist", name)
	default:
		return nil, wrap("files: look at", err)
	}
}

// cutRow cuts a line for reading. Unlike a quotation it keeps its indentation.
func cutRow(line string) string {
	if len(line) <= rowMax {
		return line
	}
	return Cut(line, rowMax)
}
