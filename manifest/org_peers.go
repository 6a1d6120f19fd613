package manifest

import (
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"polity.run"
	"polity.run/pattern"
)

// peers makes the configuration of peers.
func (b *builder) peers(o *org) pattern.Config {
	p := &o.as.peers
	cfg := &pattern.Peers{
		Topology: pattern.Topology{Shape: string(p.Topology.Shape), Center: polity.AgentName(p.Topology.Center), Degree: int(p.Topology.Degree)},
		Links:    links(o.as.Links), Start: agentNames(p.Start),
		Limits: pattern.PeerLimits{
			Turns: int(p.Limits.Turns), Messages: int(p.Limits.Messages), Queue: int(p.Limits.Queue), Stall: int(p.Limits.Stall),
		},
	}
	for _, one := range p.Peers {
		cfg.Peers = append(cfg.Peers, pattern.Peer{Agent: polity.AgentName(one.Agent), Later: one.Joins == "later", Bounds: b.bounds(one.Bounds)})
	}
	if g := p.Goal; g != nil {
		cfg.Goal = &pattern.Goal{Done: string(g.Done)}
		if w := g.When; w != nil {
			cfg.Goal.When = &pattern.GoalState{Member: polity.AgentName(w.Member), Condition: w.noun()}
		}
	}
	return cfg
}

// short reads an object, or a text that stands for the object with that field alone.
func (d *decoder) short(n *yaml.Node, v reflect.Value, field, want string) {
	if n.Kind == yaml.MappingNode {
		d.fields(n, v)
		return
	}
	if d.scalar(n, want, "!!str") {
		f := fieldsOf(v.Type()).byName[field]
		d.value(n, v.FieldByIndex(f.Index), d.child(field), d.marks.place(d.path))
	}
}

func (p *peer) read(d *decoder, n *yaml.Node) {
	d.short(n, reflect.ValueOf(p).Elem(), "agent", "the name of an agent")
}

func (peer) form() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{describeType(reflect.ValueOf(word(""))), fieldsForm(reflect.TypeFor[peer]())}}
}

func (t *topology) read(d *decoder, n *yaml.Node) {
	d.short(n, reflect.ValueOf(t).Elem(), "shape", "a shape such as ring, or {shape: star, center: NAME}")
}

func (topology) form() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{describeType(reflect.ValueOf(shapeWord(""))), fieldsForm(reflect.TypeFor[topology]())}}
}

// howMany is a number, or all.
type howMany string

func (h *howMany) read(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.Value != "all" {
		d.mismatch(n, "a number, or all", "")
		return
	}
	*h = howMany(n.Value)
}

func (howMany) form() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer", Minimum: new(1.0)}, {Const: new(any("all"))}}}
}
