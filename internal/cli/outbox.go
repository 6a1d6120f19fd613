package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"polity.run"
	"polity.run/environ"
	"polity.run/fault"
)

const outboxMax = 10_000 // files that are looked at

// outbox is what was seen by polity watch and has no ended run yet: a file for each in the state folder, named after the run. It is
// written before the run is opened and goes when the run has ended, so that whatever is lost between the two is made up for by
// whoever watches next.
type outbox struct {
	dir    string
	onDisk bool // a file survives a power cut
}

// awaited is a file of the outbox.
type awaited struct {
	Organization string              `json:"organization"`
	Origin       string              `json:"origin"` // its key
	Seen         environ.Observation `json:"seen"`
}

// put writes a file, and returns when it is safe.
func (b outbox) put(id polity.RunID, a awaited) (err error) {
	defer func() {
		if err != nil {
			err = fault.Unavailable.New("watch: remember what was seen: %w", err)
		}
	}()
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(b.dir, string(id))
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if b.onDisk && err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil || !b.onDisk {
		return err
	}
	return syncFolder(b.dir)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// drop removes a file. One that a power cut brings back is of a run that has ended, and is dropped again.
func (b outbox) drop(id polity.RunID) error {
	if err := os.Remove(filepath.Join(b.dir, string(id))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Unavailable.New("watch: forget what is done: %w", err)
	}
	return nil
}

// list returns what an organization awaits. Files that cannot be understood are told to note, and stay.
func (b outbox) list(organization string, note func(format string, args ...any)) ([]awaited, error) {
	entries, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Denied.New("watch: %w", err)
	}
	if len(entries) > outboxMax {
		return nil, fault.Full.New("watch: %s holds more than %d files", b.dir, outboxMax)
	}
	var list []awaited
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".new") {
			continue // it was not finished, so nothing rests on it
		}
		data, err := os.ReadFile(filepath.Join(b.dir, e.Name()))
		var a awaited
		if err == nil {
			err = json.Unmarshal(data, &a)
		}
		if err != nil {
			note("note: %s is left alone: %s", filepath.Join(b.dir, e.Name()), clean(err.Error()))
			continue
		}
		if a.Organization == organization {
			list = append(list, a)
		}
	}
	return list, nil
}
