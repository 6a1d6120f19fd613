package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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
		_, err := Specs(tool.Source{Name: "s", HTTP: &tool.HTTP{Allow: []string{"x.com"}, Tools: []tool.HTTPTool{d}}})
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", d, err, want)
		}
	}
	if _, err := Specs(tool.Source{Name: "s", HTTP: &tool.HTTP{Tools: []tool.HTTPTool{{Name: "a", URL: "https://x.com"}}}}); err == nil {
		t.Error("everything may be reached")
	}
}
