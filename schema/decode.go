package schema

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"polity.run/fault"
)

// decode reads exactly one JSON value as the validator wants it: maps, slices, strings, bools, nil,
// and numbers as they are written. Of a repeated property the last counts. The result shares no
// memory with data. The data must have passed a scan, which limits its depth.
//
// It exists for speed: small values are most of what is checked, and a json.Decoder costs more
// than the rest of a check. A fuzz test holds it to the standard library's results.
func decode(data []byte) (any, error) {
	if !json.Valid(data) {
		return nil, notJSON(data)
	}
	r := reader{data: data}
	v := r.value()
	return v, r.err
}

// notJSON says what is wrong with data, which is not one JSON value.
func notJSON(data []byte) error {
	var raw json.RawMessage
	return fault.Invalid.New("not JSON: %w", json.Unmarshal(data, &raw))
}

// reader builds a value from text that is known to be valid JSON.
type reader struct {
	data []byte
	i    int
	err  error
}

// next skips white space, commas and colons, whose places are known to be right.
func (r *reader) next() byte {
	for r.i < len(r.data) {
		switch c := r.data[r.i]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
			r.i++
		default:
			return c
		}
	}
	return 0
}

func (r *reader) value() any {
	switch c := r.next(); c {
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"':
		return r.text()
	case 't':
		r.i += len("true")
		return true
	case 'f':
		r.i += len("false")
		return false
	case 'n':
		r.i += len("null")
		return nil
	default:
		begin := r.i
		r.i = numberEnd(r.data, r.i)
		return json.Number(r.data[begin:r.i])
	}
}

func (r *reader) object() map[string]any {
	out := map[string]any{}
	r.i++
	for r.next() != '}' && r.i < len(r.data) {
		name := r.text()
		out[name] = r.value()
	}
	r.i++
	return out
}

func (r *reader) array() []any {
	out := []any{}
	r.i++
	for r.next() != ']' && r.i < len(r.data) {
		out = append(out, r.value())
	}
	r.i++
	return out
}

// text reads a string. Only one with escapes or broken UTF-8 needs the standard library.
func (r *reader) text() string {
	begin := r.i
	end := stringEnd(r.data, begin)
	r.i = end + 1
	if inner := r.data[begin+1 : end]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(r.data[begin:end+1], &s); err != nil && r.err == nil {
		r.err = fault.Internal.New("string: %w", err)
	}
	return s
}
