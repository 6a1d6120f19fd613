package manifest

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"polity.run"
	"polity.run/pattern"
)

// router makes the configuration of a router.
func (b *builder) router(o *org) pattern.Config {
	r := &o.as.router
	cfg := &pattern.Router{
		Classifier: polity.AgentName(r.Classifier), Least: float64(r.Least), Fallback: polity.AgentName(o.as.Fallback),
	}
	if at := o.path + ".least"; b.at.has(at) && r.Least == 0 && !b.log.doubts(at) {
		b.add(at, "this is not sure at all, and stands for the default", "leave it out, or write more")
	}
	for _, one := range r.Routes {
		out := pattern.Route{
			Name: string(one.Name), Agent: polity.AgentName(one.Agent), Skill: string(one.Skill), Description: one.Description, Bounds: b.bounds(one.Bounds),
		}
		for _, c := range one.When {
			out.When = append(out.When, c.noun())
		}
		cfg.Routes = append(cfg.Routes, out)
	}
	for _, c := range r.Calibration {
		cfg.Calibration = append(cfg.Calibration, pattern.Calibrated{Said: float64(c.Said), Right: float64(c.Right)})
	}
	return cfg
}

func (c *condition) noun() pattern.Condition {
	return pattern.Condition{Field: c.Field, Equals: c.Equals.json, Contains: c.Contains, Matches: c.Matches}
}

// conditions are several conditions, or one that is written without a list.
type conditions []condition

func (c *conditions) read(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		d.items(n, reflect.ValueOf(c).Elem())
		return
	}
	if n.Kind != yaml.MappingNode {
		d.mismatch(n, "a condition such as {field: input.kind, equals: mail}, or a list of them", "")
		return
	}
	*c = conditions{{}}
	at := fmt.Sprintf("%s[0]", d.path)
	d.value(n, reflect.ValueOf(&(*c)[0]).Elem(), at, d.marks.place(d.path))
}

func (conditions) form() *jsonschema.Schema {
	one := fieldsForm(reflect.TypeFor[condition]())
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one, {Type: "array", Items: one, MinItems: new(1)}}}
}

// fieldsForm is the schema of an object with the fields of a struct of the format.
func fieldsForm(t reflect.Type) *jsonschema.Schema {
	types := map[reflect.Type]*jsonschema.Schema{}
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous {
			describeTypes(f.Type, types)
		}
	}
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		panic("manifest: schema: " + err.Error()) // the types are our own
	}
	return s
}

// fraction is a number from 0 to 1.
type fraction float64

var fractionText = regexp.MustCompile(`^(0|1|[01]\.\d{1,4}|\.\d{1,4})$`)

func (f *fraction) read(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" {
		d.mismatch(n, "a number from 0 to 1 such as 0.6", "")
		return
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || !fractionText.MatchString(n.Value) || v > 1 {
		d.add(clip(n.Value)+" is not a number from 0 to 1", "write it with at most four decimals, as in 0.6")
		return
	}
	*f = fraction(v)
}

func (fraction) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "number", Minimum: new(0.0), Maximum: new(1.0)}
}
