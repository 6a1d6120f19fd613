package cli

import (
	"context"

	"github.com/spf13/cobra"

	"polity.run"
)

const deleteHelp = `Delete a run that has ended.

The key that its inputs, outputs and results are enciphered with is destroyed, so that nobody can read them again, in the
log or in any copy of it; what it remembered is forgotten. It is in no list any more. That it was deleted, when and why,
stays in the log, and so does its ID.

Only a run that was started with a subject is enciphered, and only one that is alone with its key can be deleted: with
several runs of one subject, "polity erase" erases them all. One that is held, or has not ended, is refused. Deleting it
again changes nothing.`

func (a *app) newRunsDelete() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a run that has ended", Long: deleteHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity runs delete k3j2 --reason \"older than two years\"",
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log, so name nobody in it")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var id polity.RunID
		var records int
		err := a.with(cmd.Context(), func(ctx context.Context, n node) (err error) {
			if id, err = findRoot(ctx, n, args[0], "is deleted"); err != nil {
				return err
			}
			records, err = n.Delete(ctx, id, reason)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(struct {
				Run     polity.RunID `json:"run"`
				Records int          `json:"records"`
			}{id, records})
		}
		return a.outf("%s is deleted%s\n", id, rememberedText(records))
	}
	return cmd
}
