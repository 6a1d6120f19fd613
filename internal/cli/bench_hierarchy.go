package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/internal/bench"
)

func (a *app) newBenchHierarchy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hierarchy", Short: "One request to hierarchies of agents that do nothing, ten reports to each manager", Args: args(cobra.NoArgs),
		Example: "  polity bench hierarchy\n  polity bench hierarchy --workers 1000,100000 --rounds 1 -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	dir := cmd.Flags().String("dir", "", "folder on the disk to measure (default the temporary folder)")
	workers := cmd.Flags().IntSlice("workers", []int{1000, 10_000, 100_000}, "how many workers")
	rounds := cmd.Flags().Int("rounds", 3, "turns of each")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, n := range *workers {
			if n < 1 || n > bench.WorkersMax {
				return usagef("--workers: %d: want 1 to %d", n, bench.WorkersMax)
			}
		}
		if *rounds < 1 || len(*workers) == 0 {
			return usagef("--rounds must be above zero, and --workers must name a number")
		}
		cfg := bench.Config{Dir: *dir, Rounds: *rounds, Progress: a.status}
		if cmd.Flags().Changed("sync") {
			cfg.Sync = []engine.Sync{engine.Sync(a.sync.value)}
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		all, err := bench.Hierarchy(ctx, cfg, *workers)
		return a.measured(all, err, output.value, func() error { return a.charts(all) })
	}
	return cmd
}

// charts prints what hierarchies cost, and below each how long its levels take.
func (a *app) charts(all []bench.Chart) error {
	w := a.columns()
	fmt.Fprintln(w, "workers\tmanagers\tlevels\tinstall\ttime\tus/agent\tcpu us/agent\tgrowth\tcpu growth\tmessages/manager\tmost\theap B/agent\tpeak B/agent\tlog B/agent\t")
	for _, c := range all {
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%s\t%.1f\t%.1f\t%.2f\t%.2f\t%.1f\t%d\t%.0f\t%.0f\t%.0f\t\n", c.Workers, c.Managers, c.Levels, short(c.Install), short(c.Took),
			c.PerAgent, c.CPU, c.Growth, c.GrowthCPU, c.Messages, c.Most, c.Resident, c.Peak, c.Log)
	}
	fmt.Fprintln(w, "\nworkers\tlevel\tmanagers\tdecide p50\tdecide p99\twhole p50\t")
	for _, c := range all {
		for _, l := range c.Level {
			fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%s\t%s\t\n", c.Workers, l.Level, l.Managers, short(l.Decide), short(l.Decide99), short(l.Whole))
		}
	}
	return w.Flush()
}

// short is a duration with the figures that matter.
func short(d time.Duration) string {
	if d > time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
