package schema

import "unicode/utf8"

// ask is a place beyond every text. A reader that cannot be sure returns it in place of the end of
// what it read; whoever reads on from there finds nothing and returns it too.
const ask = 2 * DataMax

// at returns the byte at i, or 0, which no JSON value contains, behind the end.
func at(data []byte, i int) byte {
	if i < len(data) {
		return data[i]
	}
	return 0
}

// space returns the place of the first byte from i on that is not white space.
func space(data []byte, i int) int {
	for ; i < len(data); i++ {
		if c := data[i]; c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			break
		}
	}
	return i
}

// quoted is a string as it stands in JSON text.
type quoted struct {
	text    []byte // between the quotes, in valid UTF-8
	escaped bool   // the text has escapes
	end     int    // behind the closing quote, or ask
}

// readQuoted reads the string whose opening quote is at i.
func readQuoted(data []byte, i int) quoted {
	if at(data, i) != '"' {
		return quoted{end: ask}
	}
	ascii, escaped := true, false
	begin := i + 1
	for i = begin; i < len(data); i++ {
		switch c := data[i]; {
		case c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\': // most are
		case c == '"':
			text := data[begin:i]
			if !ascii && !utf8.Valid(text) {
				return quoted{end: ask}
			}
			return quoted{text, escaped, i + 1}
		case c == '\\':
			escaped = true
			i = escapeEnd(data, i)
		case c < ' ':
			return quoted{end: ask}
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return quoted{end: ask}
}

// escapeEnd returns the place of the last byte of the escape that begins at i.
func escapeEnd(data []byte, i int) int {
	switch at(data, i+1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for k := i + 2; k < i+6; k++ {
			if c := at(data, k); !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return ask
			}
		}
		return i + 5
	default:
		return ask
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// numeral is a number as it stands in JSON text.
type numeral struct {
	whole    int64 // without fraction and exponent, if small
	small    bool  // whole is exact, and so are its neighbours
	negative bool
	fraction bool // there is one, be it zero
	exponent bool
	end      int // behind the number, or ask
}

// The longest parts of a number that is read here; scan refuses only longer ones.
const (
	wholeMax    = 18 // digits that always fit an int64
	exponentLen = 3  // digits
)

// readNumeral reads the number that begins at i.
func readNumeral(data []byte, i int) numeral {
	n := numeral{end: ask, negative: at(data, i) == '-'}
	from := i
	if n.negative {
		i++
	}
	begin := i
	for ; isDigit(at(data, i)); i++ {
		n.whole = n.whole*10 + int64(data[i]-'0') // may overflow, and then is not small
	}
	if i == begin || data[begin] == '0' && i > begin+1 {
		return n
	}
	n.small = i-begin <= wholeMax
	if n.negative {
		n.whole = -n.whole
	}
	if n.fraction = at(data, i) == '.'; n.fraction {
		begin = i + 1
		if i = digitsEnd(data, begin); i == begin {
			return n
		}
	}
	if n.exponent = at(data, i)|0x20 == 'e'; n.exponent {
		begin = i + 1
		if sign := at(data, begin); sign == '+' || sign == '-' {
			begin++
		}
		if i = digitsEnd(data, begin); i == begin || i > begin+exponentLen {
			return n
		}
	}
	if i-from <= numberMax {
		n.end = i
	}
	return n
}

func digitsEnd(data []byte, i int) int {
	for isDigit(at(data, i)) {
		i++
	}
	return i
}

// within says that the number surely lies between low and high. One with a fraction lies between
// its whole part and the next integer away from zero.
func (n numeral) within(low, high int64) bool {
	least, most := n.whole, n.whole
	switch {
	case n.fraction && n.negative:
		least--
	case n.fraction:
		most++
	}
	return n.small && !n.exponent && least >= low && most <= high
}
