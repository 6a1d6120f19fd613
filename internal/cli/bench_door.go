package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bench"
)

const benchDoorHelp = `The REST API of a node, beside what net/http and JetStream do alone.

"answer" is POST /v1/runs?wait of an agent that answers at once, until the answer is there. It stands beside a handler of net/http that reads the same bytes, commits
to JetStream, and answers with the same bytes; requests that come while a commit is under way share the next one, as runs of a node do. A decider that ends
at once needs one commit; a function needs two, one after the other, since it is not called before it is durable that it was asked for. Beside either the
node keeps a record of who asked, which is a second write to the disk.

"stream" is /v1/events to --subscribers, beside a hub that sends the same frames to as many. An event is one commit, of two frames or of many, and is there when all
subscribers have it; it is measured from the acknowledgement of the commit. The rate is that of frames.

With --rate runs are started at an even rate for a while, and nothing else is measured. A start is answered when it is durable, and is measured from when it
was due: what has to wait because others are slow counts as slow. Beside every tenth start the same handler of net/http is asked.`

func (a *app) newBenchDoor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "door", Short: "Requests, streams of events and starts through the REST API, beside net/http and JetStream", Args: args(cobra.NoArgs), Long: benchDoorHelp,
		Example: "  polity bench door\n  polity bench door --sync os --what stream --subscribers 1000 -o json\n  polity bench door --rate 300 --for 10m",
	}
	f := a.benchFlags(cmd, []int{1, 64}, engine.SyncDisk, engine.SyncOS)
	cmd.Flags().Lookup("at").Usage = "how many requests at once"
	kinds := cmd.Flags().StringSlice("what", bench.DoorKinds, "which of them")
	subscribers := cmd.Flags().Int("subscribers", 1000, "of the stream of events")
	rate := cmd.Flags().Float64("rate", 0, "starts a second, in place of the rest")
	during := cmd.Flags().Duration("for", 10*time.Minute, "with --rate: how long")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config(f)
		if err != nil {
			return err
		}
		for _, k := range *kinds {
			if !slices.Contains(bench.DoorKinds, k) {
				return usagef("--what: %q: want some of %s", k, strings.Join(bench.DoorKinds, ", "))
			}
		}
		if *subscribers < 1 || *subscribers > bench.SubscribersMax {
			return usagef("--subscribers: %d: want 1 to %d", *subscribers, bench.SubscribersMax)
		}
		starts := cmd.Flags().Changed("rate")
		switch {
		case starts && !(*rate > 0 && *rate <= bench.OpensMax):
			return usagef("--rate: %g: want above 0, and at most %d a second", *rate, bench.OpensMax)
		case *during <= 0 || *during > bench.OpensFor:
			return usagef("--for: %s: want above 0, and at most %s", *during, bench.OpensFor)
		case !starts && cmd.Flags().Changed("for"):
			return usagef("--for goes with --rate")
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		if starts {
			return a.benchStarts(func() (bench.Opens, error) { return bench.OpenAt(ctx, cfg, *rate, *during) }, f.output.value)
		}
		points, err := bench.Door(ctx, cfg, *kinds, *subscribers)
		return a.measured(points, err, f.output.value, func() error { return a.busPoints(points) })
	}
	return cmd
}

func (a *app) benchStarts(measure func() (bench.Opens, error), output string) error {
	w, err := measure()
	err = a.measured(w, err, output, func() error {
		if err := a.outf("%.1f starts/s for %s (wanted %g), sync %s, %d errors\n\n", w.Rate, w.For, w.Wanted, w.Sync, w.Errors); err != nil {
			return err
		}
		t := a.columns()
		fmt.Fprintln(t, "what\tanswered\tp50 ms\tp95 ms\tp99 ms\tmost\t")
		for i, l := range []bench.Lags{w.Echo, w.Starts} {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t\n", [...]string{"echo and a commit", "starts"}[i], l.Count, l.P50, l.P95, l.P99, l.Max)
		}
		return t.Flush()
	})
	if err == nil && w.Errors > 0 {
		err = fault.Failed.New("bench: %d requests failed, the first with: %s", w.Errors, w.Error)
	}
	return err
}
