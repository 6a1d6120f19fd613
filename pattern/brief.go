package pattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// errand is how the inputs of duties begin: which one it is, and what the run is about.
type errand struct {
	Duty      string          `json:"duty"`
	Objective string          `json:"objective"`
	Request   json.RawMessage `json:"request,omitempty"` // the run's, if it holds more than the objective
}

// errandOf is what is said of a request to whoever does a duty.
func errandOf(duty string, request json.RawMessage) errand {
	question, text := questionOf(request)
	e := errand{Duty: duty, Objective: question}
	if strings.TrimSpace(question) == "" {
		e.Objective = text
		return e
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(request, &fields) != nil {
		return e
	}
	for _, name := range []string{"question", "objective", "folder_name"} { // what lies in the folder matters, not what it is called
		delete(fields, name)
	}
	if len(fields) > 0 {
		e.Request = request
	}
	return e
}

// fitted returns an object without the fields that a schema refuses.
func fitted(input json.RawMessage, schema json.RawMessage) json.RawMessage {
	s, ok := readShape(schema)
	var fields map[string]json.RawMessage
	if !ok || !s.closed() || json.Unmarshal(input, &fields) != nil {
		return input
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if _, known := s.Properties[name]; !known {
			delete(fields, name)
		}
	}
	out, err := marshal(fields)
	if err != nil { // it was JSON before
		return input
	}
	return out
}

// likeness is the same for answers that say the same: white space, case, a full stop at the end, the order of an object's fields and
// how a number is written make no difference.
func likeness(answer json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(answer)
	}
	out, err := marshal(evened(v))
	if err != nil {
		return string(answer)
	}
	return string(out)
}

// evenedMax is up to where numbers are compared by their value and not as they are written.
const evenedMax = 1 << 53

// evened is a value without what makes no difference. It may change v.
func evened(v any) any {
	switch v := v.(type) {
	case string:
		return strings.TrimRight(strings.Join(strings.Fields(strings.ToLower(v)), " "), ".! ")
	case json.Number:
		if n, err := v.Float64(); err == nil && math.Abs(n) < evenedMax {
			return n
		}
		return v
	case []any:
		for i := range v {
			v[i] = evened(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = evened(v[name])
		}
	}
	return v
}

// gist is what an answer says, without where it comes from: a report's summary and claims, one in a line, or the answer as it is.
func gist(answer json.RawMessage) string {
	rep := readReport(answer)
	if !rep.claimed && !rep.onlySummary {
		return string(answer)
	}
	lines := []string{rep.summary}
	for _, c := range rep.claims {
		line := fmt.Sprintf("- %s (%s, %s)", c.Text, c.Stance, c.Severity)
		for _, e := range c.Evidence[:min(len(c.Evidence), 1)] {
			if e.File != "" {
				line += " " + place(e)
			}
		}
		lines = append(lines, line)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// artifact is the same for answers that bring nothing new beside each other.
func artifact(answer json.RawMessage) string {
	if g := gist(answer); g != string(answer) {
		return g
	}
	return likeness(answer)
}

// offer is an agent as whoever plans or chooses sees it.
type offer struct {
	Name        polity.AgentName `json:"name"`
	Description string           `json:"description,omitempty"`
	Skills      []offeredSkill   `json:"skills"`
}

type offeredSkill struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Input       []string `json:"input,omitempty"` // names of the fields that it declares
	Output      []string `json:"output,omitempty"`
}

// offersOf describes members to whoever plans or chooses.
func offersOf(members []Member) []offer {
	var all []offer
	for _, m := range members {
		o := offer{Name: m.Name, Description: m.Description}
		for _, s := range m.Skills {
			o.Skills = append(o.Skills, offeredSkill{s.Name, s.Description, fieldNames(s.Input), fieldNames(s.Output)})
		}
		all = append(all, o)
	}
	return all
}

// fieldNames lists the fields that a schema declares.
func fieldNames(schema json.RawMessage) []string {
	s, _ := readShape(schema)
	return slices.Sorted(maps.Keys(s.Properties))
}

// errandInput is the schema of what duties are asked with: errand, and more of its own.
const errandInput = `{"type":"object","required":["duty","objective"],"properties":{"duty":{"type":"string"},"objective":{"type":"string"}}}`

// dutyOf is a duty as a skill, with the schema of its answer.
func dutyOf(name, description, output string) polity.Skill {
	return polity.Skill{Name: name, Description: description, Input: json.RawMessage(errandInput), Output: json.RawMessage(output)}
}

// understand reads an answer to a duty.
func understand[T any](output json.RawMessage) (T, error) {
	var v *T
	if err := json.Unmarshal(output, &v); err != nil || v == nil {
		var none T
		return none, fault.Invalid.New("it is not an object as it was asked for")
	}
	return *v, nil
}
