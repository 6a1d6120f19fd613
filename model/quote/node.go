package quote

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"polity.run/fault"
)

// node is what quote reads of a schema to fill it. What it does not read is enforced at the end,
// when the whole answer is checked.
type node struct {
	Ref         string           `json:"$ref"`
	Type        words            `json:"type"`
	Description string           `json:"description"`
	Properties  map[string]*node `json:"properties"`
	Required    []string         `json:"required"`
	Items       *node            `json:"items"`
	Enum        []any            `json:"enum"`
	Const       *json.RawMessage `json:"const"`
	MinItems    float64          `json:"minItems"`
	MaxItems    *float64         `json:"maxItems"`
	MinLength   float64          `json:"minLength"`
	MaxLength   *float64         `json:"maxLength"`
	Pattern     string           `json:"pattern"`
	AnyOf       []*node          `json:"anyOf"`
	OneOf       []*node          `json:"oneOf"`
}

// words is one word or several.
type words []string

// UnmarshalJSON reads a string or an array of strings.
func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// UnmarshalJSON reads a schema; true and false are schemas without fields.
func (n *node) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return nil
	}
	type plain node
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode((*plain)(n))
}

// parse reads a schema that is known to be one.
func parse(raw json.RawMessage) (*node, error) {
	var n node
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, fault.Invalid.New("quote: read the schema: %w", err)
	}
	return &n, nil
}

// refer returns the part of the schema that a $ref within the document points at.
func refer(root json.RawMessage, ref string) (*node, error) {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok || path != "" && path[0] != '/' {
		return nil, fault.Invalid.New("quote: the schema's $ref %q is not a path in the schema, as in #/$defs/name", ref)
	}
	at := root
	for _, step := range strings.Split(path, "/")[1:] {
		next, ok := member(at, unescape(step))
		if !ok {
			return nil, fault.Invalid.New("quote: the schema's $ref %q points at nothing", ref)
		}
		at = next
	}
	return parse(at)
}

var unescaper = strings.NewReplacer("~1", "/", "~0", "~", "%24", "$", "%25", "%")

func unescape(step string) string { return unescaper.Replace(step) }

// member returns the member of an object or array, which may not be there.
func member(raw json.RawMessage, step string) (json.RawMessage, bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		next, ok := object[step]
		return next, ok
	}
	var array []json.RawMessage
	i, err := strconv.Atoi(step)
	if err != nil || json.Unmarshal(raw, &array) != nil || i < 0 || i >= len(array) {
		return nil, false
	}
	return array[i], true
}

// kinds are the types that n may have beside null, in the order in which they are tried: what must
// be stated literally first, then text, then what is made of others.
func (n *node) kinds() []string {
	all := []string{"integer", "number", "boolean", "string", "array", "object"}
	switch {
	case len(n.Type) > 0:
		return slices.DeleteFunc(all, func(k string) bool { return !slices.Contains(n.Type, k) })
	case n.Properties != nil:
		return []string{"object"}
	case n.Items != nil:
		return []string{"array"}
	default:
		return []string{"string"}
	}
}

// nullable says whether n accepts null by its type or as one of its words.
func (n *node) nullable() bool {
	return slices.Contains(n.Type, "null") || slices.Contains(n.Enum, any(nil))
}

// empty returns how n says that there is nothing: null, or the empty value of its type.
func (n *node) empty() any {
	if n.nullable() {
		return nil
	}
	for _, one := range slices.Concat(n.AnyOf, n.OneOf) {
		if one.nullable() {
			return nil
		}
	}
	for _, k := range n.kinds() {
		switch {
		case k == "string" && len(n.Enum) == 0 && len(n.AnyOf)+len(n.OneOf) == 0:
			return ""
		case k == "array":
			return []any{}
		case k == "object":
			return map[string]any{}
		}
	}
	return nil
}
