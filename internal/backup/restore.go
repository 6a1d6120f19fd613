package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/run"
	"polity.run/internal/zstd"
)

var errNoSpace = syscall.ENOSPC

// namedVersion is the first version of a backup that holds what records name.
const namedVersion = 3

// taker is given what a backup holds, piece by piece, as it is read and checked.
type taker interface {
	begin(first uint64) error
	commit(data []byte) error
	document(data []byte) error
	record(bucket, key string, value []byte) error
	watch(name string, data []byte) error
	stream(name string, pieces func(each func(piece []byte) error) error) error
}

// nobody takes nothing.
type nobody struct{}

func (nobody) begin(uint64) error                  { return nil }
func (nobody) commit([]byte) error                 { return nil }
func (nobody) document([]byte) error               { return nil }
func (nobody) record(string, string, []byte) error { return nil }
func (nobody) watch(string, []byte) error          { return nil }
func (nobody) stream(_ string, pieces func(func([]byte) error) error) error {
	return pieces(func([]byte) error { return nil })
}

// Verify reads a backup and checks that it is whole: that its log is one chain, that each document that the log names is there and is what
// its digest says, that the end says what the rest does, and that nothing else is there. It returns fault.Invalid for what is no
// backup, or one of a version that this program does not know, and fault.Damaged for one that is not whole.
func Verify(ctx context.Context, r io.Reader, names Names, tell func(polity.Progress)) (polity.Backup, error) {
	return read(ctx, r, names, nobody{}, &teller{tell: tell})
}

// reader reads a backup, one entry at a time, with one entry of look-ahead.
type reader struct {
	tar    *tar.Reader
	digest hash.Hash
	head   polity.Backup // as the entries so far tell it
	name   string        // of the entry that is looked at; "" at the end
	data   []byte
}

func read(ctx context.Context, file io.Reader, names Names, to taker, t *teller) (polity.Backup, error) {
	zip, err := zstd.NewReader(bufio.NewReader(file))
	if err != nil {
		return polity.Backup{}, err
	}
	defer zip.Close() // it closes what it made itself
	r := &reader{tar: tar.NewReader(zip), digest: sha256.New()}
	if err := r.format(); err != nil {
		return polity.Backup{}, err
	}
	c := run.NewChecker("", names.Release, t.documents)
	if err := r.log(ctx, c, to, t); err != nil {
		return polity.Backup{}, err
	}
	if err := r.documents(ctx, c.Finish, to); err != nil {
		return polity.Backup{}, err
	}
	if err := r.buckets(ctx, &names, c, to, t); err != nil {
		return polity.Backup{}, err
	}
	if err := r.rest(ctx, to, t); err != nil {
		return polity.Backup{}, err
	}
	if err := r.end(c.Found()); err != nil {
		return polity.Backup{}, err
	}
	if n, err := io.Copy(io.Discard, zip); n > 0 || err != nil {
		return polity.Backup{}, fault.Damaged.New("backup: there is more after its end, or its checksum is wrong")
	}
	return r.head, nil
}

func (r *reader) format() error {
	if err := r.next(); err != nil && !zstd.IsForeign(err) {
		return err
	}
	if r.name != formatEntry {
		return fault.Invalid.New("backup: this is not a backup of a state")
	}
	version := polity.BackupVersion
	for version > 0 && !bytes.Equal(r.data, formatText(version)) {
		version--
	}
	if version == 0 {
		return fault.Invalid.New("backup: it says that it is %.60q, and this program knows %.60q. A newer one wrote it?", r.data, formatText(polity.BackupVersion))
	}
	r.head = polity.Backup{Format: polity.BackupFormat, Version: version, Bytes: int64(len(r.data))}
	return r.next()
}

// next reads the next entry.
func (r *reader) next() error {
	if r.name != "" && r.name != headEntry {
		sum := entrySum(r.name, r.data)
		r.digest.Write(sum[:])
	}
	h, err := r.tar.Next()
	if errors.Is(err, io.EOF) {
		r.name, r.data = "", nil
		return nil
	}
	if err != nil {
		return fault.Damaged.New("backup: it is cut or damaged after %q: %w", r.name, err)
	}
	if h.Typeflag != tar.TypeReg || h.Size > entryMax || h.Name == "" {
		return fault.Damaged.New("backup: entry %.100q is none that a backup has", h.Name)
	}
	var b bytes.Buffer // it grows with what comes, and not with what the header says will
	if _, err := io.Copy(&b, r.tar); err != nil {
		return fault.Damaged.New("backup: %s: %w", h.Name, err)
	}
	r.name, r.data = h.Name, b.Bytes()
	if r.name != headEntry {
		r.head.Bytes += int64(len(r.data))
	}
	return nil
}

// chunks gives the entries name/00000001 and so on.
func (r *reader) chunks(ctx context.Context, name string, each func([]byte) error) error {
	for n := 1; path.Dir(r.name) == name; n++ {
		if ctx.Err() != nil {
			return fault.Cancelled.New("backup: %w", context.Cause(ctx))
		}
		if path.Base(r.name) != number(n) {
			return fault.Damaged.New("backup: there is %.100q where %s/%s should be", r.name, name, number(n))
		}
		if err := pieces(r.data, each); err != nil {
			return err
		}
		if err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) log(ctx context.Context, c *run.Checker, to taker, t *teller) error {
	seq, err := r.begins()
	if err != nil {
		return err
	}
	if seq > 0 {
		c.Begin(seq + 1)
		if err := to.begin(seq + 1); err != nil {
			return err
		}
	}
	var size int64
	return r.chunks(ctx, logEntry, func(data []byte) error {
		seq++
		c.Commit(seq, data, nil)
		if !c.Chained() {
			return fault.Damaged.New("backup: commit %d does not follow the one before, or cannot be read", seq)
		}
		size += int64(len(data))
		t.say(polity.Progress{Stage: "commits", Done: size, Unit: "bytes"})
		return to.commit(data)
	})
}

// begins returns how many commits are not in the backup, as their base stands for them.
func (r *reader) begins() (uint64, error) {
	if r.name != beginsEntry {
		return 0, nil
	}
	first, err := strconv.ParseUint(strings.TrimSuffix(string(r.data), "\n"), 10, 63)
	if err != nil || first < 2 || r.head.Version < polity.BackupVersion {
		return 0, fault.Damaged.New("backup: the log begins with commit %.30q", r.data)
	}
	r.head.First = first
	return first - 1, r.next()
}

// documents reads the documents in the order in which the log asks for them.
func (r *reader) documents(ctx context.Context, read func(get func(run.Digest) ([]byte, error)), to taker) error {
	var failed error
	read(func(d run.Digest) ([]byte, error) {
		name := hex.EncodeToString(d[:])
		switch {
		case failed != nil:
			return nil, failed
		case ctx.Err() != nil:
			failed = fault.Cancelled.New("backup: %w", context.Cause(ctx))
			return nil, failed
		case r.name != path.Join(documentsEntry, name):
			return nil, fault.NotFound.New("it is not in the backup")
		case sha256.Sum256(r.data) != d:
			return nil, fault.Damaged.New("it is not what its digest says")
		}
		data := r.data
		failed = to.document(data)
		if failed == nil {
			failed = r.next()
		}
		return data, failed
	})
	return failed
}

// buckets reads memories and facts, and the documents that they name.
func (r *reader) buckets(ctx context.Context, names *Names, c *run.Checker, to taker, t *teller) error {
	for strings.HasPrefix(r.name, bus.BucketPrefix) {
		stream := path.Dir(r.name)
		bucket := strings.TrimPrefix(stream, bus.BucketPrefix)
		key, odd := "", false
		if err := r.chunks(ctx, stream, func(piece []byte) error {
			if odd = !odd; odd {
				key = string(piece)
				return nil
			}
			r.head.Records++
			if r.head.Version >= namedVersion {
				names.record(c, bucket, piece)
			}
			t.say(polity.Progress{Stage: bucket, Done: int64(r.head.Records)})
			return to.record(bucket, key, piece)
		}); err != nil {
			return err
		}
		if odd {
			return fault.Damaged.New("backup: %s ends with a key that has no value", bucket)
		}
	}
	return r.documents(ctx, c.Documents, to)
}

// rest reads the files of watches, and events.
func (r *reader) rest(ctx context.Context, to taker, t *teller) error {
	for strings.HasPrefix(r.name, watchEntry+"/") {
		name := strings.TrimPrefix(r.name, watchEntry+"/")
		if !filepath.IsLocal(name) {
			return fault.Damaged.New("backup: entry %.100q leads out of its folder", r.name)
		}
		if r.head.Files++; r.head.Files > filesMax {
			return fault.Damaged.New("backup: more than %d files", filesMax)
		}
		if err := to.watch(name, r.data); err != nil {
			return err
		}
		if err := r.next(); err != nil {
			return err
		}
	}
	return r.events(ctx, to, t)
}

// events reads the streams of events. What is in them was made by the store's server, and is known by it alone: it was changed by nobody, as the digest
// at the end says, and the server looks at it when it is restored.
func (r *reader) events(ctx context.Context, to taker, t *teller) error {
	for _, name := range bus.EventStreams() {
		if path.Dir(r.name) != name {
			continue
		}
		var size int64
		err := to.stream(name, func(each func([]byte) error) error {
			return r.chunks(ctx, name, func(piece []byte) error {
				size += int64(len(piece))
				t.say(polity.Progress{Stage: name, Done: size, Unit: "bytes"})
				return each(piece)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// end compares what was read with what the backup's end says.
func (r *reader) end(found polity.Integrity) error {
	if r.name != headEntry {
		return fault.Damaged.New("backup: there is %.100q where %s should be: it is cut, or something was put in", r.name, headEntry)
	}
	var says polity.Backup
	if err := json.Unmarshal(r.data, &says); err != nil {
		return fault.Damaged.New("backup: %s: %w", headEntry, err)
	}
	got := &r.head
	got.Made, got.Commit, got.Head, got.Runs, got.Live = says.Made, found.Sound, found.Head, found.Runs, found.Live
	got.Documents, got.Digest = found.Documents, hex.EncodeToString(r.digest.Sum(nil))
	got.Damage, got.Events = says.Damage, says.Events
	if !reflect.DeepEqual(*got, says) {
		return fault.Damaged.New("backup: its end says something else than it holds")
	}
	if len(found.Damage) > 0 && len(says.Damage) == 0 {
		d := found.Damage[0]
		return fault.Damaged.New("backup: %s %s: %s", d.What, d.Name, d.Text)
	}
	return r.next()
}

// Restore makes a state out of a backup: a folder that is not there yet, or is empty. The backup is read twice: it is checked as Verify
// does before the first byte of it is used. The folder, with an empty file lock in it, appears when all of it is on the disk, or not at all. It returns fault.Conflict if there
// is something in the folder already, and what Verify does.
func Restore(ctx context.Context, file io.ReadSeeker, dir, lock string, names Names, tell func(polity.Progress)) (head polity.Backup, err error) {
	if found, err := os.ReadDir(dir); err == nil && len(found) > 0 {
		return head, fault.Conflict.New("restore: there is something in %s already; name a folder that is not there", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return head, fault.Denied.New("restore: %w", err)
	}
	if head, err = Verify(ctx, file, names, tell); err != nil {
		return head, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return head, fault.Unavailable.New("restore: %w", err)
	}
	work := dir + ".restoring"
	if err := os.RemoveAll(work); err != nil { // of a restore that was killed
		return head, fault.Denied.New("restore: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	if err := fill(ctx, file, work, names, tell); err != nil {
		return head, err
	}
	if err := run.WriteAnchor(filepath.Join(work, "anchor"), head.Commit, head.Head); err != nil {
		return head, err
	}
	if err := os.WriteFile(filepath.Join(work, lock), nil, 0o600); err != nil {
		return head, unrestored(err)
	}
	if err := syncAll(work); err != nil {
		return head, unrestored(err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return head, fault.Conflict.New("restore: %w", err)
	}
	if err := os.Rename(work, dir); err != nil {
		return head, unrestored(err)
	}
	return head, unrestored(syncOne(filepath.Dir(dir)))
}

func unrestored(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoSpace):
		return fault.Full.New("restore: %w", err)
	default:
		return fault.Unavailable.New("restore: %w", err)
	}
}

// restoring puts what a backup holds into the parts of a state.
type restoring struct {
	ctx     context.Context
	blobs   *run.Blobs
	bus     *bus.Bus
	log     *bus.Log
	acks    chan bus.Ack
	prev    string
	token   uint64
	buckets map[string]*bus.Bucket
	watches string
}

func fill(ctx context.Context, file io.Reader, dir string, names Names, tell func(polity.Progress)) (err error) {
	r := &restoring{ctx: ctx, acks: make(chan bus.Ack, 1), buckets: map[string]*bus.Bucket{}, watches: filepath.Join(dir, "watch")}
	if r.blobs, err = run.OpenBlobs(filepath.Join(dir, "blobs"), false); err != nil {
		return err
	}
	if r.bus, err = bus.Open(ctx, bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS}); err != nil {
		return err
	}
	defer r.bus.Close()
	if r.log, err = r.bus.Log(ctx, "p0", func(a bus.Ack) { r.acks <- a }); err != nil {
		return err
	}
	_, err = read(ctx, file, names, r, &teller{tell: func(p polity.Progress) {
		if tell != nil {
			p.Stage = "restoring " + p.Stage
			tell(p)
		}
	}})
	return errors.Join(err, r.log.Close())
}

// begin has the log begin with a commit, so that all keep their positions.
func (r *restoring) begin(first uint64) error {
	r.token = first - 1
	return r.log.Drop(r.ctx, r.token)
}

func (r *restoring) commit(data []byte) error {
	id := run.CommitID(data)
	r.token++
	if err := r.log.Append(data, id, r.prev, 0, r.token); err != nil {
		return err
	}
	r.prev = id
	select {
	case a := <-r.acks:
		if a.Err != nil {
			return a.Err
		}
		if a.Seq != r.token {
			return fault.Internal.New("restore: commit %d was written at position %d", r.token, a.Seq)
		}
		return nil
	case <-r.ctx.Done():
		return fault.Cancelled.New("restore: %w", context.Cause(r.ctx))
	}
}

func (r *restoring) document(data []byte) error {
	_, err := r.blobs.Put(data)
	return err
}

func (r *restoring) record(bucket, key string, value []byte) error {
	k := r.buckets[bucket]
	if k == nil {
		var err error
		if k, err = r.bus.Bucket(r.ctx, bucket); err != nil {
			return err
		}
		r.buckets[bucket] = k
	}
	return k.Put(r.ctx, key, value)
}

func (r *restoring) watch(name string, data []byte) error {
	path := filepath.Join(r.watches, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return unrestored(err)
	}
	return unrestored(os.WriteFile(path, data, 0o600))
}

func (r *restoring) stream(name string, pieces func(each func([]byte) error) error) error {
	var made *bus.Restoration
	if err := pieces(func(piece []byte) (err error) {
		if made != nil {
			return made.Write(r.ctx, piece)
		}
		made, err = r.bus.Restore(r.ctx, name, piece)
		return err
	}); err != nil {
		return err
	}
	if made == nil {
		return fault.Damaged.New("backup: %s has nothing in it", name)
	}
	return made.Close(r.ctx)
}

// syncAll has a folder and everything below it on the disk.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncOne(path)
	})
}

func syncOne(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
