package pattern

import (
	"encoding/json"
	"fmt"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Names of approvals.
const (
	approvePrefix = "approve." // of the question whether something may be asked
	lateSuffix    = ".late"    // of its timer
)

// approver asks who decides about actions, and remembers what was said of them. It is part of a run's state.
type approver struct {
	run      polity.RunID
	agent    polity.AgentName // whose run it is
	verdicts map[string]verdict
}

// verdict is what was said about an action, for the rest of the run.
type verdict struct {
	always bool         // it may be done without asking
	denied *fault.Error // why it may not be done
}

// guard is an action that waits until somebody has let exactly it go.
type guard struct {
	name    string // of the question's command
	action  polity.Action
	hash    string
	rule    *polity.Approver
	waiting bool
	said    *fault.Error // the same action was denied before: nobody is asked again
}

// open says whether it is waited for.
func (g *guard) open() bool { return g != nil && g.waiting }

// asks says whether an event is about the question, or its timer.
func (g *guard) asks(e polity.Event) bool {
	return g.open() && (e.Name == g.name || e.Name == g.name+lateSuffix)
}

// close ends the waiting, and returns the keys of the commands to cancel: all but the one with the name.
func (g *guard) close(but string) []string {
	g.waiting = false
	var keys []string
	if g.said != nil {
		return nil
	}
	if g.name != but {
		keys = append(keys, g.name)
	}
	if late := g.name + lateSuffix; g.rule.Timeout > 0 && late != but {
		keys = append(keys, late)
	}
	return keys
}

// guard makes an action of what an agent would be asked. The name says for what, and is unique in the run.
func (a *approver) guard(name string, rule *polity.Approver, agent polity.AgentName, skill string, input json.RawMessage) (*guard, error) {
	action, err := polity.Action{Agent: agent, Skill: skill, Effect: rule.Effect, Input: input}.Canonical()
	if err != nil {
		return nil, err
	}
	hash, err := action.Hash()
	return &guard{name: approvePrefix + name, action: action, hash: hash, rule: rule}, err
}

// begin returns what asks whether it may be done, or nothing if it may.
func (a *approver) begin(g *guard) (commands []polity.Command, err error) {
	switch v := a.verdicts[g.hash]; {
	case v.always:
		return nil, nil
	case v.denied != nil:
		g.said, g.waiting = v.denied, true
		return []polity.Command{polity.Sleep(g.name+lateSuffix, 0)}, nil // what answers comes with an event
	}
	input, err := marshal(polity.Approval{Action: g.action, Hash: g.hash, Run: a.run, Agent: a.agent})
	if err != nil {
		return nil, err
	}
	g.waiting = true
	commands = append(commands, polity.Ask(g.name, g.rule.By, g.rule.Skill, input))
	if g.rule.Timeout > 0 {
		commands = append(commands, polity.Sleep(g.name+lateSuffix, time.Duration(g.rule.Timeout)))
	}
	return commands, nil
}

// decided takes the answer, or that there was none in time. It returns nil only for an approval of exactly this action; that the run is at a
// bound or is cancelled as it is; and anything else as fault.Denied.
func (a *approver) decided(g *guard, e polity.Event) *fault.Error {
	if g.said != nil {
		return g.said
	}
	if e.Name != g.name && e.Fault == nil { // else there was no room for the timer
		e.Fault = fault.Of(fault.Timeout.New("no answer within %s", g.rule.Timeout))
	}
	always, err := e.Approved(g.hash)
	if err == nil {
		if always {
			a.say(g.hash, verdict{always: true})
		}
		return nil
	}
	f := fault.Of(err)
	if f.Kind == fault.Exhausted || f.Kind == fault.Cancelled {
		return f
	}
	why := f.Text
	if f.Kind != fault.Denied {
		why = fmt.Sprintf("%s: %s", f.Kind, why)
	}
	denied := fault.Of(fault.Denied.New("%s did not approve it: %s", g.rule.By, clip(why, problemMax)))
	if e.Fault == nil || f.Kind == fault.Timeout { // else nobody has seen it
		a.say(g.hash, verdict{denied: denied})
	}
	return denied
}

// gravest is the kind of a run that failed because of several faults: Failed may be tried again by who asked; Unknown nobody repeats in silence;
// and after Denied somebody would only be asked again who has said no.
func gravest(kind, other fault.Kind) fault.Kind {
	if other == fault.Unknown || other == fault.Denied && kind != fault.Unknown {
		return other
	}
	return kind
}

func (a *approver) say(hash string, v verdict) {
	if a.verdicts == nil {
		a.verdicts = map[string]verdict{}
	}
	a.verdicts[hash] = v
}

// rule is who has to let a question go before it is asked, or nil.
func (p *pending) rule() *polity.Approver {
	if p.approve != nil || p.to == nil {
		return p.approve
	}
	name, _ := p.to.Can(p.duty)
	if s := p.to.skill(name); s != nil {
		return s.Approve
	}
	return nil
}

// hold holds a question back until somebody lets it go. What is asked then is what was shown, byte by byte.
func (d *desk) hold(p *pending, rule *polity.Approver) {
	c := p.command()
	g, err := d.approver.guard(p.name, rule, p.to.Name, c.Skill, c.Input)
	if err != nil { // an input is JSON
		d.fail(err)
		return
	}
	p.guard, p.input = g, g.action.Input
	commands, err := d.approver.begin(g)
	switch {
	case err != nil:
		d.fail(err)
		return
	case commands == nil:
		d.send(p)
	}
	for _, c := range commands {
		c.Undo = p.undo != ""
		d.emit(c)
	}
}

// decided takes what somebody said about a question, or that nobody did, and reports whether it is asked now.
func (d *desk) decided(p *pending, e polity.Event) bool {
	for _, key := range p.guard.close(e.Name) {
		d.cancel(key)
	}
	if p.fault = d.approver.decided(p.guard, e); p.fault != nil {
		d.note(p, p.fault)
		return false
	}
	d.send(p)
	return true
}
