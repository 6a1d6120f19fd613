package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"polity.run/fault"
)

// Blobs keeps documents by their SHA-256, each in a file of its own. A document is complete under its name or
// not there at all. It is safe for concurrent use, by several processes too.
type Blobs struct {
	dir  string
	sync bool   // have a document on the disk before Put returns
	far  *depot // nil unless they are shared: see Share
}

// OpenBlobs opens the folder, and makes it if it is not there.
func OpenBlobs(dir string, sync bool) (*Blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Denied.New("blobs: open: %w", err)
	}
	return &Blobs{dir: dir, sync: sync}, nil
}

func (b *Blobs) path(d Digest) string {
	name := hex.EncodeToString(d[:])
	return filepath.Join(b.dir, name[:2], name[2:])
}

// Put stores data, and returns the digest that it is found by. It returns fault.Full if there is no room.
func (b *Blobs) Put(data []byte) (Digest, error) {
	d := Digest(sha256.Sum256(data))
	path := b.path(d)
	if _, err := os.Stat(path); err == nil {
		return d, nil
	}
	if b.far != nil { // first: what is in the folder is there
		if err := b.far.put(d, data); err != nil {
			return Digest{}, err
		}
	}
	if err := b.write(path, data); err != nil {
		kind := fault.Unavailable
		if errors.Is(err, syscall.ENOSPC) {
			kind = fault.Full
		}
		return Digest{}, kind.New("blobs: put: %w", err)
	}
	return d, nil
}

// newPrefix begins the name of a file that is not yet whole.
const newPrefix = ".new-"

func (b *Blobs) write(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeFile(path, data, b.sync)
}

// writeFile replaces a file as a whole.
func writeFile(path string, data []byte, sync bool) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, newPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if sync {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return f.Close()
}

// syncDir makes the names in a folder, and the folder's own, survive a power cut.
func syncDir(dir string) error {
	for _, p := range []string{dir, filepath.Dir(dir)} {
		d, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Get returns a document. It returns fault.NotFound if there is none, and fault.Damaged if the file's content is
// not what its name says. Of documents that are shared, one that the folder has not, or not as it was, comes from the bucket; then it also returns
// fault.Unavailable.
func (b *Blobs) Get(d Digest) (json.RawMessage, error) {
	data, err := b.near(d)
	if b.far == nil || !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Damaged) {
		return data, err
	}
	if data, err = b.far.get(d); err != nil {
		return nil, err
	}
	_ = b.write(b.path(d), data) // else it is fetched again
	return data, nil
}

// near returns a document of the folder.
func (b *Blobs) near(d Digest) (json.RawMessage, error) {
	data, err := os.ReadFile(b.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("blobs: no document %x", d)
	}
	if err != nil {
		return nil, fault.Unavailable.New("blobs: get: %w", err)
	}
	if sha256.Sum256(data) != d {
		return nil, fault.Damaged.New("blobs: %s does not hold what its name says", b.path(d))
	}
	return data, nil
}
