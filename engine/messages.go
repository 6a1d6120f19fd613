package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/run"
	"polity.run/message"
	"polity.run/pattern"
	"polity.run/trace"
)

const (
	orgsMax      = 1000 // that are installed
	triesDefault = 3    // of a message whose run fails and may succeed later
	retryAfter   = 5    // seconds that a sender is told to wait for a full mailbox
	refusedEvery = time.Minute
	refusedMax   = 60               // refusals that are recorded in refusedEvery: what is more is counted
	refusedTopic = "polity.refused" // where refusals are recorded
	listDefault  = 100
	orgsBucket   = "orgs"
)

// orgs are the organizations that are installed, and the agents that have an address because of that.
type orgs struct {
	bus     *bus.Bus
	catalog *catalog
	log     *slog.Logger

	mu     sync.RWMutex
	bucket *bus.Bucket // nil before it was needed
	byName map[string]Digest
	agents map[polity.AgentName]string // their organization
	states map[string]installed        // also of those that were removed

	audit struct {
		sync.Mutex
		since time.Time
		n     int
	}
}

// installed is an organization as it stands in the bucket.
type installed struct {
	Release  string    `json:"release"`            // its digest; "" for one that was removed
	Revision uint64    `json:"revision,omitempty"` // one more with each change; 0: installed before these were counted
	At       time.Time `json:"at,omitzero"`
	By       string    `json:"by,omitempty"`
}

// open reads what is installed, the first time. o.mu is held for writing.
func (o *orgs) open(ctx context.Context) error {
	if o.bucket != nil {
		return nil
	}
	bucket, err := o.bus.Bucket(ctx, orgsBucket)
	if err != nil {
		return err
	}
	byName, agents, states := map[string]Digest{}, map[polity.AgentName]string{}, map[string]installed{}
	err = bucket.Each(ctx, func(name string, value []byte) error {
		var in installed
		if err := json.Unmarshal(value, &in); err != nil {
			return fault.Damaged.New("engine: installed organization %s: %w", name, err)
		}
		if states[name] = in; in.Release == "" {
			return nil
		}
		d, err := parseDigest(in.Release)
		if err != nil {
			return fault.Damaged.New("engine: installed organization %s: %w", name, err)
		}
		r, err := o.catalog.release(d)
		if err != nil { // it was made for another program, or its document is gone: the others go on
			o.log.Warn("an installed organization cannot be used here", "org", name, "error", err)
			return nil
		}
		byName[name] = d
		for _, a := range r.doc.Agents {
			agents[a.Name] = name
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.bucket, o.byName, o.agents, o.states = bucket, byName, agents, states
	return nil
}

// ready opens what is installed, and returns with o.mu held for reading: unlock it.
func (o *orgs) ready(ctx context.Context) error {
	o.mu.RLock()
	if o.bucket != nil {
		return nil
	}
	o.mu.RUnlock()
	o.mu.Lock()
	err := o.open(ctx)
	o.mu.Unlock()
	if err != nil {
		return err
	}
	o.mu.RLock()
	return nil
}

// of returns the release that an agent's address stands for. o.mu is held.
func (o *orgs) of(name polity.AgentName) (Digest, *release, error) {
	org, ok := o.agents[name]
	if !ok {
		known := make([]string, 0, len(o.agents))
		for a := range o.agents {
			known = append(known, string(a))
		}
		slices.Sort(known)
		near := ""
		if n := fault.Nearest(string(name), known); n != "" {
			near = "; did you mean " + n + "?"
		}
		return Digest{}, nil, fault.NotFound.New("no agent %q has an address here%s; polity install makes those of a manifest known", name, near)
	}
	d := o.byName[org]
	r, err := o.catalog.release(d)
	return d, r, err
}

// Enlist gives the agents of a stored release addresses for messages, under the release's name. What was enlisted under that name before is
// replaced; what its agents were sent and have not done, the agents of that release go on with. It returns fault.Conflict if another organization
// has an agent of the same name: an agent's name is its address.
func (e *Engine) Enlist(ctx context.Context, d Digest) error {
	_, err := e.Apply(ctx, d, nil, "")
	return err
}

func (e *Engine) enlist(ctx context.Context, d Digest, known *uint64, by string) error {
	o := &e.orgs
	r, err := e.catalog.release(d)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.open(ctx); err != nil {
		return err
	}
	name := r.doc.Name
	if name == "" {
		return fault.Invalid.New("engine: a release without a name cannot be installed")
	}
	if err := o.unchanged(name, known); err != nil || o.byName[name] == d {
		return err
	}
	if _, known := o.byName[name]; !known && len(o.byName) >= orgsMax {
		return fault.Full.New("engine: %d organizations are installed, which is the most", orgsMax)
	}
	for _, a := range r.doc.Agents {
		if other, taken := o.agents[a.Name]; taken && other != name {
			return fault.Conflict.New("engine: organization %s has an agent %s, too; an agent's name is its address: rename one of them", other, a.Name)
		}
	}
	if err := o.put(ctx, name, hex.EncodeToString(d[:]), by, e.now()); err != nil {
		return err
	}
	for a, org := range o.agents {
		if org == name {
			delete(o.agents, a)
		}
	}
	for _, a := range r.doc.Agents {
		o.agents[a.Name] = name
	}
	o.byName[name] = d
	return nil
}

// Enlisted returns the releases whose agents have addresses, by the names of their organizations.
func (e *Engine) Enlisted(ctx context.Context) (map[string]Digest, error) {
	if err := e.orgs.ready(ctx); err != nil {
		return nil, err
	}
	defer e.orgs.mu.RUnlock()
	all := make(map[string]Digest, len(e.orgs.byName))
	for name, d := range e.orgs.byName {
		all[name] = d
	}
	return all, nil
}

// --- who is meant, and may be

// target is an agent or a topic that a message goes to.
type target struct {
	to      message.Address
	release Digest
	err     error // why not
}

// targets resolves the recipients of a message: each agent once, and never the sender. o.mu is held.
func (o *orgs) targets(e *message.Envelope) []target {
	var list []target
	seen := map[message.Address]bool{e.From: true}
	add := func(to message.Address, d Digest, err error) {
		if !seen[to] {
			seen[to] = true
			list = append(list, target{to, d, err})
		}
	}
	for _, to := range e.To {
		switch to.Kind {
		case message.Agent:
			d, r, err := o.of(polity.AgentName(to.Name))
			if err == nil && !o.may(r, e.From, to) {
				err = denied(e.From, to)
			}
			add(to, d, err)
		case message.Topic:
			add(to, Digest{}, o.mayPublish(e.From, to))
		default:
			members := o.members(e.From, to)
			for _, m := range members {
				d, _, err := o.of(m)
				add(message.To(m), d, err)
			}
			if len(members) == 0 {
				add(to, Digest{}, fault.NotFound.New("%s: nobody is meant by it whom %s is linked to", to, e.From))
			}
		}
	}
	return list
}

func denied(from, to message.Address) error {
	return fault.Denied.New("%s is not linked to %s: messages.links of the organization says who may write to whom", from, to)
}

// may says whether a release lets somebody message an agent of it: by its links, or because its pattern of peers links them.
func (o *orgs) may(r *release, from, to message.Address) bool {
	return r.doc.May(from, to) || from.Kind == message.Agent && r.peers(polity.AgentName(from.Name), polity.AgentName(to.Name))
}

// peers says whether an organization of the release whose members write to each other links two of them.
func (r *release) peers(from, to polity.AgentName) bool {
	for i := range r.doc.Agents {
		def := r.doc.Agents[i].Org
		if def == nil || !slices.Contains(def.Members, from) || !slices.Contains(def.Members, to) {
			continue
		}
		cfg, err := pattern.Parse(def.Pattern, def.Config)
		if linked, ok := cfg.(*pattern.Peers); err == nil && ok {
			if reach, _ := linked.Reach(from); slices.Contains(reach, to) {
				return true
			}
		}
	}
	return false
}

// mayPublish returns nil for somebody outside, who may publish as polity topics does, and for an agent that is linked to the topic.
func (o *orgs) mayPublish(from, to message.Address) error {
	if from.Kind == message.Outside {
		return nil
	}
	_, r, err := o.of(polity.AgentName(from.Name))
	if err == nil && !r.doc.May(from, to) {
		err = denied(from, to)
	}
	return err
}

// members lists the agents that a group, a role or all stands for, in order. A link to the group or role lets all of it be messaged; otherwise it is
// those of it that the sender is linked to.
func (o *orgs) members(from, to message.Address) []polity.AgentName {
	var list []polity.AgentName
	for _, d := range o.byName {
		r, err := o.catalog.release(d)
		if err != nil {
			continue // it says so when it is asked for itself
		}
		whole := to.Kind != message.All && r.doc.May(from, to)
		for _, name := range r.meant(to) {
			if whole || o.may(r, from, message.To(name)) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// meant lists the agents of a release that an address stands for, whoever may message them.
func (r *release) meant(to message.Address) []polity.AgentName {
	var list []polity.AgentName
	switch to.Kind {
	case message.Group:
		if r.doc.Messages != nil {
			list = r.doc.Messages.Groups[to.Name]
		}
	case message.Role:
		for i := range r.doc.Agents {
			list = append(list, inRole(r.doc.Agents[i].Org, to.Name)...)
		}
	case message.All:
		for i := range r.doc.Agents {
			list = append(list, r.doc.Agents[i].Name)
		}
	}
	return list
}

// inRole lists the members of an organization that have a role: the field of its configuration that names them, without what follows it.
func inRole(def *agent.Org, role string) []polity.AgentName {
	if def == nil {
		return nil
	}
	cfg, err := pattern.Parse(def.Pattern, def.Config)
	if err != nil {
		return nil
	}
	var list []polity.AgentName
	for _, r := range cfg.Roles() {
		if field, _, _ := strings.Cut(r.Field, "["); field == role || r.Name == role {
			list = append(list, r.Agent)
		}
	}
	return list
}

// --- sending

// Send sends a message, and returns when it is durable for each of its recipients: an agent's is a run of it in the message's conversation, a
// topic's is an event. Each recipient has a receipt; if none agreed the error is the first one's reason. It returns fault.Invalid for an envelope that is
// wrong, fault.NotFound for an agent without an address, fault.Denied where no link leads, which is recorded on the topic polity.refused, fault.Full
// for a full mailbox, fault.Timeout for a message that has expired, and fault.Conflict for a key that came with something else.
func (e *Engine) Send(ctx context.Context, m message.Envelope) ([]message.Receipt, error) {
	return e.send(ctx, "", m, false)
}

// send sends a message of a run, "" for whoever is no run.
func (e *Engine) send(ctx context.Context, by polity.RunID, m message.Envelope, hold bool) ([]message.Receipt, error) {
	m = m.Or()
	if err := m.Check(); err != nil {
		return nil, err
	}
	now := e.now()
	if m.Time.IsZero() || m.Time.After(now) {
		m.Time = now.UTC()
	}
	if err := e.orgs.ready(ctx); err != nil {
		return nil, err
	}
	targets := e.orgs.targets(&m)
	e.orgs.mu.RUnlock()
	if at := m.Expires(now); !now.Before(at) {
		return nil, fault.Timeout.New("message %s expired at %s", m.ID, at.UTC().Format(time.RFC3339))
	}
	receipts := make([]message.Receipt, len(targets))
	var sent sync.WaitGroup
	for i, t := range targets[min(1, len(targets)):] {
		sent.Go(func() { receipts[i+1] = e.deliver(ctx, by, &m, t, hold) })
	}
	if len(targets) > 0 {
		receipts[0] = e.deliver(ctx, by, &m, targets[0], hold)
	}
	sent.Wait()
	for i := range receipts {
		if receipts[i].Fault == nil {
			return receipts, nil
		}
	}
	if len(receipts) == 0 {
		return nil, fault.Invalid.New("message %s: it is for nobody but its sender", m.ID)
	}
	return receipts, receipts[0].Fault
}

// deliver gives a message to one target.
func (e *Engine) deliver(ctx context.Context, by polity.RunID, m *message.Envelope, t target, hold bool) message.Receipt {
	r := message.Receipt{To: t.to, Performative: polity.Agree}
	err := t.err
	switch {
	case err != nil:
		if errors.Is(err, fault.Denied) {
			e.refused(ctx, m, t.to)
		}
	case t.to.Kind == message.Topic:
		err = e.topics.publish(ctx, by, bus.Event{Topic: t.to.Name, ID: eventID(m), Data: m.Data})
	case m.Performative == message.Cancel:
		r.Run = messageRun(m.From, t.to, m.Correlation)
		err = e.part.Cancel(ctx, r.Run, "message "+m.ID+" of "+m.From.String()+" takes it back")
	default:
		var q run.Request
		if q, err = e.mail(ctx, by, m, t); err == nil {
			q.Hold = hold
			r.Run, err = q.ID, e.part.Open(ctx, q)
		}
	}
	if err != nil {
		r.Performative, r.Fault = polity.Refuse, fault.Of(err)
		if r.Fault.Kind == fault.Full {
			r.RetryAfter = retryAfter
		}
	}
	return r
}

// messageRun is the run that delivers a message: the same sender and key are the same run of the recipient.
func messageRun(from, to message.Address, key string) polity.RunID {
	return polity.NewRunID(0, []byte("message\x00"+from.String()+"\x00"+to.String()+"\x00"+key))
}

// eventID is the ID of the event that a message to a topic is.
func eventID(m *message.Envelope) string {
	sum := sha256.Sum256([]byte(m.From.String() + "\x00" + m.Key))
	return hex.EncodeToString(sum[:16])
}

// mail makes the request for the run that delivers a message.
func (e *Engine) mail(ctx context.Context, by polity.RunID, m *message.Envelope, t target) (run.Request, error) {
	if !m.IsJSON() {
		return run.Request{}, fault.Invalid.New("message %s: data is of %s; agents take JSON", m.ID, m.DataType)
	}
	head := *m
	head.Data = nil
	envelope, err := head.MarshalJSON()
	if err != nil {
		return run.Request{}, err
	}
	q, err := e.fill(ctx, Request{
		ID: messageRun(m.From, t.to, m.Key), Release: t.release, Agent: t.to.Name, Skill: m.Skill, Input: m.Data, Conversation: talk(m),
	})
	if err == nil && by != "" && q.Key == "" { // what a run about a person says is about them
		q.Key, _, err = e.part.SealFor(ctx, by, nil)
	}
	if err == nil && !q.Caller.Valid() {
		q.Caller, err = trace.Parse(m.TraceParent, m.TraceState)
	}
	q.From = m.From.Name
	q.Mail = &run.Mail{Priority: int(m.Priority), Tries: triesDefault, Expires: m.Expires(m.Time), Deadline: m.Deadline, Envelope: envelope}
	return q, err
}

// send sends a message of a run, once there is a node. It is one hop further than the message that the run was opened by.
func (p *publisher) send(ctx context.Context, by polity.RunID, m message.Envelope) ([]message.Receipt, error) {
	if p.ready == nil {
		return nil, fault.Unavailable.New("message: nobody can be told outside of a node; see: polity send")
	}
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, fault.Cancelled.New("message: %w", context.Cause(ctx))
	}
	cause, err := p.engine.part.Mailed(ctx, by)
	if err != nil {
		return nil, err
	}
	if cause != nil {
		var e message.Envelope
		if err := e.UnmarshalJSON(cause); err != nil {
			return nil, fault.Damaged.New("message: %s: %w", by, err)
		}
		m.Hops, m.TraceParent, m.TraceState, m.Causation = e.Hops+1, e.TraceParent, e.TraceState, e.ID
	}
	return p.engine.send(ctx, by, m, false)
}

// talk is the key of a message's conversation with each of its recipients.
func talk(m *message.Envelope) string {
	key := m.Conversation
	if key == m.ID {
		key = m.Key // of its own: the same message again is of the same one
	}
	if key = m.From.String() + " " + key; len(key) <= message.TextMax {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return m.From.String() + " " + hex.EncodeToString(sum[:])
}

// refused records that somebody wrote where no link leads. What is more than refusedMax in refusedEvery is not recorded one by one.
func (e *Engine) refused(ctx context.Context, m *message.Envelope, to message.Address) {
	a := &e.orgs.audit
	a.Lock()
	now := time.Now()
	if now.Sub(a.since) >= refusedEvery {
		a.since, a.n = now, 0
	}
	a.n++
	n := a.n
	a.Unlock()
	e.orgs.log.Warn("a message was refused: no link leads there", "from", m.From, "to", to, "performative", m.Performative, "id", m.ID)
	if n > refusedMax {
		return
	}
	data, err := json.Marshal(map[string]string{
		"from": m.From.String(), "to": to.String(), "performative": string(m.Performative), "id": m.ID, "reason": "not linked",
	})
	if err == nil {
		err = e.topics.publish(ctx, "", bus.Event{Topic: refusedTopic, ID: eventID(m) + "." + hex.EncodeToString([]byte(to.String())), Data: data})
	}
	if err != nil {
		e.orgs.log.Error("a refusal could not be recorded", "from", m.From, "to", to, "error", err)
	}
}

// Ask sends a message and waits for the answers of its recipients, in the order of their receipts, until join says that there are enough: what is
// still under way then is cancelled. A recipient that refused has answered. It returns fault.Failed, with the answers that came, if there are not
// enough, and otherwise what Send does.
func (e *Engine) Ask(ctx context.Context, m message.Envelope, join message.Join) ([]message.Receipt, []message.Envelope, error) {
	if err := join.Check(); err != nil {
		return nil, nil, err
	}
	m = m.Or()
	m.Reply = true
	receipts, err := e.Send(ctx, m)
	if err != nil {
		return receipts, nil, err
	}
	answers, err := e.gather(ctx, &m, receipts, join)
	return receipts, answers, err
}

// gather waits for answers.
func (e *Engine) gather(ctx context.Context, m *message.Envelope, receipts []message.Receipt, join message.Join) ([]message.Envelope, error) {
	type ending struct {
		i   int
		out polity.Outcome
		err error
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan ending, len(receipts))
	open := map[int]bool{}
	all := make([]*message.Envelope, len(receipts))
	for i, r := range receipts {
		if r.Fault != nil {
			a := message.Answer(m, polity.AgentName(r.To.Name), polity.Outcome{Status: polity.StatusFailed, Fault: r.Fault})
			a.Performative = polity.Refuse
			all[i] = &a
		}
		if r.Run == "" || r.Fault != nil {
			continue
		}
		open[i] = true
		go func() {
			out, err := e.part.Wait(waiting, r.Run)
			ended <- ending{i, out, err}
		}()
	}
	good, enough := 0, join.Enough()
	for len(open) > 0 && (enough == 0 || good < enough) {
		end := <-ended
		delete(open, end.i)
		if end.err != nil {
			return collect(all), end.err
		}
		a := message.Answer(m, polity.AgentName(receipts[end.i].To.Name), end.out)
		if all[end.i] = &a; a.Performative == polity.Inform {
			good++
		}
	}
	for i := range open {
		if err := e.part.Cancel(ctx, receipts[i].Run, "enough others have answered"); err != nil {
			return collect(all), err
		}
	}
	if enough > 0 && good < enough {
		return collect(all), fault.Failed.New("message %s: %d of the %d answers that are wanted came", m.ID, good, enough)
	}
	return collect(all), nil
}

func collect(all []*message.Envelope) []message.Envelope {
	var list []message.Envelope
	for _, a := range all {
		if a != nil {
			list = append(list, *a)
		}
	}
	return list
}

// --- what is asked of messages

// Messages does one thing with messages: see message.Do. It returns what the methods do that it stands for, and fault.Invalid if it says nothing.
func (e *Engine) Messages(ctx context.Context, q message.Do) (d message.Done, err error) {
	switch {
	case q.Send != nil:
		d.Receipts, err = e.send(ctx, "", *q.Send, q.Hold)
	case q.Ask != nil:
		d.Receipts, d.Answers, err = e.Ask(ctx, q.Ask.Envelope, q.Ask.Join)
	case q.List != nil:
		d.Entries, err = e.listMessages(ctx, *q.List)
	case q.Tail != nil:
		d.Entries, d.Next, err = e.tailMessages(ctx, *q.Tail)
	case q.Settle != nil:
		d.Receipts, err = e.settle(ctx, *q.Settle, q.Hold)
	case q.Mailboxes:
		var boxes []run.Mailbox
		boxes, err = e.part.Mailboxes(ctx)
		for _, b := range boxes {
			d.Boxes = append(d.Boxes, message.Box(b))
		}
	default:
		err = fault.Invalid.New("messages: the request says nothing")
	}
	return d, err
}

// listMessages asks the view.
func (e *Engine) listMessages(ctx context.Context, f message.Filter) ([]message.Entry, error) {
	if f.Limit < 0 || f.Limit > message.ListMax {
		return nil, fault.Invalid.New("messages: limit %d: want 1 to %d", f.Limit, message.ListMax)
	}
	f.Limit = cmp.Or(f.Limit, listDefault)
	v, err := e.view()
	if err != nil {
		return nil, err
	}
	if _, err := e.part.Stopped(ctx); err != nil { // behind it the tip is that of everything that was answered
		return nil, err
	}
	list, err := v.Messages(ctx, f)
	if err != nil || f.Run == "" {
		return list, err
	}
	for i := range list {
		if err := e.wholeMessage(ctx, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// wholeMessage adds a message's data and its answer.
func (e *Engine) wholeMessage(ctx context.Context, m *message.Entry) error {
	return e.part.History(ctx, m.Run, func(n polity.Notice) error {
		switch {
		case n.Run != m.Run:
		case n.Kind == "opened":
			m.Envelope.Data = slices.Clone(n.Data)
		case n.Kind == "finished":
			m.Answer = slices.Clone(n.Data)
		}
		return nil
	})
}

// errEnough ends the reading of the log.
var errEnough = errors.New("enough")

// tailMessages reads the log from a position on until there is something.
func (e *Engine) tailMessages(ctx context.Context, q message.Tail) (list []message.Entry, next uint64, err error) {
	if q.Wait < 0 || q.Wait > message.WaitMax {
		return nil, 0, fault.Invalid.New("messages: wait %s: the most is %s", q.Wait, message.WaitMax)
	}
	next = q.After
	if next == 0 {
		next = e.part.Tip()
	}
	waiting, stop := context.WithTimeout(ctx, max(q.Wait, time.Millisecond))
	defer stop()
	err = e.part.Feed(waiting, next+1, func(c *run.Commit) error {
		for i := range c.Facts {
			f := &c.Facts[i]
			if f.Mail == nil || f.Taken {
				continue
			}
			m := message.Entry{To: polity.AgentName(f.Agent), Run: f.Run, At: f.At, Seq: c.Seq, Status: polity.StatusRunning}
			if err := m.Envelope.UnmarshalJSON(f.Mail.Envelope); err != nil {
				return fault.Damaged.New("messages: %s: %w", f.Run, err)
			}
			if !q.Filter.Matches(&m) {
				continue
			}
			data, err := e.part.Data(f)
			if err != nil {
				return err
			}
			m.Envelope.Data = slices.Clone(data)
			list = append(list, m)
		}
		next = c.Seq
		if len(list) > 0 && c.Seq >= e.part.Tip() || len(list) >= message.ListMax {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() == nil && waiting.Err() != nil {
		err = nil
	}
	return list, next, err
}

// settle gives a dead letter out again, or drops it.
func (e *Engine) settle(ctx context.Context, q message.Settle, hold bool) ([]message.Receipt, error) {
	if q.Do != message.Replayed && q.Do != message.Dropped {
		return nil, fault.Invalid.New("messages: settle %.40q: want %s or %s", q.Do, message.Replayed, message.Dropped)
	}
	list, err := e.listMessages(ctx, message.Filter{Run: q.Run})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, fault.NotFound.New("no message is delivered by a run %q; see: polity dead list", q.Run)
	case list[0].Dead != message.Dead:
		return nil, fault.Conflict.New("message %s is no dead letter: it is %s", list[0].Envelope.ID, cmp.Or(list[0].Dead, list[0].Status.String()))
	}
	var receipts []message.Receipt
	if q.Do == message.Replayed {
		if receipts, err = e.again(ctx, list[0].Envelope, message.To(list[0].To), hold); err != nil {
			return receipts, err
		}
	}
	return receipts, e.part.Settle(ctx, q.Run, q.Do, q.By)
}

// again sends a message anew, to one of its recipients. Its new key follows from the one before, so what crashes in between is not sent twice.
func (e *Engine) again(ctx context.Context, m message.Envelope, to message.Address, hold bool) ([]message.Receipt, error) {
	now := e.now().UTC()
	own := m.Conversation == m.ID
	m.To, m.Time, m.Causation, m.Key = []message.Address{to}, now, m.ID, nextKey(m.Key)
	m.ID = m.Key
	if own {
		m.Conversation = m.ID
	}
	if !m.Deadline.IsZero() && !now.Before(m.Deadline) {
		m.Deadline = time.Time{}
	}
	return e.send(ctx, "", m, hold)
}

// nextKey is the key of a message that is sent once more: a~2 for a, a~3 for a~2.
func nextKey(key string) string {
	base, n := key, 1
	if i := strings.LastIndexByte(key, '~'); i > 0 {
		if was, err := strconv.Atoi(key[i+1:]); err == nil && was > 1 && was < math.MaxInt32 {
			base, n = key[:i], was
		}
	}
	if len(base) > message.TextMax/2 {
		sum := sha256.Sum256([]byte(base))
		base = hex.EncodeToString(sum[:])
	}
	return base + "~" + strconv.Itoa(n+1)
}

// now is the time as runs have it.
func (e *Engine) now() time.Time {
	if e.catalog.cfg.Now != nil {
		return e.catalog.cfg.Now()
	}
	return time.Now()
}
