package openapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"polity.run/fault"
	"polity.run/tool"
)

// operation is one request of a document.
type operation struct {
	method, path string
	id           string // "" if it has none
	name         string // of its tool
	item, n      *node  // what all requests of the path have, and its own
	line         int
}

// shown is what an operation is called in messages: its ID, or method and path.
func (o *operation) shown() string {
	if o.id != "" {
		return o.id
	}
	return o.method + " " + o.path
}

var methods = []string{"get", "head", "post", "put", "patch", "delete"}

// operations lists the requests of a document in its order.
func (d *document) operations(nameMax int) ([]*operation, []error) {
	var all []*operation
	var problems []error
	paths := d.root.get("paths")
	for _, path := range paths.keys {
		if len(all) > operationsMax {
			return nil, []error{fault.Invalid.New("line %d: the document has more than %d operations", paths.fields[path].line, operationsMax)}
		}
		if strings.HasPrefix(path, "x-") {
			continue
		}
		item, err := d.resolve(paths.fields[path])
		if err == nil && !strings.HasPrefix(path, "/") {
			err = fault.Invalid.New("a path begins with /")
		}
		if err != nil {
			problems = append(problems, fault.Invalid.New("line %d: %.200s: %w", paths.fields[path].line, path, err))
			continue
		}
		for _, key := range item.keys {
			if n := item.fields[key]; slices.Contains(methods, key) && n.fields != nil {
				o := &operation{method: strings.ToUpper(key), path: path, id: n.word("operationId"), item: item, n: n, line: n.line}
				o.name = toolName(o, nameMax)
				all = append(all, o)
			}
		}
	}
	return all, problems
}

var (
	notName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
	dots    = regexp.MustCompile(`\.{2,}`)
)

// toolName makes a tool's name of an operation's. One that is too long ends with a part of its hash.
func toolName(o *operation, most int) string {
	whole := o.id
	if whole == "" {
		whole = strings.ToLower(o.method) + o.path
	}
	name := dots.ReplaceAllString(notName.ReplaceAllString(whole, "_"), ".")
	name = strings.Trim(name, ".")
	if o.id == "" {
		name = strings.Trim(name, "_")
	}
	if len(name) > most {
		sum := sha256.Sum256([]byte(whole))
		name = strings.TrimRight(name[:most-7], ".") + "_" + hex.EncodeToString(sum[:3])
	}
	return name
}

// build makes the tool of one operation.
type build struct {
	d        *document
	o        *operation
	use      *Use
	in       *schemas
	t        tool.HTTPTool
	fields   map[string]any // of the input
	required []string
	depends  map[string][]string
	taken    map[string]bool // names of parameters
	path     string
	problems []error
}

// tool makes the tool, or returns all that is wrong, each with the line and the operation.
func (o *operation) tool(d *document, use *Use) (tool.HTTPTool, []string, []error) {
	b := &build{
		d: d, o: o, use: use, in: newSchemas(d, "readOnly"), fields: map[string]any{}, depends: map[string][]string{}, taken: map[string]bool{}, path: o.path,
		t: tool.HTTPTool{Name: o.name, Method: o.method, Description: o.description(), Timeout: use.Timeout, Fields: map[string]tool.HTTPField{}},
	}
	server, err := d.server(use.Server, o.n, o.item)
	if err == nil {
		err = use.reaches(server)
	}
	if err != nil {
		b.add("", err)
	}
	b.parameters()
	b.body()
	for _, m := range placeholder.FindAllStringSubmatch(b.path, -1) {
		if b.t.Fields[m[1]].In != tool.InPath {
			b.add("", fault.Invalid.New("no parameter fills {%s} of the path %.200s", m[1], o.path))
		}
	}
	b.t.URL = server + b.path
	b.t.Input = b.text(b.in, "", b.input())
	warnings := b.in.warnings
	if use.CheckOutput {
		out := newSchemas(d, "writeOnly")
		if root := b.answer(out); root != nil {
			b.t.Output = b.text(out, "answer", root)
		}
		warnings = append(warnings, out.warnings...)
	}
	return b.t, warnings, b.problems
}

// text writes a schema and takes its problems over.
func (b *build) text(s *schemas, part string, root map[string]any) json.RawMessage {
	raw, problems := s.text(root)
	for _, p := range problems {
		b.add(part, p)
	}
	return raw
}

// add reports a problem of a part of the operation.
func (b *build) add(part string, err error) {
	if part != "" {
		part += ": "
	}
	b.problems = append(b.problems, fault.Invalid.New("line %d: %s: %s%w", b.o.line, b.o.shown(), part, err))
}

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// description is what a model chooses by.
func (o *operation) description() string {
	var parts []string
	for _, field := range []string{"summary", "description"} {
		if text := strings.TrimSpace(o.n.word(field)); text != "" {
			parts = append(parts, text)
		}
	}
	if o.n.yes("deprecated") {
		parts = append(parts, "(deprecated)")
	}
	return cut(strings.Join(parts, "\n\n"))
}

// cut shortens a text to descriptionMax bytes.
func cut(text string) string {
	if len(text) <= descriptionMax {
		return text
	}
	return strings.ToValidUTF8(text[:descriptionMax-len("…")], "") + "…"
}

// input is the schema of everything that the operation takes.
func (b *build) input() map[string]any {
	out := map[string]any{"type": "object", "properties": b.fields, "additionalProperties": false}
	if len(b.required) > 0 {
		out["required"] = b.required
	}
	if len(b.depends) > 0 {
		out["dependentRequired"] = b.depends
	}
	return out
}

// parameters adds the parameters of the path and those of the operation, which are above them.
func (b *build) parameters() {
	byPlace := map[[2]string]*node{}
	var order [][2]string
	for _, ref := range slices.Concat(b.o.item.list("parameters"), b.o.n.list("parameters")) {
		p, err := b.d.resolve(ref)
		if err != nil {
			b.add("parameters", err)
			continue
		}
		at := [2]string{p.word("in"), p.word("name")}
		if byPlace[at] == nil {
			order = append(order, at)
		}
		byPlace[at] = p
	}
	for _, at := range order {
		if err := b.parameter(at[0], at[1], byPlace[at]); err != nil {
			b.add(fmt.Sprintf("parameter %q", at[1]), err)
		}
	}
}

// parameter adds one parameter. Headers that the source declares, and those that belong to the connection, are not the model's to fill.
func (b *build) parameter(in, name string, p *node) error {
	f := tool.HTTPField{In: tool.Place(in), Style: tool.Style(p.word("style"))}
	styles := []tool.Style{tool.StyleSimple}
	switch in {
	case "path":
		if !strings.Contains(b.o.path, "{"+name+"}") {
			return fault.Invalid.New("the path %.200s has no {%s}", b.o.path, name)
		}
	case "query":
		styles = []tool.Style{tool.StyleForm, tool.StyleSpace, tool.StylePipe, tool.StyleDeep}
	case "header":
		switch canonical := http.CanonicalHeaderKey(name); {
		case slices.Contains([]string{"Accept", "Content-Type", "Authorization"}, canonical) || b.use.declares(name):
			return nil
		case canonical == keyHeader:
			b.t.KeyHeader = name
			return nil
		}
	case "cookie":
		return fault.Invalid.New("it stands in a cookie, and cookies are not sent; leave the operation out, as in %q", "!"+b.o.shown())
	default:
		return fault.Invalid.New("in %q: want path, query or header", in)
	}
	if name == "" {
		return fault.Invalid.New("it has no name")
	}
	if f.Style == "" {
		f.Style = styles[0]
	}
	if !slices.Contains(styles, f.Style) {
		return fault.Invalid.New("style %q is not written in a %s; leave the operation out, as in %q", f.Style, in, "!"+b.o.shown())
	}
	f.Explode = p.yes("explode") || p.get("explode") == nil && f.Style == tool.StyleForm
	given := p.get("schema")
	if content := p.get("content"); content != nil && len(content.keys) > 0 {
		f.Style, f.Explode, given = tool.StyleJSON, false, content.fields[content.keys[0]].get("schema")
	}
	b.field(b.free(name, in), name, f, given, p.word("description"), in == "path" || p.yes("required"))
	return nil
}

// free is a name that no parameter has yet.
func (b *build) free(name, in string) string {
	for as := name; ; as = in + "_" + as {
		if !b.taken[as] {
			b.taken[as] = true
			return as
		}
	}
}

// field adds a field to the input.
func (b *build) field(as, name string, f tool.HTTPField, given *node, description string, required bool) {
	var made any = map[string]any{}
	if given != nil {
		made = b.in.of(given, nil)
	}
	if m, ok := made.(map[string]any); ok && description != "" && m["description"] == nil {
		m["description"] = cut(description)
	}
	if as != name {
		if f.In == tool.InPath {
			b.path = strings.ReplaceAll(b.path, "{"+name+"}", "{"+as+"}")
		} else {
			f.Name = name
		}
	}
	b.t.Fields[as] = f
	b.fields[as] = made
	if required {
		b.required = append(b.required, as)
	}
}

// body adds the body: its fields beside the parameters, or where that is not possible as one field.
func (b *build) body() {
	n, err := b.d.resolve(b.o.n.get("requestBody"))
	if err != nil {
		b.add("body", err)
		return
	}
	if n.get("content") == nil || len(n.get("content").keys) == 0 {
		if len(b.t.Fields) == 0 {
			b.t.ContentType = tool.ContentNone
		}
		return
	}
	content := n.get("content")
	key, kind := media(content)
	if kind == "" {
		b.add("body", fault.Invalid.New("it is %s, and JSON and forms are what can be sent; leave the operation out, as in %q", strings.Join(content.keys, ", "), "!"+b.o.shown()))
		return
	}
	required, form := n.yes("required"), kind == typeForm
	if required || kind != typeJSON {
		b.t.ContentType = kind
	}
	m := content.fields[key]
	given := m.get("schema")
	if given == nil {
		given = &node{line: m.line, fields: map[string]*node{}}
	}
	o, flat := b.in.flat(given)
	if flat && !slices.ContainsFunc(o.names, func(name string) bool { return b.taken[name] }) {
		b.merge(o, required, form, m.get("encoding"))
		return
	}
	if form && m.get("encoding") != nil {
		b.add("body", fault.Invalid.New("fields of the form have the names of parameters, so that their encoding cannot be kept; leave the operation out, as in %q", "!"+b.o.shown()))
		return
	}
	name := b.free("body", "request")
	b.field(name, name, tool.HTTPField{In: tool.InContent}, given, n.word("description"), required)
}

// merge adds the fields of a body. Those that a body must have are needed if there is a body.
func (b *build) merge(o *object, required, form bool, encoding *node) {
	for _, name := range o.names {
		f := tool.HTTPField{In: tool.InBody}
		if form {
			e := encoding.get(name)
			f.Style, f.Explode = tool.Style(e.word("style")), e.get("explode") == nil || e.yes("explode")
			if f.Style == "" {
				f.Style = tool.StyleForm
			}
		}
		b.field(name, name, f, o.fields[name], "", required && slices.Contains(o.required, name))
		others := slices.DeleteFunc(slices.Clone(o.required), func(r string) bool { return r == name })
		if !required && len(others) > 0 {
			b.depends[name] = others
		}
	}
}

const (
	typeJSON  = "application/json"
	typeForm  = "application/x-www-form-urlencoded"
	keyHeader = "Idempotency-Key"
)

var jsonType = regexp.MustCompile(`^[a-z]+/([a-z0-9.-]+\+)?json$`)

// media chooses the type that a body is written as: application/json, another JSON, a form. It returns the key of the content and the type, both
// "" if there is none.
func media(content *node) (key, kind string) {
	rank := 0
	for _, k := range content.keys {
		base, _, _ := strings.Cut(strings.ToLower(k), ";")
		base = strings.TrimSpace(base)
		if base == "*/*" || base == "application/*" {
			base = typeJSON
		}
		r := 0
		switch {
		case base == typeJSON:
			r = 3
		case jsonType.MatchString(base):
			r = 2
		case base == typeForm:
			r = 1
		}
		if r > rank {
			rank, key, kind = r, k, base
		}
	}
	return key, kind
}

// answer is the schema of what the operation answers when it succeeds, or nil if the document does not say.
func (b *build) answer(s *schemas) map[string]any {
	responses := b.o.n.get("responses")
	if responses == nil || b.o.method == http.MethodHead {
		return nil
	}
	var all []any
	for _, code := range slices.Sorted(maps.Keys(responses.fields)) {
		if !strings.HasPrefix(code, "2") {
			continue
		}
		r, err := b.d.resolve(responses.fields[code])
		if err != nil {
			b.add("answer "+code, err)
			continue
		}
		content := r.get("content")
		if code == "204" || code == "205" {
			all = append(all, map[string]any{"type": "null"})
			continue
		}
		if content == nil {
			return nil // may be anything
		}
		key, kind := media(content)
		given := content.get(key).get("schema")
		if kind == "" || kind == typeForm || given == nil {
			return nil
		}
		all = append(all, s.of(given, nil))
	}
	if len(all) == 0 {
		return nil
	}
	if one, ok := all[0].(map[string]any); ok && len(all) == 1 {
		return one
	}
	return map[string]any{"anyOf": all}
}

// pick returns the operations that are meant.
func pick(all []*operation, patterns []string) ([]*operation, []error) {
	if len(patterns) > patternsMax {
		return nil, []error{fault.Invalid.New("operations: %d are more than %d; write patterns, as in \"orders.*\"", len(patterns), patternsMax)}
	}
	var problems []error
	picked := map[*operation]bool{}
	var known []string
	for _, o := range all {
		known = append(known, o.shown())
		picked[o] = len(patterns) == 0 || strings.HasPrefix(patterns[0], "!")
	}
	for _, p := range patterns {
		text, not := strings.CutPrefix(p, "!")
		match := glob(text)
		found := false
		for _, o := range all {
			if match.MatchString(o.id) && o.id != "" || match.MatchString(o.name) || match.MatchString(o.method+" "+o.path) {
				picked[o], found = !not, true
			}
		}
		if !found {
			hint := ""
			if len(problems) < hintsMax {
				if near := fault.Nearest(text, known); near != "" {
					hint = fmt.Sprintf("; did you mean %q?", near)
				}
			}
			problems = append(problems, fault.Invalid.New("operations: the document has no operation %.100q%s", text, hint))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(o *operation) bool { return !picked[o] }), problems
}

// glob is a pattern in which * stands for any text.
func glob(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$")
}

// distinct refuses two operations that would make tools of one name.
func distinct(all []*operation) error {
	var errs []error
	first := map[string]*operation{}
	for _, o := range all {
		if f := first[o.name]; f != nil {
			errs = append(errs, fault.Invalid.New("line %d: %s: its tool would be named %s, as that of %s %s in line %d; leave one of them out", o.line, o.method+" "+o.path, o.name, f.method, f.path, f.line))
			continue
		}
		first[o.name] = o
	}
	return errors.Join(errs...)
}
