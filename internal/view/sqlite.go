package view

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	"polity.run/fault"
)

const (
	fileName   = "view.db"
	readersMax = 4  // questions that are answered at once
	insertMax  = 16 // rows that one statement inserts: more are no faster
)

// Words are kept without the texts.
const fileWords = `CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0, tokenize="unicode61 remove_diacritics 2");`

// file is a store in a file.
type file struct {
	path        string
	write, read *sql.DB // write has one connection; nil while it is closed
}

// syncWait is how long is waited for who is in the way of a sync.
const syncWait = 20 * time.Millisecond

func openFile(dir string) *file { return &file{path: filepath.Join(dir, fileName)} }

func (f *file) open() error {
	if f.write != nil {
		return nil
	}
	// Synced once in a while: a power cut loses the last transactions as a whole, and the log is read again from before them.
	const common = "?_pragma=busy_timeout(10000)&_pragma=cache_size(-32000)"
	// What a statement would have to undo is kept in memory. A long write-ahead log: pages that many transactions write are copied from it once.
	const writing = common + "&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=wal_autocheckpoint(16000)&_pragma=temp_store(memory)"
	var err error
	if f.write, err = sql.Open("sqlite", "file:"+f.path+writing); err != nil {
		return f.fault(err)
	}
	f.write.SetMaxOpenConns(1)
	if f.read, err = sql.Open("sqlite", "file:"+f.path+common+"&_pragma=query_only(1)"); err != nil {
		return f.fault(err)
	}
	f.read.SetMaxOpenConns(readersMax)
	f.read.SetMaxIdleConns(readersMax)
	return nil
}

func (f *file) reader() *sql.DB { return f.read }

func (f *file) place() string { return f.path }

func (f *file) close() error {
	var errs []error
	for _, db := range []*sql.DB{f.read, f.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	f.read, f.write = nil, nil
	return errors.Join(errs...)
}

func (f *file) session(ctx context.Context, pause func()) (session, error) {
	if err := f.open(); err != nil {
		return nil, err
	}
	conn, err := f.write.Conn(ctx)
	if err != nil {
		return nil, f.fault(err)
	}
	s := &fileSession{conn: conn, ready: map[string]*sql.Stmt{}, pause: pause}
	if err := f.ensure(s); err != nil {
		return nil, errors.Join(err, f.fault(s.close()))
	}
	return s, nil
}

// ensure makes the tables of a file that has none.
func (f *file) ensure(s *fileSession) error {
	var version int
	err := s.conn.QueryRowContext(context.Background(), "PRAGMA user_version").Scan(&version)
	switch {
	case err != nil:
		return f.fault(err)
	case version == Schema:
		return nil
	case version != 0:
		return fault.Damaged.New("%w: %s is of version %d, and this program makes %d", errOther, f.path, version, Schema)
	}
	for _, text := range []string{"BEGIN IMMEDIATE", tables + fileWords, fmt.Sprintf("PRAGMA user_version = %d", Schema), "COMMIT"} {
		if _, err := s.conn.ExecContext(context.Background(), text); err != nil {
			return f.fault(err)
		}
	}
	return nil
}

func (f *file) drop(context.Context) error {
	if err := f.close(); err != nil {
		return f.fault(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(f.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fault.Denied.New("view: %w", err)
		}
	}
	return nil
}

func (f *file) sync(ctx context.Context) error {
	var busy, pages, moved int
	for {
		err := f.read.QueryRowContext(ctx, "PRAGMA wal_checkpoint(full)").Scan(&busy, &pages, &moved)
		if err != nil || busy == 0 {
			return f.fault(err)
		}
		select { // somebody reads or writes
		case <-time.After(syncWait):
		case <-ctx.Done():
			return fault.Timeout.New("view: sync: %w", context.Cause(ctx))
		}
	}
}

func (f *file) size() int64 {
	var n int64
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(f.path + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}

func (f *file) beside(context.Context) (store, error) {
	dir, err := os.MkdirTemp(filepath.Dir(f.path), "check-")
	if err != nil {
		return nil, fault.Denied.New("view: %w", err)
	}
	return &spareFile{openFile(dir)}, nil
}

// spareFile is a file in a folder of its own, which goes with it.
type spareFile struct{ *file }

func (f *spareFile) drop(ctx context.Context) error {
	if err := f.file.drop(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Dir(f.path)); err != nil {
		return fault.Denied.New("view: %w", err)
	}
	return nil
}

// check has SQLite look through its pages and indexes.
func (f *file) check(ctx context.Context) error {
	if _, err := os.Stat(f.path); errors.Is(err, os.ErrNotExist) {
		return fault.NotFound.New("view: there is none: it is made when it is first asked for")
	}
	if err := f.open(); err != nil {
		return err
	}
	wrong, err := listOf(ctx, f.read, "PRAGMA integrity_check(3)")
	if err == nil && (len(wrong) != 1 || wrong[0] != "ok") {
		err = fault.Damaged.New("%w: %s", errOther, strings.Join(wrong, "; "))
	}
	return f.fault(err)
}

// snapshot has a connection of its own, as the readers' may not have a table for the time being.
func (f *file) snapshot(ctx context.Context) (*sql.Conn, func() error, error) {
	db, err := sql.Open("sqlite", "file:"+f.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, nil, f.fault(err)
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		for _, text := range []string{"CREATE VIRTUAL TABLE temp.places USING fts5vocab(main, words, instance)", "BEGIN", "SELECT seq FROM position"} {
			if _, err = conn.ExecContext(ctx, text); err != nil {
				err = errors.Join(err, conn.Close())
				break
			}
		}
	}
	if err != nil {
		return nil, nil, errors.Join(f.fault(err), f.fault(db.Close()))
	}
	return conn, func() error { return f.fault(errors.Join(conn.Close(), db.Close())) }, nil
}

// querier is a pool, or a connection.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// listOf returns the texts of a query's only column.
func listOf(ctx context.Context, db querier, query string, args ...any) (list []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}

// Codes of SQLite's results.
const (
	codeCorrupt = 11
	codeFull    = 13
	codeNotDB   = 26
)

func (f *file) fault(err error) error {
	var e *sqlite.Error
	switch {
	case err == nil:
		return nil
	case isFault(err):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Timeout.New("view: %w", err)
	case errors.Is(err, context.Canceled):
		return fault.Cancelled.New("view: %w", err)
	case errors.As(err, &e) && (e.Code()&0xff == codeCorrupt || e.Code()&0xff == codeNotDB || strings.Contains(err.Error(), "no such table")):
		return fault.Damaged.New("%w: %s", errOther, err)
	case errors.As(err, &e) && e.Code()&0xff == codeFull:
		return fault.Full.New("view: %w", err)
	default:
		return fault.Unavailable.New("view: %w", err)
	}
}

func (f *file) words() *dialect { return fileDialect }

var fileDialect = &dialect{
	list:   "(SELECT value FROM json_each(?))",
	words:  "t.num IN (SELECT rowid FROM words WHERE words MATCH ?)",
	phrase: func(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` },
	and:    " AND ",
	not:    " NOT ",
	// In this order: what is found comes from the newest on then, and no more of it is read than is wanted.
	texts:   "words CROSS JOIN texts t ON t.num = words.rowid CROSS JOIN runs r ON r.num = t.run",
	match:   "words MATCH ?",
	num:     "words.rowid",
	index:   " INDEXED BY ",
	number:  func(query string) string { return query },
	objects: "SELECT type || ' ' || name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1",
	places:  "SELECT * FROM temp.places",
}

// fileSession writes with statements that are prepared once.
type fileSession struct {
	conn  *sql.Conn
	ready map[string]*sql.Stmt
	pause func()
	args  []any // of the insert at hand
}

func (s *fileSession) close() error {
	var errs []error
	for _, stmt := range s.ready {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

func (s *fileSession) prepared(text string) (*sql.Stmt, error) {
	stmt := s.ready[text]
	if stmt == nil {
		var err error
		if stmt, err = s.conn.PrepareContext(context.Background(), text); err != nil {
			return nil, err
		}
		s.ready[text] = stmt
	}
	return stmt, nil
}

func (s *fileSession) one(text string, args []any, into ...any) error {
	stmt, err := s.prepared(text)
	if err != nil {
		return err
	}
	return stmt.QueryRow(args...).Scan(into...)
}

func (s *fileSession) put(text string, args ...any) error {
	stmt, err := s.prepared(text)
	if err == nil {
		_, err = stmt.Exec(args...)
	}
	s.pause()
	return err
}

func (s *fileSession) begin() error    { return s.put("BEGIN IMMEDIATE") }
func (s *fileSession) commit() error   { return s.put("COMMIT") }
func (s *fileSession) rollback() error { return s.put("ROLLBACK") }

func (s *fileSession) insert(table string, rows [][]any) error {
	for len(rows) > 0 {
		n := 1
		if len(rows) >= insertMax {
			n = insertMax
		}
		s.args = s.args[:0]
		for _, r := range rows[:n] {
			s.args = append(s.args, r...)
		}
		one := "(?" + strings.Repeat(", ?", len(rows[0])-1) + ")"
		if err := s.put("INSERT OR FAIL INTO "+table+" VALUES "+one+strings.Repeat(", "+one, n-1), s.args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (s *fileSession) insertTexts(texts []textRow) error {
	rows := make([][]any, len(texts))
	for i := range texts {
		rows[i] = texts[i].columns()
		// A statement for each: with more in one, the index of words writes all that it has gathered after each statement.
		if err := s.put("INSERT INTO words (rowid, text) VALUES (?, ?)", texts[i].num, texts[i].text); err != nil {
			return err
		}
	}
	return s.insert("texts", rows)
}
