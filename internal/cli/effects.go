package cli

import (
	"context"
	"encoding/json"
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
	Receipt json.RawMessage `json:"receipt,omitempty"` // its result
}

// ledger is the effects of one run and those below it, in the order in which they begin to stand in the log.
type ledger struct {
	list []*effect
	open map[string]*effect // by run and command: began, and has no result yet
}

// put takes a notice of a history.
func (l *ledger) put(n polity.Notice) error {
	if n.Effect == nil {
		return nil
	}
	at := polity.EffectKey(n.Run, n.Name, n.Attempt)
	e := l.open[at]
	if e == nil {
		e = &effect{EffectNotice: *n.Effect, Run: n.Run, Command: polity.CommandKey(n.Name, n.Attempt), Status: effectBegan}
		l.list = append(l.list, e)
	}
	if n.Kind == "began" {
		e.Began = n.At
		l.open[at] = e
		return nil
	}
	delete(l.open, at)
	e.Ended, e.Usage, e.Fault, e.Receipt = n.At, n.Usage, n.Fault, n.Data
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
	l := ledger{open: map[string]*effect{}}
	err := n.History(ctx, root, l.put)
	return l.list, err
}

const effectsHelp = `List and show what runs did outside of themselves: tools called, models asked, programs and functions run.

It is read from the runs' logs. An effect has a key, which its destination was given, a class that says what a crash may do
to it, and a status: began (no result yet), done, failed, or unknown (a crash left open whether it was done).
Effects of class external have a beginning of their own in the log; others are listed once they have a result.`

func (a *app) newEffects() *cobra.Command {
	cmd := &cobra.Command{
		Use: "effects", Short: "List and show what runs did outside of themselves", Long: effectsHelp,
		Example: "  polity effects list --run k3j2\n  polity effects list --status unknown -o json\n  polity effects show '0-k3j2#send'",
		Args:    noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newEffectsList(), a.newEffectsShow())
	return cmd
}

func (a *app) newEffectsList() *cobra.Command {
	var run string
	status := &choice{allowed: []string{effectBegan, effectDone, effectUnknown, effectFailed}}
	limit := listDefault
	cmd := &cobra.Command{
		Use: "list", Short: "List effects: runs from the newest, effects of a run in their order", Args: args(cobra.NoArgs),
		Example: "  polity effects list --run k3j2\n  polity effects list --status unknown --limit 0 -o json",
	}
	cmd.Flags().StringVar(&run, "run", "", "only of this run, and the runs below it")
	cmd.Flags().Var(status, "status", "only began|done|unknown|failed")
	cmd.Flags().IntVar(&limit, "limit", limit, "list at most so many effects; 0 for all")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return usagef("--limit is negative")
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			list, more, err := effects(ctx, n, run, status.value, limit)
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

// effects lists what is asked for, and says whether there is more.
func effects(ctx context.Context, n node, run, status string, limit int) (list []*effect, more bool, err error) {
	all, err := n.List(ctx)
	if err != nil {
		return nil, false, err
	}
	part := polity.RunID("")
	if run != "" {
		s, id, err := find(ctx, n, run)
		if err != nil {
			return nil, false, err
		}
		all, part = []polity.Summary{s}, id
	}
	list = []*effect{}
	for i := len(all) - 1; i >= 0; i-- {
		of, err := effectsOf(ctx, n, all[i].ID)
		if err != nil {
			return nil, false, err
		}
		for _, e := range of {
			if status != "" && e.Status != status || part != "" && e.Run != part && !strings.HasPrefix(string(e.Run), string(part)+"/") {
				continue
			}
			if limit > 0 && len(list) == limit {
				return list, true, nil
			}
			list = append(list, e)
		}
	}
	return list, false, nil
}

func (a *app) printEffects(list []*effect) error {
	if len(list) == 0 {
		a.screen.say("note: there are no such effects")
		return nil
	}
	rows := [][]string{{"STATUS", "CLASS", "VERB", "DESTINATION", "SINCE", "TIME", "KEY"}}
	for _, e := range list {
		rows = append(rows, []string{e.Status, string(e.Class), e.Verb, clean(e.To), moment(e.Since), e.took(), clean(e.Key)})
	}
	return a.out([]byte(table(rows)))
}

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
		run, name, ok := strings.Cut(args[0], "#")
		if !ok {
			return usagef("%q is no effect's key: want RUN#COMMAND; see: polity effects list", args[0])
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			s, id, err := find(ctx, n, run)
			if err != nil {
				return err
			}
			of, err := effectsOf(ctx, n, s.ID)
			if err != nil {
				return err
			}
			key := string(id) + "#" + name
			found, keys := []*effect{}, []string{}
			for _, e := range of {
				keys = append(keys, e.Key)
				if e.Key == key {
					found = append(found, e)
				}
			}
			switch {
			case len(found) == 0:
				return fault.NotFound.New("run %s has no effect %q%s", s.ID, key, suggest(key, keys))
			case output.value == "json":
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

func (a *app) printEffect(e *effect) error {
	rows := [][]string{
		{"key", clean(e.Key)}, {"run", clean(string(e.Run))}, {"command", clean(e.Command)}, {"destination", clean(e.Verb + " " + e.To)},
		{"class", string(e.Class)}, {"status", e.Status}, {"request", e.Request}, {"since", moment(e.Since)},
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
	if err := a.out([]byte(table(rows))); err != nil || len(e.Receipt) == 0 {
		return err
	}
	if err := a.outf("\n"); err != nil {
		return err
	}
	return a.writeJSON(e.Receipt)
}
