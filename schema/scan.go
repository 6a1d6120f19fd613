package schema

import (
	"polity.run/fault"
)

// Limits of numbers: they are compared exactly, as fractions, so one with a huge exponent would
// fill the memory.
const (
	numberMax   = 1024 // bytes of a number
	exponentMax = 1024 // either way
)

// StepsMax is how many times a part of a schema may meet a part of a value in one check. A schema
// whose references multiply reaches it with a small value; other schemas need more than DataMax.
const StepsMax = 64_000_000

// scan is one cheap pass over JSON text, made before anything is built from it. It finds what
// exceeds a limit; whether the text is JSON at all is found later.
type scan struct {
	depth int
	nodes [DepthMax + 2]int // values at each depth, never too few
}

// read scans data, or says which limit it exceeds.
func (s *scan) read(data []byte) error {
	s.nodes[0] = 1
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			i = stringEnd(data, i)
		case c == '{' || c == '[':
			if s.depth++; s.depth > DepthMax {
				return fault.Invalid.New("arrays and objects are nested deeper than %d", DepthMax)
			}
			s.nodes[s.depth]++
		case c == '}' || c == ']':
			s.depth = max(s.depth-1, 0)
		case c == ',':
			s.nodes[s.depth]++
		case c == '-' || c >= '0' && c <= '9':
			end := numberEnd(data, i)
			if err := checkNumber(data[i:end]); err != nil {
				return err
			}
			i = end - 1
		}
	}
	return nil
}

// afford refuses a value that would meet the schema too often.
func (s *scan) afford(cost []float64) error {
	steps := 0.0
	for depth, each := range cost {
		if s.nodes[depth] == 0 {
			break
		}
		// A value is visited once for each evaluation, and so is each of its members.
		steps += each * float64(s.nodes[depth]+s.nodes[depth+1])
	}
	if steps > StepsMax {
		return fault.Invalid.New("value: check: the schema's references multiply: up to %.3g steps, at most %d are allowed", steps, StepsMax)
	}
	return nil
}

// stringEnd returns the index of the quote that ends the string beginning at i, or of the last byte.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return len(data) - 1
}

func numberEnd(data []byte, i int) int {
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return i
		}
	}
	return i
}

// checkNumber refuses a number that is too long or whose exponent is too large.
func checkNumber(text []byte) error {
	if len(text) > numberMax {
		return fault.Invalid.New("a number has %d digits; at most %d are allowed", len(text), numberMax)
	}
	exponent, seen := 0, false
	for _, c := range text {
		switch {
		case c == 'e' || c == 'E':
			seen = true
		case seen && c >= '0' && c <= '9':
			if exponent = exponent*10 + int(c-'0'); exponent > exponentMax {
				return fault.Invalid.New("number %.20s: the exponent is beyond %d", text, exponentMax)
			}
		}
	}
	return nil
}
