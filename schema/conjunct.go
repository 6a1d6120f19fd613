package schema

import (
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// conj are schemas that hold for a value all at once, with those in them that hold for the same value. What it says of its values
// may be true of more values than there are, and never of fewer: so what follows for them follows for those.
type conj struct {
	nodes []*validator.Schema
	kinds kinds // that the value may be of, whatever the schemas say
	// also are properties that alternatives declare which were not chosen; vague says that there may be more.
	also  []string
	vague bool
}

// and adds schemas, and what they refer to.
func (a conj) and(schemas ...*validator.Schema) conj {
	out := a
	out.nodes = slices.Clone(a.nodes)
	queue := slices.Clone(schemas)
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		if s == nil || slices.Contains(out.nodes, s) {
			continue
		}
		if s.Bool == nil || !*s.Bool {
			out.nodes = append(out.nodes, s)
		}
		queue = append(append(queue, s.AllOf...), s.Ref)
	}
	return out
}

// only leaves values of one kind.
func (a conj) only(kind kinds) conj {
	a.kinds &= kind
	return a
}

// known narrows the kinds to those that the schemas allow.
func (a conj) known() conj {
	for _, s := range a.nodes {
		if s.Bool != nil && !*s.Bool {
			a.kinds = 0
		}
		a.kinds &= kindsOf(s.Types)
	}
	return a
}

// pieces takes the alternatives apart: each value of a is one of a piece. It returns nil if they are too many.
func (a conj) pieces() []conj {
	out := []conj{a}
	for done := 0; done < len(out); { // the pieces before done have nothing to take apart
		alternatives, rest := out[done].choice()
		if alternatives == nil {
			done++
			continue
		}
		var more []conj
		for _, one := range alternatives {
			more = append(more, rest.and(one...))
		}
		if len(out)+len(more) > piecesMax {
			return nil
		}
		out = slices.Concat(out[:done], more, out[done+1:])
	}
	return out
}

// choice returns the first alternatives in a that are still together, and a without them; nil if there are none.
func (a conj) choice() ([][]*validator.Schema, conj) {
	for i, s := range a.nodes {
		node := *s
		var alternatives [][]*validator.Schema
		switch {
		case len(s.AnyOf) > 0:
			alternatives, node.AnyOf = each(s.AnyOf), nil
		case len(s.OneOf) > 0:
			alternatives, node.OneOf = each(s.OneOf), nil
		case s.If != nil && (s.Then != nil || s.Else != nil):
			alternatives = [][]*validator.Schema{{s.If, s.Then}, {s.Else}}
			node.If, node.Then, node.Else = nil, nil, nil
		default:
			continue
		}
		rest := a
		rest.nodes = slices.Clone(a.nodes)
		rest.nodes[i] = &node
		for _, one := range alternatives {
			other := conj{kinds: isAny}.and(one...)
			inner, _ := other.choice()
			rest.also, rest.vague = union(rest.also, other.names()), rest.vague || inner != nil
		}
		return alternatives, rest
	}
	return nil, a
}

func each(list []*validator.Schema) [][]*validator.Schema {
	var out [][]*validator.Schema
	for _, s := range list {
		out = append(out, []*validator.Schema{s})
	}
	return out
}

// values lists all values if a schema does; then each is one that all accept.
func (a conj) values() ([]any, bool) {
	var list []any
	a = a.known()
	found := false
	for _, s := range a.nodes {
		switch {
		case s.Const != nil:
			list, found = []any{*s.Const}, true
		case s.Enum != nil && !found:
			list, found = s.Enum.Values, true
		}
	}
	if !found && a.kinds&^(isNull|isTrue|isFalse) == 0 {
		list, found = []any{nil, true, false}, true
	}
	if !found {
		return nil, false
	}
	var out []any
	for _, v := range list {
		if kindOf(v)&a.kinds != 0 && !slices.ContainsFunc(a.nodes, func(s *validator.Schema) bool { return s.Validate(v) != nil }) {
			out = append(out, v)
		}
	}
	return out, true
}

// kindOf is the kind of a value as decode makes it.
func kindOf(v any) kinds {
	switch v := v.(type) {
	case nil:
		return isNull
	case bool:
		if v {
			return isTrue
		}
		return isFalse
	case string:
		return isString
	case []any:
		return isArray
	case map[string]any:
		return isObject
	case json.Number:
		if r, ok := new(big.Rat).SetString(string(v)); ok && r.IsInt() {
			return isInteger
		}
		return isNumber
	}
	return isAny
}

// each returns the kinds one by one.
func (k kinds) each() []kinds {
	var out []kinds
	for one := isNull; one != 0; one <<= 1 {
		if k&one != 0 {
			out = append(out, one)
		}
	}
	return out
}

// String names the kinds as schemas do.
func (k kinds) String() string {
	if k == isAny {
		return "any value"
	}
	var words []string
	for _, w := range []struct {
		kinds kinds
		word  string
	}{
		{isNull, "null"}, {isTrue | isFalse, "boolean"}, {isTrue, "true"}, {isFalse, "false"}, {isInteger | isNumber, "number"},
		{isInteger, "integer"}, {isNumber, "a number that is no integer"}, {isString, "string"}, {isArray, "array"}, {isObject, "object"},
	} {
		if k&w.kinds == w.kinds {
			words, k = append(words, w.word), k&^w.kinds
		}
	}
	return strings.Join(words, " or ")
}

// empty says that surely no value is left.
func (a conj) empty() bool {
	left := emptyMax
	return a.emptyBelow(emptyDepth, &left)
}

// emptyBelow looks for a reason so many levels down, and at no more than so many schemas that are left.
func (a conj) emptyBelow(depth int, left *int) bool {
	a = a.known()
	if a.kinds == 0 {
		return true
	}
	if *left -= 1 + len(a.nodes); depth == 0 || *left < 0 {
		return false
	}
	if values, listed := a.values(); listed {
		return len(values) == 0
	}
	if alternatives, rest := a.choice(); alternatives != nil {
		for _, one := range alternatives {
			if !rest.and(one...).emptyBelow(depth-1, left) {
				return false
			}
		}
		return true
	}
	for _, kind := range a.kinds.each() {
		if !a.without(kind, depth-1, left) {
			return false
		}
	}
	return true
}

// without says that surely no value is of the kind.
func (a conj) without(kind kinds, depth int, left *int) bool {
	switch kind {
	case isInteger, isNumber:
		low, high := a.only(kind).bounds()
		return low.at != nil && high.at != nil && (low.at.Cmp(high.at) > 0 || low.at.Cmp(high.at) == 0 && (low.open || high.open))
	case isString:
		return a.least(minLength) > a.most(maxLength)
	case isArray:
		if a.least(minItems) > a.itemsMost() {
			return true
		}
		for i := range min(a.least(minItems), a.ahead()+1) {
			if a.item(i).emptyBelow(depth, left) {
				return true
			}
		}
	case isObject:
		required := a.required()
		if max(len(required), a.least(minProperties)) > a.most(maxProperties) {
			return true
		}
		for _, name := range required {
			if a.property(name).emptyBelow(depth, left) {
				return true
			}
		}
	}
	return false
}

// bounds returns between which numbers a value lies; integers are counted as such.
func (a conj) bounds() (low, high limit) {
	for _, s := range a.nodes {
		if l := lowest(s); l.at != nil && !low.within(l, 1) {
			low = l
		}
		if h := highest(s); h.at != nil && !high.within(h, -1) {
			high = h
		}
	}
	if a.kinds&isNumber == 0 {
		low, high = low.whole(1), high.whole(-1)
	}
	return low, high
}

// whole moves a limit to the first integer inside it; sign is 1 for lower limits and -1 for upper ones.
func (l limit) whole(sign int64) limit {
	if l.at == nil {
		return l
	}
	up := new(big.Rat).Mul(l.at, big.NewRat(sign, 1))
	n := new(big.Int).Div(up.Num(), up.Denom()) // downward
	if !up.IsInt() || l.open {
		n.Add(n, big.NewInt(1))
	}
	return limit{at: new(big.Rat).SetInt(n.Mul(n, big.NewInt(sign)))}
}

// lowest is the lower limit of numbers that one schema sets.
func lowest(s *validator.Schema) limit {
	low, open := limit{at: s.Minimum}, limit{s.ExclusiveMinimum, true}
	if low.at == nil || open.at != nil && !low.within(open, 1) {
		return open
	}
	return low
}

// highest is the upper limit of numbers that one schema sets.
func highest(s *validator.Schema) limit {
	high, open := limit{at: s.Maximum}, limit{s.ExclusiveMaximum, true}
	if high.at == nil || open.at != nil && !high.within(open, -1) {
		return open
	}
	return high
}

// multiples says that all numbers are multiples of m.
func (a conj) multiples(m *big.Rat) bool {
	step := func(of *big.Rat) bool { return new(big.Rat).Quo(of, m).IsInt() }
	return a.kinds&isNumber == 0 && step(big.NewRat(1, 1)) ||
		slices.ContainsFunc(a.nodes, func(s *validator.Schema) bool { return s.MultipleOf != nil && step(s.MultipleOf) })
}

// The counts that schemas limit.
func minLength(s *validator.Schema) *int     { return s.MinLength }
func maxLength(s *validator.Schema) *int     { return s.MaxLength }
func minItems(s *validator.Schema) *int      { return s.MinItems }
func minProperties(s *validator.Schema) *int { return s.MinProperties }
func maxProperties(s *validator.Schema) *int { return s.MaxProperties }

// least is the greatest of lower limits.
func (a conj) least(of func(*validator.Schema) *int) int {
	n := 0
	for _, s := range a.nodes {
		n = max(n, or(of(s), 0))
	}
	return n
}

// most is the least of upper limits.
func (a conj) most(of func(*validator.Schema) *int) int {
	n := math.MaxInt
	for _, s := range a.nodes {
		n = min(n, or(of(s), math.MaxInt))
	}
	return n
}

// itemsMost is how many items there are at most.
func (a conj) itemsMost() int {
	n := a.most(func(s *validator.Schema) *int { return s.MaxItems })
	for _, s := range a.nodes {
		if s.Items2020 != nil && s.Items2020.Bool != nil && !*s.Items2020.Bool {
			n = min(n, len(s.PrefixItems))
		}
	}
	return n
}

// ahead is how many items have schemas of their own, before all others.
func (a conj) ahead() int {
	n := 0
	for _, s := range a.nodes {
		n = max(n, len(s.PrefixItems))
	}
	return n
}

// item is what is known of the item at i.
func (a conj) item(i int) conj {
	out := conj{kinds: isAny}
	for _, s := range a.nodes {
		out = out.and(item(s, i))
	}
	return out
}

// item returns what a schema says of the item at i, or nil.
func item(s *validator.Schema, i int) *validator.Schema {
	if i < len(s.PrefixItems) {
		return s.PrefixItems[i]
	}
	return s.Items2020
}

// names are the properties that the schemas name, sorted.
func (a conj) names() []string {
	out := a.also
	for _, s := range a.nodes {
		out = union(out, slices.Collect(maps.Keys(s.Properties)))
	}
	return out
}

// union returns the texts of both, each once, sorted.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// required are the properties that are always there, sorted.
func (a conj) required() []string {
	var out []string
	for _, s := range a.nodes {
		out = union(out, s.Required)
	}
	return out
}

// property is what is known of the property with a name.
func (a conj) property(name string) conj {
	out := conj{kinds: isAny}
	for _, s := range a.nodes {
		out = out.and(property(s, name)...)
	}
	return out
}

// property returns what a schema says of the property with a name.
func property(s *validator.Schema, name string) []*validator.Schema {
	var out []*validator.Schema
	if one, declared := s.Properties[name]; declared {
		out = append(out, one)
	}
	for _, p := range patterns(s) {
		if p.MatchString(name) {
			out = append(out, s.PatternProperties[p])
		}
	}
	if rest := additional(s); len(out) == 0 && rest != nil {
		out = append(out, rest)
	}
	return out
}

// patterns are the patterns of a schema's properties, in the order of their text.
func patterns(s *validator.Schema) []validator.Regexp {
	return slices.SortedFunc(maps.Keys(s.PatternProperties), func(a, b validator.Regexp) int {
		return strings.Compare(a.String(), b.String())
	})
}

// additional is what a schema says of further properties, or nil.
func additional(s *validator.Schema) *validator.Schema {
	switch rest := s.AdditionalProperties.(type) {
	case *validator.Schema:
		return rest
	case bool:
		if !rest {
			return &validator.Schema{DraftVersion: 2020, Bool: new(false)}
		}
	}
	return nil
}

// closed says that there are no properties but those that are named: because a schema allows none, or because writers write no
// others than are declared, and some are.
func (a conj) closed(declared bool) bool {
	some := false
	declared = declared && !a.vague
	for _, s := range a.nodes {
		open := len(s.PatternProperties) > 0
		rest := additional(s)
		if !open && rest != nil && rest.Bool != nil && !*rest.Bool {
			return true
		}
		some = some || len(s.Properties) > 0
		if open || s.AdditionalProperties != nil || s.UnevaluatedProperties != nil || len(s.DependentSchemas)+len(s.Dependencies) > 0 {
			declared = false
		}
	}
	return declared && some
}

// matching is what is known of properties that match a pattern and that no schema names.
func (a conj) matching(p validator.Regexp) conj {
	out := conj{kinds: isAny}
	for _, s := range a.nodes {
		if len(s.PatternProperties) == 0 {
			out = out.and(additional(s))
		}
		for _, own := range patterns(s) {
			if own.String() == p.String() {
				out = out.and(s.PatternProperties[own])
			}
		}
	}
	return out
}

// further lists what a property may be that neither s nor the reader's schema b names, and that matches none of b's patterns: one of these.
func further(s, b *validator.Schema) []*validator.Schema {
	rest := additional(s)
	if rest == nil {
		rest = &validator.Schema{DraftVersion: 2020, Bool: new(true)}
	}
	out := []*validator.Schema{rest}
	for _, p := range patterns(s) {
		if !slices.ContainsFunc(patterns(b), func(q validator.Regexp) bool { return p.String() == q.String() }) {
			out = append(out, s.PatternProperties[p])
		}
	}
	return out
}

// brief is a value in a few characters.
func brief(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "a value" // none that decode made
	}
	return cut(string(text))
}

const briefMax = 80 // bytes of a value in a text

func cut(text string) string {
	if len(text) <= briefMax {
		return text
	}
	return strings.ToValidUTF8(text[:briefMax], "") + "…"
}
