// Package filter reads the language in which runs, effects and costs are asked for.
//
// It exists so that a question is written the same at the command line, over HTTP and in a console:
//
//	status:failed,exhausted team:support agent:reviewer cost>0.5 started>-1h tokens>=1000 "refund" -status:cancelled
//
// A query is a list of terms that all have to hold. A term is a field, an operator and a value; or a word or a "phrase", which stands
// somewhere in the text. A '-' before a term turns it around. Values with commas between them are alternatives. A value that ends with '*'
// is the beginning of a name. What fields there are is up to the one who asks; nothing of the query is ever a part of SQL.
//
//	query = { ["-"] term }
//	term  = field op value { "," value } | value
//	op    = ":" | "=" | "!=" | ">" | ">=" | "<" | "<="
//	value = word | '"' { character | "\" character } '"'
package filter

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"polity.run/fault"
)

// The limits of a query.
const (
	QueryMax  = 4 << 10 // bytes
	TermsMax  = 32
	ValuesMax = 64 // alternatives of one term
)

// Kind is what the values of a field are.
type Kind byte

// The kinds of field.
const (
	Text   Kind = iota // a name; ':' compares all of it, or the beginning before a '*'
	Choice             // one of Field.Choices
	Number             // a whole number, with k, m or g behind it for thousands, millions or milliards
	Money              // US dollars, with at most six digits after the point; its Number is in millionths
	Span               // a duration, as in 90s, 1h30m or 2d; its Number is in nanoseconds
	Moment             // a time: before now, as in -1h; a day, as in 2026-11-25; or RFC 3339. Its Number is in nanoseconds since 1970
)

// Field is a field that can be asked for.
type Field struct {
	Name    string
	Kind    Kind
	Choices []string // of a Choice; Value.Number is the place in it
	Doc     string   // what it is, for help
}

// Op is how a value is compared.
type Op string

// The operators. The one of words is Has.
const (
	Is      Op = ":" // also written =
	Not     Op = "!="
	Above   Op = ">"
	AtLeast Op = ">="
	Below   Op = "<"
	AtMost  Op = "<="
	Has     Op = "has" // a word or phrase that stands in the text
)

// Filter is a query that was understood.
type Filter struct{ Terms []Term }

// Term is one condition.
type Term struct {
	Negated bool
	Field   string // "" with Has
	Op      Op
	Values  []Value // one of them has to fit
}

// Value is what is compared with.
type Value struct {
	Text   string // as it is written, without quotes and the '*' of a Prefix
	Number int64  // of every kind but Text
	Prefix bool
}

// Parse reads a query. Times before now are counted from now. It returns fault.Invalid for what it does not understand, naming the place
// and, where there is one, the nearest field or choice.
func Parse(query string, fields []Field, now time.Time) (Filter, error) {
	if len(query) > QueryMax {
		return Filter{}, fault.Invalid.New("filter: %d bytes; the most is %d", len(query), QueryMax)
	}
	if !utf8.ValidString(query) {
		return Filter{}, fault.Invalid.New("filter: it is not UTF-8")
	}
	p := parser{text: query, fields: fields, now: now}
	var f Filter
	for {
		p.skip()
		if p.at == len(p.text) {
			return f, nil
		}
		if len(f.Terms) == TermsMax {
			return Filter{}, p.fail(p.at, "more than %d terms", TermsMax)
		}
		t, err := p.term()
		if err != nil {
			return Filter{}, err
		}
		f.Terms = append(f.Terms, t)
	}
}

// String writes the query such that it is understood as the same filter.
func (f Filter) String() string {
	var b strings.Builder
	for i, t := range f.Terms {
		if i > 0 {
			b.WriteByte(' ')
		}
		if t.Negated {
			b.WriteByte('-')
		}
		if t.Op != Has {
			b.WriteString(t.Field + string(t.Op))
		}
		for k, v := range t.Values {
			if k > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quote(v.Text))
			if v.Prefix {
				b.WriteByte('*')
			}
		}
	}
	return b.String()
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

type parser struct {
	text   string
	at     int
	fields []Field
	now    time.Time
}

// fail is an error about a place of the query, counted in characters from 1.
func (p *parser) fail(at int, format string, args ...any) error {
	args = append([]any{utf8.RuneCountInString(p.text[:at]) + 1}, args...)
	return fault.Invalid.New("filter: at character %d: "+format, args...)
}

func (p *parser) skip() {
	for p.at < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[p.at:])
		if !unicode.IsSpace(r) {
			return
		}
		p.at += n
	}
}

func (p *parser) term() (Term, error) {
	start := p.at
	var t Term
	if strings.HasPrefix(p.text[p.at:], "-") {
		t.Negated = true
		p.at++
	}
	field, op := p.fieldOp()
	if op == "" {
		v, _, err := p.value("")
		if err != nil {
			return t, err
		}
		if v == "" {
			return t, p.fail(start, "a word is missing; put what begins or ends with - into quotes")
		}
		t.Op, t.Values = Has, []Value{{Text: v}}
		return t, nil
	}
	at := p.at
	p.at += len(field) + len(op)
	known := p.field(field)
	if known == nil {
		return t, p.fail(at, "no field %q%s", field, p.suggestField(field))
	}
	t.Field, t.Op = field, Op(op)
	if op == "=" {
		t.Op = Is
	}
	if t.Op != Is && t.Op != Not && (known.Kind == Text || known.Kind == Choice) {
		return t, p.fail(at, "%s is not compared with %s: write %s:VALUE", field, op, field)
	}
	return p.values(t, known)
}

func (p *parser) values(t Term, f *Field) (Term, error) {
	for {
		if len(t.Values) == ValuesMax {
			return t, p.fail(p.at, "more than %d values", ValuesMax)
		}
		at := p.at
		text, quoted, err := p.value(",")
		if err != nil {
			return t, err
		}
		if text == "" && !quoted {
			return t, p.fail(at, "a value of %s is missing", f.Name)
		}
		v := Value{Text: text}
		switch {
		case f.Kind != Text:
		case quoted && strings.HasPrefix(p.text[p.at:], "*"):
			v.Prefix = true
			p.at++
		case !quoted && strings.HasSuffix(text, "*"):
			v.Text, v.Prefix = strings.TrimSuffix(text, "*"), true
		}
		if f.Kind != Text {
			var why string
			if v.Number, why = p.number(f, text); why != "" {
				return t, p.fail(at, "%s: %q: %s", f.Name, text, why)
			}
		}
		t.Values = append(t.Values, v)
		if !strings.HasPrefix(p.text[p.at:], ",") {
			break
		}
		p.at++
	}
	if len(t.Values) > 1 && t.Op != Is && t.Op != Not {
		return t, p.fail(p.at, "%s%s takes one value", f.Name, t.Op)
	}
	return t, nil
}

// fieldOp returns the field and operator that a term begins with, or two empty texts.
func (p *parser) fieldOp() (field, op string) {
	rest := p.text[p.at:]
	n := 0
	for n < len(rest) && (rest[n] >= 'a' && rest[n] <= 'z' || rest[n] >= 'A' && rest[n] <= 'Z' || rest[n] == '_' || n > 0 && rest[n] >= '0' && rest[n] <= '9') {
		n++
	}
	if n == 0 {
		return "", ""
	}
	for _, op := range [...]string{"!=", ">=", "<=", ":", "=", ">", "<"} {
		if strings.HasPrefix(rest[n:], op) {
			return rest[:n], op
		}
	}
	return "", ""
}

// value reads a word, which ends at white space and at what stops it, or a quoted text.
func (p *parser) value(stop string) (text string, quoted bool, err error) {
	rest := p.text[p.at:]
	if !strings.HasPrefix(rest, `"`) {
		n := strings.IndexFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(stop, r) || r == '"' })
		if n < 0 {
			n = len(rest)
		}
		p.at += n
		return rest[:n], false, nil
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			p.at += i + 1
			return b.String(), true, nil
		case '\\':
			if i++; i == len(rest) {
				return "", true, p.fail(p.at, "the quote is not closed")
			}
			b.WriteByte(rest[i])
		default:
			b.WriteByte(rest[i])
		}
	}
	return "", true, p.fail(p.at, "the quote is not closed")
}

func (p *parser) field(name string) *Field {
	for i := range p.fields {
		if p.fields[i].Name == name {
			return &p.fields[i]
		}
	}
	return nil
}

func (p *parser) suggestField(name string) string {
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.Name
	}
	return suggest(strings.ToLower(name), names)
}

// suggest words which of the known names was meant, or all of them.
func suggest(name string, known []string) string {
	if near := fault.Nearest(name, known); near != "" {
		return "; did you mean " + strconv.Quote(near) + "?"
	}
	return "; there are: " + strings.Join(known, ", ")
}

// number reads a value that is not a name. It returns why it is none.
func (p *parser) number(f *Field, text string) (n int64, why string) {
	switch f.Kind {
	case Choice:
		for i, c := range f.Choices {
			if c == text {
				return int64(i), ""
			}
		}
		return 0, "it is none of them" + suggest(text, f.Choices)
	case Number:
		return whole(text)
	case Money:
		return money(text)
	case Span:
		return span(text)
	default:
		return p.moment(text)
	}
}
