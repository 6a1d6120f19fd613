package view

import (
	"encoding/json"
	"strings"
	"time"

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
	perDay bool   // a moment means its day
	// each are the conditions of a Choice, in the order of its choices, where that is not a number that is compared: such a condition can be
	// answered from an index of those rows alone.
	each []string
}

func statuses() []string {
	var words []string
	for s := polity.StatusRunning; s.Known(); s++ {
		words = append(words, s.String())
	}
	return words
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
		{Field: filter.Field{Name: "release", Doc: "hex digest of what it was opened with"}, sql: "(SELECT digest FROM releases WHERE num = r.release)"},
		{Field: filter.Field{Name: "fork", Doc: "of which run it is a fork"}, sql: "r.fork_run"},
		{Field: filter.Field{Name: "tool", Doc: "a tool that it, or a run below it, called"}, verb: "call"},
		{Field: filter.Field{Name: "model", Doc: "a model that it, or a run below it, asked"}, verb: "think"},
		{Field: filter.Field{Name: "with", Doc: "an agent whose run stands below it"}, sql: "r.num IN (SELECT root FROM runs b WHERE b.depth > 0 AND b.agent @)"},
	}
	stepColumns = []column{
		{Field: filter.Field{Name: "agent", Doc: "whose run did it"}, sql: "r.agent"},
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
		{Field: filter.Field{Name: "person", Kind: filter.Choice, Choices: []string{"no", "yes"}, Doc: "whether a person was asked"}, each: []string{"s.person = 0", "s.person = 1"}},
		{Field: filter.Field{Name: "decided", Kind: filter.Choice, Choices: []string{"no", "yes"}, Doc: "whether it was an approval, and somebody decided"},
			each: []string{"s.decision IS NULL", "s.decision IS NOT NULL"}},
	}
	textColumns = []column{
		{Field: filter.Field{Name: "agent", Doc: "whose run it is"}, sql: "r.agent"},
		{Field: filter.Field{Name: "part", Kind: filter.Choice, Choices: partNames, Doc: "an input, or an output or fault"}, sql: "t.part"},
		{Field: filter.Field{Name: "status", Kind: filter.Choice, Choices: statuses(), Doc: "where its run stands"}, sql: "r.status"},
		{Field: filter.Field{Name: "started", Kind: filter.Moment, Doc: "when its run was opened"}, sql: "r.opened"},
		{Field: filter.Field{Name: "at", Kind: filter.Moment, Doc: "when it was said"}, sql: "t.at"},
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
		return "1"
	}
	return strings.Join(w.parts, " AND ")
}

// compiler makes conditions of a filter.
type compiler struct {
	columns []column
	words   string   // the condition of a word, with '@' for the place of what is searched; "" if words are not searched here
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
			sql = "NOT ifnull(" + sql + ", 0)"
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
		return c.words, []any{phrase(t.Values[0].Text)}, nil
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
	if col.verb != "" {
		var err error
		if sql, args, err = c.did(col, t); err != nil {
			return "", nil, err
		}
	}
	if t.Op == filter.Not {
		sql = "ifnull(NOT (" + sql + "), 1)"
	}
	return sql, args, nil
}

// did is the condition that a run, or one below it, did something with a destination. What fits seldom is gathered; else each run is looked at.
func (c *compiler) did(col *column, t filter.Term) (string, []any, error) {
	to, args := compare(&column{Field: col.Field, sql: "s.dest"}, t)
	did := " WHERE s.verb = '" + col.verb + "' AND " + to
	many, err := c.many("SELECT 1 FROM steps s"+did, args)
	if many { // by the run, as the index by what was done has too many
		return "EXISTS (SELECT 1 FROM steps s INDEXED BY steps_root" + did + " AND s.root = r.root AND " + c.root + " = r.num)", args, err
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
		for i, v := range t.Values {
			values[i] = glob(v)
			parts = append(parts, expression(" GLOB ?"))
		}
		return "(" + strings.Join(parts, " OR ") + ")", values
	case len(values) == 1:
		return expression(" = ?"), values
	default:
		return expression(" IN (?" + strings.Repeat(", ?", len(values)-1) + ")"), values
	}
}

// glob is a name, or the beginning of one, as SQLite's pattern.
func glob(v filter.Value) string {
	s := strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(v.Text)
	if v.Prefix {
		s += "*"
	}
	return s
}

// status compares statuses. That a run is stopped is not in the log, but known by who serves it.
func (c *compiler) status(t filter.Term) (string, []any, error) {
	ids, err := json.Marshal(c.stopped)
	if err != nil {
		return "", nil, fault.Internal.New("view: %w", err)
	}
	const stopped = "r.id IN (SELECT value FROM json_each(?))"
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

// phrase is a text as the full-text search wants it: as one phrase, whatever stands in it.
func phrase(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
