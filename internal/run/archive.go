package run

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path"
	"reflect"
	"slices"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
)

// An archive is a gzipped tar of one run and everything below it, in this order:
//
//	archive.json   a polity.Archive
//	log            the run's records in frames (see frame.go), each with its length before it in four bytes
//	blobs/HEX      the release, the files that it pins, and large payloads, by their SHA-256
//
// The frames are those of the partition's log without what they tell of other runs, chained anew from zeros and of no
// owner: the same run makes the same log wherever it is exported.
const (
	archiveHead = "archive.json"
	archiveLog  = "log"
	archiveBlob = "blobs"

	archiveMax      = 1 << 30    // bytes of an archive, unpacked
	archiveHeadMax  = 4 << 20    // bytes of its head
	archiveBlobsMax = 10_000     // documents in it
	archiveLogMax   = payloadMax // bytes of its log
)

// Pinned returns the digests of the files that a release pins.
type Pinned func(release []byte) ([]Digest, error)

// Export writes an archive of a run as far as the log tells of it now. It returns fault.NotFound if there is no such run or the
// store has not all of it, and fault.Full if the run is larger than an archive may be.
func (p *Partition) Export(ctx context.Context, id polity.RunID, pinned Pinned, w io.Writer) (polity.Archive, error) {
	return p.export(ctx, id, pinned, gzip.NewWriter(w))
}

// ExportStored is Export for those who compress by themselves: the archive's gzip only wraps.
func (p *Partition) ExportStored(ctx context.Context, id polity.RunID, pinned Pinned, w io.Writer) (polity.Archive, error) {
	zip := storing.Get().(*gzip.Writer)
	defer storing.Put(zip)
	zip.Reset(w)
	return p.export(ctx, id, pinned, zip)
}

// storing keeps writers that only wrap, each of which is large.
var storing = sync.Pool{New: func() any {
	zip, err := gzip.NewWriterLevel(nil, gzip.NoCompression)
	if err != nil {
		panic("run: " + err.Error()) // the level is one that there is
	}
	return zip
}}

func (p *Partition) export(ctx context.Context, id polity.RunID, pinned Pinned, zip *gzip.Writer) (polity.Archive, error) {
	x, err := p.extract(ctx, id)
	if err != nil {
		return polity.Archive{}, err
	}
	return p.write(x, pinned, zip)
}

// write writes the archive of a run whose log was extracted.
func (p *Partition) write(x *extraction, pinned Pinned, zip *gzip.Writer) (polity.Archive, error) {
	t := x.told
	release, err := p.cfg.Blobs.Get(t.release)
	if err != nil {
		return polity.Archive{}, err
	}
	if err := t.needs(release, pinned); err != nil {
		return polity.Archive{}, err
	}
	head, err := json.MarshalIndent(t.head, "", "  ")
	if err != nil {
		return polity.Archive{}, fault.Internal.New("archive: %w", err)
	}
	out := tar.NewWriter(zip)
	err = errors.Join(t.put(out, archiveHead, append(head, '\n')), t.put(out, archiveLog, x.log))
	for _, name := range t.head.Blobs {
		if err != nil {
			break
		}
		var data []byte
		if data, err = p.cfg.Blobs.Get(t.digest(name)); err == nil {
			err = t.put(out, path.Join(archiveBlob, name), data)
		}
	}
	if err = errors.Join(err, out.Close(), zip.Close()); err != nil {
		return polity.Archive{}, archiveFault(err)
	}
	return t.head, nil
}

// archiveFault keeps the kind of a fault, and takes everything else for what became of the file.
func archiveFault(err error) error {
	if k := fault.Of(err).Kind; k != fault.Internal {
		return k.New("archive: %w", err)
	}
	return fault.Unavailable.New("archive: %w", err)
}

func (t *telling) put(out *tar.Writer, name string, data []byte) error {
	h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: t.at.Truncate(time.Second)}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

// extraction makes a log of one run out of the partition's.
type extraction struct {
	id     polity.RunID
	told   *telling
	log    []byte
	buf    []byte // the commit that is being gathered
	commit uint64
	when   time.Time
}

// add takes the next record.
func (x *extraction) add(at time.Time, seq uint64, rec *record) error {
	if x.buf == nil || seq != x.commit || !at.Equal(x.when) { // what a fork took over has times of its own
		if err := x.flush(); err != nil {
			return err
		}
		x.commit, x.when, x.buf = seq, at, beginFrame(nil, [8]byte{}, x.told.prev, at)
	}
	x.buf = appendRecord(x.buf, rec)
	if rec.newer() || rec.sealed() {
		x.buf[0] = frameImports
	}
	return nil
}

// flush ends a commit.
func (x *extraction) flush() error {
	if x.buf == nil {
		return nil
	}
	if len(x.log)+4+len(x.buf) > archiveLogMax {
		return fault.Full.New("archive: the log of %s is larger than %d bytes", x.id, archiveLogMax)
	}
	x.log = binary.BigEndian.AppendUint32(x.log, uint32(len(x.buf)))
	x.log = append(x.log, x.buf...)
	err := x.told.frame(x.buf)
	x.buf = nil
	return err
}

func (p *Partition) extract(ctx context.Context, id polity.RunID) (*extraction, error) {
	x := &extraction{id: id, told: newTelling()}
	if err := p.events(ctx, id, x.add); err != nil {
		return nil, err
	}
	return x, x.flush()
}

// Import takes over a run that an archive holds, after all of it was checked. Only a run that has ended is taken: one that has not
// would go on in two places, and do twice what may be done once. It returns fault.Conflict if there is such a run already,
// fault.Invalid for one that has not ended and for what is no archive, fault.Damaged for an archive that is not whole, and fault.Full
// if there is no room.
func (p *Partition) Import(ctx context.Context, r io.Reader, pinned Pinned) (polity.Archive, error) {
	if err := p.room(); err != nil {
		return polity.Archive{}, err
	}
	t, log, err := readArchive(r, pinned, func(a polity.Archive) error {
		if n, err := a.Run.Partition(); err != nil || n != 0 {
			return fault.Invalid.New("archive: %q is not the ID of a run on partition 0", a.Run)
		}
		if !a.Status.Final() {
			return fault.Invalid.New("archive: run %s has not ended: imported, it would go on in two places; export it again when it has", a.Run)
		}
		there, err := p.Readable(ctx, a.Run)
		if there {
			err = fault.Conflict.New("archive: there is a run %s already", a.Run)
		}
		return err
	}, func(data []byte) error { _, err := p.cfg.Blobs.Put(data); return err })
	if err != nil {
		return polity.Archive{}, err
	}
	d, err := p.cfg.Blobs.Put(log)
	if err != nil {
		return polity.Archive{}, err
	}
	a := t.head
	rec := &record{
		kind: recImported, run: a.Run, release: t.release, agent: a.Agent, request: t.request, status: a.Status, usage: a.Usage,
		opened: a.Opened, ended: a.Ended, data: payload{blob: d, size: uint64(len(log))},
	}
	return a, p.call(ctx, func(c *core, done func(error)) { c.importRun(rec, done) })
}

// Verify reads an archive and checks that it is whole: that its log is one chain that tells of one run from its opening on, that
// its head says what the log does, and that every document is there, nothing else is, and each is what its digest says. It
// does not say who wrote it. It returns fault.Invalid for what is no archive, and fault.Damaged for one that is not whole.
func Verify(r io.Reader, pinned Pinned) (polity.Archive, error) {
	t, _, err := readArchive(r, pinned, func(polity.Archive) error { return nil }, func([]byte) error { return nil })
	if err != nil {
		return polity.Archive{}, err
	}
	return t.head, nil
}

// readArchive reads and checks an archive. accept is asked once the log is known to be whole, and keep is given
// each document after it.
func readArchive(r io.Reader, pinned Pinned, accept func(polity.Archive) error, keep func([]byte) error) (*telling, []byte, error) {
	file := bufio.NewReader(r)
	zip, err := gzip.NewReader(file)
	if err != nil {
		return nil, nil, fault.Invalid.New("archive: not an archive of a run: %w", err)
	}
	zip.Multistream(false)
	a := &archiveReader{tar: tar.NewReader(io.LimitReader(zip, archiveMax))}
	claimed, err := a.readHead()
	if err != nil {
		return nil, nil, err
	}
	t, log, err := a.readLog()
	if err != nil {
		return nil, nil, err
	}
	told := t.head
	told.Blobs = claimed.Blobs // which the log alone does not tell
	if !reflect.DeepEqual(told, *claimed) {
		return nil, nil, fault.Damaged.New("archive: its head says something else than its log")
	}
	if err := accept(told); err != nil {
		return nil, nil, err
	}
	if err := a.readBlobs(t, claimed.Blobs, pinned, keep); err != nil {
		return nil, nil, err
	}
	if n, err := zip.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, nil, fault.Damaged.New("archive: there is more after its end, or its checksum is wrong")
	}
	if _, err := file.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, nil, fault.Damaged.New("archive: there is more after its end")
	}
	return t, log, nil
}

type archiveReader struct{ tar *tar.Reader }

// next reads the next file, which has to have the name.
func (a *archiveReader) next(name string, most int64) ([]byte, error) {
	h, err := a.tar.Next()
	if err != nil {
		return nil, fault.Damaged.New("archive: it ends before %s, or cannot be read: %w", name, err)
	}
	if h.Name != name || h.Typeflag != tar.TypeReg {
		return nil, fault.Damaged.New("archive: there is %.100q where %s should be", h.Name, name)
	}
	if h.Size > most {
		return nil, fault.Damaged.New("archive: %s has %d bytes; the most is %d", name, h.Size, most)
	}
	var b bytes.Buffer // it grows with what comes, and not with what the header says will
	if _, err := io.Copy(&b, a.tar); err != nil {
		return nil, fault.Damaged.New("archive: %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func (a *archiveReader) readHead() (*polity.Archive, error) {
	data, err := a.next(archiveHead, archiveHeadMax)
	if err != nil {
		return nil, fault.Invalid.New("archive: not an archive of a run: %w", err)
	}
	var head polity.Archive
	if err := json.Unmarshal(data, &head); err != nil || head.Format != polity.ArchiveFormat {
		return nil, fault.Invalid.New("archive: not an archive of a run: %s does not say so", archiveHead)
	}
	if head.Version != polity.ArchiveVersion {
		return nil, fault.Invalid.New("archive: version %d; this program knows %d. A newer one wrote it?", head.Version, polity.ArchiveVersion)
	}
	if len(head.Blobs) > archiveBlobsMax {
		return nil, fault.Damaged.New("archive: %d documents; the most is %d", len(head.Blobs), archiveBlobsMax)
	}
	return &head, nil
}

func (a *archiveReader) readLog() (*telling, []byte, error) {
	log, err := a.next(archiveLog, archiveLogMax)
	if err != nil {
		return nil, nil, err
	}
	t := newTelling()
	if err := eachFrame(log, t.frame); err != nil {
		return nil, nil, err
	}
	if t.head.Commits == 0 {
		return nil, nil, fault.Damaged.New("archive: its log is empty")
	}
	return t, log, nil
}

// eachFrame gives the frames of an archive's log.
func eachFrame(log []byte, each func([]byte) error) error {
	for len(log) > 0 {
		if len(log) < 4 || uint64(binary.BigEndian.Uint32(log)) > uint64(len(log)-4) {
			return fault.Damaged.New("archive: its log is cut")
		}
		n := binary.BigEndian.Uint32(log)
		if err := each(log[4 : 4+n : 4+n]); err != nil {
			return err
		}
		log = log[4+n:]
	}
	return nil
}

// readBlobs reads the documents, which have to be those that the log, the release and the head name.
func (a *archiveReader) readBlobs(t *telling, names []string, pinned Pinned, keep func([]byte) error) error {
	var release []byte
	for _, name := range names {
		data, err := a.next(path.Join(archiveBlob, name), payloadMax)
		if err != nil {
			return err
		}
		d := Digest(sha256.Sum256(data))
		if hex.EncodeToString(d[:]) != name {
			return fault.Damaged.New("archive: document %.64s is not what its digest says", name)
		}
		if size := t.sizes[d]; size > 0 && size != uint64(len(data)) {
			return fault.Damaged.New("archive: document %s has %d bytes, and the log says %d", name, len(data), size)
		}
		if d == t.release {
			release = data
		}
		if err := keep(data); err != nil {
			return err
		}
	}
	if h, err := a.tar.Next(); !errors.Is(err, io.EOF) {
		if err == nil {
			return fault.Damaged.New("archive: there is %.100q, which its head does not name", h.Name)
		}
		return fault.Damaged.New("archive: %w", err)
	}
	if release == nil {
		return fault.Damaged.New("archive: release %x is missing", t.release)
	}
	if err := t.needs(release, pinned); err != nil {
		return err
	}
	if !slices.Equal(t.head.Blobs, names) {
		return fault.Damaged.New("archive: it does not hold exactly the documents that its log and its release name")
	}
	return nil
}

// telling is what the log of one run tells, as an archive's head says it. It refuses a log that no run has.
type telling struct {
	head    polity.Archive
	release Digest
	request requestHash
	sizes   map[Digest]uint64 // of large payloads
	prev    hash
	at      time.Time
	open    map[polity.RunID]bool
	buf     frame
}

func newTelling() *telling {
	return &telling{
		head:  polity.Archive{Format: polity.ArchiveFormat, Version: polity.ArchiveVersion},
		sizes: map[Digest]uint64{}, open: map[polity.RunID]bool{},
	}
}

// frame takes the next commit.
func (t *telling) frame(data []byte) error {
	f := &t.buf
	if len(data) > frameMax {
		return fault.Damaged.New("archive: a commit of %d bytes", len(data))
	}
	if err := f.decode(data); err != nil {
		return err
	}
	t.head.Commits++
	switch {
	case f.prev != t.prev:
		return fault.Damaged.New("archive: commit %d does not follow the one before: the chain of hashes is broken there", t.head.Commits)
	case f.at.Before(t.at):
		return fault.Damaged.New("archive: commit %d is from before the one before", t.head.Commits)
	case f.epoch != [8]byte{} || len(f.records) == 0:
		return fault.Damaged.New("archive: commit %d is not as an export writes it", t.head.Commits)
	}
	t.at, t.prev = f.at, sha256.Sum256(data)
	t.head.Head = hex.EncodeToString(t.prev[:])
	for i := range f.records {
		if err := t.record(&f.records[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *telling) record(r *record) error {
	t.head.Events++
	first := t.head.Events == 1
	switch {
	case first && (r.kind != recOpened || r.run.Parent() != ""):
		return fault.Damaged.New("archive: its log does not begin with the opening of a run")
	case first:
		t.head.Run, t.head.Agent, t.head.Opened = r.run, r.agent, t.at
		t.head.Release, t.release, t.request = hex.EncodeToString(r.release[:]), r.release, r.request
		t.open[r.run] = true
	case r.kind == recOpened:
		if t.open[r.run] || !t.open[r.run.Parent()] {
			return fault.Damaged.New("archive: event %d opens %.200s again, or below what is not open", t.head.Events, r.run)
		}
		t.open[r.run] = true
	case (r.kind == recReconciled || r.kind == recSettled) && r.run.Root() == t.head.Run: // they may come after the end
	case r.kind == recClaim || r.kind == recImported || r.kind == recForked || !t.open[r.run]:
		return fault.Damaged.New("archive: event %d tells of %.200s, which is not open", t.head.Events, r.run)
	case r.kind == recFinished:
		delete(t.open, r.run)
		if r.run == t.head.Run {
			t.head.Status, t.head.Usage, t.head.Ended = r.status, r.usage, t.at
			clear(t.open)
		}
	}
	if r.usage != clipUsage(r.usage) || r.kind == recFinished && !r.status.Final() {
		return fault.Damaged.New("archive: event %d does not make sense", t.head.Events)
	}
	if r.data.size > 0 {
		t.sizes[r.data.blob] = r.data.size
	}
	return nil
}

// needs fills in the documents that belong to the run.
func (t *telling) needs(release []byte, pinned Pinned) error {
	files, err := pinned(release)
	if err != nil {
		return err
	}
	all := map[string]bool{hex.EncodeToString(t.release[:]): true}
	for d := range t.sizes {
		all[hex.EncodeToString(d[:])] = true
	}
	for _, d := range files {
		all[hex.EncodeToString(d[:])] = true
	}
	if len(all) > archiveBlobsMax {
		return fault.Full.New("archive: %d documents; the most is %d", len(all), archiveBlobsMax)
	}
	t.head.Blobs = make([]string, 0, len(all))
	for name := range all {
		t.head.Blobs = append(t.head.Blobs, name)
	}
	slices.Sort(t.head.Blobs)
	return nil
}

// digest reads a name that needs made.
func (t *telling) digest(name string) (d Digest) {
	if n, err := hex.Decode(d[:], []byte(name)); err != nil || n != len(d) {
		panic("run: not a digest: " + name)
	}
	return d
}
