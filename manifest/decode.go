package manifest

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"polity.run/fault"
)

// These are what a type of the format can say about itself, to the decoder and to Schema.
type (
	// chooser is a text out of a few.
	chooser interface{ choices() []string }
	// shaped is a text of a certain form.
	shaped interface{ shape() shape }
	// ranged is a whole number within limits.
	ranged interface{ limits() (least, most int64) }
	// reader reads itself from a node. It reports what is wrong to the decoder.
	reader interface {
		read(d *decoder, n *yaml.Node)
	}
)

// shape is the form of a text.
type shape struct {
	text *regexp.Regexp
	max  int    // bytes
	want string // in words, for a Problem
}

// mark is where a value of the format stands.
type mark struct {
	node *yaml.Node
	at   place
}

// marks are the values of a manifest by their path.
type marks map[string]mark

// has says whether the manifest sets the path.
func (m marks) has(path string) bool {
	_, ok := m[path]
	return ok
}

// isMapping says whether the path is set to a mapping. What is set to anything else was reported by
// the decoder.
func (m marks) isMapping(path string) bool {
	v, ok := m[path]
	return ok && v.node.Kind == yaml.MappingNode && v.node.Style&yaml.TaggedStyle == 0
}

// place returns where the path stands, or else the nearest thing around it.
func (m marks) place(path string) place {
	for {
		if v, ok := m[path]; ok {
			return v.at
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return place{1, 1}
		}
		path = path[:i]
	}
}

// read decodes a manifest. It returns nil if nothing can be made of it; in each case the log holds
// what is wrong.
func read(data []byte, l *log) (*file, marks) {
	root := parse(data, l)
	if root == nil {
		return nil, nil
	}
	d := &decoder{log: l, marks: marks{}}
	var f file
	d.value(root, reflect.ValueOf(&f).Elem(), "", place{1, 1})
	return &f, d.marks
}

// decoder fills the types of the format from nodes.
type decoder struct {
	log   *log
	marks marks
	path  string // of the value that is read
}

// add reports a problem of the value that is read.
func (d *decoder) add(text, fix string) { d.log.add(d.marks.place(d.path), d.path, text, fix) }

// value reads the node at the path into v. A block stands where its key stands.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, key place) {
	at := place{n.Line, n.Column}
	if n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle == 0 || isNull(n) {
		at = key
	}
	d.marks[path] = mark{n, at}
	defer func(outer string) { d.path = outer }(d.path)
	d.path = path
	if n.Kind == yaml.AliasNode || n.Style&yaml.TaggedStyle != 0 {
		return // reported by the survey
	}
	if r, ok := v.Addr().Interface().(reader); ok {
		r.read(d, n)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, key)
	case reflect.Struct:
		d.fields(n, v)
	case reflect.Map:
		d.entries(n, v)
	case reflect.Slice:
		d.items(n, v)
	case reflect.String:
		d.text(n, v)
	case reflect.Bool:
		if d.scalar(n, "true or false", "!!bool") {
			v.SetBool(strings.EqualFold(n.Value, "true"))
		}
	default:
		d.number(n, v)
	}
}

// child returns the path of a field.
func (d *decoder) child(key string) string { return strings.TrimPrefix(d.path+keyPath(key), ".") }

func (d *decoder) fields(n *yaml.Node, v reflect.Value) {
	if !d.is(n, yaml.MappingNode, "a mapping") {
		return
	}
	known := fieldsOf(v.Type())
	var unknown []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		f, ok := known.byName[key.Value]
		if !ok {
			d.unknownField(key, known.names)
			unknown = append(unknown, key.Value)
			continue
		}
		d.value(n.Content[i+1], v.FieldByIndex(f.Index), d.child(key.Value), place{key.Line, key.Column})
	}
	d.unsure(unknown, known.names)
	for _, name := range known.required {
		if !d.marks.has(d.child(name)) {
			d.log.add(d.marks.place(d.path), d.child(name), "this field is missing", fmt.Sprintf("add %q", name+": ..."))
		}
	}
}

func (d *decoder) unknownField(key *yaml.Node, known []string) {
	if !d.log.full() {
		d.log.add(place{key.Line, key.Column}, d.child(key.Value), "there is no such field here", suggest(key.Value, known))
	}
}

// unsure puts the fields in doubt that unknown ones stand for: each the near one of those that are not set, or else
// any of them.
func (d *decoder) unsure(unknown, known []string) {
	absent := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return d.marks.has(d.child(name)) })
	for i, name := range unknown {
		meant := absent
		if near := fault.Nearest(name, absent); near != "" && i < ProblemsMax {
			meant = []string{near}
		}
		for _, m := range meant {
			d.log.unsure(d.child(m))
		}
		if i == ProblemsMax {
			return
		}
	}
}

func (d *decoder) entries(n *yaml.Node, v reflect.Value) {
	if !d.is(n, yaml.MappingNode, "a mapping of names") {
		return
	}
	if len(n.Content) == 0 {
		d.add("there are none here", "write at least one")
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Content)/2))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := place{key.Line, key.Column}
		name, entry := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		name.SetString(key.Value)
		d.value(n.Content[i+1], entry, d.child(key.Value), at)
		if s, ok := name.Interface().(shaped); ok {
			d.form(key.Value, s.shape(), at, d.child(key.Value))
		}
		v.SetMapIndex(name, entry)
	}
}

func (d *decoder) items(n *yaml.Node, v reflect.Value) {
	if !d.is(n, yaml.SequenceNode, "a list") {
		return
	}
	if len(n.Content) == 0 {
		d.add("this list is empty", "write what belongs into it, or leave the field out")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), d.path+"["+strconv.Itoa(i)+"]", place{item.Line, item.Column})
	}
}

func (d *decoder) text(n *yaml.Node, v reflect.Value) {
	if !d.scalar(n, "a text", "!!str") {
		return
	}
	v.SetString(n.Value)
	switch t := v.Interface().(type) {
	case shaped:
		d.form(n.Value, t.shape(), d.marks.place(d.path), d.path)
	case chooser:
		for _, c := range t.choices() {
			if c == n.Value {
				return
			}
		}
		v.SetString("")
		if !d.log.full() {
			d.add(shown(n.Value)+" is not one of "+strings.Join(t.choices(), ", "), didYouMean(n.Value, t.choices()))
		}
	default:
		if strings.TrimSpace(n.Value) == "" {
			d.add("this text is empty", "write one, or leave the field out")
		}
	}
}

func didYouMean(name string, known []string) string {
	if near := fault.Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// form checks a text's shape.
func (d *decoder) form(text string, s shape, at place, path string) {
	fix := "use " + s.want
	switch near := tidy(text); {
	case len(text) > s.max:
		d.log.add(at, path, fmt.Sprintf("%s is longer than %d bytes", shown(text), s.max), "shorten it")
	case s.text.MatchString(text):
	case s.text.MatchString(near) && len(near) <= s.max:
		d.log.add(at, path, shown(text)+" is not a name", fix+fmt.Sprintf(", as in %q", near))
	default:
		d.log.add(at, path, shown(text)+" is not a name", fix)
	}
}

var untidy = regexp.MustCompile(`[^a-z0-9_]+`)

// tidy makes a name of a text, if it can.
func tidy(text string) string {
	return strings.Trim(untidy.ReplaceAllString(strings.ToLower(text), "-"), "-_")
}

func (d *decoder) number(n *yaml.Node, v reflect.Value) {
	if !d.scalar(n, "a whole number", "!!int") {
		return
	}
	least, most := int64(0), int64(math.MaxInt32)
	if r, ok := v.Interface().(ranged); ok {
		least, most = r.limits()
	}
	if !jsonNumberText.MatchString(n.Value) {
		d.add(clip(n.Value)+" is not a plain number", "write it in decimal digits")
		return
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	switch {
	case err != nil || i > most:
		d.add(fmt.Sprintf("%s is more than %d", clip(n.Value), most), "")
	case i < least:
		d.add(fmt.Sprintf("%d is less than %d", i, least), "leave the field out for the default")
	default:
		v.SetInt(i)
	}
}

// is checks the node's kind.
func (d *decoder) is(n *yaml.Node, want yaml.Kind, words string) bool {
	if n.Kind == want {
		return true
	}
	fix := ""
	if want == yaml.SequenceNode && n.Kind == yaml.ScalarNode && !isNull(n) {
		fix = "write [" + clip(n.Value) + "]"
	}
	d.mismatch(n, words, fix)
	return false
}

// scalar checks that the node is a scalar of the tag.
func (d *decoder) scalar(n *yaml.Node, words, tag string) bool {
	if n.Kind == yaml.ScalarNode && (n.ShortTag() == tag || tag == "!!str" && isText(n)) {
		return true
	}
	fix := ""
	if tag == "!!str" && n.Kind == yaml.ScalarNode && !isNull(n) {
		fix = fmt.Sprintf("write it in quotes: %q", clip(n.Value))
	}
	d.mismatch(n, words, fix)
	return false
}

// mismatch reports a value of a wrong type.
func (d *decoder) mismatch(n *yaml.Node, want, fix string) {
	if isNull(n) {
		d.add("this is empty; want "+want, "write one, or leave the field out")
		return
	}
	d.add("this is "+describe(n)+"; want "+want, fix)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// isText says whether the node is a text. A date is one: the format has no other use for it.
func isText(n *yaml.Node) bool {
	return n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp"
}

// describe names what a node is.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "empty"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return clip(n.Value)
	default:
		return "the text " + shown(n.Value)
	}
}

// clip cuts text to a length that fits a line.
func clip(text string) string {
	if len(text) <= shownMax {
		return text
	}
	return strings.ToValidUTF8(text[:shownMax], "") + "…"
}
