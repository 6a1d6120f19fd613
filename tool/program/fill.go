package program

import (
	"encoding/json"
	"regexp"
	"strings"

	"polity.run/fault"
)

// Limits of a command that is filled.
const (
	valueMax   = 16 << 10 // bytes of one value
	commandMax = 96 << 10 // bytes of all arguments together; the kernel takes 128 KiB for one
)

// placeholder stands for a field of the input. Other braces, as in awk's {print $1}, are what they are.
var placeholder = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_-]*)\}`)

// fields lists the fields of the input that a command names, each once.
func fields(command []string) []string {
	var names []string
	seen := map[string]bool{}
	for _, word := range command {
		for _, m := range placeholder.FindAllStringSubmatch(word, -1) {
			if !seen[m[1]] {
				seen[m[1]] = true
				names = append(names, m[1])
			}
		}
	}
	return names
}

// fill puts the input's values into a command. A value never becomes more than a part of the one argument that it stands in. It is
// fault.Invalid if a value is missing, empty, no text, number or truth value, too long, holds a zero byte, or would make its argument an
// option: begin it with '-', unless the argument stands after "--".
func fill(command []string, input json.RawMessage) ([]string, error) {
	if len(fields(command)) == 0 {
		return command, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(input, &values); err != nil {
		return nil, fault.Invalid.New("input: want an object: %w", err)
	}
	out := make([]string, len(command))
	size, operands := 0, false
	for i, word := range command {
		filled, err := fillWord(word, values, operands)
		if err != nil {
			return nil, err
		}
		out[i] = filled
		size += len(filled) + 1
		operands = operands || word == "--"
	}
	if size > commandMax {
		return nil, fault.Invalid.New("input: it makes a command of %d bytes; the most is %d", size, commandMax)
	}
	return out, nil
}

// fillWord fills one argument. operands says whether it stands after "--".
func fillWord(word string, values map[string]json.RawMessage, operands bool) (string, error) {
	var out strings.Builder
	end := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(word, -1) {
		name := word[m[2]:m[3]]
		text, err := plain(values[name])
		switch {
		case err != nil:
			return "", fault.Invalid.New("input: %s: %w", name, err)
		case m[0] == 0 && strings.HasPrefix(text, "-") && !operands:
			return "", fault.Invalid.New("input: %s: %.40q would be an option; it may not begin with '-'", name, text)
		}
		out.WriteString(word[end:m[0]])
		out.WriteString(text)
		end = m[1]
	}
	out.WriteString(word[end:])
	return out.String(), nil
}

// plain is what a value is in an argument.
func plain(raw json.RawMessage) (string, error) {
	var value any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &value); err != nil {
			return "", fault.Invalid.New("not JSON: %w", err)
		}
	}
	text := string(raw) // of a number, as it was written
	switch v := value.(type) {
	case string:
		text = v
	case float64, bool:
	case nil:
		return "", fault.Invalid.New("it is missing")
	default:
		return "", fault.Invalid.New("want a text, a number or true or false")
	}
	switch {
	case text == "":
		return "", fault.Invalid.New("it is empty")
	case len(text) > valueMax:
		return "", fault.Invalid.New("it has %d bytes; the most is %d", len(text), valueMax)
	case strings.ContainsRune(text, 0):
		return "", fault.Invalid.New("it holds a zero byte")
	}
	return text, nil
}
