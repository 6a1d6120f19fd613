package engine

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/outside"
	"polity.run/internal/run"
	"polity.run/message"
)

// Door is where agents in other processes connect.
type Door struct {
	// Listen is HOST:PORT; "" is where the door was before, or else a free port of this machine.
	Listen string
	// Cert and Key are files with a certificate and its key, PEM. Without them a door that other machines reach has one of its own, in the state folder.
	Cert, Key string
	// Hub is a NATS server or cluster of one's own, by its port for leaf nodes, through which agents of the organization HubOrg reach the door as well; nil for
	// nothing. Who speaks there the hub alone knows: links hold as far as it gives each agent the rights of Engine.Rights and no others.
	Hub    *NATS
	HubOrg string
	// Signed has nothing taken of the agents of HubOrg that they have not signed with keys of their credentials: who holds none cannot speak as one of them, whatever
	// the hub lets them do.
	Signed bool
}

func (c *catalog) compileRemote(r *release, e *entry) {
	def := e.def.Remote
	timeout := time.Duration(def.Timeout)
	e.program.Work = run.Work{Class: def.Effect, Timeout: timeout}
	org := r.doc.Name
	e.begin = func(ctx context.Context, m polity.Message, done func(json.RawMessage, error)) {
		m.Deadline = time.Now().Add(timeout)
		c.boxes.Ask(ctx, org, m, done)
	}
	e.askLive = func(ctx context.Context, m message.Envelope, until time.Time) (json.RawMessage, error) {
		return c.boxes.AskLive(ctx, org, m, until)
	}
}

// openGate opens the door for the organizations that are installed.
func (e *Engine) openGate(ctx context.Context, cfg Config) error {
	c := outside.Config{Listen: cfg.Door.Listen, Log: cfg.Log, Send: e.Send, Ask: e.askOne, Wait: e.part.Wait, Audit: e.audit, Signed: cfg.Door.Signed}
	if cfg.Door.Hub != nil {
		c.Hub = &bus.Hub{Server: *cfg.Door.Hub, Account: cfg.Door.HubOrg}
	}
	c.TLS = func(listen string) (*tls.Config, string, error) { return cfg.Door.tls(e.state, listen) }
	var err error
	if e.gate, err = outside.Open(ctx, e.bus, &e.catalog.boxes, c); err != nil {
		return err
	}
	return e.link(ctx)
}

// askOne asks one agent.
func (e *Engine) askOne(ctx context.Context, m message.Envelope) (message.Envelope, error) {
	_, answers, err := e.Ask(ctx, m, message.Join{})
	if err != nil {
		return message.Envelope{}, err
	}
	return answers[0], nil
}

// link has the door, if there is one, let agents in by the links of the organizations that are installed: there is no other list of these.
func (e *Engine) link(ctx context.Context) error {
	if e.gate == nil {
		return nil
	}
	enlisted, err := e.Enlisted(ctx)
	if err != nil {
		return err
	}
	all := make(map[string]*agent.Release, len(enlisted))
	for name, d := range enlisted {
		r, err := e.catalog.release(d)
		if err != nil {
			return err
		}
		all[name] = &r.doc
	}
	return e.gate.Link(all)
}

var errNoDoor = fault.Unavailable.New("this process has no door for agents outside; polity bus serve has one")

// Admit lets the holder of a key in, as an agent of an installed organization, or as an operator if name is ""; org may be "" if there is one only.
// Only the public half of the key is asked for.
func (e *Engine) Admit(ctx context.Context, org string, name polity.AgentName, key string, life time.Duration) (polity.Admission, error) {
	if e.gate == nil {
		return polity.Admission{}, errNoDoor
	}
	return e.gate.Issue(ctx, org, name, key, life)
}

// Revoke ends all credentials of an agent, cuts it, and returns how many there were.
func (e *Engine) Revoke(ctx context.Context, org string, name polity.AgentName) (int, error) {
	if e.gate == nil {
		return 0, errNoDoor
	}
	return e.gate.Revoke(ctx, org, name)
}

// Rights are what an agent in another process may publish and subscribe, by its links, as nats-server's configuration has them: for a hub that is to hold it to
// them.
func (e *Engine) Rights(_ context.Context, org string, name polity.AgentName) (string, error) {
	if e.gate == nil {
		return "", errNoDoor
	}
	publish, subscribe, err := e.gate.Rights(org, name)
	return permissions(publish, subscribe), err
}

// Joined says whether the door is connected to its hub.
func (e *Engine) Joined() bool { return e.gate != nil && e.gate.Joined() }

// Outside are the agents in other processes of all installed organizations.
func (e *Engine) Outside(context.Context) ([]polity.Presence, error) {
	if e.gate == nil {
		return nil, errNoDoor
	}
	return e.gate.Agents(), nil
}

// Refused returns up to most of what was refused to agents, and to whoever pretended to be one, after a position, in order: by the broker and by the engine.
func (e *Engine) Refused(ctx context.Context, after uint64, most int) ([]polity.Refusal, error) {
	return outside.ReadRefused(ctx, e.bus, after, most)
}

// DoorURL is where agents outside connect; "" without a door.
func (e *Engine) DoorURL() string {
	if e.gate == nil {
		return ""
	}
	return e.gate.URL()
}
