package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
)

// serve returns the tools of a service that tells what it was asked.
func serve(t *testing.T, tools ...tool.HTTPTool) map[string]tool.Tool {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch status := r.URL.Query().Get("status"); status {
		case "":
			_ = json.NewEncoder(w).Encode(map[string]string{
				"asked": r.Method + " " + r.URL.RequestURI(), "body": string(body), "key": r.Header.Get("Idempotency-Key"), "auth": r.Header.Get("Authorization"),
			})
		case "cut":
			panic(http.ErrAbortHandler)
		case "long":
			_, _ = io.WriteString(w, strings.Repeat("x", bodyMax+1))
		case "text":
			_, _ = io.WriteString(w, "no JSON \xff")
		default:
			n := map[string]int{"401": 401, "404": 404, "409": 409, "429": 429, "400": 400, "500": 500}[status]
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(n)
			_, _ = io.WriteString(w, "because\nof this")
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("CRM_TOKEN", "secret")
	for i := range tools {
		tools[i].URL = strings.Replace(tools[i].URL, "HOST", strings.TrimPrefix(s.URL, "http://"), 1)
	}
	made, err := Tools(tool.Source{Name: "crm", HTTP: &tool.HTTP{
		Allow: []string{strings.TrimPrefix(s.URL, "http://")}, Private: true, Headers: map[string]string{"Authorization": "Bearer $CRM_TOKEN"}, Tools: tools,
	}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]tool.Tool{}
	for _, m := range made {
		out[m.Spec().Name] = m
	}
	return out
}

var anything = json.RawMessage(`{"type":"object"}`)

func TestRequests(t *testing.T) {
	tools := serve(t,
		tool.HTTPTool{Name: "find", URL: "http://HOST/c/{id}?v=1", Input: anything},
		tool.HTTPTool{Name: "add", Method: "POST", URL: "http://HOST/c/{id}", Input: anything, KeyHeader: "Idempotency-Key"},
		tool.HTTPTool{Name: "put", Method: "put", URL: "http://HOST/c", Input: json.RawMessage(`{"type":"array"}`)},
	)
	for _, tt := range []struct{ name, input, asked, body, key string }{
		{"crm.find", `{"id":"a/../b?c","q":["x y","z"],"n":7}`, "GET /c/a%2F..%2Fb%3Fc?n=7&q=x+y&q=z&v=1", "", ""},
		{"crm.add", `{"id":7,"name":"é"}`, "POST /c/7", `{"name":"é"}`, "0-a#b"},
		{"crm.put", `[1]`, "PUT /c", `[1]`, ""},
	} {
		got, err := tools[tt.name].Call(t.Context(), tool.Call{Key: "0-a#b", Input: json.RawMessage(tt.input)})
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]string
		if err := json.Unmarshal(got, &out); err != nil {
			t.Fatal(err)
		}
		if out["asked"] != tt.asked || out["body"] != tt.body || out["key"] != tt.key || out["auth"] != "Bearer secret" {
			t.Errorf("%s: sent %v", tt.name, out)
		}
	}
	for name, want := range map[string]polity.Effect{"crm.find": polity.EffectNone, "crm.add": polity.EffectKeyed, "crm.put": polity.EffectIdempotent} {
		if got := tools[name].Spec().Effect; got != want {
			t.Errorf("%s: effect %s, want %s", name, got, want)
		}
	}
	for _, id := range []string{`".."`, `""`, `null`} {
		if _, err := tools["crm.find"].Call(t.Context(), tool.Call{Input: json.RawMessage(`{"id":` + id + `}`)}); !errors.Is(err, fault.Invalid) {
			t.Errorf("id %s: got %v", id, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	tools := serve(t,
		tool.HTTPTool{Name: "find", URL: "http://HOST/", Input: json.RawMessage(`{"type":"object","required":["status"]}`)},
		tool.HTTPTool{Name: "pay", Method: "POST", URL: "http://HOST/?status=cut"},
		tool.HTTPTool{Name: "away", URL: "http://127.0.0.1:1/"},
	)
	for status, kind := range map[string]fault.Kind{
		"401": fault.Denied, "404": fault.NotFound, "409": fault.Conflict, "429": fault.Unavailable, "400": fault.Invalid, "500": fault.Unavailable,
		"cut": fault.Unavailable, "long": fault.Exhausted,
	} {
		_, err := tools["crm.find"].Call(t.Context(), tool.Call{Input: json.RawMessage(`{"status":"` + status + `"}`)})
		if !errors.Is(err, kind) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", status, err, kind)
		}
	}
	if out, err := tools["crm.find"].Call(t.Context(), tool.Call{Input: json.RawMessage(`{"status":"text"}`)}); err != nil || string(out) != `{"text":"no JSON �"}` {
		t.Errorf("got %s %v", out, err)
	}
	if _, err := tools["crm.find"].Call(t.Context(), tool.Call{Input: json.RawMessage(`{}`)}); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	if _, err := tools["crm.pay"].Call(t.Context(), tool.Call{}); !errors.Is(err, fault.Unknown) {
		t.Errorf("a payment whose answer is lost: got %v, want unknown", err)
	}
	if _, err := tools["crm.away"].Call(t.Context(), tool.Call{}); !errors.Is(err, fault.Denied) {
		t.Errorf("a host that is not allowed: got %v", err)
	}
}

func TestDeclarations(t *testing.T) {
	for want, d := range map[string]tool.HTTPTool{
		"want an address":       {Name: "a", URL: "api/x"},
		"in the host":           {Name: "a", URL: "https://{host}/x"},
		"want GET":              {Name: "a", Method: "FETCH", URL: "https://x.com"},
		"key_header":            {Name: "a", URL: "https://x.com", Effect: polity.EffectKeyed},
		"effect":                {Name: "a", URL: "https://x.com", Effect: "some"},
		"not allowed in a name": {Name: "a b", URL: "https://x.com"},
		"input":                 {Name: "a", URL: "https://x.com", Input: json.RawMessage(`{"type":7}`)},
	} {
		_, err := Tools(tool.Source{Name: "s", HTTP: &tool.HTTP{Allow: []string{"x.com"}, Tools: []tool.HTTPTool{d}}})
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", d, err, want)
		}
	}
	if _, err := Tools(tool.Source{Name: "s", HTTP: &tool.HTTP{Tools: []tool.HTTPTool{{Name: "a", URL: "https://x.com"}}}}); err == nil {
		t.Error("everything may be reached")
	}
}

func TestFields(t *testing.T) {
	tools := serve(t,
		tool.HTTPTool{Name: "any", Method: "POST", URL: "http://HOST/{p}/{q}", Input: anything, Fields: map[string]tool.HTTPField{
			"p": {In: tool.InPath, Style: tool.StyleSimple}, "q": {In: tool.InPath, Style: tool.StyleSimple, Explode: true},
			"auth": {In: tool.InHeader, Name: "Idempotency-Key", Style: tool.StyleSimple},
			"form": {In: tool.InQuery, Name: "f", Style: tool.StyleForm}, "each": {In: tool.InQuery, Style: tool.StyleForm, Explode: true},
			"deep": {In: tool.InQuery, Style: tool.StyleDeep}, "json": {In: tool.InQuery, Style: tool.StyleJSON},
			"b": {In: tool.InBody, Name: "n"},
		}},
		tool.HTTPTool{Name: "bare", Method: "POST", URL: "http://HOST/", ContentType: tool.ContentNone},
		tool.HTTPTool{Name: "form", Method: "DELETE", URL: "http://HOST/", Input: anything, ContentType: typeForm, Fields: map[string]tool.HTTPField{"all": {In: tool.InContent}}},
		tool.HTTPTool{Name: "whole", Method: "PUT", URL: "http://HOST/", Input: anything, Fields: map[string]tool.HTTPField{"all": {In: tool.InContent}}},
	)
	for _, tt := range []struct{ name, input, asked, body, key string }{
		{"any", `{"p":["a,b","c"],"q":{"y":2,"x":"1/"},"auth":["k","l"],"form":{"b":2,"a":"x&y"},"each":{"k":[1],"l":"m"},"b":[null]}`,
			"POST /a%2Cb,c/x=1%2F,y=2?f=a,x%26y,b,2&k=%5B1%5D&l=m", `{"n":[null]}`, "k,l"},
		{"any", `{"p":1,"q":"r","deep":{"a":{"b":[1,2]},"c":null},"json":null,"form":[],"each":null,"other":true}`,
			"POST /1/r?deep%5Ba%5D%5Bb%5D=1&deep%5Ba%5D%5Bb%5D=2", `{"other":true}`, ""},
		{"any", `{"p":1,"q":2,"json":{"a":"é"},"each":[1,"b c"],"form":["x,y",2]}`,
			"POST /1/2?each=1&each=b+c&f=x%2Cy,2&json=%7B%22a%22%3A%22%C3%A9%22%7D", "", ""},
		{"bare", `{}`, "POST /", "", ""},
		{"form", `{"all":{"b":[1,2],"a":"x y"}}`, "DELETE /", "a=x+y&b=1&b=2", ""},
		{"whole", `{"all":[1]}`, "PUT /", "[1]", ""},
		{"whole", `{}`, "PUT /", "", ""},
	} {
		got, err := tools["crm."+tt.name].Call(t.Context(), tool.Call{Input: json.RawMessage(tt.input)})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var out map[string]string
		if err := json.Unmarshal(got, &out); err != nil {
			t.Fatal(err)
		}
		if out["asked"] != tt.asked || out["body"] != tt.body || out["key"] != tt.key || out["auth"] != "Bearer secret" {
			t.Errorf("%s %s: sent %v", tt.name, tt.input, out)
		}
	}
	for _, input := range []string{`{"p":[],"q":1}`, `{"p":["."],"q":1}`, `{"p":1,"q":1,"auth":"a\r\nX: y"}`} {
		if _, err := tools["crm.any"].Call(t.Context(), tool.Call{Input: json.RawMessage(input)}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", input, err)
		}
	}
}

func TestFieldsThatCannotGo(t *testing.T) {
	for want, d := range map[string]tool.HTTPTool{
		`no {x} stands`:             {Fields: map[string]tool.HTTPField{"x": {In: tool.InPath}}},
		`want path, query, header`:  {Fields: map[string]tool.HTTPField{"x": {In: "cookie"}}},
		`"Host" is no header`:       {Fields: map[string]tool.HTTPField{"x": {In: tool.InHeader, Name: "Host"}}},
		`"a b" is no header`:        {Fields: map[string]tool.HTTPField{"a b": {In: tool.InHeader}}},
		`"form" does not go with`:   {Fields: map[string]tool.HTTPField{"x": {In: tool.InHeader, Style: tool.StyleForm}}},
		`"matrix" does not go with`: {Fields: map[string]tool.HTTPField{"x": {In: tool.InQuery, Style: "matrix"}}},
		`2 of them are the whole`:   {Fields: map[string]tool.HTTPField{"x": {In: tool.InContent}, "y": {In: tool.InContent}}},
		`content_type "text/plain"`: {ContentType: "text/plain"},
	} {
		d.Name, d.URL = "a", "https://x.com/"
		_, err := Tools(tool.Source{Name: "s", HTTP: &tool.HTTP{Allow: []string{"x.com"}, Tools: []tool.HTTPTool{d}}})
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", d, err, want)
		}
	}
}

// TestReceipts wants an answer's head to be its receipt, with the header that the declaration names, and an external request to carry its key.
func TestReceipts(t *testing.T) {
	var sent []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Method+" "+r.Header.Get("Idempotency-Key"))
		w.Header().Set("Location", "/orders/7")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("X-Request-Id", "r-1")
		w.WriteHeader(map[string]int{"/": http.StatusCreated, "/no": http.StatusConflict}[r.URL.Path])
	}))
	t.Cleanup(s.Close)
	made, err := Tools(tool.Source{
		Name: "s", Receipts: map[string]string{"no": "$.id"}, HTTP: &tool.HTTP{Allow: []string{strings.TrimPrefix(s.URL, "http://")}, Private: true, Tools: []tool.HTTPTool{
			{Name: "yes", Method: "POST", URL: s.URL + "/", Receipt: "X-Request-Id"},
			{Name: "no", Method: "PUT", URL: s.URL + "/no"},
			{Name: "own", Method: "POST", URL: s.URL + "/", Effect: polity.EffectExternal, KeyHeader: "X-Idempotency-Key"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, one := range made {
		_, _ = one.Call(t.Context(), tool.Call{Key: "0-a#b", Receipt: func(raw json.RawMessage) { told = append(told, string(raw)) }})
	}
	want := []string{
		`{"ETag":"\"v1\"","Location":"/orders/7","X-Request-Id":"r-1","status":201}`, `{"ETag":"\"v1\"","Location":"/orders/7","status":409}`,
		`{"ETag":"\"v1\"","Location":"/orders/7","status":201}`,
	}
	if !slices.Equal(told, want) || !slices.Equal(sent, []string{"POST 0-a#b", "PUT ", "POST "}) || made[1].Spec().Receipt != "$.id" {
		t.Errorf("told %q, sent %q", told, sent)
	}
}

// TestSentOnce wants an external request that breaks off on a connection that was used before to be sent once, though it carries a key.
func TestSentOnce(t *testing.T) {
	var posts atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(s.Close)
	made, err := Tools(tool.Source{Name: "s", HTTP: &tool.HTTP{Allow: []string{strings.TrimPrefix(s.URL, "http://")}, Private: true, Tools: []tool.HTTPTool{
		{Name: "look", URL: s.URL}, {Name: "pay", Method: "POST", URL: s.URL}, {Name: "bare", Method: "POST", URL: s.URL, ContentType: tool.ContentNone},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range made[1:] {
		if _, err := made[0].Call(t.Context(), tool.Call{}); err != nil {
			t.Fatal(err)
		}
		posts.Store(0)
		if _, err := one.Call(t.Context(), tool.Call{Key: "0-a#b"}); !errors.Is(err, fault.Unknown) || posts.Load() != 1 {
			t.Errorf("%s was sent %d times: %v", one.Spec().Name, posts.Load(), err)
		}
	}
}
