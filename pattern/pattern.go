package pattern

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// Config is the configuration of a pattern, as [Hub] is of the hub. Its JSON is what a release pins.
type Config interface {
	// Check returns nil or all problems together, as errors.Join. Each is a *Problem, and so fault.Invalid.
	Check() error
	// Decider returns what decides the runs, or what Check finds. It keeps nothing of the configuration that may change, holds no
	// state of a run, and is safe for concurrent use.
	Decider() (polity.Decider, error)
	// Roles lists who is asked for what, in the order of the configuration. It may be called before Know.
	Roles() []Role
	// Know tells the configuration about the agents that its roles name; an agent that is not told of does not exist.
	Know(members []Member)
}

// Member is an agent that a pattern may ask, as far as the pattern needs to know it.
type Member struct {
	Name        polity.AgentName `json:"name"`
	Description string           `json:"description,omitempty"`
	Skills      []polity.Skill   `json:"skills"`
	// Repeatable says that asking it twice does no harm: nothing that it does reaches the outside.
	Repeatable bool `json:"repeatable,omitempty"`
	// Model is what its provider calls the model that it thinks with, if it is one that thinks.
	Model string `json:"model,omitempty"`
}

// Role is what an agent does in an organization.
type Role struct {
	Field string // where the configuration names the agent, as in judge or debaters[2].agent
	Name  string // in a word or two, as in judge
	Agent polity.AgentName
	// Duties are the skills that it is asked for. An agent that has no skill of such a name is asked for its only one; the input
	// says which duty is meant. Empty: whatever it can do.
	Duties []polity.Skill
}

// Names lists the patterns in the order in which they are documented.
func Names() []string {
	return []string{"hub", "sequence", "parallel", "loop", "router", "handoff", "peers", "hierarchy", "debate"}
}

// New returns the empty configuration of a pattern, or fault.Invalid naming those that there are.
func New(name string) (Config, error) {
	switch name {
	case "hub":
		return &Hub{}, nil
	case "sequence":
		return &Sequence{}, nil
	case "parallel":
		return &Parallel{}, nil
	case "loop":
		return &Loop{}, nil
	case "router":
		return &Router{}, nil
	case "handoff":
		return &Handoff{}, nil
	case "peers":
		return &Peers{}, nil
	case "hierarchy":
		return &Hierarchy{}, nil
	case "debate":
		return &Debate{}, nil
	default:
		return nil, fault.Invalid.New("pattern %q is not known here; there is %s%s", name, strings.Join(Names(), ", "), among(Names(), name))
	}
}

// Parse reads the configuration of a pattern. It returns fault.Invalid for one that cannot be read; what it says is not checked.
func Parse(name string, config json.RawMessage) (Config, error) {
	c, err := New(name)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fault.Invalid.New("%s: configuration: %w", name, err)
	}
	return c, nil
}

// Tools lists the tools that the deciders of a configuration call themselves. A release pins them for the organization.
func Tools(c Config) []string {
	switch c := c.(type) {
	case *Hub:
		return []string{VerifyTool}
	case *Debate:
		if c.Source {
			return []string{VerifyTool}
		}
	case *Sequence:
		if c.Failed != nil || slices.ContainsFunc(c.Stages, func(s Stage) bool { return s.Publish != nil }) {
			return []string{PublishTool}
		}
	}
	return nil
}

// Can returns the name of the skill by which m is asked for a duty: the duty's own, or that of its only skill; false if it has neither.
func (m *Member) Can(duty string) (string, bool) {
	if slices.ContainsFunc(m.Skills, func(s polity.Skill) bool { return s.Name == duty }) {
		return duty, true
	}
	if len(m.Skills) == 1 {
		return m.Skills[0].Name, true
	}
	return "", false
}

// find returns the member with the name, or nil.
func find(members []Member, name polity.AgentName) *Member {
	i := slices.IndexFunc(members, func(m Member) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &members[i]
}

// known is who of the members has a role, in the order of the roles, each once.
func known(roles []Role, members []Member) []Member {
	var out []Member
	for _, r := range roles {
		if m := find(members, r.Agent); m != nil && find(out, r.Agent) == nil {
			out = append(out, *m)
		}
	}
	return out
}

// checkRoles checks that each role is filled by a member that can do its duties.
func checkRoles(roles []Role, members []Member, p *problems) {
	for _, r := range roles {
		at := in("%s", r.Field)
		if r.Agent == "" {
			p.add(at, "nobody is the %s; name an agent", r.Name)
			continue
		}
		m := find(members, r.Agent)
		if m == nil {
			p.add(at, "there is no agent %q to be the %s", r.Agent, r.Name)
			continue
		}
		for _, d := range r.Duties {
			if _, ok := m.Can(d.Name); !ok {
				p.add(at, "%s has several skills and none is called %s, which the %s is asked for; name one of them so", r.Agent, d.Name, r.Name)
			}
		}
	}
}

// copied returns a deep copy of a configuration that was checked, so that nobody else holds what a decider reads.
func copied[T any](c T) *T {
	data, err := json.Marshal(c)
	var own T
	if err == nil {
		err = json.Unmarshal(data, &own)
	}
	if err != nil {
		panic("pattern: a configuration that is no JSON: " + err.Error()) // it was checked: all of it is names, numbers and schemas
	}
	return &own
}
