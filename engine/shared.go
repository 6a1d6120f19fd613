package engine

import (
	"context"
	"path/filepath"

	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/keyring"
	"polity.run/internal/run"
)

// The buckets of a node whose log is on a NATS server, for what else lies in the state folder: another machine goes on with them.
const (
	documentsBucket = "documents"
	keysBucket      = "keys"
)

// openDocuments opens the folder of documents, which for a log on a NATS server is a cache of a bucket there. disk has them on the disk before they are
// safe.
func openDocuments(ctx context.Context, b *bus.Bus, state string, disk bool) (*run.Blobs, error) {
	blobs, err := run.OpenBlobs(filepath.Join(state, "blobs"), disk)
	if err != nil || b.Embedded() {
		return blobs, err
	}
	k, err := b.Bucket(ctx, documentsBucket)
	if err != nil {
		return nil, err
	}
	return blobs, blobs.Share(ctx, k)
}

// openKeys opens the keyring: a folder, or a bucket beside a log that is on a NATS server.
func openKeys(ctx context.Context, b *bus.Bus, state string) (*keyring.Ring, error) {
	dir := filepath.Join(state, keysFolder)
	if b.Embedded() {
		return keyring.Open(dir)
	}
	k, err := b.Bucket(ctx, keysBucket)
	if err != nil {
		return nil, err
	}
	return keyring.OpenShared(keyShelf{k}, dir)
}

// keyShelf is a bucket of keys.
type keyShelf struct{ bucket *bus.Bucket }

var _ keyring.Shelf = keyShelf{}

func (s keyShelf) Get(key string) ([]byte, error) { return s.bucket.Need(key) }

func (s keyShelf) Create(key string, value []byte) error {
	_, err := s.bucket.Swap(context.Background(), key, value, 0)
	return err
}

func (s keyShelf) Replace(key string, value []byte) error {
	return s.bucket.Put(context.Background(), key, value)
}

func (s keyShelf) Delete(key string) error { return s.bucket.Delete(context.Background(), key) }

func (s keyShelf) Keys() ([]string, error) { return s.bucket.Keys(context.Background(), "") }

// RotateKeys wraps the keys of a node by another master key, and returns how many there are: the one in the file to, or a new one in the state folder if to
// is "", which keys on a NATS server do not take. It takes the folder, so no node may serve it, and none on another machine may use the log. See
// keyring.Rotate.
func RotateKeys(ctx context.Context, cfg Config, to string) (n int, err error) {
	e, err := prepare(cfg)
	if err != nil {
		return 0, err
	}
	defer e.lock.Close() //nolint:errcheck // nothing was written to it
	if cfg.NATS == nil {
		if _, err := parts(e.state); err != nil {
			return 0, err
		}
		return keyring.Rotate(filepath.Join(e.state, keysFolder), to)
	}
	b, err := openBus(ctx, e.state, cfg)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	k, err := b.Bucket(ctx, keysBucket)
	if err != nil {
		return 0, fault.Of(err).Kind.New("keys: %w", err)
	}
	return keyring.RotateShared(keyShelf{k}, filepath.Join(e.state, keysFolder), to)
}
