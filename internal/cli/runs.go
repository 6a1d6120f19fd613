package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// listDefault is how many runs are listed where nobody says.
const listDefault = 50

func (a *app) newRuns() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "List, show, follow, pause, resume, signal, cancel, replay, compare and export runs",
		Long:    "List, show, follow, pause, resume, signal, cancel, replay, compare and export runs.\n\nAn ID may be shortened, with or without the part before its '-', as long as only one run begins so.",
		Example: "  polity runs list --status running\n  polity runs show k3j2\n  polity runs tail k3j2\n  polity runs resume k3j2\n  polity runs cancel k3j2 --reason \"wrong folder\"",
		Args:    noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newRunsList(), a.newRunsShow(), a.newRunsSteps(), a.newRunsTail(), a.newRunsPause(), a.newRunsResume(), a.newRunsSignal(), a.newRunsCancel(), a.newRunsQuestions(), a.newRunsAnswer(),
		a.newRunsEvents(), a.newRunsReplay(),
		a.newRunsDiff(), a.newRunsFork(), a.newRunsRetry(), a.newRunsHold(), a.newRunsRelease(), a.newRunsDelete(), a.newRunsExport(), a.newRunsImport(), a.newRunsVerify())
	return cmd
}

// with does something with the node that has runs already. If that is another process and it ends, it is done
// again with what serves the state folder then.
func (a *app) with(ctx context.Context, do func(ctx context.Context, n node) error) error {
	return a.withNode(ctx, a.existing, do)
}

// withNode is with for a node that is found, or made, in another way.
func (a *app) withNode(ctx context.Context, find func(context.Context) (node, error), do func(ctx context.Context, n node) error) error {
	ctx, done := a.interruptible(ctx)
	defer done()
	for try := 1; ; try++ {
		err := a.attempt(ctx, find, do)
		var gone processGone
		switch {
		case err != nil && ctx.Err() != nil:
			return fault.Cancelled.New("%w", context.Cause(ctx))
		case !errors.As(err, &gone) || try == takeoversMax:
			return err
		}
	}
}

func (a *app) attempt(ctx context.Context, find func(context.Context) (node, error), do func(ctx context.Context, n node) error) (err error) {
	n, err := find(ctx)
	if err != nil {
		return err
	}
	defer closeInto(&err, n)
	err = do(ctx, n)
	if _, ok := n.(*remote); ok && errors.Is(err, fault.Unavailable) {
		return processGone{err}
	}
	return err
}

const runsListHelp = `List runs, the newest first.

FILTER says which: terms that all have to hold, as in

  status:failed,exhausted agent:desk cost>0.5 started>-1h tokens>=1k refund '"out of stock"'

A term is FIELD:VALUE or FIELD!=VALUE, with commas between alternatives and * at the end of a beginning; for numbers also > >= < <=;
or a word or "phrase" that stands in the run's input, output or faults, or in those of what it did. A - before a term turns it around
(write -- before the filter then, so that it is taken for no flag).

Fields:
`

func (a *app) newRunsList() *cobra.Command {
	status := &choice{allowed: statuses()}
	q := polity.Lookup{Of: polity.LookupRuns}
	cmd := &cobra.Command{
		Use: "list [FILTER...]", Short: "List runs, the newest first", Long: runsListHelp + fieldsHelp(polity.LookupRuns),
		Example: "  polity runs list\n  polity runs list status:failed 'started>-1d' refund\n  polity runs list 'cost>0.5' --sort -cost --limit 5 -o json\n  polity runs list agent:reviewer --all",
	}
	cmd.Flags().Var(status, "status", "only runs that are "+strings.Join(status.allowed, "|"))
	cmd.Flags().StringVar(&q.Sort, "sort", "", "by started, ended, cost, tokens or took, with - before it for the largest first (default -started)")
	cmd.Flags().BoolVar(&q.All, "all", false, "list the runs below others too")
	flags := lookupFlags(cmd, "runs")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Filter = strings.Join(args, " ")
		if status.value != "" {
			q.Filter = "status:" + status.value + " " + q.Filter
		}
		list := []polity.RunRow{}
		err := a.pages(cmd.Context(), q, flags, func(f polity.Found) int { list = append(list, f.Runs...); return len(list) })
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(list)
		}
		return a.printList(list)
	}
	return cmd
}

func statuses() []string {
	var words []string
	for s := polity.StatusRunning; s.Known(); s++ {
		words = append(words, s.String())
	}
	return words
}

func (a *app) printList(list []polity.RunRow) error {
	if len(list) == 0 {
		a.screen.say("note: there are no such runs")
		return nil
	}
	head := []string{"ID", "AGENT", "STATUS", "OPENED", "TIME", "USED"}
	if slices.ContainsFunc(list, func(s polity.RunRow) bool { return len(s.Waiting) > 0 }) {
		head = append(head, "WAITS FOR")
	}
	rows := [][]string{head}
	for _, s := range list {
		took := ""
		if !s.Ended.IsZero() {
			took = seconds(s.Ended.Sub(s.Opened))
		}
		rows = append(rows, []string{string(s.ID), s.Agent, standing(s.Summary), moment(s.Opened), took, usage(s.Usage), waits(s.Summary)})
	}
	return a.out([]byte(table(rows)))
}

// standing is a run's status in words.
func standing(s polity.Summary) string {
	switch {
	case s.Status != polity.StatusRunning:
		return s.Status.String()
	case !s.Paused.IsZero():
		return "paused"
	case s.Parked:
		return "parked" // it waits to be resumed
	case len(s.Waiting) > 0:
		return "waiting"
	}
	return s.Status.String()
}

// waits says what a run waits for first, and how many things more.
func waits(s polity.Summary) string {
	if len(s.Waiting) == 0 {
		return ""
	}
	text := clean(s.Waiting[0].For)
	if until := s.Waiting[0].Until; !until.IsZero() {
		text += " until " + moment(until)
	}
	if more := len(s.Waiting) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// waitText says what a run waits for, since when and until when.
func waitText(s polity.Summary, w polity.Waiting) string {
	text := w.For
	if path := string(w.Run[len(s.ID):]); path != "" || w.Name != "" {
		text += " (" + strings.TrimPrefix(path+"/"+w.Name, "/") + ")"
	}
	text += ", since " + moment(w.Since)
	if !w.Until.IsZero() {
		text += ", until " + moment(w.Until)
	}
	return clean(text)
}

func (a *app) newRunsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a run: its steps, what they used, what went wrong, and its output", Args: args(cobra.ExactArgs(1)),
		Example: "  polity runs show 0-k3j2\n  polity runs show 0-k3j2/dependencies -o json",
	}
	output := outputFlag(cmd, "text", "text", "json", "markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			s, id, err := find(ctx, n, args[0])
			if err != nil {
				return err
			}
			t := newTree(s.ID)
			if err := n.History(ctx, s.ID, func(n polity.Notice) error { t.apply(n); return nil }); err != nil {
				return err
			}
			if t.all[id] == nil {
				var known []string
				for _, step := range t.flat() {
					known = append(known, string(step.ID))
				}
				return fault.NotFound.New("run %s has no step %q%s", s.ID, id, suggest(string(id), known))
			}
			if err := a.show(s, t.below(id), output.value); err != nil || output.value != "" && output.value != "text" || t.root.usage.Tokens() == 0 {
				return err
			}
			text, err := a.usedBy(ctx, n, id)
			if err != nil {
				return err
			}
			return a.outf("%s", text)
		})
	}
	return cmd
}

// shown is a run as JSON.
type shown struct {
	Run    polity.Summary  `json:"run"`
	Steps  []shownStep     `json:"steps"`
	Output json.RawMessage `json:"output"`
	Fault  *fault.Error    `json:"fault"`
}

type shownStep struct {
	ID      polity.RunID    `json:"id"`
	Agent   string          `json:"agent,omitempty"` // if it is a run of its own
	Status  string          `json:"status"`
	Started time.Time       `json:"started,omitzero"`
	Ended   time.Time       `json:"ended,omitzero"`
	Usage   polity.Usage    `json:"usage,omitzero"`
	Fault   *fault.Error    `json:"fault,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
}

// show prints a run, or a part of one.
func (a *app) show(s polity.Summary, t *tree, form string) error {
	root := t.root
	f := root.fault
	if f == nil {
		f = s.Fault
	}
	o := polity.Outcome{Status: s.Status, Output: root.output, Fault: f, Usage: root.usage}
	r := report{id: root.id, agent: root.agent, outcome: o}
	switch form {
	case "json":
		return a.writeJSON(shown{Run: s, Steps: t.flat(), Output: root.output, Fault: f})
	case "markdown":
		if len(root.output) == 0 {
			return fault.NotFound.New("run %s has no output", root.id)
		}
		return a.printOutput(&r, form)
	}
	rows := [][]string{
		{"run", string(s.ID)}, {"agent", s.Agent}, {"status", standing(s)}, {"opened", moment(s.Opened)},
	}
	if s.Held != "" {
		rows = append(rows, []string{"held", s.Held})
	}
	if s.Fork != nil {
		rows = append(rows, []string{"fork of", fmt.Sprintf("%s at event %d", s.Fork.Run, s.Fork.Event)})
	}
	if s.Conversation != "" {
		rows = append(rows, []string{"conversation", clean(s.Conversation)})
	}
	if !s.Paused.IsZero() {
		rows = append(rows, []string{"paused", moment(s.Paused)})
	}
	for _, w := range s.Waiting {
		rows = append(rows, []string{"waits for", waitText(s, w)})
	}
	if !s.Ended.IsZero() {
		rows = append(rows, []string{"ended", moment(s.Ended) + " (" + seconds(s.Ended.Sub(s.Opened)) + ")"})
	}
	rows = append(rows, []string{"used", usage(s.Usage)})
	if f != nil {
		rows = append(rows, []string{"fault", clean(faultText(f))})
	}
	lines := t.lines(picture{now: s.Ended, styled: styled(a.stdout)})
	if err := a.outf("%s\n%s\n", table(rows), strings.Join(lines, "\n")); err != nil || len(root.output) == 0 {
		return err
	}
	if err := a.outf("\n"); err != nil {
		return err
	}
	return a.printOutput(&r, "")
}

// below is the part of a tree below a step, and the step.
func (t *tree) below(id polity.RunID) *tree {
	part := &tree{root: t.all[id], all: map[polity.RunID]*step{}}
	var add func(s *step)
	add = func(s *step) {
		part.all[s.id] = s
		for _, child := range s.steps {
			add(child)
		}
	}
	add(part.root)
	return part
}

// flat lists the steps below the root, each before those below it.
func (t *tree) flat() []shownStep {
	list := []shownStep{}
	var add func(s *step)
	add = func(s *step) {
		if s != t.root {
			list = append(list, shownStep{s.id, s.agent, s.state, s.start, s.end, s.usage, s.fault, s.output})
		}
		for _, child := range s.steps {
			add(child)
		}
	}
	add(t.root)
	return list
}

func (a *app) newRunsCancel() *cobra.Command {
	reason := "asked for at the command line"
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Cancel a run and everything below it", Args: args(cobra.ExactArgs(1)),
		Long: "Cancel a run and everything below it. What it did and says how to undo is undone first; then it has ended. With --now nothing is undone, " +
			"and undoing that is under way is given up.",
		Example: "  polity runs cancel 0-k3j2 --reason \"wrong folder\"\n  polity runs cancel 0-k3j2 --now",
	}
	now := false
	cmd.Flags().BoolVar(&now, "now", false, "end it without undoing anything, also while it undoes")
	cmd.Flags().StringVar(&reason, "reason", reason, "why, for whoever looks at the run later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := false
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			s, id, err := find(ctx, n, args[0])
			switch {
			case err != nil:
				return err
			case id != s.ID:
				return fault.Invalid.New("%s is a step; a run is cancelled as a whole: polity runs cancel %s", id, s.ID)
			case s.Status.Final() && !asked:
				a.screen.say("note: run %s has ended already: %s", s.ID, s.Status)
				return nil
			}
			end := n.Cancel
			if now {
				end = n.Kill
			}
			if !asked { // else it was, and then its process ended
				if err := end(ctx, s.ID, reason); err != nil {
					return err
				}
				asked = true
			}
			o, err := n.Wait(ctx, s.ID)
			if err != nil {
				return err
			}
			return a.outf("%s %s%s\n", s.ID, o.Status, undoneText(o.Output))
		})
	}
	return cmd
}

// undoneText says what became of what a run had done, if it undid it.
func undoneText(output json.RawMessage) string {
	r := saga.Of(output)
	if r == nil {
		return ""
	}
	text := fmt.Sprintf(": %s, %d undone", r.Status, len(r.Undone))
	for _, l := range r.Left {
		text += fmt.Sprintf("\nleft: %s (%s): %s", l.Stage, l.Agent, l.Why)
		if len(l.Mended) > 0 {
			text += "; put in order"
		}
	}
	return text
}
