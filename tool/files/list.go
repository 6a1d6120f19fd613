package files

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"polity.run/fault"
	"polity.run/tool"
)

// The limits of one listing.
const (
	listDefault = 500
	listMax     = 5_000
	listBytes   = 1 << 20 // of the paths together
	extMax      = 64
)

// List is the input of files.list.
type List struct {
	Glob  string   `json:"glob,omitempty" jsonschema:"glob over the whole path, such as *.go or **/*.go; ** matches any folders"`
	Ext   []string `json:"ext,omitempty" jsonschema:"extensions such as .go; empty for every file"`
	After string   `json:"after,omitempty" jsonschema:"list only what comes after this path, to continue an earlier listing"`
	Max   int      `json:"max,omitempty" jsonschema:"most files to list; default 500, at most 5000"`
}

// Listing is the output of files.list.
type Listing struct {
	Files []Entry  `json:"files"`
	More  int      `json:"more,omitempty"` // files that match and come after the last one listed
	Notes []string `json:"notes,omitempty"`
}

// Entry is one file of a listing.
type Entry struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

func list(ctx context.Context, c tool.Call, in List) (Listing, error) {
	choose, err := in.filter()
	if err != nil {
		return Listing{}, err
	}
	if in.Max < 0 || in.Max > listMax {
		return Listing{}, fault.Invalid.New("files.list: max %d: want 1 to %d", in.Max, listMax)
	}
	root, err := Open(c.Folder)
	if err != nil {
		return Listing{}, err
	}
	defer root.Close()
	out, room := Listing{Files: []Entry{}}, listBytes
	tally, err := Walk(ctx, root, Limits{}, func(f *File) error {
		if !choose(f.Path) {
			return nil
		}
		if len(out.Files) == cmp.Or(in.Max, listDefault) || len(f.Path) > room {
			room = 0 // what follows is counted, so that the listing has no gap
			out.More++
			return nil
		}
		room -= len(f.Path)
		out.Files = append(out.Files, Entry{f.Path, f.Size})
		return nil
	})
	if err != nil {
		return Listing{}, err
	}
	out.Notes = tally.Notes()
	if len(out.Files) == 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("None of %d files matches.", tally.Files))
	}
	return out, nil
}

// filter returns the choice of files that the input describes.
func (in List) filter() (func(string) bool, error) {
	var glob globParts
	if in.Glob != "" {
		var err error
		if glob, err = compileGlob(in.Glob); err != nil {
			return nil, err
		}
	}
	if len(in.Ext) > extMax {
		return nil, fault.Invalid.New("files.list: %d extensions; at most %d are allowed", len(in.Ext), extMax)
	}
	for _, e := range in.Ext {
		if !strings.HasPrefix(e, ".") {
			return nil, fault.Invalid.New("files.list: extension %.40q: did you mean %.40q?", e, "."+e)
		}
	}
	return func(p string) bool {
		return (glob == nil || glob.match(p)) && (len(in.Ext) == 0 || slices.Contains(in.Ext, path.Ext(p))) &&
			(in.After == "" || comparePaths(p, in.After) > 0)
	}, nil
}

// comparePaths orders paths as Walk does: name by name.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}
