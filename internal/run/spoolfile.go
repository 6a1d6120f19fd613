package run

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"polity.run/fault"
)

const (
	spoolPrefix = "spool-"
	spoolWrite  = 1 << 20          // bytes that are gathered before they are written
	spoolRetry  = 10 * time.Second // after this a spool that could not be written is tried again
)

// spoolFiles keeps segments in files, of which only the newest is written to. It belongs to the partition's loop. Nothing is synced but by
// a checkpoint: what a power cut takes is read from the log.
type spoolFiles struct {
	dir   string
	log   *slog.Logger
	files map[uint32]*spoolFile
	last  uint32 // the newest file
	buf   []byte // what is not yet written of it
	held  uint64 // bytes in all files
	live  uint64 // of them, those that are needed
	retry time.Time
}

type spoolFile struct {
	*os.File
	size    uint64 // with what is not yet written
	written uint64
	ours    bool // else it was there, and is not written to
}

// openSpool opens the folder of a spool, and makes it if it is not there. Files before oldest are removed; zero removes all.
func openSpool(dir string, oldest uint32, log *slog.Logger) (*spoolFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Denied.New("run: spool: %w", err)
	}
	s := &spoolFiles{dir: dir, log: log, files: map[uint32]*spoolFile{}}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.Unavailable.New("run: spool: %w", err)
	}
	for _, e := range list {
		number, ok := strings.CutPrefix(e.Name(), spoolPrefix)
		n, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil {
			continue
		}
		if err := s.adopt(uint32(n), oldest); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// adopt takes over a file that is there, or removes it.
func (s *spoolFiles) adopt(n, oldest uint32) error {
	s.last = max(s.last, n)
	if oldest == 0 || n < oldest {
		if err := os.Remove(s.path(n)); err != nil {
			return fault.Denied.New("run: spool: %w", err)
		}
		return nil
	}
	f, err := os.Open(s.path(n))
	if err != nil {
		return fault.Unavailable.New("run: spool: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fault.Unavailable.New("run: spool: %w", err), f.Close())
	}
	size := uint64(info.Size())
	s.files[n] = &spoolFile{f, size, size, false}
	s.held += size
	return nil
}

func (s *spoolFiles) path(n uint32) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%d", spoolPrefix, n))
}

// begin makes a new file the one that is written to.
func (s *spoolFiles) begin() error {
	if err := s.flush(); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(s.last+1), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return s.broken(err)
	}
	s.last++
	s.files[s.last] = &spoolFile{File: f, ours: true}
	return nil
}

// broken keeps the spool from being written for a while.
func (s *spoolFiles) broken(err error) error {
	s.retry = time.Now().Add(spoolRetry)
	kind := fault.Unavailable
	if errors.Is(err, syscall.ENOSPC) {
		kind = fault.Full
	}
	s.log.Error("spool cannot be written: waiting runs stay in memory", "error", err, "again", spoolRetry)
	return kind.New("run: spool: %w", err)
}

func (s *spoolFiles) put(segment []byte) (place, error) {
	f := s.files[s.last]
	if f == nil || !f.ours || !s.retry.IsZero() {
		if time.Now().Before(s.retry) {
			return place{}, fault.Unavailable.New("run: spool: it could not be written a moment ago")
		}
		s.retry = time.Time{}
		if err := s.begin(); err != nil {
			return place{}, err
		}
		f = s.files[s.last]
	}
	at := place{s.last, uint32(len(segment)), f.size}
	s.buf = append(s.buf, segment...)
	f.size += uint64(len(segment))
	s.held += uint64(len(segment))
	s.live += uint64(len(segment))
	if len(s.buf) >= spoolWrite {
		if err := s.flush(); err != nil {
			s.live -= uint64(len(segment))
			return place{}, err
		}
	}
	return at, nil
}

// flush hands what was gathered to the operating system. If it cannot, that is lost: the log has it.
func (s *spoolFiles) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	f := s.files[s.last]
	_, err := f.WriteAt(s.buf, int64(f.written))
	s.buf = s.buf[:0]
	if err != nil {
		return s.broken(err)
	}
	f.written = f.size
	return nil
}

func (s *spoolFiles) get(p place) ([]byte, error) {
	f := s.files[p.file]
	if f == nil || p.off+uint64(p.size) > f.size || p.size > trailMax {
		return nil, fault.Damaged.New("run: spool: there is no segment at %s%d:%d", spoolPrefix, p.file, p.off)
	}
	b := make([]byte, p.size)
	if p.file == s.last && p.off >= f.written {
		if from := p.off - f.written; from+uint64(p.size) <= uint64(len(s.buf)) {
			copy(b, s.buf[from:])
		}
		return b, nil
	}
	if _, err := f.ReadAt(b, int64(p.off)); err != nil {
		return nil, fault.Unavailable.New("run: spool: %s%d:%d: %w", spoolPrefix, p.file, p.off, err)
	}
	return b, nil
}

func (s *spoolFiles) drop(bytes uint32) { s.live -= min(s.live, uint64(bytes)) }

// list returns all files, as to sync them in another goroutine.
func (s *spoolFiles) list() []*os.File {
	var all []*os.File
	for _, f := range s.files {
		all = append(all, f.File)
	}
	return all
}

// trim removes the files before one.
func (s *spoolFiles) trim(oldest uint32) {
	for n, f := range s.files {
		if n >= oldest || n == s.last {
			continue
		}
		delete(s.files, n)
		s.held -= f.size
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("remove file of the spool", "error", err)
		}
	}
}

func (s *spoolFiles) close() error {
	err := s.flush()
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	clear(s.files)
	return err
}
