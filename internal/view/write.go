package view

import (
	"cmp"
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
	cfg     Config
	store   store
	s       session
	at      position
	facts   int       // since the last flush
	first   time.Time // when the first of them came
	flushed time.Time

	known    map[polity.RunID]*runRow
	open     map[string]*stepRow // began and not ended, by run and command
	doubts   map[string]*stepRow // ended as unknown since the last flush
	releases map[run.Digest]int64

	newReleases []release
	runs        []*runRow // changed
	steps       []*stepRow
	texts       []textRow
	told        []toldRow
	gone        []int64 // roots that were deleted
	mails       []mailRow
	settled     []settledRow
	used        map[usedKey]*used
	ended       map[endedKey]*used
}

type release struct {
	num          int64
	digest, name string
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
	conversation                      string
	paused, stopping                  time.Time
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
	asked               bool
	finding             *polity.Finding
	found               time.Time
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

type toldRow struct {
	num       int64
	kind      int
	name, id  string
	run, root int64
	at        time.Time
	place     uint64
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

func newWriter(cfg Config, store store, s session) *writer {
	return &writer{
		cfg: cfg, store: store, s: s, known: map[polity.RunID]*runRow{}, open: map[string]*stepRow{}, doubts: map[string]*stepRow{}, releases: map[run.Digest]int64{},
		used: map[usedKey]*used{}, ended: map[endedKey]*used{},
	}
}

// close gives up what was gathered. What was written is committed.
func (w *writer) close() {
	if err := w.s.close(); err != nil { // of a server that is gone, say
		w.cfg.Logger.Debug("the view's connection", "error", err)
	}
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
	case "published":
		return w.published(f)
	case "deleted":
		return w.deleted(f)
	case "began", "result", "finished", "reconciled", "signalled", "paused", "resumed", "cancel", "settled":
	default:
		return nil
	}
	r, err := w.run(f.Run)
	if err != nil {
		return err
	}
	if r == nil { // what a fork took over could not be read, and nothing else goes on below it
		w.cfg.Logger.Warn("the log tells of a run that the view was not told of", "run", f.Run, "commit", f.Commit)
		return nil
	}
	switch f.Kind {
	case "began":
		w.began(r, f)
	case "result":
		return w.result(r, f)
	case "reconciled":
		return w.reconciled(r, f)
	case "signalled":
		w.tell(f, toldSignal, r)
		return w.text(r, f.ID, partSignal, f)
	case "paused", "resumed", "cancel":
		w.standing(r, f)
	case "settled":
		w.settled = append(w.settled, settledRow{r.num, f.Name, f.From})
	case "finished":
		return w.finished(r, f)
	}
	return nil
}

// standing takes that a run is paused, goes on, or is to end.
func (w *writer) standing(r *runRow, f *run.Fact) {
	paused, stopping := r.paused, r.stopping
	switch {
	case !r.ended.IsZero():
	case f.Kind == "paused":
		r.paused = f.At
	default: // one that is to end goes on until then
		r.paused = time.Time{}
	}
	if f.Kind == "cancel" && f.Gently && r.ended.IsZero() && stopping.IsZero() {
		r.stopping = f.At
	}
	if r.paused != paused || r.stopping != stopping {
		w.change(r)
	}
}

// published takes an event on a topic. One that a run's call published has the call's key for its ID.
func (w *writer) published(f *run.Fact) error {
	var r *runRow
	if id, _, ok := strings.Cut(f.ID, "#"); ok {
		var err error
		if r, err = w.run(polity.RunID(id)); err != nil {
			return err
		}
	}
	w.tell(f, toldTopic, r)
	if r == nil {
		return nil
	}
	return w.text(r, f.ID, partEvent, f)
}

// tell adds something that was told; r may be nil.
func (w *writer) tell(f *run.Fact, kind int, r *runRow) {
	w.at.told++
	t := toldRow{num: w.at.told, kind: kind, name: f.To, id: f.ID, at: f.At, place: f.Place}
	if r != nil {
		t.run, t.root = r.num, r.root
	}
	w.told = append(w.told, t)
}

func (w *writer) opened(f *run.Fact) error {
	r := w.known[f.Run] // if it is a fork or an import: the fact that says so is of the same commit
	if r == nil {
		var err error
		if r, err = w.newRun(f); err != nil {
			return err
		}
	}
	r.skill, r.conversation = cmp.Or(r.skill, f.Skill), cmp.Or(r.conversation, f.Conversation)
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

// deleted takes a root run and everything below it out of all lists. What they used, and how they ended, stays in the sums.
func (w *writer) deleted(f *run.Fact) error {
	r, err := w.run(f.Run)
	if r == nil || err != nil {
		return err
	}
	w.gone = append(w.gone, r.root)
	return nil
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

func (w *writer) began(r *runRow, f *run.Fact) {
	s := w.newStep(r, f)
	s.began = f.At
	w.open[s.key] = s
}

func (w *writer) newStep(r *runRow, f *run.Fact) *stepRow {
	w.at.steps++
	name := polity.CommandKey(f.Name, f.Attempt)
	s := &stepRow{num: w.at.steps, run: r.num, root: r.root, name: name, taken: f.Taken, key: string(r.id) + "#" + name, changed: true}
	if e := f.Effect; e != nil {
		s.verb, s.dest, s.class, s.since = e.Verb, e.To, string(e.Class), e.Since
		s.person = e.Verb == polity.DoAsk.String() && w.cfg.Person != nil && w.cfg.Person(r.digest, e.To)
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
	}
	w.changeStep(s)
	s.ended, s.usage, s.fault, s.asked = f.At, f.Usage, f.Kept(), f.Asked
	switch {
	case f.Fault == nil && f.Effect == nil && f.DataSize() == 0:
		s.verb, s.status = polity.DoSleep.String(), stepDone // of all that is no effect only a sleep ends well and without a result
	case f.Fault == nil:
		s.status = stepDone
	case f.Fault.Kind == fault.Unknown:
		s.status = stepUnknown
		w.doubts[s.key] = s
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
	return w.readStep(r, name, "ended IS NULL")
}

// reconciled takes what was found out about a step that ended as unknown.
func (w *writer) reconciled(r *runRow, f *run.Fact) error {
	name := polity.CommandKey(f.Name, f.Attempt)
	s := w.doubts[string(r.id)+"#"+name]
	if s == nil {
		var err error
		if s, err = w.readStep(r, name, "status = 3"); err != nil || s == nil {
			return err
		}
	}
	w.changeStep(s)
	s.finding, s.found = f.Finding, f.At
	return nil
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
	r.ended, r.usage, r.fault, r.paused, r.stopping = f.At, f.Usage, f.Kept(), time.Time{}, time.Time{}
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
	data, err := w.cfg.Log.Data(f)
	if errors.Is(err, fault.Erased) {
		return nil, nil
	}
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Damaged) {
		w.cfg.Logger.Warn("a text cannot be searched", "run", f.Run, "commit", f.Commit, "error", err)
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

func (w *writer) changeStep(s *stepRow) {
	if !s.changed {
		s.changed = true
		w.steps = append(w.steps, s)
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
	var ended, paused, stopping sql.NullInt64
	var digest string
	err := w.s.one(`SELECT r.num, r.root, r.parent, r.depth, r.release, r.agent, r.skill, r.team, r.status, r.opened, r.ended, r.paused, r.stopping, d.digest
		FROM runs r JOIN releases d ON d.num = r.release WHERE r.id = ?`,
		[]any{string(id)}, &r.num, &r.root, &r.parent, &r.depth, &r.release, &r.agent, &r.skill, &r.team, &r.status, &opened, &ended, &paused, &stopping, &digest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, w.store.fault(err)
	}
	r.opened, r.ended, r.paused, r.stopping = timeOf(opened), timeOf(ended.Int64), timeOf(paused.Int64), timeOf(stopping.Int64)
	if _, err := hex.Decode(r.digest[:], []byte(digest)); err != nil {
		return nil, fault.Damaged.New("%w: release %q", errOther, digest)
	}
	w.known[id] = r
	return r, nil
}

// readStep returns the step of a name that is as a condition says, or nil.
func (w *writer) readStep(r *runRow, name, which string) (*stepRow, error) {
	s := &stepRow{run: r.num, root: r.root, name: name, key: string(r.id) + "#" + name, stored: true}
	var since, began, ended sql.NullInt64
	var text, decision sql.NullString
	u := &s.usage
	err := w.s.one(`SELECT num, verb, dest, class, status, since, began, ended, turns, input_tokens, output_tokens, cost, fault, taken, person, decision, asked
		FROM steps WHERE root = ? AND run = ? AND name = ? AND `+which+` ORDER BY num DESC LIMIT 1`,
		[]any{r.root, r.num, name}, &s.num, &s.verb, &s.dest, &s.class, &s.status, &since, &began, &ended, &u.Turns, &u.InputTokens, &u.OutputTokens, &u.MicroUSD,
		&text, &s.taken, &s.person, &decision, &s.asked)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	s.since, s.began, s.ended, s.decision = timeOf(since.Int64), timeOf(began.Int64), timeOf(ended.Int64), decision.String
	if text.Valid {
		s.fault = &fault.Error{Text: text.String} // nobody asks for its kind
	}
	return s, w.store.fault(err)
}

func (w *writer) release(d run.Digest) (int64, error) {
	if n := w.releases[d]; n > 0 {
		return n, nil
	}
	digest := hex.EncodeToString(d[:])
	var n int64
	err := w.s.one("SELECT num FROM releases WHERE digest = ?", []any{digest}, &n)
	if errors.Is(err, sql.ErrNoRows) {
		if err = w.s.one("SELECT coalesce(max(num), 0) FROM releases", nil, &n); err == nil {
			n += int64(len(w.newReleases)) + 1
			w.newReleases = append(w.newReleases, release{n, digest, w.name(d)})
		}
	}
	w.releases[d] = n
	return n, w.store.fault(err)
}

// name is what a release is called.
func (w *writer) name(d run.Digest) string {
	if w.cfg.Name == nil {
		return ""
	}
	return w.cfg.Name(d)
}

// --- writing

// flush writes everything that was gathered, and the position, as one. It is not interrupted: it takes a fraction of a second.
func (w *writer) flush() error {
	if err := w.s.begin(); err != nil {
		return w.store.fault(err)
	}
	err := w.rows()
	if err == nil {
		err = w.s.commit()
	}
	if err != nil {
		return errors.Join(w.store.fault(err), w.store.fault(w.s.rollback()))
	}
	w.reset()
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
	clear(w.doubts)
	clear(w.used)
	clear(w.ended)
	if len(w.gone) > 0 { // a run of them may still be known
		clear(w.known)
		clear(w.open)
	}
	w.newReleases, w.runs, w.steps, w.texts, w.told, w.gone = w.newReleases[:0], w.runs[:0], w.steps[:0], w.texts[:0], w.told[:0], w.gone[:0]
	w.mails, w.settled = w.mails[:0], w.settled[:0]
	w.facts, w.flushed = 0, time.Now()
}

func (w *writer) rows() error {
	puts := []func() error{
		w.putReleases, w.putRuns, w.putSteps, w.putTold, func() error { return w.s.insertTexts(w.texts) }, w.putMails, w.putUsed, w.putEnded, w.dropGone,
	}
	for _, write := range puts {
		if err := write(); err != nil {
			return err
		}
	}
	return w.s.put("UPDATE position SET seq = ?, head = ?, at = ?, runs = ?, steps = ?, texts = ?, told = ?",
		int64(w.at.seq), w.at.head, w.at.at.UnixNano(), w.at.runs, w.at.steps, w.at.texts, w.at.told)
}

// dropGone removes the rows of what was deleted, which has no texts, being enciphered. It comes last: some rows may have been put in the same transaction.
func (w *writer) dropGone() error {
	for _, root := range w.gone {
		for _, from := range []string{
			"mail WHERE run = ?", "steps WHERE root = ?", "told WHERE root = ?", "runs WHERE root = ? AND depth > 0", "runs WHERE num = ?",
		} {
			if err := w.s.put("DELETE FROM "+from, root); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) putReleases() error {
	rows := make([][]any, len(w.newReleases))
	for i, r := range w.newReleases {
		rows[i] = []any{r.num, r.digest, r.name}
	}
	return w.s.insert("releases", rows)
}

func (w *writer) putRuns() error {
	var rows [][]any
	for _, r := range w.runs {
		u := r.usage
		var took, forkRun, forkEvent any
		if !r.ended.IsZero() {
			took = int64(r.ended.Sub(r.opened))
		}
		kind, text := faultColumns(r.fault)
		if r.stored {
			if err := w.s.put(`UPDATE runs SET skill = ?, status = ?, opened = ?, ended = ?, took = ?, turns = ?, input_tokens = ?, output_tokens = ?, tokens = ?, cost = ?,
				fault_kind = ?, fault = ?, paused = ?, stopping = ? WHERE num = ?`, r.skill, int64(r.status), nano(r.opened), nano(r.ended), took,
				u.Turns, u.InputTokens, u.OutputTokens, u.Tokens(), u.MicroUSD, kind, text, nano(r.paused), nano(r.stopping), r.num); err != nil {
				return err
			}
			continue
		}
		if r.fork != nil {
			forkRun, forkEvent = string(r.fork.Run), int64(r.fork.Event)
		}
		rows = append(rows, []any{
			r.num, string(r.id), r.root, r.parent, r.depth, r.release, r.agent, r.skill, r.team, int64(r.status), nano(r.opened), nano(r.ended), took,
			u.Turns, u.InputTokens, u.OutputTokens, u.Tokens(), u.MicroUSD, kind, text, forkRun, forkEvent, null(r.conversation), nano(r.paused), nano(r.stopping),
		})
	}
	return w.s.insert("runs", rows)
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

// null is a text as it is stored where "" is none.
func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// bit is a truth as it is stored.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (w *writer) putSteps() error {
	var rows [][]any
	for _, s := range w.steps {
		_, text := faultColumns(s.fault)
		u := s.usage
		var verdict, by any
		if f := s.finding; f != nil {
			verdict, by = string(f.Verdict), null(f.By)
		}
		if s.stored {
			if err := w.s.put(`UPDATE steps SET status = ?, ended = ?, turns = ?, input_tokens = ?, output_tokens = ?, cost = ?, fault = ?, decision = ?,
				asked = ?, verdict = ?, found_by = ?, found = ? WHERE num = ?`,
				int64(s.status), nano(s.ended), u.Turns, u.InputTokens, u.OutputTokens, u.MicroUSD, text, null(s.decision), bit(s.asked), verdict, by, nano(s.found), s.num); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{
			s.num, s.run, s.root, s.name, s.verb, s.dest, s.class, int64(s.status), nano(s.since), nano(s.began), nano(s.ended),
			u.Turns, u.InputTokens, u.OutputTokens, u.MicroUSD, text, bit(s.taken), bit(s.person), null(s.decision), bit(s.asked), verdict, by, nano(s.found),
		})
	}
	return w.s.insert("steps", rows)
}

func (w *writer) putTold() error {
	rows := make([][]any, len(w.told))
	for i, t := range w.told {
		rows[i] = []any{t.num, int64(t.kind), t.name, t.id, t.run, t.root, t.at.UnixNano(), int64(t.place)}
	}
	return w.s.insert("told", rows)
}

// columns are a text's columns, without its words.
func (t *textRow) columns() []any {
	return []any{t.num, t.run, t.root, t.step, int64(t.part), int64(t.seq), t.at.UnixNano()}
}

func (w *writer) putUsed() error {
	keys := slices.SortedFunc(maps.Keys(w.used), func(a, b usedKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.agent, b.agent), cmp.Compare(a.skill, b.skill), cmp.Compare(a.verb, b.verb), cmp.Compare(a.dest, b.dest))
	})
	for _, k := range keys {
		u := w.used[k]
		if err := w.s.put(`INSERT INTO used VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (day, agent, skill, verb, dest) DO UPDATE SET
			calls = used.calls + excluded.calls, failed = used.failed + excluded.failed, time = used.time + excluded.time, turns = used.turns + excluded.turns,
			input_tokens = used.input_tokens + excluded.input_tokens, output_tokens = used.output_tokens + excluded.output_tokens, cost = used.cost + excluded.cost`,
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
		if err := w.s.put("INSERT INTO ended VALUES (?, ?, ?, ?, ?) ON CONFLICT (day, agent, status) DO UPDATE SET runs = ended.runs + excluded.runs, time = ended.time + excluded.time",
			k.day, k.agent, int64(k.status), u.n, int64(u.time)); err != nil {
			return err
		}
	}
	return nil
}
