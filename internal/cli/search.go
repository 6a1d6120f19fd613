package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
)

const searchHelp = `Search the inputs of runs, what their steps answered, their outputs and their faults; the newest first.

FILTER is words and "phrases" that all have to stand in the text, and fields of:

`

func (a *app) newSearch() *cobra.Command {
	q := polity.Lookup{Of: polity.LookupTexts}
	cmd := &cobra.Command{
		Use: "search FILTER...", Short: "Search what runs were asked, what they answered and what went wrong",
		Long: searchHelp + fieldsHelp(polity.LookupTexts) + "\n\nInputs of children, tools and models are not in the log, and not searched.", Args: args(cobra.MinimumNArgs(1)),
		Example: "  polity search refund\n  polity search '\"out of stock\"' agent:desk 'at>-1d' -o json",
	}
	flags := lookupFlags(cmd, "texts")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Filter = strings.Join(args, " ")
		list := []polity.TextRow{}
		if err := a.pages(cmd.Context(), q, flags, func(f polity.Found) int { list = append(list, f.Texts...); return len(list) }); err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"texts": list})
		}
		if len(list) == 0 {
			a.screen.say("note: nothing was found")
			return nil
		}
		rows := [][]string{{"AT", "RUN", "AGENT", "PART", "TEXT"}}
		for _, t := range list {
			place := string(t.Run)
			if t.Command != "" {
				place += "#" + t.Command
			}
			rows = append(rows, []string{moment(t.At), clean(place), clean(t.Agent), t.Part, clean(t.Excerpt)})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

const eventsHelp = `List what came from outside while runs were at work: the signals that they were told, and the events that were published on topics; the newest first,
and of one run in their order.

FILTER is in the language of "polity runs list", with the fields:

`

func (a *app) newEvents() *cobra.Command {
	q := polity.Lookup{Of: polity.LookupEvents}
	cmd := &cobra.Command{
		Use: "events [FILTER...]", Short: "List the signals that runs were told, and the events on topics", Args: args(cobra.ArbitraryArgs),
		Long:    eventsHelp + fieldsHelp(polity.LookupEvents),
		Example: "  polity events\n  polity events kind:topic 'name:orders.*' 'at>-1h'\n  polity events --run k3j2 -o json",
	}
	run := cmd.Flags().String("run", "", "only those that this run, or one below it, was told or published")
	flags := lookupFlags(cmd, "events")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Filter = strings.Join(args, " ")
		if err := a.named(cmd.Context(), *run, &q); err != nil {
			return err
		}
		list := []polity.EventRow{}
		if err := a.pages(cmd.Context(), q, flags, func(f polity.Found) int { list = append(list, f.Events...); return len(list) }); err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"events": list})
		}
		if len(list) == 0 {
			a.screen.say("note: there are no such events")
			return nil
		}
		rows := [][]string{{"AT", "KIND", "NAME", "RUN", "AGENT", "ID"}}
		for _, e := range list {
			rows = append(rows, []string{moment(e.At), e.Kind, clean(e.Name), clean(string(e.Run)), clean(e.Agent), clean(e.ID)})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

func (a *app) newRunsSteps() *cobra.Command {
	q := polity.Lookup{Of: polity.LookupSteps}
	cmd := &cobra.Command{
		Use: "steps [FILTER...]", Short: "List what runs did: tools called, models, functions and people asked; the newest first",
		Long:    "List what runs did: tools called, models, functions and people asked; the newest first, and of one run in their order.\n\nFILTER is in the language of \"polity runs list\", with the fields:\n\n" + fieldsHelp(polity.LookupSteps),
		Example: "  polity runs steps verb:think 'cost>0.1'\n  polity runs steps status:unknown\n  polity runs steps --run k3j2 -o json",
	}
	run := cmd.Flags().String("run", "", "only of this run, and the runs below it")
	flags := lookupFlags(cmd, "steps")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Filter = strings.Join(args, " ")
		if err := a.named(cmd.Context(), *run, &q); err != nil {
			return err
		}
		list := []polity.StepRow{}
		if err := a.pages(cmd.Context(), q, flags, func(f polity.Found) int { list = append(list, f.Steps...); return len(list) }); err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"steps": list})
		}
		return a.printSteps(list)
	}
	return cmd
}

// named fills in the run that a flag names.
func (a *app) named(ctx context.Context, text string, q *polity.Lookup) error {
	if text == "" {
		return nil
	}
	return a.with(ctx, func(ctx context.Context, n node) error {
		_, id, err := find(ctx, n, text)
		q.Run = id
		return err
	})
}

func (a *app) printSteps(list []polity.StepRow) error {
	if len(list) == 0 {
		a.screen.say("note: there are no such steps")
		return nil
	}
	rows := [][]string{{"STATUS", "VERB", "TO", "AGENT", "SINCE", "TIME", "USED", "STEP"}}
	for _, s := range list {
		since, took := s.Since, ""
		if since.IsZero() {
			since = s.Ended
		} else if !s.Ended.IsZero() {
			took = seconds(s.Ended.Sub(since))
		}
		rows = append(rows, []string{s.Status, s.Verb, clean(s.To), clean(s.Agent), moment(since), took, usage(s.Usage), clean(string(s.Run) + "#" + s.Command)})
	}
	return a.out([]byte(table(rows)))
}

func (a *app) newApprovalsHistory() *cobra.Command {
	q := polity.Lookup{Of: polity.LookupSteps}
	cmd := &cobra.Command{
		Use: "history [FILTER...]", Short: "List what was decided, the newest first",
		Long:    "List what was decided, the newest first.\n\nFILTER is in the language of \"polity runs list\", with the fields of \"polity runs steps\"; to:NAME is who was asked.",
		Example: "  polity approvals history\n  polity approvals history to:boss 'ended>-7d' -o json",
	}
	flags := lookupFlags(cmd, "decisions")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Filter = strings.Join(append([]string{"decided:yes"}, args...), " ")
		list := []polity.StepRow{}
		if err := a.pages(cmd.Context(), q, flags, func(f polity.Found) int { list = append(list, f.Steps...); return len(list) }); err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"decisions": list})
		}
		if len(list) == 0 {
			a.screen.say("note: nothing was decided")
			return nil
		}
		rows := [][]string{{"DECIDED", "BY", "AGENT", "AT", "HASH", "RUN", "REASON"}}
		for _, s := range list {
			decided := "denied"
			if s.Decision.Approve {
				decided = "approved"
			}
			rows = append(rows, []string{decided, clean(s.To), clean(s.Agent), moment(s.Ended), clean(s.Decision.Hash[:min(len(s.Decision.Hash), hashShown)]), clean(string(s.Run)), clean(s.Decision.Reason)})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

func (a *app) newCosts() *cobra.Command {
	by := &choice{allowed: []string{"agent", "model", "tool", "skill", "day"}}
	q := polity.Lookup{Of: polity.LookupCosts}
	cmd := &cobra.Command{
		Use: "costs [FILTER...]", Short: "Add up what was used: calls, time, tokens and money",
		Long: "Add up what was used: calls, time, tokens and money. What a fork took over is not counted again, nor what another node did.\n\n" +
			"FILTER is in the language of \"polity runs list\", with the fields:\n\n" + fieldsHelp(polity.LookupCosts),
		Example: "  polity costs\n  polity costs --by model 'day>=-7d'\n  polity costs --by day agent:reviewer -o json\n  polity costs --by model --run k3j2",
	}
	cmd.Flags().Var(by, "by", "add up by agent|model|tool|skill|day (default agent)")
	run := cmd.Flags().String("run", "", "only of this run, and the runs below it")
	flags := &lookupOptions{limit: polity.LookupLimitMax}
	waitFlag(cmd, flags)
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Filter, q.By = strings.Join(args, " "), by.value
		if err := a.named(cmd.Context(), *run, &q); err != nil {
			return err
		}
		list := []polity.CostRow{}
		if err := a.pages(cmd.Context(), q, flags, func(f polity.Found) int { list = append(list, f.Costs...); return len(list) }); err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"costs": list})
		}
		if len(list) == 0 {
			a.screen.say("note: nothing was used")
			return nil
		}
		name := by.value
		if name == "" {
			name = "agent"
		}
		return a.out([]byte(costTable(name, list)))
	}
	return cmd
}
