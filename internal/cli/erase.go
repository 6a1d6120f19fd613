package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
)

const eraseHelp = `Erase the data of a person.

What a run reads and writes is enciphered with a person's key if the run was started with --subject, or if its skill
names the field of the input that says whose data it is (subject: in the manifest). This command destroys that key:
inputs, outputs, results and the words of faults of all these runs can never be read again, here or in any backup.
That the runs were, when, and how they ended, stays, and the log's chain stays whole. What the runs remembered is
forgotten, and everything that was concluded from it.

A run that has not ended is in the way: --cancel cancels it first. After a new run of the same person there is a new key.`

func (a *app) newErase() *cobra.Command {
	var q client.Erase
	cmd := &cobra.Command{
		Use: "erase --subject ID", Short: "Erase the data of a person", Long: eraseHelp, Args: args(cobra.NoArgs),
		Example: "  polity erase --subject customer-17 --reason \"asked on 3 March, ticket 812\"\n  polity erase --subject customer-17 --cancel -o json",
	}
	cmd.Flags().StringVar(&q.Subject, "subject", "", "the person, as --subject or the input's field named them")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why; it stays in the log, so name nobody in it")
	cmd.Flags().BoolVar(&q.Cancel, "cancel", false, "cancel runs of that person that have not ended, and wait for them")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if q.Subject == "" {
			return usagef("say whose data is erased: --subject ID")
		}
		var done polity.Erasure
		err := a.with(cmd.Context(), func(ctx context.Context, n node) (err error) {
			done, err = n.Erase(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(done)
		}
		return a.outf("erased: %s%s%s; key %s is destroyed\n", count(len(done.Runs), "run"), cancelledText(len(done.Cancelled)),
			rememberedText(done.Records), done.Key)
	}
	return cmd
}

func cancelledText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d cancelled for it)", n)
}

func rememberedText(n int) string {
	if n == 0 {
		return ""
	}
	return ", " + count(n, "remembered record")
}

const keysHelp = `Look after the keys that persons' data is enciphered with.

They lie in the folder keys of the state folder, a file each, wrapped by a master key: the one in POLITY_MASTER_KEY (64
characters of hex) or in the file that POLITY_MASTER_KEY_FILE names, or else in keys/master, where it is made when it
is first needed. A backup of the state holds no keys: copy the folder by yourself, to where old copies are overwritten, for
an old copy of a key is a way around its destruction.

With the log on a NATS server (--nats) the keys lie there too, wrapped by the master key of the environment, which never does: without one, data
of a person is refused. Every machine that the node may run on needs it.`

func (a *app) newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Look after the keys that persons' data is enciphered with", Long: keysHelp,
		Example: "  polity keys rotate\n  polity keys rotate --to /etc/polity/master-2", Args: noSubcommand, RunE: help,
	}
	cmd.AddCommand(a.newKeysRotate())
	return cmd
}

const keysRotateHelp = `Wrap all keys by another master key.

The data stays as it is. The new master key is made in keys/master, or is the one in the file that --to names, which
POLITY_MASTER_KEY_FILE has to name from then on. When the old master key is destroyed, old copies of keys that were destroyed
since mean nothing any more. What was cut off is finished by the same command. No node may serve the state folder, nor, on
any machine, a log on a NATS server; for one of these --to is needed.`

func (a *app) newKeysRotate() *cobra.Command {
	to := ""
	cmd := &cobra.Command{
		Use: "rotate", Short: "Wrap all keys by another master key", Long: keysRotateHelp, Args: args(cobra.NoArgs),
		Example: "  polity keys rotate\n  openssl rand -hex 32 > /etc/polity/master-2 && polity keys rotate --to /etc/polity/master-2",
	}
	cmd.Flags().StringVar(&to, "to", "", "file with the new master key, 64 characters of hex")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := a.stateDir()
		if err != nil {
			return err
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		n, err := engine.RotateKeys(ctx, a.onNATS(engine.Config{State: dir, Log: a.logger()}), to)
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]int{"keys": n})
		}
		if to != "" && os.Getenv("POLITY_MASTER_KEY_FILE") != to {
			a.screen.say("note: from now on set POLITY_MASTER_KEY_FILE=%s", clean(strings.TrimSpace(to)))
		}
		return a.outf("%s wrapped by the new master key\n", count(n, "key"))
	}
	return cmd
}
