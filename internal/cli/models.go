package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/fault"
	"polity.run/model"
)

func (a *app) newModels() *cobra.Command {
	cmd := &cobra.Command{
		Use: "models", Short: "List and try the models of a manifest", Long: "List and try the models of a manifest.",
		Example: "  polity models list desk.yaml\n  polity models check desk.yaml writer", Args: noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newModelsList(), a.newModelsCheck())
	return cmd
}

// modelLine is a model as it is listed.
type modelLine struct {
	model.Spec
	KeySet bool `json:"key_set"`
}

func (a *app) newModelsList() *cobra.Command {
	var output *choice
	cmd := &cobra.Command{
		Use: "list MANIFEST", Short: "List the models that a manifest declares",
		Example: "  polity models list desk.yaml\n  polity models list desk.yaml -o json", Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := a.load(args[0])
			if err != nil {
				return err
			}
			lines := []modelLine{}
			for _, s := range m.Release.Models {
				_, err := model.Key(s)
				lines = append(lines, modelLine{s, err == nil})
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"models": lines})
			}
			rows := [][]string{{"NAME", "API", "MODEL", "ADDRESS", "USD/M IN, OUT", "KEY"}}
			for _, l := range lines {
				key := "none"
				if l.KeyEnv != "" {
					key = l.KeyEnv + ", not set"
					if l.KeySet {
						key = l.KeyEnv
					}
				}
				rows = append(rows, []string{
					l.Name, string(l.API), clean(l.Model), clean(cmp.Or(l.URL, "its own")),
					fmt.Sprintf("%g, %g", float64(l.Price.Input)/1000, float64(l.Price.Output)/1000), key,
				})
			}
			rows = append(rows, []string{"quote", "built in", "-", "-", "0, 0", "none"})
			return a.out([]byte(table(rows)))
		},
	}
	output = outputFlag(cmd, "text", "text", "json")
	return cmd
}

func (a *app) newModelsCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check MANIFEST [NAME...]", Short: "Ask each model one small question",
		Long:    "Ask each model that a manifest declares, or those that are named, one small question. That costs a few tokens.\n\nThe exit code is 1 if one does not answer.",
		Example: "  polity models check desk.yaml\n  polity models check desk.yaml writer", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx, done := a.interruptible(cmd.Context())
			defer done()
			m, err := a.load(args[0])
			if err != nil {
				return err
			}
			e, err := engine.Equip(&m.Release)
			if err != nil {
				return err
			}
			defer closeInto(&err, e)
			names := args[1:]
			if len(names) == 0 {
				for _, s := range m.Release.Models {
					names = append(names, s.Name)
				}
			}
			failed := 0
			for _, name := range names {
				one := e.Models[name]
				if one == nil {
					return fault.NotFound.New("%s declares no model %q", args[0], name)
				}
				line := ""
				if answer, err := tryModel(ctx, one); err != nil {
					failed++
					line = fmt.Sprintf("FAIL  %s: %s\n", name, clean(err.Error()))
				} else {
					line = fmt.Sprintf("ok    %s: %s\n", name, answer)
				}
				if err := a.out([]byte(line)); err != nil {
					return err
				}
			}
			if failed > 0 {
				return fault.Failed.New("%s did not answer", count(failed, "model"))
			}
			return nil
		},
	}
}

// tryModel asks a model one small question, and words what came of it.
func tryModel(ctx context.Context, m model.Model) (string, error) {
	began := time.Now()
	out, err := m.Answer(ctx, model.Request{
		Messages: []model.Message{{Role: model.User, Text: "Answer with the one word: ready"}}, OutputMax: 16,
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s answered %s in %s, %d tokens, $%.6f", clean(cmp.Or(out.Model, "it")), clean(shorten(string(out.Output), 60)),
		time.Since(began).Round(time.Millisecond), out.Usage.Tokens(), float64(out.Usage.MicroUSD)/1e6), nil
}
