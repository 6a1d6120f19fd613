package pattern_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

var update = flag.Bool("update", false, "rewrite the transcripts with what the decider answers now")

const (
	testRun    = polity.RunID("0-hub")
	foldsCount = 100
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A transcript is a txtar file with PATTERN.json, the configuration, and transcript: each line that
// begins with "> " is an event, and below it, indented, stand the commands that answer it.
//
//	> open [folder=F] JSON                 the run is opened
//	> result KEY JSON                      a command succeeded
//	> fault KEY KIND[:BOUND] "TEXT" [JSON] a command failed, perhaps with a best effort
//	> refused KEY KIND[:BOUND] "TEXT"      a command was not begun
//	> stop KIND "TEXT"                     the run is to end; results of what was cancelled follow
//	> other JSON                           something of a kind that the pattern does not know
type transcript struct {
	path   string
	file   *txtar.Archive
	config pattern.Config
	lines  []string // of events
	events []polity.Event
}

func readTranscript(t *testing.T, path string) *transcript {
	t.Helper()
	file, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Files) != 2 || !strings.HasSuffix(file.Files[0].Name, ".json") || file.Files[1].Name != "transcript" {
		t.Fatalf("%s: want PATTERN.json and transcript", path)
	}
	config, err := pattern.Parse(strings.TrimSuffix(file.Files[0].Name, ".json"), file.Files[0].Data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	tr := &transcript{path: path, file: file, config: config}
	for line := range strings.Lines(string(file.Files[1].Data)) {
		if text, ok := strings.CutPrefix(line, "> "); ok {
			tr.lines = append(tr.lines, strings.TrimSpace(text))
			tr.events = append(tr.events, readEvent(t, strings.TrimSpace(text), len(tr.events)))
		}
	}
	return tr
}

func readEvent(t *testing.T, line string, n int) polity.Event {
	t.Helper()
	e := polity.Event{Run: testRun, At: testTime.Add(time.Duration(n) * time.Second)}
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "open":
		e.Kind = polity.Opened
		if folder, ok := strings.CutPrefix(rest, "folder="); ok {
			e.Folder, rest, _ = strings.Cut(folder, " ")
		}
		e.Data = json.RawMessage(rest)
	case "stop":
		e.Kind = polity.Stopping
		e.Fault, _ = readFault(t, rest)
	case "other":
		e.Kind, e.Data = 99, json.RawMessage(rest)
	case "result", "fault", "refused":
		e.Kind = polity.Result
		var key string
		key, rest, _ = strings.Cut(rest, " ")
		e.Name, e.Attempt = splitKey(t, key)
		if verb != "refused" {
			e.Usage = polity.Usage{Turns: 1}
		}
		if verb != "result" {
			e.Fault, rest = readFault(t, rest)
		}
		e.Data = json.RawMessage(rest)
	default:
		t.Fatalf("event %q: unknown", line)
	}
	if len(e.Data) == 0 {
		e.Data = nil
	}
	return e
}

func splitKey(t *testing.T, key string) (string, int) {
	t.Helper()
	name, attempt, ok := strings.Cut(key, "~")
	if !ok {
		return name, 1
	}
	n, err := strconv.Atoi(attempt)
	if err != nil {
		t.Fatal(err)
	}
	return name, n
}

func readFault(t *testing.T, text string) (*fault.Error, string) {
	t.Helper()
	kind, rest, _ := strings.Cut(text, " ")
	kind, bound, _ := strings.Cut(kind, ":")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		t.Fatalf("fault %q: %v", text, err)
	}
	plain, err := strconv.Unquote(quoted)
	if err != nil {
		t.Fatalf("fault %q: %v", text, err)
	}
	return &fault.Error{Kind: fault.Kind(kind), Text: plain, Bound: bound}, strings.TrimSpace(rest[len(quoted):])
}

// fold returns the commands, as text, that answer each of the events.
func (tr *transcript) fold(t *testing.T, events []polity.Event) []string {
	t.Helper()
	d, err := tr.config.Decider()
	if err != nil {
		t.Fatalf("%s: %v", tr.path, err)
	}
	var state any
	var answers []string
	for _, e := range events {
		var commands []polity.Command
		state, commands = d.Decide(state, e)
		answers = append(answers, commandsText(commands))
	}
	return answers
}

func commandsText(commands []polity.Command) string {
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "  %s", c.Do)
		if c.Undo && c.Do != polity.DoAsk {
			b.WriteString(" (undo)")
		}
		switch c.Do {
		case polity.DoAsk:
			fmt.Fprintf(&b, " %s agent=%s skill=%s", c.Key(), c.To, c.Skill)
			if c.Bounds != (polity.Bounds{}) {
				bounds, _ := json.Marshal(c.Bounds)
				fmt.Fprintf(&b, " bounds=%s", bounds)
			}
			fmt.Fprintf(&b, " %s", c.Input)
		case polity.DoCall:
			fmt.Fprintf(&b, " %s tool=%s %s", c.Key(), c.To, c.Input)
		case polity.DoSleep, polity.DoAwait:
			fmt.Fprintf(&b, " %s", c.Key())
			if c.Await != nil {
				fmt.Fprintf(&b, " %s", c.Await)
			}
			if c.At.IsZero() {
				fmt.Fprintf(&b, " %s", c.After)
			} else {
				fmt.Fprintf(&b, " until %s", c.At.Format(time.RFC3339))
			}
		case polity.DoCancel:
			fmt.Fprintf(&b, " %s", c.To)
		case polity.DoFail:
			fmt.Fprintf(&b, " %s: %s", c.Fault.Kind, c.Fault.Text)
			if c.Fault.Bound != "" {
				fmt.Fprintf(&b, " [%s]", c.Fault.Bound)
			}
			if len(c.Input) > 0 {
				fmt.Fprintf(&b, " %s", c.Input)
			}
		case polity.DoFinish:
			var out bytes.Buffer
			if err := json.Indent(&out, c.Input, "  ", "  "); err != nil {
				fmt.Fprintf(&out, "%v: %s", err, c.Input)
			}
			fmt.Fprintf(&b, " %s", out.String())
		default:
			fmt.Fprintf(&b, " %s ?", c.Key())
		}
		b.WriteString("\n")
	}
	return b.String()
}

func transcripts(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	return paths
}

func TestTranscripts(t *testing.T) {
	for _, path := range transcripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			tr := readTranscript(t, path)
			var got strings.Builder
			answers := tr.fold(t, tr.events)
			for i, answer := range answers {
				fmt.Fprintf(&got, "> %s\n%s", tr.lines[i], answer)
			}
			if all := strings.Join(answers, ""); !strings.Contains(all, "  finish ") && !strings.Contains(all, "  fail ") {
				t.Error("the run does not end")
			}
			if *update {
				tr.file.Files[1].Data = []byte(got.String())
				if err := os.WriteFile(path, txtar.Format(tr.file), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(tr.file.Files[1].Data), "\n"), strings.Split(got.String(), "\n")); diff != "" {
				t.Errorf("transcript (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDecidesTheSameAgain folds each transcript a hundred times and from every prefix.
func TestDecidesTheSameAgain(t *testing.T) {
	for _, path := range transcripts(t) {
		tr := readTranscript(t, path)
		want := tr.fold(t, tr.events)
		for range foldsCount {
			if diff := cmp.Diff(want, tr.fold(t, tr.events)); diff != "" {
				t.Fatalf("%s: folded again (-want +got):\n%s", path, diff)
			}
		}
		for n := range tr.events {
			if diff := cmp.Diff(want[:n], tr.fold(t, tr.events[:n])); n > 0 && diff != "" {
				t.Fatalf("%s: folded to event %d (-want +got):\n%s", path, n, diff)
			}
		}
	}
}
