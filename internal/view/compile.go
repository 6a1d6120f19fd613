package view

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/filter"
)

// column is a field of the language and what it is in SQL. Values are always bound.
type column struct {
	filter.Field
	// sql is the expression that is compared; or, with a '@', a condition in which '@' stands for the comparison.
	sql    string
	verb   string // of the steps whose destination is compared, in place of sql
	told   string // the kind of what was told whose name is compared, in place of sql
	perDay bool   // a moment means its day
	// each are the conditions of a Choice, in the order of its choices, where that is not a number that is compared: such a condition can be
	// answered from an index of those rows alone.
	each []string
}

var yesNo = []string{"no", "yes"}

// waitingField is the field of which only the kernel knows.
const waitingField = "waiting"

func statuses() []string {
	var words []string
	for s := polity.StatusRunning; s.Known(); s++ {
		words = append(words, s.String())
	}
	return words
}

// orgColumn is the organization of whatever knows its run as r.
var orgColumn = column{
	Field: filter.Field{Name: "org", Doc: "the organization, which is what the run's release is called"}, sql: "r.release IN (SELECT num FROM releases WHERE name @)",
}

// The fields by which rows can be asked for. Those of runs know them as r, those of steps also as s.
var (
	runColumns = []column{
		{Field: filter.Field{Name: "agent", Doc: "whose run it is"}, sql: "r.agent"},
		{Field: filter.Field{Name: "team", Doc: "the agent that asked for it; at a root its own"}, sql: "r.team"},
		{Field: filter.Field{Name: "skill", Doc: "what was asked for"}, sql: "r.skill"},
		{Field: filter.Field{Name: "status", Kind: filter.Choice, Choices: statuses(), Doc: "where it stands"}, sql: "r.status"},
		{Field: filter.Field{Name: "fault", Doc: "the kind of its fault, as in timeout"}, sql: "r.fault_kind"},
		{Field: filter.Field{Name: "started", Kind: filter.Moment, Doc: "when it was opened"}, sql: "r.opened"},
		{Field: filter.Field{Name: "ended", Kind: filter.Moment, Doc: "when it ended"}, sql: "r.ended"},
		{Field: filter.Field{Name: "took", Kind: filter.Span, Doc: "how long it took, if it ended"}, sql: "r.took"},
		{Field: filter.Field{Name: "cost", Kind: filter.Money, Doc: "US dollars, with everything below"}, sql: "r.cost"},
		{Field: filter.Field{Name: "tokens", Kind: filter.Number, Doc: "of input and output, with everything below"}, sql: "r.tokens"},
		{Field: filter.Field{Name: "turns", Kind: filter.Number, Doc: "commands done, with everything below"}, sql: "r.turns"},
		{Field: filter.Field{Name: "id", Doc: "its ID"}, sql: "r.id"},
		orgColumn,
		{Field: filter.Field{Name: "release", Doc: "hex digest of what it was opened with"}, sql: "(SELECT digest FROM releases WHERE num = r.release)"},
		{Field: filter.Field{Name: "fork", Doc: "of which run it is a fork"}, sql: "r.fork_run"},
		{Field: filter.Field{Name: "conversation", Doc: "the key of the conversation that it is part of"}, sql: "r.conversation"},
		{Field: filter.Field{Name: "paused", Kind: filter.Choice, Choices: yesNo, Doc: "whether it is paused"}, each: []string{"r.paused IS NULL", "r.paused IS NOT NULL"}},
		{Field: filter.Field{Name: "undoing", Kind: filter.Choice, Choices: yesNo, Doc: "whether it was cancelled and has not ended: it undoes what it did"},
			each: []string{"r.stopping IS NULL", "r.stopping IS NOT NULL"}},
		{Field: filter.Field{Name: waitingField, Doc: "what it waits for now, as signal, \"signal paid\", topic or time"}},
		{Field: filter.Field{Name: "signal", Doc: "a signal that it, or a run below it, was told"}, told: "0"},
		{Field: filter.Field{Name: "published", Doc: "a topic on which it, or a run below it, published"}, told: "1"},
		{Field: filter.Field{Name: "tool", Doc: "a tool that it, or a run below it, called"}, verb: "call"},
		{Field: filter.Field{Name: "model", Doc: "a model that it, or a run below it, asked"}, verb: "think"},
		{Field: filter.Field{Name: "with", Doc: "an agent whose run stands below it"}, sql: "r.num IN (SELECT root FROM runs b WHERE b.depth > 0 AND b.agent @)"},
	}
	stepColumns = []column{
		{Field: filter.Field{Name: "agent", Doc: "whose run did it"}, sql: "r.agent"},
		orgColumn,
		{Field: filter.Field{Name: "command", Doc: "its name in the run, as undo.*"}, sql: "s.name"},
		{Field: filter.Field{Name: "verb", Doc: "ask, call, think or sleep"}, sql: "s.verb"},
		{Field: filter.Field{Name: "to", Doc: "the agent, tool or model"}, sql: "s.dest"},
		{Field: filter.Field{Name: "class", Doc: "none, idempotent, keyed or external"}, sql: "s.class"},
		{Field: filter.Field{Name: "status", Kind: filter.Choice, Choices: stepStates, Doc: "where it stands"},
			each: []string{"(s.status <> 1 AND s.status = 0)", "s.status = 1", "(s.status <> 1 AND s.status = 2)", "(s.status <> 1 AND s.status = 3)"}},
		{Field: filter.Field{Name: "started", Kind: filter.Moment, Doc: "when it was decided"}, sql: "s.since"},
		{Field: filter.Field{Name: "ended", Kind: filter.Moment, Doc: "when its result came"}, sql: "s.ended"},
		{Field: filter.Field{Name: "took", Kind: filter.Span, Doc: "from being decided to its result"}, sql: "(s.ended - s.since)"},
		{Field: filter.Field{Name: "cost", Kind: filter.Money, Doc: "US dollars"}, sql: "s.cost"},
		{Field: filter.Field{Name: "tokens", Kind: filter.Number, Doc: "of input and output"}, sql: "(s.input_tokens + s.output_tokens)"},
		{Field: filter.Field{Name: "person", Kind: filter.Choice, Choices: yesNo, Doc: "whether a person was asked"}, each: []string{"s.person = 0", "s.person = 1"}},
		{Field: filter.Field{Name: "decided", Kind: filter.Choice, Choices: yesNo, Doc: "whether it was an approval, and somebody decided"},
			each: []string{"s.decision IS NULL", "s.decision IS NOT NULL"}},
		{Field: filter.Field{Name: "open", Kind: filter.Choice, Choices: yesNo, Doc: "whether it ended as unknown, and nothing was found out since"},
			each: []string{"NOT (s.status = 3 AND s.verdict IS NULL)", "(s.status = 3 AND s.verdict IS NULL)"}},
		{Field: filter.Field{Name: "verdict", Doc: "what was found out since: done, not_done or undone"}, sql: "s.verdict"},
	}
	textColumns = []column{
		{Field: filter.Field{Name: "agent", Doc: "whose run it is"}, sql: "r.agent"},
		orgColumn,
		{Field: filter.Field{Name: "part", Kind: filter.Choice, Choices: partNames, Doc: "an input, an output or fault, the data of a signal or of a published event"}, sql: "t.part"},
		{Field: filter.Field{Name: "status", Kind: filter.Choice, Choices: statuses(), Doc: "where its run stands"}, sql: "r.status"},
		{Field: filter.Field{Name: "started", Kind: filter.Moment, Doc: "when its run was opened"}, sql: "r.opened"},
		{Field: filter.Field{Name: "at", Kind: filter.Moment, Doc: "when it was said"}, sql: "t.at"},
	}
	eventColumns = []column{
		{Field: filter.Field{Name: "kind", Kind: filter.Choice, Choices: toldKinds, Doc: "a signal, or an event on a topic"}, sql: "e.kind"},
		{Field: filter.Field{Name: "name", Doc: "of the signal or topic, as orders.*"}, sql: "e.name"},
		{Field: filter.Field{Name: "id", Doc: "the sender's"}, sql: "e.id"},
		{Field: filter.Field{Name: "agent", Doc: "whose run was told, or published"}, sql: "r.agent"},
		{Field: filter.Field{Name: "at", Kind: filter.Moment, Doc: "when it came"}, sql: "e.at"},
	}
	// What was used is kept by day, so a time means the days from, or up to, the one in which it is, in UTC.
	usedColumns = []column{
		{Field: filter.Field{Name: "agent", Doc: "whose run used it"}, sql: "u.agent"},
		{Field: filter.Field{Name: "skill", Doc: "what that was asked for"}, sql: "u.skill"},
		{Field: filter.Field{Name: "verb", Doc: "ask, call or think"}, sql: "u.verb"},
		{Field: filter.Field{Name: "to", Doc: "the agent, tool or model"}, sql: "u.dest"},
		{Field: filter.Field{Name: "day", Kind: filter.Moment, Doc: "the day, in UTC"}, sql: "u.day", perDay: true},
	}
)

// Fields returns what can be asked for, for help and completion.
func Fields(of polity.LookupOf) []filter.Field { return fields(columnsOf(of)) }

func columnsOf(of polity.LookupOf) []column {
	switch of {
	case polity.LookupRuns:
		return runColumns
	case polity.LookupSteps:
		return stepColumns
	case polity.LookupTexts:
		return textColumns
	case polity.LookupEvents:
		return eventColumns
	case polity.LookupCosts:
		return usedColumns
	default:
		return nil
	}
}

func fields(columns []column) []filter.Field {
	out := make([]filter.Field, len(columns))
	for i, c := range columns {
		out[i] = c.Field
	}
	return out
}

// where is a condition with its bound values.
type where struct {
	parts []string
	args  []any
}

func (w *where) add(sql string, args ...any) {
	w.parts = append(w.parts, sql)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.parts) == 0 {
		return "TRUE"
	}
	return strings.Join(w.parts, " AND ")
}

// compiler makes conditions of a filter.
type compiler struct {
	columns []column
	dialect *dialect
	words   string   // the condition of a word; "" if words are not searched here
	root    string   // the number of the run that is listed, as a step s has it
	stopped []string // IDs of the runs that are stopped: the log says running
	// many says whether a query has as many rows as it takes to make a list by looking at runs one by one.
	many func(query string, args []any) (bool, error)
}

// filter adds what a filter asks for.
func (c *compiler) filter(w *where, f filter.Filter) error {
	for _, t := range f.Terms {
		sql, args, err := c.term(t)
		if err != nil {
			return err
		}
		if t.Negated {
			sql = "(" + sql + ") IS NOT TRUE"
		}
		w.add(sql, args...)
	}
	return nil
}

func (c *compiler) term(t filter.Term) (string, []any, error) {
	if t.Op == filter.Has {
		if c.words == "" {
			return "", nil, fault.Invalid.New("filter: %q: words are not searched here; write FIELD:VALUE", t.Values[0].Text)
		}
		return c.words, []any{c.dialect.phrase(t.Values[0].Text)}, nil
	}
	var col *column
	for i := range c.columns {
		if c.columns[i].Name == t.Field {
			col = &c.columns[i]
		}
	}
	if t.Field == "status" && col.sql == "r.status" {
		return c.status(t)
	}
	sql, args := compare(col, t)
	switch {
	case col.verb != "":
		var err error
		if sql, args, err = c.did(col, t); err != nil {
			return "", nil, err
		}
	case col.told != "":
		sql, args = compare(&column{Field: col.Field, sql: "e.name"}, t)
		sql = "r.num IN (SELECT " + strings.Replace(c.root, "s.", "e.", 1) + " FROM told e WHERE e.kind = " + col.told + " AND " + sql + ")"
	}
	if t.Op == filter.Not {
		sql = "(" + sql + ") IS NOT TRUE"
	}
	return sql, args, nil
}

// did is the condition that a run, or one below it, did something with a destination. What fits seldom is gathered; else each run is looked at.
func (c *compiler) did(col *column, t filter.Term) (string, []any, error) {
	to, args := compare(&column{Field: col.Field, sql: "s.dest"}, t)
	did := " WHERE s.verb = '" + col.verb + "' AND " + to
	many, err := c.many("SELECT 1 FROM steps s"+did, args)
	if many { // by the run, as the index by what was done has too many
		from := " FROM steps s"
		if c.dialect.index != "" {
			from += c.dialect.index + "steps_root"
		}
		return "EXISTS (SELECT 1" + from + did + " AND s.root = r.root AND " + c.root + " = r.num)", args, err
	}
	return "r.num IN (SELECT " + c.root + " FROM steps s" + did + ")", args, err
}

// compare compares a column with the values of a term. Of Not it is the opposite.
func compare(col *column, t filter.Term) (string, []any) {
	expression := func(comparison string) string {
		before, after, ok := strings.Cut(col.sql, "@")
		if !ok {
			return col.sql + comparison
		}
		return before + comparison + after
	}
	values := make([]any, len(t.Values))
	beginnings := false
	for i, v := range t.Values {
		switch {
		case col.Kind == filter.Text:
			values[i] = v.Text
			beginnings = beginnings || v.Prefix
		case col.perDay:
			values[i] = v.Number / int64(24*time.Hour)
		default:
			values[i] = v.Number
		}
	}
	switch {
	case col.each != nil:
		var parts []string
		for _, v := range t.Values {
			parts = append(parts, col.each[v.Number])
		}
		return "(" + strings.Join(parts, " OR ") + ")", nil
	case t.Op != filter.Is && t.Op != filter.Not:
		return expression(" " + string(t.Op) + " ?"), values
	case beginnings:
		var parts []string
		var bounds []any
		for _, v := range t.Values {
			parts = append(parts, expression(" BETWEEN ? AND ?"))
			last := v.Text
			if v.Prefix {
				last += string(unicode.MaxRune)
			}
			bounds = append(bounds, v.Text, last)
		}
		return "(" + strings.Join(parts, " OR ") + ")", bounds
	case len(values) == 1:
		return expression(" = ?"), values
	default:
		return expression(" IN (?" + strings.Repeat(", ?", len(values)-1) + ")"), values
	}
}

// status compares statuses. That a run is stopped is not in the log, but known by who serves it.
func (c *compiler) status(t filter.Term) (string, []any, error) {
	ids, err := json.Marshal(c.stopped)
	if err != nil {
		return "", nil, fault.Internal.New("view: %w", err)
	}
	stopped := "r.id IN " + c.dialect.list
	var parts []string
	var args []any
	for _, v := range t.Values {
		switch s := polity.Status(v.Number); {
		case s == polity.StatusStopped:
			parts, args = append(parts, stopped), append(args, string(ids))
		case s == polity.StatusRunning && len(c.stopped) > 0:
			parts, args = append(parts, "(r.status = ? AND NOT "+stopped+")"), append(args, int(s), string(ids))
		default:
			parts, args = append(parts, "r.status = ?"), append(args, int(s))
		}
	}
	sql := "(" + strings.Join(parts, " OR ") + ")"
	if t.Op == filter.Not {
		sql = "NOT " + sql
	}
	return sql, args, nil
}
