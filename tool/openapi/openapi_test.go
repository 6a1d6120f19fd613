package openapi_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
	"polity.run/tool"
	"polity.run/tool/openapi"
	"polity.run/tool/web"
)

var update = flag.Bool("update", false, "rewrite the wanted texts of testdata")

func document(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDeclarations compares all that is made of the documents, schemas included, with what was read and found right.
func TestDeclarations(t *testing.T) {
	tests := map[string]openapi.Use{
		"pets.yaml": {Operations: []string{"*", "!uploadPhoto", "!whoAmI"}, CheckOutput: true},
		"shop.json": {Server: "https://api.example.com/shop", CheckOutput: true, Headers: map[string]string{"x-key": "$KEY"}},
	}
	for name, use := range tests {
		t.Run(name, func(t *testing.T) {
			use.Source, use.Allow = "svc", []string{"api.example.com"}
			made, warnings, err := openapi.Read(document(t, name), use)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(map[string]any{"http": made, "warnings": warnings}, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".want")
			if *update {
				if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(document(t, name+".want")), string(got)+"\n"); diff != "" {
				t.Errorf("(-want +got; -update rewrites)\n%s", diff)
			}
			if _, err := web.Tools(tool.Source{Name: "svc", HTTP: made}); err != nil {
				t.Error(err)
			}
		})
	}
}

// serve returns the tools of a document whose service answers with what it was asked.
func serve(t *testing.T, name string, use openapi.Use) map[string]tool.Tool {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Method == http.MethodHead {
			w.Header().Set("X-Asked", r.URL.RequestURI())
			return
		}
		asked := []string{r.Method + " " + r.URL.RequestURI()}
		for _, h := range []string{"X-Tenant", "X-Trace", "Idempotency-Key", "Authorization", "Content-Type"} {
			if v := r.Header.Get(h); v != "" {
				asked = append(asked, h+": "+v)
			}
		}
		if err := json.NewEncoder(w).Encode(append(asked, string(body))); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("PET_TOKEN", "secret")
	use.Source, use.Server, use.Private = "svc", s.URL+"/v2", true
	use.Allow = []string{strings.TrimPrefix(s.URL, "http://")}
	made, _, err := openapi.Read(document(t, name), use)
	if err != nil {
		t.Fatal(err)
	}
	tools, err := web.Tools(tool.Source{Name: "svc", HTTP: made})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]tool.Tool{}
	for _, m := range tools {
		out[strings.TrimPrefix(m.Spec().Name, "svc.")] = m
	}
	return out
}

func TestWhatArrives(t *testing.T) {
	pets := serve(t, "pets.yaml", openapi.Use{
		Operations: []string{"*", "!uploadPhoto", "!whoAmI"}, Headers: map[string]string{"Authorization": "Bearer $PET_TOKEN"},
	})
	shop := serve(t, "shop.json", openapi.Use{})
	const bearer, key = "Authorization: Bearer secret", "Idempotency-Key: 0-a#b"
	tests := []struct {
		tools map[string]tool.Tool
		tool  string
		input string
		want  []string
	}{
		{pets, "pets.list", `{"X-Tenant":"t 1","tag":["a b","c,d"],"status":["here","gone"],"sizes":[1,2],"words":["x","y z"],"X-Trace":["p","q"]}`,
			[]string{"GET /v2/pets?sizes=1%7C2&status=here,gone&tag=a+b&tag=c%2Cd&words=x%20y+z", "X-Tenant: t 1", "X-Trace: p,q", bearer, ""}},
		{pets, "pets.list", `{"X-Tenant":"t","filter":{"owner":"o&","born":{"after":"2024-01-01"}},"near":{"lat":1.5,"lon":-2},"query":{"a":[1]},"limit":7}`,
			[]string{"GET /v2/pets?filter%5Bborn%5D%5Bafter%5D=2024-01-01&filter%5Bowner%5D=o%26&lat=1.5&limit=7&lon=-2&query=%7B%22a%22%3A%5B1%5D%7D", "X-Tenant: t", bearer, ""}},
		{pets, "pets.list", `{"X-Tenant":"t","tag":[]}`, []string{"GET /v2/pets", "X-Tenant: t", bearer, ""}},
		{pets, "addPet", `{"X-Tenant":"t","name":"Rex","status":"here","owner":null,"parents":[{"name":"Ma","status":"gone"}]}`,
			[]string{"POST /v2/pets", "X-Tenant: t", "Idempotency-Key: 0-a#b", bearer, "Content-Type: application/json",
				`{"name":"Rex","owner":null,"parents":[{"name":"Ma","status":"gone"}],"status":"here"}`}},
		{pets, "getPet", `{"id":7,"query_id":8}`, []string{"GET /v2/pets/7?id=8", bearer, ""}},
		{pets, "removePet", `{"id":7}`, []string{"DELETE /v2/pets/7", bearer, ""}},
		{pets, "bookVisit", `{"day":"2024-02-01","pets":[1,2],"guests":["a","b c"],"metadata":{"k":"v"}}`,
			[]string{"POST /v2/visits", key, bearer, "Content-Type: application/x-www-form-urlencoded", "day=2024-02-01&guests=a,b+c&metadata%5Bk%5D=v&pets=1&pets=2"}},
		{pets, "bookVisit", `{}`, []string{"POST /v2/visits", key, bearer, "Content-Type: application/x-www-form-urlencoded", ""}},
		{pets, "cancelVisit", `{"day":"a/b"}`, []string{"POST /v2/visits/a%2Fb/cancel", key, bearer, ""}},
		{shop, "orders_change", `{"id":"o1","body":{"id":"x","note":null}}`,
			[]string{"PATCH /v2/orders/o1", key, "Content-Type: application/merge-patch+json", `{"id":"x","note":null}`}},
		{shop, "orders_add", `{"lines":[{"sku":"a"},{"sku":"b","count":2}],"face":"😀"}`,
			[]string{"POST /v2/orders", key, "Content-Type: application/json", `{"face":"😀","lines":[{"sku":"a"},{"sku":"b","count":2}]}`}},
		{shop, "orders_add", `{}`, []string{"POST /v2/orders", key, ""}},
		{shop, "search", `{"body":"birds"}`, []string{"POST /v2/search", key, "Content-Type: application/json", `"birds"`}},
		{shop, "search", `{"body":{"not":{"all":[{"text":"x"}]}}}`, []string{"POST /v2/search", key, "Content-Type: application/json", `{"not":{"all":[{"text":"x"}]}}`}},
		{shop, "post_ping", `{}`, []string{"POST /v2/ping", key, ""}},
	}
	for _, tt := range tests {
		t.Run(tt.tool, func(t *testing.T) {
			out, err := tt.tools[tt.tool].Call(t.Context(), tool.Call{Key: "0-a#b", Input: json.RawMessage(tt.input)})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if out, err := pets["head_pets_ids_area"].Call(t.Context(), tool.Call{Input: json.RawMessage(`{"ids":["a,b","c"],"area":{"x":1,"y":2}}`)}); err != nil || string(out) != "null" {
		t.Errorf("HEAD: got %s %v", out, err)
	}
	for _, tt := range []struct{ tool, input, want string }{
		{"getPet", `{}`, "missing property 'id'"},
		{"getPet", `{"id":1,"other":2}`, "other"},
		{"pets.list", `{"X-Tenant":"a\nb"}`, "cannot stand in a header"},
		{"pets.list", `{"X-Tenant":"t","limit":0}`, "limit"},
		{"addPet", `{"X-Tenant":"t","name":"Rex","status":"here","id":3}`, "id"},
		{"addPet", `{"X-Tenant":"t","name":"Rex","status":"lost"}`, "status"},
		{"bookVisit", `{"pets":[1]}`, "day"},
	} {
		if _, err := pets[tt.tool].Call(t.Context(), tool.Call{Input: json.RawMessage(tt.input)}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: got %v, want %q", tt.tool, tt.input, err, tt.want)
		}
	}
	for name, want := range map[string]polity.Effect{
		"pets.list": polity.EffectNone, "addPet": polity.EffectKeyed, "replacePet": polity.EffectIdempotent, "removePet": polity.EffectIdempotent, "bookVisit": polity.EffectExternal,
	} {
		if got := pets[name].Spec().Effect; got != want {
			t.Errorf("%s: effect %s, want %s", name, got, want)
		}
	}
}

// one is a document with one operation, at GET /a, and more below.
func one(operation string, more ...string) string {
	return "openapi: 3.0.3\nservers: [{url: https://x.com}]\npaths:\n  /a:\n    get: {operationId: op" + operation + "}\n" + strings.Join(more, "\n")
}

// parts are properties of a schema.
func parts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "p%d: {}, ", i)
	}
	return b.String()
}

func TestRefusals(t *testing.T) {
	many := "openapi: 3.0.3\nservers: [{url: https://x.com}]\npaths:\n"
	for i := range tool.HTTPToolsMax + 1 {
		many += fmt.Sprintf("  /a%d: {get: {responses: {}}}\n", i)
	}
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 30; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	parameter := func(p string) string { return one(", parameters: [" + p + "]") }
	query := func(s string) string { return parameter("{name: q, in: query, schema: " + s + "}") }
	tests := map[string]struct {
		document string
		use      openapi.Use
		want     string
	}{
		"nothing":             {"", openapi.Use{}, "the document is empty"},
		"no YAML":             {"a: [", openapi.Use{}, "neither JSON nor YAML: line 1"},
		"no document":         {"a: 1", openapi.Use{}, `it has no field "openapi"`},
		"a list":              {"[1]", openapi.Use{}, `it has no field "openapi"`},
		"two documents":       {"a: 1\n---\nb: 1\n", openapi.Use{}, "more than one document"},
		"swagger":             {"swagger: '2.0'", openapi.Use{}, "Swagger 2.0; convert it to OpenAPI 3"},
		"version":             {"openapi: 3.2.0", openapi.Use{}, "OpenAPI 3.2.0; versions 3.0 and 3.1 are known"},
		"no paths":            {"openapi: 3.1.0", openapi.Use{}, "no paths"},
		"twice":               {"openapi: 3.1.0\nopenapi: 3.1.0", openapi.Use{}, `line 2: "openapi" is set twice`},
		"twice in JSON":       {"{\"openapi\": 1,\n\"openapi\": 2}", openapi.Use{}, `line 2: "openapi" is set twice`},
		"merged number":       {"<<: 7", openapi.Use{}, "line 1: << merges objects and nothing else"},
		"many patterns":       {one(""), openapi.Use{Operations: make([]string, 257)}, "operations: 257 are more than 256"},
		"many parts":          {query("{$ref: '#/x'}") + "x: {properties: {" + parts(100_000) + "}}", openapi.Use{}, "the schema has more than 100000 parts, what it refers to included"},
		"no number":           {"openapi: .inf", openapi.Use{}, "line 1: the number .inf"},
		"alias bomb":          {bomb, openapi.Use{}, "more than 1000000 values, its aliases written out"},
		"alias in itself":     {"a: &a [*a]", openapi.Use{}, "100 levels deep"},
		"deep":                {"a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200), openapi.Use{}, "100 levels deep"},
		"large":               {strings.Repeat("#", openapi.DocumentMax+1), openapi.Use{}, "at most 16777216 are allowed"},
		"many operations":     {many, openapi.Use{}, `201 of the document's 201 operations are meant; select 1 to 200 of them with "operations"`},
		"none meant":          {one(""), openapi.Use{Operations: []string{"!*"}}, "0 of the document's 1 operations"},
		"unknown operation":   {one(""), openapi.Use{Operations: []string{"opp"}}, `no operation "opp"; did you mean "op"?`},
		"two of a name":       {one("", "  /b: {get: {operationId: o p}, post: {operationId: o/p}}"), openapi.Use{}, "line 6: POST /b: its tool would be named o_p, as that of GET /b in line 6"},
		"path":                {"openapi: 3.0.1\npaths: {a: {get: {}}}", openapi.Use{}, "line 2: a: a path begins with /"},
		"no server":           {"openapi: 3.0.1\npaths: {/a: {get: {}}}", openapi.Use{}, `GET /a: the document names no server; set "server"`},
		"half a server":       {"openapi: 3.0.1\nservers: [{url: /v1}]\npaths: {/a: {get: {}}}", openapi.Use{}, `the server "/v1" is no whole address`},
		"variable server":     {"openapi: 3.0.1\nservers: [{url: 'https://x.com/{v}'}]\npaths: {/a: {get: {}}}", openapi.Use{}, "a variable without a default"},
		"server elsewhere":    {one(""), openapi.Use{Server: "https://y.com"}, `line 5: op: its server y.com is not among the hosts of "allow": x.com`},
		"cookie":              {parameter("{name: c, in: cookie}"), openapi.Use{}, `line 5: op: parameter "c": it stands in a cookie, and cookies are not sent; leave the operation out, as in "!op"`},
		"place":               {parameter("{name: c, in: body}"), openapi.Use{}, `parameter "c": in "body": want path, query or header`},
		"nameless":            {parameter("{in: query}"), openapi.Use{}, `parameter "": it has no name`},
		"label style":         {one("", "  /b/{i}: {get: {operationId: b, parameters: [{name: i, in: path, style: label}]}}"), openapi.Use{}, `line 6: b: parameter "i": style "label" is not written in a path`},
		"no such place":       {parameter("{name: i, in: path}"), openapi.Use{}, `the path /a has no {i}`},
		"unfilled place":      {one("", "  /b/{i}: {get: {operationId: b}}"), openapi.Use{}, "line 6: b: no parameter fills {i} of the path /b/{i}"},
		"lost parameter":      {parameter("{$ref: '#/components/parameters/x'}"), openapi.Use{}, `line 5: op: parameters: $ref "#/components/parameters/x" leads nowhere: there is no "components"`},
		"reference in circle": {parameter("{$ref: '#/x'}") + "x: {$ref: '#/x'}", openapi.Use{}, "references lead to references more than 32 times"},
		"outer reference":     {query("{$ref: 'other.yaml#/A'}"), openapi.Use{}, `$ref "other.yaml#/A" leads out of the document; bundle everything into one file`},
		"schema in circle":    {query("{$ref: '#/x'}") + "x: {$ref: '#/x'}", openapi.Use{}, "op: "},
		"no schema":           {query("7"), openapi.Use{}, "line 5: op: line 5: a schema is an object"},
		"wrong schema":        {query("{type: file}"), openapi.Use{}, "/properties/q/type"},
		"anchor":              {query("{$anchor: a}"), openapi.Use{}, "$anchor is not supported"},
		"large schema":        {query("{description: " + strings.Repeat("x", 300<<10) + "}"), openapi.Use{}, "at most 262144 are allowed"},
		"multipart":           {one(", requestBody: {content: {multipart/form-data: {}}}"), openapi.Use{}, `op: body: it is multipart/form-data, and JSON and forms are what can be sent; leave the operation out, as in "!op"`},
		"lost body":           {one(", requestBody: {$ref: '#/b'}"), openapi.Use{}, "op: body: $ref"},
		"form that collides": {one(", parameters: [{name: a, in: query}], requestBody: {content: {application/x-www-form-urlencoded: {schema: {type: object, properties: {a: {}}}, encoding: {a: {}}}}}"),
			openapi.Use{}, "their encoding cannot be kept"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.use.Source, tt.use.Allow = "s", []string{"x.com"}
			_, _, err := openapi.Read([]byte(tt.document), tt.use)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	_, _, err := openapi.Read(document(t, "pets.yaml"), openapi.Use{Source: "s", Allow: []string{"api.example.com"}})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("all that is wrong is said at once: got %v", err)
	}
}

func TestOddities(t *testing.T) {
	const merged = `
openapi: 3.0.0
servers: [{url: https://x.com}]
x-common: &common {responses: {200: {description: Fine.}}, summary: From above.}
paths:
  /a: {get: {<<: *common, operationId: op, summary: "Its own."}, post: {<<: [*common]}}
`
	double := one(", requestBody: {content: {application/json: {schema: {$ref: '#/s0'}}}}, parameters: [{name: q, in: query, schema: {$ref: '#/s0'}}]")
	for i := range 60 { // written out it would have 2^60 parts
		double += fmt.Sprintf("s%d: {allOf: [{$ref: '#/s%d'}, {$ref: '#/s%d'}]}\n", i, i+1, i+1)
	}
	if made, _, err := openapi.Read([]byte(double+"s60: {type: object}"), openapi.Use{Source: "s", Allow: []string{"x.com"}}); err != nil || len(made.Tools[0].Input) > 10_000 {
		t.Errorf("doubling: %v", err)
	}
	made, warnings, err := openapi.Read([]byte(merged), openapi.Use{Source: "s", Allow: []string{"x.com"}})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if made.Tools[0].Description != "Its own." || made.Tools[1].Description != "From above." {
		t.Errorf("merged: %+v", made.Tools)
	}
	_, warnings, err = openapi.Read(document(t, "shop.json"), openapi.Use{Source: "s", Server: "https://x.com", Allow: []string{"x.com"}})
	want := []string{"the document asks for a key in header X-Key (key), which is not declared, for orders/get, orders/change, orders/add, search, a-report-whose-name-is-much-longer-than-any-tool-of-this-world-may-be-called and 1 more"}
	if diff := cmp.Diff(want, warnings); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// FuzzRead wants of every document that is taken that its tools can be made, and are the same every time.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		one(""), "{", one(", requestBody: {content: {application/json: {schema: {allOf: [{required: [a], properties: {a: {nullable: true, enum: [1]}}}]}}}}"), `{"openapi":"3.1.0","paths":{"/{a}":{"put":{"parameters":[{"name":"a","in":"path"}]}}}}`, "a: &a {<<: *a}", "? [a]\n: b", "a: 0x1F\nb: 1_0\nc: ~\nd: !!binary x",
		one(", parameters: [{name: q, in: query, schema: {$ref: '#/x'}}]", "x: {properties: {y: {$ref: '#/x'}}}"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		use := openapi.Use{Source: "s", Server: "https://x.com", Allow: []string{"x.com"}, CheckOutput: true}
		made, _, err := openapi.Read(data, use)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("another kind: %v", err)
			}
			return
		}
		if again, _, err := openapi.Read(data, use); err != nil || !cmp.Equal(made, again) {
			t.Fatalf("the second reading differs: %v", err)
		}
		for _, m := range made.Tools {
			if _, err := schema.Compile(m.Input); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
	})
}
