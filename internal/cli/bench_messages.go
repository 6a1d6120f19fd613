package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/internal/bench"
)

func (a *app) newBenchBus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bus", Short: "Messages that are sent and answered, beside NATS, gRPC and one commit", Args: args(cobra.NoArgs),
		Long: `Messages that are sent and answered, beside NATS, gRPC and one commit.

"live" messages are asked, answered and not kept, to an agent that is connected over loopback and to one in this process. NATS is nats.go alone with the
same headers and data, gRPC a unary call with the same data, both on loopback. Of those that are "kept", one commit is packed by hand and written to
JetStream; "send" returns when a message is durable, and "ask" when its answer is, of a function that does nothing or of a decider, which ends in the commit
that begins it. "broadcast" is to a group of 1,000 agents. Where the agent is "saturated", 128 senders of normal messages and 4 of urgent ones want answers
from an agent that takes 5 ms for each, 16 at a time. The last columns are ratios to the first of each kind in the same round: of the median, the 99th
percentile, and the rate. What is published on topics is measured by "polity bench topics".`,
		Example: "  polity bench bus\n  polity bench bus --sync os --at 64 -o json\n  polity bench bus --what live --at 1",
	}
	f := a.benchFlags(cmd, []int{1, 64}, engine.SyncDisk, engine.SyncOS)
	cmd.Flags().Lookup("at").Usage = "how many senders at once"
	kinds := cmd.Flags().StringSlice("what", bench.BusKinds, "which of them")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config(f)
		if err != nil {
			return err
		}
		for _, k := range *kinds {
			if !slices.Contains(bench.BusKinds, k) {
				return usagef("--what: %q: want some of %s", k, strings.Join(bench.BusKinds, ", "))
			}
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		points, err := bench.Bus(ctx, cfg, *kinds)
		return a.measured(points, err, f.output.value, func() error { return a.busPoints(points) })
	}
	return cmd
}

func (a *app) busPoints(points []bench.BusPoint) error {
	w := a.columns()
	fmt.Fprintln(w, "messages\tsystem\tsync\tbytes\tat once\tper second\tp50 us\tp99 us\tto p50\tto p99\tto rate\t")
	for _, p := range points {
		size := ""
		if p.Size > 0 {
			size = fmt.Sprint(p.Size)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t\n", p.What, p.System, p.Sync, size, p.At, p.Rate, p.P50, p.P99, p.ToP50, p.ToP99, p.ToRate)
	}
	return w.Flush()
}

func (a *app) newBenchMailboxes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mailboxes", Short: "A million agents that are idle and have mailboxes", Args: args(cobra.NoArgs),
		Long: `A million agents that are idle and have mailboxes: instances of one agent.

They are added, some thousands at a time, and counted in the heap over the node without them. Then any of a thousand and any of all are asked, in turns: the
last columns are the ratios of the second to the first. At last the node is started anew.`,
		Example: "  polity bench mailboxes\n  polity bench mailboxes --agents 100000 --sync os -o json",
	}
	f := a.benchFlags(cmd, []int{1}, engine.SyncDisk)
	cmd.Flags().Lookup("at").Hidden = true
	agents := cmd.Flags().Int("agents", 1_000_000, "how many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config(f)
		if err != nil {
			return err
		}
		if *agents < 1 || *agents > bench.MailboxesMax {
			return usagef("--agents: %d: want 1 to %d", *agents, bench.MailboxesMax)
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		m, err := bench.Mailboxes(ctx, cfg, *agents)
		return a.measured(m, err, f.output.value, func() error {
			if err := a.outf("%d mailboxes: added in %s (%.0f/s); %.0f bytes of heap each; %d streams, %d consumers, %d connections; started in %s\n\n",
				m.Agents, short(m.Added), m.Rate, m.Heap, m.Streams, m.Consumers, m.Connections, short(m.Start)); err != nil {
				return err
			}
			return a.busPoints(m.Points)
		})
	}
	return cmd
}
