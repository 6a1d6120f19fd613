package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

// costTable writes what was used, a line each, and the sum below if there is more than one.
func costTable(by string, list []polity.CostRow) string {
	rows := [][]string{{strings.ToUpper(by), "CALLS", "FAILED", "TIME", "INPUT", "OUTPUT", "COST"}}
	row := func(c polity.CostRow) []string {
		u := c.Usage
		return []string{clean(c.By), fmt.Sprint(c.Calls), fmt.Sprint(c.Failed), seconds(time.Duration(c.Time)), fmt.Sprint(u.InputTokens), fmt.Sprint(u.OutputTokens), dollars(u.MicroUSD)}
	}
	sum := polity.CostRow{By: "all"}
	for _, c := range list {
		rows = append(rows, row(c))
		sum.Calls, sum.Failed, sum.Time, sum.Usage = sum.Calls+c.Calls, sum.Failed+c.Failed, sum.Time+c.Time, sum.Usage.Plus(c.Usage)
	}
	if len(list) > 1 {
		rows = append(rows, row(sum))
	}
	return table(rows)
}

func dollars(micro int64) string { return fmt.Sprintf("$%.4f", float64(micro)/1e6) }

func (a *app) newAgents() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agents", Short: "What agents have done", Args: noSubcommand, RunE: help, Example: "  polity agents stats",
	}
	cmd.AddCommand(a.newAgentsStats(), a.newAgentsList())
	return cmd
}

func (a *app) newAgentsStats() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats", Short: "Runs, how they ended, calls and costs of each agent", Args: args(cobra.NoArgs),
		Long:    "Runs, how they ended, calls and costs of each agent. An agent without runs of its own (a function, a program, a person) has calls alone.",
		Example: "  polity agents stats\n  polity agents stats -o json",
	}
	flags := &lookupOptions{limit: polity.LookupLimitMax}
	waitFlag(cmd, flags)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list := []polity.AgentRow{}
		err := a.pages(cmd.Context(), polity.Lookup{Of: polity.LookupAgents}, flags, func(f polity.Found) int { list = append(list, f.Agents...); return len(list) })
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"agents": list})
		}
		if len(list) == 0 {
			a.screen.say("note: no agent has done anything")
			return nil
		}
		rows := [][]string{{"AGENT", "RUNS", "COMPLETED", "EXHAUSTED", "FAILED", "CANCELLED", "MEAN", "CALLS", "ERRORS", "TOKENS", "COST"}}
		for _, s := range list {
			row := []string{clean(s.Agent)}
			for _, n := range []int64{s.Runs, s.Completed, s.Exhausted, s.Failed, s.Cancelled} {
				row = append(row, fmt.Sprint(n))
			}
			rows = append(rows, append(row, seconds(time.Duration(s.Mean)), fmt.Sprint(s.Calls), fmt.Sprint(s.Errors), fmt.Sprint(s.Usage.Tokens()), dollars(s.Usage.MicroUSD)))
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

// --- the view itself

const viewHelp = `The view is what lists, searches and sums are answered from: tables that are made from the log, in the folder view of the state folder.

It is made when it is first asked for, and followed from then on for as long as a process serves the state folder. It holds nothing that the log
does not, and can be deleted at any time.`

func (a *app) newView() *cobra.Command {
	cmd := &cobra.Command{
		Use: "view", Short: "How far the tables are from which questions are answered", Long: viewHelp, Args: noSubcommand, RunE: help,
		Example: "  polity view status\n  polity view rebuild",
	}
	cmd.AddCommand(a.newViewStatus(), a.newViewRebuild())
	return cmd
}

func (a *app) newViewStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show how far the view is behind the log, and its size", Args: args(cobra.NoArgs), Example: "  polity view status\n  polity view status -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			found, err := n.Lookup(ctx, polity.Lookup{Of: polity.LookupView, Wait: polity.Duration(lookupStep)})
			if err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(found.View)
			}
			return a.printView(found.View)
		})
	}
	return cmd
}

func (a *app) printView(v polity.ViewState) error {
	rows := [][]string{{"position", readSoFar(v)}, {"behind", count(int(v.Behind), "commit")}, {"lag", seconds(time.Duration(v.Lag))},
		{"size", fmt.Sprintf("%.1f MiB", float64(v.Bytes)/(1<<20))}, {"schema", fmt.Sprint(v.Schema)}, {"place", clean(v.Place)}}
	if v.Problem != "" {
		rows = append(rows, []string{"problem", clean(v.Problem)})
	}
	return a.out([]byte(table(rows)))
}

func (a *app) newViewRebuild() *cobra.Command {
	without := false
	cmd := &cobra.Command{
		Use: "rebuild", Short: "Throw the view away and make it again from the log", Args: args(cobra.NoArgs), Example: "  polity view rebuild",
		Long: "Throw the view away and make it again from the log. What is asked meanwhile is answered with what there is, and says so. Interrupted, it goes on with the next question.\n\n" +
			"If the beginning of the log was dropped (polity state trim), steps, texts and costs of runs that had ended before are in the view alone. " +
			"It is made again without them only with --without-dropped; the runs themselves stay listed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			thrown := false
			return a.with(cmd.Context(), func(ctx context.Context, n node) error {
				if !thrown {
					if err := n.RebuildView(ctx, without); err != nil {
						return err
					}
					thrown = true
				}
				found, err := a.lookup(ctx, n, polity.Lookup{Of: polity.LookupView}, time.Duration(1<<62))
				if err != nil {
					return err
				}
				if found.View.Problem != "" {
					return fault.Unavailable.New("the view does not go on: %s", found.View.Problem)
				}
				return a.printView(found.View)
			})
		},
	}
	cmd.Flags().BoolVar(&without, "without-dropped", false, "lose what the view alone has of runs that were dropped from the log")
	return cmd
}

// usedBy adds to a run that is shown what it used, by agent and by model.
func (a *app) usedBy(ctx context.Context, n node, id polity.RunID) (text string, err error) {
	for _, by := range []string{"agent", "model"} {
		found, err := a.lookup(ctx, n, polity.Lookup{Of: polity.LookupCosts, By: by, Run: id, Limit: polity.LookupLimitMax}, waitElse)
		if errors.Is(err, fault.NotFound) {
			return "", nil // a node of before
		}
		if err != nil {
			return "", err
		}
		if len(found.Costs) > 0 {
			text += "\n" + costTable(by, found.Costs)
		}
	}
	return text, nil
}
