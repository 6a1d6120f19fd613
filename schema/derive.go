package schema

import (
	"encoding"
	"encoding/json"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"polity.run/fault"
)

// For derives the schema of T from its fields and their json and jsonschema tags: the jsonschema
// tag is the description; omitempty and omitzero make a field optional; other properties than the
// fields are refused. A type that writes itself as text (encoding.TextMarshaler) is a string, and one that
// writes its own JSON (json.Marshaler, json.RawMessage) accepts any value, since its form is unknown.
//
// The same type always gives the same bytes. It returns fault.Invalid for a type that JSON cannot
// hold, and for one that contains itself.
func For[T any]() (json.RawMessage, error) {
	own := map[reflect.Type]*jsonschema.Schema{}
	ownForms(reflect.TypeFor[T](), own, map[reflect.Type]bool{})
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: own})
	if err != nil {
		return nil, fault.Invalid.New("schema: derive: %w", err)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fault.Invalid.New("schema: derive: %w", err)
	}
	return raw, nil
}

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
)

// ownForms collects the types below t that write themselves. The derivation knows those of the
// standard library that it names in its documentation, and would take the others by their kind.
func ownForms(t reflect.Type, own map[reflect.Type]*jsonschema.Schema, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && t.PkgPath() != "" && !derivable(t) {
		form := &jsonschema.Schema{}
		if !writes(t, jsonMarshaler) {
			form.Type = "string"
		}
		own[t] = form
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		ownForms(t.Elem(), own, seen)
	case reflect.Struct:
		for i := range t.NumField() {
			ownForms(t.Field(i).Type, own, seen)
		}
	}
}

// derivable says whether t is written by its kind, or is one that the derivation knows.
func derivable(t reflect.Type) bool {
	if !writes(t, jsonMarshaler) && !writes(t, textMarshaler) {
		return true
	}
	switch t.PkgPath() {
	case "time", "log/slog", "math/big":
		return true
	default:
		return false
	}
}

// writes says whether t or a pointer to it implements the interface.
func writes(t, how reflect.Type) bool {
	return t.Implements(how) || reflect.PointerTo(t).Implements(how)
}
