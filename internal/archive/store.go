package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
)

const (
	spoolName = "export" + newSuffix
	filesMax  = 1_000_000 // of an organization
)

// Store is a folder of files, in a folder for each organization. One process writes to it at a time. Its methods are safe for concurrent use.
type Store struct {
	dir string
	// step, if not nil, is told what is done next, and ends the writing there with its error as if the process had been killed: for tests.
	step    func(what string) error
	runsMax int // runs of a file

	writing sync.Mutex // held while files are written

	mu     sync.Mutex
	loaded bool
	files  []polity.ArchiveFile // complete ones
	bad    []polity.ArchiveFile
	runs   *Set // each with its file
}

// NewStore returns the store in a folder, which need not be there yet. It is read when it is first asked.
func NewStore(dir string) *Store { return &Store{dir: dir, runsMax: runsMax} }

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// Archived says that a run is in a complete file of the store. A file whose head, index or end is damaged does not count, and where the store cannot be
// read nothing does.
func (s *Store) Archived(id polity.RunID) bool {
	_, found := s.place(id)
	return found
}

// Runs returns the table of the runs that are in complete files, as it is now.
func (s *Store) Runs() (*Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.load()
	return s.runs, err
}

func (s *Store) place(id polity.RunID) (polity.ArchiveFile, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load() != nil {
		return polity.ArchiveFile{}, false
	}
	n, found := s.runs.Get(id)
	if !found {
		return polity.ArchiveFile{}, false
	}
	return s.files[n], true
}

// FileOf names the file that a run is in; "" for none.
func (s *Store) FileOf(id polity.RunID) string {
	f, _ := s.place(id)
	return f.Path
}

// File returns the file that Runs gives a number.
func (s *Store) File(n uint32) (polity.ArchiveFile, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(n) >= len(s.files) {
		return polity.ArchiveFile{}, false
	}
	return s.files[n], true
}

// Files lists the files, by organization and age. Those that are damaged say so.
func (s *Store) Files() ([]polity.ArchiveFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return nil, err
	}
	all := slices.Concat(s.files, s.bad)
	slices.SortFunc(all, func(a, b polity.ArchiveFile) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// Find opens the file that a run is in. It returns fault.NotFound if there is none. Close it.
func (s *Store) Find(id polity.RunID) (*File, polity.ArchivedRun, error) {
	at, found := s.place(id)
	if !found {
		_, err := s.Files() // it says why nothing is found
		return nil, polity.ArchivedRun{}, errors.Join(err, fault.NotFound.New("archive: run %s is in no archive of %s", id, s.dir))
	}
	f, err := Open(at.Path)
	if err != nil {
		return nil, polity.ArchivedRun{}, err
	}
	r, err := f.Find(id)
	if err != nil {
		return nil, r, errors.Join(err, f.Close())
	}
	return f, r, nil
}

// load reads what is there, the first time. mu is held.
func (s *Store) load() error {
	if s.loaded {
		return nil
	}
	paths, err := s.paths()
	if err != nil {
		return err
	}
	s.files, s.bad, s.runs = nil, nil, &Set{}
	var all Batch
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			s.bad = append(s.bad, polity.ArchiveFile{Org: filepath.Base(filepath.Dir(path)), Path: path, Damage: fault.Of(err).Text})
			continue
		}
		for i := range f.Runs {
			all.Put(f.Runs[i].Run, uint32(len(s.files)))
		}
		s.files = append(s.files, f.Head)
		if err := f.Close(); err != nil {
			return fault.Unavailable.New("archive: %w", err)
		}
	}
	s.runs, s.loaded = s.runs.With(&all), true
	return nil
}

// paths lists the files of the store that have their name.
func (s *Store) paths() ([]string, error) {
	orgs, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, org := range orgs {
		if !org.IsDir() {
			continue
		}
		files, failed := os.ReadDir(filepath.Join(s.dir, org.Name()))
		err = errors.Join(err, failed)
		for _, f := range files {
			if strings.HasSuffix(f.Name(), suffix) {
				paths = append(paths, filepath.Join(s.dir, org.Name(), f.Name()))
			}
		}
	}
	if err != nil {
		return nil, fault.Denied.New("archive: %w", err)
	}
	return paths, nil
}

// Run is a run that is to be archived.
type Run struct {
	ID          polity.RunID
	First, Last uint64
	Key         string // "" if it is not enciphered
}

// Export writes the export of a run, as run.Partition.ExportStored does.
type Export func(ctx context.Context, id polity.RunID, w io.Writer) (polity.Archive, error)

// Write archives runs of an organization that are in no file yet: a file is complete, and on the disk, or not there. A run that cannot be exported is
// left, and told to left. Ended by ctx or a fault it has written some of the files that it returns, and can be asked again.
func (s *Store) Write(ctx context.Context, org string, made time.Time, runs []Run, export Export, left func(polity.LeftRun), tell func(polity.Progress)) ([]polity.ArchiveFile, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	w, err := s.begin(org, made, export)
	if err != nil {
		return nil, err
	}
	err = w.all(ctx, runs, left, tell)
	return w.files, errors.Join(err, w.end())
}

// writing writes the files of one organization.
type writing struct {
	store  *Store
	dir    string
	org    string
	made   time.Time
	export Export
	spool  *os.File
	next   int // number of the next file
	file   *Writer
	files  []polity.ArchiveFile
}

func (s *Store) begin(org string, made time.Time, export Export) (*writing, error) {
	if err := orgFolder(org); err != nil {
		return nil, err
	}
	w := &writing{store: s, dir: filepath.Join(s.dir, org), org: org, made: made, export: export}
	if err := makeDirs(w.dir); err != nil {
		return nil, unwritten(err)
	}
	s.mu.Lock()
	err := s.load()
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := w.clean(); err != nil {
		return nil, unwritten(err)
	}
	w.spool, err = os.OpenFile(filepath.Join(w.dir, spoolName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	return w, unwritten(err)
}

// makeDirs makes a folder whose name then survives a power cut.
func makeDirs(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(dir)), syncDir(filepath.Dir(filepath.Dir(dir))))
}

// clean removes what a killed process left, and finds the number of the next file.
func (w *writing) clean() error {
	entries, err := os.ReadDir(w.dir)
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, newSuffix) {
			err = errors.Join(err, os.Remove(filepath.Join(w.dir, name)))
		}
		if n, bad := strconv.Atoi(strings.TrimSuffix(name, suffix)); bad == nil {
			w.next = max(w.next, n)
		}
	}
	w.next++
	if w.next > filesMax {
		return fault.Full.New("archive: there are %d files in %s", w.next-1, w.dir)
	}
	return err
}

func (w *writing) all(ctx context.Context, runs []Run, left func(polity.LeftRun), tell func(polity.Progress)) error {
	for i, r := range runs {
		if ctx.Err() != nil {
			return fault.Cancelled.New("archive: %w", context.Cause(ctx))
		}
		if tell != nil {
			tell(polity.Progress{Stage: "archive " + w.org, Done: int64(i), Total: int64(len(runs))})
		}
		if w.store.Archived(r.ID) {
			continue
		}
		if err := w.one(ctx, r, left); err != nil {
			return err
		}
		if w.file != nil && w.file.Full() {
			if err := w.finish(); err != nil {
				return err
			}
		}
	}
	return w.finish()
}

// one exports a run and puts it into the open file.
func (w *writing) one(ctx context.Context, r Run, left func(polity.LeftRun)) error {
	if err := w.rewind(); err != nil {
		return err
	}
	out := &noting{w: w.spool}
	a, err := w.export(ctx, r.ID, out)
	switch {
	case out.err != nil:
		return unwritten(out.err)
	case err != nil && ofRun(err):
		left(polity.LeftRun{Run: r.ID, Why: fault.Of(err).Text})
		return nil
	case err != nil:
		return err
	case out.n > exportMax:
		left(polity.LeftRun{Run: r.ID, Why: fmt.Sprintf("its export has %d bytes; the most is %d", out.n, exportMax)})
		return nil
	}
	if w.file == nil {
		if err := w.create(); err != nil {
			return err
		}
	}
	if _, err := w.spool.Seek(0, io.SeekStart); err != nil {
		return unwritten(err)
	}
	in := polity.ArchivedRun{First: r.First, Last: r.Last, Key: r.Key, Bytes: out.n}
	fill(&in, &a)
	if err := w.store.at("add"); err != nil {
		return err
	}
	return w.file.Add(in, w.spool)
}

// ofRun says that a fault is about a run alone: the next one may do.
func ofRun(err error) bool {
	switch fault.Of(err).Kind {
	case fault.NotFound, fault.Damaged, fault.Invalid, fault.Full, fault.Erased:
		return true
	default:
		return false
	}
}

func (w *writing) rewind() error {
	if err := w.spool.Truncate(0); err != nil {
		return unwritten(err)
	}
	_, err := w.spool.Seek(0, io.SeekStart)
	return unwritten(err)
}

func (w *writing) create() (err error) {
	if err := w.store.at("create"); err != nil {
		return err
	}
	w.file, err = Create(filepath.Join(w.dir, fmt.Sprintf("%08d%s", w.next, suffix)), w.org, w.made)
	if err == nil {
		w.next++
		w.file.step, w.file.runsMax = w.store.step, w.store.runsMax
	}
	return err
}

// finish completes the open file, and has the store tell of it.
func (w *writing) finish() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	head, err := f.Finish()
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.loaded = false // it may have got its name
		return err
	}
	w.files = append(w.files, head)
	var added Batch
	for i := range f.index.Runs {
		added.Put(f.index.Runs[i].Run, uint32(len(s.files)))
	}
	s.files, s.runs = append(s.files, head), s.runs.With(&added)
	return nil
}

// end leaves nothing that is not complete.
func (w *writing) end() error {
	if err := w.store.at("end"); err != nil {
		return errors.Join(err, w.spool.Close())
	}
	var err error
	if w.file != nil {
		err = w.file.Abort()
	}
	return unwritten(errors.Join(err, w.spool.Close(), os.Remove(w.spool.Name())))
}

func (s *Store) at(step string) error {
	if s.step == nil {
		return nil
	}
	return s.step(step)
}

// noting counts what is written, and keeps why it could not be.
type noting struct {
	w   io.Writer
	n   int64
	err error
}

func (n *noting) Write(data []byte) (int, error) {
	done, err := n.w.Write(data)
	n.n += int64(done)
	if err != nil {
		n.err = err
	}
	return done, err
}
