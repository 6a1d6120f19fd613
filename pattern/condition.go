package pattern

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"polity.run/fault"
)

// Limits of a condition.
const (
	fieldMax  = 200  // bytes of the path of a field
	wantedMax = 1000 // bytes of what a field is compared with
)

// Condition is what a field of some JSON must hold. Of what it names all must hold, and it names something. A field that is not there
// holds nothing.
type Condition struct {
	Field  string          `json:"field"`            // as in input.kind, or input for the whole
	Equals json.RawMessage `json:"equals,omitempty"` // the value, whatever way it is written
	// Contains is a part of the field's text, in whatever case; of JSON that is no text it is a part of how that is written.
	Contains string `json:"contains,omitempty"`
	Matches  string `json:"matches,omitempty"` // a regular expression (RE2) of the field's text
}

// check reports what is wrong with a condition at a place, whose fields are of what is called root.
func (c *Condition) check(at, root string, p *problems) {
	if c.Field != root && !strings.HasPrefix(c.Field, root+".") || strings.HasSuffix(c.Field, ".") || len(c.Field) > fieldMax {
		p.add(in("%s.field", at), "%q names no field; write %s, or %s.NAME for a field of it", clip(c.Field, fieldMax), root, root)
	}
	if len(c.Equals) == 0 && c.Contains == "" && c.Matches == "" {
		p.add(in("%s", at), "it says nothing about the field; add equals, contains or matches")
	}
	if len(c.Equals) > 0 && !json.Valid(c.Equals) {
		p.add(in("%s.equals", at), "it is not JSON")
	}
	for _, one := range []struct{ name, text string }{{"equals", string(c.Equals)}, {"contains", c.Contains}, {"matches", c.Matches}} {
		if len(one.text) > wantedMax {
			p.add(in("%s.%s", at, one.name), "it is longer than %d bytes; shorten it", wantedMax)
		}
	}
	if _, err := regexp.Compile(c.Matches); err != nil {
		p.add(in("%s.matches", at), "it is no regular expression: %v", err)
	}
}

// holds says whether the condition, which was checked, holds for a value.
func (c *Condition) holds(value json.RawMessage) bool {
	path := strings.Split(c.Field, ".")
	found, err := reference{id: path[0], path: path[1:]}.follow(value)
	if err != nil {
		return false
	}
	text := writtenText(found)
	return (len(c.Equals) == 0 || sameJSON(found, c.Equals)) &&
		strings.Contains(strings.ToLower(text), strings.ToLower(c.Contains)) &&
		(c.Matches == "" || regexp.MustCompile(c.Matches).MatchString(text))
}

// String writes the condition for people.
func (c *Condition) String() string {
	var parts []string
	if len(c.Equals) > 0 {
		parts = append(parts, "equals "+string(c.Equals))
	}
	if c.Contains != "" {
		parts = append(parts, "contains "+quoted(c.Contains))
	}
	if c.Matches != "" {
		parts = append(parts, "matches "+quoted(c.Matches))
	}
	return c.Field + " " + strings.Join(parts, " and ")
}

// quoted writes a text as JSON does.
func quoted(text string) string {
	out, err := marshal(text)
	if err != nil {
		return text
	}
	return string(out)
}

// sameJSON says whether two texts are the same JSON, whatever the order of fields and the white space.
func sameJSON(a, b json.RawMessage) bool { return bytes.Equal(canonical(a), canonical(b)) }

// canonical writes JSON with its fields in order and without white space; what is no JSON stays as it is.
func canonical(raw json.RawMessage) json.RawMessage {
	v, err := decode(raw)
	if err != nil {
		return raw
	}
	out, err := marshal(v)
	if err != nil {
		return raw
	}
	return out
}

// writtenText is the text of a JSON string, and how other JSON is written.
func writtenText(raw json.RawMessage) string {
	if text := textOf(raw); text != "" {
		return text
	}
	return string(canonical(raw))
}

// normalText is a text without what does not change what it says: case and white space.
func normalText(text string) string { return strings.ToLower(strings.Join(strings.Fields(text), " ")) }

// digestOf is a short name for texts, by which the same ones are recognized.
func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// hasField says whether JSON is an object with one of the fields.
func hasField(raw json.RawMessage, names ...string) bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal(raw, &fields) == nil && slices.ContainsFunc(names, func(n string) bool { return fields[n] != nil })
}

// readObject reads an object. What it says about one that does not fit is meant for whoever wrote it.
func readObject(raw json.RawMessage, into any) error {
	err := json.Unmarshal(raw, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fault.Invalid.New("%s is a %s", wrong.Field, wrong.Value)
	case err == nil && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")):
		return nil
	default:
		return fault.Invalid.New("it is no object")
	}
}
