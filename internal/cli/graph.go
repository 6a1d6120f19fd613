package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polity.run/agent"
	"polity.run/pattern"
)

const graphHelp = `Draw who asks whom in an organization, and what each agent uses, as it stands in a manifest.

The drawing is text: Mermaid, which many pages and editors show as a picture, or DOT for
Graphviz. Nothing is run.`

func (a *app) newGraph() *cobra.Command {
	var output *choice
	cmd := &cobra.Command{
		Use: "graph MANIFEST", Short: "Draw who asks whom, as Mermaid or DOT", Long: graphHelp,
		Example: "  polity graph review.yaml\n  polity graph review.yaml -o dot | dot -Tsvg > review.svg", Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := a.load(args[0])
			if err != nil {
				return err
			}
			nodes, edges := drawing(&m.Release)
			switch output.value {
			case "json":
				return a.writeJSON(map[string]any{"nodes": nodes, "edges": edges})
			case "dot":
				return a.out([]byte(dot(m.Release.Name, nodes, edges)))
			default:
				return a.out([]byte(mermaid(nodes, edges)))
			}
		},
	}
	output = outputFlag(cmd, "mermaid", "mermaid", "dot", "json")
	return cmd
}

// graphNode is an agent, a tool or a model in a drawing.
type graphNode struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"` // of an agent
	What string `json:"what"`           // agent, tool or model
	Main bool   `json:"main,omitempty"`
}

// graphEdge is who does what with whom.
type graphEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Does string `json:"does"` // asks, asks as ROLE, gathers, may call, may ask, thinks with
}

// drawing lists what stands in a release, in its order. Names of agents, tools and models do not meet: agents have no dots, and a model gets a prefix.
func drawing(r *agent.Release) (nodes []graphNode, edges []graphEdge) {
	seen := map[string]bool{}
	add := func(name, what, kind string) {
		if !seen[name] {
			seen[name] = true
			nodes = append(nodes, graphNode{Name: name, What: what, Kind: kind, Main: what == "agent" && name == r.Main})
		}
	}
	for _, d := range r.Agents {
		add(string(d.Name), "agent", string(d.Kind))
	}
	for _, d := range r.Agents {
		name := string(d.Name)
		link := func(to, does string) { edges = append(edges, graphEdge{name, to, does}) }
		if o := d.Org; o != nil {
			for _, l := range members(o) {
				link(l.to, l.does)
			}
			for _, t := range o.Tools {
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
func between(o *agent.Org) []graphEdge {
	c, err := pattern.Parse(o.Pattern, o.Config)
	linked, ok := c.(pattern.Linked)
	if err != nil || !ok { // of a pattern that this program does not know, or without links
		return nil
	}
	var edges []graphEdge
	for _, from := range o.Members {
		to, does := linked.Reach(from)
		for _, name := range to {
			edges = append(edges, graphEdge{string(from), string(name), "may " + does})
		}
	}
	if len(edges) > linksDrawn {
		return nil
	}
	return edges
}

// mermaid writes a flowchart. Nodes get numbers, so that no name is taken for syntax.
func mermaid(nodes []graphNode, edges []graphEdge) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	text := func(s string) string {
		return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ").Replace(clean(s))
	}
	at := func(name string) int {
		return slices.IndexFunc(nodes, func(n graphNode) bool { return n.Name == name })
	}
	for i, n := range nodes {
		left, right := "[", "]"
		switch {
		case n.Main:
			left, right = "([", "])"
		case n.What == "tool":
			left, right = "[/", "/]"
		case n.What == "model":
			left, right = "{{", "}}"
		case n.Kind == string(agent.KindHuman):
			left, right = "((", "))"
		}
		label := text(n.Name)
		if n.What == "agent" {
			label += "<br/>" + text(n.Kind)
		}
		fmt.Fprintf(&b, "  n%d%s\"%s\"%s\n", i, left, label, right)
	}
	for _, e := range edges {
		arrow := "-->"
		if strings.HasPrefix(e.Does, "may") {
			arrow = "-.->"
		}
		fmt.Fprintf(&b, "  n%d %s|%s| n%d\n", at(e.From), arrow, e.Does, at(e.To))
	}
	return b.String()
}

// dot writes a graph in Graphviz's language.
func dot(name string, nodes []graphNode, edges []graphEdge) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", strconv.Quote(clean(name)))
	for _, n := range nodes {
		shape := "box"
		switch {
		case n.What == "tool":
			shape = "parallelogram"
		case n.What == "model":
			shape = "hexagon"
		case n.Main:
			shape = "doubleoctagon"
		case n.Kind == string(agent.KindHuman):
			shape = "circle"
		}
		fmt.Fprintf(&b, "  %s [shape=%s];\n", strconv.Quote(clean(n.Name)), shape)
	}
	for _, e := range edges {
		style := "solid"
		if strings.HasPrefix(e.Does, "may") {
			style = "dashed"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=%s, style=%s];\n", strconv.Quote(clean(e.From)), strconv.Quote(clean(e.To)), strconv.Quote(e.Does), style)
	}
	b.WriteString("}\n")
	return b.String()
}
