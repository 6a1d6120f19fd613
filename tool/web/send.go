package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/dial"
)

// Types of bodies.
const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// parts are where the fields of an input go.
type parts struct {
	query   []pair
	headers map[string]string
	form    []pair                     // of a body that is a form
	fields  map[string]json.RawMessage // of a JSON body
	content json.RawMessage            // the whole body
}

func (r *request) make(ctx context.Context, c tool.Call) (*http.Request, error) {
	var fields map[string]json.RawMessage
	object := json.Unmarshal(c.Input, &fields) == nil
	u, err := r.address(fields)
	if err != nil {
		return nil, err
	}
	p := &parts{headers: map[string]string{}, fields: map[string]json.RawMessage{}}
	for name, values := range u.Query() {
		for _, v := range values {
			p.query = append(p.query, newPair(name, url.QueryEscape(v)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := r.put(p, name, fields[name]); err != nil {
			return nil, err
		}
	}
	if !object && !r.bodyless() { // what is no object fills no query
		p.content = c.Input
	}
	u.RawQuery = encode(p.query)
	body, err := r.body(p)
	if err != nil {
		return nil, err
	}
	q, err := http.NewRequestWithContext(ctx, r.d.Method, u.String(), body)
	if err != nil {
		return nil, fault.Invalid.New("tool %s: %w", r.spec.Name, err)
	}
	return q, r.header(q, p, c.Key)
}

// address is the URL with the input's fields in their places.
func (r *request) address(fields map[string]json.RawMessage) (*url.URL, error) {
	var wrong error
	address := placeholder.ReplaceAllStringFunc(r.d.URL, func(m string) string {
		name := m[1 : len(m)-1]
		asIs := func(s string) string { return s }
		text := simple(r.d.Fields[name], fields[name], asIs)
		if text == "" || text == "." || text == ".." || len(text) > queryItem {
			wrong = fault.Invalid.New("tool %s: input: %q is missing, or cannot stand in an address", r.spec.Name, name)
		}
		return simple(r.d.Fields[name], fields[name], url.PathEscape)
	})
	if wrong != nil {
		return nil, wrong
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fault.Invalid.New("tool %s: address: %w", r.spec.Name, err)
	}
	return u, nil
}

// put brings a field where it goes.
func (r *request) put(p *parts, name string, raw json.RawMessage) error {
	f := r.field(name)
	name = cmp.Or(f.Name, name)
	switch f.In {
	case tool.InQuery:
		p.query = append(p.query, pairs(name, f, raw)...)
	case tool.InHeader:
		if string(raw) == "null" {
			return nil
		}
		text := simple(f, raw, func(s string) string { return s })
		if len(text) > queryItem || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return fault.Invalid.New("tool %s: input: %q cannot stand in a header", r.spec.Name, name)
		}
		p.headers[name] = text
	case tool.InBody:
		p.fields[name] = raw
		p.form = append(p.form, pairs(name, f, raw)...)
	case tool.InContent:
		p.content = raw
		_, object := members(raw)
		for key, one := range object {
			p.form = append(p.form, pairs(key, tool.HTTPField{Style: tool.StyleForm, Explode: true}, one)...)
		}
	}
	return nil
}

// field says where a field of the input goes.
func (r *request) field(name string) tool.HTTPField {
	f, said := r.d.Fields[name]
	switch {
	case said:
		return f
	case strings.Contains(r.d.URL, "{"+name+"}"):
		return tool.HTTPField{In: tool.InPath}
	case r.bodyless():
		return tool.HTTPField{In: tool.InQuery}
	default:
		return tool.HTTPField{In: tool.InBody}
	}
}

func (r *request) bodyless() bool {
	return r.d.Method == http.MethodGet || r.d.Method == http.MethodHead || r.d.Method == http.MethodDelete
}

// body returns the body, or nil for none.
func (r *request) body(p *parts) (io.Reader, error) {
	empty := p.content == nil && len(p.fields) == 0
	switch {
	case r.d.ContentType == tool.ContentNone:
		return nil, nil
	case empty && r.d.ContentType == "" && (len(r.d.Fields) > 0 || r.bodyless()):
		return nil, nil
	case r.d.ContentType == typeForm:
		return strings.NewReader(encode(p.form)), nil
	case p.content != nil:
		return bytes.NewReader(p.content), nil
	}
	data, err := json.Marshal(p.fields)
	if err != nil {
		return nil, fault.Invalid.New("tool %s: input: %w", r.spec.Name, err)
	}
	return bytes.NewReader(data), nil
}

// header sets the headers. What the declaration says is above what the input says.
func (r *request) header(q *http.Request, p *parts, key string) error {
	for name, text := range p.headers {
		q.Header.Set(name, text)
	}
	q.Header.Set("Accept", typeJSON)
	if q.Body != nil {
		q.Header.Set("Content-Type", cmp.Or(r.d.ContentType, typeJSON))
	}
	switch {
	case r.d.KeyHeader != "":
		q.Header.Set(r.d.KeyHeader, key)
	case r.spec.Effect == polity.EffectExternal && q.Header.Get(keyHeader) == "": // for a service that can be asked what became of it, or looks at it by itself
		q.Header.Set(keyHeader, key)
	}
	for name, value := range r.headers {
		text, err := dial.Expand(value)
		if err != nil {
			return fault.Denied.New("tool %s: header %s: %w", r.spec.Name, name, err)
		}
		q.Header.Set(name, text)
	}
	return nil
}

var jsonType = regexp.MustCompile(`^[a-z]+/([a-z0-9.-]+\+)?json$`)

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// ours are headers that belong to the connection or to the declaration. An input cannot set them.
var ours = []string{
	"Accept", "Authorization", "Connection", "Content-Length", "Content-Type", "Cookie", "Expect", "Host", "Keep-Alive", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// checkFields returns nil, or says which field cannot go where it should.
func checkFields(d *tool.HTTPTool) error {
	if c := d.ContentType; c != "" && c != tool.ContentNone && c != typeForm && !jsonType.MatchString(c) {
		return fault.Invalid.New("content_type %q: want a JSON type or %s", c, typeForm)
	}
	contents := 0
	for _, name := range slices.Sorted(maps.Keys(d.Fields)) {
		f := d.Fields[name]
		styles := []tool.Style{"", tool.StyleSimple, tool.StyleJSON}
		switch f.In {
		case tool.InPath:
			if !strings.Contains(d.URL, "{"+name+"}") {
				return fault.Invalid.New("field %q: it goes into the path, where no {%s} stands", name, name)
			}
		case tool.InHeader:
			if as := cmp.Or(f.Name, name); !headerName.MatchString(as) || slices.Contains(ours, http.CanonicalHeaderKey(as)) {
				return fault.Invalid.New("field %q: %q is no header that an input may set", name, as)
			}
		case tool.InQuery, tool.InBody:
			styles = []tool.Style{"", tool.StyleForm, tool.StyleSpace, tool.StylePipe, tool.StyleDeep, tool.StyleJSON}
		case tool.InContent:
			styles = styles[:1]
			contents++
		default:
			return fault.Invalid.New("field %q: in %q: want path, query, header, body or content", name, f.In)
		}
		if !slices.Contains(styles, f.Style) {
			return fault.Invalid.New("field %q: style %q does not go with %s", name, f.Style, f.In)
		}
	}
	if contents > 1 {
		return fault.Invalid.New("fields: %d of them are the whole body; one can be", contents)
	}
	return nil
}
