package manifest

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"polity.run"
	"polity.run/fault"
)

// former is a type of the format that says its own JSON Schema.
type former interface{ form() *jsonschema.Schema }

// Schema returns the JSON Schema (draft 2020-12) of the file format, for editors and other tools. It
// says what can be said without looking anything up: Load checks more, such as that names exist.
func Schema() (json.RawMessage, error) {
	types := map[reflect.Type]*jsonschema.Schema{}
	describeTypes(reflect.TypeFor[file](), types)
	s, err := jsonschema.For[file](&jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		return nil, fault.Internal.New("manifest: schema: %w", err)
	}
	s.Defs = map[string]*jsonschema.Schema{departmentRef: objectForm(reflect.TypeFor[department]())}
	tighten(s)
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "Polity manifest"
	s.Description = "An organization of agents: " + FileName
	agents := s.Properties["agents"]
	agents.MinProperties, agents.MaxProperties = new(1), new(AgentsMax)
	agents.PropertyNames = describeType(reflect.ValueOf(word("")))
	s.Properties["topics"].PropertyNames = describeType(reflect.ValueOf(topicName("")))
	byKind(agents.AdditionalProperties)
	byPattern(agents.AdditionalProperties)
	s.Properties["org"].Required = []string{"pattern"}
	byPattern(s.Properties["org"])
	for _, field := range occasionKinds {
		on := s.Properties["on"]
		on.Items.OneOf = append(on.Items.OneOf, &jsonschema.Schema{Required: []string{field}})
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fault.Internal.New("manifest: schema: write: %w", err)
	}
	return raw, nil
}

// describeTypes adds the schemas of t and of the types in it that Go's kinds alone do not tell.
func describeTypes(t reflect.Type, types map[reflect.Type]*jsonschema.Schema) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s := describeType(reflect.New(t).Elem()); s != nil {
		types[t] = s
		return
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		describeTypes(t.Elem(), types)
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if !f.Anonymous {
				describeTypes(f.Type, types)
			}
		}
	}
}

// describeType returns the schema of what a type says about itself, or nil if it says nothing.
func describeType(v reflect.Value) *jsonschema.Schema {
	switch v := v.Interface().(type) {
	case former:
		return v.form()
	case chooser:
		s := &jsonschema.Schema{Type: "string"}
		for _, c := range v.choices() {
			s.Enum = append(s.Enum, c)
		}
		return s
	case shaped:
		f := v.shape()
		return &jsonschema.Schema{Type: "string", Pattern: f.text.String(), MaxLength: new(f.max)}
	case ranged:
		least, most := v.limits()
		return &jsonschema.Schema{Type: "integer", Minimum: new(float64(least)), Maximum: new(float64(most))}
	case string:
		return &jsonschema.Schema{Type: "string", Pattern: `\S`}
	default:
		return nil
	}
}

// tighten takes out null, which deriving adds for pointers and slices: in a manifest a field that
// is empty is a mistake.
func tighten(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	if s.Type == "array" {
		s.MinItems = new(1)
	}
	for _, p := range s.Properties {
		tighten(p)
	}
	for _, p := range s.AnyOf {
		tighten(p)
	}
	for _, p := range s.Defs {
		tighten(p)
	}
	tighten(s.Items)
	tighten(s.AdditionalProperties)
}

// byKind adds which fields of an agent go together: exactly one tells the kind, and the others of
// the kind need it.
func byKind(s *jsonschema.Schema) {
	k := memberKinds()
	s.DependentRequired = map[string][]string{}
	for field, kind := range k.owner {
		if teller := k.teller[kind]; teller != field {
			s.DependentRequired[field] = []string{teller}
		}
	}
	for _, kind := range kindWord("").choices() {
		one := &jsonschema.Schema{Required: []string{k.teller[kindWord(kind)]}}
		switch kind {
		case "model":
			one.OneOf = []*jsonschema.Schema{{Required: []string{"instructions"}}, {Required: []string{"instructions_file"}}}
		}
		one.Properties = map[string]*jsonschema.Schema{"kind": {Const: new(any(kind))}}
		s.OneOf = append(s.OneOf, one)
	}
}

// byPattern adds what an organization of each pattern cannot do without.
func byPattern(s *jsonschema.Schema) {
	all := fieldsOf(reflect.TypeFor[patterned]())
	for _, name := range patternWord("").choices() {
		var needed []string
		for _, field := range all.names {
			if _, must := patternsOf(all.byName[field]); slices.Contains(must, patternWord(name)) {
				needed = append(needed, field)
			}
		}
		if len(needed) > 0 {
			s.AllOf = append(s.AllOf, &jsonschema.Schema{
				If:   &jsonschema.Schema{Properties: map[string]*jsonschema.Schema{"pattern": {Const: new(any(name))}}, Required: []string{"pattern"}},
				Then: &jsonschema.Schema{Required: needed},
			})
		}
	}
}

func (money) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "number", ExclusiveMinimum: new(0.0), Maximum: new(float64(usdMax))}
}

func (duration) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: durationText.String()}
}

func (instant) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: instantText.String()}
}

func (size) form() *jsonschema.Schema { return bytesForm(sizeText.String(), sizeMax) }

func (capacity) form() *jsonschema.Schema { return bytesForm(capacityText.String(), capacityMax) }

// bytesForm is the schema of a number of bytes.
func bytesForm(pattern string, most int64) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "integer", Minimum: new(1.0), Maximum: new(float64(most))},
		{Type: "string", Pattern: pattern},
	}}
}

func (value) form() *jsonschema.Schema { return &jsonschema.Schema{} }

func (schemaUse) form() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "object"}, {Type: "string", MinLength: new(1)}}}
}

func (perMillion) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "number", Minimum: new(0.0), Maximum: new(float64(perMillionMax))}
}

func (share) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "number", ExclusiveMinimum: new(0.0), Maximum: new(1.0)}
}

func (reserve) form() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "number", ExclusiveMinimum: new(0.0), Maximum: new(float64(polity.UndoReserveMax) / 100)}
}

func (agentUse) form() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{describeType(reflect.ValueOf(word(""))), objectForm(reflect.TypeFor[agentUse]())}}
}

func (toolUse) form() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{describeType(reflect.ValueOf("")), objectForm(reflect.TypeFor[toolUse]())}}
}

// departmentRef is where the schema has what a department is, since it holds others.
const departmentRef = "department"

func (department) form() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{describeType(reflect.ValueOf(word(""))), {Ref: "#/$defs/" + departmentRef}}}
}

// objectForm is the schema of a struct of the format whose type says another one of itself, since there is a short way to write it.
func objectForm(t reflect.Type) *jsonschema.Schema {
	known := fieldsOf(t)
	object := &jsonschema.Schema{
		Type: "object", Properties: map[string]*jsonschema.Schema{}, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
		Required: known.required, PropertyOrder: known.names,
	}
	for _, name := range known.names {
		f := known.byName[name]
		types := map[reflect.Type]*jsonschema.Schema{}
		describeTypes(f.Type, types)
		s, err := jsonschema.ForType(f.Type, &jsonschema.ForOptions{TypeSchemas: types})
		if err != nil {
			panic("manifest: schema: " + err.Error()) // the types are our own
		}
		s.Description = f.Tag.Get("jsonschema")
		object.Properties[name] = s
	}
	return object
}
