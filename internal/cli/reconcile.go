package cli

import (
	"context"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

const reconcileHelp = `Find out what became of effects that ended as unknown, and record it.

Without --verdict each effect's destination is asked, where its tool says how (reconcile: in the
manifest). Where nothing says how, or the destination does not know, a person looks and says it:
--verdict with --key and --reason. "undone" is what was done and taken back by hand.

What a run was told is not changed: a finding stands beside it in the log, and "polity effects
list --unknown" no longer lists the effect. The exit code is not 0 while any is still unknown.`

// reconciling is what "effects reconcile" is asked to do.
type reconciling struct {
	want    wanted
	all     bool
	key     string
	verdict *choice
	reason  string
}

func (a *app) newEffectsReconcile() *cobra.Command {
	r := &reconciling{verdict: &choice{allowed: []string{"done", "not-done", "undone"}}}
	cmd := &cobra.Command{
		Use: "reconcile [RUN]", Short: "Find out what became of effects that ended as unknown", Long: reconcileHelp, Args: args(cobra.MaximumNArgs(1)),
		Example: "  polity effects reconcile --all\n  polity effects reconcile k3j2\n" +
			"  polity effects reconcile --key '0-k3j2#pay' --verdict done --reason 'it is in the bank statement of May 3'",
	}
	cmd.Flags().BoolVar(&r.all, "all", false, "of all runs")
	cmd.Flags().StringVar(&r.key, "key", "", "only the effect with this key, as \"polity effects list\" writes it; its run may be shortened")
	cmd.Flags().Var(r.verdict, "verdict", "what a person found out: done|not-done|undone")
	cmd.Flags().StringVar(&r.reason, "reason", "", "with --verdict: how that is known")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			r.want.run = args[0]
		}
		if err := r.check(); err != nil {
			return err
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			list, err := a.doubtful(ctx, n, r)
			if err != nil {
				return err
			}
			return a.reconcile(ctx, n, r, list, output.value == "json")
		})
	}
	return cmd
}

func (r *reconciling) check() error {
	named := 0
	for _, set := range []bool{r.all, r.key != "", r.want.run != ""} {
		if set {
			named++
		}
	}
	switch {
	case named != 1:
		return usagef("name one of RUN, --all and --key")
	case r.verdict.value != "" && r.key == "":
		return usagef("--verdict is about one effect: name it with --key")
	case (r.verdict.value != "") != (strings.TrimSpace(r.reason) != ""):
		return usagef("--verdict and --reason go together")
	}
	return nil
}

// doubtful are the effects that are looked at: the one with the key, or all that are unknown still.
func (a *app) doubtful(ctx context.Context, n node, r *reconciling) ([]*effect, error) {
	if r.key == "" {
		r.want.open = true
		list, _, err := a.effects(ctx, n, r.want)
		return list, err
	}
	run, found, err := effectsWithKey(ctx, n, r.key)
	if err != nil {
		return nil, err
	}
	last := found[len(found)-1]
	if last.Status != effectUnknown {
		return nil, fault.Conflict.New("effect %s of run %s is %s, not unknown: there is nothing to be found out", last.Key, run, last.Status)
	}
	return []*effect{last}, nil
}

// reconciled is what came of looking at one effect.
type reconciled struct {
	Key string `json:"key"`
	To  string `json:"to"`
	*polity.Finding
	Fault *fault.Error `json:"fault,omitempty"` // why nothing was found out
}

// reconcile looks at each effect, and prints what it finds.
func (a *app) reconcile(ctx context.Context, n node, r *reconciling, list []*effect, asJSON bool) error {
	out := []reconciled{}
	unknown := 0
	for i, e := range list {
		if len(list) > 1 {
			a.screen.say("note: %d of %d: %s", i+1, len(list), clean(e.Key))
		}
		one := reconciled{Key: e.Key, To: e.To}
		f, err := n.Reconcile(ctx, r.question(e))
		switch {
		case ctx.Err() != nil:
			return fault.Cancelled.New("reconcile: %w; what was found out until then is recorded", context.Cause(ctx))
		case err != nil && r.verdict.value != "":
			return err
		case err != nil:
			one.Fault = fault.Of(err)
			unknown++
		default:
			one.Finding = &f
			if f.Verdict == polity.VerdictUnknown {
				unknown++
			}
		}
		out = append(out, one)
	}
	if err := a.printReconciled(out, asJSON); err != nil {
		return err
	}
	if unknown > 0 {
		return fault.Unknown.New("%d of %d effects are still unknown; who finds out says so with --key, --verdict and --reason", unknown, len(list))
	}
	return nil
}

func (r *reconciling) question(e *effect) client.Reconcile {
	q := client.Reconcile{Key: e.Key}
	if r.verdict.value != "" {
		q.Verdict = polity.Verdict(strings.ReplaceAll(r.verdict.value, "-", "_"))
		q.By, q.Reason = person(), r.reason
	}
	return q
}

// person names who says something on this terminal.
func person() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	return "somebody"
}

func (a *app) printReconciled(list []reconciled, asJSON bool) error {
	if asJSON {
		return a.writeJSON(map[string]any{"effects": list})
	}
	if len(list) == 0 {
		a.screen.say("note: no effect is unknown")
		return nil
	}
	rows := [][]string{{"KEY", "DESTINATION", "FOUND"}}
	for _, one := range list {
		var text string
		if one.Fault != nil {
			text = "unknown: " + clean(one.Fault.Text)
		} else {
			text = findingText(*one.Finding)
		}
		rows = append(rows, []string{clean(one.Key), clean(one.To), text})
	}
	return a.out([]byte(table(rows)))
}

// findingText says what was found out, in a line.
func findingText(f polity.Finding) string {
	text := verdictText(f.Verdict)
	if f.By != "" {
		text += ", says " + clean(f.By)
	}
	if f.Reason != "" {
		text += ": " + clean(f.Reason)
	}
	if len(f.Receipt) > 0 {
		text += "; receipt " + clean(string(f.Receipt))
	}
	return text
}
