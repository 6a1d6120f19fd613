package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/run"
)

// Replay folds a run again from its log, beside the live state and without touching it, and says where the code of now first decides
// something else than the log tells: the code of the run's own release, or of another one that was installed. See run.Partition.Replay.
func (e *Engine) Replay(ctx context.Context, id polity.RunID, release Digest) (polity.Replay, error) {
	if release != (Digest{}) {
		if _, err := e.catalog.release(release); err != nil {
			return polity.Replay{}, err
		}
	}
	return e.part.Replay(ctx, id, release)
}

// Export writes a run with its release and everything that its log refers to into a new file, as far as the log tells of it
// now. It returns fault.Conflict if there is such a file, fault.NotFound if there is no such run, and fault.Denied if the file cannot be
// written. A file that could not be written as a whole is removed.
func (e *Engine) Export(ctx context.Context, id polity.RunID, path string) (a polity.Archive, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return a, fault.Conflict.New("export: %s is there already; name a new file", path)
	}
	if err != nil {
		return a, fault.Denied.New("export: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if a, err = e.part.Export(ctx, id, pinned, f); err != nil {
		return a, err
	}
	if err := f.Sync(); err != nil {
		return a, fault.Unavailable.New("export: %w", err)
	}
	return a, nil
}

// Import takes over a run from a file that Export wrote, after everything in it was checked: see run.Partition.Import.
func (e *Engine) Import(ctx context.Context, path string) (polity.Archive, error) {
	var a polity.Archive
	err := withFile(path, func(f *os.File) (err error) {
		a, err = e.part.Import(ctx, f, pinned)
		return err
	})
	return a, err
}

// Verify checks a file that Export wrote, without a node: see run.Verify.
func Verify(path string) (polity.Archive, error) {
	var a polity.Archive
	err := withFile(path, func(f *os.File) (err error) {
		a, err = run.Verify(f, pinned)
		return err
	})
	return a, err
}

func withFile(path string, do func(f *os.File) error) error {
	f, err := os.Open(filepath.Clean(path))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.NotFound.New("%w", err)
	}
	if err != nil {
		return fault.Denied.New("%w", err)
	}
	return errors.Join(do(f), f.Close())
}

// pinned lists the files that a release pins.
func pinned(release []byte) ([]Digest, error) {
	var r agent.Release
	if err := json.Unmarshal(release, &r); err != nil {
		return nil, fault.Damaged.New("release: %w", err)
	}
	var list []Digest
	for i := range r.Agents {
		if r.Agents[i].Exec == nil {
			continue
		}
		files := r.Agents[i].Exec.Files
		for _, name := range slices.Sorted(maps.Keys(files)) { // in one order, on which backups rely
			d, err := parseDigest(files[name].Digest)
			if err != nil {
				return nil, fault.Damaged.New("release: agent %s: %w", r.Agents[i].Name, err)
			}
			if !slices.Contains(list, d) {
				list = append(list, d)
			}
		}
	}
	return list, nil
}

// Fork asks for a run that begins with what another one's log tells up to an event, and then goes on by itself.
type Fork struct {
	// ID is the fork's; "" derives it from everything below, so that the same fork is the same run.
	ID      polity.RunID
	Run     polity.RunID    // the origin
	Event   int             // the last that is taken over, from 1
	Release Digest          // whose code goes on; zero for the origin's
	Input   json.RawMessage // in place of the origin's, with Event 1; nil for the origin's
	Effects bool            // keyed and external effects may be done
	Seed    string          // makes otherwise equal forks different runs
}

// Fork opens a fork, or finds it, and returns its ID when that is durable. See run.Partition.Fork for what it takes over, what it does, and
// what comes back.
func (e *Engine) Fork(ctx context.Context, f Fork) (polity.RunID, error) {
	if f.Release != (Digest{}) {
		if _, err := e.catalog.release(f.Release); err != nil {
			return "", err
		}
	}
	if f.ID == "" {
		seed, err := json.Marshal(f)
		if err != nil {
			return "", fault.Invalid.New("engine: fork: input: %w", err)
		}
		f.ID = polity.NewRunID(0, append([]byte("fork "), seed...))
	}
	return f.ID, e.part.Fork(ctx, run.Fork{
		ID: f.ID, Origin: f.Run, Event: f.Event, Release: f.Release, Input: f.Input, Effects: f.Effects,
	})
}
