package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"polity.run/client"
	"polity.run/fault"
)

const readyHelp = `Ask a server whether it would admit a new run: the one that serves the state folder, or that of --server or a context.

The exit code is 0 if it would, and else 1: also if there is none, if it is stopping, or if its disk is full. It is meant for whoever looks after
containers that hold nothing but polity.`

func (a *app) newReady() *cobra.Command {
	return &cobra.Command{
		Use: "ready", Short: "Ask a server whether it is ready", Long: readyHelp, Args: args(cobra.NoArgs),
		Example: "  polity ready\n  polity ready --state /state\n  polity ready --context prod",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.asking(cmd.Context(), func(ctx context.Context, c *client.Client) error { return c.Ready(ctx) })
			if err != nil {
				return err
			}
			return a.outf("ready\n")
		},
	}
}

// server returns a client of the server that is to be asked. Unlike connect it never becomes one.
func (a *app) server() (*client.Client, error) {
	at, err := a.elsewhere()
	if err != nil {
		return nil, err
	}
	if r, ok := at.(*remote); ok {
		return r.Client, nil
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	c, err := client.Open(dir)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.Unavailable.New("no server serves the state folder %s; polity up does", dir)
	}
	return c, err
}

// asking calls what asks a server, until the first signal.
func (a *app) asking(ctx context.Context, ask func(context.Context, *client.Client) error) error {
	ctx, done := a.interruptible(ctx)
	defer done()
	c, err := a.server()
	if err != nil {
		return err
	}
	return ask(ctx, c)
}
