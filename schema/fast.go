package schema

import (
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// fast is a schema in a form that reads JSON text directly and builds nothing from it. It knows
// two answers: "surely valid", and "ask the validator", which alone decides the rest and words the
// errors. So it may be as ignorant as it likes, but never wrong when it accepts.
//
// It exists because most values that are checked are small and right, and building them for the
// validator costs far more than reading them. A nil *fast always says to ask.
type fast struct {
	root    *shape
	sizeMax int // bytes of a value that no schema can make too costly; see scan.afford
}

// anything is for the schema that accepts every JSON value.
var anything = &fast{root: newOpen(), sizeMax: DataMax}

// newOpen returns the shape of every JSON value, which is also the shape of its members.
func newOpen() *shape {
	s := &shape{kinds: isAny, itemsMax: math.MaxInt, fieldsMax: math.MaxInt}
	s.items, s.rest = s, s
	return s
}

// surely says that data is one JSON value, within every limit, that the schema accepts. If it says
// false, nothing is known.
func (f *fast) surely(data []byte) bool {
	if f == nil || len(data) > f.sizeMax {
		return false
	}
	return space(data, f.root.value(data, space(data, 0), 0)) == len(data)
}

// value reads the value that begins at i and returns the place behind it, or ask. Depth counts the
// arrays and objects around it.
func (s *shape) value(data []byte, i, depth int) int {
	switch at(data, i) {
	case '"':
		return s.text(data, i)
	case '{':
		return s.object(data, i, depth+1)
	case '[':
		return s.array(data, i, depth+1)
	case 't':
		return s.word(data, i, "true", isTrue)
	case 'f':
		return s.word(data, i, "false", isFalse)
	case 'n':
		return s.word(data, i, "null", isNull)
	default:
		return s.number(data, i)
	}
}

func (s *shape) word(data []byte, i int, word string, kind kinds) int {
	end := i + len(word)
	if s.kinds&kind == 0 || end > len(data) || string(data[i:end]) != word {
		return ask
	}
	return end
}

// object reads an object. Of a repeated property the last counts, and it is enough that each of
// them is valid. Since repetitions are not noticed, count may be too high, never too low, and the
// properties that surely differ are the fields seen and one of the rest.
func (s *shape) object(data []byte, i, depth int) int {
	if s.kinds&isObject == 0 || depth > DepthMax {
		return ask
	}
	var seen uint64
	count, others, next := 0, 0, 0
	i = space(data, i+1)
	for at(data, i) != '}' {
		name := readQuoted(data, i)
		i = space(data, name.end)
		if name.escaped || at(data, i) != ':' {
			return ask
		}
		member := s.rest
		if k := s.find(name.text, next); k >= 0 {
			member, next = s.fields[k].shape, k+1
			seen |= 1 << k
		} else {
			others = 1
		}
		count++
		if i = following(data, member.value(data, space(data, i+1), depth), '}'); i == ask {
			return ask
		}
	}
	if seen&s.required != s.required || count > s.fieldsMax || bits.OnesCount64(seen)+others < s.fieldsMin {
		return ask
	}
	return i + 1
}

// find returns the index of the field with the name, or -1. It looks first where the field would
// be if the properties came in the order of the fields.
func (s *shape) find(name []byte, next int) int {
	for range s.fields {
		if next >= len(s.fields) {
			next = 0
		}
		if s.fields[next].name == string(name) {
			return next
		}
		next++
	}
	return -1
}

// array reads an array.
func (s *shape) array(data []byte, i, depth int) int {
	if s.kinds&isArray == 0 || depth > DepthMax {
		return ask
	}
	count := 0
	i = space(data, i+1)
	for at(data, i) != ']' {
		count++
		if i = following(data, s.items.value(data, i, depth), ']'); i == ask {
			return ask
		}
	}
	if count < s.itemsMin || count > s.itemsMax {
		return ask
	}
	return i + 1
}

// following returns the place of the next member, or of the closing bracket, after a member that
// ended at i. A comma must have a member behind it.
func following(data []byte, i int, closing byte) int {
	i = space(data, i)
	switch at(data, i) {
	case closing:
		return i
	case ',':
		if i = space(data, i+1); at(data, i) != closing {
			return i
		}
	}
	return ask
}

// escapedMax is how many characters the longest escape of one character has: a surrogate pair.
const escapedMax = len(`\ud83d\ude00`)

// text reads a string. Its escapes are not resolved: they only make its length less sure.
func (s *shape) text(data []byte, i int) int {
	q := readQuoted(data, i)
	if s.kinds&isString == 0 || q.end == ask {
		return ask
	}
	if s.listed && (q.escaped || !s.lists(q.text)) {
		return ask
	}
	if s.measured {
		most := utf8.RuneCount(q.text)
		least := most
		if q.escaped {
			least = (most + escapedMax - 1) / escapedMax
		}
		if least < s.shortest || most > s.longest {
			return ask
		}
	}
	return q.end
}

// lists says whether the text is among those that are listed.
func (s *shape) lists(text []byte) bool {
	for _, one := range s.texts {
		if one == string(text) {
			return true
		}
	}
	return false
}

// number reads a number.
func (s *shape) number(data []byte, i int) int {
	n := readNumeral(data, i)
	kind := isInteger
	if n.fraction || n.exponent {
		kind = isNumber
	}
	if s.kinds&kind == 0 || n.end == ask {
		return ask
	}
	if s.listed && (!n.small || !slices.Contains(s.integers, n.whole)) {
		return ask
	}
	if s.ranged && !n.within(s.low, s.high) {
		return ask
	}
	return n.end
}
