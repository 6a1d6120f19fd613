package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

const diffHelp = `Compare two runs: the first event that is not the same, the steps that only one of them has or
that came out differently, what they used, and their outputs.

What has to differ does not count: times, and the runs' own IDs, also where inputs and outputs
name them.

The exit code is 1 if there is a difference.`

// diffTextMax is how many bytes of a text that differs are shown.
const diffTextMax = 300

func (a *app) newRunsDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff ID ID", Short: "Compare two runs", Long: diffHelp,
		Example: "  polity runs diff 0-k3j2 0-ybtb\n  polity runs diff k3j2 ybtb -o json | jq .steps", Args: args(cobra.ExactArgs(2)),
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var sides [2]*compared
		err := a.with(cmd.Context(), func(ctx context.Context, n node) (err error) {
			for i := range sides {
				if sides[i], err = readCompared(ctx, n, args[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		d := compareRuns(sides[0], sides[1])
		if output.value == "json" {
			err = a.writeJSON(d)
		} else {
			err = a.printDiff(d)
		}
		if err == nil && !d.Same {
			err = ended{code: exitFailure}
		}
		return err
	}
	return cmd
}

// compared is one of two runs that are compared.
type compared struct {
	run    polity.Summary
	events []numbered
	tree   *tree
}

func readCompared(ctx context.Context, n node, text string) (*compared, error) {
	id, err := findRoot(ctx, n, text, "is compared")
	if err != nil {
		return nil, err
	}
	s := &compared{tree: newTree(id)}
	if s.run, err = n.Find(ctx, id); err != nil {
		return nil, err
	}
	if s.events, err = history(ctx, n, id); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(s.events, func(e numbered) bool { return e.Erased }) {
		return nil, fault.Erased.New("run %s cannot be compared: its payloads were erased", id)
	}
	for i := range s.events {
		s.tree.apply(s.events[i].Notice)
		s.events[i].Notice = s.plainEvent(s.events[i].Notice)
	}
	return s, nil
}

// timeText is a time as JSON writes it.
var timeText = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)

// plain is a text without what differs from run to run.
func (s *compared) plain(text []byte) []byte {
	if len(text) == 0 {
		return nil
	}
	return timeText.ReplaceAll(bytes.ReplaceAll(text, []byte(s.run.ID), []byte("RUN")), []byte("TIME"))
}

// path is a step's ID below the root; "" for the root.
func (s *compared) path(id polity.RunID) string {
	return strings.TrimPrefix(strings.TrimPrefix(string(id), string(s.run.ID)), "/")
}

// plainEvent is an event without what differs from run to run. The time and the commit stay for people.
func (s *compared) plainEvent(n polity.Notice) polity.Notice {
	n.Run = polity.RunID("RUN" + strings.TrimPrefix(string(n.Run), string(s.run.ID)))
	n.Data = s.plain(n.Data)
	n.Fault = s.plainFault(n.Fault)
	if e := n.Effect; e != nil { // its key, its time, and what it asked about itself are the run's own
		n.Effect = &polity.EffectNotice{Class: e.Class, Verb: e.Verb, To: e.To}
	}
	return n
}

func (s *compared) plainFault(f *fault.Error) *fault.Error {
	if f == nil {
		return nil
	}
	plain := *f
	plain.Text = string(s.plain([]byte(f.Text)))
	return &plain
}

// runsDiff is how two runs differ.
type runsDiff struct {
	Same   bool       `json:"same"`
	Runs   [2]sideRun `json:"runs"`
	First  *eventDiff `json:"first,omitempty"` // the first event that is not the same
	Steps  []stepDiff `json:"steps"`
	Output *textDiff  `json:"output,omitempty"` // if the outputs are not the same
}

// sideRun is a run at a glance.
type sideRun struct {
	ID     polity.RunID  `json:"id"`
	Agent  string        `json:"agent"`
	Status polity.Status `json:"status"`
	Events int           `json:"events"`
	Usage  polity.Usage  `json:"usage"`
}

// eventDiff is an event of both runs, or of one if the other has no more.
type eventDiff struct {
	Event int            `json:"event"`
	A     *polity.Notice `json:"a,omitempty"`
	B     *polity.Notice `json:"b,omitempty"`
}

// stepDiff is a step that only one run has, or that is another in each.
type stepDiff struct {
	Step string    `json:"step"`
	A    *stepSide `json:"a,omitempty"`
	B    *stepSide `json:"b,omitempty"`
}

type stepSide struct {
	Agent  string          `json:"agent,omitempty"`
	Status string          `json:"status"`
	Usage  polity.Usage    `json:"usage,omitzero"`
	Fault  *fault.Error    `json:"fault,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
}

// textDiff is where two texts begin to differ, and what stands there.
type textDiff struct {
	Byte int    `json:"byte"`
	A    string `json:"a"`
	B    string `json:"b"`
}

func compareRuns(a, b *compared) runsDiff {
	d := runsDiff{Steps: []stepDiff{}}
	for i, s := range []*compared{a, b} {
		d.Runs[i] = sideRun{s.run.ID, s.run.Agent, s.run.Status, len(s.events), s.run.Usage}
	}
	for i := range max(len(a.events), len(b.events)) {
		x, y := a.event(i), b.event(i)
		if !sameEvent(x, y) {
			d.First = &eventDiff{Event: i + 1, A: x, B: y}
			break
		}
	}
	seen := map[string]bool{}
	for _, s := range []*compared{a, b} {
		for _, step := range s.tree.flat() {
			path := s.path(step.ID)
			if seen[path] {
				continue
			}
			seen[path] = true
			if x, y := a.step(path), b.step(path); !equalJSON(x, y) {
				d.Steps = append(d.Steps, stepDiff{path, x, y})
			}
		}
	}
	d.Output = diffText(a.plain(a.tree.root.output), b.plain(b.tree.root.output))
	d.Same = d.First == nil && len(d.Steps) == 0 && d.Output == nil && a.run.Status == b.run.Status
	return d
}

func (s *compared) event(i int) *polity.Notice {
	if i >= len(s.events) {
		return nil
	}
	return &s.events[i].Notice
}

func sameEvent(a, b *polity.Notice) bool {
	if a == nil || b == nil {
		return false
	}
	x, y := *a, *b
	x.At, x.Commit, y.Commit = y.At, 0, 0
	return equalJSON(x, y)
}

// equalJSON says whether two values are the same as JSON.
func equalJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func (s *compared) step(path string) *stepSide {
	step := s.tree.all[s.run.ID+"/"+polity.RunID(path)]
	if step == nil {
		return nil
	}
	return &stepSide{step.agent, step.state, step.usage, s.plainFault(step.fault), s.plain(step.output)}
}

func diffText(a, b []byte) *textDiff {
	if bytes.Equal(a, b) {
		return nil
	}
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	return &textDiff{at, textAt(a, at), textAt(b, at)}
}

// textAt is what stands around a place of a text.
func textAt(text []byte, at int) string {
	from := max(0, at-diffTextMax/10)
	return strings.ToValidUTF8(string(text[from:min(len(text), from+diffTextMax)]), "")
}

func (a *app) printDiff(d runsDiff) error {
	rows := [][]string{{"", "A", "B"}}
	row := func(name string, of func(r sideRun) string) {
		rows = append(rows, []string{name, of(d.Runs[0]), of(d.Runs[1])})
	}
	row("run", func(r sideRun) string { return string(r.ID) })
	row("agent", func(r sideRun) string { return r.Agent })
	row("status", func(r sideRun) string { return r.Status.String() })
	row("events", func(r sideRun) string { return fmt.Sprint(r.Events) })
	row("used", func(r sideRun) string { return usage(r.Usage) })
	var b strings.Builder
	b.WriteString(table(rows))
	if d.Same {
		b.WriteString("\nThey are the same.\n")
	}
	if d.First != nil {
		fmt.Fprintf(&b, "\nFirst difference, event %d:\n%s", d.First.Event, table([][]string{
			{"  A", sideEvent(d.First.A, d.First.B)}, {"  B", sideEvent(d.First.B, d.First.A)},
		}))
	}
	if len(d.Steps) > 0 {
		rows := [][]string{{"  STEP", "A", "B"}}
		for _, s := range d.Steps {
			rows = append(rows, []string{"  " + clean(s.Step), s.A.text(), s.B.text()})
		}
		fmt.Fprintf(&b, "\nSteps that differ:\n%s", table(rows))
	}
	if d.Output != nil {
		fmt.Fprintf(&b, "\nOutput, from byte %d on:\n%s", d.Output.Byte, table([][]string{{"  A", clean(d.Output.A)}, {"  B", clean(d.Output.B)}}))
	}
	return a.outf("%s", b.String())
}

// sideEvent says what happened in one run, with its data from where that of the other begins to differ.
func sideEvent(n, other *polity.Notice) string {
	if n == nil {
		return "nothing more"
	}
	text := eventText(*n)
	if other != nil {
		if d := diffText(n.Data, other.Data); d != nil {
			text += ": " + clean(d.A)
		}
	}
	return text
}

func (s *stepSide) text() string {
	if s == nil {
		return "-"
	}
	text := s.Status
	if s.Fault != nil {
		text += ": " + clean(faultText(s.Fault))
	}
	return text
}
