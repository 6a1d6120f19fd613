package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"polity.run"
)

// outputOf is what the run of a pattern's transcript finished with.
func outputOf(t *testing.T, name string) json.RawMessage {
	t.Helper()
	file, err := txtar.ParseFile(filepath.Join("..", "..", "pattern", "testdata", name+".txtar"))
	check(t, err)
	_, output, found := strings.Cut(string(file.Files[1].Data), "\n  finish ")
	if !found {
		t.Fatalf("%s does not finish", name)
	}
	output, _, _ = strings.Cut(output, "\n> ")
	if !json.Valid([]byte(output)) {
		t.Fatalf("%s finishes with %s", name, output)
	}
	return json.RawMessage(output)
}

// TestReportsOfPatterns writes what transcripts of patterns finish with as a reader is shown it.
func TestReportsOfPatterns(t *testing.T) {
	for _, name := range []string{"parallel_merge", "parallel_first_valid", "loop_keeps_the_best", "loop_repeats", "magentic_reset"} {
		r := report{id: "0-mfrggzdf", agent: "board", outcome: polity.Outcome{Output: outputOf(t, name), Usage: polity.Usage{Turns: 3}}}
		text := r.byPattern()
		if text == "" {
			t.Fatalf("%s is not taken for the result of a pattern", name)
		}
		golden(t, "report_"+name+".md", text)
	}
	for _, name := range []string{"hub_words_missing", "hub_replan_model"} {
		r := report{id: "0-mfrggzdf", agent: "board", outcome: polity.Outcome{Output: outputOf(t, name), Usage: polity.Usage{Turns: 3}}}
		h, ok := hubResult(r.outcome.Output)
		if !ok {
			t.Fatalf("%s is not taken for the result of a hub", name)
		}
		golden(t, "report_"+name+".md", r.markdown(h))
	}
}
