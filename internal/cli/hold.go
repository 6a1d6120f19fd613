package cli

import (
	"context"

	"github.com/spf13/cobra"
)

const holdHelp = `Keep a run from being erased.

While it is held, "polity erase" refuses to erase the person whose data it holds, and says why. The reason is
needed, and stays in the log.`

func (a *app) newRunsHold() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use: "hold ID --reason TEXT", Short: "Keep a run from being erased", Long: holdHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity runs hold k3j2 --reason \"dispute 17\"",
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if reason == "" {
			return usagef("say why: --reason TEXT")
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			id, err := findRoot(ctx, n, args[0], "is held")
			if err != nil {
				return err
			}
			if err := n.Hold(ctx, id, reason); err != nil {
				return err
			}
			return a.outf("%s is held\n", id)
		})
	}
	return cmd
}

func (a *app) newRunsRelease() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use: "release ID", Short: "Let a run that was held be erased again", Args: args(cobra.ExactArgs(1)),
		Long:    "Let a run that was held be erased again. One that is not held stays as it is.",
		Example: "  polity runs release k3j2 --reason \"dispute 17 is settled\"",
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			id, err := findRoot(ctx, n, args[0], "is released")
			if err != nil {
				return err
			}
			if err := n.Release(ctx, id, reason); err != nil {
				return err
			}
			return a.outf("%s is not held\n", id)
		})
	}
	return cmd
}
