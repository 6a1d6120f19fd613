package cli

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/internal/bench"
)

func (a *app) newBenchBus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bus", Short: "Messages that are sent and answered, beside one commit", Args: args(cobra.NoArgs),
		Long: `Messages that are sent and answered, beside one commit.

One commit is packed by hand and written to JetStream. "send" returns when a message is durable, "ask" when its answer is; the agent does nothing. Under
saturation 128 senders of normal messages and 4 of urgent ones want answers from an agent that takes 5 ms for each, 16 at a time. The ratio is that of the
median to one commit's in the same round, and under saturation that of the 99th percentile to normal messages'.`,
		Example: "  polity bench bus\n  polity bench bus --sync os --at 64 -o json",
	}
	f := a.benchFlags(cmd, []int{1, 64}, engine.SyncDisk, engine.SyncOS)
	cmd.Flags().Lookup("at").Usage = "how many senders at once"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config(f)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		points, err := bench.Bus(ctx, cfg)
		if err != nil {
			return err
		}
		if f.output.value == "json" {
			return a.writeJSON(points)
		}
		var text strings.Builder
		w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "messages\tsync\tat once\tper second\tp50 us\tp99 us\tratio\t")
		for _, p := range points {
			fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.2f\t\n", p.System, p.Sync, p.At, p.Rate, p.P50, p.P99, p.Ratio)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		return a.outf("%s", text.String())
	}
	return cmd
}
