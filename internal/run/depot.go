package run

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"polity.run/fault"
	"polity.run/internal/bus"
)

const (
	partMax    = 512 << 10 // bytes of a document in one record
	partsMax   = 1 << 11   // of a document
	partHead   = 4         // bytes before the first part: the number of all
	sharedMark = ".shared" // a file that says that the bucket has all that the folder has
)

// depot keeps documents in a bucket: a document is a key of its own for each part, HEX.0 and so on. The first is put last, so that a document is
// there as a whole or not at all.
type depot struct{ k *bus.Bucket }

// Share has all documents kept in a bucket, from which other machines have them too; the folder is a cache of it from then on. What the folder holds
// already is put there first, once. It must be called before any other method.
func (b *Blobs) Share(ctx context.Context, k *bus.Bucket) error {
	far := &depot{k}
	mark := filepath.Join(b.dir, sharedMark)
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		var all []Digest
		if err := b.each(func(d Digest) { all = append(all, d) }); err != nil {
			return err
		}
		for _, d := range all {
			if ctx.Err() != nil {
				return fault.Cancelled.New("blobs: share: %w", context.Cause(ctx))
			}
			data, err := b.Get(d)
			if err == nil {
				err = far.put(d, data)
			}
			if err != nil {
				return err
			}
		}
		if err := writeFile(mark, nil, true); err != nil {
			return fault.Denied.New("blobs: share: %w", err)
		}
	}
	b.far, b.sync = far, false
	return nil
}

func partKey(d Digest, n int) string { return hex.EncodeToString(d[:]) + "." + strconv.Itoa(n) }

// put returns when a document is as safe as the bucket's server makes it.
func (p *depot) put(d Digest, data []byte) error {
	parts := max(1, (len(data)+partMax-1)/partMax)
	if parts > partsMax {
		return fault.Full.New("blobs: a document of %d bytes; the most is %d", len(data), partsMax*partMax)
	}
	for n := parts - 1; n >= 0; n-- {
		part := data[n*partMax : min((n+1)*partMax, len(data))]
		if n == 0 {
			part = append(binary.BigEndian.AppendUint32(nil, uint32(parts)), part...)
		}
		if err := p.k.Put(context.Background(), partKey(d, n), part); err != nil {
			return err
		}
	}
	return nil
}

// get returns a document that is what its name says.
func (p *depot) get(d Digest) (json.RawMessage, error) {
	first, err := p.k.Need(partKey(d, 0))
	if errors.Is(err, fault.NotFound) {
		return nil, fault.NotFound.New("blobs: no document %x, here or on the NATS server", d)
	}
	if err != nil {
		return nil, err
	}
	if len(first) < partHead || binary.BigEndian.Uint32(first) > partsMax {
		return nil, fault.Damaged.New("blobs: document %x on the NATS server is not what was written", d)
	}
	data := first[partHead:]
	for n := 1; n < int(binary.BigEndian.Uint32(first)); n++ {
		part, err := p.k.Need(partKey(d, n))
		if err != nil {
			return nil, fault.Of(err).Kind.New("blobs: document %x: part %d: %w", d, n, err)
		}
		data = append(data, part...)
	}
	if sha256.Sum256(data) != d {
		return nil, fault.Damaged.New("blobs: document %x on the NATS server is not what its name says", d)
	}
	return data, nil
}

// remove removes a document: its first part first, so that nobody finds half of it. One that is not there is removed.
func (p *depot) remove(d Digest) error {
	ctx := context.Background()
	keys, err := p.k.Keys(ctx, hex.EncodeToString(d[:])+".")
	for _, key := range keys { // in the order of their text
		if err == nil {
			err = p.k.Delete(ctx, key)
		}
	}
	return err
}
