package cli

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

// numbered is an event with its number in the run's history, from 1.
type numbered struct {
	Event int `json:"event"`
	polity.Notice
}

func (a *app) newRunsEvents() *cobra.Command {
	cmd := &cobra.Command{
		Use: "events ID", Short: "List everything that the log has of a run, with its number", Args: args(cobra.ExactArgs(1)),
		Long:    "List everything that the log has of a run and of the runs below it, with the number that\nreplay and diff call it by; with -o json each as a line of JSON, with its data.",
		Example: "  polity runs events 0-k3j2\n  polity runs events k3j2 -o json | jq 'select(.event == 12)'",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var list []numbered
		err := a.with(cmd.Context(), func(ctx context.Context, n node) error {
			id, err := findRoot(ctx, n, args[0], "is listed")
			if err == nil {
				list, err = history(ctx, n, id)
			}
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			for _, e := range list {
				data, err := json.Marshal(e)
				if err != nil {
					return fault.Internal.New("write JSON: %w", err)
				}
				if err := a.out(append(data, '\n')); err != nil {
					return err
				}
			}
			return nil
		}
		rows := make([][]string, len(list))
		for i, e := range list {
			rows[i] = []string{strconv.Itoa(e.Event), moment(e.At), eventText(e.Notice)}
		}
		return a.outf("%s", table(rows))
	}
	return cmd
}

// history reads everything that the log has of a run.
func history(ctx context.Context, n node, id polity.RunID) ([]numbered, error) {
	var list []numbered
	err := n.History(ctx, id, func(e polity.Notice) error {
		list = append(list, numbered{len(list) + 1, e})
		return nil
	})
	return list, err
}

// eventText says what happened, in a line.
func eventText(n polity.Notice) string {
	id := string(n.Run)
	if n.Name != "" {
		id = string(n.Run.Child(n.Name, n.Attempt))
	}
	words := []string{n.Kind, id}
	if n.Agent != "" {
		words = append(words, "("+n.Agent+")")
	}
	if n.Status != "" {
		words = append(words, n.Status)
	}
	if n.Fault != nil {
		words = append(words, clean(faultText(n.Fault)))
	}
	if n.Asked {
		words = append(words, "(its destination was asked)")
	}
	if len(n.Receipt) > 0 {
		words = append(words, "receipt "+clean(string(n.Receipt)))
	}
	if n.Finding != nil {
		words = append(words, findingText(*n.Finding))
	}
	if n.Erased {
		words = append(words, "(erased)")
	}
	return strings.Join(words, " ")
}
