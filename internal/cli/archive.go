package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

const exportHelp = `Write a run into a new file that can be read without this state folder.

The file, a gzipped tar, holds everything that the log has of the run and of the runs below
it, its release, the files that the release pins, and large inputs and outputs; nothing of
other runs. It may hold what is confidential: whatever agents, tools and models were told
and answered. Keys of providers are not in it.

A run that has not ended is exported as far as it has come.`

func (a *app) newRunsExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export ID FILE", Short: "Write a run with everything it refers to into a file", Long: exportHelp,
		Example: "  polity runs export 0-k3j2 review.polity", Args: args(cobra.ExactArgs(2)),
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := filepath.Abs(args[1])
		if err != nil {
			return fault.Invalid.New("%s: %w", args[1], err)
		}
		var written polity.Archive
		err = a.with(cmd.Context(), func(ctx context.Context, n node) error {
			id, err := findRoot(ctx, n, args[0], "is exported")
			if err == nil {
				written, err = n.Export(ctx, id, path)
			}
			return err
		})
		if err != nil {
			return err
		}
		return a.printArchive(written, "exported", output.value)
	}
	return cmd
}

const importHelp = `Take over a run from a file that "polity runs export" wrote, into this state folder.

Everything in the file is checked first, as "polity runs verify" does. The run keeps its ID
and its times; it can then be listed, shown, replayed, compared and exported as if it had run
here. Only a run that has ended can be imported: another one would go on in two places, and
do twice what may be done once.`

func (a *app) newRunsImport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Take over a run from a file that was exported", Long: importHelp,
		Example: "  polity runs import review.polity", Args: args(cobra.ExactArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return fault.Invalid.New("%s: %w", args[0], err)
		}
		var taken polity.Archive
		err = a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) (err error) {
			taken, err = n.Import(ctx, path)
			return err
		})
		if err != nil {
			return err
		}
		return a.printArchive(taken, "imported", output.value)
	}
	return cmd
}

const verifyHelp = `Check a file that "polity runs export" wrote, without a state folder.

The run's log has to be one chain of hashes that tells of one run from its opening on, the
head of the file has to say what the log does, and every document has to be there and be what
its digest says. The head that is printed stands for all of it: two files with the same head
hold the same run. Nobody signs it: compare it with what the one who exported it was told.`

func (a *app) newRunsVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Check that a file that was exported is whole", Long: verifyHelp,
		Example: "  polity runs verify review.polity", Args: args(cobra.ExactArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		found, err := engine.Verify(args[0])
		if err != nil {
			return err
		}
		return a.printArchive(found, "whole", output.value)
	}
	return cmd
}

func (a *app) printArchive(r polity.Archive, done, form string) error {
	if form == "json" {
		return a.writeJSON(r)
	}
	return a.outf("%s: %s: %s of %s, %s, %s, %s\nhead %s\n", clean(string(r.Run)), done, r.Status, clean(r.Agent),
		count(r.Events, "event"), count(len(r.Blobs), "document"), "release "+r.Release[:12], r.Head)
}
