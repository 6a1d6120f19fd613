package view

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/filter"
)

// listing is what a list is made of: rows in the order of a key, where there is one, and of their numbers.
type listing struct {
	columns, from string
	where         *where
	key, num      string // columns; key is "" for rows in the order of their numbers alone
	ascending     bool
	// scan reads a row into the answer. The last two columns are for place: the key, or 0, and the number.
	scan func(rows *sql.Rows, place ...any) error
	// last is the highest number of a row of this kind. all is what a list of them all is in order by, with its condition: SQL behind FROM. They say where a part of
	// the list ends, however few of it fit; with neither the list is looked through as a whole.
	last int64
	all  string
}

// place is where a row is in a list.
type place struct{ value, num int64 }

// A page is found by looking through the list. Where few rows of many fit that takes long: after about a pageTime the page ends where the
// looking got to, be it short or empty, and the next one goes on there.
const (
	pageTime  = 100 * time.Millisecond
	partFirst = 10_000 // rows that are looked through at once, where a page does not end by itself
	partMore  = 4      // so many times as many are next, where that was soon done
)

// effort is what a page may take: fewMax, partFirst and pageTime. Tests have less.
type effort struct {
	few  int
	part int64
	time time.Duration
}

// page lists a page, and sets what comes after it.
func (o *question) page(ctx context.Context, found *polity.Found, l listing) error {
	// What has a word is gathered before the first row: for a part it would be again.
	gathers := o.q.Of != polity.LookupTexts && slices.ContainsFunc(o.f.Terms, func(t filter.Term) bool { return t.Op == filter.Has })
	if gathers || l.last == 0 && l.all == "" || o.v.position().runs <= int64(o.v.most.few) {
		_, err := o.part(ctx, found, l, nil)
		return err
	}
	soon, cancel := context.WithTimeout(ctx, o.v.most.time)
	n, err := o.part(soon, found, l, nil)
	late := soon.Err() != nil
	cancel()
	if err == nil || !late || ctx.Err() != nil {
		return err
	}
	if n > 0 { // what came is in order
		found.Next, err = o.next(*o.after)
		return err
	}
	return o.parts(ctx, found, l)
}

// parts looks through a list part by part until something is found, or it took too long.
func (o *question) parts(ctx context.Context, found *polity.Found, l listing) error {
	began := time.Now()
	for size := o.v.most.part; ; {
		since := time.Now()
		end, err := o.end(ctx, l, size)
		if err != nil {
			return err
		}
		n, err := o.part(ctx, found, l, end)
		if err != nil || end == nil || found.Next != "" {
			return err
		}
		o.after = end
		if n > 0 || time.Since(began) > o.v.most.time {
			found.Next, err = o.next(*end)
			return err
		}
		if time.Since(since) < o.v.most.time/partMore/2 {
			size *= partMore
		}
	}
}

// end is the place of the row that is so many rows further in the list of all; nil if there are fewer.
func (o *question) end(ctx context.Context, l listing, size int64) (*place, error) {
	if l.key == "" {
		last := l.last + 1
		if o.after != nil {
			last = o.after.num
		}
		if last <= size {
			return nil, nil
		}
		return &place{num: last - size}, nil
	}
	w := &where{}
	l.behind(w, o.after)
	text := "SELECT " + l.key + ", " + l.num + " FROM " + l.all
	if o.after != nil {
		text += " AND " + w.String()
	}
	var p place
	err := o.db.QueryRowContext(ctx, o.v.store.words().number(text+l.order()+" OFFSET ?"), append(w.args, 1, size)...).Scan(&p.value, &p.num)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &p, err
}

// part lists rows behind where the question is, and up to an end if there is one. It returns how many came, of which the last is where the question is then. If there are
// more than asked for it sets what comes after them.
func (o *question) part(ctx context.Context, found *polity.Found, l listing, end *place) (n int, err error) {
	text, args := l.query(o.after, end)
	at := place{}
	more, err := o.rows(ctx, text, append(args, o.q.Limit+1), func(rows *sql.Rows) error {
		err := l.scan(rows, &at.value, &at.num)
		n++
		o.after = &place{at.value, at.num}
		return err
	})
	if err == nil && more {
		found.Next, err = o.next(at)
	}
	return n, err
}

// query asks for rows after a place and up to an end, where there are. The number of rows is its last value.
func (l *listing) query(after, end *place) (text string, args []any) {
	w := &where{slices.Clone(l.where.parts), slices.Clone(l.where.args)}
	l.behind(w, after)
	l.upTo(w, end)
	key := l.key
	if key == "" {
		key = "0"
	}
	return "SELECT " + l.columns + ", " + key + ", " + l.num + " FROM " + l.from + " WHERE " + w.String() + l.order(), w.args
}

func (l *listing) order() string {
	direction := " DESC"
	if l.ascending {
		direction = " ASC"
	}
	if l.key == "" {
		return " ORDER BY " + l.num + direction + " LIMIT ?"
	}
	return " ORDER BY " + l.key + direction + ", " + l.num + direction + " LIMIT ?"
}

// behind and upTo bound a list: by rows after a place, and by those before it or there.
func (l *listing) behind(w *where, p *place) {
	l.bound(w, p, map[bool]string{true: " > ", false: " < "}[l.ascending])
}
func (l *listing) upTo(w *where, p *place) {
	l.bound(w, p, map[bool]string{true: " <= ", false: " >= "}[l.ascending])
}

func (l *listing) bound(w *where, p *place, than string) {
	switch {
	case p == nil:
	case l.key == "":
		w.add(l.num+than+"?", p.num)
	default:
		w.add("("+l.key+", "+l.num+")"+than+"(?, ?)", p.value, p.num)
	}
}

// rows asks, and gives each row until there are as many as were asked for. It says whether there are more.
func (o *question) rows(ctx context.Context, text string, args []any, each func(*sql.Rows) error) (more bool, err error) {
	rows, err := o.db.QueryContext(ctx, o.v.store.words().number(text), args...)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for n := 0; rows.Next(); n++ {
		if n == o.q.Limit {
			return true, nil
		}
		if err := each(rows); err != nil {
			return false, err
		}
	}
	return false, rows.Err()
}

// --- cursors

// cursor is what Found.Next says: where a page of which list ended.
type pageEnd struct {
	Of    polity.LookupOf `json:"o"`
	Sort  string          `json:"s,omitempty"`
	Value int64           `json:"v,omitempty"`
	Num   int64           `json:"n"`
}

// cursor reads where the page before ended.
func (o *question) cursor() error {
	if o.q.After == "" {
		return nil
	}
	var p pageEnd
	data, err := base64.RawURLEncoding.DecodeString(o.q.After)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		return fault.Invalid.New("lookup: %.40q is no end of a page", o.q.After)
	}
	if p.Of != o.q.Of || p.Sort != o.sort() {
		return fault.Invalid.New("lookup: that page was of %s sorted by %q; a page after it is asked for in the same way", p.Of, p.Sort)
	}
	o.after = &place{p.Value, p.Num}
	return nil
}

// sort is what is sorted by, with the default of runs.
func (o *question) sort() string {
	if o.q.Of == polity.LookupRuns && o.q.Sort == "" {
		return "-started"
	}
	return o.q.Sort
}

func (o *question) next(p place) (string, error) {
	data, err := json.Marshal(pageEnd{o.q.Of, o.sort(), p.value, p.num})
	return base64.RawURLEncoding.EncodeToString(data), err
}
