package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/internal/access"
)

const accessHelp = `API keys: who may come in, and as what.

  viewer    reads
  operator  reads; starts, steers and ends runs; sends messages and events
  approver  reads; answers questions to people
  admin     what an operator does; applies and deletes organizations. With a role in all of them: also what concerns the node

A role is for one organization, as in shop=operator, or for all of them, as in viewer. No role has all rights: who manages an organization does
not for that answer its questions. The user who runs the node has all of them.`

func (a *app) newAccess() *cobra.Command {
	cmd := &cobra.Command{
		Use: "access", Short: "API keys, and who did what", Long: accessHelp, Args: noSubcommand, RunE: help,
		Example: "  polity access create ci --role shop=operator --expires 720h > ci.token\n  polity access list\n  polity access log",
	}
	cmd.AddCommand(a.newAccessCreate(), a.newAccessList(), a.newAccessRevoke(), a.newAccessLog())
	return cmd
}

func (a *app) newAccessCreate() *cobra.Command {
	var roles []string
	var life time.Duration
	cmd := &cobra.Command{
		Use: "create NAME --role [ORG=]ROLE...", Short: "Make an API key", Args: args(cobra.ExactArgs(1)),
		Long:    "Make an API key, and print its token. It is shown once: what is kept of it is a hash.",
		Example: "  polity access create ci --role shop=operator --expires 720h > ci.token\n  polity access create ann --role shop=approver --role viewer",
	}
	cmd.Flags().StringArrayVar(&roles, "role", nil, "viewer, operator, approver or admin, of one organization as in shop=operator; may be given more than once")
	cmd.Flags().DurationVar(&life, "expires", 0, "time after which the key is no longer good, as in 720h (default never)")
	output := outputFlag(cmd, "text: the token", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(roles) == 0 {
			return usagef("--role is missing: it says what the key is good for, as in --role shop=operator")
		}
		q := client.NewKey{Name: args[0], Life: polity.Duration(life)}
		for _, text := range roles {
			g, err := access.ParseGrant(text)
			if err != nil {
				return err
			}
			q.Grants = append(q.Grants, client.Grant{Org: g.Org, Role: string(g.Role)})
		}
		var made client.CreatedKey
		err := a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) (err error) {
			made, err = n.CreateKey(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(made)
		}
		a.screen.say("note: key %s of %s; its token is not shown again; to end it: polity access revoke %s", made.Key.ID, clean(made.Key.Name), made.Key.ID)
		return a.outf("%s\n", made.Token)
	}
	return cmd
}

func (a *app) newAccessList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List API keys", Long: "List API keys, also those that are revoked or have run out, with when they were used last.",
		Args: args(cobra.NoArgs), Example: "  polity access list\n  polity access list -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var keys []client.AccessKey
		err := a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) (err error) {
			keys, err = n.Keys(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(client.AccessKeys{Keys: keys})
		}
		if len(keys) == 0 {
			a.screen.say("there are no API keys; the user who runs the node needs none")
			return nil
		}
		rows := [][]string{{"KEY", "NAME", "ROLES", "STATE", "USED", "MADE BY"}}
		for _, k := range keys {
			rows = append(rows, []string{k.ID, clean(k.Name), clean(rolesText(k.Grants)), keyState(&k, time.Now()), whenever(k.Used), clean(k.By)})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

func rolesText(grants []client.Grant) string {
	list := make([]string, len(grants))
	for i, g := range grants {
		list[i] = g.Org + "=" + g.Role
	}
	return strings.Join(list, ",")
}

func keyState(k *client.AccessKey, now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case k.Until.IsZero():
		return "good"
	case now.Before(k.Until):
		return "until " + moment(k.Until)
	default:
		return "run out"
	}
}

func whenever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return moment(t)
}

func (a *app) newAccessRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke KEY", Short: "End an API key", Args: args(cobra.ExactArgs(1)),
		Long:    "End an API key, and the sessions of browsers that were begun with it, at once. KEY is its ID, or the beginning of that.",
		Example: "  polity access revoke 3fa9c1d2e4b50718",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) error {
				k, err := n.RevokeKey(ctx, args[0])
				if err != nil {
					return err
				}
				return a.outf("%s revoked: %s\n", k.ID, clean(k.Name))
			})
		},
	}
}

func (a *app) newAccessLog() *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use: "log", Short: "List who changed what, or was not allowed to", Args: args(cobra.NoArgs),
		Long:    "List who changed what through a door, or wanted to and was not allowed: the newest last. What only reads is not kept.",
		Example: "  polity access log\n  polity access log --limit 1000 -o json",
	}
	cmd.Flags().IntVar(&most, "limit", 100, "the newest of them")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if most < 1 {
			return usagef("--limit: want 1 or more")
		}
		list := []client.AccessRecord{}
		err := a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) error {
			list = list[:0]
			for after := uint64(0); ; {
				page, err := n.AccessLog(ctx, after, 1000)
				if err != nil || len(page) == 0 {
					return err
				}
				after = page[len(page)-1].Seq
				list = append(list, page...)
				list = list[max(0, len(list)-most):]
			}
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(client.AccessLog{Records: list})
		}
		for i := range list {
			if err := a.outf("%s\n", accessText(&list[i])); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func accessText(r *client.AccessRecord) string {
	word := "allowed"
	if !r.Decision.Allowed {
		word = "denied "
	}
	about := strings.Trim(strings.Join([]string{r.Object.Org, r.Object.Run, r.Object.Key}, " "), " ")
	return fmt.Sprintf("%s  %s  %s  %s  %s  %s", moment(r.At), word, clean(r.Name), clean(r.Asked), clean(about), clean(r.Decision.Why))
}

func (a *app) newConsole() *cobra.Command {
	return &cobra.Command{
		Use: "console", Short: "Print a link that opens the console", Args: args(cobra.NoArgs),
		Long:    "Print a link that opens the console of the server that is asked. It is good once, for 10 minutes.",
		Example: "  polity console\n  polity console --context prod",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withNode(cmd.Context(), a.connect, func(ctx context.Context, n node) error {
				r, ok := n.(*remote)
				if !ok {
					return fault.Unavailable.New("no server serves the state folder; polity up does")
				}
				link, err := r.Link(ctx)
				if err != nil {
					return err
				}
				return a.outf("%s\n", link)
			})
		},
	}
}
