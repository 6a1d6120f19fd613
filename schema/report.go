package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"polity.run/fault"
)

// Limits of a report.
const (
	placesMax = 20  // lines
	choiceMax = 4   // alternatives that are explained
	textMax   = 300 // bytes of one line's explanation
)

// finding is one place that is wrong.
type finding struct {
	at   []string
	text string
}

// report writes one line for each place, in the order of the places.
func (s *Schema) report(e *validator.ValidationError) string {
	w := reporter{known: s.known, words: message.NewPrinter(language.English)}
	w.collect(e)
	slices.SortStableFunc(w.found, func(a, b finding) int {
		return cmp.Or(slices.CompareFunc(a.at, b.at, byIndex), strings.Compare(a.text, b.text))
	})
	w.found = slices.CompactFunc(w.found, func(a, b finding) bool {
		return a.text == b.text && slices.Equal(a.at, b.at)
	})
	var lines []string
	for _, f := range w.found[:min(len(w.found), placesMax)] {
		lines = append(lines, "at "+pointer(f.at)+": "+f.text)
	}
	if more := len(w.found) - placesMax; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// byIndex compares two steps of a place; numbers compare as numbers, so that /10 follows /9.
func byIndex(a, b string) int {
	if isIndex(a) && isIndex(b) {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	}
	return strings.Compare(a, b)
}

func isIndex(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// reporter turns the validator's tree of causes into findings.
type reporter struct {
	known map[string][]string
	words *message.Printer
	found []finding
}

func (w *reporter) add(e *validator.ValidationError, text string) {
	if len(text) > textMax {
		text = strings.ToValidUTF8(text[:textMax], "") + "…"
	}
	w.found = append(w.found, finding{e.InstanceLocation, text})
}

func (w *reporter) collect(e *validator.ValidationError) {
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			w.add(e, w.unknown(name, e.SchemaURL))
		}
		return
	case *kind.FalseSchema:
		w.add(e, "nothing is allowed here")
		return
	case *kind.PropertyNames:
		w.add(e, fmt.Sprintf("property name %q is not allowed", k.Property))
		return
	case *kind.AnyOf:
		w.add(e, w.choice(e))
		return
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			w.add(e, w.choice(e))
			return
		}
	}
	if len(e.Causes) == 0 {
		w.add(e, e.ErrorKind.LocalizedString(w.words))
	}
	for _, cause := range e.Causes {
		w.collect(cause)
	}
}

// unknown words a property that no schema knows, with the nearest one that is known.
func (w *reporter) unknown(name, at string) string {
	text := fmt.Sprintf("unknown property %q", name)
	if near := fault.Nearest(name, w.known[at]); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return text
}

// choice words that a value fits none of several schemas. Where all want another type it says
// which; else it explains the first few alternatives.
func (w *reporter) choice(e *validator.ValidationError) string {
	causes, here := e.Causes, len(e.InstanceLocation)
	if got, want := typesOnly(causes); got != "" {
		return "got " + got + ", want " + strings.Join(want, " or ")
	}
	var parts []string
	for _, cause := range causes[:min(len(causes), choiceMax)] {
		inner := reporter{known: w.known, words: w.words}
		inner.collect(cause)
		var texts []string
		for _, f := range inner.found {
			text := f.text
			if len(f.at) > here {
				text = pointer(f.at[here:]) + " " + text
			}
			texts = append(texts, text)
		}
		slices.Sort(texts)
		parts = append(parts, strings.Join(texts, ", "))
	}
	if more := len(causes) - choiceMax; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return "fits no alternative: " + strings.Join(parts, "; or ")
}

// typesOnly returns the type that was got and those that were wanted, if that is all that is wrong.
func typesOnly(causes []*validator.ValidationError) (got string, want []string) {
	for _, cause := range causes {
		for len(cause.Causes) == 1 {
			cause = cause.Causes[0]
		}
		k, ok := cause.ErrorKind.(*kind.Type)
		if !ok || len(cause.InstanceLocation) != len(causes[0].InstanceLocation) {
			return "", nil
		}
		got = k.Got
		for _, one := range k.Want {
			if !slices.Contains(want, one) {
				want = append(want, one)
			}
		}
	}
	return got, want
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1", "\n", "\\n")

// pointer writes a place as a JSON pointer; the whole value is "/".
func pointer(at []string) string {
	if len(at) == 0 {
		return "/"
	}
	var b strings.Builder
	for _, step := range at {
		b.WriteByte('/')
		b.WriteString(pointerEscape.Replace(step))
	}
	return b.String()
}

// explainPlace writes a schema's location without the validator's address of the document.
func explainPlace(at string) string { return strings.Replace(at, location, "", 1) }
