package view

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"runtime"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
)

// errEnough ends a reading of the log.
var errEnough = errors.New("enough")

// Verify compares a view with one that is made from the log up to the same commit, row by row. It may be followed meanwhile: it is looked at as it
// is when this begins. What differs, or cannot be read, is in the answer and no error. It returns fault.NotFound if there is no view, and fault.Damaged if
// it is the log that cannot be read. tell, if not nil, is told of the progress, from the calling goroutine. It
// takes as long as making the view does, and as much room.
func Verify(ctx context.Context, cfg Config, tell func(polity.Progress)) (found polity.ViewCheck, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if tell == nil {
		tell = func(polity.Progress) {}
	}
	s, err := openStore(cfg)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, s.fault(s.close())) }()
	c := comparison{cfg: cfg, tell: tell, found: polity.ViewCheck{Place: s.place()}}
	err = c.compare(ctx, s)
	if errors.Is(err, errOther) {
		c.damage("view", err.Error())
		err = nil
	}
	return c.found, err
}

// comparison is of a view with one made anew.
type comparison struct {
	cfg   Config
	tell  func(polity.Progress)
	found polity.ViewCheck
}

func (c *comparison) damage(name, text string) {
	c.found.Damage = append(c.found.Damage, polity.Damage{What: "view", Name: name, Text: text})
}

func (c *comparison) compare(ctx context.Context, s store) (err error) {
	if err := s.check(ctx); err != nil {
		return err
	}
	kept, done, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	var head string
	if err := kept.QueryRowContext(ctx, "SELECT seq, head FROM position").Scan(&c.found.Position, &head); err != nil {
		return s.fault(err)
	}
	v := View{cfg: c.cfg}
	if err := v.ours(ctx, position{seq: c.found.Position, head: head}); err != nil {
		return err
	}
	spare, err := s.beside(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spare.drop(context.WithoutCancel(ctx)), s.fault(spare.close())) }()
	if err := c.remake(ctx, spare); err != nil {
		return err
	}
	made, doneMade, err := spare.snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, doneMade()) }()
	return c.tables(ctx, s, kept, made)
}

// remake makes a view up to the position of the other.
func (c *comparison) remake(ctx context.Context, spare store) error {
	s, err := spare.session(ctx, runtime.Gosched)
	if err != nil {
		return err
	}
	w := newWriter(c.cfg, spare, s)
	defer w.close()
	last := c.found.Position
	if last == 0 {
		return nil
	}
	err = c.cfg.Log.Feed(ctx, 1, func(one *run.Commit) error {
		if err := w.commit(one); err != nil {
			return err
		}
		if !w.full() && one.Seq < last {
			return nil
		}
		if err := w.flush(); err != nil {
			return err
		}
		c.tell(polity.Progress{Stage: "commits", Done: int64(one.Seq), Total: int64(last)})
		if one.Seq == last {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (c *comparison) tables(ctx context.Context, s store, kept, made *sql.Conn) error {
	have, err := listOf(ctx, kept, s.words().objects)
	if err != nil {
		return s.fault(err)
	}
	want, err := listOf(ctx, made, s.words().objects)
	if err != nil {
		return s.fault(err)
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			c.damage(name, "it is not there")
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			c.damage(name, "no view has it")
		}
	}
	queries := map[string]string{"words": s.words().places, "position": "SELECT runs, steps, texts, told FROM position"}
	names := []string{"words", "position"}
	for i, t := range rowsOf {
		queries[t.table] = "SELECT * FROM " + t.table + " ORDER BY " + t.order
		names = slices.Insert(names, i, t.table)
	}
	for _, name := range names {
		if queries[name] == "" || slices.ContainsFunc(c.found.Damage, func(d polity.Damage) bool { return d.Name == "table "+name }) {
			continue
		}
		t := polity.TableCheck{Name: name}
		differs, err := compareTable(ctx, kept, made, queries[name], &t)
		if err = s.fault(err); errors.Is(err, fault.Damaged) || errors.Is(err, fault.Unavailable) {
			differs, err = err.Error(), nil
		}
		if err != nil {
			return err
		}
		if differs != "" {
			c.damage(name, differs)
		}
		c.found.Tables = append(c.found.Tables, t)
		c.tell(polity.Progress{Stage: "rows of " + name, Done: t.Rows})
	}
	return nil
}

// compareTable compares the rows of two queries, and says where they begin to differ; "" if they do not. All rows of the first are read, for its digest.
func compareTable(ctx context.Context, kept, made *sql.Conn, query string, t *polity.TableCheck) (differs string, err error) {
	have, err := openCursor(ctx, kept, query)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, have.rows.Close()) }()
	want, err := openCursor(ctx, made, query)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, want.rows.Close()) }()
	sum := sha256.New()
	for {
		more, err := have.next(sum)
		if err != nil {
			return "", err
		}
		if differs == "" {
			expected, err := want.next(nil)
			if err != nil {
				return "", err
			}
			differs = have.differs(want, more, expected)
		}
		if !more {
			t.Digest = hex.EncodeToString(sum.Sum(nil))
			return differs, nil
		}
		t.Rows++
	}
}

// cursor is at a row.
type cursor struct {
	rows  *sql.Rows
	names []string
	row   []any
	into  []any // pointers to row
}

func openCursor(ctx context.Context, conn *sql.Conn, query string) (*cursor, error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c := &cursor{rows: rows}
	if c.names, err = rows.Columns(); err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	c.row, c.into = make([]any, len(c.names)), make([]any, len(c.names))
	for i := range c.row {
		c.into[i] = &c.row[i]
	}
	return c, nil
}

// next reads a row, and adds it to a digest if there is one.
func (c *cursor) next(sum hash.Hash) (bool, error) {
	if !c.rows.Next() {
		return false, c.rows.Err()
	}
	if err := c.rows.Scan(c.into...); err != nil {
		return false, err
	}
	if sum != nil {
		fmt.Fprintf(sum, "%q\n", c.line())
	}
	return true, nil
}

// line is the row as texts.
func (c *cursor) line() []string {
	all := make([]string, len(c.row))
	for i, v := range c.row {
		if b, ok := v.([]byte); ok {
			v = string(b)
		}
		all[i] = fmt.Sprint(v)
	}
	return all
}

// differs says how a row differs from the one that the log gives, where both are.
func (c *cursor) differs(want *cursor, has, should bool) string {
	key := func(of *cursor) string { return of.names[0] + " " + of.line()[0] }
	switch {
	case !has && !should:
		return ""
	case !has:
		return fmt.Sprintf("row %s is missing", key(want))
	case !should:
		return fmt.Sprintf("row %s is one too many", key(c))
	case !slices.Equal(c.names, want.names):
		return fmt.Sprintf("it has the columns %v, not %v", c.names, want.names)
	}
	have, by := c.line(), want.line()
	if have[0] != by[0] {
		return fmt.Sprintf("row %s: in its place is %s", key(want), key(c))
	}
	for i := range have {
		if have[i] != by[i] {
			return fmt.Sprintf("row %s: %s is %.80q, and by the log %.80q", key(want), c.names[i], have[i], by[i])
		}
	}
	return ""
}
