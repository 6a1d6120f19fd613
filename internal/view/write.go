package view

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/run"
)

// knownMax is how many runs are kept in memory that have not ended; of others is read where they are needed.
const knownMax = 100_000

// writer turns commits into rows. It gathers them in memory, each row once however often it changed, and flush writes them with the position.
type writer struct {
	v       *View
	conn    *sql.Conn
	ready   map[string]*sql.Stmt // statements of conn
	at      position
	facts   int       // since the last flush
	first   time.Time // when the first of them came
	flushed time.Time

	known    map[polity.RunID]*runRow
	open     map[string]*stepRow // began and not ended, by run and command
	releases map[run.Digest]int64

	newReleases []release
	runs        []*runRow // changed
	steps       []*stepRow
	texts       []textRow
	mails       []mailRow
	settled     []settledRow
	used        map[usedKey]*used
	ended       map[endedKey]*used
}

type release struct {
	num    int64
	digest string
}

type runRow struct {
	num, root, parent, depth, release int64
	id                                polity.RunID
	agent, skill, team                string
	digest                            run.Digest
	status                            polity.Status
	opened, ended                     time.Time
	usage                             polity.Usage
	fault                             *fault.Error
	fork                              *polity.ForkOf
	stored, changed                   bool
}

type stepRow struct {
	num, run, root      int64
	name                string
	verb, dest, class   string
	status              int
	since, began, ended time.Time
	usage               polity.Usage
	fault               *fault.Error
	taken, person       bool
	decision            string
	key                 string
	stored, changed     bool
}

type textRow struct {
	num, run, root int64
	step           string
	part           int
	seq            uint64
	at             time.Time
	text           string
}

type usedKey struct {
	day                      int64
	agent, skill, verb, dest string
}

type endedKey struct {
	day    int64
	agent  string
	status polity.Status
}

type used struct {
	n, failed int64
	time      time.Duration
	usage     polity.Usage
}

func newWriter(v *View, conn *sql.Conn, at position) *writer {
	return &writer{
		v: v, conn: conn, ready: map[string]*sql.Stmt{}, at: at, known: map[polity.RunID]*runRow{}, open: map[string]*stepRow{}, releases: map[run.Digest]int64{},
		used: map[usedKey]*used{}, ended: map[endedKey]*used{},
	}
}

// close gives up what was prepared. What was written is committed.
func (w *writer) close() {
	for _, s := range w.ready {
		_ = s.Close()
	}
	_ = w.conn.Close()
}

// --- what commits tell

func (w *writer) commit(c *run.Commit) error {
	if w.facts == 0 {
		w.first = time.Now()
	}
	for i := range c.Facts {
		if err := w.fact(&c.Facts[i]); err != nil {
			return err
		}
	}
	w.facts += len(c.Facts) + 1
	w.at.seq, w.at.head, w.at.at = c.Seq, c.Head, c.At
	return nil
}

// fact takes one fact. Kinds that say nothing about what is stored are passed over.
func (w *writer) fact(f *run.Fact) error {
	switch f.Kind {
	case "opened", "imported", "forked":
		return w.opened(f)
	case "began", "result", "finished", "settled":
	default:
		return nil
	}
	r, err := w.run(f.Run)
	if err != nil {
		return err
	}
	if r == nil { // what a fork took over could not be read, and nothing else goes on below it
		w.v.cfg.Logger.Warn("the log tells of a run that the view was not told of", "run", f.Run, "commit", f.Commit)
		return nil
	}
	switch f.Kind {
	case "began":
		return w.began(r, f)
	case "result":
		return w.result(r, f)
	case "settled":
		w.settled = append(w.settled, settledRow{r.num, f.Name, f.From})
		return nil
	default:
		return w.finished(r, f)
	}
}

func (w *writer) opened(f *run.Fact) error {
	r := w.known[f.Run] // if it is a fork or an import: the fact that says so is of the same commit
	if r == nil {
		var err error
		if r, err = w.newRun(f); err != nil {
			return err
		}
	}
	r.skill = cmp.Or(r.skill, f.Skill)
	switch f.Kind {
	case "imported":
		r.opened, r.ended, r.usage = f.Opened, f.Ended, f.Usage
		if err := r.status.UnmarshalText([]byte(f.Status)); err != nil {
			return err
		}
	case "forked":
		r.fork = f.Fork
	}
	w.change(r)
	if err := w.mailed(r, f); err != nil {
		return err
	}
	return w.text(r, "", partInput, f)
}

func (w *writer) newRun(f *run.Fact) (*runRow, error) {
	w.at.runs++
	r := &runRow{num: w.at.runs, id: f.Run, agent: f.Agent, team: f.Agent, opened: f.At, digest: f.Release}
	r.root = r.num
	if up := f.Run.Parent(); up != "" {
		p, err := w.run(up)
		if err != nil {
			return nil, err
		}
		if p != nil {
			r.parent, r.root, r.depth, r.team = p.num, p.root, p.depth+1, p.agent
		}
	}
	var err error
	r.release, err = w.release(f.Release)
	w.known[r.id] = r
	return r, err
}

func (w *writer) began(r *runRow, f *run.Fact) error {
	s := w.newStep(r, f)
	s.began = f.At
	w.open[s.key] = s
	return nil
}

func (w *writer) newStep(r *runRow, f *run.Fact) *stepRow {
	w.at.steps++
	name := polity.CommandKey(f.Name, f.Attempt)
	s := &stepRow{num: w.at.steps, run: r.num, root: r.root, name: name, taken: f.Taken, key: string(r.id) + "#" + name, changed: true}
	if e := f.Effect; e != nil {
		s.verb, s.dest, s.class, s.since = e.Verb, e.To, string(e.Class), e.Since
		s.person = e.Verb == polity.DoAsk.String() && w.v.cfg.Person != nil && w.v.cfg.Person(r.digest, e.To)
	}
	w.steps = append(w.steps, s)
	return s
}

func (w *writer) result(r *runRow, f *run.Fact) error {
	s, err := w.begun(r, f)
	if err != nil {
		return err
	}
	if s == nil {
		s = w.newStep(r, f)
	} else if !s.changed {
		s.changed = true
		w.steps = append(w.steps, s)
	}
	s.ended, s.usage, s.fault = f.At, f.Usage, f.Kept()
	switch {
	case f.Fault == nil && f.Effect == nil && f.DataSize() == 0:
		s.verb, s.status = polity.DoSleep.String(), stepDone // of all that is no effect only a sleep ends well and without a result
	case f.Fault == nil:
		s.status = stepDone
	case f.Fault.Kind == fault.Unknown:
		s.status = stepUnknown
	default:
		s.status = stepFailed
	}
	if s.person {
		if s.decision, err = w.decision(f); err != nil {
			return err
		}
	}
	if !s.taken && f.Effect != nil {
		w.count(r, s)
	}
	return w.text(r, s.name, partOutput, f)
}

// begun returns the step of which a result is, if it began before.
func (w *writer) begun(r *runRow, f *run.Fact) (*stepRow, error) {
	if f.Effect == nil || f.Effect.Class != polity.EffectExternal {
		return nil, nil
	}
	name := polity.CommandKey(f.Name, f.Attempt)
	key := string(r.id) + "#" + name
	if s := w.open[key]; s != nil {
		delete(w.open, key)
		return s, nil
	}
	if !r.stored {
		return nil, nil
	}
	return w.readStep(r, name)
}

// decision is what a person decided, as JSON; "" if it was no approval.
func (w *writer) decision(f *run.Fact) (string, error) {
	if !strings.HasPrefix(f.Name, agent.ApprovePrefix) {
		return "", nil
	}
	data, err := w.data(f)
	if err != nil {
		return "", err
	}
	var d polity.Decision
	if json.Unmarshal(data, &d) != nil {
		return "", nil // a person who was asked something else
	}
	if f.Sealed {
		d = polity.Decision{Approve: d.Approve}
	}
	text, err := json.Marshal(d)
	return string(text), err
}

// count adds a step to what agents used by day.
func (w *writer) count(r *runRow, s *stepRow) {
	k := usedKey{dayOf(s.ended), r.agent, r.skill, s.verb, s.dest}
	u := w.used[k]
	if u == nil {
		u = &used{}
		w.used[k] = u
	}
	u.n++
	u.time += s.ended.Sub(s.since)
	u.usage = u.usage.Plus(s.usage)
	if s.fault != nil {
		u.failed++
	}
}

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

func (w *writer) finished(r *runRow, f *run.Fact) error {
	r.ended, r.usage, r.fault = f.At, f.Usage, f.Kept()
	if err := r.status.UnmarshalText([]byte(f.Status)); err != nil {
		return err
	}
	w.change(r)
	if !f.Taken {
		k := endedKey{dayOf(f.At), r.agent, r.status}
		u := w.ended[k]
		if u == nil {
			u = &used{}
			w.ended[k] = u
		}
		u.n++
		u.time += r.ended.Sub(r.opened)
	}
	return w.text(r, "", partOutput, f)
}

// text adds what can be searched in a fact. What is enciphered with a person's key cannot: its words would stay when the key is destroyed.
func (w *writer) text(r *runRow, step string, part int, f *run.Fact) error {
	if f.Sealed {
		return nil
	}
	data, err := w.data(f)
	if err != nil {
		return err
	}
	text := textOf(data, f.Fault)
	if text == "" {
		return nil
	}
	w.at.texts++
	w.texts = append(w.texts, textRow{w.at.texts, r.num, r.root, step, part, f.Commit, f.At, text})
	return nil
}

// data reads a fact's payload. One that is gone is no reason to stop: the run and what it used are told of all the same.
func (w *writer) data(f *run.Fact) ([]byte, error) {
	data, err := w.v.cfg.Log.Data(f)
	if errors.Is(err, fault.Erased) {
		return nil, nil
	}
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Damaged) {
		w.v.cfg.Logger.Warn("a text cannot be searched", "run", f.Run, "commit", f.Commit, "error", err)
		return nil, nil
	}
	return data, err
}

func (w *writer) change(r *runRow) {
	if !r.changed {
		r.changed = true
		w.runs = append(w.runs, r)
	}
}

// --- rows that are there

// run returns a run's row, or nil if there is none.
func (w *writer) run(id polity.RunID) (*runRow, error) {
	if r := w.known[id]; r != nil {
		return r, nil
	}
	r := &runRow{id: id, stored: true}
	var opened int64
	var digest string
	err := w.query(`SELECT r.num, r.root, r.parent, r.depth, r.release, r.agent, r.skill, r.team, r.status, r.opened, d.digest FROM runs r JOIN releases d ON d.num = r.release WHERE r.id = ?`,
		[]any{string(id)}, &r.num, &r.root, &r.parent, &r.depth, &r.release, &r.agent, &r.skill, &r.team, &r.status, &opened, &digest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, dbFault(err)
	}
	r.opened = timeOf(opened)
	if _, err := hex.Decode(r.digest[:], []byte(digest)); err != nil {
		return nil, fault.Damaged.New("view: release %q", digest)
	}
	w.known[id] = r
	return r, nil
}

func (w *writer) readStep(r *runRow, name string) (*stepRow, error) {
	s := &stepRow{run: r.num, root: r.root, name: name, key: string(r.id) + "#" + name, stored: true}
	var since, began int64
	err := w.query(`SELECT num, verb, dest, class, since, began, taken, person FROM steps WHERE root = ? AND run = ? AND name = ? AND ended IS NULL`,
		[]any{r.root, r.num, name}, &s.num, &s.verb, &s.dest, &s.class, &since, &began, &s.taken, &s.person)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	s.since, s.began = timeOf(since), timeOf(began)
	return s, dbFault(err)
}

func (w *writer) release(d run.Digest) (int64, error) {
	if n := w.releases[d]; n > 0 {
		return n, nil
	}
	digest := hex.EncodeToString(d[:])
	var n int64
	err := w.query("SELECT num FROM releases WHERE digest = ?", []any{digest}, &n)
	if errors.Is(err, sql.ErrNoRows) {
		if err = w.query("SELECT coalesce(max(num), 0) FROM releases", nil, &n); err == nil {
			n += int64(len(w.newReleases)) + 1
			w.newReleases = append(w.newReleases, release{n, digest})
		}
	}
	w.releases[d] = n
	return n, dbFault(err)
}

// prepared is a statement, which is prepared once.
func (w *writer) prepared(text string) (*sql.Stmt, error) {
	s := w.ready[text]
	if s == nil {
		var err error
		if s, err = w.conn.PrepareContext(context.Background(), text); err != nil {
			return nil, err
		}
		w.ready[text] = s
	}
	return s, nil
}

// query asks for one row, and reads it. Rows that are gathered are not there yet.
func (w *writer) query(text string, args []any, into ...any) error {
	s, err := w.prepared(text)
	if err != nil {
		return err
	}
	return s.QueryRow(args...).Scan(into...)
}

// put runs a statement.
func (w *writer) put(text string, args ...any) error {
	s, err := w.prepared(text)
	if err == nil {
		_, err = s.Exec(args...)
	}
	return err
}

// --- writing

// flush writes everything that was gathered, and the position, as one. It is not interrupted: it takes a fraction of a second.
func (w *writer) flush() error {
	if err := w.put("BEGIN IMMEDIATE"); err != nil {
		return dbFault(err)
	}
	err := w.rows()
	if err == nil {
		err = w.put("COMMIT")
	}
	if err != nil {
		return errors.Join(dbFault(err), dbFault(w.put("ROLLBACK")))
	}
	w.reset()
	w.v.move(w.at)
	return nil
}

// reset forgets what was written.
func (w *writer) reset() {
	for _, r := range w.runs {
		r.stored, r.changed = true, false
		if !r.ended.IsZero() {
			delete(w.known, r.id)
		}
	}
	for _, s := range w.steps {
		s.stored, s.changed = true, false
	}
	if len(w.known) > knownMax {
		clear(w.known)
	}
	if len(w.open) > knownMax {
		clear(w.open)
	}
	clear(w.used)
	clear(w.ended)
	w.newReleases, w.runs, w.steps, w.texts = w.newReleases[:0], w.runs[:0], w.steps[:0], w.texts[:0]
	w.mails, w.settled = w.mails[:0], w.settled[:0]
	w.facts, w.flushed = 0, time.Now()
}

func (w *writer) rows() error {
	for _, write := range []func() error{w.putReleases, w.putRuns, w.putSteps, w.putTexts, w.putMails, w.putUsed, w.putEnded} {
		if err := write(); err != nil {
			return err
		}
	}
	return w.put("UPDATE position SET seq = ?, head = ?, at = ?, runs = ?, steps = ?, texts = ?", int64(w.at.seq), w.at.head, w.at.at.UnixNano(), w.at.runs, w.at.steps, w.at.texts)
}

func (w *writer) putReleases() error {
	for _, r := range w.newReleases {
		if err := w.put("INSERT INTO releases VALUES (?, ?)", r.num, r.digest); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) putRuns() error {
	for _, r := range w.runs {
		u := r.usage
		var took, forkRun, forkEvent any
		if !r.ended.IsZero() {
			took = int64(r.ended.Sub(r.opened))
		}
		if r.fork != nil {
			forkRun, forkEvent = string(r.fork.Run), r.fork.Event
		}
		kind, text := faultColumns(r.fault)
		var err error
		if r.stored {
			err = w.put(`UPDATE runs SET skill = ?, status = ?, opened = ?, ended = ?, took = ?, turns = ?, input_tokens = ?, output_tokens = ?, tokens = ?, cost = ?, fault_kind = ?, fault = ?
				WHERE num = ?`, r.skill, int(r.status), nano(r.opened), nano(r.ended), took, u.Turns, u.InputTokens, u.OutputTokens, u.Tokens(), u.MicroUSD, kind, text, r.num)
		} else {
			err = w.put(`INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				r.num, string(r.id), r.root, r.parent, r.depth, r.release, r.agent, r.skill, r.team, int(r.status), nano(r.opened), nano(r.ended), took,
				u.Turns, u.InputTokens, u.OutputTokens, u.Tokens(), u.MicroUSD, kind, text, forkRun, forkEvent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func faultColumns(f *fault.Error) (kind, text any) {
	if f == nil {
		return nil, nil
	}
	return string(f.Kind), f.Text
}

// nano is a time as it is stored: NULL for none.
func nano(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

func (w *writer) putSteps() error {
	for _, s := range w.steps {
		_, text := faultColumns(s.fault)
		var decision any
		if s.decision != "" {
			decision = s.decision
		}
		u := s.usage
		var err error
		if s.stored {
			err = w.put("UPDATE steps SET status = ?, ended = ?, turns = ?, input_tokens = ?, output_tokens = ?, cost = ?, fault = ?, decision = ? WHERE num = ?",
				s.status, nano(s.ended), u.Turns, u.InputTokens, u.OutputTokens, u.MicroUSD, text, decision, s.num)
		} else {
			err = w.put("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
				s.num, s.run, s.root, s.name, s.verb, s.dest, s.class, s.status, nano(s.since), nano(s.began), nano(s.ended),
				u.Turns, u.InputTokens, u.OutputTokens, u.MicroUSD, text, s.taken, s.person, decision)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) putTexts() error {
	for _, t := range w.texts {
		if err := w.put("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?, ?)", t.num, t.run, t.root, t.step, t.part, int64(t.seq), t.at.UnixNano()); err != nil {
			return err
		}
		if err := w.put("INSERT INTO words (rowid, text) VALUES (?, ?)", t.num, t.text); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) putUsed() error {
	keys := slices.SortedFunc(maps.Keys(w.used), func(a, b usedKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.agent, b.agent), cmp.Compare(a.skill, b.skill), cmp.Compare(a.verb, b.verb), cmp.Compare(a.dest, b.dest))
	})
	for _, k := range keys {
		u := w.used[k]
		if err := w.put(`INSERT INTO used VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,
			failed = failed + excluded.failed, time = time + excluded.time, turns = turns + excluded.turns, input_tokens = input_tokens + excluded.input_tokens,
			output_tokens = output_tokens + excluded.output_tokens, cost = cost + excluded.cost`,
			k.day, k.agent, k.skill, k.verb, k.dest, u.n, u.failed, int64(u.time), u.usage.Turns, u.usage.InputTokens, u.usage.OutputTokens, u.usage.MicroUSD); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) putEnded() error {
	keys := slices.SortedFunc(maps.Keys(w.ended), func(a, b endedKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.agent, b.agent), cmp.Compare(a.status, b.status))
	})
	for _, k := range keys {
		u := w.ended[k]
		if err := w.put("INSERT INTO ended VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET runs = runs + excluded.runs, time = time + excluded.time",
			k.day, k.agent, int(k.status), u.n, int64(u.time)); err != nil {
			return err
		}
	}
	return nil
}
