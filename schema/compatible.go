package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"polity.run/fault"
)

// Mode says which changes a schema may undergo from version to version, in the words of Confluent's schema
// registry ("Schema Evolution and Compatibility").
type Mode string

// The modes. The transitive ones compare a version with all before it, the others with the last alone.
const (
	None               Mode = "none"     // any change
	Backward           Mode = "backward" // readers of the new version read data of the old one
	BackwardTransitive Mode = "backward_transitive"
	Forward            Mode = "forward" // readers of the old version read data of the new one
	ForwardTransitive  Mode = "forward_transitive"
	Full               Mode = "full" // both: readers and writers may be upgraded in any order
	FullTransitive     Mode = "full_transitive"
)

// Modes returns all modes.
func Modes() []Mode {
	return []Mode{None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive}
}

// Check returns fault.Invalid for a mode that there is not.
func (m Mode) Check() error {
	if slices.Contains(Modes(), m) {
		return nil
	}
	var known []string
	for _, one := range Modes() {
		known = append(known, string(one))
	}
	text := fmt.Sprintf("mode %.40q: want one of %s", m, known)
	if near := fault.Nearest(string(m), known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return fault.Invalid.New("%s", text)
}

// Backward says that new readers have to read old data.
func (m Mode) Backward() bool {
	return m == Backward || m == BackwardTransitive || m == Full || m == FullTransitive
}

// Forward says that old readers have to read new data.
func (m Mode) Forward() bool {
	return m == Forward || m == ForwardTransitive || m == Full || m == FullTransitive
}

// Transitive says that a version is compared with all before it.
func (m Mode) Transitive() bool {
	return m == BackwardTransitive || m == ForwardTransitive || m == FullTransitive
}

// Breaks says whom a difference breaks.
type Breaks string

// The sides.
const (
	NewReaders Breaks = "new readers" // with data that was written by the old version
	OldReaders Breaks = "old readers" // with data that is written by the new version
)

// Difference is one reason why two versions of a schema are not shown to be compatible.
type Difference struct {
	// Path is the place in the data, as a JSON pointer in which * stands for any item or further property; the whole is "/".
	Path   string `json:"path"`
	Text   string `json:"text"`
	Breaks Breaks `json:"breaks"`
	// With is the number of the older version, from 1, where there are several.
	With int `json:"with,omitempty"`
}

// String is the difference as one line.
func (d Difference) String() string {
	text := fmt.Sprintf("at %s: %s (breaks %s)", d.Path, d.Text, d.Breaks)
	if d.With > 0 {
		text = fmt.Sprintf("version %d %s", d.With, text)
	}
	return text
}

// Policy says what a new version is held to.
type Policy struct {
	Mode Mode `json:"mode"`
	// Declared assumes that writers write no properties but those that their schema declares, also where it allows
	// others. Without it a property that is new in an object that is not closed breaks new readers, since old data could
	// hold the name with any value.
	Declared bool `json:"declared,omitempty"`
}

// Compatible compares a new version of a schema with those before it, the oldest first, and returns what is not shown to
// be compatible under the policy; nothing means that it is. It is sound and not complete: it never takes two schemas for
// compatible that are not, and says of some that are that it cannot tell. It returns fault.Invalid for what is not a
// schema, and for a mode that there is not.
//
// A schema is compatible with a reader's if the reader's accepts every value that it accepts. That is decided by cases over
// the keywords, after Habib, Shinnar, Hirzel and Pradel, "Finding Data Compatibility Bugs with JSON Subschema Checks" (ISSTA
// 2021), without their normal form: what a case does not know counts as a difference. Values that only a limit of Check refuses are not looked at.
func Compatible(older []json.RawMessage, newer json.RawMessage, p Policy) ([]Difference, error) {
	if err := p.Mode.Check(); err != nil {
		return nil, err
	}
	if _, err := Compile(newer); err != nil {
		return nil, err
	}
	var out []Difference
	for i, raw := range older {
		if p.Mode == None || !p.Mode.Transitive() && i < len(older)-1 {
			continue
		}
		number := i + 1
		if len(older) == 1 {
			number = 0
		}
		before, after := Side{"old", raw}, Side{"new", newer}
		if p.Mode.Backward() {
			list, err := Fits(before, after, p.Declared)
			if err != nil {
				return nil, fault.Invalid.New("version %d: %w", i+1, err)
			}
			out = append(out, tagged(list, NewReaders, number)...)
		}
		if p.Mode.Forward() {
			list, err := Fits(after, before, p.Declared)
			if err != nil {
				return nil, fault.Invalid.New("version %d: %w", i+1, err)
			}
			out = append(out, tagged(list, OldReaders, number)...)
		}
	}
	return out, nil
}

// Side is a schema with the name that differences call it by, as old or new, or who writes or reads by it.
type Side struct {
	Name   string
	Schema json.RawMessage
}

// Fits returns why the reader's schema is not shown to accept all that the writer's does; nothing means that it does. See Compatible for how
// that is decided, and Policy for declared. It returns fault.Invalid for what is not a schema.
func Fits(writer, reader Side, declared bool) ([]Difference, error) {
	if same, err := equal(writer.Schema, reader.Schema); err != nil || same {
		return nil, err
	}
	a, err1 := Compile(writer.Schema)
	b, err2 := Compile(reader.Schema)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return a.fits(b, declared, writer.Name, reader.Name), nil
}

// equal says whether two schemas are the same text but for spaces and order.
func equal(a, b json.RawMessage) (bool, error) {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b), nil
	}
	x, err1 := Canonical(a)
	y, err2 := Canonical(b)
	return bytes.Equal(x, y), errors.Join(err1, err2)
}

func tagged(list []Difference, breaks Breaks, with int) []Difference {
	for i := range list {
		list[i].Breaks, list[i].With = breaks, with
	}
	return list
}

// Refusal words differences as an error: one line each, and fault.Conflict. It is nil if there are none.
func Refusal(what string, list []Difference) error {
	if len(list) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, d := range list[:min(len(list), placesMax)] {
		b.WriteString("\n  " + d.String())
	}
	if more := len(list) - placesMax; more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return fault.Conflict.New("%s:%s", what, b.String())
}
