package schema

import (
	"maps"
	"slices"

	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"polity.run/fault"
)

// alternatives are schemas of which at most one applies to the same value.
type alternatives []*validator.Schema

// edges say which schemas a schema leads to: for the same value, and for its members.
type edges struct {
	same, member []alternatives
}

// graph is a compiled schema as a graph, walked once to learn what it can cost and what it knows.
type graph struct {
	root    *validator.Schema
	order   []*validator.Schema // as found, root first
	out     map[*validator.Schema]edges
	anchors map[string]alternatives // schemas by dynamic anchor
}

func newGraph(root *validator.Schema) *graph {
	g := &graph{root: root, out: map[*validator.Schema]edges{}, anchors: map[string]alternatives{}}
	queue := []*validator.Schema{root}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		if _, seen := g.out[s]; seen || s == nil {
			continue
		}
		e := edges{same: sameValue(s), member: members(s)}
		g.out[s], g.order = e, append(g.order, s)
		if s.DynamicAnchor != "" {
			g.anchors[s.DynamicAnchor] = append(g.anchors[s.DynamicAnchor], s)
		}
		for _, group := range slices.Concat(e.same, e.member) {
			queue = append(queue, group...)
		}
	}
	for _, s := range g.order {
		if s.DynamicRef != nil {
			e := g.out[s]
			e.same = append(e.same, append(g.anchors[s.DynamicRef.Anchor], s.DynamicRef.Ref))
			g.out[s] = e
		}
	}
	return g
}

// sameValue lists what applies to the value that s applies to.
func sameValue(s *validator.Schema) []alternatives {
	var out []alternatives
	for _, one := range []*validator.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else} {
		if one != nil {
			out = append(out, alternatives{one})
		}
	}
	if s.DynamicRef != nil && s.DynamicRef.Ref != nil {
		out = append(out, alternatives{s.DynamicRef.Ref})
	}
	for _, one := range slices.Concat(s.AllOf, s.AnyOf, s.OneOf) {
		out = append(out, alternatives{one})
	}
	for _, name := range slices.Sorted(maps.Keys(s.DependentSchemas)) {
		out = append(out, alternatives{s.DependentSchemas[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Dependencies)) {
		if one, ok := s.Dependencies[name].(*validator.Schema); ok {
			out = append(out, alternatives{one})
		}
	}
	return out
}

// members lists what applies to the members of the value that s applies to.
func members(s *validator.Schema) []alternatives {
	var named alternatives
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		named = append(named, s.Properties[name])
	}
	named = appendSchema(named, s.AdditionalProperties)
	items := alternatives(slices.Clone(s.PrefixItems))
	items = appendSchema(items, s.Items)
	items = appendSchema(items, s.AdditionalItems)
	if s.Items2020 != nil {
		items = append(items, s.Items2020)
	}
	out := []alternatives{named, items}
	for _, one := range s.PatternProperties { // the order reaches no result: costs are added and compared
		out = append(out, alternatives{one})
	}
	for _, one := range []*validator.Schema{
		s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.UnevaluatedItems, s.ContentSchema,
	} {
		if one != nil {
			out = append(out, alternatives{one})
		}
	}
	return slices.DeleteFunc(out, func(a alternatives) bool { return len(a) == 0 })
}

func appendSchema(to alternatives, v any) alternatives {
	switch v := v.(type) {
	case *validator.Schema:
		if v != nil {
			to = append(to, v)
		}
	case []*validator.Schema:
		to = append(to, v...)
	}
	return to
}

// properties returns, for each schema's location, the names of the properties it declares, sorted.
func (g *graph) properties() map[string][]string {
	known := map[string][]string{}
	for _, s := range g.order {
		if len(s.Properties) > 0 {
			known[s.Location] = slices.Sorted(maps.Keys(s.Properties))
		}
	}
	return known
}

// cost returns how many evaluations one value at each depth can cause at most. Recursive schemas
// cost at every depth; others end where the schema ends. A schema that comes back to itself
// without going into the value is refused, since checking it would never end.
func (g *graph) cost() ([]float64, error) {
	order, err := g.inner()
	if err != nil {
		return nil, err
	}
	var out []float64
	above := map[*validator.Schema]float64{}
	for depth := range DepthMax + 1 {
		here := make(map[*validator.Schema]float64, len(order))
		for _, s := range order {
			here[s] = g.costAt(s, depth, here, above)
		}
		if here[g.root] == 0 {
			break
		}
		out, above = append(out, here[g.root]), here
	}
	return out, nil
}

// costAt adds up what s costs for a value that lies depth levels below the value s applies to.
func (g *graph) costAt(s *validator.Schema, depth int, here, above map[*validator.Schema]float64) float64 {
	sum := 0.0
	if depth == 0 {
		sum = 1 + float64(len(s.Required)+len(s.PatternProperties))
		if s.Enum != nil {
			sum += float64(len(s.Enum.Values))
		}
	}
	for _, group := range g.out[s].same {
		sum += dearest(group, here)
	}
	if depth > 0 {
		for _, group := range g.out[s].member {
			sum += dearest(group, above)
		}
	}
	return sum
}

func dearest(group alternatives, cost map[*validator.Schema]float64) float64 {
	most := 0.0
	for _, s := range group {
		most = max(most, cost[s])
	}
	return most
}

// inner orders the schemas so that each comes after those that apply to the same value.
func (g *graph) inner() ([]*validator.Schema, error) {
	const entered, left = 1, 2
	state := make(map[*validator.Schema]int, len(g.order))
	order := make([]*validator.Schema, 0, len(g.order))
	var visit func(s *validator.Schema) error
	visit = func(s *validator.Schema) error {
		if s == nil || state[s] == left {
			return nil
		}
		if state[s] == entered {
			return fault.Invalid.New("schema: %s refers to itself without end", explainPlace(s.Location))
		}
		state[s] = entered
		for _, group := range g.out[s].same {
			for _, next := range group {
				if err := visit(next); err != nil {
					return err
				}
			}
		}
		state[s], order = left, append(order, s)
		return nil
	}
	for _, s := range g.order {
		if err := visit(s); err != nil {
			return nil, err
		}
	}
	return order, nil
}
