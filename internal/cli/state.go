package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/engine"
)

func (a *app) newState() *cobra.Command {
	cmd := &cobra.Command{
		Use: "state", Short: "Look at the state folder", Long: "Look at the state folder.", Example: "  polity state usage",
		Args: noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newStateUsage(), a.newStateTrim())
	return cmd
}

const stateUsageHelp = `Say what takes how much room in the state folder, the largest first.

log                      what happened to all runs
documents                releases, files that they pin, large inputs and outputs
checkpoints and trails   a cache: it is made again from the log
memory, fact, ...        what agents remember, and what they agreed on
archive                  files of finished runs, unless they lie elsewhere
keys                     keys of persons, and the master key if it lies here

The files are added up as they lie there; a node may serve the folder meanwhile.`

func (a *app) newStateUsage() *cobra.Command {
	cmd := &cobra.Command{
		Use: "usage", Short: "Say what takes how much room", Long: stateUsageHelp, Args: args(cobra.NoArgs),
		Example: "  polity state usage\n  polity state usage --state /var/lib/polity -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		dir, err := a.stateDir()
		if err != nil {
			return err
		}
		room, err := engine.Room(dir)
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"parts": room})
		}
		rows := make([][]string, 0, len(room)+1)
		var all uint64
		for _, r := range room {
			all += uint64(r.Bytes)
			rows = append(rows, []string{clean(r.Part), bytesText(uint64(r.Bytes)), count(r.Files, "file")})
		}
		rows = append(rows, []string{"all", bytesText(all), ""})
		if err := a.outf("%s", table(rows)); err != nil {
			return err
		}
		a.screen.say("note: how much of the log nothing needs: polity state trim --dry-run")
		return nil
	}
	return cmd
}

const stateTrimHelp = `Drop the beginning of the log, up to the first run that has ended and has to stay.

A run that has ended has to stay while it is held (polity runs hold), and until it is in an archive
(polity archive run) that is whole, or deleted. A run that has not ended is not in the way: its past is
kept beside the log, and it goes on as if nothing had happened.

Of a run that is dropped the node still knows that it ran, when, how it ended and what it used: it stays
in every list, and the same request again is found as that run. What it did, and its answer, are in its
archive: "polity archive restore ID" brings it back. With --without-archive runs that are in no
archive are dropped too: what they did is gone for good.

A process that serves the state folder for longer does this by itself once much of the log is not
needed, unless it was started with --keep-log. Documents stay. A trim can be interrupted at any point,
and done again.`

func (a *app) newStateTrim() *cobra.Command {
	var q polity.Trim
	cmd := &cobra.Command{
		Use: "trim", Short: "Drop the beginning of the log that nothing needs", Long: stateTrimHelp, Args: args(cobra.NoArgs),
		Example: "  polity state trim --dry-run\n  polity archive run --older-than 90d && polity state trim",
	}
	cmd.Flags().BoolVar(&q.DryRun, "dry-run", false, "only say what would be dropped")
	cmd.Flags().BoolVar(&q.WithoutArchive, "without-archive", false, "drop also runs that ended and are in no archive")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var done polity.Trimmed
		err := a.with(cmd.Context(), func(ctx context.Context, n node) (err error) {
			done, err = n.Trim(ctx, q, a.progress())
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(done)
		}
		return a.outf("%s", trimmedText(done))
	}
	return cmd
}

func trimmedText(t polity.Trimmed) string {
	var b strings.Builder
	would, begins := "", "begins"
	if t.DryRun {
		would, begins = "would be ", "would begin"
	}
	if t.Commits == 0 {
		fmt.Fprintf(&b, "nothing can be dropped: the log has the commits %d to %d\n", t.First, t.Last)
	} else {
		fmt.Fprintf(&b, "%sdropped: %s, about %s, with %s that had ended; %s carried over\n", would, count(int(t.Commits), "commit"), bytesText(uint64(t.Bytes)),
			count(t.Runs, "run"), count(t.Carried, "run"))
		fmt.Fprintf(&b, "the log %s with commit %d of %d\n", begins, t.First, t.Last)
	}
	for _, l := range t.Left {
		fmt.Fprintf(&b, "in the way of more: %s: %s\n", clean(string(l.Run)), clean(l.Why))
	}
	return b.String()
}
