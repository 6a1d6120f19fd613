package cli

import (
	"slices"

	"polity.run"
	"polity.run/agent"
	"polity.run/manifest"
	"polity.run/pattern"
)

// topicUse is what an agent has to do with a topic, or with all that a pattern stands for.
type topicUse struct {
	agent string
	topic string
	does  string // publishes, or opens a run of and is awaited by
}

func (u *topicUse) published() bool { return u.does == "publishes" }

// topicUses lists what the agents of a manifest have to do with topics.
func topicUses(m *manifest.Manifest) []topicUse {
	var uses []topicUse
	add := func(u topicUse) {
		if !slices.Contains(uses, u) {
			uses = append(uses, u)
		}
	}
	for _, on := range m.On {
		if on.Topic != "" {
			add(topicUse{on.Agent, on.Topic, "opens a run of"})
		}
	}
	for _, d := range m.Release.Agents {
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
func drawTopics(uses []topicUse, nodes []graphNode, edges []graphEdge) ([]graphNode, []graphEdge) {
	name := func(topic string) string { return "topic " + topic }
	add := func(topic string) {
		if n := (graphNode{Name: name(topic), What: "topic"}); !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	for _, u := range uses {
		if u.published() {
			add(u.topic)
			edges = append(edges, graphEdge{u.agent, name(u.topic), u.does})
		}
	}
	for _, u := range uses {
		if u.published() {
			continue
		}
		known := false
		for _, p := range uses {
			edge := graphEdge{name(p.topic), u.agent, u.does}
			if p.published() && polity.MatchTopic(u.topic, p.topic) {
				known = true
				if !slices.Contains(edges, edge) {
					edges = append(edges, edge)
				}
			}
		}
		if !known {
			add(u.topic)
			edges = append(edges, graphEdge{name(u.topic), u.agent, u.does})
		}
	}
	return nodes, edges
}

// drawings draws several organizations, each with its topics. The agents of more than one are named after them.
func drawings(all []*manifest.Manifest) (nodes []graphNode, edges []graphEdge) {
	var uses []topicUse
	for _, m := range all {
		n, e := drawing(&m.Release)
		of := func(name string) string {
			if len(all) == 1 {
				return name
			}
			return m.Release.Name + "/" + name
		}
		for _, node := range n {
			node.Name = of(node.Name)
			nodes = append(nodes, node)
		}
		for _, edge := range e {
			edges = append(edges, graphEdge{of(edge.From), of(edge.To), edge.Does})
		}
		for _, u := range topicUses(m) {
			u.agent = of(u.agent)
			uses = append(uses, u)
		}
	}
	nodes, edges = drawCrossings(all, nodes, edges)
	return drawTopics(uses, nodes, edges)
}

// drawCrossings adds who may message agents of other organizations: of those that are drawn where both have the link, of others if they do.
func drawCrossings(all []*manifest.Manifest, nodes []graphNode, edges []graphEdge) ([]graphNode, []graphEdge) {
	drawn := map[string]*agent.Release{}
	for _, m := range all {
		drawn[m.Release.Name] = &m.Release
	}
	name := func(p agent.Party) string {
		if len(all) == 1 && drawn[p.Org] != nil {
			return string(p.Agent)
		}
		if n := (graphNode{Name: p.String(), What: "agent"}); drawn[p.Org] == nil && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
		return p.String()
	}
	for _, m := range all {
		for _, c := range m.Release.Crossings() {
			from, to := drawn[c.From.Org], drawn[c.To.Org]
			does := "may message"
			switch {
			case from == nil || to == nil:
				does = "may message, if both say so"
			case !agent.Cross(from, c.From.Agent, to, c.To.Agent):
				does = "may not message, as only " + m.Release.Name + " says so"
			}
			if e := (graphEdge{name(c.From), name(c.To), does}); !slices.Contains(edges, e) {
				edges = append(edges, e)
			}
		}
	}
	return nodes, edges
}
