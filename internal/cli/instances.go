package cli

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
)

const instancesHelp = `Give agents instances: addresses AGENT/NAME with a mailbox of their own.

An agent with an instance for each customer, device or order works for all of them, each of them in its own time: messages to one do not wait for those
to another. An instance that was sent nothing costs its name. Links to an agent hold for its instances.

Without a subcommand it tells how many instances agents have.`

func (a *app) newInstances() *cobra.Command {
	cmd := &cobra.Command{
		Use: "instances", Short: "Give agents instances with mailboxes of their own", Long: instancesHelp, Args: noSubcommand,
		Example: "  polity instances\n  polity instances add clerk customer-17 customer-18\n  polity send clerk/customer-17 \"Where is my order?\"",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			done, err := n.Messages(ctx, message.Do{Instances: &message.Instances{}})
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(done.Counts)
			}
			for _, name := range slices.Sorted(maps.Keys(done.Counts)) {
				if err := a.outf("%s  %d\n", name, done.Counts[name]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	cmd.AddCommand(
		a.newInstancesChange("add", "Add instances of an agent", "added", func(q *message.Instances, names []string) { q.Add = names }),
		a.newInstancesChange("remove", "Take instances of an agent away; what they were sent is done", "removed", func(q *message.Instances, names []string) { q.Remove = names }),
	)
	return cmd
}

func (a *app) newInstancesChange(verb, about, did string, set func(*message.Instances, []string)) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " AGENT [NAME...]", Short: about, Args: args(cobra.MinimumNArgs(1)),
		Long:    about + ". Names are as those of agents are: a-z, 0-9, '-' and '_'. With --file they are read from a file, or from stdin for -: one a line.",
		Example: "  polity instances " + verb + " clerk customer-17\n  polity instances " + verb + " clerk --file customers.txt",
	}
	file := cmd.Flags().String("file", "", "a file with names, one a line; - for stdin")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (*file == "") == (len(args) == 1) {
			return usagef("name instances of %s, or a --file with them", args[0])
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			total := 0
			err := a.eachNames(args[1:], *file, func(names []string) error {
				q := message.Instances{Agent: polity.AgentName(args[0])}
				set(&q, names)
				done, err := n.Messages(ctx, message.Do{Instances: &q})
				total += done.Count
				return err
			})
			if err != nil {
				return fault.Of(err).Kind.New("%w (%s so far: %d)", err, did, total)
			}
			return a.outf("%d %s\n", total, did)
		})
	}
	return cmd
}

// eachNames gives names from the command line, or those of a file, as many at a time as one request may have.
func (a *app) eachNames(names []string, file string, do func([]string) error) error {
	if file == "" {
		for page := range slices.Chunk(names, message.InstancesMax) {
			if err := do(page); err != nil {
				return err
			}
		}
		return nil
	}
	in := io.Reader(a.stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fault.NotFound.New("%w", err)
		}
		defer f.Close()
		in = f
	}
	var page []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			page = append(page, name)
		}
		if len(page) == message.InstancesMax {
			if err := do(page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	if err := lines.Err(); err != nil {
		return fault.Invalid.New("%s: %w", cmp.Or(strings.Trim(file, "-"), "stdin"), err)
	}
	if len(page) == 0 {
		return nil
	}
	return do(page)
}
