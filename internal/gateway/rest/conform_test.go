package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"polity.run/client"
	"polity.run/schema"
)

// document is what the test needs to know of an OpenAPI document.
type document struct {
	Paths      map[string]map[string]described `json:"paths"`
	Components struct {
		Schemas   map[string]json.RawMessage `json:"schemas"`
		Responses map[string]response        `json:"responses"`
	} `json:"components"`
}

type described struct {
	ID         string `json:"operationId"`
	Parameters []struct {
		Name   string `json:"name"`
		In     string `json:"in"`
		Schema shape  `json:"schema"`
	} `json:"parameters"`
	Body *struct {
		Content map[string]struct {
			Schema shape `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
	Responses map[string]response `json:"responses"`
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"content"`
}

// shape is a schema as far as values are made from it.
type shape struct {
	Ref        string           `json:"$ref"`
	Type       any              `json:"type"`
	Enum       []any            `json:"enum"`
	Minimum    *float64         `json:"minimum"`
	Maximum    *float64         `json:"maximum"`
	MaxLength  *int             `json:"maxLength"`
	Properties map[string]shape `json:"properties"`
	Required   []string         `json:"required"`
}

// conformance asks what a document describes, in all ways that it does and does not allow, and wants the answers to be as described.
type conformance struct {
	t       *testing.T
	w       *world
	doc     document
	schemas map[string]*schema.Schema
	known   map[string]string // values of path parameters and headers that name what there is
	asked   map[int]int       // by status
	secret  []string          // what a foreign key must not be told
}

func TestAnswersAreAsDescribed(t *testing.T) {
	w := trips(t)
	c := &conformance{t: t, w: w, schemas: map[string]*schema.Schema{}, asked: map[int]int{}, secret: []string{"Rome", "boss", "seats"}}
	c.doc = get[document](t, w, "GET", "/v1/openapi.json", "", 200)
	run := get[client.Opened](t, w, "POST", "/v1/runs?wait=300ms", `{"org": "trip", "input": {"trip": "Rome", "euros": 1}}`, 202)
	c.known = map[string]string{"id": string(run.ID), "key": string(run.ID) + "#approve.pay", "name": "trip", "topic": "orders.placed"}
	if len(c.doc.Paths) < 25 {
		t.Fatalf("only %d paths are described", len(c.doc.Paths))
	}
	foreign := w.key(t, "go=viewer")
	for _, p := range slices.Sorted(maps.Keys(c.doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(c.doc.Paths[p])) {
			op := c.doc.Paths[p][method]
			method = strings.ToUpper(method)
			base := c.request(method, p, &op)
			c.send(&op, base, w.at.Token)
			for _, variant := range c.variants(&op, base) {
				c.send(&op, variant, w.at.Token)
			}
			if status, _ := c.send(&op, base, ""); status != http.StatusUnauthorized && status != http.StatusTooManyRequests { // who tries too often
				t.Errorf("%s without a token: %d", op.ID, status)
			}
			if status, body := c.send(&op, base, foreign); method == "POST" && status < 400 {
				t.Errorf("%s with a key of another organization: %d %s", op.ID, status, body)
			} else if s := containsOne(body, c.secret); s != "" && status < 400 {
				t.Errorf("%s tells a key of another organization of %s: %s", op.ID, s, body)
			}
		}
	}
	t.Logf("answers by status: %v", c.asked)
	for status, least := range map[int]int{200: 100, 400: 500, 401: 10, 403: 10, 404: 50} { // else the requests do not reach what they are for
		if c.asked[status] < least {
			t.Errorf("%d was answered %d times, want at least %d", status, c.asked[status], least)
		}
	}
}

func containsOne(body []byte, secrets []string) string {
	for _, s := range secrets {
		if bytes.Contains(body, []byte(s)) {
			return s
		}
	}
	return ""
}

// attempt is a request that is tried.
type attempt struct {
	method, path string
	in           map[string]string // by where and name, as in "query limit"
	body         string
	hasBody      bool
	media        string
}

// request is one that the description allows.
func (c *conformance) request(method, path string, op *described) attempt {
	a := attempt{method: method, path: path, in: map[string]string{}, media: "application/json"}
	for _, p := range op.Parameters {
		if p.In == "path" {
			a.in["path "+p.Name] = c.known[p.Name]
		}
	}
	if op.Body != nil {
		a.hasBody, a.body = true, c.example(op.Body.Content["application/json"].Schema)
	}
	return a
}

// example is a value that a schema allows, as far as one can be made.
func (c *conformance) example(s shape) string {
	if s.Ref != "" {
		s = c.named(s.Ref)
	}
	switch {
	case len(s.Enum) > 0:
		return string(encode(c.t, s.Enum[0]))
	case isType(s.Type, "object"):
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if slices.Contains(s.Required, name) {
				parts = append(parts, strconv.Quote(name)+": "+c.example(s.Properties[name]))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case isType(s.Type, "array"):
		return "[]"
	case isType(s.Type, "boolean"):
		return "true"
	case isType(s.Type, "integer"), isType(s.Type, "number"):
		return "1"
	case isType(s.Type, "string"):
		return `"x"`
	default:
		return `{"any": 1}`
	}
}

func isType(t any, name string) bool {
	if list, ok := t.([]any); ok {
		return slices.Contains(list, any(name))
	}
	return t == name
}

func (c *conformance) named(ref string) shape {
	var s shape
	if err := json.Unmarshal(c.doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")], &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// variants are requests at the borders of what the description allows, and beyond.
func (c *conformance) variants(op *described, base attempt) []attempt {
	var list []attempt
	with := func(at, value string) {
		a := base
		a.in = maps.Clone(base.in)
		a.in[at] = value
		list = append(list, a)
	}
	for _, p := range op.Parameters {
		for _, v := range values(p.Schema) {
			with(p.In+" "+p.Name, v)
		}
	}
	with("query unheard-of", "1")
	if !base.hasBody {
		return list
	}
	body := func(text string) {
		a := base
		a.body = text
		list = append(list, a)
	}
	for _, text := range []string{
		"", "null", "[]", "1", `"x"`, "{", `{"unheard-of": 1}`, "{} {}", "\xff", strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), `{"a":1,"a":2}`,
	} {
		body(text)
	}
	s := op.Body.Content["application/json"].Schema
	if s.Ref != "" {
		s = c.named(s.Ref)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		if p.Ref != "" {
			p = c.named(p.Ref)
		}
		for _, v := range append([]string{"null", "[]", "{}", "1", "-1", "1e400", `"x"`, "true", strconv.Quote(strings.Repeat("y", 5000))}, quoteAll(values(p))...) {
			rest := ""
			for _, other := range s.Required {
				if other != name {
					rest += ", " + strconv.Quote(other) + ": " + c.example(s.Properties[other])
				}
			}
			body("{" + strconv.Quote(name) + ": " + v + rest + "}")
		}
	}
	form := base
	form.media = "application/x-www-form-urlencoded"
	return append(list, form)
}

func quoteAll(texts []string) []string {
	var list []string
	for _, t := range texts {
		list = append(list, strconv.Quote(t))
	}
	return list
}

// values are texts for a parameter: inside, at and outside of the borders of its schema.
func values(s shape) []string {
	list := []string{"", "x", "0", "-1", "99999999999999999999", "1e3", "é\u202e", "%00", "../..", "a b", `"`, "id:", "cost>x", "(((", "status:failed -org:x"}
	for _, v := range s.Enum {
		if text, ok := v.(string); ok {
			list = append(list, text)
		}
	}
	for _, border := range []*float64{s.Minimum, s.Maximum} {
		if border != nil {
			for _, d := range []float64{-1, 0, 1} {
				list = append(list, strconv.FormatFloat(*border+d, 'f', -1, 64))
			}
		}
	}
	if s.MaxLength != nil {
		list = append(list, strings.Repeat("a", *s.MaxLength), strings.Repeat("a", *s.MaxLength+1))
	}
	if isType(s.Type, "boolean") {
		list = append(list, "true", "false")
	}
	return list
}

// send asks, and compares the answer with the description.
func (c *conformance) send(op *described, a attempt, token string) (int, []byte) {
	c.t.Helper()
	path, query, header := a.path, url.Values{}, http.Header{}
	for at, value := range a.in {
		switch where, name, _ := strings.Cut(at, " "); where {
		case "path":
			path = strings.Replace(path, "{"+name+"}", url.PathEscape(value), 1)
		case "query":
			query.Set(name, value)
		case "header":
			if value = strings.Map(printable, value); value != "" {
				header.Set(name, value)
			}
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, a.method, c.w.at.URL+path, strings.NewReader(a.body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = header
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if a.hasBody {
		req.Header.Set("Content-Type", a.media)
	}
	resp, err := noRedirects.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", a.method, path, err)
	}
	defer resp.Body.Close()
	c.asked[resp.StatusCode]++
	media := resp.Header.Get("Content-Type")
	if media == "text/event-stream" {
		return resp.StatusCode, nil // it would go on
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", a.method, path, err)
	}
	where := op.ID + " " + a.method + " " + clipped(path) + " " + clipped(a.body)
	answer, known := op.Responses[strconv.Itoa(resp.StatusCode)]
	if answer.Ref != "" {
		answer = c.doc.Components.Responses[strings.TrimPrefix(answer.Ref, "#/components/responses/")]
	}
	switch {
	case a.in["path "+pathParameter(a.path)] == "" && strings.Contains(a.path, "{"), resp.StatusCode == http.StatusTemporaryRedirect, resp.StatusCode == http.StatusMovedPermanently:
		return resp.StatusCode, data // it is another path
	case resp.StatusCode >= 500:
		c.t.Errorf("%s: %d %s", where, resp.StatusCode, clipped(string(data)))
	case !known:
		c.t.Errorf("%s: %d is not described: %s", where, resp.StatusCode, clipped(string(data)))
	case len(answer.Content) == 0:
	default:
		described, ok := answer.Content[media]
		if !ok {
			c.t.Errorf("%s: %d as %s, which is not described", where, resp.StatusCode, media)
			break
		}
		if err := c.compiled(described.Schema).Check(data); err != nil {
			c.t.Errorf("%s: %d %s: %v", where, resp.StatusCode, clipped(string(data)), err)
		}
	}
	return resp.StatusCode, data
}

// noRedirects leaves it at the answer that comes first: a path with dots in it is another path.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: time.Minute}

func pathParameter(path string) string {
	_, rest, _ := strings.Cut(path, "{")
	name, _, _ := strings.Cut(rest, "}")
	return name
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}

func clipped(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// compiled is a schema with everything that it refers to.
func (c *conformance) compiled(raw json.RawMessage) *schema.Schema {
	if s, ok := c.schemas[string(raw)]; ok {
		return s
	}
	var whole map[string]any
	if err := json.Unmarshal(raw, &whole); err != nil {
		c.t.Fatal(err)
	}
	whole["components"] = map[string]any{"schemas": c.doc.Components.Schemas}
	s, err := schema.Compile(encode(c.t, whole))
	if err != nil {
		c.t.Fatalf("%s: %v", raw, err)
	}
	c.schemas[string(raw)] = s
	return s
}

var update = flag.Bool("update", false, "write docs/openapi.json anew")

// The document that is checked in is the one that is served.
func TestDocumentIsUpToDate(t *testing.T) {
	const path = "../../../docs/openapi.json"
	w := open(t)
	var got bytes.Buffer
	if err := json.Indent(&got, w.ask(t, w.at.Token, "GET", "/v1/openapi.json", "").body, "", " "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what is served: go test ./internal/gateway/rest -run Document -update", path)
	}
}
