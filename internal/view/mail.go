package view

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/message"
)

// mailRow is a message to one agent: the run that delivers it is another row.
type mailRow struct {
	run      int64
	seq      uint64
	envelope string // without data, as JSON
	head     message.Envelope
}

// settledRow is what became of a message that was not done.
type settledRow struct {
	run     int64
	did, by string
}

// mailed takes the opening of a run that delivers a message.
func (w *writer) mailed(r *runRow, f *run.Fact) error {
	if f.Mail == nil || f.Taken {
		return nil
	}
	m := mailRow{run: r.num, seq: f.Commit, envelope: string(f.Mail.Envelope)}
	if err := m.head.UnmarshalJSON(f.Mail.Envelope); err != nil {
		return fault.Damaged.New("view: %s: %w", f.Run, err)
	}
	w.mails = append(w.mails, m)
	return nil
}

func (w *writer) putMails() error {
	rows := make([][]any, len(w.mails))
	for i, m := range w.mails {
		rows[i] = []any{m.run, int64(m.seq), m.head.From.String(), m.head.Conversation, string(m.head.Performative), m.envelope, "", ""}
	}
	if err := w.s.insert("mail", rows); err != nil {
		return err
	}
	for _, s := range w.settled {
		if err := w.s.put("UPDATE mail SET did = ?, by = ? WHERE run = ?", s.did, s.by, s.run); err != nil {
			return err
		}
	}
	return nil
}

// undone is how runs end whose message was not done.
const undone = "r.status IN (?, ?)"

func undoneArgs() []any { return []any{int(polity.StatusFailed), int(polity.StatusExhausted)} }

// Messages returns the messages that a filter chooses, the newest first, of everything that was acknowledged before, and where the page behind them begins; 0 if
// there is none. It returns fault.Invalid for a text that cannot be searched for.
func (v *View) Messages(ctx context.Context, f message.Filter) (list []message.Entry, next uint64, err error) {
	q := polity.Lookup{Wait: polity.LookupWait}
	if err := v.catchUp(ctx, &q); err != nil {
		return nil, 0, err
	}
	limit := f.Limit
	f.Limit++ // whether there are more
	text, args := mailQuery(f, v.store.words())
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	v.swap.RLock()
	defer v.swap.RUnlock()
	if v.closed {
		return nil, 0, fault.Unavailable.New("view: it is closed")
	}
	list, nums, err := readMail(ctx, v.store.reader(), text, args)
	if len(list) > limit {
		list, next = list[:limit], nums[limit-1]
	}
	return list, next, v.store.fault(err)
}

// readMail returns messages, and the numbers of the runs that deliver them.
func readMail(ctx context.Context, db *sql.DB, text string, args []any) (list []message.Entry, nums []uint64, err error) {
	if db == nil {
		return nil, nil, fault.Unavailable.New("view: there is none now; it is made again")
	}
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		m, num, err := mailEntry(rows)
		if err != nil {
			return nil, nil, err
		}
		list, nums = append(list, m), append(nums, num)
	}
	return list, nums, rows.Err()
}

// mailQuery makes the query of a filter.
func mailQuery(f message.Filter, d *dialect) (text string, args []any) {
	where := []string{"TRUE"}
	add := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	for _, c := range []struct{ column, value string }{
		{"r.id", string(f.Run)}, {"m.sender", f.From}, {"r.agent", f.To}, {"m.conversation", f.Conversation}, {"m.performative", string(f.Performative)},
	} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	if !f.Since.IsZero() {
		add("r.opened >= ?", f.Since.UnixNano())
	}
	if f.After > 0 {
		add("m.run < ?", int64(min(f.After, math.MaxInt64)))
	}
	if len(f.Orgs) > 0 {
		names := make([]any, len(f.Orgs))
		for i, org := range f.Orgs {
			names[i] = org
		}
		add("r.release IN (SELECT num FROM releases WHERE name IN (?"+strings.Repeat(", ?", len(names)-1)+"))", names...)
	}
	if f.Dead {
		add("m.did = '' AND "+undone, undoneArgs()...)
	}
	if f.Waiting {
		add("r.ended IS NULL")
	}
	var words []any
	for w := range strings.FieldsSeq(f.Text) { // all of which one text has
		words = append(words, d.phrase(w))
	}
	if len(words) > 0 {
		add("r.root IN (SELECT t.root FROM texts t WHERE "+strings.TrimPrefix(strings.Repeat(" AND "+d.words, len(words)), " AND ")+")", words...)
	}
	return d.number("SELECT m.run, r.id, r.agent, r.status, r.opened, r.ended, r.fault_kind, r.fault, m.seq, m.envelope, m.did, m.by FROM mail m JOIN runs r ON r.num = m.run WHERE " +
		strings.Join(where, " AND ") + " ORDER BY m.run DESC LIMIT ?"), append(args, f.Limit)
}

func mailEntry(rows *sql.Rows) (m message.Entry, num uint64, err error) {
	var id, agent, envelope, did string
	var kind, text sql.NullString
	var opened, seq int64
	var ended sql.NullInt64
	var status int
	if err := rows.Scan(&num, &id, &agent, &status, &opened, &ended, &kind, &text, &seq, &envelope, &did, &m.By); err != nil {
		return m, num, err
	}
	if err := m.Envelope.UnmarshalJSON([]byte(envelope)); err != nil {
		return m, num, fault.Damaged.New("view: message of %s: %w", id, err)
	}
	m.Run, m.To, m.Status, m.At, m.Seq, m.Dead = polity.RunID(id), polity.AgentName(agent), polity.Status(status), time.Unix(0, opened).UTC(), uint64(seq), did
	if ended.Valid {
		m.Ended = time.Unix(0, ended.Int64).UTC()
	}
	if kind.Valid {
		m.Fault = &fault.Error{Kind: fault.Kind(kind.String), Text: text.String}
	}
	if did == "" && (m.Status == polity.StatusFailed || m.Status == polity.StatusExhausted) {
		m.Dead = message.Dead
	}
	return m, num, nil
}
