package topology

import (
	"slices"

	"polity.run"
	"polity.run/pattern"
)

// topicUse is what an agent has to do with a topic, or with all that a pattern stands for.
type topicUse struct {
	agent string
	topic string
	does  string // publishes, or opens a run of and is awaited by
}

func (u *topicUse) published() bool { return u.does == "publishes" }

// topicUses lists what the agents of an organization have to do with topics.
func topicUses(o Org) []topicUse {
	var uses []topicUse
	add := func(u topicUse) {
		if !slices.Contains(uses, u) {
			uses = append(uses, u)
		}
	}
	for _, on := range o.Opens {
		add(topicUse{on.Agent, on.Topic, "opens a run of"})
	}
	for _, d := range o.Release.Agents {
		if d.Org == nil {
			continue
		}
		c, err := pattern.Parse(d.Org.Pattern, d.Org.Config)
		s, ok := c.(*pattern.Sequence)
		if err != nil || !ok {
			continue
		}
		for _, one := range s.Stages {
			if one.Publish != nil {
				add(topicUse{string(d.Name), one.Publish.Topic, "publishes"})
			}
			if one.Await != nil && one.Await.Topic != "" {
				add(topicUse{string(d.Name), one.Await.Topic, "is awaited by"})
			}
		}
		if s.Failed != nil {
			add(topicUse{string(d.Name), s.Failed.Topic, "publishes"})
		}
	}
	return uses
}

// drawTopics adds the topics that agents publish on, and to whom what is published there goes. A pattern that stands for some of them is drawn as these.
func drawTopics(uses []topicUse, nodes []Node, edges []Edge) ([]Node, []Edge) {
	name := func(topic string) string { return "topic " + topic }
	add := func(topic string) {
		if n := (Node{Name: name(topic), What: "topic"}); !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	for _, u := range uses {
		if u.published() {
			add(u.topic)
			edges = append(edges, Edge{u.agent, name(u.topic), u.does})
		}
	}
	for _, u := range uses {
		if u.published() {
			continue
		}
		known := false
		for _, p := range uses {
			edge := Edge{name(p.topic), u.agent, u.does}
			if p.published() && polity.MatchTopic(u.topic, p.topic) {
				known = true
				if !slices.Contains(edges, edge) {
					edges = append(edges, edge)
				}
			}
		}
		if !known {
			add(u.topic)
			edges = append(edges, Edge{name(u.topic), u.agent, u.does})
		}
	}
	return nodes, edges
}
