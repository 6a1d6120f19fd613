// Package jsontext says whether bytes are JSON.
//
// It exists because every door asks that of everything, and most of what is long in JSON is text: here eight of its bytes are looked at
// at once, where encoding/json calls a function for each.
package jsontext

import (
	"encoding/binary"
	"math/bits"
)

// depthMax is how deep values may nest, as encoding/json has it.
const depthMax = 10_000

// Valid says what json.Valid of encoding/json says of the same bytes: one value with white space around it, nested up to 10,000 deep. As there, text need not be UTF-8.
func Valid(data []byte) bool {
	i, ok := value(data, space(data, 0), 0)
	return ok && space(data, i) == len(data)
}

// The functions below read what begins at b[i], and return where it ends, and whether it is what they read.

func value(b []byte, i, depth int) (int, bool) {
	if i >= len(b) {
		return i, false
	}
	switch c := b[i]; c {
	case '"':
		return text(b, i+1)
	case '{':
		return members(b, i+1, depth+1)
	case '[':
		return elements(b, i+1, depth+1)
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	default:
		return number(b, i)
	}
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func word(b []byte, i int, want string) (int, bool) {
	end := i + len(want)
	return end, end <= len(b) && string(b[i:end]) == want
}

func members(b []byte, i, depth int) (int, bool) {
	if depth > depthMax {
		return i, false
	}
	if i = space(b, i); i < len(b) && b[i] == '}' {
		return i + 1, true
	}
	for ok := true; i < len(b) && b[i] == '"'; i = space(b, i+1) {
		if i, ok = text(b, i+1); !ok {
			return i, false
		}
		if i = space(b, i); i >= len(b) || b[i] != ':' {
			return i, false
		}
		if i, ok = value(b, space(b, i+1), depth); !ok {
			return i, false
		}
		if i = space(b, i); i < len(b) && b[i] == '}' {
			return i + 1, true
		}
		if i >= len(b) || b[i] != ',' {
			return i, false
		}
	}
	return i, false
}

func elements(b []byte, i, depth int) (int, bool) {
	if depth > depthMax {
		return i, false
	}
	if i = space(b, i); i < len(b) && b[i] == ']' {
		return i + 1, true
	}
	for ok := true; i < len(b); i = space(b, i+1) {
		if i, ok = value(b, i, depth); !ok {
			return i, false
		}
		if i = space(b, i); i < len(b) && b[i] == ']' {
			return i + 1, true
		}
		if i >= len(b) || b[i] != ',' {
			return i, false
		}
	}
	return i, false
}

// text reads what follows the opening quote.
func text(b []byte, i int) (int, bool) {
	for {
		i = plain(b, i)
		if i >= len(b) {
			return i, false
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, true
		case c != '\\':
			return i, false // a control character
		}
		if i++; i >= len(b) {
			return i, false
		}
		switch b[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i++
		case 'u':
			if i+5 > len(b) || !isHex(b[i+1]) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) {
				return i, false
			}
			i += 5
		default:
			return i, false
		}
	}
}

func isHex(c byte) bool { return c-'0' < 10 || c|0x20 >= 'a' && c|0x20 <= 'f' }

// plain skips bytes that stand for themselves in a text: neither a quote, nor a backslash, nor below the space.
func plain(b []byte, i int) int {
	for ; i+32 <= len(b); i += 32 {
		if p := b[i : i+32]; special(p)|special(p[8:])|special(p[16:])|special(p[24:]) != 0 {
			break
		}
	}
	for ; i+8 <= len(b); i += 8 {
		if found := special(b[i:]); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
		i++
	}
	return i
}

// special is 0 for eight bytes that stand for themselves, and else has the first bit that is set in the first byte that does not: "Determine if a word
// has a byte less than n", Bit Twiddling Hacks, which may take a byte after one that is found for another, and never one before it.
func special(b []byte) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	w := binary.LittleEndian.Uint64(b)
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & tops
}

func number(b []byte, i int) (int, bool) {
	if b[i] == '-' {
		i++
	}
	first := i
	if i = digits(b, i); i == first || b[first] == '0' && i > first+1 {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		first = i + 1
		if i = digits(b, first); i == first {
			return i, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		first = i
		if i = digits(b, first); i == first {
			return i, false
		}
	}
	return i, true
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	return i
}
