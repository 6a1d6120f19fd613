package keyring

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"polity.run/fault"
)

// folder has a file for each key. One process has it open at a time.
type folder struct {
	dir string

	mu    sync.Mutex
	ids   map[string]bool   // of all keys
	byTag map[string]string // tag of a person -> their key
}

var _ place = (*folder)(nil)

func openFolder(dir string) (*folder, error) {
	f := &folder{dir: dir, ids: map[string]bool{}, byTag: map[string]string{}}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Denied.New("keyring: %w", err)
	}
	for _, e := range files {
		if id, ok := strings.CutSuffix(e.Name(), suffix); ok && len(id) == idSize {
			f.ids[id], f.byTag[id[:tagSize]] = true, id
		}
		if strings.HasSuffix(e.Name(), newSuffix) && e.Name() != masterFile+newSuffix { // a write that was not finished
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, fault.Denied.New("keyring: %w", err)
			}
		}
	}
	return f, nil
}

func fileOf(name string) string {
	if name == tagName {
		return name
	}
	return name + suffix
}

func (f *folder) current(tag string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byTag[tag], nil
}

func (f *folder) get(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(f.dir, fileOf(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("keyring: there is no %s in %s", fileOf(name), f.dir)
	}
	if err != nil {
		return nil, fault.Denied.New("keyring: %w", err)
	}
	return data, nil
}

// create need not look: nobody else has the folder, and the ring makes one key at a time.
func (f *folder) create(name string, data []byte) error {
	if err := f.replace(name, data); err != nil || name == tagName {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids[name], f.byTag[name[:tagSize]] = true, name
	return nil
}

func (f *folder) replace(name string, data []byte) error {
	return writeFile(f.dir, fileOf(name), data)
}

func (f *folder) destroy(id string) error {
	if err := f.shred(fileOf(id)); err != nil {
		kind := fault.Denied
		if errors.Is(err, syscall.ENOSPC) {
			kind = fault.Full
		}
		return kind.New("%w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, id)
	if tag := id[:tagSize]; f.byTag[tag] == id {
		delete(f.byTag, tag)
		for other := range f.ids { // an old key was put back beside a new one
			if other[:tagSize] == tag {
				f.byTag[tag] = other
			}
		}
	}
	return nil
}

func (f *folder) all() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := []string{tagName}
	for _, id := range f.byTag {
		names = append(names, id)
	}
	slices.Sort(names)
	return names, nil
}

// shred writes over a file before it removes it.
func (f *folder) shred(name string) error {
	path := filepath.Join(f.dir, name)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		noise := make([]byte, info.Size())
		rand.Read(noise)
		_, err = file.WriteAt(noise, 0)
	}
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return err
	}
	return syncDir(f.dir)
}

// writeFile puts a file in the place of an old one, and returns when that is on the disk.
func writeFile(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	err := makeDir(dir)
	if err == nil {
		err = writeSynced(path+newSuffix, data)
	}
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err == nil {
		return nil
	}
	kind := fault.Denied
	if errors.Is(err, syscall.ENOSPC) {
		kind = fault.Full
	}
	return kind.New("keyring: %w", err)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// makeDir makes a folder if it is not there, whose name then survives a power cut.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a folder survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
