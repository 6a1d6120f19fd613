package message

import (
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// Kind says what an address names.
type Kind string

// The kinds of address.
const (
	Agent   Kind = "agent"   // one agent, or an instance of it, as in agent:clerk/c-17
	Role    Kind = "role"    // every agent that has a role in its organization, as in role:specialists
	Group   Kind = "group"   // every agent of a declared group
	Topic   Kind = "topic"   // whoever reads the topic
	All     Kind = "all"     // every agent that the sender is linked to. It has no name
	Outside Kind = "outside" // somebody who is no agent: a person, a program. Only answers go there
)

// Address is who speaks or is spoken to, as in agent:critic.
type Address struct {
	Kind Kind
	Name string
}

// To returns the address of an agent.
func To(agent polity.AgentName) Address { return Address{Agent, string(agent)} }

// Base returns the address of the agent that an instance is of; any other address is its own.
func (a Address) Base() Address {
	if a.Kind == Agent {
		base, _ := polity.AgentName(a.Name).Base()
		a.Name = string(base)
	}
	return a
}

// String returns the address as text: its kind and name, or all.
func (a Address) String() string {
	if a.Kind == All && a.Name == "" {
		return string(All)
	}
	return string(a.Kind) + ":" + a.Name
}

// ParseAddress reads what String writes. A name alone is an agent's. It returns fault.Invalid for anything else.
func ParseAddress(text string) (Address, error) {
	kind, name, typed := strings.Cut(text, ":")
	switch {
	case text == string(All):
		return Address{Kind: All}, nil
	case !typed:
		kind, name = string(Agent), text
	}
	a := Address{Kind(kind), name}
	return a, a.Check()
}

// Check returns nil, or fault.Invalid for what nobody can have as an address.
func (a Address) Check() error {
	switch a.Kind {
	case Agent:
		if err := polity.AgentName(a.Name).CheckAddress(); err != nil {
			return fault.Invalid.New("address %.80q: %w", a.String(), err)
		}
	case Group, Role, Outside:
		if err := polity.AgentName(a.Name).Check(); err != nil {
			return fault.Invalid.New("address %.80q: %w", a.String(), err)
		}
	case Topic:
		if err := polity.CheckTopic(a.Name); err != nil {
			return fault.Invalid.New("address %.80q: %w", a.String(), err)
		}
	case All:
		if a.Name != "" {
			return fault.Invalid.New("address %.80q: all has no name", a.String())
		}
	default:
		kinds := words([]Kind{Agent, Role, Group, Topic, All, Outside})
		return fault.Invalid.New("address %.80q: want NAME of an agent, or role:NAME, group:NAME, topic:NAME or all%s", a.String(), meant(string(a.Kind), kinds))
	}
	return nil
}

// Subject returns the NATS subject on which an agent sends a performative to an address. It is also the permission that the agent needs, and
// says where the message is given to several: an agent's is delivered to one, everything else is fanned out behind the subject. That of an instance is
// its agent's.
func (a Address) Subject(from polity.AgentName, p polity.Performative) string {
	a = a.Base()
	switch a.Kind {
	case Agent:
		return "msg." + string(from) + "." + a.Name + "." + string(p)
	case Role:
		return "rol." + string(from) + "." + a.Name + "." + string(p)
	case Group:
		return "grp." + string(from) + "." + a.Name + "." + string(p)
	case Topic:
		return "evt." + string(from) + "." + a.Name
	default:
		return "all." + string(from) + "." + string(p)
	}
}

func checkFrom(a Address) error {
	switch {
	case a == Address{}:
		return missing("source")
	case a.Kind != Agent && a.Kind != Outside:
		return fault.Invalid.New("message: source %.80q: want agent:NAME or outside:NAME", a.String())
	}
	if err := a.Check(); err != nil {
		return fault.Invalid.New("message: source: %w", err)
	}
	return nil
}

func checkTo(list []Address, t Type) error {
	if len(list) == 0 {
		return missing("recipients")
	}
	if len(list) > RecipientsMax {
		return fault.Invalid.New("message: %d recipients; the most is %d: use a group", len(list), RecipientsMax)
	}
	for i, a := range list {
		if err := a.Check(); err != nil {
			return fault.Invalid.New("message: recipients: %w", err)
		}
		if a.Kind == Outside && t != Result {
			return fault.Invalid.New("message: recipients: %q has no mailbox: only answers go there", a.String())
		}
		if slices.Contains(list[:i], a) {
			return fault.Invalid.New("message: recipients: %q stands there twice", a.String())
		}
	}
	return nil
}

func addresses(list []Address) string {
	if len(list) == 1 {
		return list[0].String()
	}
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(a.String())
	}
	return b.String()
}

func parseAddresses(text string) ([]Address, error) {
	var list []Address
	for part := range strings.SplitSeq(text, ",") {
		a, err := ParseAddress(part)
		if err != nil {
			return nil, err
		}
		if list = append(list, a); len(list) > RecipientsMax {
			return nil, checkTo(list, "")
		}
	}
	return list, nil
}
