package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus"
	outside "polity.run/remote"
)

const busHelp = `Let agents in other processes in, and see what they were refused.

An agent of kind remote connects with credentials of its own, by any NATS client, and may say what its organization's links allow;
everything else is refused by the broker, and kept. What such an agent is asked waits while it is away.

The log and all that is written with it may be on a NATS server of one's own, or a cluster, with --nats: see polity bus setup.`

func (a *app) newBus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bus", Short: "Agents in other processes, and a NATS server of one's own", Long: busHelp, Args: noSubcommand, RunE: help,
		Example: "  polity bus serve shop.yaml\n  polity bus creds pricer\n  polity bus refused",
	}
	cmd.AddCommand(a.newBusServe(), a.newBusCreds(), a.newBusRevoke(), a.newBusRefused(), a.newBusRights(), a.newBusSetup(), a.newBusCheck())
	return cmd
}

const busServeHelp = `Install an organization, and serve the state folder with a door for agents in other processes, until it is interrupted.

"polity install" gives it other organizations, and other versions of them, while it serves: an agent that has other rights by that is cut and
comes back with these, and one whose rights are as they were goes on.

The door is where it was the last time, at first on a free port of this machine. --listen puts it elsewhere; one that other machines
reach has TLS, with a certificate of its own that agents get with their credentials, or with --cert and --key.
With --hub the door is a leaf node of a NATS server or cluster of one's own, and the organization's agents reach it through that, too, with the hub's
credentials. The log stays where it is. The door holds each sender to its links. Whether it is this sender --links says how to know:

  signed      by the signature of each message, with a key of the sender's credentials: others who may publish there are refused
  hub         the hub gives each agent the rights of polity bus rights, and nobody else any of them
  unenforced  it is not known

Runs that others start with this state folder are done here, and unfinished ones go on. On stdout is told which agents come and go,
and what is refused.`

func (a *app) newBusServe() *cobra.Command {
	var door engine.Door
	var hub engine.NATS
	cmd := &cobra.Command{
		Use: "serve MANIFEST", Short: "Serve the state folder with a door for agents in other processes", Long: busServeHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity bus serve shop.yaml\n  polity bus serve shop.yaml --listen 0.0.0.0:4222",
	}
	cmd.Flags().StringVar(&door.Listen, "listen", "", "HOST:PORT of the door (default where it was, or a free port of 127.0.0.1)")
	cmd.Flags().StringVar(&door.Cert, "cert", "", "file with the door's certificate, PEM")
	cmd.Flags().StringVar(&door.Key, "key", "", "file with its key, PEM")
	hubFlags(cmd, &hub)
	output := outputFlag(cmd, "text; json is a line for each event", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		m, err := a.load(args[0])
		if err != nil {
			return err
		}
		if err := a.throughHub(&door, &hub, m.Release.Name); err != nil {
			return err
		}
		dir, err := a.stateDir()
		if err != nil {
			return err
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		e, err := engine.Open(ctx, a.onNATS(engine.Config{State: dir, Agents: a.agents, Sync: engine.Sync(a.sync.value), Door: &door, Log: a.logger(), Telemetry: true, Version: programVersion()}))
		if errors.Is(err, fault.Conflict) {
			return fault.Conflict.New("%w; end it, or give the organization to it with polity install, if it has a door", err)
		}
		if err != nil {
			return err
		}
		l := &local{Engine: e}
		defer closeInto(&err, l)
		if _, err := l.Install(ctx, client.Install{Release: &m.Release, Files: m.Blobs, Enlist: true}); err != nil {
			return err
		}
		l.serve(a)
		a.screen.say("note: agents outside connect to %s; for their credentials: polity bus creds AGENT", l.DoorURL())
		w := &doorman{app: a, node: l, asJSON: output.value == "json", states: map[string]string{}, hub: hub.URL, joined: hub.URL == "", since: time.Now()}
		return w.watch(ctx)
	}
	return cmd
}

const doorEvery = 500 * time.Millisecond // between two looks at who is there

// doorman tells who comes and goes, and what is refused.
type doorman struct {
	*app
	node   *local
	asJSON bool
	states map[string]string
	after  uint64
	hub    string    // "" for none
	joined bool      // as it was told last
	since  time.Time // it is like that, or was looked for
	told   bool      // that it is not there
}

const hubWait = 3 * time.Second // before it is told that the hub is not there

// lookAtHub tells when the hub comes and goes.
func (d *doorman) lookAtHub() {
	joined := d.hub == "" || d.node.Joined()
	switch {
	case joined != d.joined:
		d.joined, d.since, d.told = joined, time.Now(), false
		if joined {
			d.screen.say("note: the hub %s is there: agents reach the door through it", clean(d.hub))
		}
	case !joined && !d.told && time.Since(d.since) > hubWait:
		d.told = true
		d.screen.say("note: the hub %s is not there; it is tried again. Is that its port for leaf nodes, and are the credentials and the CA right?", clean(d.hub))
	}
}

// doorEvent is what is told.
type doorEvent struct {
	At      time.Time        `json:"at"`
	Agent   *polity.Presence `json:"agent,omitempty"`
	Refused *polity.Refusal  `json:"refused,omitempty"`
}

func (d *doorman) watch(ctx context.Context) error {
	for { // what was refused earlier is not told again
		earlier, err := d.node.Refused(ctx, d.after, math.MaxInt32)
		if err != nil {
			return err
		}
		if len(earlier) == 0 {
			break
		}
		d.after = earlier[len(earlier)-1].Seq
	}
	t := time.NewTicker(doorEvery)
	defer t.Stop()
	for {
		if err := d.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done(): // as it was meant to end
			return d.look(context.WithoutCancel(ctx))
		case <-d.node.Down():
			return d.node.Err()
		case <-t.C:
		}
	}
}

func (d *doorman) look(ctx context.Context) error {
	d.lookAtHub()
	agents, err := d.node.Outside(ctx)
	if err != nil {
		return err
	}
	for _, p := range agents {
		who := p.Org + " " + string(p.Agent)
		if d.states[who] == p.State {
			continue
		}
		d.states[who] = p.State
		if err := d.tell(doorEvent{At: time.Now(), Agent: &p}); err != nil {
			return err
		}
	}
	refused, err := d.node.Refused(ctx, d.after, math.MaxInt32)
	if err != nil {
		return err
	}
	for _, r := range refused {
		d.after = r.Seq
		if err := d.tell(doorEvent{At: r.At, Refused: &r}); err != nil {
			return err
		}
	}
	return nil
}

func (d *doorman) tell(e doorEvent) error {
	switch {
	case d.asJSON:
		line, err := json.Marshal(e)
		if err != nil {
			return fault.Internal.New("write JSON: %w", err)
		}
		return d.out(append(line, '\n'))
	case e.Agent != nil:
		return d.outf("%s  %-8s %s\n", moment(e.At), e.Agent.State, clean(string(e.Agent.Agent)))
	default:
		return d.outf("%s  refused  %s\n", moment(e.At), refusalText(e.Refused))
	}
}

// refusalText words a refusal in a line.
func refusalText(r *polity.Refusal) string {
	who := string(r.Agent)
	if who == "" {
		who = "somebody"
	}
	text := who + " from " + r.From
	if r.From == "" {
		text = who
	}
	text += ": " + r.Verb
	if r.Subject != "" {
		text += " " + r.Subject
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	if r.Missed > 0 {
		text += fmt.Sprintf(" (and %d more before)", r.Missed)
	}
	return clean(text)
}

// bus asks the node with the door.
func (a *app) bus(ctx context.Context, q client.Bus, tell func(client.OnBus) error) error {
	return a.with(ctx, func(ctx context.Context, n node) error {
		answer, err := n.Bus(ctx, q)
		if err != nil {
			return err
		}
		return tell(answer)
	})
}

const busCredsHelp = `Write a file of credentials for an agent in another process.

The key is made here; its private half is in the file alone, which only you can read. The credentials hold for an hour, or for --for;
an agent that is connected renews them by itself. With --operator they are for tools as "nats micro", which may
ask what agents there are and nothing else; --seed writes the bare key that such tools want.`

func (a *app) newBusCreds() *cobra.Command {
	var org, file string
	var life time.Duration
	var operator, seed bool
	cmd := &cobra.Command{
		Use: "creds AGENT", Short: "Write a file of credentials for an agent in another process", Long: busCredsHelp, Args: args(cobra.MaximumNArgs(1)),
		Example: "  polity bus creds pricer\n  polity bus creds pricer --for 24h --file /run/pricer.creds\n  polity bus creds --operator --seed --file ops.nk",
	}
	cmd.Flags().StringVar(&org, "org", "", "of this organization (default the only one)")
	cmd.Flags().StringVar(&file, "file", "", "where it is written (default AGENT.creds)")
	cmd.Flags().DurationVar(&life, "for", 0, "how long they hold, 1m to 720h (default 1h)")
	cmd.Flags().BoolVar(&operator, "operator", false, "for tools that look at agents, instead of an agent")
	cmd.Flags().BoolVar(&seed, "seed", false, "write the bare private key")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if operator == (len(args) == 1) {
			return usagef("name an agent, or give --operator")
		}
		var name polity.AgentName
		if len(args) == 1 {
			if name = polity.AgentName(args[0]); name.Check() != nil {
				return usagef("%s", name.Check())
			}
		}
		if file == "" {
			file = "operator.creds"
			if name != "" {
				file = string(name) + ".creds"
			}
		}
		secret, public, err := bus.NewKey()
		if err != nil {
			return err
		}
		return a.bus(cmd.Context(), client.Bus{Do: client.BusAdmit, Org: org, Agent: name, Key: public, Life: polity.Duration(life)}, func(answer client.OnBus) error {
			c := outside.Credentials{Admission: *answer.Admitted, Seed: secret}
			if err := writeCredentials(c, file, seed); err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(map[string]any{"file": file, "key": public, "admitted": answer.Admitted})
			}
			return a.outf("%s holds until %s, at %s\n", clean(file), moment(c.Until), clean(c.URL))
		})
	}
	return cmd
}

func writeCredentials(c outside.Credentials, file string, bare bool) error {
	if !bare {
		return c.Write(file)
	}
	if err := os.WriteFile(file, []byte(c.Seed+"\n"), 0o600); err != nil {
		return fault.Denied.New("credentials: %w", err)
	}
	if err := os.Chmod(file, 0o600); err != nil { // it may have been there
		return fault.Denied.New("credentials: %w", err)
	}
	return nil
}

func (a *app) newBusRevoke() *cobra.Command {
	var org string
	var operator bool
	cmd := &cobra.Command{
		Use: "revoke AGENT", Short: "End all credentials of an agent, and cut it", Args: args(cobra.MaximumNArgs(1)),
		Example: "  polity bus revoke pricer\n  polity bus revoke --operator",
	}
	cmd.Flags().StringVar(&org, "org", "", "of this organization (default the only one)")
	cmd.Flags().BoolVar(&operator, "operator", false, "those of operators")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if operator == (len(args) == 1) {
			return usagef("name an agent, or give --operator")
		}
		var name string
		if len(args) == 1 {
			name = args[0]
		}
		return a.bus(cmd.Context(), client.Bus{Do: client.BusRevoke, Org: org, Agent: polity.AgentName(name)}, func(answer client.OnBus) error {
			return a.outf("%s revoked\n", count(answer.Revoked, "key"))
		})
	}
	return cmd
}

const busRefusedHelp = `List what agents were refused, by the broker and by the node itself, the newest last.

  connect    without credentials that count
  publish    on a subject to which no link leads, or a message that is too large
  subscribe  to what is not the agent's own
  reply      with a reply subject that is the server's
  misuse     of a link: a message that says it is another's, an answer to what another was asked

Up to 120 a minute are kept of each agent, the others are counted; together the newest 100,000 of 90 days.`

func (a *app) newBusRefused() *cobra.Command {
	var most int
	var of string
	cmd := &cobra.Command{
		Use: "refused", Short: "List what agents were refused", Long: busRefusedHelp, Args: args(cobra.NoArgs),
		Example: "  polity bus refused\n  polity bus refused --agent front -o json",
	}
	cmd.Flags().IntVar(&most, "limit", 100, "the newest of them")
	cmd.Flags().StringVar(&of, "agent", "", "of this agent alone")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if most < 1 {
			return usagef("--limit: want 1 or more")
		}
		list := []polity.Refusal{}
		err := a.with(cmd.Context(), func(ctx context.Context, n node) error {
			list = list[:0]
			for after := uint64(0); ; {
				answer, err := n.Bus(ctx, client.Bus{Do: client.BusRefused, After: after, Most: 1000})
				if err != nil || len(answer.Refused) == 0 {
					return err
				}
				for _, r := range answer.Refused {
					if after = r.Seq; of == "" || of == string(r.Agent) {
						list = append(list, r)
					}
				}
				list = list[max(0, len(list)-most):]
			}
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return a.writeJSON(map[string]any{"refused": list})
		}
		if len(list) == 0 {
			a.screen.say("nothing was refused")
		}
		for i := range list {
			if err := a.outf("%s  %s\n", moment(list[i].At), refusalText(&list[i])); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// sayAway says of a run that this process does itself that agents in other processes cannot answer meanwhile: it has no door.
func (o *opening) sayAway(n node) {
	if _, own := n.(*local); !own || o.request.Release == nil {
		return
	}
	var away []string
	for _, d := range o.request.Release.Agents {
		if d.Kind == agent.KindRemote {
			away = append(away, clean(string(d.Name)))
		}
	}
	if len(away) > 0 {
		o.screen.say("note: in other processes, which polity bus serve lets in: %s; what they are asked waits", strings.Join(away, ", "))
	}
}

func (a *app) newAgentsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List agents in other processes, and whether they are there", Args: args(cobra.NoArgs),
		Long: `List the agents in other processes of all organizations that are installed, and whether they are there:

  serving   it takes questions
  draining  it ends what it has, and takes nothing new
  away      what it is asked waits

ASKED are the questions since the node began to serve, LIVE those of them that are live, FAILED those that were refused, failed or not answered in time, TIME the mean from a question to its answer.`,
		Example: "  polity agents list\n  polity agents list -o json",
	}
	output := outputFlag(cmd, "text", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.bus(cmd.Context(), client.Bus{Do: client.BusAgents}, func(answer client.OnBus) error {
			if output.value == "json" {
				return a.writeJSON(map[string]any{"url": answer.URL, "agents": answer.Agents})
			}
			rows := [][]string{{"ORG", "AGENT", "STATE", "PROCESSES", "VERSIONS", "WAITING", "ASKED", "LIVE", "FAILED", "TIME", "CREDENTIALS"}}
			for _, p := range answer.Agents {
				until := "none"
				if p.Keys > 0 {
					until = "until " + moment(p.Until)
				}
				mean := ""
				if p.MeanTime > 0 {
					mean = time.Duration(p.MeanTime).Round(time.Microsecond).String()
				}
				rows = append(rows, []string{
					clean(p.Org), clean(string(p.Agent)), p.State, fmt.Sprint(p.Processes), clean(strings.Join(p.Versions, ",")), fmt.Sprint(p.Waiting),
					fmt.Sprint(p.Asked), fmt.Sprint(p.Live), fmt.Sprint(p.Failed), mean, until,
				})
			}
			return a.out([]byte(table(rows)))
		})
	}
	return cmd
}
