package schema

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of a comparison. Beyond one the schemas are not shown to be compatible.
const (
	compareMax = 50_000 // pairs of schemas
	piecesMax  = 64     // alternatives of one value
	emptyDepth = 4      // levels that are searched for a reason why no value can be there
	emptyMax   = 256    // schemas that are looked at in that search
)

// fits returns why a value that s accepts might not be accepted by the reader's schema; nothing means that all are. The names of the
// sides stand in the texts. With declared, values have only the properties that s declares.
func (s *Schema) fits(reader *Schema, declared bool, writes, reads string) []Difference {
	c := &comparison{declared: declared, writes: writes, reads: reads, ids: map[*validator.Schema]int{}, open: map[string]bool{}, steps: new(int)}
	if reader == nil {
		return nil
	}
	a := conj{kinds: isAny}
	if s != nil {
		a = a.and(s.root)
	}
	for _, one := range []*Schema{s, reader} {
		if odd := oddity(one); odd != "" {
			return c.say("", "%s", odd)
		}
	}
	list := c.fits(a, reader.root, "")
	return slices.CompactFunc(list, func(a, b Difference) bool { return a == b })
}

// oddity says what in a schema no comparison looks into.
func oddity(s *Schema) string {
	if s == nil {
		return ""
	}
	for _, one := range newGraph(s.root).order {
		switch {
		case one.DraftVersion != 2020:
			return "one of the schemas is of an older draft of JSON Schema; only draft 2020-12 is compared"
		case one.DynamicRef != nil || one.RecursiveRef != nil:
			return "one of the schemas has a $dynamicRef, which is not compared"
		case len(one.Extensions) > 0:
			return "one of the schemas has keywords of a vocabulary of its own, which are not compared"
		}
	}
	return ""
}

// comparison is one question whether all values of one schema are values of another.
//
// Pairs that are being compared are taken to fit when they come up again inside themselves, as the same schemas do further down in
// recursive data: a smallest value for which that is wrong would have been found where they came up first.
type comparison struct {
	declared      bool
	writes, reads string
	ids           map[*validator.Schema]int
	open          map[string]bool
	steps         *int
}

// strictly is the comparison where not all schemas are at hand that may declare properties of a value.
func (c *comparison) strictly() *comparison {
	strict := *c
	strict.declared = false
	return &strict
}

func (c *comparison) say(at, format string, args ...any) []Difference {
	if at == "" {
		at = "/"
	}
	return []Difference{{Path: at, Text: fmt.Sprintf(format, args...)}}
}

// key names a pair.
func (c *comparison) key(a conj, b *validator.Schema) string {
	ids := make([]int, len(a.nodes))
	for i, s := range a.nodes {
		ids[i] = c.id(s)
	}
	slices.Sort(ids)
	return fmt.Sprint(c.declared, uint8(a.kinds), a.also, ids, c.id(b))
}

func (c *comparison) id(s *validator.Schema) int {
	if _, known := c.ids[s]; !known {
		c.ids[s] = len(c.ids)
	}
	return c.ids[s]
}

// fits returns why a value of a might not be one of b.
func (c *comparison) fits(a conj, b *validator.Schema, at string) []Difference {
	if b == nil || b.Bool != nil && *b.Bool || a.empty() {
		return nil
	}
	if *c.steps++; *c.steps > compareMax {
		return c.say(at, "the schemas are too large to be compared")
	}
	if b.Bool != nil {
		return c.say(at, "%s data may have a value here, the %s schema allows none", c.writes, c.reads)
	}
	key := c.key(a, b)
	if c.open[key] {
		return nil
	}
	c.open[key] = true
	defer delete(c.open, key)
	if values, listed := a.values(); listed {
		*c.steps += len(values)
		return c.listed(values, b, at)
	}
	var out []Difference
	for _, part := range append(slices.Clone(b.AllOf), b.Ref) {
		out = append(out, c.fits(a, part, at)...)
	}
	out = append(out, c.oneOf(a, b, at)...)
	out = append(out, c.not(a, b, at)...)
	out = append(out, c.when(a, b, at)...)
	pieces := a.pieces()
	if pieces == nil {
		return append(out, c.say(at, "there are too many alternatives to be compared")...)
	}
	for _, p := range pieces {
		out = append(out, c.plain(p, b, at)...)
		out = append(out, c.anyOf(p, b, at)...)
	}
	return out
}

// listed compares the only values that there are with b.
func (c *comparison) listed(values []any, b *validator.Schema, at string) []Difference {
	var out []Difference
	for _, v := range values {
		if b.Validate(v) != nil {
			out = append(out, c.say(at, "%s data may be %s, the %s schema does not accept that", c.writes, brief(v), c.reads)...)
		}
	}
	return out
}

// anyOf wants each value of a to be one of an alternative: as a whole, or kind by kind.
func (c *comparison) anyOf(a conj, b *validator.Schema, at string) []Difference {
	if len(b.AnyOf) == 0 || c.some(a, b.AnyOf, at) == nil {
		return nil
	}
	for _, kind := range a.kinds.each() {
		if nearest := c.some(a.only(kind), b.AnyOf, at); nearest != nil {
			return nearest
		}
	}
	return nil
}

// some returns nil if a fits one of the alternatives, and else why it does not fit the one that it fits best.
func (c *comparison) some(a conj, alternatives []*validator.Schema, at string) []Difference {
	var nearest []Difference
	for _, one := range alternatives {
		why := c.fits(a, one, at)
		if len(why) == 0 {
			return nil
		}
		if nearest == nil || deepest(why) > deepest(nearest) {
			nearest = why
		}
	}
	if len(alternatives) > 1 {
		nearest[0].Text = fmt.Sprintf("no single one of %d alternatives of the %s schema is shown to accept what the %s one does; of the nearest: %s",
			len(alternatives), c.reads, c.writes, nearest[0].Text)
	}
	return nearest
}

// deepest is how far down in the data a difference lies: an alternative that differs further down is nearer to what is meant.
func deepest(list []Difference) int {
	n := 0
	for _, d := range list {
		n = max(n, strings.Count(strings.TrimSuffix(d.Path, "/"), "/"))
	}
	return n
}

// oneOf wants each value to fit one alternative and surely no other.
func (c *comparison) oneOf(a conj, b *validator.Schema, at string) []Difference {
	if len(b.OneOf) == 0 {
		return nil
	}
	for _, s := range a.nodes {
		if c.sameChoice(s.OneOf, b.OneOf, at) {
			return nil
		}
	}
	pieces := a.pieces()
	if pieces == nil {
		return c.say(at, "there are too many alternatives to be compared")
	}
	for _, p := range pieces {
		if c.exactlyOne(p, b.OneOf, at) {
			continue
		}
		for _, kind := range p.kinds.each() {
			if !c.exactlyOne(p.only(kind), b.OneOf, at) {
				return c.say(at, "what the %s schema accepts is not shown to be accepted by exactly one of the %d alternatives of the %s one",
					c.writes, len(b.OneOf), c.reads)
			}
		}
	}
	return nil
}

func (c *comparison) sameChoice(a, b []*validator.Schema, at string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !c.same(a[i], b[i], at) {
			return false
		}
	}
	return true
}

// same says that both schemas surely accept the same values.
func (c *comparison) same(a, b *validator.Schema, at string) bool {
	any, strict := conj{kinds: isAny}, c.strictly()
	return len(strict.fits(any.and(a), b, at)) == 0 && len(strict.fits(any.and(b), a, at)) == 0
}

func (c *comparison) exactlyOne(a conj, alternatives []*validator.Schema, at string) bool {
	if a.empty() {
		return true
	}
	for i, one := range alternatives {
		if len(c.fits(a, one, at)) > 0 {
			continue
		}
		for j, other := range alternatives {
			if j != i && !a.and(other).empty() {
				return false
			}
		}
		return true
	}
	return false
}

func (c *comparison) not(a conj, b *validator.Schema, at string) []Difference {
	if b.Not == nil || a.and(b.Not).empty() {
		return nil
	}
	any := conj{kinds: isAny}
	for _, s := range a.nodes {
		if s.Not != nil && len(c.strictly().fits(any.and(b.Not), s.Not, at)) == 0 {
			return nil
		}
	}
	return c.say(at, "%s data is not shown to be without what the %s schema excludes (not)", c.writes, c.reads)
}

// when compares if, then and else.
func (c *comparison) when(a conj, b *validator.Schema, at string) []Difference {
	if b.If == nil || b.Then == nil && b.Else == nil {
		return nil
	}
	yes, no := a.and(b.If), a
	for _, s := range a.nodes {
		if s.If != nil && c.same(s.If, b.If, at) {
			yes, no = yes.and(s.Then), no.and(s.Else)
		}
	}
	out := c.fits(yes, b.Then, at)
	if b.Else != nil && len(c.fits(a, b.If, at)) > 0 { // else not all are as in if
		out = append(out, c.fits(no, b.Else, at)...)
	}
	return out
}

// plain compares what b itself asks of a value.
func (c *comparison) plain(a conj, b *validator.Schema, at string) []Difference {
	a = a.known()
	if a.kinds == 0 {
		return nil
	}
	var out []Difference
	if more := a.kinds &^ kindsOf(b.Types); more != 0 {
		out = append(out, c.say(at, "%s data may be %s, the %s schema wants %s", c.writes, more, c.reads, kindsOf(b.Types))...)
		if a.kinds &= kindsOf(b.Types); a.kinds == 0 {
			return out
		}
	}
	out = append(out, c.enumerated(b, at)...)
	if b.Format != nil && !slices.ContainsFunc(a.nodes, func(s *validator.Schema) bool { return s.Format != nil && s.Format.Name == b.Format.Name }) {
		out = append(out, c.say(at, "the %s schema wants the format %s, the %s one does not", c.reads, b.Format.Name, c.writes)...)
	}
	if a.kinds&(isInteger|isNumber) != 0 {
		out = append(out, c.number(a, b, at)...)
	}
	if a.kinds&isString != 0 {
		out = append(out, c.text(a, b, at)...)
	}
	if a.kinds&isArray != 0 {
		out = append(out, c.array(a, b, at)...)
	}
	if a.kinds&isObject != 0 {
		out = append(out, c.object(a, b, at)...)
	}
	return out
}

// enumerated is asked where a has no list of values itself.
func (c *comparison) enumerated(b *validator.Schema, at string) []Difference {
	switch {
	case b.Const != nil:
		return c.say(at, "the %s schema allows %s alone, the %s one more", c.reads, brief(*b.Const), c.writes)
	case b.Enum != nil:
		var values []string
		for _, v := range b.Enum.Values {
			values = append(values, brief(v))
		}
		return c.say(at, "the %s schema allows only %s, the %s one more", c.reads, cut(strings.Join(values, ", ")), c.writes)
	}
	return nil
}

func (c *comparison) number(a conj, b *validator.Schema, at string) []Difference {
	var out []Difference
	low, high := a.bounds()
	if wanted := lowest(b); wanted.at != nil && !low.within(wanted, 1) {
		out = append(out, c.say(at, "the %s schema wants numbers %s, the %s one allows %s", c.reads, wanted.word("from", "above"), c.writes, low.smaller())...)
	}
	if wanted := highest(b); wanted.at != nil && !high.within(wanted, -1) {
		out = append(out, c.say(at, "the %s schema wants numbers %s, the %s one allows %s", c.reads, wanted.word("to", "below"), c.writes, high.larger())...)
	}
	if m := b.MultipleOf; m != nil && !a.multiples(m) {
		out = append(out, c.say(at, "the %s schema wants multiples of %s, the %s one allows other numbers", c.reads, m.RatString(), c.writes)...)
	}
	return out
}

func (c *comparison) text(a conj, b *validator.Schema, at string) []Difference {
	var out []Difference
	shortest, longest := a.least(minLength), a.most(maxLength)
	if b.MinLength != nil && shortest < *b.MinLength {
		out = append(out, c.say(at, "the %s schema wants at least %s, the %s one allows fewer", c.reads, many(*b.MinLength, "character"), c.writes)...)
	}
	if b.MaxLength != nil && longest > *b.MaxLength {
		out = append(out, c.say(at, "the %s schema allows at most %s, the %s one more", c.reads, many(*b.MaxLength, "character"), c.writes)...)
	}
	if p := b.Pattern; p != nil && !slices.ContainsFunc(a.nodes, func(s *validator.Schema) bool { return s.Pattern != nil && s.Pattern.String() == p.String() }) {
		out = append(out, c.say(at, "the %s schema wants texts that match %s, and of the %s one that is not shown; patterns are compared by their text alone", c.reads, p, c.writes)...)
	}
	if b.ContentEncoding != nil || b.ContentMediaType != nil || b.ContentSchema != nil {
		out = append(out, c.say(at, "the %s schema asks for what a text contains, which is not compared", c.reads)...)
	}
	return out
}

func (c *comparison) array(a conj, b *validator.Schema, at string) []Difference {
	var out []Difference
	shortest, longest := a.least(minItems), a.itemsMost()
	if b.MinItems != nil && shortest < *b.MinItems {
		out = append(out, c.say(at, "the %s schema wants at least %s, the %s one allows fewer", c.reads, many(*b.MinItems, "item"), c.writes)...)
	}
	if b.MaxItems != nil && longest > *b.MaxItems {
		out = append(out, c.say(at, "the %s schema allows at most %s, the %s one more", c.reads, many(*b.MaxItems, "item"), c.writes)...)
	}
	if b.UniqueItems && longest > 1 && !slices.ContainsFunc(a.nodes, func(s *validator.Schema) bool { return s.UniqueItems }) {
		out = append(out, c.say(at, "the %s schema wants items that differ, the %s one does not", c.reads, c.writes)...)
	}
	ahead, of := a.and(b).ahead(), c
	if slices.ContainsFunc(a.nodes, func(s *validator.Schema) bool { return s.Contains != nil }) {
		of = c.strictly()
	}
	for i := range min(ahead, longest) {
		out = append(out, of.fits(a.item(i), item(b, i), at+"/"+strconv.Itoa(i))...)
	}
	if longest > ahead {
		out = append(out, of.fits(a.item(ahead), item(b, ahead), at+"/*")...)
	}
	out = append(out, c.contains(a, b, at, shortest, longest)...)
	if b.UnevaluatedItems != nil && !acceptsAll(b.UnevaluatedItems) {
		out = append(out, c.say(at, "the %s schema has unevaluatedItems, which is not compared", c.reads)...)
	}
	return out
}

func acceptsAll(s *validator.Schema) bool { return s.Bool != nil && *s.Bool }

// contains compares how many items are of a kind.
func (c *comparison) contains(a conj, b *validator.Schema, at string, shortest, longest int) []Difference {
	if b.Contains == nil {
		return nil
	}
	least := or(b.MinContains, 1)
	enough := least == 0
	few := b.MaxContains == nil || longest <= *b.MaxContains
	any := conj{kinds: isAny}
	for _, s := range a.nodes {
		if s.Contains == nil {
			continue
		}
		enough = enough || or(s.MinContains, 1) >= least && len(c.strictly().fits(any.and(s.Contains), b.Contains, at+"/*")) == 0
		few = few || s.MaxContains != nil && *s.MaxContains <= *b.MaxContains && c.same(s.Contains, b.Contains, at+"/*")
	}
	if !enough && shortest >= least {
		enough = true
		for i := range min(least, a.ahead()+1) {
			enough = enough && len(c.strictly().fits(a.item(i), b.Contains, at+"/*")) == 0
		}
	}
	if enough && few {
		return nil
	}
	return c.say(at, "the %s schema counts items of a kind (contains), and of the %s one that is not shown", c.reads, c.writes)
}

func (c *comparison) object(a conj, b *validator.Schema, at string) []Difference {
	var out []Difference
	names := a.names()
	required := a.required()
	for _, name := range b.Required {
		if !slices.Contains(required, name) {
			out = append(out, c.say(at+"/"+pointerEscape.Replace(name), "the %s schema requires it, the %s one does not", c.reads, c.writes)...)
		}
	}
	if b.MinProperties != nil && max(a.least(minProperties), len(required)) < *b.MinProperties {
		out = append(out, c.say(at, "the %s schema wants at least %d properties, the %s one allows fewer", c.reads, *b.MinProperties, c.writes)...)
	}
	closed := a.closed(c.declared)
	most := a.most(maxProperties)
	if closed {
		most = min(most, len(names))
	}
	if b.MaxProperties != nil && most > *b.MaxProperties {
		out = append(out, c.say(at, "the %s schema allows at most %d properties, the %s one more", c.reads, *b.MaxProperties, c.writes)...)
	}
	for _, name := range union(names, slices.Collect(maps.Keys(b.Properties))) {
		if closed && !slices.Contains(names, name) {
			continue
		}
		member := a.property(name)
		place := at + "/" + pointerEscape.Replace(name)
		for _, one := range property(b, name) {
			out = append(out, c.member(member, one, b, place, slices.Contains(names, name))...)
		}
	}
	if !closed {
		out = append(out, c.others(a, b, at)...)
	}
	out = append(out, c.named(a, b, at, names, closed)...)
	return append(out, c.dependent(a, b, at, names, required, closed)...)
}

// member compares a property; one that only the reader's schema declares could hold anything.
func (c *comparison) member(a conj, one, b *validator.Schema, at string, written bool) []Difference {
	why := c.fits(a, one, at)
	if len(why) == 0 {
		return nil
	}
	_, read := b.Properties[lastName(at)]
	switch {
	case !written && read && len(a.nodes) == 0:
		return c.say(at, "the %s schema says what it is, the %s one allows further properties, and this one with any value", c.reads, c.writes)
	case written && one.Bool != nil && !read:
		return c.say(at, "the %s schema has this property, the %s one allows no further properties", c.writes, c.reads)
	}
	return why
}

// lastName is the name at the end of a path.
func lastName(at string) string {
	last := at[strings.LastIndexByte(at, '/')+1:]
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(last)
}

// others compares the properties that neither side names.
func (c *comparison) others(a conj, b *validator.Schema, at string) []Difference {
	var out []Difference
	for _, p := range patterns(b) {
		out = append(out, c.strictly().fits(a.matching(p), b.PatternProperties[p], at+"/*")...)
	}
	rest := additional(b)
	if rest == nil {
		return c.unevaluated(out, b, at)
	}
	var nearest []Difference
	for _, s := range a.nodes {
		var why []Difference
		for _, one := range further(s, b) {
			why = append(why, c.strictly().fits(conj{kinds: isAny}.and(one), rest, at+"/*")...)
		}
		if len(why) == 0 {
			return c.unevaluated(out, b, at)
		}
		if nearest == nil || len(why) < len(nearest) {
			nearest = why
		}
	}
	if len(nearest) == 0 || rest.Bool != nil {
		nearest = c.say(at+"/*", "the %s schema allows further properties, the %s one %s", c.writes, c.reads, restWord(rest))
	}
	return c.unevaluated(append(out, nearest...), b, at)
}

func restWord(rest *validator.Schema) string {
	if rest.Bool != nil {
		return "none"
	}
	return "only some"
}

func (c *comparison) unevaluated(out []Difference, b *validator.Schema, at string) []Difference {
	if b.UnevaluatedProperties == nil || acceptsAll(b.UnevaluatedProperties) {
		return out
	}
	return append(out, c.say(at, "the %s schema has unevaluatedProperties, which is not compared", c.reads)...)
}

// named compares what property names may be.
func (c *comparison) named(a conj, b *validator.Schema, at string, names []string, closed bool) []Difference {
	var out []Difference
	if closed {
		out = c.unevaluated(nil, b, at)
	}
	if b.PropertyNames == nil {
		return out
	}
	text := conj{kinds: isString}
	for _, s := range a.nodes {
		if s.PropertyNames != nil {
			text = text.and(s.PropertyNames)
		}
	}
	if !closed {
		return append(out, c.fits(text, b.PropertyNames, at+"/*")...)
	}
	for _, name := range names {
		if !a.property(name).empty() && b.PropertyNames.Validate(name) != nil {
			out = append(out, c.say(at+"/"+pointerEscape.Replace(name), "the %s schema does not allow this name", c.reads)...)
		}
	}
	return out
}

// dependent compares what a property brings with it.
func (c *comparison) dependent(a conj, b *validator.Schema, at string, names, required []string, closed bool) []Difference {
	var out []Difference
	absent := func(name string) bool {
		return closed && !slices.Contains(names, name) || a.property(name).empty()
	}
	for _, name := range slices.Sorted(maps.Keys(b.DependentRequired)) {
		brings := slices.Clone(required)
		for _, s := range a.nodes {
			brings = append(brings, s.DependentRequired[name]...)
		}
		for _, other := range b.DependentRequired[name] {
			if !absent(name) && other != name && !slices.Contains(brings, other) {
				out = append(out, c.say(at+"/"+pointerEscape.Replace(name), "with it the %s schema requires %q, the %s one does not", c.reads, other, c.writes)...)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.DependentSchemas)) {
		if absent(name) {
			continue
		}
		with := a
		for _, s := range a.nodes {
			with = with.and(s.DependentSchemas[name])
		}
		out = append(out, c.fits(with, b.DependentSchemas[name], at)...)
	}
	if len(b.Dependencies) > 0 {
		out = append(out, c.say(at, "the %s schema has dependencies, which are not compared", c.reads)...)
	}
	return out
}

// many counts things in words.
func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// limit is a bound of numbers.
type limit struct {
	at   *big.Rat // nil for none
	open bool     // itself excluded
}

// within says that no number inside l lies outside wanted; sign is 1 for lower limits and -1 for upper ones.
func (l limit) within(wanted limit, sign int) bool {
	if l.at == nil {
		return false
	}
	side := l.at.Cmp(wanted.at) * sign
	return side > 0 || side == 0 && (l.open || !wanted.open)
}

func (l limit) word(closed, open string) string {
	if l.open {
		return open + " " + l.at.RatString()
	}
	return closed + " " + l.at.RatString()
}

func (l limit) smaller() string {
	if l.at == nil {
		return "any smaller ones"
	}
	return "those " + l.word("from", "above")
}

func (l limit) larger() string {
	if l.at == nil {
		return "any larger ones"
	}
	return "those " + l.word("to", "below")
}
