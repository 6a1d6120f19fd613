package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/internal/bench"
)

func (a *app) newBenchTopics() *cobra.Command {
	cmd := &cobra.Command{
		Use: "topics", Short: "Events from publishers to runs that have ended, beside JetStream alone", Args: args(cobra.NoArgs),
		Long: `Events from publishers to runs that have ended, beside JetStream alone.

JetStream alone is the same stream, with the same payload and headers, and one consumer. The engine stores the event, gives it to runs that
await it in a commit of its log, and has an agent asked about each batch of events, in a run of its own; an event is done when its run has
ended. Latencies are from the call of publish to that.`,
		Example: "  polity bench topics\n  polity bench topics --sync os --at 64 --batch 1,100 -o json",
	}
	f := a.benchFlags(cmd, []int{1, 64}, engine.SyncDisk, engine.SyncOS)
	cmd.Flags().Lookup("at").Usage = "how many publishers at once"
	batches := cmd.Flags().IntSlice("batch", []int{1, 10, 100}, "most events of one run")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config(f)
		if err != nil {
			return err
		}
		for _, n := range *batches {
			if n < 1 || n > 1000 {
				return usagef("--batch: %d: want 1 to 1000", n)
			}
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		points, err := bench.Topics(ctx, cfg, *batches)
		return a.measured(points, err, f.output.value, func() error { return a.eventPoints(points) })
	}
	return cmd
}

func (a *app) eventPoints(points []bench.EventPoint) error {
	w := a.columns()
	fmt.Fprintln(w, "system\tsync\tat once\tbatch\tevents/s\tp50 us\tp95 us\tto JetStream\t")
	for _, p := range points {
		batch := "-"
		if p.Batch > 0 {
			batch = fmt.Sprint(p.Batch)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t\n", p.System, p.Sync, p.At, batch, p.Rate, p.P50, p.P95, p.Ratio)
	}
	return w.Flush()
}
