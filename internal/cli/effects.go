package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

// The states of an effect.
const (
	effectBegan   = "began"   // no result is in the log: it is under way, or the process that did it ended
	effectDone    = "done"    // there is a result
	effectUnknown = "unknown" // a crash left open whether it was done
	effectFailed  = "failed"  // it ended with a fault
)

// effect is what a log tells of one thing that was done outside of a run.
type effect struct {
	polity.EffectNotice
	Run     polity.RunID    `json:"run"`
	Command string          `json:"command"` // with its attempt
	Status  string          `json:"status"`
	Began   time.Time       `json:"began,omitzero"` // of class external, whose beginning is committed first
	Ended   time.Time       `json:"ended,omitzero"`
	Usage   polity.Usage    `json:"usage,omitzero"`
	Fault   *fault.Error    `json:"fault,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
	Receipt json.RawMessage `json:"receipt,omitempty"` // what the destination gave as proof
	Asked   bool            `json:"asked,omitempty"`   // it was in doubt, and its destination said how it ended
	// Findings are what was found out after it had ended as unknown; the last one counts.
	Findings []found `json:"findings,omitempty"`
}

// found is a finding, and when it was recorded.
type found struct {
	At time.Time `json:"at"`
	polity.Finding
}

// verdict is what was found out of an effect that ended as unknown, or "".
func (e *effect) verdict() polity.Verdict {
	if len(e.Findings) == 0 {
		return ""
	}
	return e.Findings[len(e.Findings)-1].Verdict
}

// open says that nobody has found out yet what became of an effect.
func (e *effect) open() bool { return e.Status == effectUnknown && e.verdict() == "" }

// ledger is the effects of one run and those below it, in the order in which they begin to stand in the log.
type ledger struct {
	list []*effect
	all  map[string]*effect // by run and command
}

// put takes a notice of a history.
func (l *ledger) put(n polity.Notice) error {
	at := polity.EffectKey(n.Run, n.Name, n.Attempt)
	e := l.all[at]
	if n.Finding != nil && e != nil {
		e.Findings = append(e.Findings, found{n.At, *n.Finding})
	}
	if n.Effect == nil {
		return nil
	}
	if e == nil {
		e = &effect{EffectNotice: *n.Effect, Run: n.Run, Command: polity.CommandKey(n.Name, n.Attempt), Status: effectBegan}
		l.list = append(l.list, e)
		l.all[at] = e
	}
	if n.Kind == "began" {
		e.Began = n.At
		return nil
	}
	e.Ended, e.Usage, e.Fault, e.Output, e.Receipt, e.Asked = n.At, n.Usage, n.Fault, n.Data, n.Receipt, n.Asked
	switch {
	case n.Fault == nil:
		e.Status = effectDone
	case n.Fault.Kind == fault.Unknown:
		e.Status = effectUnknown
	default:
		e.Status = effectFailed
	}
	return nil
}

// effectsOf reads a tree of runs.
func effectsOf(ctx context.Context, n node, root polity.RunID) ([]*effect, error) {
	l := ledger{all: map[string]*effect{}}
	err := n.History(ctx, root, l.put)
	return l.list, err
}

const effectsHelp = `List, show and reconcile what runs did outside of themselves: tools called, models asked, programs and functions run.

It is read from the runs' logs. An effect has a key, which its destination was given, a class that says what a crash may do
to it, and a status: began (no result yet), done, failed, or unknown (a crash left open whether it was done).
Effects of class external have a beginning of their own in the log; others are listed once they have a result.
What a destination gives as proof is an effect's receipt. "polity effects reconcile" finds out what became of unknown ones.`

func (a *app) newEffects() *cobra.Command {
	cmd := &cobra.Command{
		Use: "effects", Short: "List, show and reconcile what runs did outside of themselves", Long: effectsHelp,
		Example: "  polity effects list --run k3j2\n  polity effects list --unknown\n  polity effects show '0-k3j2#send'\n  polity effects reconcile --all",
		Args:    noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newEffectsList(), a.newEffectsShow(), a.newEffectsReconcile())
	return cmd
}

func (a *app) newEffectsList() *cobra.Command {
	var want wanted
	status := &choice{allowed: []string{effectBegan, effectDone, effectUnknown, effectFailed}}
	cmd := &cobra.Command{
		Use: "list", Short: "List effects: runs from the newest, effects of a run in their order", Args: args(cobra.NoArgs),
		Example: "  polity effects list --run k3j2\n  polity effects list --status unknown --limit 0 -o json\n  polity effects list --unknown",
	}
	cmd.Flags().StringVar(&want.run, "run", "", "only of this run, and the runs below it")
	cmd.Flags().Var(status, "status", "only began|done|unknown|failed")
	cmd.Flags().BoolVar(&want.open, "unknown", false, "only those that ended as unknown, and of which nothing was found out since")
	cmd.Flags().IntVar(&want.limit, "limit", listDefault, "list at most so many effects; 0 for all")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if want.limit < 0 {
			return usagef("--limit is negative")
		}
		want.status = status.value
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			list, more, err := a.effects(ctx, n, want)
			if err != nil {
				return err
			}
			if more {
				a.screen.say("note: there are more; --limit shows them")
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"effects": list})
			}
			return a.printEffects(list)
		})
	}
	return cmd
}

// wanted says which effects are asked for.
type wanted struct {
	run    string // only of this one, and the runs below it
	status string
	open   bool // only those that are unknown still
	limit  int  // 0 for all
}

// effects lists what is asked for, and says whether there is more.
func (a *app) effects(ctx context.Context, n node, want wanted) (list []*effect, more bool, err error) {
	list = []*effect{}
	part, left := polity.RunID(""), 0
	defer func() {
		if left > 0 && err == nil {
			a.screen.say("note: %s that were dropped from the log are left out; what they did is in their archives", count(left, "run"))
		}
	}()
	add := func(root polity.RunID) (full bool, err error) {
		of, err := effectsOf(ctx, n, root)
		if errors.Is(err, fault.NotFound) && want.run == "" { // it was dropped from the log
			left++
			return false, nil
		}
		for _, e := range of {
			if want.status != "" && e.Status != want.status || want.open && !e.open() || part != "" && e.Run != part && !strings.HasPrefix(string(e.Run), string(part)+"/") {
				continue
			}
			if more = want.limit > 0 && len(list) == want.limit; more {
				return true, nil
			}
			list = append(list, e)
		}
		return false, err
	}
	switch {
	case want.run != "":
		s, id, err := find(ctx, n, want.run)
		if err != nil {
			return nil, false, err
		}
		part = id
		_, err = add(s.ID)
		return list, more, err
	case want.open || want.status != "":
		return list, more, a.eachRoot(ctx, n, want, add)
	}
	all, err := n.List(ctx)
	for i := len(all) - 1; i >= 0 && err == nil && !more; i-- {
		_, err = add(all[i].ID)
	}
	return list, more, err
}

// eachRoot asks the view which runs have such effects, from the newest effect on, and gives each run once, until there are enough.
func (a *app) eachRoot(ctx context.Context, n node, want wanted, add func(polity.RunID) (bool, error)) error {
	q := polity.Lookup{Of: polity.LookupSteps, Limit: polity.LookupLimitMax}
	if want.status != "" {
		q.Filter = "status:" + want.status
	}
	if want.open {
		q.Filter += " open:yes"
	}
	seen := map[polity.RunID]bool{}
	for {
		found, err := a.lookup(ctx, n, q, waitElse)
		if err != nil {
			return err
		}
		for _, s := range found.Steps {
			root := s.Run.Root()
			if s.Class == "" || seen[root] { // without a class it was no effect
				continue
			}
			seen[root] = true
			if full, err := add(root); err != nil || full {
				return err
			}
		}
		if q.After = found.Next; q.After == "" {
			return nil
		}
	}
}

func (a *app) printEffects(list []*effect) error {
	if len(list) == 0 {
		a.screen.say("note: there are no such effects")
		return nil
	}
	rows := [][]string{{"STATUS", "CLASS", "VERB", "DESTINATION", "SINCE", "TIME", "KEY"}}
	for _, e := range list {
		rows = append(rows, []string{e.state(), string(e.Class), e.Verb, clean(e.To), moment(e.Since), e.took(), clean(e.Key)})
	}
	return a.out([]byte(table(rows)))
}

// state is an effect's status, with what was found out since.
func (e *effect) state() string {
	if v := e.verdict(); v != "" {
		return e.Status + " (" + verdictText(v) + ")"
	}
	return e.Status
}

// verdictText writes a verdict as the flag --verdict takes it.
func verdictText(v polity.Verdict) string { return strings.ReplaceAll(string(v), "_", "-") }

// took is how long an effect took, with the time that it waited to begin.
func (e *effect) took() string {
	if e.Ended.IsZero() {
		return ""
	}
	return seconds(e.Ended.Sub(e.Since))
}

func (a *app) newEffectsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show KEY", Short: "Show an effect: where it went, when, and what came back", Args: args(cobra.ExactArgs(1)),
		Long:    "Show an effect: where it went, when, and what came back.\n\nKEY is as \"polity effects list\" writes it; its run may be shortened. Attempts of a keyed effect have the same key, and all are shown.",
		Example: "  polity effects show '0-k3j2#send'\n  polity effects show '0-k3j2/licences#think~2' -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			_, found, err := effectsWithKey(ctx, n, args[0])
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"effects": found})
			}
			for i, e := range found {
				if i > 0 {
					if err := a.outf("\n"); err != nil {
						return err
					}
				}
				if err := a.printEffect(e); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// effectsWithKey returns the effects with a key, whose run may be shortened, and the run. There is at least one.
func effectsWithKey(ctx context.Context, n node, text string) (polity.RunID, []*effect, error) {
	run, name, ok := strings.Cut(text, "#")
	if !ok {
		return "", nil, usagef("%q is no effect's key: want RUN#COMMAND; see: polity effects list", text)
	}
	s, id, err := find(ctx, n, run)
	if err != nil {
		return "", nil, err
	}
	of, err := effectsOf(ctx, n, s.ID)
	if err != nil {
		return "", nil, err
	}
	key := string(id) + "#" + name
	found, keys := []*effect{}, []string{}
	for _, e := range of {
		keys = append(keys, e.Key)
		if e.Key == key {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return "", nil, fault.NotFound.New("run %s has no effect %q%s", s.ID, key, suggest(key, keys))
	}
	return s.ID, found, nil
}

func (a *app) printEffect(e *effect) error {
	rows := [][]string{
		{"key", clean(e.Key)}, {"run", clean(string(e.Run))}, {"command", clean(e.Command)}, {"destination", clean(e.Verb + " " + e.To)},
		{"class", string(e.Class)}, {"status", e.state()}, {"request", e.Request}, {"since", moment(e.Since)},
	}
	if !e.Began.IsZero() {
		rows = append(rows, []string{"began", moment(e.Began)})
	}
	if !e.Ended.IsZero() {
		rows = append(rows, []string{"ended", moment(e.Ended) + " (" + e.took() + ")"}, []string{"used", usage(e.Usage)})
	}
	if e.Fault != nil {
		rows = append(rows, []string{"fault", clean(faultText(e.Fault))})
	}
	if e.Asked {
		rows = append(rows, []string{"asked", "it was in doubt; its destination said what became of it"})
	}
	if len(e.Receipt) > 0 {
		rows = append(rows, []string{"receipt", clean(string(e.Receipt))})
	}
	for _, f := range e.Findings {
		rows = append(rows, []string{"found", moment(f.At) + " " + findingText(f.Finding)})
	}
	if err := a.out([]byte(table(rows))); err != nil || len(e.Output) == 0 {
		return err
	}
	if err := a.outf("\n"); err != nil {
		return err
	}
	return a.writeJSON(e.Output)
}
