package cli

import (
	"context"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

const replayHelp = `Fold a run again from its log and say whether the code decides the same.

Nothing is done again and nothing of the run is touched: agents, tools and models are not
asked, their results are taken from the log. The deciders of the run and of all runs below
it are asked at every event, and what they decide must be what they decided then.

With --release the deciders of another manifest are asked beside those that the run was
opened with, and the first command that is not the same is shown.

The exit code is 1 if there is a difference.`

func (a *app) newRunsReplay() *cobra.Command {
	var release string
	cmd := &cobra.Command{
		Use: "replay ID", Short: "Fold a run again from its log: the same decisions, or the first that is another", Long: replayHelp,
		Example: "  polity runs replay 0-k3j2\n  polity runs replay k3j2 --release review.yaml -o json", Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&release, "release", "", "manifest whose deciders are asked too (default only the run's own)")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var q client.Replay
		if release != "" {
			m, err := a.load(release)
			if err != nil {
				return err
			}
			q = client.Replay{Release: &m.Release, Files: m.Blobs}
		}
		var found polity.Replay
		err := a.with(cmd.Context(), func(ctx context.Context, n node) error {
			id, err := findRoot(ctx, n, args[0], "is replayed")
			if err != nil {
				return err
			}
			found, err = n.Replay(ctx, id, q)
			return err
		})
		if err != nil {
			return err
		}
		return a.printReplay(found, output.value)
	}
	return cmd
}

// findRoot is find for commands that are about a run as a whole; done words what happens to it.
func findRoot(ctx context.Context, n node, text, done string) (polity.RunID, error) {
	s, id, err := find(ctx, n, text)
	if err == nil && id != s.ID {
		err = fault.Invalid.New("%s is a step; a run %s as a whole: %s", id, done, s.ID)
	}
	return s.ID, err
}

func (a *app) printReplay(r polity.Replay, form string) error {
	d := r.Difference
	var different error
	if d != nil {
		different = ended{code: exitFailure}
	}
	if form == "json" {
		if err := a.writeJSON(r); err != nil {
			return err
		}
		return different
	}
	whose := "the release it was opened with"
	if r.Release != "" {
		whose = "release " + r.Release[:12]
	}
	if d == nil {
		soFar := ""
		if !r.Status.Final() {
			soFar = " so far"
		}
		return a.outf("%s: the same%s with %s: %s, %s\n", r.Run, soFar, whose, count(r.Events, "event"), count(r.Commands, "command"))
	}
	if err := a.outf("%s: different with %s at event %d\n\n%s", r.Run, whose, d.Event, table([][]string{
		{"  run", string(d.Run)}, {"  time", moment(d.At)}, {"  log", clean(d.Log)}, {"  now", clean(d.Now)},
	})); err != nil {
		return err
	}
	return different
}
