package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/internal/bench"
)

const benchWaitingHelp = `Measure what many runs cost that wait at the same time.

With --on effect they all wait for an effect of two seconds. With --on timers, signals, events or approvals they do --steps, wait for days, and are put to
sleep: then runs beside them are woken, one after the other and in bursts, and the node is started again with and without its checkpoint. All events are on
one topic: each of the crowd waits for one with its own key, and one event wakes a whole burst.`

func (a *app) newBenchWaiting() *cobra.Command {
	cmd := &cobra.Command{
		Use: "waiting", Short: "Many runs that wait, for an effect of two seconds, their time, a signal, an event or a person", Long: benchWaitingHelp, Args: args(cobra.NoArgs),
		Example: "  polity bench waiting\n  polity bench waiting --runs 100000 -o json\n  polity bench waiting --on timers --runs 100000 --steps 9\n" +
			"  polity bench waiting --on timers --runs 1000000 --spread 10000 --bursts 1000,10000\n" +
			"  polity bench waiting --on events --runs 1000000",
	}
	output := outputFlag(cmd, "text", "text", "json")
	on := &choice{value: "effect", allowed: []string{"effect", bench.OnTimers, bench.OnSignals, bench.OnEvents, bench.OnPersons}}
	cmd.Flags().Var(on, "on", "what they wait for: effect, timers, signals, events or approvals")
	dir := cmd.Flags().String("dir", "", "folder on the disk to measure (default the temporary folder)")
	runs := cmd.Flags().Int("runs", 10_000, "how many")
	steps := cmd.Flags().Int("steps", 0, "but with effect: what each does before it waits")
	spread := cmd.Flags().Int("spread", 10_000, "but with effect: how many are woken one after the other, over ten seconds")
	bursts := cmd.Flags().IntSlice("bursts", []int{100, 1000}, "but with effect: how many are woken at once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *runs < 1 || *runs > bench.WaitingMax {
			return usagef("--runs: %d: want 1 to %d", *runs, bench.WaitingMax)
		}
		if *steps < 0 || *steps > bench.StepsMax {
			return usagef("--steps: %d: want 0 to %d", *steps, bench.StepsMax)
		}
		for _, n := range append([]int{*spread}, *bursts...) {
			if n < 1 || n > bench.WaitingMax {
				return usagef("--spread and --bursts: %d: want 1 to %d", n, bench.WaitingMax)
			}
		}
		cfg := bench.Config{Dir: *dir, Sync: []engine.Sync{engine.SyncOS}, Progress: a.status}
		if cmd.Flags().Changed("sync") {
			cfg.Sync = []engine.Sync{engine.Sync(a.sync.value)}
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		if on.value != "effect" {
			w, err := bench.WaitingOn(ctx, cfg, on.value, *runs, *steps, *spread, *bursts)
			return a.measured(w, err, output.value, func() error { return a.waiters(&w) })
		}
		w, err := bench.Waiting(ctx, cfg, *runs)
		return a.measured(w, err, output.value, func() error { return a.waited(&w) })
	}
	return cmd
}

func (a *app) waited(w *bench.Waited) error {
	return a.outf("%d runs on an effect of %s: all done after %s (%.3f of the ideal); %.0f bytes of heap and %.0f of stack a run, %d goroutines\n",
		w.Runs, w.Effect, w.Took.Round(time.Millisecond), w.Ratio, w.Heap, w.Stack, w.Goroutines)
}

func (a *app) waiters(w *bench.Waiters) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%d runs that wait (%s) after %d steps: opened in %s (%.0f/s); %.0f bytes of heap a run, %.0f MB resident (%.0f at most)\n",
		w.Runs, w.On, w.Steps, short(w.Opened), w.Rate, w.Heap, w.RSS/1e6, w.RSSMax/1e6)
	fmt.Fprintf(&text, "on the disk: %.0f bytes of log a run, and %.0f of trails and checkpoint (%.0f)\n", w.Log, w.Disk, w.Point)
	fmt.Fprintf(&text, "stopped in %s; started in %s with the checkpoint (processor time %s), in %s without (%s)\n\n",
		short(w.Close), short(w.Start.Took), short(w.Start.CPU), short(w.Whole.Took), short(w.Whole.CPU))
	if err := a.outf("%s", &text); err != nil {
		return err
	}
	t := a.columns()
	fmt.Fprintln(t, "woken at once\twoken\tp50\tp95\tp99\tmost\t")
	for _, k := range w.Wakes {
		fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\t%s\t\n", k.At, k.Count, short(k.P50), short(k.P95), short(k.P99), short(k.Most))
	}
	return t.Flush()
}
