package topology

import (
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/message"
	"polity.run/pattern"
)

// linkEdgesDrawn is how many links of messages are drawn; of more nobody would see anything.
const linkEdgesDrawn = 500

// drawLinks adds who may message whom in an organization: agents, the groups and roles that links lead to, with their members, topics, and whoever is no agent. of is what
// something of the organization is called. A link to topics leads to those that are drawn already, or to one node for all that its pattern stands for.
func drawLinks(r *agent.Release, of func(string) string, nodes []Node, edges []Edge) ([]Node, []Edge) {
	if r.Messages == nil || linkEdges(r) > linkEdgesDrawn {
		return nodes, edges
	}
	link := func(from, does, to string) {
		if e := (Edge{from, to, does}); !slices.Contains(edges, e) {
			edges = append(edges, e)
		}
	}
	add := func(name, what string) string {
		if n := (Node{Name: name, What: what}); !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
		return name
	}
	for _, l := range r.Messages.Links {
		from := of(l.From.Name)
		switch {
		case l.From == agent.Outsiders:
			from = add(of("outside"), "outside")
		case l.From.Kind == message.Outside:
			from = add(of("outside "+l.From.Name), "outside")
		}
		for _, to := range l.To {
			switch to.Kind {
			case message.Agent:
				link(from, "may message", of(to.Name))
			case message.Topic:
				for _, topic := range topicsMeant(nodes, to.Name) {
					link(from, "may publish on", add(topic, "topic"))
				}
			default:
				several := add(of(string(to.Kind)+" "+to.Name), string(to.Kind))
				link(from, "may message", several)
				for _, name := range pattern.Meant(r, to) {
					link(several, "has", of(string(name)))
				}
			}
		}
	}
	return nodes, edges
}

// linkEdges is how many edges links are.
func linkEdges(r *agent.Release) (n int) {
	for _, l := range r.Messages.Links {
		n += len(l.To)
	}
	for _, members := range r.Messages.Groups {
		n += len(members)
	}
	return n
}

// topicsMeant are the topics among nodes that a pattern stands for; the pattern itself if there is none.
func topicsMeant(nodes []Node, topics string) (list []string) {
	for _, n := range nodes {
		if topic, ok := strings.CutPrefix(n.Name, "topic "); ok && n.What == "topic" && !strings.ContainsAny(topic, "*>") && polity.MatchTopic(topics, topic) {
			list = append(list, n.Name)
		}
	}
	if list == nil {
		list = []string{"topic " + topics}
	}
	return list
}
