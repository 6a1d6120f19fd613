package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polity.run/agent"
	"polity.run/internal/topology"
	"polity.run/manifest"
)

const graphHelp = `Draw who asks whom in an organization, who may message whom, what each agent uses, and the topics on
which it publishes and listens, as it stands in a manifest. Several manifests are drawn together: topics join them.

The drawing is text: Mermaid, which many pages and editors show as a picture, or DOT for
Graphviz. Nothing is run.`

func (a *app) newGraph() *cobra.Command {
	var output *choice
	cmd := &cobra.Command{
		Use: "graph MANIFEST...", Short: "Draw who asks whom, as Mermaid or DOT", Long: graphHelp,
		Example: "  polity graph review.yaml\n  polity graph review.yaml -o dot | dot -Tsvg > review.svg\n  polity graph orders.yaml payments.yaml shipping.yaml", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			var all []topology.Org
			for _, path := range args {
				m, err := a.load(path)
				if err != nil {
					return err
				}
				if slices.ContainsFunc(all, func(other topology.Org) bool { return other.Release.Name == m.Release.Name }) {
					return usagef("%s is named %s, as one before it", path, m.Release.Name)
				}
				all = append(all, drawn(m))
			}
			nodes, edges := topology.Of(all...)
			switch output.value {
			case "json":
				return a.writeJSON(map[string]any{"nodes": nodes, "edges": edges})
			case "dot":
				return a.out([]byte(dot(all[0].Release.Name, nodes, edges)))
			default:
				return a.out([]byte(mermaid(nodes, edges)))
			}
		},
	}
	output = outputFlag(cmd, "mermaid", "mermaid", "dot", "json")
	return cmd
}

// drawn is a manifest as it is drawn.
func drawn(m *manifest.Manifest) topology.Org {
	o := topology.Org{Release: &m.Release}
	for _, on := range m.On {
		if on.Topic != "" {
			o.Opens = append(o.Opens, topology.Opens{Agent: on.Agent, Topic: on.Topic})
		}
	}
	return o
}

// mermaid writes a flowchart. Nodes get numbers, so that no name is taken for syntax.
func mermaid(nodes []topology.Node, edges []topology.Edge) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	text := func(s string) string {
		return strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ").Replace(clean(s))
	}
	at := func(name string) int {
		return slices.IndexFunc(nodes, func(n topology.Node) bool { return n.Name == name })
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
		case n.What == "topic":
			left, right = ">", "]"
		case n.What == "group", n.What == "role":
			left, right = "[[", "]]"
		case n.What == "outside":
			left, right = "((", "))"
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
func dot(name string, nodes []topology.Node, edges []topology.Edge) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", strconv.Quote(clean(name)))
	for _, n := range nodes {
		shape := "box"
		switch {
		case n.What == "tool":
			shape = "parallelogram"
		case n.What == "model":
			shape = "hexagon"
		case n.What == "topic":
			shape = "cds"
		case n.What == "group", n.What == "role":
			shape = "box3d"
		case n.What == "outside":
			shape = "circle"
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
