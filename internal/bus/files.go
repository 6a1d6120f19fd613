package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/highwayhash"

	"polity.run/fault"
)

// What the server's files look like (nats-server, server/filestore.go): a stream is a folder of blocks, a block is a file of records.
//
//	record = length:4  sequence:8  time:8  subject length:2  subject  [header length:4  header]  data  checksum:8
//
// Numbers are little-endian. The highest bit of the length says that there is a header; the two highest bits of the sequence that the
// record was erased, or tells of one that was deleted. The checksum is HighwayHash-64 of everything but the lengths.
const (
	streamsPath  = "jetstream/" + engineAcct + "/streams"
	recordHead   = 4 + 8 + 8 + 2
	recordSum    = highwayhash.Size64
	recordMax    = payloadMax + 1<<20
	headerBit    = 1 << 31
	erasedBit    = 1 << 63
	tombstoneBit = 1 << 62
	readAhead    = 1 << 20
	growTries    = 4 // looks at a record that is being written, before it is taken to be cut
	growWait     = 25 * time.Millisecond
)

// Record is one record of a stream's files.
type Record struct {
	Seq     uint64
	Subject string
	Data    []byte // good until the next record
	Size    int    // bytes in the file
	// Damage says what is wrong with it; the rest cannot be relied on then. nil for nothing.
	Damage error
}

// Streams returns the names of the streams in a store's folder, sorted.
func Streams(dir string) ([]string, error) {
	found, err := os.ReadDir(filepath.Join(dir, streamsPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Denied.New("bus: look at the store: %w", err)
	}
	var names []string
	for _, f := range found {
		if f.IsDir() {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

// LogStream is the name of the stream that holds a log.
func LogStream(name string) string { return "LOG_" + name }

// Scan reads a stream's files, in the order of writing, without a server and without changing anything: what a server makes of a damaged
// file is to drop the rest of it. Another process may serve the store meanwhile; a record that it has just begun to write is waited for.
// Erased and deleted records are left out where the files say so. A record that is damaged is given with its Damage; the reading then goes on
// as well as it can. It ends with each's error, with fault.NotFound if there is no such stream, and with fault.Denied if a file cannot be read.
func Scan(ctx context.Context, dir, stream string, each func(Record) error) error {
	folder := filepath.Join(dir, streamsPath, stream, "msgs")
	blocks, err := blocksOf(folder)
	if err != nil {
		return err
	}
	for i, index := range blocks {
		s, err := newScanner(folder, stream, index, each)
		if err != nil {
			return err
		}
		s.last = i == len(blocks)-1
		err = s.block(ctx)
		if errors.Is(err, fs.ErrNotExist) && !s.last {
			continue // the server has just removed it: all that it held was deleted
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// FirstOf returns the position of the first record of a stream that can be read, as Scan does; 0 for none.
func FirstOf(ctx context.Context, dir, stream string) (first uint64, err error) {
	found := errors.New("found")
	err = Scan(ctx, dir, stream, func(r Record) error {
		if r.Damage != nil {
			return nil
		}
		first = r.Seq
		return found
	})
	if errors.Is(err, found) || errors.Is(err, fault.NotFound) {
		err = nil
	}
	return first, err
}

// blocksOf returns the numbers of a stream's blocks in their order.
func blocksOf(folder string) ([]int, error) {
	files, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("bus: scan: there is no folder %s", folder)
	}
	if err != nil {
		return nil, fault.Denied.New("bus: scan: %w", err)
	}
	var blocks []int
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".blk"); ok {
			if n, err := strconv.Atoi(name); err == nil {
				blocks = append(blocks, n)
			}
		}
	}
	slices.Sort(blocks)
	return blocks, nil
}

// scanner reads one block.
type scanner struct {
	path string
	last bool // the block that is being written, if one is
	sum  interface {
		io.Writer
		Reset()
		Sum([]byte) []byte
	}
	each func(Record) error
	keep func(raw []byte) error // if not nil, given what is sound; what is not is passed over until something is
	buf  []byte
}

func newScanner(folder, stream string, index int, each func(Record) error) (*scanner, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return nil, fault.Internal.New("bus: scan: %w", err)
	}
	return &scanner{path: filepath.Join(folder, strconv.Itoa(index)+".blk"), sum: sum, each: each}, nil
}

func (s *scanner) block(ctx context.Context) error {
	f, err := os.Open(s.path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return fault.Denied.New("bus: scan: %w", err)
	}
	defer f.Close()
	for at := int64(0); ; {
		if ctx.Err() != nil {
			return fault.Cancelled.New("bus: scan: %w", context.Cause(ctx))
		}
		raw, err := s.next(ctx, f, at)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, fault.Damaged) {
			return err
		}
		if err != nil { // where the next record begins is not known
			err := s.each(Record{Damage: err})
			if s.keep == nil || err != nil {
				return err
			}
			if at, err = s.find(f, at+1); err != nil {
				return err
			}
			continue
		}
		r, ok := s.record(raw, at)
		if ok {
			err = s.each(r)
		}
		next := at + int64(len(raw))
		switch {
		case s.keep == nil || err != nil:
		case r.Damage == nil:
			err = s.keep(raw)
		default: // its length may be what is wrong
			next, err = s.find(f, at+1)
		}
		if err != nil {
			return err
		}
		at = next
	}
}

// find returns the position of the next sound record from one on, or that of the end.
func (s *scanner) find(f *os.File, at int64) (int64, error) {
	for ; ; at++ {
		raw, want, err := s.read(f, at)
		if err != nil {
			return 0, fault.Denied.New("bus: scan: %w", err)
		}
		if len(raw) == 0 {
			return at, nil
		}
		if len(raw) != want || want == recordHead {
			continue
		}
		if r, _ := s.record(raw, at); r.Damage == nil {
			return at, nil
		}
	}
}

// next reads the record at a position, waiting for one that is being written. io.EOF says that there is none.
func (s *scanner) next(ctx context.Context, f *os.File, at int64) ([]byte, error) {
	for try := 0; ; try++ {
		raw, want, err := s.read(f, at)
		switch {
		case err != nil:
			return nil, fault.Denied.New("bus: scan: %w", err)
		case want < 0:
			return nil, fault.Damaged.New("%s: at byte %d there is no record", filepath.Base(s.path), at)
		case len(raw) == want:
			return raw, nil
		case len(raw) == 0:
			return nil, io.EOF
		case !s.last || try == growTries:
			return nil, fault.Damaged.New("%s: the record at byte %d is cut: %d of %d bytes", filepath.Base(s.path), at, len(raw), want)
		}
		select {
		case <-time.After(growWait):
		case <-ctx.Done():
			return nil, fault.Cancelled.New("bus: scan: %w", context.Cause(ctx))
		}
	}
}

// read reads as much of the record at a position as is there, and says how long it should be: -1 for no record's length.
func (s *scanner) read(f *os.File, at int64) ([]byte, int, error) {
	want := recordHead
	for {
		if cap(s.buf) < want {
			s.buf = make([]byte, max(want, readAhead))
		}
		n, err := f.ReadAt(s.buf[:want], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		if n < want || want > recordHead {
			return s.buf[:n], want, nil
		}
		want = int(binary.LittleEndian.Uint32(s.buf) &^ headerBit)
		if want < recordHead+recordSum || want > recordMax {
			return nil, -1, nil
		}
	}
}

// record takes a record apart. It returns false for one that holds no message.
func (s *scanner) record(raw []byte, at int64) (Record, bool) {
	r := Record{Seq: le.Uint64(raw[4:]), Size: len(raw)}
	body, sum := raw[recordHead:len(raw)-recordSum], raw[len(raw)-recordSum:]
	subject := int(le.Uint16(raw[20:]))
	header := 0
	if le.Uint32(raw)&headerBit != 0 {
		if header = 4; subject+4 <= len(body) {
			header += int(le.Uint32(body[subject:]))
		}
	}
	s.sum.Reset()
	write := func(b []byte) { _, _ = s.sum.Write(b) } // a hash takes everything
	write(raw[4:20])
	// The checksum leaves out the lengths. A header says itself where it ends.
	if subject+header > len(body) || subject+header < subject || header > 0 && !bytes.HasSuffix(body[subject:subject+header], []byte("\r\n\r\n")) {
		r.Damage = fault.Damaged.New("%s: the record at byte %d does not make sense", filepath.Base(s.path), at)
		return r, true
	}
	write(body[:subject])
	write(body[subject+min(header, 4):])
	if !bytes.Equal(s.sum.Sum(nil), sum) {
		r.Damage = fault.Damaged.New("%s: the record at byte %d is not what its checksum says", filepath.Base(s.path), at)
	}
	if r.Damage == nil && (r.Seq == 0 || r.Seq&(erasedBit|tombstoneBit) != 0) {
		return r, false
	}
	r.Seq &^= erasedBit | tombstoneBit
	r.Subject, r.Data = string(body[:subject]), body[subject+header:]
	return r, true
}
