package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/gateway/hook"
	"polity.run/manifest"
)

const stampMax = 100_000 // files of a folder of manifests that are looked at for changes

// desk keeps the organizations of a folder applied, and has what they watch watched.
type desk struct {
	*server
	dir     string
	stamp   string            // of the folder when it was looked at last
	told    map[string]string // what is wrong with a manifest, by its path, so that it is said once
	applied map[string]*seat  // by path
}

// seat is a manifest that is applied.
type seat struct {
	digest string
	org    string
	stop   context.CancelFunc // of what it watches; nil if it watches nothing
	done   sync.WaitGroup
}

func (s *seat) end() {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
}

// watch looks at the folder until ctx ends or the node stops by itself.
func (d *desk) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.node.Down():
			return
		case <-tick.C:
			d.look(ctx)
		}
	}
}

func (d *desk) close() {
	for _, s := range d.applied {
		s.end()
	}
}

// look applies what has changed in the folder since the last look.
func (d *desk) look(ctx context.Context) {
	stamp, err := stampOf(d.dir)
	if err == nil && stamp == d.stamp {
		return
	}
	d.stamp = stamp
	paths, more := manifestsOf(d.dir)
	told := map[string]string{}
	defer func() { d.told = told }()
	if err := errors.Join(err, more); err != nil {
		d.wrong(told, d.dir, err)
		return
	}
	there := map[string]bool{}
	for _, path := range paths {
		there[path] = true
		if err := d.apply(ctx, path); err != nil && ctx.Err() == nil {
			d.wrong(told, path, err)
		}
	}
	for path, s := range d.applied {
		if !there[path] {
			s.end()
			delete(d.applied, path)
			d.screen.say("note: %s is gone; organization %s stays installed until: polity delete %s", clean(path), clean(s.org), clean(s.org))
		}
	}
}

// wrong says what is wrong with a manifest, once.
func (d *desk) wrong(told map[string]string, path string, err error) {
	text := err.Error()
	if told[path] = text; d.told[path] == text {
		return
	}
	stays := ""
	if s := d.applied[path]; s != nil {
		stays = "\nnote: organization " + clean(s.org) + " stays as it was"
	}
	d.screen.say("%s%s", cleanLines(text), stays)
}

// apply applies a manifest, if it is not as it was.
func (d *desk) apply(ctx context.Context, path string) error {
	m, err := d.load(path)
	if err != nil {
		return err
	}
	digest, _, err := manifest.Digest(&m.Release)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path) // what it watches is no part of the release
	if err != nil {
		return fault.Unavailable.New("%w", err)
	}
	sum := sha256.Sum256(text)
	digest += string(sum[:])
	before := d.applied[path]
	if before != nil && before.digest == digest {
		return nil
	}
	for other, s := range d.applied {
		if other != path && s.org == m.Release.Name {
			return fault.Conflict.New("%s: organization %s is that of %s, too; rename one of them", path, s.org, other)
		}
	}
	made, err := d.node.Apply(ctx, client.Apply{Install: client.Install{Release: &m.Release, Files: m.Blobs}})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if before != nil {
		before.end()
	}
	s := &seat{digest: digest, org: m.Release.Name}
	d.applied[path] = s
	if err := d.outf("%s\n", appliedText(&made)); err != nil {
		return err
	}
	for _, h := range m.Release.Hooks {
		if err := hook.CheckSecret(strings.TrimSpace(os.Getenv(h.SecretEnv))); err != nil {
			d.screen.say("warning: webhook %s.%s: its messages are refused: $%s holds no secret (%s)", s.org, h.Name, h.SecretEnv, err)
		}
	}
	return d.occupy(ctx, s, m)
}

// occupy begins to watch what a manifest says.
func (d *desk) occupy(ctx context.Context, s *seat, m *manifest.Manifest) error {
	if len(m.On) == 0 {
		return nil
	}
	w, err := d.watcherOf(m)
	if err != nil {
		return err
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.done.Go(func() {
		if err := w.beside(ctx, d.node); err != nil && ctx.Err() == nil {
			d.screen.say("polity: organization %s watches no more: %s", clean(s.org), clean(err.Error()))
		}
	})
	return nil
}

// watcherOf prepares what a manifest watches.
func (d *desk) watcherOf(m *manifest.Manifest) (*watcher, error) {
	state, err := d.stateDir()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(m.Path))
	if err != nil {
		return nil, fault.Unavailable.New("%w", err)
	}
	w := newWatcher(d.app, m, d.atOnce)
	w.box = outbox{dir: filepath.Join(state, "watch"), onDisk: d.sync.value == string(engine.SyncDisk)}
	for _, on := range m.On {
		if on.Lines {
			return nil, fault.Invalid.New("%s: lines of standard input are watched by polity watch alone: a server has none", m.Path)
		}
		if err := w.add(on, dir); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// stampOf is what changes with the files of a folder: their names, sizes and times. What begins with a dot does not count.
func stampOf(dir string) (string, error) {
	h := sha256.New()
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away at this moment, or nobody may read it: whoever loads it says so
		}
		if strings.HasPrefix(e.Name(), ".") && path != dir || e.IsDir() && e.Name() == "node_modules" {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if n++; n > stampMax {
			return fault.Full.New("%s holds more than %d files: changes of manifests are not seen; give polity up a folder of manifests alone", dir, stampMax)
		}
		info, err := e.Info()
		if err != nil {
			return nil // it went away at this moment
		}
		if !e.IsDir() {
			fmt.Fprintf(h, "%s %d %d %s\n", path, info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
		return nil
	})
	return string(h.Sum(nil)), err
}
