package agent

import (
	"encoding/json"
	"fmt"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/memory"
	"polity.run/model"
)

// Parts are the five components of an agent that thinks. A nil part is the default one, so that each can be replaced
// alone. All of them are pure, as a Decider is: they read only their arguments.
//
//	event -> Perception -> Memory -> Reasoning -> Action or Communication -> commands
type Parts struct {
	Perception    Perception
	Reasoning     Reasoning
	Action        Action
	Memory        func() WorkingMemory // makes the memory of one run
	Communication Communication
}

// Percept is something that arrived: a run's input, or the result of a tool or of an agent that was asked.
type Percept struct {
	Event polity.Event
	// Tool is whose result the event is; "" for the run's input.
	Tool string
	// Call is the ID of the model's call that asked for it; "" for what the model did not ask for.
	Call string
	// Key is the effect's key, which says where the words come from.
	Key string
}

// Perception turns what arrives into what the agent knows of it.
type Perception interface {
	// Perceive returns the messages that go into memory. A Percept with a Call needs one Tool message for it at
	// least; what a tool or another agent said is never given the role of System.
	Perceive(p Percept) []model.Message
}

// Situation is what reasoning decides from.
type Situation struct {
	Messages []model.Message // what memory holds; not to be changed
	Offers   []model.Offer   // what action offers
	Schema   json.RawMessage // of the answer that is wanted
	// Said is what the model answered, if that is what just happened.
	Said *model.Response
	// Last says that no more calls will be done: it is time to answer.
	Last bool
}

// Intent is what reasoning wants. Exactly one field is set.
type Intent struct {
	Think  *model.Request  // ask the model; what it says comes back as Situation.Said
	Calls  []model.Call    // have these done, at once; the results come back in Situation.Messages
	Answer json.RawMessage // answer with this
}

// Reasoning decides what to do next.
type Reasoning interface {
	Reason(s Situation) Intent
}

// Action is what the agent can do.
type Action interface {
	// Offers are what reasoning may choose from, always the same and in the same order.
	Offers() []model.Offer
	// Act returns the command that does a call, which gets the name, or a fault that reasoning is told instead.
	Act(name string, c model.Call) (polity.Command, error)
}

// Communication is how the agent speaks to others.
type Communication interface {
	// Ask returns the command that asks an agent, or a fault that reasoning is told instead.
	Ask(name string, to AgentPin, input json.RawMessage) (polity.Command, error)
	// Reply returns the command that answers who asked this agent.
	Reply(output json.RawMessage) polity.Command
}

// orDefault returns p with its nil parts set for an agent.
func (p Parts) orDefault(m *Model) (Parts, error) {
	if p.Communication == nil {
		p.Communication = briefing{}
	}
	if p.Perception == nil {
		p.Perception = reading{}
	}
	if p.Reasoning == nil {
		p.Reasoning = asking{}
	}
	if p.Memory == nil {
		p.Memory = func() WorkingMemory { return &conversation{compact: m.Context.Compact} }
	}
	var err error
	if p.Action == nil {
		p.Action, err = newToolbox(m, p.Communication)
	}
	return p, err
}

// reading is the default perception.
type reading struct{}

func (reading) Perceive(p Percept) []model.Message {
	e := p.Event
	if e.Kind == polity.Opened {
		return []model.Message{{Role: model.User, Text: question(e.Data), Pinned: true}}
	}
	m := model.Message{Role: model.Tool, Source: p.Key, Call: p.Call}
	var r result
	r.take(e, p.Key)
	m.Text = r.text
	if p.Tool == memory.SearchTool && e.Fault == nil {
		if text, ok := memoryText(e.Data); ok {
			r.setText(text)
			m.Text = r.text
			if text == "" && p.Call != "" {
				m.Text = "nothing was found"
			}
		}
	}
	if e.Fault != nil && p.Call != "" { // what failed unasked stands in the notes
		m.Failed = true
		m.Text = strings.TrimSpace(fmt.Sprintf("%s: %s\n%s", e.Fault.Kind, e.Fault.Text, m.Text))
	}
	if m.Text == "" && p.Call == "" {
		return nil
	}
	return []model.Message{m}
}

// asking is the default reasoning: whatever happened, the model is asked, until it answers.
type asking struct{}

func (asking) Reason(s Situation) Intent {
	switch {
	case s.Said == nil:
		return Intent{Think: &model.Request{Messages: s.Messages, Tools: s.Offers, Schema: s.Schema}}
	case len(s.Said.Calls) > 0 && !s.Last:
		return Intent{Calls: s.Said.Calls}
	default:
		return Intent{Answer: s.Said.Output}
	}
}

// Brief is what an agent is asked that declares no input of its own: what delegation needs to say, so that two who are asked do not
// do the same, and both know when they are done.
type Brief struct {
	Objective  string   `json:"objective" jsonschema:"What is to be found out or done, complete in itself: the other agent sees nothing else."`
	Context    string   `json:"context,omitempty" jsonschema:"What it needs to know: facts, names, places, in full."`
	Guidance   string   `json:"guidance,omitempty" jsonschema:"Which tools and sources to use, and how."`
	Boundaries string   `json:"boundaries,omitempty" jsonschema:"What it must not do, and what others do already."`
	Acceptance []string `json:"acceptance,omitempty" jsonschema:"What the answer must hold to be accepted."`
}

// briefSchema is the schema of Brief, as a model is offered it.
const briefSchema = `{"type":"object","additionalProperties":false,"required":["objective"],"properties":{` +
	`"objective":{"type":"string","minLength":1,"description":"What is to be found out or done, complete in itself: the other agent sees nothing else."},` +
	`"context":{"type":"string","description":"What it needs to know: facts, names, places, in full."},` +
	`"guidance":{"type":"string","description":"Which tools and sources to use, and how."},` +
	`"boundaries":{"type":"string","description":"What it must not do, and what others do already."},` +
	`"acceptance":{"type":"array","items":{"type":"string"},"description":"What the answer must hold to be accepted."}}}`

// briefing is the default communication: the other agent sees what it is asked and nothing else.
type briefing struct{}

func (briefing) Ask(name string, to AgentPin, input json.RawMessage) (polity.Command, error) {
	c := polity.Ask(name, to.Agent, to.Skill, input)
	c.Bounds = to.Bounds
	return c, nil
}

func (briefing) Reply(output json.RawMessage) polity.Command { return polity.Finish(output) }

// toolbox is the default action: the pinned tools, and the agents that may be asked.
type toolbox struct {
	offers []model.Offer
	tools  map[string]bool
	agents map[string]agentOffer
	talk   Communication
}

type agentOffer struct {
	pin     AgentPin
	accepts check
}

// askPrefix begins the names under which agents are offered.
const askPrefix = "ask."

func newToolbox(m *Model, talk Communication) (*toolbox, error) {
	b := &toolbox{tools: map[string]bool{}, agents: map[string]agentOffer{}, talk: talk}
	for _, t := range m.Tools {
		if b.tools[t.Name] {
			return nil, fault.Invalid.New("tool %q is listed twice", t.Name)
		}
		b.tools[t.Name] = true
		b.offers = append(b.offers, model.Offer{Name: t.Name, Description: t.Description, Input: t.Schema})
	}
	for _, a := range m.Agents {
		name := askPrefix + string(a.Agent)
		if a.Skill != "" {
			name += "." + a.Skill
		}
		raw := a.Schema
		if len(raw) == 0 {
			raw = json.RawMessage(briefSchema)
		}
		accepts, err := compile(raw)
		if err != nil {
			return nil, fault.Invalid.New("agent %q: input: %w", a.Agent, err)
		}
		if _, twice := b.agents[name]; twice || b.tools[name] {
			return nil, fault.Invalid.New("%q is offered twice", name)
		}
		b.agents[name] = agentOffer{a, accepts}
		text := strings.TrimSpace("Asks the agent " + string(a.Agent) + ". " + a.Description)
		b.offers = append(b.offers, model.Offer{Name: name, Description: text, Input: raw})
	}
	return b, nil
}

func (b *toolbox) Offers() []model.Offer { return b.offers }

func (b *toolbox) Act(name string, c model.Call) (polity.Command, error) {
	if len(c.Input) > inputMax {
		return polity.Command{}, fault.Invalid.New("the input has %d bytes; the most is %d", len(c.Input), inputMax)
	}
	if a, ok := b.agents[c.Name]; ok {
		if err := a.accepts(c.Input); err != nil {
			return polity.Command{}, fault.Invalid.New("input: %w", err)
		}
		return b.talk.Ask(name, a.pin, c.Input)
	}
	if !b.tools[c.Name] {
		known := make([]string, len(b.offers))
		for i, o := range b.offers {
			known[i] = o.Name
		}
		text := "nothing may be called"
		if len(known) > 0 {
			text = "there is " + strings.Join(known, ", ")
		}
		return polity.Command{}, fault.Denied.New("no tool %.100q may be called here; %s", c.Name, text)
	}
	return polity.Call(name, c.Name, c.Input), nil
}
