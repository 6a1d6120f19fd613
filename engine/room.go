package engine

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// Room says what takes how much room in a state folder, the largest first. A node may serve it meanwhile, so that it is a moment's picture. It
// returns fault.NotFound if nothing ran with the folder, and fault.Denied if it cannot be read.
func Room(state string) ([]polity.Room, error) {
	if _, err := parts(state); err != nil {
		return nil, err
	}
	sums := map[string]*polity.Room{}
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // it went while we looked
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(state, path)
		if err != nil {
			return err
		}
		name := partOf(filepath.ToSlash(rel))
		if sums[name] == nil {
			sums[name] = &polity.Room{Part: name}
		}
		sums[name].Files++
		sums[name].Bytes += info.Size()
		return nil
	})
	if err != nil {
		return nil, fault.Denied.New("state folder: %w", err)
	}
	all := make([]polity.Room, 0, len(sums))
	for _, r := range sums {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b polity.Room) int {
		if a.Bytes != b.Bytes {
			return int(min(max(b.Bytes-a.Bytes, -1), 1))
		}
		return strings.Compare(a.Part, b.Part)
	})
	return all, nil
}

// partOf names the part of a state folder that a file belongs to.
func partOf(path string) string {
	first, rest, deeper := strings.Cut(path, "/")
	switch {
	case !deeper:
		return "other"
	case first == "blobs":
		return "documents"
	case first == "dormant":
		return "checkpoints and trails"
	case first != "store":
		return first
	}
	for _, dir := range strings.Split(rest, "/") {
		if name, ok := strings.CutPrefix(dir, bus.BucketPrefix); ok {
			return name
		}
		if dir == bus.LogStream("p0") {
			return "log"
		}
	}
	return "store"
}
