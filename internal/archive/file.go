// Package archive keeps finished runs in files, many in each, that can be read without a node.
//
// It exists so that a log need not be the only place in which a run that ended long ago can be found. The life of such a file:
//
//	Create -> Add, a run at a time -> Finish (only then it has its name) -> Open, Export, Check, for good
package archive

import (
	"bytes"
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
	"path/filepath"
	"syscall"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/zstd"
)

// A file holds, in this order:
//
//	head      one line, a polity.ArchiveFile as JSON, filled up with spaces to headSize bytes
//	blocks    of runs; compressed, each by itself; unpacked, each run's export (see run.Partition.Export) with its length before it in eight bytes
//	index     a fileIndex as JSON, compressed
//	end       one line: where the index begins, and the digest of the file
//
// Before each block and the index stands a line with its kind, its length and its SHA-256. The digest of the file is the SHA-256 of the head and all
// of these lines, so that it stands for everything, and what is sound of a damaged file can be told from what is not.
const (
	headSize   = 1024
	partLine   = "%s %012d %x\n" // kind of partKind characters, length, SHA-256
	partKind   = 5
	partSize   = partKind + 1 + 12 + 1 + 64 + 1
	endLine    = "end %012d %x\n" // offset of the index, digest
	endSize    = 4 + 12 + 1 + 64 + 1
	blockKind  = "block"
	indexKind  = "index"
	lengthSize = 8

	blockSoft = 1 << 20   // bytes of a block, unpacked, beyond which the next begins: what one damage takes along
	fileSoft  = 256 << 20 // bytes of a file beyond which it takes no more runs
	runsMax   = 10_000    // runs of a file
	partMax   = 2 << 30   // bytes of a block or the index as it lies in the file
	indexMax  = 64 << 20  // bytes of the index, unpacked
	exportMax = 2 << 30   // bytes of a run's export
)

const (
	suffix    = ".archive"
	newSuffix = ".new" // of a file that is not complete
)

type fileIndex struct {
	Blocks []part               `json:"blocks"`
	Runs   []polity.ArchivedRun `json:"runs"` // in the order in which they lie there
}

// part is a block or the index as it lies in the file.
type part struct {
	Bytes int64  `json:"bytes"`
	Sum   string `json:"sum"` // hex SHA-256

	at int64 // offset of its line
}

func (p *part) line(kind string) []byte {
	sum, _ := hex.DecodeString(p.Sum) // what is no digest makes another line than the one that is there
	return fmt.Appendf(nil, partLine, kind, p.Bytes, sum)
}

// Writer writes a file. It is for one goroutine. Finish or Abort it.
type Writer struct {
	f     *os.File
	name  string // that the file gets
	head  polity.ArchiveFile
	index fileIndex
	end   int64 // where the next part goes
	// See Store.
	runsMax int
	step    func(what string) error

	block partWriter     // the open block, compressed
	zip   io.WriteCloser // into it; nil while none is open
	size  int64          // of the open block, unpacked
}

// partWriter writes a part behind the place for its line.
type partWriter struct {
	f    *os.File
	at   int64 // of the line
	size int64
	sum  hash.Hash
}

func (p *partWriter) Write(data []byte) (int, error) {
	n, err := p.f.WriteAt(data, p.at+partSize+p.size)
	p.size += int64(n)
	p.sum.Write(data[:n])
	return n, err
}

// end writes the line.
func (p *partWriter) end(kind string) (part, error) {
	done := part{Bytes: p.size, Sum: hex.EncodeToString(p.sum.Sum(nil))}
	_, err := p.f.WriteAt(done.line(kind), p.at)
	return done, unwritten(err)
}

// Create begins a file of an organization's runs, which appears with the name when it is finished.
func Create(name, org string, made time.Time) (*Writer, error) {
	f, err := os.OpenFile(name+newSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, unwritten(err)
	}
	w := &Writer{f: f, name: name, end: headSize, runsMax: runsMax}
	w.head = polity.ArchiveFile{Format: polity.ArchiveFileFormat, Version: polity.ArchiveFileVersion, Org: org, Made: made.UTC().Truncate(time.Second)}
	return w, nil
}

// Full says that the file takes no more runs.
func (w *Writer) Full() bool { return w.end+w.block.size >= fileSoft || len(w.index.Runs) >= w.runsMax }

// Add puts in a run and its export, of which r.Bytes is the length. Where it lies is filled in. After an error the file can only be aborted.
func (w *Writer) Add(r polity.ArchivedRun, export io.Reader) error {
	if w.zip == nil {
		if err := w.beginBlock(); err != nil {
			return err
		}
	}
	r.Block, r.Offset = len(w.index.Blocks), w.size+lengthSize
	if _, err := w.zip.Write(binary.BigEndian.AppendUint64(nil, uint64(r.Bytes))); err != nil {
		return unwritten(err)
	}
	if n, err := io.Copy(w.zip, export); err != nil {
		return unwritten(err)
	} else if n != r.Bytes {
		return fault.Internal.New("archive: the export of %s has %d bytes instead of %d", r.Run, n, r.Bytes)
	}
	w.size += lengthSize + r.Bytes
	w.index.Runs = append(w.index.Runs, r)
	w.count(&r)
	if w.size >= blockSoft {
		return w.endBlock()
	}
	return nil
}

// count has the head tell of a run.
func (w *Writer) count(r *polity.ArchivedRun) {
	h := &w.head
	if h.Runs == 0 {
		h.From, h.To, h.First, h.Last = r.Ended, r.Ended, r.First, r.Last
	}
	h.Runs++
	h.Bytes += r.Bytes
	h.First, h.Last = min(h.First, r.First), max(h.Last, r.Last)
	if r.Ended.Before(h.From) {
		h.From = r.Ended
	}
	if r.Ended.After(h.To) {
		h.To = r.Ended
	}
}

func (w *Writer) beginBlock() (err error) {
	w.block, w.size = w.part(), 0
	w.zip, err = zstd.NewWriter(&w.block)
	return err
}

func (w *Writer) part() partWriter { return partWriter{f: w.f, at: w.end, sum: sha256.New()} }

func (w *Writer) endBlock() error {
	if w.zip == nil {
		return nil
	}
	if err := w.zip.Close(); err != nil {
		return unwritten(err)
	}
	w.zip = nil
	p, err := w.block.end(blockKind)
	w.index.Blocks = append(w.index.Blocks, p)
	w.end += partSize + p.Bytes
	w.block = partWriter{}
	return err
}

// Finish completes the file, and returns when it and its name are on the disk. It returns fault.Conflict if there is a file with the name.
func (w *Writer) Finish() (polity.ArchiveFile, error) {
	err := w.complete()
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		return w.head, errors.Join(unwritten(err), w.Abort())
	}
	if err := w.at("rename"); err != nil {
		return w.head, errors.Join(err, w.f.Close())
	}
	if _, err := os.Lstat(w.name); !errors.Is(err, fs.ErrNotExist) {
		return w.head, errors.Join(fault.Conflict.New("archive: there is a file %s already", w.name), w.Abort())
	}
	if err := os.Rename(w.f.Name(), w.name); err != nil {
		return w.head, errors.Join(unwritten(err), w.Abort())
	}
	if err := errors.Join(w.f.Close(), syncDir(filepath.Dir(w.name))); err != nil {
		return w.head, unwritten(err)
	}
	return w.head, w.at("finished")
}

// complete writes the rest of the file.
func (w *Writer) complete() error {
	if err := w.endBlock(); err != nil {
		return err
	}
	head, err := headLine(w.head)
	if err != nil {
		return err
	}
	out := w.part()
	if err := packIndex(&out, &w.index); err != nil {
		return err
	}
	index, err := out.end(indexKind)
	if err != nil {
		return err
	}
	digest := fileDigest(head, w.index.Blocks, index)
	end := fmt.Appendf(nil, endLine, w.end, digest)
	w.end += partSize + index.Bytes
	if _, err := w.f.WriteAt(end, w.end); err != nil {
		return unwritten(err)
	}
	if _, err := w.f.WriteAt(head, 0); err != nil {
		return unwritten(err)
	}
	w.head.Path, w.head.Size, w.head.Digest = w.name, w.end+endSize, hex.EncodeToString(digest)
	return nil
}

// Abort leaves nothing of a file that is not finished.
func (w *Writer) Abort() error {
	return unwritten(errors.Join(w.f.Close(), os.Remove(w.f.Name())))
}

func headLine(h polity.ArchiveFile) ([]byte, error) {
	line, err := json.Marshal(h)
	if err != nil || len(line) >= headSize {
		return nil, fault.Internal.New("archive: a head of %d bytes: %w", len(line), err)
	}
	return append(append(line, bytes.Repeat([]byte{' '}, headSize-1-len(line))...), '\n'), nil
}

func packIndex(w io.Writer, x *fileIndex) error {
	zip, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	return unwritten(errors.Join(json.NewEncoder(zip).Encode(x), zip.Close()))
}

func fileDigest(head []byte, blocks []part, index part) []byte {
	h := sha256.New()
	h.Write(head)
	for i := range blocks {
		h.Write(blocks[i].line(blockKind))
	}
	h.Write(index.line(indexKind))
	return h.Sum(nil)
}

// unwritten is why a file could not be written.
func unwritten(err error) error {
	switch {
	case err == nil:
		return nil
	case fault.Of(err).Kind != fault.Internal:
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fault.Full.New("archive: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return fault.Denied.New("archive: %w", err)
	default:
		return fault.Unavailable.New("archive: %w", err)
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// File is a file that is open for reading. Its methods may be called by many goroutines at once.
type File struct {
	Head polity.ArchiveFile
	Runs []polity.ArchivedRun // in the order in which they lie there

	r      io.ReaderAt
	size   int64
	blocks []part
	close  func() error
}

// Open opens a file. Its head, its index and its end are checked; blocks are when they are read. It returns fault.NotFound if there is none,
// fault.Invalid for what is no archive, or one of a version that is not known here, and fault.Damaged for one that is not whole. Close it.
func Open(path string) (*File, error) {
	f, size, err := openFile(path)
	if err != nil {
		return nil, err
	}
	file := &File{r: f, size: size, close: f.Close}
	if err := file.load(); err != nil {
		return nil, errors.Join(at(path, err), f.Close())
	}
	file.Head.Path, file.Head.Size = path, size
	return file, nil
}

// at names the file in an error.
func at(path string, err error) error { return fault.Of(err).Kind.New("%s: %w", path, err) }

func openFile(path string) (*os.File, int64, error) {
	f, err := os.Open(filepath.Clean(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fault.NotFound.New("%w", err)
	case err != nil:
		return nil, 0, fault.Denied.New("%w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.Invalid.New("archive: %s is no file", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Close closes the file.
func (f *File) Close() error { return f.close() }

// load reads what the file says of itself.
func (f *File) load() error {
	head, err := f.readHead()
	if err != nil {
		return err
	}
	at, digest, err := f.readEnd()
	if err != nil {
		return err
	}
	index, data, err := f.readPart(indexKind, at)
	if err != nil {
		return err
	}
	if index.at+partSize+index.Bytes+endSize != f.size {
		return fault.Damaged.New("archive: its index does not end where its end begins")
	}
	x, err := unpackIndex(data)
	if err != nil {
		return err
	}
	if hex.EncodeToString(fileDigest(head, x.Blocks, index)) != digest {
		return fault.Damaged.New("archive: its head, its index or its end was changed")
	}
	f.Head.Digest = digest
	return f.take(x, at)
}

// take takes over an index that lies at an offset, if it makes sense.
func (f *File) take(x *fileIndex, end int64) error {
	at := int64(headSize)
	for i := range x.Blocks {
		b := &x.Blocks[i]
		b.at = at
		if b.Bytes <= 0 || b.Bytes > partMax {
			return fault.Damaged.New("archive: its index tells of a block of %d bytes", b.Bytes)
		}
		if at += partSize + b.Bytes; at > end {
			return fault.Damaged.New("archive: its index tells of more than there is")
		}
	}
	if at != end {
		return fault.Damaged.New("archive: its index does not tell of everything")
	}
	for i := range x.Runs {
		r := &x.Runs[i]
		if r.Block < 0 || r.Block >= len(x.Blocks) || r.Offset < lengthSize || r.Bytes < 0 || r.Bytes > exportMax {
			return fault.Damaged.New("archive: its index does not make sense: run %.100q", r.Run)
		}
	}
	if len(x.Runs) != f.Head.Runs {
		return fault.Damaged.New("archive: its head tells of %d runs, and its index of %d", f.Head.Runs, len(x.Runs))
	}
	f.blocks, f.Runs = x.Blocks, x.Runs
	return nil
}

func (f *File) readHead() ([]byte, error) {
	line := make([]byte, headSize)
	if n, err := f.r.ReadAt(line, 0); err != nil && n < headSize {
		return nil, fault.Invalid.New("archive: this is not an archive of runs")
	}
	if err := json.Unmarshal(line, &f.Head); err != nil || f.Head.Format != polity.ArchiveFileFormat || line[headSize-1] != '\n' {
		return nil, fault.Invalid.New("archive: this is not an archive of runs, or its first line was changed")
	}
	if f.Head.Version != polity.ArchiveFileVersion {
		return nil, fault.Invalid.New("archive: version %d; this program knows %d. A newer one wrote it?", f.Head.Version, polity.ArchiveFileVersion)
	}
	h := f.Head
	if again, err := headLine(h); err != nil || !bytes.Equal(again, line) {
		return nil, fault.Damaged.New("archive: its first line was changed")
	}
	return line, nil
}

// readEnd returns the offset of the index and the digest that the end tells.
func (f *File) readEnd() (int64, string, error) {
	missing := fault.Damaged.New("archive: it has no end: it is cut, or was changed there")
	if f.size < headSize+endSize {
		return 0, "", missing
	}
	line := make([]byte, endSize)
	if _, err := f.r.ReadAt(line, f.size-endSize); err != nil {
		return 0, "", fault.Unavailable.New("archive: %w", err)
	}
	var at int64
	var digest []byte
	if _, err := fmt.Sscanf(string(line), endLine, &at, &digest); err != nil || !bytes.Equal(fmt.Appendf(nil, endLine, at, digest), line) {
		return 0, "", missing
	}
	if at < headSize || at > f.size-endSize-partSize {
		return 0, "", missing
	}
	return at, hex.EncodeToString(digest), nil
}

// readPart finds a block or the index that lies at an offset, and returns what it holds, compressed, after that was held against its digest.
func (f *File) readPart(kind string, at int64) (part, io.Reader, error) {
	p, err := f.partAt(kind, at)
	if err != nil {
		return p, nil, err
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, io.NewSectionReader(f.r, at+partSize, p.Bytes)); err != nil || n != p.Bytes {
		return p, nil, fault.Damaged.New("archive: the %s at byte %d is cut", kind, at)
	}
	if hex.EncodeToString(sum.Sum(nil)) != p.Sum {
		return p, nil, fault.Damaged.New("archive: the %s at byte %d is not what its digest says", kind, at)
	}
	return p, io.NewSectionReader(f.r, at+partSize, p.Bytes), nil
}

// partAt reads the line before a part.
func (f *File) partAt(kind string, at int64) (part, error) {
	line := make([]byte, partSize)
	if n, err := f.r.ReadAt(line, at); err != nil && n < partSize {
		return part{}, fault.Damaged.New("archive: it ends at byte %d, where there should be more", f.size)
	}
	var found string
	var size int64
	var sum []byte
	_, err := fmt.Sscanf(string(line), partLine, &found, &size, &sum)
	p := part{Bytes: size, Sum: hex.EncodeToString(sum), at: at}
	if err != nil || found != kind || size <= 0 || size > partMax || !bytes.Equal(p.line(kind), line) {
		return p, fault.Damaged.New("archive: there is no %s at byte %d", kind, at)
	}
	return p, nil
}

func unpackIndex(data io.Reader) (*fileIndex, error) {
	zip, err := zstd.NewReader(data)
	if err != nil {
		return nil, err
	}
	defer zip.Close() // it closes what it made itself
	plain, err := io.ReadAll(io.LimitReader(zip, indexMax+1))
	if err != nil || len(plain) > indexMax {
		return nil, fault.Damaged.New("archive: its index cannot be unpacked, or is larger than %d bytes: %w", indexMax, err)
	}
	var x fileIndex
	if err := json.Unmarshal(plain, &x); err != nil {
		return nil, fault.Damaged.New("archive: its index: %w", err)
	}
	return &x, nil
}

// Find returns a run of the file, or fault.NotFound.
func (f *File) Find(id polity.RunID) (polity.ArchivedRun, error) {
	for i := range f.Runs {
		if f.Runs[i].Run == id {
			return f.Runs[i], nil
		}
	}
	return polity.ArchivedRun{}, fault.NotFound.New("archive: run %s is not in %s", id, f.Head.Path)
}

// Export gives the export of a run of the file, as polity runs verify and import read it. Its block is checked before.
func (f *File) Export(r polity.ArchivedRun, read func(io.Reader) error) error {
	_, data, err := f.readPart(blockKind, f.blocks[r.Block].at)
	if err != nil {
		return err
	}
	zip, err := zstd.NewReader(data)
	if err != nil {
		return err
	}
	defer zip.Close() // it closes what it made itself
	if n, err := io.CopyN(io.Discard, zip, r.Offset); err != nil {
		return fault.Damaged.New("archive: block %d ends at byte %d, before %s: %w", r.Block, n, r.Run, err)
	}
	return read(io.LimitReader(zip, r.Bytes))
}

// orgFolder refuses what cannot be the name of a folder.
func orgFolder(org string) error {
	if err := polity.AgentName(org).Check(); err != nil {
		return fault.Invalid.New("archive: organization %.80q cannot be a folder's name", org)
	}
	return nil
}

func (w *Writer) at(step string) error {
	if w.step == nil {
		return nil
	}
	return w.step(step)
}
