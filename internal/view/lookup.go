package view

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/filter"
	"polity.run/internal/run"
)

// Live is what the log does not tell and whoever serves the runs knows.
type Live struct {
	Stopped []string // IDs of the runs that are stopped
	// Current returns the summaries of root runs as they are now, of those that there are. It is asked for what waits.
	Current func(ctx context.Context, roots []polity.RunID) (map[polity.RunID]polity.Summary, error)
}

// Lookup answers a question. It waits as long as the question says until the view tells of everything that it asks for; then it answers with
// what there is, and Found.View says what is missing. It returns fault.Invalid for a question that it does not understand, and fault.Timeout if
// the answer takes longer than half a minute.
func (v *View) Lookup(ctx context.Context, q polity.Lookup, live Live) (polity.Found, error) {
	one, err := v.question(&q, live)
	if err != nil {
		return polity.Found{}, err
	}
	if err := v.catchUp(ctx, &q); err != nil {
		return polity.Found{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	v.swap.RLock()
	defer v.swap.RUnlock()
	if v.closed {
		return polity.Found{}, fault.Unavailable.New("view: it is closed")
	}
	one.db = v.store.reader()
	var found polity.Found
	found.View = v.State() // before the answer is read: it tells of this much at least
	if q.Of != polity.LookupView && one.db == nil {
		return polity.Found{}, fault.Unavailable.New("view: there is none now: %s", found.View.Problem)
	}
	switch q.Of {
	case polity.LookupRuns:
		err = one.runs(ctx, &found)
	case polity.LookupSteps:
		err = one.steps(ctx, &found)
	case polity.LookupTexts:
		err = one.texts(ctx, &found)
	case polity.LookupEvents:
		err = one.events(ctx, &found)
	case polity.LookupCosts:
		err = one.costs(ctx, &found)
	case polity.LookupAgents:
		err = one.agents(ctx, &found)
	}
	if err = v.store.fault(err); errors.Is(err, errOther) {
		v.throw()
		err = fault.Unavailable.New("the view is damaged and is made again; ask again: %s", err)
	}
	return found, err
}

// catchUp waits for the commit that a question names.
func (v *View) catchUp(ctx context.Context, q *polity.Lookup) error {
	if tip := v.cfg.Log.Tip(); q.Position == 0 || q.Position > tip {
		q.Position = tip // there is no more to wait for
	}
	waiting, cancel := context.WithTimeout(ctx, time.Duration(q.Wait))
	defer cancel()
	if err := v.WaitFor(waiting, q.Position); err != nil && ctx.Err() != nil {
		return fault.Cancelled.New("view: %w", context.Cause(ctx))
	}
	return nil
}

// question is a lookup that was understood.
type question struct {
	v     *View
	q     *polity.Lookup
	f     filter.Filter
	waits []filter.Term // those of the filter that only the kernel can tell
	live  Live
	db    *sql.DB
	after []any // of the page before: the value it was sorted by, and the number
}

// sorts are what runs can be sorted by.
var sorts = map[string]string{"started": "opened", "ended": "ended", "cost": "cost", "tokens": "tokens", "took": "took"}

// groups are what costs are added up by.
var groups = map[string]struct{ sql, where string }{
	"agent": {"CASE u.verb WHEN 'ask' THEN u.dest ELSE u.agent END", "TRUE"},
	"model": {"u.dest", "u.verb = 'think'"},
	"tool":  {"u.dest", "u.verb = 'call'"},
	"skill": {"u.skill", "TRUE"},
	"day":   {"u.day", "TRUE"},
}

// question checks a lookup and fills in what is left out.
func (v *View) question(q *polity.Lookup, live Live) (*question, error) {
	of := []string{string(polity.LookupRuns), string(polity.LookupSteps), string(polity.LookupTexts), string(polity.LookupCosts), string(polity.LookupAgents), string(polity.LookupEvents),
		string(polity.LookupView)}
	if !slices.Contains(of, string(q.Of)) {
		return nil, fault.Invalid.New("lookup: %q cannot be asked for; want %s", string(q.Of), strings.Join(of, ", "))
	}
	if q.Limit < 0 || q.Limit > polity.LookupLimitMax {
		return nil, fault.Invalid.New("lookup: limit %d: want 1 to %d", q.Limit, polity.LookupLimitMax)
	}
	if q.Limit == 0 {
		q.Limit = polity.LookupLimit
	}
	if q.Wait < 0 || q.Wait > polity.LookupWaitMax {
		return nil, fault.Invalid.New("lookup: wait %s: the most is %s", time.Duration(q.Wait), time.Duration(polity.LookupWaitMax))
	}
	if q.Wait == 0 {
		q.Wait = polity.LookupWait
	}
	if _, ok := groups[q.By]; q.By != "" && !ok {
		return nil, fault.Invalid.New("lookup: costs are not added up by %q; want agent, model, tool, skill or day", q.By)
	}
	if sort := strings.TrimPrefix(q.Sort, "-"); q.Sort != "" && sorts[sort] == "" {
		return nil, fault.Invalid.New("lookup: runs are not sorted by %q; want started, ended, cost, tokens or took, with '-' before it for the largest first", sort)
	}
	one := &question{v: v, q: q, live: live}
	if err := one.cursor(); err != nil {
		return nil, err
	}
	columns := columnsOf(q.Of)
	if columns == nil && strings.TrimSpace(q.Filter) != "" {
		return nil, fault.Invalid.New("lookup: %s take no filter", q.Of)
	}
	var err error
	one.f, err = filter.Parse(q.Filter, fields(columns), time.Now())
	one.f.Terms, one.waits = apart(one.f.Terms)
	if err == nil && len(one.waits) > 0 && live.Current == nil {
		err = fault.Unavailable.New("lookup: nobody here knows what runs wait for")
	}
	return one, err
}

// where makes the conditions of the filter.
func (o *question) where(ctx context.Context, words, root string) (*where, error) {
	w := &where{}
	c := compiler{columns: columnsOf(o.q.Of), dialect: o.v.store.words(), words: words, root: root, stopped: o.live.Stopped}
	c.many = func(query string, args []any) (bool, error) { return o.many(ctx, query, args) }
	return w, c.filter(w, o.f)
}

// fewMax is how many rows are gathered and sorted. Of what fits more often than that, a page is found soon by looking at runs in their order.
const fewMax = 20_000

// many says whether a query has more rows than that.
func (o *question) many(ctx context.Context, query string, args []any) (bool, error) {
	var n int
	err := o.db.QueryRowContext(ctx, o.v.store.words().number("SELECT count(*) FROM ("+query+" LIMIT ?) few"), append(slices.Clone(args), o.v.few)...).Scan(&n)
	return n == o.v.few, err
}

// rare returns the index of the first term that fits few runs of all, or "". The database cannot know that of a range.
func (o *question) rare(ctx context.Context) (string, error) {
	if o.q.All || o.v.store.words().index == "" {
		return "", nil // the indexes are of roots; PostgreSQL can know it
	}
	for _, t := range o.f.Terms {
		if !ofEnded(t) {
			continue
		}
		key := sorts[t.Field]
		many, err := o.many(ctx, "SELECT 1 FROM runs WHERE depth = 0 AND ended IS NOT NULL AND "+key+" "+string(t.Op)+" ?", []any{t.Values[0].Number})
		if err != nil || !many {
			return "runs_" + key, err
		}
	}
	return "", nil
}

// inOrder returns the index that has runs in the order that is asked for, if the only term fits so many that some are found soon by going through them
// all, or "". The database would gather and sort what fits.
func (o *question) inOrder(ctx context.Context, key string) (string, error) {
	if key == "opened" || o.q.All || o.v.store.words().index == "" || len(o.f.Terms) != 1 {
		return "", nil
	}
	t := o.f.Terms[0]
	if t.Negated || t.Op != filter.Is || t.Field != "agent" && t.Field != "status" {
		return "", nil
	}
	w, err := o.where(ctx, "", "")
	if err != nil {
		return "", err
	}
	many, err := o.many(ctx, "SELECT 1 FROM runs r WHERE r.depth = 0 AND "+w.String(), w.args)
	if !many {
		return "", err
	}
	return "runs_" + key, err
}

// ofEnded says whether a term can only hold of runs that have ended: more than nothing of what it asks for is known then.
func ofEnded(t filter.Term) bool {
	key := sorts[t.Field]
	return !t.Negated && (t.Op == filter.Above || t.Op == filter.AtLeast) && key != "" && key != "opened" && t.Values[0].Number > 0
}

// --- pages

// page is what a cursor says.
type page struct {
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
	var p page
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
	o.after = []any{p.Value, p.Num}
	return nil
}

// sort is what is sorted by, with the default of runs.
func (o *question) sort() string {
	if o.q.Of == polity.LookupRuns && o.q.Sort == "" {
		return "-started"
	}
	return o.q.Sort
}

func (o *question) next(value, num int64) (string, error) {
	data, err := json.Marshal(page{o.q.Of, o.sort(), value, num})
	return base64.RawURLEncoding.EncodeToString(data), err
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

// --- runs

const runSelect = `SELECT r.num, r.id, r.agent, r.skill, r.team, r.status, r.opened, r.ended, r.turns, r.input_tokens, r.output_tokens, r.cost, r.fault_kind, r.fault, r.fork_run, r.fork_event,
	(SELECT digest FROM releases WHERE num = r.release), (SELECT name FROM releases WHERE num = r.release), `

func (o *question) runs(ctx context.Context, found *polity.Found) error {
	if len(o.waits) > 0 {
		return o.waiting(ctx, found)
	}
	text, args, err := o.runsQuery(ctx)
	if err != nil {
		return err
	}
	var num, value int64
	more, err := o.rows(ctx, text, append(args, o.q.Limit+1), func(rows *sql.Rows) error {
		var one polity.RunRow
		num, value, err = scanRun(rows, &one)
		found.Runs = append(found.Runs, one)
		return err
	})
	if err == nil && more {
		found.Next, err = o.next(value, num)
	}
	return err
}

// runsQuery asks for runs that fit the filter and more, with the limit as its last value.
func (o *question) runsQuery(ctx context.Context, more ...string) (text string, args []any, err error) {
	words := o.v.store.words().words
	match, root := "SELECT t.root FROM texts t WHERE "+words, "s.root"
	if o.q.All {
		match, root = "SELECT t.run FROM texts t WHERE "+words, "s.run"
	}
	w, err := o.where(ctx, "r.num IN ("+match+")", root)
	if err != nil {
		return "", nil, err
	}
	w.parts = append(w.parts, more...)
	if !o.q.All {
		w.add("r.depth = 0")
	}
	sort := o.sort()
	key, order, than := "r."+sorts[strings.TrimPrefix(sort, "-")], "ASC", ">"
	if strings.HasPrefix(sort, "-") {
		order, than = "DESC", "<"
	}
	if key != "r.opened" || slices.ContainsFunc(o.f.Terms, ofEnded) {
		w.add("r.ended IS NOT NULL") // one that goes on has no place in that order yet; and the indexes are of these
	}
	if o.after != nil {
		w.add("("+key+", r.num) "+than+" (?, ?)", o.after...)
	}
	from := " FROM runs r"
	rare, err := o.rare(ctx)
	if err != nil {
		return "", nil, err
	}
	if rare != "" && "r."+strings.TrimPrefix(rare, "runs_") != key {
		from += o.v.store.words().index + rare
	} else if index, err := o.inOrder(ctx, strings.TrimPrefix(key, "r.")); err != nil {
		return "", nil, err
	} else if index != "" {
		from += o.v.store.words().index + index
	}
	return runSelect + key + from + " WHERE " + w.String() + " ORDER BY " + key + " " + order + ", r.num " + order + " LIMIT ?", w.args, nil
}

func scanRun(rows *sql.Rows, r *polity.RunRow) (num, value int64, err error) {
	var opened int64
	var ended, forkEvent sql.NullInt64
	var kind, text, forkRun, digest, name sql.NullString
	u := &r.Usage
	err = rows.Scan(&num, &r.ID, &r.Agent, &r.Skill, &r.Team, &r.Status, &opened, &ended, &u.Turns, &u.InputTokens, &u.OutputTokens, &u.MicroUSD,
		&kind, &text, &forkRun, &forkEvent, &digest, &name, &value)
	r.Release, r.Org = digest.String, name.String
	r.Opened, r.Ended = timeOf(opened), timeOf(ended.Int64)
	if kind.Valid {
		r.Fault = &fault.Error{Kind: fault.Kind(kind.String), Text: text.String}
	}
	if forkRun.Valid {
		r.Fork = &polity.ForkOf{Run: polity.RunID(forkRun.String), Event: int(forkEvent.Int64)}
	}
	return num, value, err
}

// --- steps

func (o *question) steps(ctx context.Context, found *polity.Found) error {
	w, err := o.where(ctx, "s.num IN (SELECT st.num FROM texts t JOIN steps st ON st.root = t.root AND st.run = t.run AND st.name = t.step WHERE "+o.v.store.words().words+")", "")
	if err != nil {
		return err
	}
	o.below(w, "s.root")
	order, than := o.newest()
	if o.after != nil {
		w.add("s.num "+than+" ?", o.after[1])
	}
	text := `SELECT s.num, r.id, s.name, r.agent, s.verb, s.dest, s.class, s.status, s.since, s.began, s.ended, s.turns, s.input_tokens, s.output_tokens, s.cost, s.fault, s.taken, s.person, s.decision,
		s.asked, s.verdict, s.found_by, s.found
		FROM steps s JOIN runs r ON r.num = s.run WHERE ` + w.String() + ` ORDER BY s.num ` + order + ` LIMIT ?`
	var num int64
	more, err := o.rows(ctx, text, append(w.args, o.q.Limit+1), func(rows *sql.Rows) error {
		var one polity.StepRow
		num, err = scanStep(rows, &one)
		found.Steps = append(found.Steps, one)
		return err
	})
	if err == nil && more {
		found.Next, err = o.next(0, num)
	}
	return err
}

func scanStep(rows *sql.Rows, s *polity.StepRow) (num int64, err error) {
	var status int
	var since, began, ended, found sql.NullInt64
	var text, decision, verdict, by sql.NullString
	u := &s.Usage
	if err := rows.Scan(&num, &s.Run, &s.Command, &s.Agent, &s.Verb, &s.To, &s.Class, &status, &since, &began, &ended, &u.Turns, &u.InputTokens, &u.OutputTokens,
		&u.MicroUSD, &text, &s.Taken, &s.Person, &decision, &s.Asked, &verdict, &by, &found); err != nil {
		return 0, err
	}
	s.Status, s.Fault = stepStates[status], text.String
	s.Since, s.Began, s.Ended = timeOf(since.Int64), timeOf(began.Int64), timeOf(ended.Int64)
	s.Verdict, s.By, s.Found = polity.Verdict(verdict.String), by.String, timeOf(found.Int64)
	if decision.Valid {
		s.Decision = &polity.Decision{}
		err = json.Unmarshal([]byte(decision.String), s.Decision)
	}
	return num, err
}

// below adds that rows are of the run that is asked for, or of those below it.
func (o *question) below(w *where, root string) {
	if o.q.Run == "" {
		return
	}
	// The tree's rows are found by its root, and those of a part of it by what its runs' IDs begin with.
	w.add(root+" = (SELECT root FROM runs WHERE id = ?)", string(o.q.Run))
	if o.q.Run.Parent() != "" {
		w.add("(r.id = ? OR substr(r.id, 1, ?) = ?)", string(o.q.Run), len(o.q.Run)+1, string(o.q.Run)+"/")
	}
}

// newest is the order of what is listed by its number: the newest first, and of one run as it came.
func (o *question) newest() (order, than string) {
	if o.q.Run != "" {
		return "ASC", ">"
	}
	return "DESC", "<"
}

// --- texts

// place says where a text is in the log.
type place struct {
	seq  uint64
	step string
	part int
}

func (o *question) texts(ctx context.Context, found *polity.Found) error {
	var words []string
	for _, t := range o.f.Terms {
		if t.Op == filter.Has && !t.Negated {
			words = append(words, t.Values[0].Text)
		}
	}
	if len(words) == 0 {
		return fault.Invalid.New("lookup: texts are asked for by a word, or a \"phrase\" in quotes")
	}
	w, err := o.where(ctx, o.v.store.words().words, "")
	if err != nil {
		return err
	}
	if o.after != nil {
		w.add("t.num < ?", o.after[1])
	}
	text := "SELECT t.num, t.at, r.id, t.step, r.agent, t.part, t.seq FROM texts t JOIN runs r ON r.num = t.run WHERE " + w.String() + " ORDER BY t.num DESC LIMIT ?"
	var num int64
	var places []place
	more, err := o.rows(ctx, text, append(w.args, o.q.Limit+1), func(rows *sql.Rows) error {
		var one polity.TextRow
		var p place
		var at int64
		err := rows.Scan(&num, &at, &one.Run, &p.step, &one.Agent, &p.part, &p.seq)
		one.At, one.Command, one.Part = timeOf(at), p.step, partNames[p.part]
		found.Texts, places = append(found.Texts, one), append(places, p)
		return err
	})
	if err == nil && more {
		found.Next, err = o.next(0, num)
	}
	for i := range places {
		if err == nil {
			found.Texts[i].Excerpt, err = o.v.excerpt(ctx, found.Texts[i].Run, places[i], words)
		}
	}
	return err
}

// excerpt reads a text from the log. The view has only its words.
func (v *View) excerpt(ctx context.Context, id polity.RunID, p place, words []string) (string, error) {
	c, err := v.cfg.Log.Commit(ctx, p.seq)
	if err != nil {
		return "", err
	}
	for i := range c.Facts {
		f := &c.Facts[i]
		if f.Run != id && f.Kind != "published" || !p.is(f) {
			continue
		}
		data, err := v.cfg.Log.Data(f)
		if errors.Is(err, fault.NotFound) {
			return "", nil
		}
		return excerpt(textOf(data, f.Fault), words), err
	}
	return "", nil
}

// is says whether a fact brought the text.
func (p place) is(f *run.Fact) bool {
	switch {
	case p.part == partSignal:
		return f.Kind == "signalled" && f.ID == p.step
	case p.part == partEvent:
		return f.Kind == "published" && f.ID == p.step
	case p.step != "":
		return f.Kind == "result" && polity.CommandKey(f.Name, f.Attempt) == p.step
	case p.part == partInput:
		return f.Kind == "opened"
	default:
		return f.Kind == "finished"
	}
}

// --- events

func (o *question) events(ctx context.Context, found *polity.Found) error {
	w, err := o.where(ctx, "", "")
	if err != nil {
		return err
	}
	o.below(w, "e.root")
	order, than := o.newest()
	if o.after != nil {
		w.add("e.num "+than+" ?", o.after[1])
	}
	text := "SELECT e.num, e.at, e.kind, e.name, e.id, e.place, coalesce(r.id, ''), coalesce(r.agent, '') FROM told e LEFT JOIN runs r ON r.num = e.run WHERE " +
		w.String() + " ORDER BY e.num " + order + " LIMIT ?"
	var num int64
	more, err := o.rows(ctx, text, append(w.args, o.q.Limit+1), func(rows *sql.Rows) error {
		var e polity.EventRow
		var at int64
		var kind int
		err := rows.Scan(&num, &at, &kind, &e.Name, &e.ID, &e.Place, &e.Run, &e.Agent)
		e.At, e.Kind = timeOf(at), toldKinds[kind]
		found.Events = append(found.Events, e)
		return err
	})
	if err == nil && more {
		found.Next, err = o.next(0, num)
	}
	return err
}

// --- sums

func (o *question) costs(ctx context.Context, found *polity.Found) error {
	by := o.q.By
	if by == "" {
		by = "agent"
	}
	w, err := o.where(ctx, "", "")
	if err != nil {
		return err
	}
	from := "used u"
	if o.q.Run != "" {
		// What one run used is added up from its steps, with those that a fork took over left out.
		from = `(SELECT s.ended / 86400000000000 AS day, r.agent, r.skill, s.verb, s.dest, 1 AS calls, CASE WHEN s.fault IS NULL THEN 0 ELSE 1 END AS failed, s.ended - s.since AS time,
			s.turns, s.input_tokens, s.output_tokens, s.cost FROM steps s JOIN runs r ON r.num = s.run
			WHERE s.root = (SELECT root FROM runs WHERE id = ?) AND s.class <> '' AND s.ended IS NOT NULL AND s.taken = 0) u`
	}
	group := groups[by]
	w.add(group.where)
	args := w.args
	if o.q.Run != "" {
		args = append([]any{string(o.q.Run)}, args...)
	}
	order := "8 DESC, sum(u.input_tokens + u.output_tokens) DESC, 1"
	if by == "day" {
		order = "1 DESC"
	}
	text := "SELECT " + group.sql + sums("u.calls", "u.failed", "u.time", "u.turns", "u.input_tokens", "u.output_tokens", "u.cost") + " FROM " +
		from + " WHERE " + w.String() + " GROUP BY 1 ORDER BY " + order + " LIMIT ?"
	_, err = o.rows(ctx, text, append(args, o.q.Limit+1), func(rows *sql.Rows) error {
		var c polity.CostRow
		u := &c.Usage
		err := rows.Scan(&c.By, &c.Calls, &c.Failed, &c.Time, &u.Turns, &u.InputTokens, &u.OutputTokens, &u.MicroUSD)
		if day, no := strconv.ParseInt(c.By, 10, 64); by == "day" && no == nil {
			c.By = time.Unix(day*24*60*60, 0).UTC().Format(time.DateOnly)
		}
		found.Costs = append(found.Costs, c)
		return err
	})
	return err
}

// sums are columns added up, as whole numbers, each behind a comma.
func sums(columns ...string) string {
	var b strings.Builder
	for _, c := range columns {
		b.WriteString(", CAST(coalesce(sum(" + c + "), 0) AS BIGINT)")
	}
	return b.String()
}

func (o *question) agents(ctx context.Context, found *polity.Found) error {
	var of [5]string // runs that ended with a status
	for i := range of {
		of[i] = fmt.Sprintf("CASE WHEN status = %d THEN runs ELSE 0 END", i)
	}
	text := `
		WITH a AS (
			SELECT agent, status, runs, time, 0 AS calls, 0 AS failed, 0 AS turns, 0 AS input_tokens, 0 AS output_tokens, 0 AS cost FROM ended
			UNION ALL
			SELECT CASE verb WHEN 'ask' THEN dest ELSE agent END, -1, 0, 0, calls, failed, turns, input_tokens, output_tokens, cost FROM used
		) SELECT agent` + sums("runs", of[1], of[2], of[3], of[4], "time", "calls", "failed", "turns", "input_tokens", "output_tokens", "cost") + ` FROM a GROUP BY agent ORDER BY agent LIMIT ?`
	_, err := o.rows(ctx, text, []any{o.q.Limit + 1}, func(rows *sql.Rows) error {
		var a polity.AgentRow
		u := &a.Usage
		err := rows.Scan(&a.Agent, &a.Runs, &a.Completed, &a.Exhausted, &a.Failed, &a.Cancelled, &a.Mean, &a.Calls, &a.Errors, &u.Turns, &u.InputTokens, &u.OutputTokens, &u.MicroUSD)
		a.Mean /= polity.Duration(max(a.Runs, 1))
		found.Agents = append(found.Agents, a)
		return err
	})
	return err
}
