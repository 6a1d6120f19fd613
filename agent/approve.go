package agent

import (
	"fmt"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
)

// Approve says which actions of a model wait until somebody lets them go. What is gathered is not the model's, and does not wait.
type Approve struct {
	By      polity.AgentName `json:"by"`
	Skill   string           `json:"skill"`            // that By is asked: polity.ApproveSkill of a person
	Tools   []Guard          `json:"tools,omitempty"`  // of Model.Tools, sorted by name
	Agents  []Guard          `json:"agents,omitempty"` // of Model.Agents, sorted by name
	Timeout polity.Duration  `json:"timeout,omitempty"`
}

// Guard is a tool or an agent that is not used before somebody has approved it.
type Guard struct {
	Name   string        `json:"name"`
	Effect polity.Effect `json:"effect,omitempty"` // what it does to the world, as it is shown to whoever decides; "" is not known
}

// Names and limits of approvals.
const (
	approvePrefix = "approve." // of the question: approve.STEP.N about act.STEP.N
	lateSuffix    = ".late"    // of its timer
	whyMax        = 2 << 10    // bytes of the model's words that are shown
	reasonMax     = 2 << 10    // bytes of a reason that the model is told
)

// check says what is wrong with an Approve of an agent, or nil.
func (a *Approve) check(self polity.AgentName, m *Model) error {
	switch {
	case a == nil:
		return nil
	case a.By == "" || a.Skill == "":
		return fault.Invalid.New("approve: nobody is named who approves")
	case a.By == self:
		return fault.Invalid.New("approve: the agent would approve what it does itself")
	case len(a.Tools)+len(a.Agents) == 0:
		return fault.Invalid.New("approve: no tool and no agent waits for approval")
	case a.Timeout < 0:
		return fault.Invalid.New("approve: the timeout is negative")
	}
	for _, g := range a.Tools {
		if !slices.ContainsFunc(m.Tools, func(t ToolPin) bool { return t.Name == g.Name }) {
			return fault.Invalid.New("approve: tool %q is none that the model may call", g.Name)
		}
	}
	for _, g := range a.Agents {
		if g.Name == string(a.By) {
			return fault.Invalid.New("approve: agent %q would approve that it is asked", g.Name)
		}
		if !slices.ContainsFunc(m.Agents, func(p AgentPin) bool { return string(p.Agent) == g.Name }) {
			return fault.Invalid.New("approve: agent %q is none that the model may ask", g.Name)
		}
	}
	return nil
}

// action returns what a command does, if somebody has to approve it.
func (a *Approve) action(c *polity.Command) (polity.Action, bool) {
	if a == nil {
		return polity.Action{}, false
	}
	out := polity.Action{Input: c.Input}
	guards := a.Tools
	if c.Do == polity.DoAsk {
		guards, out.Agent, out.Skill = a.Agents, polity.AgentName(c.To), c.Skill
	} else {
		out.Tool = c.To
	}
	i := slices.IndexFunc(guards, func(g Guard) bool { return g.Name == c.To })
	if i < 0 {
		return polity.Action{}, false
	}
	out.Effect = guards[i].Effect
	return out, true
}

// hold is a command that is held back until somebody has let it go.
type hold struct {
	ask     string // name of the question's command
	command string // name of the command that is held back
	action  polity.Action
	hash    string
	ended   bool // the question
}

// verdict is what was said about an action, for the rest of the run.
type verdict struct {
	always bool   // it may be done without asking
	denied string // why it may not be done
}

// guard holds a command back if it needs approval, and makes its input the one that is approved, byte by byte. What was denied, or is being
// asked for already, is refused.
func (t *thinker) guard(s *thought, c *polity.Command) *told {
	action, guarded := t.Approve.action(c)
	if !guarded {
		return nil
	}
	action, err := action.Canonical()
	if err != nil {
		return &told{"not done: invalid: " + fault.Of(err).Text, true}
	}
	hash, err := action.Hash()
	if err != nil {
		return &told{"not done: " + fault.Of(err).Text, true}
	}
	c.Input = action.Input
	v := s.verdicts[hash]
	switch {
	case v.always:
		return nil
	case v.denied != "":
		return &told{fmt.Sprintf("not done: denied: %s; nobody is asked again in this run", v.denied), true}
	case slices.ContainsFunc(s.holds, func(h *hold) bool { return !h.ended && h.hash == hash }):
		return &told{fmt.Sprintf("not done: %s is being asked about the same call with the same input already", t.Approve.By), true}
	}
	s.holds = append(s.holds, &hold{ask: approvePrefix + c.Name[len(actPrefix):], command: c.Name, action: action, hash: hash})
	return nil
}

// begin returns the command itself, or the question whether it may be done. why is what the model said to it.
func (t *thinker) begin(s *thought, c polity.Command, why string) []polity.Command {
	i := slices.IndexFunc(s.holds, func(h *hold) bool { return h.command == c.Name })
	if i < 0 {
		return []polity.Command{c}
	}
	h := s.holds[i]
	input, err := encode(polity.Approval{Action: h.action, Hash: h.hash, Run: s.run, Agent: t.name, Why: cut(why, whyMax)})
	if err != nil {
		return []polity.Command{polity.Fail(fault.Of(err))} // a defect
	}
	commands := []polity.Command{polity.Ask(h.ask, t.Approve.By, t.Approve.Skill, input)}
	if t.Approve.Timeout > 0 {
		commands = append(commands, polity.Sleep(h.ask+lateSuffix, time.Duration(t.Approve.Timeout)))
	}
	return commands
}

// holdOf returns what a question, or its timer, is about; nil for another command.
func (s *thought) holdOf(name string) *hold {
	for _, h := range s.holds {
		if name == h.ask || name == h.ask+lateSuffix {
			return h
		}
	}
	return nil
}

// decided takes the answer to a question, or that there was none in time. Only an approval of exactly this action lets it go.
func (t *thinker) decided(s *thought, h *hold, e polity.Event) []polity.Command {
	if h.ended {
		return nil // what was cancelled
	}
	h.ended = true
	var commands []polity.Command
	if e.Name != h.ask {
		commands = append(commands, polity.Cancel(polity.CommandKey(h.ask, 1)))
		if e.Fault == nil { // else there was no room for the timer
			e.Fault = fault.Of(fault.Timeout.New("no answer within %s", time.Duration(t.Approve.Timeout)))
		}
	} else if t.Approve.Timeout > 0 {
		commands = append(commands, polity.Cancel(polity.CommandKey(h.ask+lateSuffix, 1)))
	}
	r := s.results[slices.IndexFunc(s.results, func(r *result) bool { return r.command == h.command })]
	always, err := e.Approved(h.hash)
	if err == nil {
		if always {
			s.verdicts[h.hash] = verdict{always: true}
		}
		return append(commands, r.again)
	}
	f := fault.Of(err)
	why := fmt.Sprintf("%s did not approve it: %s", t.Approve.By, cut(oneLine(f.Text), reasonMax))
	if f.Kind != fault.Denied {
		why = fmt.Sprintf("%s did not approve it: %s: %s", t.Approve.By, f.Kind, cut(oneLine(f.Text), reasonMax))
	}
	if e.Fault == nil || f.Kind == fault.Timeout { // else nobody has seen it, and it may be asked again
		s.verdicts[h.hash] = verdict{denied: why}
	}
	s.note(fmt.Sprintf("%.80s: not done: %s", r.tool, why))
	r.ended, r.again = true, polity.Command{}
	r.said = []model.Message{{Role: model.Tool, Call: r.call, Text: "not done: denied: " + why, Failed: true}}
	if s.open--; s.open > 0 {
		return commands
	}
	return append(commands, t.acted(s)...)
}
