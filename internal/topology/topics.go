package topology

import (
	"slices"

	"polity.run"
	"polity.run/agent"
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
		if err != nil {
			continue
		}
		awaits := func(a *pattern.Await) {
			if a != nil && a.Topic != "" {
				add(topicUse{string(d.Name), a.Topic, "is awaited by"})
			}
		}
		switch c := c.(type) {
		case *pattern.Hub:
			for i := 0; c.Plan != nil && i < len(c.Plan.Steps); i++ {
				awaits(c.Plan.Steps[i].Await)
			}
		case *pattern.Sequence:
			for _, one := range c.Stages {
				if one.Publish != nil {
					add(topicUse{string(d.Name), one.Publish.Topic, "publishes"})
				}
				awaits(one.Await)
			}
			if c.Failed != nil {
				add(topicUse{string(d.Name), c.Failed.Topic, "publishes"})
			}
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

// drawCrossings adds who may message agents of other organizations: of those that are drawn where both have the link, of others if they do.
func drawCrossings(all []Org, nodes []Node, edges []Edge) ([]Node, []Edge) {
	drawn := map[string]*agent.Release{}
	for _, o := range all {
		drawn[o.Release.Name] = o.Release
	}
	name := func(p agent.Party) string {
		if len(all) == 1 && drawn[p.Org] != nil {
			return string(p.Agent)
		}
		if n := (Node{Name: p.String(), What: "agent"}); drawn[p.Org] == nil && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
		return p.String()
	}
	for _, o := range all {
		for _, c := range o.Release.Crossings() {
			from, to := drawn[c.From.Org], drawn[c.To.Org]
			does := "may message"
			switch {
			case from == nil || to == nil:
				does = "may message, if both say so"
			case !agent.Cross(from, c.From.Agent, to, c.To.Agent):
				does = "may not message, as only " + o.Release.Name + " says so"
			}
			if e := (Edge{name(c.From), name(c.To), does}); !slices.Contains(edges, e) {
				edges = append(edges, e)
			}
		}
	}
	return nodes, edges
}
