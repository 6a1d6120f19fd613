package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/pattern"
)

func TestHierarchyReport(t *testing.T) {
	result := pattern.HierarchyResult{
		Pattern: "hierarchy", Status: pattern.UnitEscalated, Summary: "Half of it | is done.", Recommendations: []string{"# Look again."},
		Gaps: []string{"plant: not done"}, Escalate: "boss (level 1) escalates: plant", Unknown: true, Unreviewed: "nobody could",
		Details: pattern.HierarchyLevel{
			Lead: "boss", Level: 1, Notes: []string{"bob has no assignment"},
			Escalations: []pattern.Escalation{{Report: "plant", Problem: "no key.", Action: "do_again"}, {Report: "plant", Problem: "no key", Action: "reassign", By: "boss", To: "ada"}},
			Reports: []pattern.HierarchyWork{
				{Report: "plant", DoneBy: "ada", Objective: "Check.", Status: "partial", Attempts: 2, Summary: "Half.", Below: json.RawMessage(
					`{"lead":"chief","level":2,"reports":[{"report":"cyd","objective":"Count.","status":"failed","attempts":3,"fault":{"kind":"denied","text":"no key"}}]}`)},
				{Report: "big", Objective: "Read.", Status: "accepted", Attempts: 1, Summary: "Long.", LeftOut: true, Run: "0-a/work.big"},
			},
		},
	}
	output, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	r := &report{id: "0-a", agent: "firm", outcome: polity.Outcome{Output: output, Usage: polity.Usage{Turns: 9}}}
	want := "# firm\n\nHalf of it \\| is done.\n\nStatus: **escalated**: nobody could\n\nTo be decided: boss (level 1) escalates: plant\n\n" +
		"Something may have been done or not: see what is unknown below, and look before it is done again.\n\n" +
		"## Recommendations\n\n- \\# Look again.\n\n## What is missing\n\n- plant: not done\n\n" +
		"## Who did what\n\n| who | assignment | status | attempts | handed up |\n|---|---|---|---|---|\n" +
		"| `plant` (by `ada`) | Check. | partial | 2 | Half. |\n| · `cyd` | Count. | failed | 3 | denied: no key |\n" +
		"| `big` | Read. | accepted | 1 | Long. (read it in run 0-a/work.big) |\n\n" +
		"## boss\n\n- plant: no key. the rule decided: do again.\n- plant: no key. boss decided: reassign to ada.\n- bob has no assignment\n\n" +
		"## Run\n\nRun `0-a`. Its steps: `polity runs show 0-a`\n\nUsed: 9 turns.\n"
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(r.byPattern(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
