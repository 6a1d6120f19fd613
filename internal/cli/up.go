package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/console"
	"polity.run/internal/gateway/door"
	"polity.run/internal/gateway/rest"
	"polity.run/internal/oidc"
)

const upHelp = `Serve the state folder: its runs, the organizations of a folder, an API and a console, in one process.

DIR, by default the folder where you are, holds manifests: polity.yaml, other *.yaml that begin with "polity:" (scenarios do not count),
and one folder deep the same. They are applied, and again when a file of DIR changes. One that is wrong is told with file and line, and what was there before
stays. One that is taken away stays installed until "polity delete". What the manifests watch ("on:") is watched.

Unfinished runs go on. Every other command with this state folder asks this process.

Ctrl-C and SIGTERM stop it: it says that it is not ready, serves for --drain, lets nothing new in, writes down what is in flight and exits with 0; runs go on
with the next start. A second signal leaves at once.

With --nats the log, documents and keys are on a NATS server or cluster of one's own: see polity bus setup --help.

Settings come from flags, then the environment (POLITY_LISTEN for --listen), then the file polity.toml; see: polity config explain.`

const upExample = `  polity up
  polity up teams --listen 127.0.0.1:0
  polity up /srv/polity/teams --listen 0.0.0.0:7654 --tls own --host polity.example.com`

// upDefault is where the node is reached if nothing else is said.
const upDefault = "127.0.0.1:7654"

func (a *app) newUp() *cobra.Command {
	u := &server{app: a}
	cmd := &cobra.Command{
		Use: "up [DIR]", Short: "Serve organizations, an API and a console", Long: upHelp, Args: args(cobra.MaximumNArgs(1)), Example: upExample,
	}
	u.flags(cmd)
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
	cfg    door.Config
	tls    choice
	issuer oidc.Config
	grants []string
	agents engine.Door
	atOnce int
	drain  time.Duration // between the signal to stop and the end of what is served
	dir    string

	node *local
	door *door.Door
}

// flags adds the settings of a server.
func (u *server) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&u.cfg.Listen, "listen", upDefault, "HOST:PORT of the API and the console; port 0 is a free one")
	f.StringArrayVar(&u.cfg.Hosts, "host", nil, "name by which the server is reached, beside those of its certificate; may be given more than once")
	u.tls = choice{allowed: []string{door.TLSOwn, door.TLSOff}}
	f.Var(&u.tls, "tls", "a certificate of the node's own, or none where something before it has TLS")
	f.StringVar(&u.cfg.Cert, "tls-cert", "", "file of the certificate, PEM; it is read again when it changes")
	f.StringVar(&u.cfg.Key, "tls-key", "", "file of its key, PEM")
	f.StringVar(&u.agents.Listen, "agents-listen", "", "HOST:PORT for agents in other processes (default where it was, or a free port of 127.0.0.1)")
	f.IntVar(&u.atOnce, "at-once", atOnceDefault, "most runs at a time of what an organization watches")
	f.DurationVar(&u.drain, "drain", 0, "time for which requests are still served after the signal to stop, while /readyz says 503 already, up to 10m")
	f.StringVar(&u.issuer.Issuer, "oidc-issuer", "", "URL of an issuer of OpenID Connect whose tokens are believed (default none)")
	f.StringVar(&u.issuer.Audience, "oidc-audience", "", "for whom its tokens have to be")
	f.StringVar(&u.issuer.NameClaim, "oidc-name-claim", "email", "claim that names people")
	f.StringArrayVar(&u.grants, "oidc-grant", nil, "role by a claim, as in groups=ops:shop=operator or groups=root:*=admin; may be given more than once")
}

// settings checks what the flags say, and makes of it what a door needs.
func (u *server) settings() error {
	u.cfg.TLS = u.tls.value
	if u.atOnce < 1 || u.atOnce > atOnceMax {
		return usagef("--at-once: want 1 to %d", atOnceMax)
	}
	if u.drain < 0 || u.drain > drainMax {
		return usagef("--drain: want 0 to %s", drainMax)
	}
	if u.issuer.Issuer == "" {
		if u.issuer.Audience != "" || len(u.grants) > 0 {
			return usagef("--oidc-audience and --oidc-grant go with --oidc-issuer")
		}
		return nil
	}
	for _, text := range u.grants {
		g, err := oidc.ParseGrant(text)
		if err != nil {
			return err
		}
		u.issuer.Grants = append(u.issuer.Grants, g)
	}
	v, err := oidc.New(u.issuer)
	u.cfg.Issuer = v
	return err
}

func (u *server) run(ctx context.Context) (err error) {
	if err := u.settings(); err != nil {
		return err
	}
	if info, err := os.Stat(u.dir); err != nil || !info.IsDir() {
		return fault.NotFound.New("%s is no folder; polity up serves the manifests of one", u.dir)
	}
	if at, err := u.elsewhere(); err != nil || at != nil {
		return errors.Join(err, usagef("polity up serves here, and --server, a context or POLITY_SERVER names a server elsewhere: leave it out; see: polity context list"))
	}
	dir, err := u.stateDir()
	if err != nil {
		return err
	}
	ctx, done := u.interruptible(ctx)
	defer done()
	e, err := u.take(ctx, dir)
	if err != nil {
		return err
	}
	u.node = &local{Engine: e}
	defer func() {
		stop := u.leaveAtSecond()
		err = errors.Join(err, u.node.Close())
		stop()
		if err == nil {
			u.screen.say("note: stopped; what runs goes on with the next start")
		}
	}()
	if err := u.open(ctx); err != nil {
		return err
	}
	desk := &desk{server: u, dir: u.dir, applied: map[string]*seat{}}
	defer desk.close()
	desk.look(ctx)
	if err := u.greet(); err != nil {
		return err
	}
	desk.watch(ctx)
	u.drained(ctx)
	return e.Err() // nil if it was stopped as it was meant to be
}

// take takes the state folder. A command that has it for a moment is waited for, and so is a server that is stopping.
func (u *server) take(ctx context.Context, dir string) (*engine.Engine, error) {
	deadline := time.Now().Add(connectMax)
	for {
		e, err := engine.Open(ctx, u.onNATS(engine.Config{
			State: dir, Sync: engine.Sync(u.sync.value), View: true, Archive: u.archives, Retain: true, KeepLog: u.keepLog, Door: &u.agents, Log: u.logger(), Telemetry: true,
			Version: programVersion(), ViewDSN: u.dsn,
		}))
		if !errors.Is(err, fault.Conflict) {
			return e, err
		}
		if time.Now().After(deadline) {
			return nil, fault.Conflict.New("%w; end it first, or name another state folder with --state", err)
		}
		select {
		case <-time.After(connectStep):
		case <-ctx.Done():
			return nil, fault.Cancelled.New("up: %w", context.Cause(ctx))
		}
	}
}

// drained still serves for a while, if the node was told to stop, and says that it is not ready.
func (u *server) drained(ctx context.Context) {
	if u.drain == 0 || ctx.Err() == nil {
		return
	}
	u.door.Drain()
	u.screen.say("note: not ready any more; serves for another %s", u.drain)
	defer u.leaveAtSecond()()
	select {
	case <-time.After(u.drain):
	case <-u.node.Down():
	}
}

// leaveAtSecond ends the process at once with the next signal, until the function is called.
func (u *server) leaveAtSecond() func() {
	done := make(chan struct{})
	go func() {
		select {
		case s := <-u.signals:
			u.screen.say("polity: left at once (%s)", s)
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return func() { close(done) }
}

// open opens the door, and serves behind it what there is.
func (u *server) open(ctx context.Context) error {
	u.cfg.Log = u.logger()
	d, err := door.Open(ctx, u.node.Engine, u.cfg)
	if errors.Is(err, fault.Unavailable) {
		return fault.Unavailable.New("%w; --listen names another address, and 127.0.0.1:0 a free port", err)
	}
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

// greet says where everything is, and what to do next.
func (u *server) greet() error {
	link, err := u.door.Link()
	if err != nil {
		return err
	}
	orgs, err := u.node.Engine.Orgs(context.Background())
	if err != nil {
		return err
	}
	ask := "polity new review && polity apply review"
	if len(orgs) > 0 {
		ask = fmt.Sprintf("polity ask %s \"...\"", orgs[0].Main)
	}
	log := ""
	if u.nats.URL != "" {
		log = "log      " + u.nats.URL + "\n"
	}
	return u.outf("console  %s\n         (the link is good once, for 10 minutes; polity console prints another one)\napi      %s/v1\nagents   %s\nstate    %s\n%s\n"+
		"next     polity get\n         %s\n         polity runs list\n", link, u.door.URL(), u.node.DoorURL(), u.node.State(), log, ask)
}

const (
	drainMax  = 10 * time.Minute
	lookEvery = time.Second // between two looks at a folder of manifests
)
