// Package backup checks the state of a node from outside, writes it into one file, and makes a state out of such a file.
//
// It exists so that damage is found before it is served, and nothing is lost that was backed up. The life of a backup:
//
//	Write (a node may serve meanwhile) -> Verify -> Restore into an empty folder, which a node then opens
//
// Everything is read from the files of the store, where the server keeps it; a server drops what it cannot read, so it is not asked.
package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/run"
	"polity.run/internal/zstd"
)

// A backup is a tar, compressed with zstd, of these in this order:
//
//	format               polity.BackupFormat and the version
//	log/00000001 ...     commits of the log, each with its length before it in four bytes
//	documents/HEX ...    what the commits name, in the order in which they do
//	NAME/00000001 ...    for each bucket: keys and values, each with its length before it
//	watch/...            the files of watches
//	backup.json          a polity.Backup
const (
	formatEntry    = "format"
	logEntry       = "log"
	documentsEntry = "documents"
	watchEntry     = "watch"
	headEntry      = "backup.json"

	chunkSoft   = 4 << 20 // bytes of an entry of the log or of a bucket, beyond which the next begins
	entryMax    = 80 << 20
	filesMax    = 1_000_000
	progressMin = 100 * time.Millisecond // between two words of progress
)

// State is the parts of a state folder.
type State struct {
	Store  string // the folder of the store
	Log    string // name of the log in it
	Blobs  *run.Blobs
	Anchor string // file; "" for none
	Watch  string // folder; it may be missing
	Pinned run.Pinned
}

// bucketsOf returns the names of the streams that hold memories and facts.
func (s *State) bucketsOf() ([]string, error) {
	all, err := bus.Streams(s.Store)
	var names []string
	for _, name := range all {
		if name, ok := strings.CutPrefix(name, bus.BucketPrefix); ok {
			names = append(names, name)
		}
	}
	return names, err
}

// teller tells of progress, not too often.
type teller struct {
	tell func(polity.Progress)
	last time.Time
	was  string
}

func (t *teller) say(p polity.Progress) {
	now := time.Now()
	if t.tell == nil || p.Stage == t.was && now.Sub(t.last) < progressMin && (p.Done != p.Total || p.Total == 0) {
		return
	}
	t.last, t.was = now, p.Stage
	t.tell(p)
}

// documents returns a checker's progress.
func (t *teller) documents(done, total int64) {
	t.say(polity.Progress{Stage: "documents", Done: done, Total: total})
}

// Check reads a whole state and says what is wrong with it. A node may serve it meanwhile: what is written after the beginning may be left
// out. It returns an error only if it cannot look, or ctx ends.
func Check(ctx context.Context, s State, tell func(polity.Progress)) (polity.Integrity, error) {
	t := &teller{tell: tell}
	c := run.NewChecker(s.Anchor, s.Pinned, t.documents)
	if err := s.commits(ctx, c, t, nil); err != nil {
		return polity.Integrity{}, err
	}
	c.Finish(func(d run.Digest) ([]byte, error) {
		if ctx.Err() != nil {
			return nil, fault.Cancelled.New("%w", context.Cause(ctx))
		}
		return s.Blobs.Get(d)
	})
	if err := errors.Join(c.Unnamed(s.Blobs), s.records(ctx, c, t)); err != nil {
		return polity.Integrity{}, err
	}
	if ctx.Err() != nil {
		return polity.Integrity{}, fault.Cancelled.New("verify: %w", context.Cause(ctx))
	}
	return c.Found(), nil
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// commits gives the commits of the log to the checker, and the sound ones to each, if it is not nil: with it the reading ends at the first
// that is not.
func (s *State) commits(ctx context.Context, c *run.Checker, t *teller, each func(data []byte) error) error {
	var next uint64
	var size int64
	err := bus.Scan(ctx, s.Store, bus.LogStream(s.Log), func(r bus.Record) error {
		next++
		if r.Damage == nil {
			next = r.Seq
		}
		c.Commit(next, r.Data, r.Damage)
		size += int64(len(r.Data))
		t.say(polity.Progress{Stage: "commits", Done: size, Unit: "bytes"})
		switch {
		case each == nil:
			return nil
		case !c.Chained():
			return errEnough
		default:
			return each(r.Data)
		}
	})
	if errors.Is(err, fault.NotFound) || errors.Is(err, errEnough) {
		return nil // the anchor says whether there should be one
	}
	return err
}

// records reads the streams of memories and facts. What lies in them is read as it is written: that it makes sense is for those to
// say who know it.
func (s *State) records(ctx context.Context, c *run.Checker, t *teller) error {
	names, err := s.bucketsOf()
	if err != nil {
		return err
	}
	for _, name := range names {
		var n int64
		err := bus.Scan(ctx, s.Store, bus.BucketPrefix+name, func(r bus.Record) error {
			n++
			t.say(polity.Progress{Stage: name, Done: n})
			c.Record(name, r.Damage)
			return nil
		})
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// writer writes a backup.
type writer struct {
	zip    io.WriteCloser
	tar    *tar.Writer
	digest hash.Hash
	head   polity.Backup
	chunk  []byte
	chunks int
}

// Buckets gives every key of a bucket with its value.
type Buckets func(ctx context.Context, name string, each func(key string, value []byte) error) error

// Write writes a backup of a state: the log as far as it goes now, then everything that it names, then memories and facts, which may
// be newer than the log. A node may serve meanwhile. A state that is damaged is refused with fault.Damaged, unless its sound part is wanted: the
// log up to the first damage, and the documents that can be read. buckets reads memories and facts.
func Write(ctx context.Context, w io.Writer, s State, buckets Buckets, part bool, tell func(polity.Progress)) (polity.Backup, error) {
	t := &teller{tell: tell}
	zip, err := zstd.NewWriter(w)
	if err != nil {
		return polity.Backup{}, err
	}
	b := &writer{zip: zip, tar: tar.NewWriter(zip), digest: sha256.New()}
	b.head = polity.Backup{Format: polity.BackupFormat, Version: polity.BackupVersion, Made: time.Now().UTC().Truncate(time.Second)}
	if err := b.state(ctx, &s, buckets, part, t); err != nil {
		return polity.Backup{}, err
	}
	if err := errors.Join(b.tar.Close(), b.zip.Close()); err != nil {
		return polity.Backup{}, unwritten(err)
	}
	return b.head, nil
}

func (b *writer) state(ctx context.Context, s *State, buckets Buckets, part bool, t *teller) error {
	if err := b.put(formatEntry, formatText()); err != nil {
		return err
	}
	c := run.NewChecker(s.Anchor, s.Pinned, t.documents)
	if err := s.commits(ctx, c, t, func(data []byte) error {
		b.chunk = binary.BigEndian.AppendUint32(b.chunk, uint32(len(data)))
		b.chunk = append(b.chunk, data...)
		return b.grown(logEntry)
	}); err != nil {
		return err
	}
	if err := b.finish(logEntry); err != nil {
		return err
	}
	if err := b.documents(ctx, s, c); err != nil {
		return err
	}
	found := c.Found()
	if len(found.Damage) > 0 && !part {
		d := found.Damage[0]
		return fault.Damaged.New("backup: the state is damaged: %s %s: %s. See: polity verify. Its sound part can be backed up with --sound-part", d.What, d.Name, d.Text)
	}
	b.head.Commit, b.head.Head, b.head.Runs, b.head.Live = found.Sound, found.Head, found.Runs, found.Live
	b.head.Documents, b.head.Damage = found.Documents, found.Damage
	if err := b.buckets(ctx, s, buckets, t); err != nil {
		return err
	}
	if err := b.watches(s.Watch); err != nil {
		return err
	}
	b.head.Digest = hex.EncodeToString(b.digest.Sum(nil))
	data, err := json.MarshalIndent(b.head, "", "  ")
	if err != nil {
		return fault.Internal.New("backup: %w", err)
	}
	return b.put(headEntry, append(data, '\n'))
}

func (b *writer) documents(ctx context.Context, s *State, c *run.Checker) error {
	var failed error
	c.Finish(func(d run.Digest) ([]byte, error) {
		if failed == nil && ctx.Err() != nil {
			failed = fault.Cancelled.New("backup: %w", context.Cause(ctx))
		}
		if failed != nil {
			return nil, failed
		}
		data, err := s.Blobs.Get(d)
		if err == nil {
			failed = b.put(path.Join(documentsEntry, hex.EncodeToString(d[:])), data)
		}
		return data, err
	})
	return failed
}

func (b *writer) buckets(ctx context.Context, s *State, buckets Buckets, t *teller) error {
	names, err := s.bucketsOf()
	if err != nil {
		return err
	}
	for _, name := range names {
		var n int64
		err := buckets(ctx, name, func(key string, value []byte) error {
			n++
			t.say(polity.Progress{Stage: name, Done: n})
			for _, part := range [][]byte{[]byte(key), value} {
				b.chunk = binary.BigEndian.AppendUint32(b.chunk, uint32(len(part)))
				b.chunk = append(b.chunk, part...)
			}
			b.head.Records++
			return b.grown(bus.BucketPrefix + name)
		})
		if err == nil {
			err = b.finish(bus.BucketPrefix + name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// watches puts in the files of watches as they are.
func (b *writer) watches(dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !e.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return fault.Denied.New("backup: %w", err)
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // what was watched has just ended
		}
		if err != nil {
			return fault.Denied.New("backup: %w", err)
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return fault.Internal.New("backup: %w", err)
		}
		b.head.Files++
		return b.put(path.Join(watchEntry, filepath.ToSlash(rel)), data)
	})
}

// grown writes what was gathered of the log or a bucket, if it is enough for an entry.
func (b *writer) grown(name string) error {
	if len(b.chunk) < chunkSoft {
		return nil
	}
	b.chunks++
	err := b.put(path.Join(name, number(b.chunks)), b.chunk)
	b.chunk = b.chunk[:0]
	return err
}

// finish writes the rest of it.
func (b *writer) finish(name string) error {
	var err error
	if len(b.chunk) > 0 {
		err = b.put(path.Join(name, number(b.chunks+1)), b.chunk)
	}
	b.chunk, b.chunks = b.chunk[:0], 0
	return err
}

func (b *writer) put(name string, data []byte) error {
	sum := entrySum(name, data)
	b.digest.Write(sum[:])
	b.head.Bytes += int64(len(data))
	err := b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: b.head.Made})
	if err == nil {
		_, err = b.tar.Write(data)
	}
	if err != nil {
		return unwritten(err)
	}
	return nil
}

// entrySum is the digest of an entry with its name.
func entrySum(name string, data []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(name))))
	h.Write([]byte(name))
	h.Write(data)
	return [sha256.Size]byte(h.Sum(nil))
}

func formatText() []byte {
	return fmt.Appendf(nil, "%s %d\n", polity.BackupFormat, polity.BackupVersion)
}

// number is a number as a part of a name, so that names sort as numbers do.
func number(n int) string { return fmt.Sprintf("%08d", n) }

// unwritten is why a backup could not be written.
func unwritten(err error) error {
	if k := fault.Of(err).Kind; k != fault.Internal {
		return k.New("backup: %w", err)
	}
	if errors.Is(err, errNoSpace) {
		return fault.Full.New("backup: %w", err)
	}
	return fault.Unavailable.New("backup: %w", err)
}

// pieces takes apart what lies in an entry: pieces with their length before them.
func pieces(data []byte, each func([]byte) error) error {
	for len(data) > 0 {
		if len(data) < 4 || uint64(binary.BigEndian.Uint32(data)) > uint64(len(data)-4) {
			return fault.Damaged.New("backup: an entry is cut")
		}
		n := binary.BigEndian.Uint32(data)
		if err := each(data[4 : 4+n : 4+n]); err != nil {
			return err
		}
		data = data[4+n:]
	}
	return nil
}
