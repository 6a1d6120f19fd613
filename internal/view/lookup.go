package view

import (
	"context"
	"database/sql"
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
	return v.ask(ctx, one, answer)
}

// ask has a question answered from the view as it is.
func (v *View) ask(ctx context.Context, one *question, answer func(context.Context, *question, *polity.Found) error) (polity.Found, error) {
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
	if one.q.Of != polity.LookupView && one.db == nil {
		return polity.Found{}, fault.Unavailable.New("view: there is none now: %s", found.View.Problem)
	}
	err := v.store.fault(answer(ctx, one, &found))
	if errors.Is(err, errOther) {
		v.throw()
		err = fault.Unavailable.New("the view is damaged and is made again; ask again: %s", err)
	}
	return found, err
}

// answer answers a lookup.
func answer(ctx context.Context, one *question, found *polity.Found) error {
	switch one.q.Of {
	case polity.LookupRuns:
		return one.runs(ctx, found)
	case polity.LookupSteps:
		return one.steps(ctx, found)
	case polity.LookupTexts:
		return one.texts(ctx, found)
	case polity.LookupEvents:
		return one.events(ctx, found)
	case polity.LookupCosts:
		return one.costs(ctx, found)
	case polity.LookupAgents:
		return one.agents(ctx, found)
	}
	return nil // how far the view is
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
	after *place // where the page before ended; nil for the first page
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
	c := compiler{columns: columnsOf(o.q.Of), dialect: o.v.store.words(), words: words, root: root, roots: !o.q.All, stopped: o.live.Stopped}
	c.many = func(query string, args []any) (bool, error) { return o.many(ctx, query, args) }
	return w, c.filter(w, o.f)
}

// fewMax is how many rows are gathered and sorted. Of what fits more often than that, a page is found soon by looking at runs in their order.
const fewMax = 20_000

// many says whether a query has more rows than that.
func (o *question) many(ctx context.Context, query string, args []any) (bool, error) {
	var n int
	err := o.db.QueryRowContext(ctx, o.v.store.words().number("SELECT count(*) FROM ("+query+" LIMIT ?) few"), append(slices.Clone(args), o.v.most.few)...).Scan(&n)
	return n == o.v.most.few, err
}

// rare returns the index of the first term that fits few runs of all, or "". The database cannot know that of a range.
func (o *question) rare(ctx context.Context) (string, error) {
	if o.q.All || o.v.store.words().index == "" {
		return "", nil // the indexes are of roots; PostgreSQL can know it
	}
	for _, t := range o.f.Terms {
		ended := " AND ended IS NOT NULL"
		if t.Field == "started" && !t.Negated && (t.Op == filter.Above || t.Op == filter.AtLeast) {
			ended = ""
		} else if !ofEnded(t) {
			continue
		}
		key := sorts[t.Field]
		many, err := o.many(ctx, "SELECT 1 FROM runs WHERE depth = 0"+ended+" AND "+key+" "+string(t.Op)+" ?", []any{t.Values[0].Number})
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

// --- runs

const runSelect = `r.id, r.agent, r.skill, r.team, r.status, r.opened, r.ended, r.turns, r.input_tokens, r.output_tokens, r.cost, r.fault_kind, r.fault, r.fork_run, r.fork_event,
	(SELECT digest FROM releases WHERE num = r.release), (SELECT name FROM releases WHERE num = r.release)`

func (o *question) runs(ctx context.Context, found *polity.Found) error {
	if len(o.waits) > 0 {
		return o.waiting(ctx, found)
	}
	l, err := o.runList(ctx)
	if err != nil {
		return err
	}
	l.scan = func(rows *sql.Rows, place ...any) error {
		var one polity.RunRow
		err := scanRun(rows, &one, place)
		found.Runs = append(found.Runs, one)
		return err
	}
	return o.page(ctx, found, l)
}

// runList is the list of runs that fit the filter and more.
func (o *question) runList(ctx context.Context, more ...string) (listing, error) {
	match, root := "SELECT t.root FROM texts t WHERE ", "s.root"
	if o.q.All {
		match, root = "SELECT t.run FROM texts t WHERE ", "s.run"
	}
	w, err := o.where(ctx, "r.num IN ("+match+o.v.store.words().words+")", root)
	if err != nil {
		return listing{}, err
	}
	w.parts = append(w.parts, more...)
	every := "TRUE"
	if !o.q.All {
		every = "r.depth = 0"
	}
	sort := o.sort()
	column := sorts[strings.TrimPrefix(sort, "-")]
	if column != "opened" {
		every += " AND r.ended IS NOT NULL" // one that goes on has no place in that order yet
	} else if slices.ContainsFunc(o.f.Terms, ofEnded) {
		w.add("r.ended IS NOT NULL") // the indexes are of these
	}
	w.add(every)
	l := listing{columns: runSelect, from: "runs r", where: w, key: "r." + column, num: "r.num", ascending: !strings.HasPrefix(sort, "-")}
	if column == "opened" || !o.q.All {
		l.all = "runs r WHERE " + every
	}
	index, err := o.rare(ctx)
	if index == "" || index == "runs_"+column {
		index = ""
		if err == nil {
			index, err = o.inOrder(ctx, column)
		}
	}
	if index != "" {
		l.from += o.v.store.words().index + index
	}
	return l, err
}

func scanRun(rows *sql.Rows, r *polity.RunRow, place []any) error {
	var opened int64
	var ended, forkEvent sql.NullInt64
	var kind, text, forkRun, digest, name sql.NullString
	u := &r.Usage
	err := rows.Scan(append([]any{&r.ID, &r.Agent, &r.Skill, &r.Team, &r.Status, &opened, &ended, &u.Turns, &u.InputTokens, &u.OutputTokens, &u.MicroUSD,
		&kind, &text, &forkRun, &forkEvent, &digest, &name}, place...)...)
	r.Release, r.Org = digest.String, name.String
	r.Opened, r.Ended = timeOf(opened), timeOf(ended.Int64)
	if kind.Valid {
		r.Fault = &fault.Error{Kind: fault.Kind(kind.String), Text: text.String}
	}
	if forkRun.Valid {
		r.Fork = &polity.ForkOf{Run: polity.RunID(forkRun.String), Event: int(forkEvent.Int64)}
	}
	return err
}

// --- steps

func (o *question) steps(ctx context.Context, found *polity.Found) error {
	w, err := o.where(ctx, "s.num IN (SELECT st.num FROM texts t JOIN steps st ON st.root = t.root AND st.run = t.run AND st.name = t.step WHERE "+o.v.store.words().words+")", "")
	if err != nil {
		return err
	}
	o.below(w, "s.root")
	return o.page(ctx, found, listing{
		columns: `r.id, s.name, r.agent, s.verb, s.dest, s.class, s.status, s.since, s.began, s.ended, s.turns, s.input_tokens, s.output_tokens, s.cost, s.fault, s.taken, s.person,
			s.decision, s.asked, s.verdict, s.found_by, s.found`,
		from: "steps s JOIN runs r ON r.num = s.run", where: w, num: "s.num", ascending: o.q.Run != "", last: o.last(o.v.position().steps),
		scan: func(rows *sql.Rows, place ...any) error {
			var one polity.StepRow
			err := scanStep(rows, &one, place)
			found.Steps = append(found.Steps, one)
			return err
		},
	})
}

// last is the highest number of a kind of row, for what is listed from the newest on. What one run did is listed as it came, and as a whole.
func (o *question) last(num int64) int64 {
	if o.q.Run != "" {
		return 0
	}
	return num
}

func scanStep(rows *sql.Rows, s *polity.StepRow, place []any) error {
	var status int
	var since, began, ended, found sql.NullInt64
	var text, decision, verdict, by sql.NullString
	u := &s.Usage
	if err := rows.Scan(append([]any{&s.Run, &s.Command, &s.Agent, &s.Verb, &s.To, &s.Class, &status, &since, &began, &ended, &u.Turns, &u.InputTokens, &u.OutputTokens,
		&u.MicroUSD, &text, &s.Taken, &s.Person, &decision, &s.Asked, &verdict, &by, &found}, place...)...); err != nil {
		return err
	}
	s.Status, s.Fault = stepStates[status], text.String
	s.Since, s.Began, s.Ended = timeOf(since.Int64), timeOf(began.Int64), timeOf(ended.Int64)
	s.Verdict, s.By, s.Found = polity.Verdict(verdict.String), by.String, timeOf(found.Int64)
	if !decision.Valid {
		return nil
	}
	s.Decision = &polity.Decision{}
	return json.Unmarshal([]byte(decision.String), s.Decision)
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

// --- texts

// inLog says where a text is in the log.
type inLog struct {
	seq  uint64
	step string
	part int
}

func (o *question) texts(ctx context.Context, found *polity.Found) error {
	var words []string // wanted
	var match [2][]string
	rest := *o
	rest.f.Terms = nil
	for _, t := range o.f.Terms {
		if t.Op != filter.Has {
			rest.f.Terms = append(rest.f.Terms, t)
			continue
		}
		text := t.Values[0].Text
		if !t.Negated {
			words = append(words, text)
		}
		n := map[bool]int{true: 1}[t.Negated]
		match[n] = append(match[n], o.v.store.words().phrase(text))
	}
	if len(words) == 0 {
		return fault.Invalid.New("lookup: texts are asked for by a word, or a \"phrase\" in quotes")
	}
	w, err := rest.where(ctx, "", "")
	if err != nil {
		return err
	}
	d := o.v.store.words()
	w.add(d.match, strings.Join(append([]string{strings.Join(match[0], d.and)}, match[1]...), d.not))
	var places []inLog
	err = o.page(ctx, found, listing{
		columns: "t.at, r.id, t.step, r.agent, t.part, t.seq", from: d.texts, where: w, num: d.num, last: o.v.position().texts,
		scan: func(rows *sql.Rows, place ...any) error {
			var one polity.TextRow
			var p inLog
			var at int64
			err := rows.Scan(append([]any{&at, &one.Run, &p.step, &one.Agent, &p.part, &p.seq}, place...)...)
			one.At, one.Command, one.Part = timeOf(at), p.step, partNames[p.part]
			found.Texts, places = append(found.Texts, one), append(places, p)
			return err
		},
	})
	for i := range places {
		if err == nil {
			found.Texts[i].Excerpt, err = o.v.excerpt(ctx, found.Texts[i].Run, places[i], words)
		}
	}
	return err
}

// excerpt reads a text from the log, "" if it was dropped from there. The view has only its words.
func (v *View) excerpt(ctx context.Context, id polity.RunID, p inLog, words []string) (string, error) {
	c, err := v.cfg.Log.Commit(ctx, p.seq)
	if errors.Is(err, fault.NotFound) {
		return "", nil
	}
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
func (p inLog) is(f *run.Fact) bool {
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
	return o.page(ctx, found, listing{
		columns: "e.at, e.kind, e.name, e.id, e.place, coalesce(r.id, ''), coalesce(r.agent, '')",
		from:    "told e LEFT JOIN runs r ON r.num = e.run", where: w, num: "e.num", ascending: o.q.Run != "", last: o.last(o.v.position().told),
		scan: func(rows *sql.Rows, place ...any) error {
			var e polity.EventRow
			var at int64
			var kind int
			err := rows.Scan(append([]any{&at, &kind, &e.Name, &e.ID, &e.Place, &e.Run, &e.Agent}, place...)...)
			e.At, e.Kind = timeOf(at), toldKinds[kind]
			found.Events = append(found.Events, e)
			return err
		},
	})
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
