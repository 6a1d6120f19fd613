package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"polity.run/client"
)

const webhooksHelp = `Have other services told of what happens to runs, by signed requests (https://www.standardwebhooks.com).

A message that is not accepted is sent again, up to seven times within 43 minutes, and is dead then. "deliveries" lists what became of
messages, and "redeliver" sends dead ones again. Which services may ask for runs is said in manifests (on: webhook).`

func (a *app) newWebhooks() *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhooks", Short: "Tell other services of what happens", Long: webhooksHelp, Args: noSubcommand, RunE: help,
		Example: "  polity webhooks add ends https://example.com/polity --q 'kind:finished -status:completed'\n  polity webhooks deliveries ends --status dead\n  polity webhooks redeliver ends",
	}
	cmd.AddCommand(a.newWebhooksAdd(), a.newWebhooksList(), a.newWebhooksDeliveries(), a.newWebhooksRedeliver(), a.newWebhooksRemove())
	return cmd
}

func (a *app) newWebhooksAdd() *cobra.Command {
	var q client.NewWebhook
	cmd := &cobra.Command{
		Use: "add NAME URL", Short: "Tell a service, and print the secret that messages are signed with", Args: args(cobra.ExactArgs(2)),
		Long:    "Tell a service of what happens from now on, and print the secret that messages are signed with. It is shown once. One of the same name is replaced, and goes on where that was.",
		Example: "  polity webhooks add ends https://example.com/polity --org shop --q 'kind:finished -status:completed' > ends.secret",
	}
	f := cmd.Flags()
	f.StringVar(&q.Org, "org", "", "only of the runs of this organization (default of all)")
	f.StringVar(&q.Q, "q", "", "which changes, as in 'kind:finished -status:completed' (default all)")
	f.BoolVar(&q.Private, "private", false, "the address may be of the server's machine or its networks")
	output := outputFlag(cmd, "text: the secret", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.Name, q.URL = args[0], args[1]
		var made client.Webhook
		err := a.asking(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
			made, err = c.PutWebhook(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(made)
		}
		a.screen.say("note: the secret is not shown again")
		return a.outf("%s\n", made.Secret)
	}
	return cmd
}

func (a *app) newWebhooksList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List which services are told", Args: args(cobra.NoArgs), Example: "  polity webhooks list\n  polity webhooks list -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var list []client.Webhook
		err := a.asking(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
			list, err = c.Webhooks(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"webhooks": list})
		}
		if len(list) == 0 {
			a.screen.say("no service is told of anything; polity webhooks add does that")
			return nil
		}
		rows := [][]string{{"NAME", "URL", "ORG", "WHICH"}}
		for _, h := range list {
			rows = append(rows, []string{clean(h.Name), clean(h.URL), clean(h.Org), clean(h.Q)})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

func (a *app) newWebhooksDeliveries() *cobra.Command {
	var status string
	cmd := &cobra.Command{
		Use: "deliveries NAME", Short: "List what became of messages, the newest first", Args: args(cobra.ExactArgs(1)),
		Long:    "List what became of messages: the newest 100 that arrived, and the newest 400 that did not. A queued one is about to be sent again.",
		Example: "  polity webhooks deliveries ends\n  polity webhooks deliveries ends --status dead -o json",
	}
	cmd.Flags().StringVar(&status, "status", "", "only those that are delivered, dead or queued")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var list []client.Delivery
		err := a.asking(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
			list, err = c.Deliveries(ctx, args[0], status)
			return err
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"deliveries": list})
		}
		rows := [][]string{{"MESSAGE", "SENT", "STATUS", "ATTEMPTS", "PROBLEM"}}
		for _, d := range list {
			rows = append(rows, []string{clean(d.ID), moment(d.At), d.Status, fmt.Sprint(d.Attempts), clean(shorten(d.Problem, diffTextMax))})
		}
		return a.out([]byte(table(rows)))
	}
	return cmd
}

func (a *app) newWebhooksRedeliver() *cobra.Command {
	return &cobra.Command{
		Use: "redeliver NAME [MESSAGE...]", Short: "Send dead messages again", Args: args(cobra.MinimumNArgs(1)),
		Long:    "Send dead messages again, all of them or those that are named, each as it was and under the same Webhook-Id. A message that is named is sent again whatever became of it.",
		Example: "  polity webhooks redeliver ends\n  polity webhooks redeliver ends msg_ends_41.2",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				n, err := c.Redeliver(ctx, args[0], args[1:]...)
				if err != nil {
					return err
				}
				return a.outf("%s\n", count(n, "message")+" to be sent again; see: polity webhooks deliveries "+clean(args[0]))
			})
		},
	}
}

func (a *app) newWebhooksRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Tell a service no more", Args: args(cobra.ExactArgs(1)), Example: "  polity webhooks remove ends",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if err := c.DropWebhook(ctx, args[0]); err != nil {
					return err
				}
				return a.outf("%s: removed\n", clean(args[0]))
			})
		},
	}
}
