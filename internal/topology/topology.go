// Package topology says who has to do with whom in an organization, as it stands in a release.
//
// It exists so that what is drawn at the command line and what a console shows beside the live load is the same graph.
package topology

import (
	"slices"
	"strings"

	"polity.run/agent"
	"polity.run/pattern"
)

// Org is an organization that is drawn.
type Org struct {
	Release *agent.Release
	Opens   []Opens
}

// Opens says that an event on a topic opens a run of an agent.
type Opens struct{ Agent, Topic string }

// Of draws several organizations, each with its topics. The agents of more than one are named after them.
func Of(all ...Org) (nodes []Node, edges []Edge) {
	var uses []topicUse
	named := func(o Org) func(string) string {
		return func(name string) string {
			if len(all) == 1 {
				return name
			}
			return o.Release.Name + "/" + name
		}
	}
	for _, o := range all {
		n, e := drawing(o.Release)
		of := named(o)
		for _, node := range n {
			node.Name = of(node.Name)
			nodes = append(nodes, node)
		}
		for _, edge := range e {
			edges = append(edges, Edge{of(edge.From), of(edge.To), edge.Does})
		}
		for _, u := range topicUses(o) {
			u.agent = of(u.agent)
			uses = append(uses, u)
		}
	}
	nodes, edges = drawCrossings(all, nodes, edges)
	nodes, edges = drawTopics(uses, nodes, edges)
	for _, o := range all {
		nodes, edges = drawLinks(o.Release, named(o), nodes, edges)
	}
	return nodes, edges
}

// Node is an agent, a tool, a model, a topic, several agents that are messaged together, or who is no agent.
type Node struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"` // of an agent
	What string `json:"what"`           // agent, tool, model, topic, group, role or outside
	Main bool   `json:"main,omitempty"`
	// Pattern is how an organization works; "" for what is none.
	Pattern string `json:"pattern,omitempty"`
}

// Edge is who does what with whom.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Does string `json:"does"` // asks, asks as ROLE, gathers, may call, may ask, thinks with, publishes, may message, may publish on; from a topic: opens a run of, is awaited by; from a group or role: has
}

// drawing lists what stands in a release, in its order. Names of agents, tools and models do not meet: agents have no dots, and a model gets a prefix.
func drawing(r *agent.Release) (nodes []Node, edges []Edge) {
	seen := map[string]bool{}
	add := func(name, what, kind string) {
		if !seen[name] {
			seen[name] = true
			nodes = append(nodes, Node{Name: name, What: what, Kind: kind, Main: what == "agent" && name == r.Main})
		}
	}
	for _, d := range r.Agents {
		add(string(d.Name), "agent", string(d.Kind))
		if d.Org != nil {
			nodes[len(nodes)-1].Pattern = d.Org.Pattern
		}
	}
	for _, d := range r.Agents {
		name := string(d.Name)
		link := func(to, does string) { edges = append(edges, Edge{name, to, does}) }
		if o := d.Org; o != nil {
			for _, l := range members(o) {
				link(l.to, l.does)
			}
			for _, t := range o.Tools {
				if t.Name == pattern.PublishTool { // the topics are drawn
					continue
				}
				add(t.Name, "tool", "")
				link(t.Name, "gathers")
			}
			edges = append(edges, between(o)...)
		}
		if m := d.Model; m != nil {
			add("model "+m.Model, "model", "")
			link("model "+m.Model, "thinks with")
			for _, t := range m.Gather {
				add(t.Name, "tool", "")
				link(t.Name, "gathers")
			}
			for _, t := range m.Tools {
				add(t.Name, "tool", "")
				link(t.Name, "may call")
			}
			for _, p := range m.Agents {
				link(string(p.Agent), "may ask")
			}
		}
		if m := d.MCP; m != nil {
			for _, t := range m.Tools {
				add(t.Name, "tool", "")
				link(t.Name, "may call")
			}
		}
	}
	return nodes, edges
}

// asking is whom an organization asks, and as what.
type asking struct{ to, does string }

// members lists whom an organization asks, in the order of its roles; one that is asked in several roles is named once, with all of them.
func members(o *agent.Org) []asking {
	var out []asking
	c, err := pattern.Parse(o.Pattern, o.Config)
	if err != nil { // of a pattern that this program does not know
		for _, m := range o.Members {
			out = append(out, asking{string(m), "asks"})
		}
		return out
	}
	for _, r := range c.Roles() {
		does := "asks"
		if r.Name != "specialist" {
			does += " as " + r.Name
		}
		i := slices.IndexFunc(out, func(a asking) bool { return a.to == string(r.Agent) })
		switch {
		case i < 0:
			out = append(out, asking{string(r.Agent), does})
		case !slices.Contains(strings.Split(strings.TrimPrefix(out[i].does, "asks as "), " and "), r.Name):
			out[i].does += " and " + r.Name
		}
	}
	return out
}

// linksDrawn is how many links between the members of one organization are drawn; of more nobody would see anything.
const linksDrawn = 200

// between lists which members of an organization may turn to which others, if its pattern says that.
func between(o *agent.Org) []Edge {
	c, err := pattern.Parse(o.Pattern, o.Config)
	linked, ok := c.(pattern.Linked)
	if err != nil || !ok { // of a pattern that this program does not know, or without links
		return nil
	}
	var edges []Edge
	for _, from := range o.Members {
		to, does := linked.Reach(from)
		for _, name := range to {
			edges = append(edges, Edge{string(from), string(name), "may " + does})
		}
	}
	if len(edges) > linksDrawn {
		return nil
	}
	return edges
}
