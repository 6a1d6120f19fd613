package schema

import (
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// namedMax is how many properties a shape can name: the bits that say which were seen.
	namedMax = 64
	// boundMax is the largest bound of a number, either way.
	boundMax = 1 << 53
)

// kinds is a set of kinds of JSON values.
type kinds uint8

const (
	isNull kinds = 1 << iota
	isTrue
	isFalse
	isInteger // written as one: digits only
	isNumber  // any other number; never without isInteger
	isString
	isArray
	isObject
	isAny kinds = math.MaxUint8
)

// shape is what one schema asks of a value. Rules for a kind apply to values of that kind only.
type shape struct {
	kinds kinds

	listed   bool // only these strings and integers
	texts    []string
	integers []int64

	ranged    bool // only numbers from low to high
	low, high int64

	measured  bool // only strings of so many characters
	shortest  int
	longest   int
	itemsMin  int
	itemsMax  int
	items     *shape
	fieldsMin int
	fieldsMax int
	fields    []field // at most namedMax, by name
	required  uint64  // bit k is fields[k]
	rest      *shape  // for the properties that are not among the fields
}

type field struct {
	name  string
	shape *shape
}

// newFast translates a compiled schema whose values cost what cost says. It returns nil if any part
// of the schema asks for what a shape cannot say.
//
// It translates what the validator has compiled, not the text, so that what a keyword means in a
// dialect, and whether a format or an unknown word means anything, is decided in one place.
func newFast(root *validator.Schema, cost []float64) *fast {
	s := shapeOf(root)
	if s == nil {
		return nil
	}
	// Each byte adds at most one to the values that the scan counts, and each of those is charged
	// at most twice: at its own depth and as a member.
	affordable := StepsMax/(2*max(1, slices.Max(cost))) - 1
	return &fast{root: s, sizeMax: int(min(affordable, DataMax))}
}

// shapeOf translates one schema and those in it, or returns nil.
func shapeOf(v *validator.Schema) *shape {
	if v.Bool != nil {
		if *v.Bool {
			return anything.root
		}
		return &shape{}
	}
	s := &shape{kinds: kindsOf(v.Types), items: anything.root, rest: anything.root}
	if beyond(v) || !s.list(v) || !s.bound(v) || !s.contain(v) || !s.name(v) {
		return nil
	}
	s.measured = v.MinLength != nil || v.MaxLength != nil
	s.shortest, s.longest = or(v.MinLength, 0), or(v.MaxLength, math.MaxInt)
	s.itemsMin, s.itemsMax = or(v.MinItems, 0), or(v.MaxItems, math.MaxInt)
	s.fieldsMin, s.fieldsMax = or(v.MinProperties, 0), or(v.MaxProperties, math.MaxInt)
	return s
}

// or returns what limit points to, or without a limit the default.
func or(limit *int, without int) int {
	if limit == nil {
		return without
	}
	return *limit
}

// beyond says whether v asks for anything that shapes never say. A test knows every field of the
// validator's schemas, so that a new one cannot be missed here.
func beyond(v *validator.Schema) bool {
	return v.Ref != nil || v.RecursiveRef != nil || v.DynamicRef != nil ||
		v.Not != nil || v.If != nil || v.Then != nil || v.Else != nil ||
		len(v.AllOf)+len(v.AnyOf)+len(v.OneOf) > 0 ||
		v.Format != nil || v.Pattern != nil || v.MultipleOf != nil ||
		v.ContentEncoding != nil || v.ContentMediaType != nil || v.ContentSchema != nil ||
		v.PropertyNames != nil || len(v.PatternProperties) > 0 || v.UnevaluatedProperties != nil ||
		len(v.Dependencies)+len(v.DependentRequired)+len(v.DependentSchemas) > 0 ||
		v.UniqueItems || v.Contains != nil || v.MinContains != nil || v.MaxContains != nil ||
		len(v.PrefixItems) > 0 || v.AdditionalItems != nil || v.UnevaluatedItems != nil ||
		len(v.Extensions) > 0
}

// kindsOf translates a list of types; none means any.
func kindsOf(types *validator.Types) kinds {
	if types == nil || types.IsEmpty() {
		return isAny
	}
	var out kinds
	for _, name := range types.ToStrings() {
		switch name {
		case "null":
			out |= isNull
		case "boolean":
			out |= isTrue | isFalse
		case "integer":
			out |= isInteger
		case "number":
			out |= isInteger | isNumber
		case "string":
			out |= isString
		case "array":
			out |= isArray
		case "object":
			out |= isObject
		}
	}
	return out
}

// list takes over an enum or a const of scalars. It says whether that is all there is.
func (s *shape) list(v *validator.Schema) bool {
	var values []any
	switch {
	case v.Enum == nil && v.Const == nil:
		return true
	case v.Enum != nil && v.Const != nil:
		return false
	case v.Enum != nil:
		values = v.Enum.Values
	default:
		values = []any{*v.Const}
	}
	s.listed = true
	var listed kinds
	for _, value := range values {
		kind := s.scalar(value)
		if kind == 0 {
			return false
		}
		listed |= kind
	}
	s.kinds &= listed
	return true
}

// scalar adds one value to the list and returns its kind, or 0 if it cannot.
func (s *shape) scalar(value any) kinds {
	switch value := value.(type) {
	case nil:
		return isNull
	case bool:
		if value {
			return isTrue
		}
		return isFalse
	case string:
		s.texts = append(s.texts, value)
		return isString
	case json.Number:
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return 0
		}
		s.integers = append(s.integers, n)
		return isInteger
	default:
		return 0
	}
}

// bound takes over the bounds of numbers, as bounds of integers. It says whether they are integers
// of a size that can be reckoned with.
func (s *shape) bound(v *validator.Schema) bool {
	s.low, s.high = math.MinInt64, math.MaxInt64
	for _, b := range []struct {
		bound *big.Rat
		take  func(int64)
	}{
		{v.Minimum, func(n int64) { s.low = max(s.low, n) }},
		{v.ExclusiveMinimum, func(n int64) { s.low = max(s.low, n+1) }},
		{v.Maximum, func(n int64) { s.high = min(s.high, n) }},
		{v.ExclusiveMaximum, func(n int64) { s.high = min(s.high, n-1) }},
	} {
		if b.bound == nil {
			continue
		}
		if !b.bound.IsInt() || !b.bound.Num().IsInt64() {
			return false
		}
		n := b.bound.Num().Int64()
		if n < -boundMax || n > boundMax {
			return false
		}
		s.ranged = true
		b.take(n)
	}
	return true
}

// contain takes over the schema of an array's items, and says whether it has a shape.
func (s *shape) contain(v *validator.Schema) bool {
	items := v.Items2020
	switch older := v.Items.(type) {
	case nil:
	case *validator.Schema:
		if older != nil {
			items = older
		}
	default:
		return false
	}
	if items != nil {
		s.items = shapeOf(items)
	}
	return s.items != nil
}

// name takes over the properties, and says whether all have a shape. A required property without a
// schema of its own is a field with the shape of the rest.
func (s *shape) name(v *validator.Schema) bool {
	switch rest := v.AdditionalProperties.(type) {
	case bool:
		if !rest {
			s.rest = &shape{}
		}
	case *validator.Schema:
		s.rest = shapeOf(rest)
	}
	if s.rest == nil {
		return false
	}
	shapes := make(map[string]*shape, len(v.Properties))
	for name, property := range v.Properties {
		shapes[name] = shapeOf(property)
	}
	for _, name := range v.Required {
		if _, named := shapes[name]; !named {
			shapes[name] = s.rest
		}
	}
	if len(shapes) > namedMax {
		return false
	}
	for k, name := range slices.Sorted(maps.Keys(shapes)) {
		if shapes[name] == nil {
			return false
		}
		s.fields = append(s.fields, field{name, shapes[name]})
		if slices.Contains(v.Required, name) {
			s.required |= 1 << k
		}
	}
	return true
}
