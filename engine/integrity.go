package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/backup"
	"polity.run/internal/bus"
	"polity.run/internal/run"
)

// parts names the parts of a state folder.
func parts(state string) (backup.State, error) {
	if at, err := natsOf(state); err != nil || at != "" {
		return backup.State{}, errors.Join(err, fault.Unavailable.New("the log of the state folder %s is not in it, but on the NATS server %s: with documents and keys; look at them and back them up there, as with: nats account backup", state, at))
	}
	if _, err := os.Stat(filepath.Join(state, "store")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return backup.State{}, fault.NotFound.New("nothing ran yet with the state folder %s", state)
		}
		return backup.State{}, fault.Denied.New("state folder: %w", err)
	}
	blobs, err := run.OpenBlobs(filepath.Join(state, "blobs"), false)
	return backup.State{
		Store: filepath.Join(state, "store"), Log: "p0", Blobs: blobs, Anchor: filepath.Join(state, "anchor"),
		Watch: filepath.Join(state, "watch"), Names: naming,
	}, err
}

// naming says what a state names beside what its log does.
var naming = backup.Names{Release: pinned, Record: named}

// named says which release a record names, that a backup has to hold though no run has it: that of an organization whose agents have addresses.
func named(bucket string, value []byte) (Digest, error) {
	if bucket != orgsBucket {
		return Digest{}, nil
	}
	var in installed
	if err := json.Unmarshal(value, &in); err != nil {
		return Digest{}, fault.Damaged.New("it is no installed organization: %w", err)
	}
	if in.Release == "" { // it was removed
		return Digest{}, nil
	}
	return parseDigest(in.Release)
}

// Check reads everything in a state folder from the files, without a node and without changing anything, and says what is damaged: every
// commit of the log and their chain, the anchor, every document that the log names, and the records of memories, facts and topics. A node may
// serve the folder meanwhile. tell, if not nil, is told of the progress, from the calling goroutine. It returns fault.NotFound if nothing ran
// with the folder, and fault.Denied if something cannot be read; damage is no error.
func Check(ctx context.Context, state string, tell func(polity.Progress)) (polity.Integrity, error) {
	s, err := parts(state)
	if err != nil {
		return polity.Integrity{}, err
	}
	return backup.Check(ctx, s, tell)
}

// Backup writes everything that the node's state holds now into a new file, while the node goes on. It returns fault.Conflict if there is
// such a file, fault.Damaged if the state is damaged, and fault.Full if there is no room. A file that could not be written as a whole is
// removed. See Restore.
func (e *Engine) Backup(ctx context.Context, path string, tell func(polity.Progress)) (polity.Backup, error) {
	s, err := parts(e.state)
	if err != nil {
		return polity.Backup{}, err
	}
	e.dropping.RLock()
	defer e.dropping.RUnlock()
	return backupTo(ctx, path, s, reading(e.bus), false, tell)
}

// Salvage writes the sound part of a damaged state into a new file: the log up to the first damage, and the documents, memories, facts and events that can be
// read. No node may serve the folder, which is not changed; beside the file there has to be room for a copy of memories, facts and events. The file says
// what was damaged.
func Salvage(ctx context.Context, state, path string, tell func(polity.Progress)) (b polity.Backup, err error) {
	s, err := parts(state)
	if err != nil {
		return b, err
	}
	lock, err := lockState(state)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	// A server drops what it cannot read, and more. So it is given what is sound of the store.
	copied, err := os.MkdirTemp(filepath.Dir(path), ".salvage-")
	if err != nil {
		return b, fault.Denied.New("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	streams, err := s.Streams()
	if err != nil {
		return b, err
	}
	if err := bus.Mend(ctx, s.Store, copied, streams); err != nil {
		return b, err
	}
	store, err := bus.Open(ctx, bus.Config{Dir: copied, Sync: bus.SyncOS})
	if err != nil {
		return b, err
	}
	defer store.Close()
	return backupTo(ctx, path, s, reading(store), true, tell)
}

// reading reads what only the server of a store can.
func reading(b *bus.Bus) backup.Store {
	return backup.Store{
		Bucket: func(ctx context.Context, name string, each func(string, []byte) error) error {
			k, err := b.Bucket(ctx, name)
			if err != nil {
				return err
			}
			return k.Each(ctx, each)
		},
		Stream: b.Snapshot,
	}
}

func backupTo(ctx context.Context, path string, s backup.State, read backup.Store, part bool, tell func(polity.Progress)) (b polity.Backup, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return b, fault.Conflict.New("backup: %s is there already; name a new file", path)
	}
	if err != nil {
		return b, fault.Denied.New("backup: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if b, err = backup.Write(ctx, f, s, read, part, tell); err != nil {
		return b, err
	}
	if err := f.Sync(); err != nil {
		return b, fault.Unavailable.New("backup: %w", err)
	}
	return b, nil
}

// VerifyBackup checks a file that Backup wrote, without a state folder. It returns fault.Invalid for what is no backup, and fault.Damaged
// for one that is not whole.
func VerifyBackup(ctx context.Context, path string, tell func(polity.Progress)) (polity.Backup, error) {
	var b polity.Backup
	err := withFile(path, func(f *os.File) (err error) {
		b, err = backup.Verify(ctx, f, naming, tell)
		return err
	})
	return b, err
}

// Restore makes a state folder out of a file that Backup wrote, after the whole file was checked. The folder must not be there, or be
// empty; it appears as a whole or not at all. A node that opens it goes on with the runs that had not ended, so nobody may go on with the
// state that was backed up: both would do what may be done once. It returns fault.Conflict if there is something in the folder, and what
// VerifyBackup does.
func Restore(ctx context.Context, path, state string, tell func(polity.Progress)) (polity.Backup, error) {
	var b polity.Backup
	err := withFile(path, func(f *os.File) (err error) {
		b, err = backup.Restore(ctx, f, state, "lock", naming, tell)
		return err
	})
	return b, err
}
