package pattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"polity.run/fault"
)

// namesMax is how many names a message lists.
const namesMax = 12

// marshal writes v as JSON without escaping for HTML.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fault.Internal.New("hub: write JSON: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// clip returns s, cut at a rune's border to at most max bytes and a mark.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "…"
}

// list joins at most namesMax names and says how many more there are.
func list[S ~string](names []S) string {
	var b strings.Builder
	for i, name := range names {
		switch {
		case i == namesMax:
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}

// among ends a message about an unknown name: with the nearest known one, or with all of them.
func among[S ~string](known []S, name string) string {
	if len(known) == 0 {
		return ""
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	if near := fault.Nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; known: " + list(known)
}

// addNew appends what is not yet in the list.
func addNew[T comparable](to []T, values ...T) []T {
	for _, v := range values {
		if !slices.Contains(to, v) {
			to = append(to, v)
		}
	}
	return to
}

// plural writes a count and its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
