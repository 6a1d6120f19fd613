package cli

import (
	"context"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

const resumeHelp = `Go on with a run that was interrupted, and follow it to its end as "polity run" does:
with the same picture, report and exit codes.

The run goes on with what it was opened with, whatever became of its manifest since. What
was done is not done again.

Ctrl-C cancels the run; a second one leaves at once. SIGTERM leaves without cancelling.`

func (a *app) newRunsResume() *cobra.Command {
	c := &running{app: a}
	cmd := &cobra.Command{
		Use: "resume ID", Short: "Go on with a run that was interrupted, and follow it to its end", Long: resumeHelp,
		Example: "  polity runs resume 0-k3j2\n  polity runs resume k3j2 --timeout 5m -o json", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.aim = &resuming{app: a, text: args[0]}
			return c.toEnd(cmd.Context())
		},
	}
	c.flags(cmd)
	return cmd
}

// resuming is the aim of a command that goes on with a run that is there already.
type resuming struct {
	*app
	text string       // the run's ID as it was typed
	id   polity.RunID // once it is found
}

var _ aim = (*resuming)(nil)

func (r *resuming) connect(ctx context.Context) (node, error) { return r.existing(ctx) }

func (r *resuming) find(ctx context.Context, n node) (polity.Summary, error) {
	s, id, err := find(ctx, n, r.text)
	if err != nil {
		return s, err
	}
	if id != s.ID {
		return s, fault.Invalid.New("%s is a step; a run goes on as a whole: polity runs resume %s", id, s.ID)
	}
	r.id = s.ID
	return s, nil
}

func (r *resuming) begin(ctx context.Context, n node) error { return n.Resume(ctx, r.id) }

func (r *resuming) again() string { return "polity runs resume " + clean(r.text) }

func (r *resuming) flag(name string) string { return "polity run " + name }
