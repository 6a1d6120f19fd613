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
	"bytes"
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
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
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
//	begins               the number of the first commit, if that is not 1: then there is a base among the documents
//	log/00000001 ...     commits of the log, each with its length before it in four bytes
//	documents/HEX ...    what the commits name, in the order in which they do
//	NAME/00000001 ...    for each bucket: keys and values, each with its length before it
//	documents/HEX ...    what these name and no commit does
//	watch/...            the files of watches
//	NAME/00000001 ...    for each stream of events, and that of refusals: pieces of what the server made of it, each with its length before it
//	backup.json          a polity.Backup
const (
	formatEntry    = "format"
	beginsEntry    = "begins"
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
	Names  Names
}

// Names says which documents are needed because something else names them, beside those that a log does.
type Names struct {
	Release run.Pinned // by a release
	// Record returns the release that a record of a bucket names, or zero for none.
	Record func(bucket string, value []byte) (run.Digest, error)
}

// record adds what a record names, or that it makes no sense.
func (n *Names) record(c *run.Checker, bucket string, value []byte) {
	switch d, err := n.Record(bucket, value); {
	case err != nil:
		c.Record(bucket, err)
	case d != run.Digest{}:
		c.Name(d)
	}
}

// Streams returns the names of the streams that hold memories, facts and events.
func (s *State) Streams() ([]string, error) {
	buckets, events, err := s.streamsOf()
	return append(buckets, events...), err
}

// streamsOf returns the names of the streams that hold memories and facts, and of those that hold events.
func (s *State) streamsOf() (buckets, events []string, err error) {
	all, err := bus.Streams(s.Store)
	for _, name := range all {
		if strings.HasPrefix(name, bus.BucketPrefix) {
			buckets = append(buckets, name)
		}
	}
	for _, name := range bus.EventStreams() {
		if slices.Contains(all, name) {
			events = append(events, name)
		}
	}
	return buckets, events, err
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
	c := run.NewChecker(s.Anchor, s.Names.Release, t.documents)
	if err := s.commits(ctx, c, t, nil); err != nil {
		return polity.Integrity{}, err
	}
	get := func(d run.Digest) ([]byte, error) {
		if ctx.Err() != nil {
			return nil, fault.Cancelled.New("%w", context.Cause(ctx))
		}
		return s.Blobs.Get(d)
	}
	c.Finish(get)
	if err := s.records(ctx, c, t, true); err != nil {
		return polity.Integrity{}, err
	}
	c.Documents(get)
	if err := c.Unnamed(s.Blobs); err != nil {
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
	first, err := s.first(ctx, c)
	if err != nil {
		return err
	}
	next := max(first, 1) - 1
	var size int64
	err = bus.Scan(ctx, s.Store, bus.LogStream(s.Log), func(r bus.Record) error {
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

// first has the checker begin with the log's first commit, if its beginning was dropped, and returns that; 0 if not.
func (s *State) first(ctx context.Context, c *run.Checker) (uint64, error) {
	first, err := bus.FirstOf(ctx, s.Store, bus.LogStream(s.Log))
	if err != nil || first <= 1 {
		return 0, err
	}
	err = bus.Scan(ctx, s.Store, bus.LogStream(s.Log), func(r bus.Record) error {
		if r.Damage == nil {
			c.Foresee(r.Data)
		}
		return nil
	})
	if err != nil || !c.Foreseen(first) {
		return 0, err
	}
	return first, nil
}

// records reads the streams of memories, facts and events. What lies in them is read as it is written: that it makes sense is for those to
// say who know it. With names, what a record names that stands now is named to the checker.
func (s *State) records(ctx context.Context, c *run.Checker, t *teller, names bool) error {
	streams, err := s.Streams()
	if err != nil {
		return err
	}
	for _, stream := range streams {
		name, isBucket := strings.CutPrefix(stream, bus.BucketPrefix)
		var n int64
		last := map[string][]byte{} // of the keys that name something now: older values may still be in the file
		err := bus.Scan(ctx, s.Store, stream, func(r bus.Record) error {
			n++
			t.say(polity.Progress{Stage: name, Done: n})
			c.Record(name, r.Damage)
			if !names || !isBucket || r.Damage != nil {
				return nil
			}
			if d, err := s.Names.Record(name, r.Data); err != nil || d != (run.Digest{}) {
				last[r.Subject] = bytes.Clone(r.Data)
			} else {
				delete(last, r.Subject)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(last)) {
			if len(last[key]) > 0 { // else it was deleted
				s.Names.record(c, name, last[key])
			}
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

// Store reads what only the store's server can: which records were deleted it alone knows.
type Store struct {
	// Bucket gives every key of a bucket with its value.
	Bucket func(ctx context.Context, name string, each func(key string, value []byte) error) error
	// Stream gives a stream of events in pieces, as bus.Snapshot does.
	Stream func(ctx context.Context, name string, each func(piece []byte) error) (events uint64, err error)
}

// Write writes a backup of a state: the log as far as it goes now, then everything that it names, then memories and facts, which may
// be newer than the log, and then events, which may be newer than all: runs and cursors are never ahead of them. A node may serve meanwhile. A state that is
// damaged is refused with fault.Damaged, unless its sound part is wanted: the log up to the first damage, and the documents that can be read.
func Write(ctx context.Context, w io.Writer, s State, store Store, part bool, tell func(polity.Progress)) (polity.Backup, error) {
	t := &teller{tell: tell}
	zip, err := zstd.NewWriter(w)
	if err != nil {
		return polity.Backup{}, err
	}
	b := &writer{zip: zip, tar: tar.NewWriter(zip), digest: sha256.New()}
	b.head = polity.Backup{Format: polity.BackupFormat, Version: polity.BackupVersion, Made: time.Now().UTC().Truncate(time.Second)}
	if err := b.state(ctx, &s, store, part, t); err != nil {
		return polity.Backup{}, err
	}
	if err := errors.Join(b.tar.Close(), b.zip.Close()); err != nil {
		return polity.Backup{}, unwritten(err)
	}
	return b.head, nil
}

func (b *writer) state(ctx context.Context, s *State, store Store, part bool, t *teller) error {
	c := run.NewChecker(s.Anchor, s.Names.Release, t.documents)
	begun := false
	begin := func() error {
		if begun {
			return nil
		}
		begun = true
		b.head.First = c.Found().First
		err := b.put(formatEntry, formatText(b.head.Version))
		if err == nil && b.head.First > 0 {
			err = b.put(beginsEntry, fmt.Appendf(nil, "%d\n", b.head.First))
		}
		return err
	}
	if err := s.commits(ctx, c, t, func(data []byte) error {
		b.piece(data)
		return errors.Join(begin(), b.grown(logEntry))
	}); err != nil {
		return err
	}
	if err := begin(); err != nil {
		return err
	}
	if err := b.finish(logEntry); err != nil {
		return err
	}
	if err := b.documents(ctx, s, c, c.Finish); err != nil {
		return err
	}
	// The server would pass over those that are damaged. What they name is named as they are written: they may be others by then.
	if err := s.records(ctx, c, t, false); err != nil {
		return err
	}
	if err := sound(c, part); err != nil {
		return err
	}
	buckets, events, err := s.streamsOf()
	if err != nil {
		return err
	}
	if err := b.buckets(ctx, s, c, buckets, store, t); err != nil {
		return err
	}
	if err := b.documents(ctx, s, c, c.Documents); err != nil {
		return err
	}
	if err := sound(c, part); err != nil {
		return err
	}
	found := c.Found()
	b.head.Commit, b.head.Head, b.head.Runs, b.head.Live = found.Sound, found.Head, found.Runs, found.Live
	b.head.Documents, b.head.Damage = found.Documents, found.Damage
	if err := b.watches(s.Watch); err != nil {
		return err
	}
	if err := b.events(ctx, events, store, part, t); err != nil {
		return err
	}
	b.head.Digest = hex.EncodeToString(b.digest.Sum(nil))
	data, err := json.MarshalIndent(b.head, "", "  ")
	if err != nil {
		return fault.Internal.New("backup: %w", err)
	}
	return b.put(headEntry, append(data, '\n'))
}

// sound refuses a damaged state, unless its sound part is wanted.
func sound(c *run.Checker, part bool) error {
	found := c.Found()
	if len(found.Damage) == 0 || part {
		return nil
	}
	d := found.Damage[0]
	return fault.Damaged.New("backup: the state is damaged: %s %s: %s. See: polity verify. Its sound part can be backed up with --sound-part", d.What, d.Name, d.Text)
}

// documents puts in those that read asks for.
func (b *writer) documents(ctx context.Context, s *State, c *run.Checker, read func(get func(run.Digest) ([]byte, error))) error {
	var failed error
	read(func(d run.Digest) ([]byte, error) {
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

func (b *writer) buckets(ctx context.Context, s *State, c *run.Checker, streams []string, store Store, t *teller) error {
	for _, stream := range streams {
		name := strings.TrimPrefix(stream, bus.BucketPrefix)
		var n int64
		err := store.Bucket(ctx, name, func(key string, value []byte) error {
			n++
			t.say(polity.Progress{Stage: name, Done: n})
			b.piece([]byte(key))
			b.piece(value)
			s.Names.record(c, name, value)
			b.head.Records++
			return b.grown(stream)
		})
		if err == nil {
			err = b.finish(stream)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// events puts in the streams of events. One that the server cannot give from the beginning is left out of a sound part.
func (b *writer) events(ctx context.Context, streams []string, store Store, part bool, t *teller) error {
	for _, stream := range streams {
		var size int64
		n, err := store.Stream(ctx, stream, func(piece []byte) error {
			size += int64(len(piece))
			t.say(polity.Progress{Stage: stream, Done: size, Unit: "bytes"})
			b.piece(piece)
			return b.grown(stream)
		})
		if err != nil && part && size == 0 && ctx.Err() == nil {
			b.head.Damage = append(b.head.Damage, polity.Damage{What: "stream", Name: stream, Text: fault.Of(err).Text})
			continue
		}
		if err == nil {
			err = b.finish(stream)
		}
		if err != nil {
			return err
		}
		b.head.Events += int(n)
	}
	return nil
}

// piece adds a piece to what is gathered of an entry.
func (b *writer) piece(data []byte) {
	b.chunk = binary.BigEndian.AppendUint32(b.chunk, uint32(len(data)))
	b.chunk = append(b.chunk, data...)
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

func formatText(version int) []byte {
	return fmt.Appendf(nil, "%s %d\n", polity.BackupFormat, version)
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
