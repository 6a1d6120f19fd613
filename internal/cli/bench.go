package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/internal/bench"
)

const benchHelp = `Measure this machine: the engine beside what the machine can do.

What is measured takes turns in one process, and the figures are medians over the rounds; the ratios are
medians of the rounds' ratios. A probe of the disk stands beside them. Machines that others use at the same time make all
figures smaller, the ratios less so.`

func (a *app) newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure the engine beside the machine's limits", Long: benchHelp, Args: noSubcommand, RunE: help,
		Example: "  polity bench runs\n  polity bench runs --sync os --at 1,64\n  polity bench agents -o json\n  polity bench waiting --runs 10000\n  polity bench waiting --on timers --runs 1000000\n  polity bench hierarchy --workers 1000,100000\n  polity bench view --runs 100000\n  polity bench topics\n  polity bench bus --what live\n  polity bench mailboxes\n  polity bench door",
	}
	cmd.AddCommand(a.newBenchRuns(), a.newBenchAgents(), a.newBenchWaiting(), a.newBenchHierarchy(), a.newBenchView(), a.newBenchTopics(), a.newBenchBus(), a.newBenchMailboxes(), a.newBenchDoor())
	return cmd
}

// benchFlags are the flags of what is measured at several points.
type benchFlags struct {
	cmd    *cobra.Command
	cfg    bench.Config
	syncs  []engine.Sync // where --sync is not given
	output *choice
}

func (a *app) benchFlags(cmd *cobra.Command, at []int, syncs ...engine.Sync) *benchFlags {
	f := &benchFlags{cmd: cmd, output: outputFlag(cmd, "text", "text", "json")}
	cmd.Flags().StringVar(&f.cfg.Dir, "dir", "", "folder on the disk to measure (default the temporary folder)")
	cmd.Flags().IntSliceVar(&f.cfg.At, "at", at, "how many runs at once")
	f.syncs = syncs
	cmd.Flags().IntVar(&f.cfg.Rounds, "rounds", 5, "turns of each at each point")
	cmd.Flags().DurationVar(&f.cfg.Window, "window", 400*time.Millisecond, "length of a turn")
	return f
}

func (a *app) config(f *benchFlags) (bench.Config, error) {
	cfg := f.cfg
	cfg.Sync = f.syncs
	if f.cmd.Flags().Changed("sync") {
		cfg.Sync = []engine.Sync{engine.Sync(a.sync.value)}
	}
	for _, n := range cfg.At {
		if n < 1 || n > 100_000 {
			return cfg, usagef("--at: %d: want 1 to 100000", n)
		}
	}
	if cfg.Rounds < 1 || cfg.Window <= 0 {
		return cfg, usagef("--rounds and --window must be above zero")
	}
	cfg.Progress = a.status
	return cfg, nil
}

func (a *app) status(text string) { a.screen.say("%s", text) }

// measured prints what was measured.
func (a *app) measured(w any, err error, output string, text func() error) error {
	switch {
	case err != nil:
		return err
	case output == "json":
		return a.writeJSON(w)
	default:
		return text()
	}
}

// columns is for lines of cells, each of which ends with a tab: they are aligned on the right, and written when it is flushed.
func (a *app) columns() *tabwriter.Writer {
	return tabwriter.NewWriter(printer{a}, 0, 0, 2, ' ', tabwriter.AlignRight)
}

// printer writes as app.out does.
type printer struct{ *app }

func (p printer) Write(data []byte) (int, error) { return len(data), p.out(data) }

func (a *app) newBenchRuns() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "Runs of five no-op steps beside hand-packed JetStream and a write-ahead log",
		Example: "  polity bench runs\n  polity bench runs --sync os --at 1,64 --rounds 3",
	}
	a.measures(cmd, a.benchFlags(cmd, []int{1, 16, 64, 256, 1024}, engine.SyncDisk, engine.SyncOS), bench.Runs, true)
	return cmd
}

func (a *app) newBenchAgents() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agents", Short: "A hub of three specialists, and ten agents in a row, with a model that answers at once",
		Example: "  polity bench agents\n  polity bench agents --sync disk --at 1,64",
	}
	a.measures(cmd, a.benchFlags(cmd, []int{1, 64}, engine.SyncOS), bench.Agents, false)
	return cmd
}

// measures makes cmd one that measures at several points and prints them.
func (a *app) measures(cmd *cobra.Command, f *benchFlags, measure func(context.Context, bench.Config) ([]bench.Point, error), ratios bool) {
	cmd.Args = args(cobra.NoArgs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config(f)
		if err != nil {
			return err
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		points, err := measure(ctx, cfg)
		return a.measured(points, err, f.output.value, func() error { return a.points(points, ratios) })
	}
}

func (a *app) points(points []bench.Point, ratios bool) error {
	w := a.columns()
	head := "system\tsync\tat once\truns/s\tp50 us\tp99 us\tus/step\tcpu us/step\tallocs/step\t"
	if ratios {
		head += "to log\tto packed\tfsyncs/s\t"
	}
	fmt.Fprintln(w, head)
	for _, p := range points {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t", p.System, p.Sync, p.At, p.Rate, p.P50, p.P99, p.Step, p.CPU, p.Allocs)
		if ratios {
			fmt.Fprintf(w, "%.2f\t%.2f\t%.0f\t", p.Ratio, p.Packed, p.Fsync)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
