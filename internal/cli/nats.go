package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
)

// Whether the broker holds agents to their links.
const (
	linksEnforced   = "enforced"
	linksHub        = "hub"
	linksSigned     = "signed"
	linksUnenforced = "unenforced"
)

// natsFlags are where a NATS server of one's own is. Every command that opens a node knows them; help names the first alone.
func (a *app) natsFlags(flags *pflag.FlagSet) {
	n := &a.nats
	for _, f := range []struct {
		to       *string
		flag, is string
	}{
		{&n.URL, "nats", "NATS server or cluster that the log is on, as nats://host:4222 (default $POLITY_NATS, or in the state folder); see: polity bus setup --help"},
		{&n.Creds, "nats-creds", "file with a user's JWT and seed for the NATS server"},
		{&n.NKey, "nats-nkey", "file with a user's seed for the NATS server"},
		{&n.User, "nats-user", "user of the NATS server; its password is $POLITY_NATS_PASSWORD"},
		{&n.CA, "nats-ca", "file with the certificates that the NATS server's is held against, PEM"},
		{&n.Cert, "nats-cert", "file with the certificate for the NATS server, PEM"},
		{&n.Key, "nats-key", "file with its key, PEM"},
		{&n.Domain, "nats-domain", "JetStream domain of the account on the NATS server"},
	} {
		flags.StringVar(f.to, f.flag, "", f.is)
		flags.Lookup(f.flag).Hidden = f.flag != "nats"
	}
	n.Password, n.Token = os.Getenv("POLITY_NATS_PASSWORD"), os.Getenv("POLITY_NATS_TOKEN")
	a.links = choice{value: linksEnforced, allowed: []string{linksEnforced, linksSigned, linksHub, linksUnenforced}}
	flags.Var(&a.links, "links", "start though the NATS server lets somebody past the links of agents")
	flags.Lookup("links").Hidden = true
}

// onNATS has a node have its log where the flags say.
func (a *app) onNATS(cfg engine.Config) engine.Config {
	if a.nats.URL != "" {
		cfg.NATS, cfg.Unenforced = &a.nats, a.links.value == linksUnenforced
	}
	return cfg
}

const natsHelp = `
The server and the credentials for it, which every command takes:

  --nats URL          nats://HOST:PORT or tls://HOST:PORT; several of a cluster with commas between
  --nats-creds FILE   a user's JWT and seed
  --nats-nkey FILE    a user's seed
  --nats-user NAME    a user, whose password is in $POLITY_NATS_PASSWORD
  --nats-ca FILE      certificates that the server's is held against
  --nats-cert FILE    the client's certificate, where the server wants one, with --nats-key FILE
  --nats-domain NAME  the JetStream domain of the account
  --links unenforced  start though the server lets in who gets past the links of agents

Each has a variable of the environment, as POLITY_NATS_CREDS for --nats-creds, and may stand in polity.toml: see polity config explain. A token is in
POLITY_NATS_TOKEN alone.
The state folder is a cache of what is on the server, and goes with one log for good. Data of persons needs a master key: see polity keys --help.`

// isState says whether something ran with a state folder, here or on a NATS server.
func (a *app) isState(dir string) bool {
	for _, name := range []string{"store", "nats"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return a.nats.URL != ""
}

// hubFlags are where a hub is.
func hubFlags(cmd *cobra.Command, hub *engine.NATS) {
	f := cmd.Flags()
	f.StringVar(&hub.URL, "hub", "", "NATS server whose leaf node the door is, as nats-leaf://hub:7422; needs --links")
	f.StringVar(&hub.Creds, "hub-creds", "", "file with a user's JWT and seed for it")
	f.StringVar(&hub.User, "hub-user", "", "a user of it; its password is $POLITY_HUB_PASSWORD")
	f.StringVar(&hub.CA, "hub-ca", "", "file with the certificates that the hub's is held against, PEM")
	hub.Password = os.Getenv("POLITY_HUB_PASSWORD")
}

// throughHub has a door's agents come through a hub, if the user knows what of links holds there.
func (a *app) throughHub(door *engine.Door, hub *engine.NATS, org string) error {
	if hub.URL == "" {
		if a.links.value == linksHub || a.links.value == linksSigned {
			return usagef("--links %s is about a hub: name it with --hub", a.links.value)
		}
		return nil
	}
	if a.links.value == linksEnforced {
		return fault.Denied.New("links not enforced: only the hub knows who speaks there. Say --links signed to take nothing but what agents have signed; or, if the hub gives each agent the rights that " +
			"polity bus rights prints, and nobody else any of them, --links hub; else --links unenforced")
	}
	door.Signed = a.links.value == linksSigned
	if hub.User == "" {
		hub.Password = ""
	}
	hub.URL = strings.ReplaceAll(hub.URL, "nats-leaf://", "nats://")
	door.Hub, door.HubOrg = hub, org
	return nil
}

const busRightsHelp = `Print what an agent in another process may publish and subscribe, by its links, as nats-server's configuration has it.

It is for a hub, whose user for the agent needs these rights and no others: see polity bus serve --hub. The door itself needs nothing of it.`

func (a *app) newBusRights() *cobra.Command {
	var org string
	cmd := &cobra.Command{
		Use: "rights AGENT", Short: "Print what an agent may publish and subscribe, for a hub", Long: busRightsHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity bus rights pricer",
	}
	cmd.Flags().StringVar(&org, "org", "", "of this organization (default the only one)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.bus(cmd.Context(), client.Bus{Do: client.BusRights, Org: org, Agent: polity.AgentName(args[0])}, func(answer client.OnBus) error {
			return a.out([]byte(answer.Rights))
		})
	}
	return cmd
}

const busSetupHelp = `Make on a NATS server what a node needs: its streams. Done twice it does nothing.

The account is to be the node's alone: whoever else has credentials for it reaches the log. Give the user of the node the rights that
--rights prints, and the server "sync_interval: always" in its jetstream block: otherwise a power cut takes what was acknowledged.
` + natsHelp

func (a *app) newBusSetup() *cobra.Command {
	var dry, rights bool
	cmd := &cobra.Command{
		Use: "setup", Short: "Make on a NATS server what a node needs", Long: busSetupHelp, Args: args(cobra.NoArgs),
		Example: "  polity bus setup --nats nats://hub:4222 --nats-creds polity.creds --dry-run\n  polity bus setup --nats nats://a:4222,nats://b:4222 --nats-user admin --replicas 3\n  polity bus setup --rights",
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be done")
	cmd.Flags().BoolVar(&rights, "rights", false, "print the rights that the node's user needs, as nats-server's configuration has them")
	cmd.Flags().IntVar(&a.nats.Replicas, "replicas", 0, "servers that hold each stream, 1 to 5 (default 3 in a cluster, else 1; those that are there keep theirs)")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if rights {
			return a.out([]byte(engine.NATSRights(a.nats.Domain)))
		}
		if a.nats.URL == "" {
			return usagef("name the server with --nats")
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		points, err := engine.SetupNATS(ctx, a.nats, dry)
		if len(points) == 0 && err != nil {
			return err
		}
		return errors.Join(a.tellPoints(points, output.value == "json"), err) // what was done before it failed is done
	}
	return cmd
}

const busCheckHelp = `Say what a node has and has not on a NATS server, without changing anything.

  ok       it is there
  missing  a node does not start without it
  wanted   it is not there yet: polity bus setup makes it, and so does a node whose user may
  warning  a node starts, and a promise is weaker than with a log of its own

Is something missing, the exit code is 1. When a write is on the disk, only users of the server's system account are told: name one with
--system-creds, or --system-user and $POLITY_NATS_SYSTEM_PASSWORD.
` + natsHelp

func (a *app) newBusCheck() *cobra.Command {
	var system engine.NATS
	cmd := &cobra.Command{
		Use: "check", Short: "Say what a node has and has not on a NATS server", Long: busCheckHelp, Args: args(cobra.NoArgs),
		Example: "  polity bus check --nats nats://hub:4222 --nats-creds polity.creds\n  polity bus check --nats nats://hub:4222 --nats-creds polity.creds --system-creds sys.creds -o json",
	}
	cmd.Flags().StringVar(&system.Creds, "system-creds", "", "file with JWT and seed of a user of the system account")
	cmd.Flags().StringVar(&system.User, "system-user", "", "a user of the system account")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if a.nats.URL == "" {
			return usagef("name the server with --nats")
		}
		var asked *engine.NATS
		if system.Creds != "" || system.User != "" {
			system.URL, system.CA, system.Cert, system.Key = a.nats.URL, a.nats.CA, a.nats.Cert, a.nats.Key
			system.Password = os.Getenv("POLITY_NATS_SYSTEM_PASSWORD")
			asked = &system
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		points, err := engine.CheckNATS(ctx, a.nats, asked)
		if err != nil {
			return err
		}
		if err := a.tellPoints(points, output.value == "json"); err != nil {
			return err
		}
		missing := 0
		for _, p := range points {
			if p.State == engine.NATSMissing {
				missing++
			}
		}
		if missing > 0 {
			return fault.Failed.New("%s missing", count(missing, "thing"))
		}
		return nil
	}
	return cmd
}

// tellPoints prints what was found or done.
func (a *app) tellPoints(points []engine.NATSPoint, asJSON bool) error {
	if asJSON {
		return a.writeJSON(map[string]any{"points": points})
	}
	rows := [][]string{}
	for _, p := range points {
		rows = append(rows, []string{p.State, clean(p.What), clean(p.Text)})
	}
	return a.out([]byte(table(rows)))
}
