package quote

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"polity.run/fault"
	"polity.run/internal/rank"
	"polity.run/model"
)

// filler fills one schema from one input. It lives for one answer.
type filler struct {
	ctx     context.Context
	in      input
	root    json.RawMessage
	index   *rank.Index
	steer   []float64 // by passage: the score for the system text
	used    []bool    // by passage: quoted already
	left    int       // bytes that may still be quoted
	fields  int
	sources []model.Quote
}

func newFiller(ctx context.Context, in input, r model.Request) *filler {
	texts := make([]string, len(in.passages))
	for i, p := range in.passages {
		texts[i] = p.key + " " + p.text
	}
	f := &filler{
		ctx: ctx, in: in, root: r.Schema, index: rank.New(texts),
		used: make([]bool, len(texts)), left: math.MaxInt,
	}
	f.steer = f.index.Score(in.system)
	if r.OutputMax > 0 && r.OutputMax < math.MaxInt/tokenBytes {
		f.left = int(r.OutputMax) * tokenBytes
	}
	return f
}

// place is where in the answer a field is, and what it is called.
type place struct {
	at   string // JSON pointer
	name string
	refs []string // the references that led here
}

func (p place) child(name string) place {
	step := strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	return place{at: p.at + "/" + step, name: name, refs: p.refs}
}

// answer returns the answer's value: text if that is all that is asked for, else what fits the schema.
func (f *filler) answer(raw json.RawMessage, text bool) (any, error) {
	if text {
		var lines []string
		for _, q := range f.best(place{}, &node{}, linesMax) {
			q.Field = ""
			f.sources = append(f.sources, q)
			lines = append(lines, q.Text)
		}
		return strings.Join(lines, "\n"), nil
	}
	root, err := parse(raw)
	if err != nil {
		return nil, err
	}
	v, _, err := f.fill(place{}, root, true)
	return v, err
}

// fill returns a value for n, and whether there is one. Where the input holds none, there is none
// if the field can be left out, else the schema's own way of saying nothing.
func (f *filler) fill(p place, n *node, required bool) (any, bool, error) {
	if err := ended(f.ctx); err != nil {
		return nil, false, err
	}
	if f.fields++; f.fields > FieldsMax {
		return nil, false, fault.Invalid.New("quote: the schema has more than %d fields", FieldsMax)
	}
	if n.Ref != "" {
		return f.follow(p, n, required)
	}
	v, ok, err := f.find(p, n, required)
	if err != nil || ok {
		return v, ok, err
	}
	return n.empty(), required, nil
}

// follow fills what a reference points at. A reference that led here already is not followed again.
func (f *filler) follow(p place, n *node, required bool) (any, bool, error) {
	if slices.Contains(p.refs, n.Ref) {
		return n.empty(), required, nil
	}
	p.refs = append(slices.Clip(p.refs), n.Ref)
	to, err := refer(f.root, n.Ref)
	if err != nil {
		return nil, false, err
	}
	to.Description = strings.TrimSpace(n.Description + "\n" + to.Description)
	return f.fill(p, to, required)
}

// find looks for a value of n in the input.
func (f *filler) find(p place, n *node, required bool) (any, bool, error) {
	switch {
	case n.Const != nil: // the schema says it, so nobody needs to
		return *n.Const, required, nil
	case len(n.Enum) > 0:
		v, ok := f.stated(p, n, func(text string) (any, bool) { return choice(n.Enum, text) })
		return v, ok, nil
	case len(n.AnyOf)+len(n.OneOf) > 0 && len(n.Type) == 0:
		for _, one := range slices.Concat(n.AnyOf, n.OneOf) {
			if v, ok, err := f.fill(p, one, false); err != nil || ok {
				return v, ok, err
			}
		}
		return nil, false, nil
	}
	for _, kind := range n.kinds() {
		if v, ok, err := f.findKind(kind, p, n, required); err != nil || ok {
			return v, ok, err
		}
	}
	return nil, false, nil
}

func (f *filler) findKind(kind string, p place, n *node, required bool) (any, bool, error) {
	switch kind {
	case "string":
		for _, q := range f.best(p, n, 1) {
			f.sources = append(f.sources, q)
			return q.Text, true, nil
		}
		return nil, false, nil
	case "array":
		v := f.list(p, n)
		return v, len(v) > 0, nil
	case "object":
		return f.object(p, n, required)
	default:
		v, ok := f.stated(p, n, func(text string) (any, bool) { return literal(kind, text) })
		return v, ok, nil
	}
}

// object fills an object's fields in the order of their names. One whose fields are all empty is not there.
func (f *filler) object(p place, n *node, required bool) (any, bool, error) {
	out, found := map[string]any{}, false
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		before := len(f.sources)
		need := slices.Contains(n.Required, name)
		v, ok, err := f.fill(p.child(name), n.Properties[name], need)
		if err != nil {
			return nil, false, err
		}
		if ok {
			out[name] = v
		}
		found = found || len(f.sources) > before
	}
	return out, found || required, nil
}

// list fills an array of texts; other items would have to be made up, so there are none.
func (f *filler) list(p place, n *node) []any {
	items := n.Items
	if items == nil {
		items = &node{}
	}
	if items.Ref != "" || len(items.Enum) > 0 || items.Const != nil || !slices.Equal(items.kinds(), []string{"string"}) {
		return nil
	}
	most := linesMax
	if n.MaxItems != nil {
		most = min(most, int(*n.MaxItems))
	}
	asked := *items
	asked.Description = strings.TrimSpace(n.Description + "\n" + items.Description)
	var out []any
	for i, q := range f.best(p, &asked, most) {
		q.Field += "/" + strconv.Itoa(i)
		f.sources = append(f.sources, q)
		out = append(out, q.Text)
	}
	return out
}

// scores ranks the passages for a field.
func (f *filler) scores(p place, n *node) []float64 {
	name := strings.Join(fieldWords.FindAllString(p.name, -1), " ")
	scores := f.index.Score(f.in.question + "\n" + name + "\n" + n.Description)
	for i := range scores {
		scores[i] += float64(steer * f.steer[i])
		if f.used[i] {
			scores[i] *= repeat
		}
	}
	return scores
}

// best quotes up to most passages for a field, which differ from each other and fit n.
func (f *filler) best(p place, n *node, most int) []model.Quote {
	scores := f.scores(p, n)
	fits := fitting(n)
	var order []int
	for _, i := range byScore(scores) {
		if scores[i] > 0 && fits(f.in.passages[i].text) {
			order = append(order, i)
		}
		if len(order) == candidatesMax {
			break
		}
	}
	top := make([]float64, len(order))
	for k, i := range order {
		top[k] = scores[i]
	}
	similar := func(a, b int) float64 { return f.index.Similarity(order[a], order[b]) }
	var out []model.Quote
	for _, k := range rank.MMR(top, similar, novelty, most) {
		if q, ok := f.quote(order[k], p.at, top[k]); ok {
			out = append(out, q)
		}
	}
	return out
}

// quote takes a passage, if there is room for it.
func (f *filler) quote(i int, field string, score float64) (model.Quote, bool) {
	p := f.in.passages[i]
	if len(p.text) > f.left {
		return model.Quote{}, false
	}
	f.left -= len(p.text)
	f.used[i] = true
	return model.Quote{Field: field, Source: p.source, Line: p.line, Text: p.text, Score: score}, true
}

// fitting returns whether a text keeps to n's length and pattern.
func fitting(n *node) func(string) bool {
	var pattern *regexp.Regexp
	if n.Pattern != "" {
		var err error
		if pattern, err = regexp.Compile(n.Pattern); err != nil {
			return func(string) bool { return false }
		}
	}
	return func(text string) bool {
		length := float64(utf8.RuneCountInString(text))
		return length >= n.MinLength && (n.MaxLength == nil || length <= *n.MaxLength) &&
			(pattern == nil || pattern.MatchString(text))
	}
}

// stated returns the value that the best passage states for the field, as read finds it.
func (f *filler) stated(p place, n *node, read func(text string) (any, bool)) (any, bool) {
	s := newStatement(p.name)
	scores := f.scores(p, n)
	for _, i := range byScore(scores) {
		for _, text := range s.values(f.in.passages[i]) {
			v, ok := read(strings.TrimLeft(text, "\"'`"))
			if !ok {
				continue
			}
			if q, ok := f.quote(i, p.at, scores[i]); ok {
				f.sources = append(f.sources, q)
				return v, true
			}
		}
	}
	return nil, false
}
