package cli

import (
	"context"
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/console"
	"polity.run/internal/gateway/door"
	"polity.run/internal/gateway/rest"
)

const upHelp = `Serve the state folder: its runs, the organizations of a folder, an API and a console, in one process.

DIR, by default the folder where you are, holds manifests: polity.yaml, other *.yaml that begin with "polity:", and one folder deep the same.
They are applied, and again when they change. One that is wrong is told with file and line, and what was there before stays.

What the manifests watch ("on:") is watched. Unfinished runs go on.

SIGTERM and Ctrl-C stop it: nothing new is let in, what is in flight is written down, runs go on with the next start, and the exit code is 0. A second signal
leaves at once.`

// upDefault is where the node is reached if nothing else is said.
const upDefault = "127.0.0.1:7654"

func (a *app) newUp() *cobra.Command {
	u := &server{app: a}
	cmd := &cobra.Command{
		Use: "up [DIR]", Short: "Serve organizations, an API and a console", Long: upHelp, Args: args(cobra.MaximumNArgs(1)),
		Example: "  polity up\n  polity up teams --listen 127.0.0.1:0",
	}
	cmd.Flags().StringVar(&u.listen, "listen", upDefault, "HOST:PORT of the API and the console")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		u.dir = "."
		if len(args) == 1 {
			u.dir = args[0]
		}
		return u.run(cmd.Context())
	}
	return cmd
}

// server is a node that serves until it is stopped.
type server struct {
	*app
	listen string
	dir    string

	node *local
	door *door.Door
}

func (u *server) run(ctx context.Context) (err error) {
	dir, err := u.stateDir()
	if err != nil {
		return err
	}
	ctx, done := u.interruptible(ctx)
	defer done()
	e, err := engine.Open(ctx, engine.Config{
		State: dir, Sync: engine.Sync(u.sync.value), View: true, Archive: u.archives, Retain: true, Door: &engine.Door{}, Log: u.logger(), Telemetry: true,
		Version: programVersion(), ViewDSN: u.dsn,
	})
	if errors.Is(err, fault.Conflict) {
		return fault.Conflict.New("%w; end it first", err)
	}
	if err != nil {
		return err
	}
	u.node = &local{Engine: e}
	defer closeInto(&err, u.node)
	if err := u.open(ctx); err != nil {
		return err
	}
	if err := u.greet(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil // as it was meant to end
	case <-e.Down():
		return e.Err()
	}
}

// open opens the door, and serves behind it what there is.
func (u *server) open(ctx context.Context) error {
	d, err := door.Open(ctx, u.node.Engine, door.Config{Listen: u.listen, Log: u.logger()})
	if err != nil {
		return err
	}
	u.door = d
	page := http.NewServeMux()
	page.Handle("GET /console/", http.StripPrefix("/console", console.Handler()))
	page.Handle("GET /{$}", http.RedirectHandler("/console/", http.StatusFound))
	// The page itself holds nothing that is anybody's: what it shows it asks for, as who is logged in.
	d.Serve(page, door.Rules{"GET /console/": {Verb: access.Public}, "GET /{$}": {Verb: access.Public}})
	u.node.begin(rest.New(u.node.Engine, d, u.logger()))
	return nil
}

// greet says where everything is.
func (u *server) greet() error {
	link, err := u.door.Link()
	if err != nil {
		return err
	}
	return u.outf("console  %s (this link is good once, for 10 minutes)\napi      %s/v1\nagents   %s\n", link, u.door.URL(), u.node.DoorURL())
}
