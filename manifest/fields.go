package manifest

import (
	"reflect"
	"strings"
)

// fields are the fields of a struct of the format.
type fields struct {
	names    []string // in their order
	required []string
	byName   map[string]reflect.StructField
}

// fieldsOf reads the tags of a struct type, embedded structs included.
func fieldsOf(t reflect.Type) fields {
	out := fields{byName: map[string]reflect.StructField{}}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		out.names = append(out.names, name)
		out.byName[name] = f
		if rest != "omitempty" {
			out.required = append(out.required, name)
		}
	}
	return out
}

// kinds says which fields of a member belong to which kind, and which of them tells it.
type kinds struct {
	teller map[kindWord]string   // kind -> the field that tells it
	owner  map[string]kindWord   // field -> its kind; a field of every kind is not in it
	fields map[kindWord][]string // kind -> its fields, in their order
}

// memberKinds reads the kind tags of member.
func memberKinds() kinds {
	k := kinds{map[kindWord]string{}, map[string]kindWord{}, map[kindWord][]string{}}
	all := fieldsOf(reflect.TypeFor[member]())
	for _, name := range all.names {
		tag := all.byName[name].Tag
		kind := kindWord(tag.Get("kind"))
		if kind == "" {
			continue
		}
		k.owner[name] = kind
		k.fields[kind] = append(k.fields[kind], name)
		if tag.Get("tells") != "" {
			k.teller[kind] = name
		}
	}
	return k
}

// tellers lists the fields that tell a kind, in the order of the kinds.
func (k kinds) tellers() []string {
	var names []string
	for _, kind := range kindWord("").choices() {
		names = append(names, k.teller[kindWord(kind)])
	}
	return names
}
