package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
	return b.write(filepath.Join(b.dir, string(id)), data)
}

// write writes a file of a folder that is there, whole or not at all.
func (b outbox) write(path string, data []byte) error {
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
	return syncFolder(filepath.Dir(path))
}

// since says when a source was first watched, which is now if it was not yet.
func (b outbox) since(organization, origin string, now time.Time) (began time.Time, err error) {
	data, err := b.kept("since", organization, origin)
	if err == nil && data == nil {
		return now, b.note("since", organization, origin, now.UTC().AppendFormat(nil, time.RFC3339Nano))
	}
	if err != nil {
		return now, err
	}
	return time.Parse(time.RFC3339Nano, string(data))
}

// position is how far a source has read, and whether that was ever kept.
func (b outbox) position(organization, origin string) (at uint64, known bool, err error) {
	data, err := b.kept("position", organization, origin)
	if err != nil || data == nil {
		return 0, false, err
	}
	at, err = strconv.ParseUint(string(data), 10, 64)
	if err != nil {
		return 0, false, fault.Damaged.New("watch: how far was read: %w", err)
	}
	return at, true, nil
}

// keep keeps how far a source has read.
func (b outbox) keep(organization, origin string, at uint64) error {
	return b.note("position", organization, origin, strconv.AppendUint(nil, at, 10))
}

// notePath is where something is noted of a source.
func (b outbox) notePath(what, organization, origin string) string {
	return filepath.Join(b.dir, "since", string(polity.NewRunID(0, fmt.Appendf(nil, "%s\n%s\n%s", what, organization, origin))))
}

// kept returns what was noted of a source; nil for nothing.
func (b outbox) kept(what, organization, origin string) ([]byte, error) {
	data, err := os.ReadFile(b.notePath(what, organization, origin))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Unavailable.New("watch: %s of a source: %w", what, err)
	}
	return data, nil
}

// note notes something of a source, in place of what was noted before.
func (b outbox) note(what, organization, origin string, data []byte) error {
	path := b.notePath(what, organization, origin)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = b.write(path, data)
	}
	if err != nil {
		return fault.Unavailable.New("watch: %s of a source: %w", what, err)
	}
	return nil
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
		if e.IsDir() || strings.HasSuffix(e.Name(), ".new") {
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
