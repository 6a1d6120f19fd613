// Package outside is where agents in other processes and the runs of this one meet.
//
// It exists because such an agent is not trusted: it connects to a door with a key of its own, and may publish and subscribe to what its
// organization's links say and nothing else. The life of a question to one:
//
//	Ask -> its box, where it waits -> put on box.AGENT.request while the agent is there -> its answer, msg.AGENT.ASKER.inform -> done
//
// The box is no queue: a question is an effect of a run, which the kernel keeps, and asks again after a crash under the same ID. What an agent
// sends on its own becomes a run by Config.Send.
package outside

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/message"
	"polity.run/remote"
)

// The limits of a gate.
const (
	OrgsMax  = 32     // organizations with agents outside: each costs a connection in memory
	openMax  = 10_000 // questions that wait for agents outside at once
	sendsMax = 256    // messages of agents outside that are taken at once; then whoever sends is told to come again
	livesMax = 4096   // live questions of agents outside that are worked on at once; one more is refused
	sendWait = 10 * time.Second
	tick     = time.Second
)

// Config says where a gate is and what is done with what comes through it.
type Config struct {
	// Listen is HOST:PORT. "" is where the door was before, or else a free port of this machine.
	Listen string
	// Hub is what the agents of one organization reach the door through as well; nil for nothing.
	Hub *bus.Hub
	// Signed has nothing taken of these agents that is not signed by a key of the sender: the hub need not be believed who speaks.
	Signed bool
	// TLS returns what a door at an address needs, and the certificate (PEM) that agents hold it against; nil for an address of this machine.
	TLS func(listen string) (*tls.Config, string, error)
	// Send has a message become runs of its recipients, and returns when that is safe; the same message is the same runs.
	Send func(ctx context.Context, e message.Envelope) ([]message.Receipt, error)
	// Ask has an agent asked a live question, and returns its answer.
	Ask func(ctx context.Context, e message.Envelope) (message.Envelope, error)
	// Wait returns how a run ended.
	Wait  func(ctx context.Context, run polity.RunID) (polity.Outcome, error)
	Audit *Audit
	Log   *slog.Logger
}

// Gate is the door with what is behind it. Its methods are safe for concurrent use.
type Gate struct {
	cfg   Config
	book  *book
	audit *Audit
	door  *bus.Door
	url   string
	ca    string // PEM
	boxes *boxes

	ctx   context.Context
	stop  context.CancelFunc
	ended sync.WaitGroup
	sends chan struct{} // messages that are being taken
	waits chan struct{} // messages whose answer is waited for
	lives chan struct{} // live questions of agents outside

	signed signatures

	mu   sync.RWMutex
	orgs map[string]*org
}

// org is an organization whose agents outside are let in. It does not change but for its desk.
type org struct {
	name   string
	rights map[polity.AgentName]rights
	desk   *bus.Desk
}

// Open opens the door, to nobody before Link. It returns what bus.OpenDoor does. Close it.
func Open(ctx context.Context, b *bus.Bus, boxes *Boxes, cfg Config) (*Gate, error) {
	g := &Gate{cfg: cfg, boxes: &boxes.boxes, orgs: map[string]*org{}, sends: make(chan struct{}, sendsMax), waits: make(chan struct{}, openMax), lives: make(chan struct{}, livesMax)}
	var err error
	if g.book, err = openBook(ctx, b, time.Now()); err != nil {
		return nil, err
	}
	g.audit = cfg.Audit
	at := cfg.Listen
	if at == "" {
		at = g.book.at
	}
	if at == "" {
		at = "127.0.0.1:0"
	}
	secure, ca, err := cfg.TLS(at)
	if err != nil {
		return nil, err
	}
	if g.door, err = bus.OpenDoor(bus.DoorConfig{Listen: at, TLS: secure, Hub: cfg.Hub, Admit: g.admit, Refused: g.audit.Refused}); err != nil {
		return nil, err
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.ca, g.url = ca, "nats://"+reached(g.door.Addr())
	if secure != nil {
		g.url = "tls://" + reached(g.door.Addr())
	}
	if err := g.book.opened(ctx, g.door.Addr()); err != nil {
		g.Close()
		return nil, err
	}
	g.boxes.attach(g.put) // what waited is put
	g.boxes.lives.attach(g.putLive)
	g.ended.Go(g.run)
	return g, nil
}

// reached is how others reach an address that is listened on: by the first address of this machine, if by any.
func reached(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return listen
	}
	all, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range all {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				return net.JoinHostPort(n.IP.String(), port)
			}
		}
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// URL is where agents connect to.
func (g *Gate) URL() string { return g.url }

// Close cuts all agents. What they were asked waits for the next gate.
func (g *Gate) Close() {
	g.boxes.attach(nil)
	g.boxes.lives.attach(nil)
	g.mu.Lock()
	g.stop()
	g.mu.Unlock()
	g.ended.Wait()
	g.mu.Lock()
	for _, o := range g.orgs {
		o.desk.Close()
	}
	g.mu.Unlock()
	g.door.Close()
}

func (g *Gate) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			g.boxes.pump()
		case <-g.ctx.Done():
			return
		}
	}
}

// Link makes the releases of all organizations, by their names, those from which links are from now on: who has lost rights by it, or gained some, is cut and
// comes back with those of now. Those without agents outside let nobody in.
func (g *Gate) Link(all map[string]*agent.Release) error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := g.seat(all[name], all); err != nil {
			return err
		}
	}
	g.door.Look()
	g.boxes.pump()
	return nil
}

// seat puts an organization's rights into force.
func (g *Gate) seat(r *agent.Release, all map[string]*agent.Release) error {
	o := &org{name: r.Name, rights: map[polity.AgentName]rights{}}
	for _, name := range remotes(r) {
		o.rights[name] = compile(r, name, all)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.orgs[r.Name]
	switch {
	case old != nil:
		o.desk = old.desk
	case len(o.rights) == 0:
		return nil
	case len(g.orgs) >= OrgsMax:
		return fault.Full.New("%d organizations have agents outside, which is the most", OrgsMax)
	default:
		var err error
		hear := bus.Hearing{
			Subjects: bus.FromAgents(), Take: func(p bus.Parcel) { g.take(r.Name, p) }, Away: g.boxes.missed,
			Direct: bus.AnswersOfAgents, Now: func(p bus.Parcel) { g.answered(r.Name, p) },
		}
		if o.desk, err = g.door.Desk(r.Name, hear); err != nil {
			return err
		}
	}
	g.orgs[r.Name] = o
	return nil
}

func (g *Gate) org(name string) *org {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.orgs[name]
}

// admit is what a key's holder may do now.
func (g *Gate) admit(public string) (bus.Guest, error) {
	k := g.book.find(public)
	if k == nil {
		return bus.Guest{}, fault.Unauthenticated.New("nobody has this key: the credentials were revoked, have ended, or are of another node")
	}
	guest := bus.Guest{Account: k.Org, Name: string(k.Agent), Until: k.Until}
	o := g.org(k.Org)
	if o == nil {
		return guest, fault.Denied.New("organization %s is not installed", k.Org)
	}
	if k.Agent == "" { // an operator, as with nats micro
		guest.Publish, guest.Subscribe = []string{"$SRV.>"}, []string{remote.OperatorInbox + ".>"}
		return guest, nil
	}
	rights, ok := o.rights[k.Agent]
	if !ok {
		return guest, fault.Denied.New("organization %s has no agent %s of kind remote any more", k.Org, k.Agent)
	}
	guest.Publish, guest.Subscribe = rights.publish, rights.subscribe
	return guest, nil
}

// Issue lets the holder of a key in, as an agent of a linked organization, or as an operator if agent is "". life is LifeMin to LifeMax, 0 for
// LifeDefault.
func (g *Gate) Issue(ctx context.Context, orgName string, name polity.AgentName, public string, life time.Duration) (polity.Admission, error) {
	if life == 0 {
		life = LifeDefault
	}
	if life < LifeMin || life > LifeMax {
		return polity.Admission{}, fault.Invalid.New("credentials for %s: want %s to %s", life, LifeMin, LifeMax)
	}
	o, err := g.only(orgName)
	if err != nil {
		return polity.Admission{}, err
	}
	if _, ok := o.rights[name]; !ok && name != "" {
		return polity.Admission{}, o.noAgent(name)
	}
	if err := bus.CheckKey(public); err != nil {
		return polity.Admission{}, err
	}
	if k := g.book.find(public); k != nil && (k.Org != o.name || k.Agent != name) {
		return polity.Admission{}, fault.Conflict.New("the key is another agent's")
	}
	now := time.Now()
	k := key{Public: public, Org: o.name, Agent: name, Life: polity.Duration(life), Issued: now, Until: now.Add(life)}
	if err := g.book.add(ctx, k); err != nil {
		return polity.Admission{}, err
	}
	return polity.Admission{URL: g.url, Org: o.name, Agent: name, Since: now, Until: k.Until, CA: g.ca, Signed: g.cfg.Signed && g.atHub(o.name)}, nil
}

// only is the organization of a name, or the only one there is for "".
func (g *Gate) only(name string) (*org, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var known []string
	for n := range g.orgs {
		known = append(known, n)
	}
	slices.Sort(known)
	switch o := g.orgs[name]; {
	case o != nil:
		return o, nil
	case name == "" && len(known) == 1:
		return g.orgs[known[0]], nil
	case len(known) == 0:
		return nil, fault.NotFound.New("no organization with agents of kind remote is installed; see: polity install")
	case name == "":
		return nil, fault.Invalid.New("there are several organizations: name one of %s", strings.Join(known, ", "))
	default:
		return nil, fault.NotFound.New("no organization %q with agents of kind remote is installed; there are %s", name, strings.Join(known, ", "))
	}
}

func (o *org) noAgent(name polity.AgentName) error {
	var known []string
	for n := range o.rights {
		known = append(known, string(n))
	}
	slices.Sort(known)
	near := ""
	if n := fault.Nearest(string(name), known); n != "" {
		near = "; did you mean " + n + "?"
	}
	return fault.NotFound.New("organization %s has no agent %q in another process; it has %s%s", o.name, name, strings.Join(known, ", "), near)
}

// Revoke ends all keys of an agent, and cuts it. It returns how many there were.
func (g *Gate) Revoke(ctx context.Context, orgName string, name polity.AgentName) (int, error) {
	o, err := g.only(orgName)
	if err != nil {
		return 0, err
	}
	n, err := g.book.revoke(ctx, o.name, name)
	g.door.Look()
	return n, err
}

// Agents are the agents outside of all linked organizations, by organization and name.
func (g *Gate) Agents() []polity.Presence {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var list []polity.Presence
	for _, o := range g.orgs {
		for name := range o.rights {
			p := polity.Presence{Org: o.name, Agent: name, State: string(remote.Away)}
			g.boxes.describe(&p)
			if p.State == string(remote.Away) && g.door.Connected(o.name, string(name)) {
				p.State = string(remote.Serving) // a simple one, which says nothing of itself
			}
			if keys := g.book.of(o.name, name); len(keys) > 0 {
				p.Keys, p.Until = len(keys), keys[len(keys)-1].Until
			}
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b polity.Presence) int {
		return strings.Compare(a.Org+" "+string(a.Agent), b.Org+" "+string(b.Agent))
	})
	return list
}

// put publishes a question to its agent, if its organization is let in.
func (g *Gate) put(orgName string, q *question) bool {
	o := g.org(orgName)
	if o == nil {
		return false
	}
	err := o.desk.Put(q.parcel, q.token)
	if err != nil {
		g.cfg.Log.Warn("put a question", "org", orgName, "error", err)
	}
	return err == nil
}

// putLive publishes a live question to its agent.
func (g *Gate) putLive(orgName string, p bus.Parcel) error {
	o := g.org(orgName)
	if o == nil {
		return fault.Unavailable.New("organization %s lets nobody in", orgName)
	}
	return o.desk.Put(p, "")
}

// refuse has something audited that the server let pass and is refused here.
func (g *Gate) refuse(o *org, sender polity.AgentName, p bus.Parcel, reason error) {
	g.audit.Refused(misuse(o.name, sender, p, reason))
}

func misuse(org string, sender polity.AgentName, p bus.Parcel, reason error) polity.Refusal {
	return polity.Refusal{At: time.Now(), Org: org, Agent: sender, Verb: polity.RefusedMisuse, Subject: p.Subject, Reason: fault.Of(reason).Text}
}

// answered takes an agent's answer to a live question. The server has made sure that it is the agent of the subject who answers.
func (g *Gate) answered(orgName string, p bus.Parcel) {
	sender, token, _ := remote.Answered(p.Subject)
	err := g.proven(orgName, sender, p)
	if err == nil {
		err = g.boxes.answered(ref{orgName, sender}, token, p)
	}
	if err != nil {
		g.door.Refuse(misuse(orgName, sender, p, err)) // which does not wait for the disk
	}
}

// take takes what an agent published. The server has made sure that the subject's sender is who published it, and that a link allows it.
func (g *Gate) take(orgName string, p bus.Parcel) {
	o := g.org(orgName)
	if o == nil {
		return
	}
	words := strings.Split(p.Subject, ".")
	sender := polity.AgentName(words[1])
	reply := func(t remote.Taken) {}
	switch inbox := remote.Inbox(sender) + "."; {
	case strings.HasPrefix(p.Reply, inbox):
		reply = func(t remote.Taken) { g.reply(o, p.Reply, t) }
	case p.Reply != "":
		// An answer there would be published with the engine's rights, where the sender may not.
		g.refuse(o, sender, p, fault.Denied.New("the reply subject %.80q is not below %s", p.Reply, inbox))
		return
	}
	err := g.proven(o.name, sender, p)
	if err != nil {
		// it is said below
	} else if !g.allowed(o, sender, p.Subject) { // of somebody at the hub: here the server refuses it
		err = fault.Denied.New("no link leads there")
	} else if words[0] == "ctl" {
		err = g.control(o, sender, p, reply)
	} else {
		err = g.message(o, sender, p, reply)
	}
	if err != nil {
		g.refuse(o, sender, p, err)
		if p.Reply != "" && asksLive(p.Header) {
			g.refuseLive(o, p.Reply, err)
			return
		}
		reply(remote.Taken{Error: fault.Of(err)})
	}
}

// allowed says whether an agent may publish on a subject. Of those who come in by the door the server has made sure already.
func (g *Gate) allowed(o *org, sender polity.AgentName, subject string) bool {
	if !g.atHub(o.name) {
		return true
	}
	return slices.ContainsFunc(o.rights[sender].publish, func(pattern string) bool { return bus.Matches(subject, pattern) })
}

// Rights are the subjects that an agent of a linked organization may publish on and subscribe to.
func (g *Gate) Rights(orgName string, name polity.AgentName) (publish, subscribe []string, err error) {
	o, err := g.only(orgName)
	if err != nil {
		return nil, nil, err
	}
	r, ok := o.rights[name]
	if !ok {
		return nil, nil, o.noAgent(name)
	}
	return r.publish, r.subscribe, nil
}

// Joined says whether the door is connected to its hub.
func (g *Gate) Joined() bool { return g.door.Joined() }

func (g *Gate) reply(o *org, subject string, t remote.Taken) {
	data, err := json.Marshal(t)
	if err == nil {
		err = o.desk.Put(bus.Parcel{Subject: subject, Data: data}, "")
	}
	if err != nil {
		g.cfg.Log.Warn("acknowledge", "org", o.name, "error", err)
	}
}

// control takes what an agent says of itself.
func (g *Gate) control(o *org, sender polity.AgentName, p bus.Parcel, reply func(remote.Taken)) error {
	switch p.Subject {
	case remote.Control(sender, remote.ControlHere):
		var h remote.Here
		if err := json.Unmarshal(p.Data, &h); err != nil || len(h.Instance) > remote.InstanceMax || len(h.Version) > remote.InstanceMax {
			return fault.Invalid.New("here: want an object with instance, state, version and working")
		}
		if err := g.boxes.hear(ref{o.name, sender}, h); err != nil {
			return err
		}
		reply(remote.Taken{})
		return nil
	default:
		var r remote.Renewal
		if err := json.Unmarshal(p.Data, &r); err != nil {
			return fault.Invalid.New("renew: want an object with key")
		}
		g.begin(reply, func(ctx context.Context) {
			a, err := g.renew(ctx, o, sender, r.Key)
			if err != nil {
				if !fault.Of(err).Kind.Retryable() { // another's key
					g.refuse(o, sender, p, err)
				}
				reply(remote.Taken{Error: fault.Of(err)})
				return
			}
			reply(remote.Taken{Admission: &a})
		})
		return nil
	}
}

// renew gives an agent's key new time, as long as it has one that counts.
func (g *Gate) renew(ctx context.Context, o *org, sender polity.AgentName, public string) (polity.Admission, error) {
	has := g.book.of(o.name, sender)
	if len(has) == 0 {
		return polity.Admission{}, fault.Unauthenticated.New("the credentials were revoked")
	}
	return g.Issue(ctx, o.name, sender, public, time.Duration(has[len(has)-1].Life))
}

// begin does something that waits for the disk, unless there is too much of it already.
func (g *Gate) begin(reply func(remote.Taken), do func(ctx context.Context)) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.ctx.Err() != nil {
		return // the gate closes: whoever sent it does so again
	}
	select {
	case g.sends <- struct{}{}:
	default:
		reply(remote.Taken{Error: fault.Of(fault.Unavailable.New("too many messages at once: send it again"))})
		return
	}
	g.ended.Go(func() {
		defer func() { <-g.sends }()
		ctx, cancel := context.WithTimeout(g.ctx, sendWait)
		defer cancel()
		do(ctx)
	})
}

// message takes a message of an agent. What it says of itself has to be what its subject says, which is what the server has looked at.
func (g *Gate) message(o *org, sender polity.AgentName, p bus.Parcel, reply func(remote.Taken)) error {
	e, err := message.Decode(p.Header, p.Data)
	switch {
	case err != nil:
		return err
	case e.From != message.To(sender):
		return fault.Denied.New("the message says that it is from %s", e.From)
	case len(e.To) != 1 || e.To[0].Subject(sender, e.Performative) != p.Subject:
		return fault.Invalid.New("the message is a %s to %s, and its subject says otherwise", e.Performative, e.To)
	case e.To[0].Kind == message.Agent && slices.Contains(answers, e.Performative):
		return g.boxes.answer(ref{o.name, sender}, polity.AgentName(e.To[0].Name), e, reply)
	case e.Live && e.Reply:
		return g.live(o, e, p.Reply)
	}
	g.begin(reply, func(ctx context.Context) {
		receipts, err := g.cfg.Send(ctx, e)
		reply(remote.Taken{Receipts: receipts, Error: fault.Of(err)})
		if !e.Reply {
			return
		}
		for _, r := range receipts {
			if r.Run != "" && r.Fault == nil {
				g.await(o, sender, e, r)
			}
		}
	})
	return nil
}

// await has a sender given how a run of its message ended, unless too many wait already: whoever sent it asks again.
func (g *Gate) await(o *org, sender polity.AgentName, e message.Envelope, r message.Receipt) {
	select {
	case g.waits <- struct{}{}:
		g.ended.Go(func() {
			defer func() { <-g.waits }()
			g.answer(o, sender, e, r)
		})
	default:
	}
}

// answer gives a sender how a run of its message ended. It is said once, to whoever is there: who missed it sends the message again, which is the
// same run.
func (g *Gate) answer(o *org, sender polity.AgentName, e message.Envelope, r message.Receipt) {
	out, err := g.cfg.Wait(g.ctx, r.Run)
	if err != nil {
		return // the node stops, or the run is stopped: nothing is known yet
	}
	a := message.Answer(&e, polity.AgentName(r.To.Name), out)
	header, err := a.Header()
	if err == nil {
		err = o.desk.Put(bus.Parcel{Subject: remote.Box(sender, a.Performative), Header: header, Data: a.Data}, "")
	}
	if err != nil {
		g.cfg.Log.Warn("an answer cannot be sent", "run", r.Run, "error", err)
	}
}
