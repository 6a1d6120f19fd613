package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/internal/bench"
)

const benchViewHelp = `Measure the view: how fast it takes in what the log tells of many runs, how large it is, how long questions take, and what following the
log costs a node under load.

The runs are invented, with three steps each, and given to the view as a log would; with --view-dsn it lies in that PostgreSQL database, in a schema
of its own, which is left there. The node's runs are real: five steps that do nothing, on two
nodes in turns, one of which follows its log.`

// benchView is what is printed as JSON.
type benchView struct {
	View   bench.ViewResult `json:"view"`
	Beside []bench.Beside   `json:"beside"`
}

func (a *app) newBenchView() *cobra.Command {
	cmd := &cobra.Command{
		Use: "view", Short: "Questions about a million runs, and what following the log costs", Long: benchViewHelp, Args: args(cobra.NoArgs),
		Example: "  polity bench view\n  polity bench view --runs 100000 -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cfg := bench.ViewConfig{Progress: a.status}
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "folder on the disk to measure (default the temporary folder)")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1_000_000, "how many runs to invent")
	cmd.Flags().IntVar(&cfg.Rounds, "rounds", 20, "how often each question is asked")
	window := cmd.Flags().Duration("window", 2*time.Second, "length of a node's turn; 0 leaves the nodes out")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cfg.Runs < 1 || cfg.Runs > 10_000_000 || cfg.Rounds < 1 || *window < 0 {
			return usagef("--runs: want 1 to 10000000; --rounds must be above zero, and --window not below")
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		cfg.DSN = a.dsn
		var out benchView
		var err error
		if out.View, err = bench.View(ctx, cfg); err != nil {
			return err
		}
		for _, sync := range []engine.Sync{engine.SyncDisk, engine.SyncOS} {
			for _, at := range []int{1, 64} {
				if *window == 0 {
					continue
				}
				a.screen.say("node: sync %s, %d at once", sync, at)
				b, err := bench.ViewBeside(ctx, bench.Config{Dir: cfg.Dir, Rounds: 5, Window: *window}, sync, at)
				if err != nil {
					return err
				}
				out.Beside = append(out.Beside, b)
			}
		}
		if output.value == "json" {
			return a.writeJSON(out)
		}
		return a.printBenchView(out)
	}
	return cmd
}

func (a *app) printBenchView(out benchView) error {
	v := out.View
	if err := a.outf("%d runs, %d facts: taken in within %s, %.0f facts/s; %.1f MiB, %.0f bytes a run\n\n",
		v.Runs, v.Facts, v.Took.Round(time.Millisecond), v.Rate, float64(v.Bytes)/(1<<20), v.PerRun); err != nil {
		return err
	}
	rows := [][]string{{"QUESTION", "ROWS", "P50 MS", "P95 MS"}}
	for _, q := range v.Questions {
		rows = append(rows, []string{q.Question, fmt.Sprint(q.Rows), fmt.Sprintf("%.1f", q.P50), fmt.Sprintf("%.1f", q.P95)})
	}
	if err := a.outf("%s\n", table(rows)); err != nil {
		return err
	}
	if len(out.Beside) == 0 {
		return nil
	}
	rows = [][]string{{"SYNC", "AT ONCE", "RUNS/S WITHOUT", "WITH", "RATIO", "FACTS/S MADE", "FOLLOWED", "BEHIND S"}}
	for _, b := range out.Beside {
		rows = append(rows, []string{string(b.Sync), fmt.Sprint(b.At), fmt.Sprintf("%.0f", b.Without), fmt.Sprintf("%.0f", b.With), fmt.Sprintf("%.2f", b.Ratio),
			fmt.Sprintf("%.0f", b.Made), fmt.Sprintf("%.0f", b.Follow), fmt.Sprintf("%.2f", b.Lag)})
	}
	return a.out([]byte(table(rows)))
}
