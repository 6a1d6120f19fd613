package polity

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"text/scanner"

	"polity.run/fault"
)

// The limits of conditions.
const (
	WhereMax      = 1000 // bytes
	whereDepthMax = 20   // of parentheses and "not"
)

// Where is a condition on an event: comparisons (== != < <= > >=) of its topic, id and fields of its data (data.order.total) with texts, numbers, true,
// false and null, joined by and, or, not and parentheses. A field alone holds if it is there and neither false nor null. Things of different kinds
// are unequal, and neither is less. The zero Where always holds.
type Where struct {
	holds  func(event any) bool
	fields []string
}

// Fields lists what the condition looks at, in its order, as in data.total.
func (w Where) Fields() []string { return slices.Clone(w.fields) }

// ParseWhere reads a condition. It returns fault.Invalid with what was expected where.
func ParseWhere(text string) (Where, error) {
	if len(text) > WhereMax {
		return Where{}, fault.Invalid.New("condition of %d bytes; the most is %d", len(text), WhereMax)
	}
	p := whereParser{text: text}
	p.scan.Init(strings.NewReader(text))
	p.scan.Mode = scanner.ScanIdents | scanner.ScanInts | scanner.ScanFloats | scanner.ScanStrings | scanner.ScanRawStrings
	p.scan.IsIdentRune = func(ch rune, i int) bool {
		return ch == '_' || ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || i > 0 && (ch == '.' || ch == '-' || ch >= '0' && ch <= '9')
	}
	p.scan.Error = func(_ *scanner.Scanner, message string) { p.fail(message) }
	p.next()
	holds := p.or(0)
	if p.err == nil && p.token != "" {
		p.fail("this was not expected")
	}
	if p.err != nil {
		return Where{}, p.err
	}
	return Where{holds, p.fields}, nil
}

// Holds says whether an event is as the condition says.
func (w Where) Holds(e Published) bool {
	return w.holds == nil || w.holds(eventFields(e))
}

func eventFields(e Published) any {
	return map[string]any{"topic": e.Topic, "id": e.ID, "data": decodeNumbers(e.Data)}
}

func decodeNumbers(data json.RawMessage) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// CheckField returns nil, or fault.Invalid for what names no part of an event, as topic, id and data.order.id do.
func CheckField(path string) error {
	first, rest, deep := strings.Cut(path, ".")
	switch {
	case first == "data" && (!deep || rest != "" && !strings.Contains("."+rest+".", "..")), (first == "topic" || first == "id") && !deep:
		return nil
	}
	return fault.Invalid.New("%q is nothing of an event: want topic, id or data.FIELD", path)
}

// Value returns a part of an event as JSON; false if it is not there.
func (e Published) Value(path string) (json.RawMessage, bool) {
	v, ok := fieldOf(eventFields(e), path)
	if !ok {
		return nil, false
	}
	raw, err := json.Marshal(v)
	return raw, err == nil
}

// Field returns a part of an event as text that is the same for the same value; false if it is not there.
func (e Published) Field(path string) (string, bool) {
	v, ok := fieldOf(eventFields(e), path)
	if !ok {
		return "", false
	}
	if text, isText := v.(string); isText {
		return text, true
	}
	raw, err := json.Marshal(v)
	return string(raw), err == nil
}

func fieldOf(v any, path string) (any, bool) {
	for name := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

type whereParser struct {
	text   string
	scan   scanner.Scanner
	kind   rune
	token  string // "" at the end
	fields []string
	err    error
}

func (p *whereParser) fail(message string) {
	if p.err == nil {
		p.err = fault.Invalid.New("condition %q, at column %d: %s; write it as in data.total > 100 and topic == \"orders.placed\"",
			p.text, p.scan.Position.Offset+1, message)
	}
	p.token = ""
}

func (p *whereParser) next() {
	if p.err != nil {
		return
	}
	p.kind = p.scan.Scan()
	token := p.scan.TokenText()
	if strings.Contains("=!<>", token) && token != "" && p.scan.Peek() == '=' {
		p.scan.Next()
		token += "="
	}
	if p.err == nil {
		p.token = token
	}
}

func (p *whereParser) accept(token string) bool {
	if p.token != token || p.kind == scanner.String {
		return false
	}
	p.next()
	return true
}

func (p *whereParser) or(depth int) func(any) bool {
	left := p.and(depth)
	for p.accept("or") {
		a, b := left, p.and(depth)
		left = func(e any) bool { return a(e) || b(e) }
	}
	return left
}

func (p *whereParser) and(depth int) func(any) bool {
	left := p.term(depth)
	for p.accept("and") {
		a, b := left, p.term(depth)
		left = func(e any) bool { return a(e) && b(e) }
	}
	return left
}

func (p *whereParser) term(depth int) func(any) bool {
	if depth > whereDepthMax {
		p.fail("this is too deep")
	}
	if p.err != nil {
		return nil
	}
	if p.accept("not") {
		holds := p.term(depth + 1)
		return func(e any) bool { return !holds(e) }
	}
	if p.accept("(") {
		holds := p.or(depth + 1)
		if !p.accept(")") {
			p.fail("want )")
		}
		return holds
	}
	return p.comparison()
}

func (p *whereParser) comparison() func(any) bool {
	path := p.token
	if p.kind != scanner.Ident {
		p.fail("want topic, id or a field, as in data.total")
		return nil
	}
	if err := CheckField(path); err != nil {
		p.fail(err.Error())
		return nil
	}
	p.fields = append(p.fields, path)
	p.next()
	op := p.token
	switch op {
	case "==", "!=", "<", "<=", ">", ">=":
	case "=":
		p.fail("want ==")
		return nil
	default:
		return func(e any) bool { v, ok := fieldOf(e, path); return ok && v != nil && v != false }
	}
	p.next()
	want, ok := p.value()
	if !ok {
		p.fail("want a text in quotes, a number, true, false or null")
		return nil
	}
	return func(e any) bool {
		v, _ := fieldOf(e, path) // what is not there is null
		return compare(op, v, want)
	}
}

func (p *whereParser) value() (v any, ok bool) {
	sign := ""
	if p.accept("-") {
		sign = "-"
	}
	switch {
	case p.kind == scanner.Int || p.kind == scanner.Float:
		v = json.Number(sign + p.token)
		_, err := strconv.ParseFloat(sign+p.token, 64)
		ok = err == nil
	case sign != "":
	case p.kind == scanner.String || p.kind == scanner.RawString:
		text, err := strconv.Unquote(p.token)
		v, ok = text, err == nil
	case p.token == "true", p.token == "false":
		v, ok = p.token == "true", true
	case p.token == "null":
		ok = true
	}
	if ok {
		p.next()
	}
	return v, ok
}

func compare(op string, a, b any) bool {
	switch op {
	case "==":
		return has(a, b)
	case "!=":
		return !has(a, b)
	}
	var c int
	switch b := b.(type) {
	case string:
		text, ok := a.(string)
		if !ok {
			return false
		}
		c = strings.Compare(text, b)
	case json.Number:
		n, ok := a.(json.Number)
		x, err1 := strconv.ParseFloat(string(n), 64)
		y, err2 := strconv.ParseFloat(string(b), 64)
		if !ok || err1 != nil || err2 != nil {
			return false
		}
		switch {
		case x < y:
			c = -1
		case x > y:
			c = 1
		}
	default:
		return false
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	default:
		return c >= 0
	}
}
