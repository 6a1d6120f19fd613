package agent

import (
	"encoding/json"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// Topic is what an organization agrees on with everybody else about a topic, and which of its agents may publish and await its events.
type Topic struct {
	// Name is a topic, or a pattern of topics, of which only Publish and Subscribe are said.
	Name  string `json:"topic"`
	About string `json:"about,omitempty"`
	// Schema is the JSON Schema of what is published, which is registered when the release is installed: under Mode and Declared if it is the first
	// one of the topic. Empty: what is registered holds, if anything is.
	Schema   json.RawMessage `json:"schema,omitempty"`
	Mode     schema.Mode     `json:"mode,omitempty"`
	Declared bool            `json:"declared,omitempty"`
	// Reads are the versions of the schema that the subscribers read, as in "1-3"; "" is all up to the one that Schema is. Without a schema, too, they
	// are given whatever is published.
	Reads string `json:"reads,omitempty"`
	// Key is a field of the events: those with the same value are handled one after another. It is for whoever watches.
	Key       string             `json:"key,omitempty"`
	Keep      polity.Duration    `json:"keep,omitempty"` // how long an event is kept; 0 is as long as events are
	Publish   []polity.AgentName `json:"publish,omitempty"`
	Subscribe []polity.AgentName `json:"subscribe,omitempty"`
}

// Topic returns what the release says of a topic by its name, or nil.
func (r *Release) Topic(name string) *Topic {
	for i := range r.Topics {
		if r.Topics[i].Name == name {
			return &r.Topics[i]
		}
	}
	return nil
}

// MayPublish returns why an agent may not publish on a topic: fault.Denied. Where a release declares no topics every agent may.
func (r *Release) MayPublish(agent polity.AgentName, topic string) error {
	return r.may(agent, "publish on", topic, func(t *Topic) []polity.AgentName { return t.Publish })
}

// MayAwait returns why an agent may not be given what is published on the topics of a pattern, as MayPublish does.
func (r *Release) MayAwait(agent polity.AgentName, pattern string) error {
	return r.may(agent, "subscribe to", pattern, func(t *Topic) []polity.AgentName { return t.Subscribe })
}

func (r *Release) may(agent polity.AgentName, what, pattern string, who func(*Topic) []polity.AgentName) error {
	if len(r.Topics) == 0 {
		return nil
	}
	agent, _ = agent.Base()
	var names, allowed []string
	declared := false
	for i := range r.Topics {
		t := &r.Topics[i]
		names = append(names, t.Name)
		if !polity.CoversTopic(t.Name, pattern) {
			continue
		}
		declared = true
		for _, a := range who(t) {
			if a == agent {
				return nil
			}
			allowed = append(allowed, string(a))
		}
	}
	hint := ""
	if near := fault.Nearest(pattern, names); near != "" && r.Topic(pattern) == nil {
		hint = "; did you mean " + near + "?"
	}
	if !declared {
		if hint == "" {
			hint = "; it declares " + strings.Join(names, ", ")
		}
		return fault.Denied.New("organization %s declares no topic %s%s", r.Name, pattern, hint)
	}
	slices.Sort(allowed)
	others := "nobody may"
	if len(allowed) > 0 {
		others = strings.Join(slices.Compact(allowed), ", ") + " may"
	}
	return fault.Denied.New("agent %s may not %s topic %s; %s%s", agent, what, pattern, others, hint)
}
