package tool

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"polity.run/fault"
)

const pathMax = 256 // bytes of a path

var pathForm = regexp.MustCompile(`^\$(\.[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]{1,6}\])*$`)

// CheckPath returns nil, or an Invalid fault for what is no path into JSON: $ is the whole, .name a field, [0] an item.
func CheckPath(path string) error {
	if len(path) > pathMax || !pathForm.MatchString(path) {
		return fault.Invalid.New("path %.80q: want one as $.id or $.data[0].id", path)
	}
	return nil
}

// Lookup returns what stands at a path, and false if nothing or null does. Lookup reads data again for each step.
func Lookup(data json.RawMessage, path string) (json.RawMessage, bool) {
	if CheckPath(path) != nil || !json.Valid(data) {
		return nil, false
	}
	rest := strings.NewReplacer("[", ".[", "]", "").Replace(path[1:])
	for _, step := range strings.Split(rest, ".")[1:] {
		if number, ok := strings.CutPrefix(step, "["); ok {
			var list []json.RawMessage
			i, err := strconv.Atoi(number)
			if err != nil || json.Unmarshal(data, &list) != nil || i >= len(list) {
				return nil, false
			}
			data = list[i]
			continue
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil || object[step] == nil {
			return nil, false
		}
		data = object[step]
	}
	return data, string(data) != "null"
}
