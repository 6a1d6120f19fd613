package web

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"polity.run/tool"
)

// pair is one name and value of a query or a form, escaped and joined.
type pair struct{ name, text string }

func newPair(name, escaped string) pair {
	return pair{name, url.QueryEscape(name) + "=" + escaped}
}

// encode joins pairs in the order of their names.
func encode(all []pair) string {
	slices.SortStableFunc(all, func(a, b pair) int { return cmp.Compare(a.name, b.name) })
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.text
	}
	return strings.Join(texts, "&")
}

// separators stand between the members of a list that is not exploded.
var separators = map[tool.Style]string{tool.StyleForm: ",", tool.StyleSpace: "%20", tool.StylePipe: "%7C"}

// pairs writes a field for a query or a form. An empty list is nothing, and so is null where a style is given.
func pairs(name string, f tool.HTTPField, raw json.RawMessage) []pair {
	list, object := members(raw)
	var out []pair
	switch separator := separators[f.Style]; {
	case f.Style != "" && string(raw) == "null":
	case f.Style == tool.StyleJSON:
		out = append(out, newPair(name, url.QueryEscape(string(raw))))
	case object != nil && f.Style == tool.StyleDeep:
		for _, key := range slices.Sorted(maps.Keys(object)) {
			out = append(out, pairs(name+"["+key+"]", f, object[key])...)
		}
	case object != nil && f.Style != "" && f.Explode:
		for _, key := range slices.Sorted(maps.Keys(object)) {
			out = append(out, newPair(key, url.QueryEscape(plain(object[key]))))
		}
	case list != nil && (f.Explode || separator == ""):
		for _, one := range list {
			out = append(out, newPair(name, url.QueryEscape(plain(one))))
		}
	case separator != "" && len(list)+len(object) > 0:
		out = append(out, newPair(name, joined(list, object, separator, separator, url.QueryEscape)))
	case f.Style == "" || list == nil && object == nil:
		out = append(out, newPair(name, url.QueryEscape(plain(raw))))
	}
	return out
}

// simple writes a field for an address or a header.
func simple(f tool.HTTPField, raw json.RawMessage, escape func(string) string) string {
	list, object := members(raw)
	between := ","
	if f.Explode {
		between = "="
	}
	switch {
	case f.Style == tool.StyleJSON:
		return escape(string(raw))
	case f.Style == "" || list == nil && object == nil:
		return escape(plain(raw))
	default:
		return joined(list, object, between, ",", escape)
	}
}

// joined writes the members of a list or an object, with a sign between a name and its value.
func joined(list []json.RawMessage, object map[string]json.RawMessage, between, separator string, escape func(string) string) string {
	var words []string
	for _, one := range list {
		words = append(words, escape(plain(one)))
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		words = append(words, escape(key)+between+escape(plain(object[key])))
	}
	return strings.Join(words, separator)
}

// members are those of a list or an object; both nil for every other value.
func members(raw json.RawMessage) (list []json.RawMessage, object map[string]json.RawMessage) {
	if json.Unmarshal(raw, &list) == nil && list != nil {
		return list, nil
	}
	if json.Unmarshal(raw, &object) == nil && object != nil {
		return nil, object
	}
	return nil, nil
}
