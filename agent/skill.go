package agent

import (
	"encoding/json"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// own are the fields of an output that the decider fills and the model is not asked for.
var own = []string{"claims", "notes", "extractive"}

// summaryOnly is asked of the model where the skill does not say what its output looks like.
const summaryOnly = `{"type":"object","properties":{"summary":{"type":"string",` +
	`"description":"what matters most for the question"}}}`

// skill is what a thinker needs to know of a skill.
type skill struct {
	name   string
	ask    json.RawMessage // the schema that the model fills; nil where nothing is left for it
	fields []string        // the output's declared fields, sorted
	closed bool            // the output allows no other fields
	needs  []string        // the output's required fields
	// accepts checks what the model filled; nil where nothing is asked. loose says that the skill declares no output, so that a text will do.
	accepts check
	loose   bool
}

// newSkill reads a skill's output schema.
func newSkill(s polity.Skill) (skill, error) {
	out, err := readSkill(s)
	if err != nil || out.ask == nil {
		return out, err
	}
	out.loose = string(out.ask) == summaryOnly
	if out.accepts, err = compile(out.ask); err != nil {
		return out, fault.Invalid.New("skill %q: output: %w", s.Name, err)
	}
	return out, nil
}

func readSkill(s polity.Skill) (skill, error) {
	out := skill{name: s.Name, ask: json.RawMessage(summaryOnly)}
	compiled, err := schema.Compile(s.Output)
	if err != nil {
		return out, fault.Invalid.New("skill %q: output: %w", s.Name, err)
	}
	if compiled == nil {
		return out, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(s.Output, &object); err != nil || !allowsObject(object["type"]) {
		return out, fault.Invalid.New("skill %q: output: an agent of kind %q answers with an object; "+
			"want \"type\": \"object\"", s.Name, KindModel)
	}
	var properties map[string]json.RawMessage
	if raw := object["properties"]; raw != nil {
		if err := json.Unmarshal(raw, &properties); err != nil {
			return out, fault.Invalid.New("skill %q: output: properties: %w", s.Name, err)
		}
	}
	if raw := object["required"]; raw != nil {
		if err := json.Unmarshal(raw, &out.needs); err != nil {
			return out, fault.Invalid.New("skill %q: output: required: %w", s.Name, err)
		}
	}
	for name := range properties {
		out.fields = append(out.fields, name)
	}
	slices.Sort(out.fields)
	out.closed = isFalse(object["additionalProperties"])
	out.ask, err = askFor(object, properties, out)
	return out, err
}

// askFor returns the schema of what is left for the model to fill.
func askFor(object, properties map[string]json.RawMessage, s skill) (json.RawMessage, error) {
	if len(properties) == 0 {
		if s.closed {
			return nil, nil
		}
		return json.RawMessage(summaryOnly), nil
	}
	left := map[string]json.RawMessage{}
	for _, name := range s.fields {
		if !slices.Contains(own, name) {
			left[name] = properties[name]
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	needs := slices.DeleteFunc(slices.Clone(s.needs), func(name string) bool { return slices.Contains(own, name) })
	var err error
	if object["properties"], err = encode(left); err != nil {
		return nil, err
	}
	delete(object, "required")
	if len(needs) > 0 {
		if object["required"], err = encode(needs); err != nil {
			return nil, err
		}
	}
	return encode(object)
}

// allowsObject reads a schema's type; no type allows everything.
func allowsObject(raw json.RawMessage) bool {
	if raw == nil {
		return true
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one == "object"
	}
	var several []string
	return json.Unmarshal(raw, &several) == nil && slices.Contains(several, "object")
}

// isFalse says whether a schema accepts nothing, in either way to write that.
func isFalse(raw json.RawMessage) bool {
	var value any
	if raw == nil || json.Unmarshal(raw, &value) != nil {
		return false
	}
	if not, ok := value.(map[string]any); ok && len(not) == 1 {
		inner, ok := not["not"].(map[string]any)
		return ok && len(inner) == 0 || not["not"] == true
	}
	return value == false
}

// allows says whether the output may have the field.
func (s skill) allows(field string) bool { return !s.closed || slices.Contains(s.fields, field) }
