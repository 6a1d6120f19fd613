package cli

import (
	"github.com/spf13/cobra"

	"polity.run/engine"
)

func (a *app) newState() *cobra.Command {
	cmd := &cobra.Command{
		Use: "state", Short: "Look at the state folder", Long: "Look at the state folder.", Example: "  polity state usage",
		Args: noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newStateUsage())
	return cmd
}

const stateUsageHelp = `Say what takes how much room in the state folder, the largest first.

log                      what happened to all runs
documents                releases, files that they pin, large inputs and outputs
checkpoints and trails   a cache: it is made again from the log
memory, fact, ...        what agents remember, and what they agreed on
keys                     keys of persons, and the master key if it lies here

The files are added up as they lie there; a node may serve the folder meanwhile.`

func (a *app) newStateUsage() *cobra.Command {
	cmd := &cobra.Command{
		Use: "usage", Short: "Say what takes how much room", Long: stateUsageHelp, Args: args(cobra.NoArgs),
		Example: "  polity state usage\n  polity state usage --state /var/lib/polity -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		dir, err := a.stateDir()
		if err != nil {
			return err
		}
		room, err := engine.Room(dir)
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"parts": room})
		}
		rows := make([][]string, 0, len(room)+1)
		var all uint64
		for _, r := range room {
			all += uint64(r.Bytes)
			rows = append(rows, []string{clean(r.Part), bytesText(uint64(r.Bytes)), count(r.Files, "file")})
		}
		rows = append(rows, []string{"all", bytesText(all), ""})
		return a.outf("%s", table(rows))
	}
	return cmd
}
