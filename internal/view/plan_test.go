package view

import (
	"slices"
	"strings"
	"testing"

	"polity.run"
)

// TestPlans wants the questions that are asked every day to be answered from an index, in the order of the list: nothing reads a whole table, and
// what is sorted is at most what fits a filter that fits few.
func TestPlans(t *testing.T) {
	p := openLog(t, t.TempDir())
	v, stop := openView(t, "", t.TempDir(), p)
	defer stop()
	runs(t, p, 0, 3)
	caughtUp(t, v, p)
	search := func(index string) string { return "SEARCH r USING INDEX " + index + " (" }
	for _, tt := range []struct {
		filter, sort string
		all          bool
		want         string // how a line of the plan begins
		sorts        bool   // the rows that fit are gathered first
	}{
		{"", "", false, "SCAN r USING INDEX runs_opened", false},
		{"started>-1h", "", false, search("runs_opened"), false},
		{"started<-15d", "", false, search("runs_opened"), false},
		{"status:failed", "", false, search("runs_status"), false},
		{"status:failed started>-1d", "", false, search("runs_status"), false},
		{"agent:desk", "", false, search("runs_agent"), false},
		{"agent:desk", "", true, search("runs_agent"), false},
		{"team:desk", "", false, search("runs_agent"), false},
		{"", "", true, "SCAN r USING INDEX runs_opened", false},
		{"status:failed", "", true, "SCAN r USING INDEX runs_opened", false},
		{"agent:desk status:failed started>-1d", "", false, "SEARCH r USING INDEX runs_", false},
		{"conversation:ada", "", false, search("runs_conversation"), false},
		{"paused:yes", "", false, "SCAN r USING INDEX runs_paused", false},
		{"undoing:yes", "", false, "SCAN r USING INDEX runs_stopping", false},
		{"id:0-abc", "", false, search("runs_id"), false},
		{"", "-cost", false, "SCAN r USING INDEX runs_cost", false},
		{"", "-took", false, "SCAN r USING INDEX runs_took", false},
		{"cost>0.5", "-cost", false, search("runs_cost"), false},
		{"cost>0.5", "", false, search("runs_cost"), true},
		{"tokens>=10k", "", false, search("runs_tokens"), true},
		{"refund", "", false, "SEARCH r USING INTEGER PRIMARY KEY", true},
		{"tool:mail.send", "", false, "SEARCH r USING INTEGER PRIMARY KEY", true},
		{"published:orders.*", "", false, "SEARCH r USING INTEGER PRIMARY KEY", true},
		{"with:reviewer", "", false, "SEARCH r USING INTEGER PRIMARY KEY", true},
	} {
		for _, page := range []string{"first", "next"} {
			o, err := v.question(&polity.Lookup{Of: polity.LookupRuns, Filter: tt.filter, Sort: tt.sort, All: tt.all}, Live{})
			if err != nil {
				t.Fatal(err)
			}
			o.db = v.store.reader()
			var after *place
			if page == "next" {
				after = &place{1, 1}
			}
			l, err := o.runList(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			text, args := l.query(after, nil)
			plan := explained(t, o, text, append(args, 51))
			bad := func(line string) bool {
				return strings.HasPrefix(line, "SCAN ") && !strings.Contains(line, " INDEX ") && !strings.Contains(line, "VIRTUAL TABLE INDEX") ||
					!tt.sorts && strings.Contains(line, "TEMP B-TREE FOR ORDER BY")
			}
			want := tt.want
			if page == "next" { // which begins in the middle of the index
				want = strings.Replace(want, "SCAN", "SEARCH", 1)
			}
			if slices.ContainsFunc(plan, bad) || !slices.ContainsFunc(plan, func(l string) bool { return strings.HasPrefix(l, want) }) {
				t.Errorf("%q by %q, %s page: want %s\n%s\n%s", tt.filter, tt.sort, page, want, text, strings.Join(plan, "\n"))
			}
		}
	}
}

// explained is how SQLite would answer, a step a line.
func explained(t *testing.T, o *question, text string, args []any) []string {
	t.Helper()
	rows, err := o.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}
