package client

import (
	"context"
	"encoding/json"
	"errors"
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
)

func announce(state, url string) {
	data, err := json.Marshal(Address{URL: url, Token: "secret", PID: 42})
	if err == nil {
		err = os.WriteFile(filepath.Join(state, AddressFile), data, 0o600)
	}
	if err != nil {
		panic(err)
	}
}

// talk returns a client of a node that answers so.
func talk(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	state := t.TempDir()
	announce(state, s.URL)
	c, err := Open(state)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOpenRefuses(t *testing.T) {
	const good = `{"url":"http://127.0.0.1:1","token":"t","pid":1}`
	tests := map[string]struct {
		make func(path string) error
		kind fault.Kind
	}{
		"nothing": {func(string) error { return nil }, fault.NotFound},
		"readable by the group": {func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(good), 0o600), os.Chmod(path, 0o640))
		}, fault.Denied},
		"writable by others": {func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(good), 0o600), os.Chmod(path, 0o602))
		}, fault.Denied},
		"symbolic link": {func(path string) error {
			return errors.Join(os.WriteFile(path+".there", []byte(good), 0o600), os.Symlink(path+".there", path))
		}, fault.Denied},
		"folder":    {func(path string) error { return os.Mkdir(path, 0o700) }, fault.Denied},
		"not JSON":  {func(path string) error { return os.WriteFile(path, []byte("hello"), 0o600) }, fault.Damaged},
		"too large": {func(path string) error { return os.WriteFile(path, make([]byte, addressMax+1), 0o600) }, fault.Damaged},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			if err := tt.make(filepath.Join(state, AddressFile)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(state); !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %s", err, tt.kind)
			}
		})
	}
	state := t.TempDir()
	announce(state, "http://127.0.0.1:1")
	if _, err := Open(state); err != nil {
		t.Errorf("a good address is refused: %v", err)
	}
}

func TestParseAddress(t *testing.T) {
	tests := map[string]struct {
		text string
		ok   bool
	}{
		"good":            {`{"url":"http://127.0.0.1:80","token":"t","pid":1}`, true},
		"elsewhere":       {`{"url":"http://evil.example:80","token":"t","pid":1}`, false},
		"look-alike":      {`{"url":"http://127.0.0.1@evil.example:80","token":"t","pid":1}`, false},
		"user":            {`{"url":"http://evil.example@127.0.0.1:80","token":"t","pid":1}`, false},
		"other scheme":    {`{"url":"file://127.0.0.1:80","token":"t","pid":1}`, false},
		"no port":         {`{"url":"http://127.0.0.1","token":"t","pid":1}`, false},
		"path":            {`{"url":"http://127.0.0.1:80/x","token":"t","pid":1}`, false},
		"no token":        {`{"url":"http://127.0.0.1:80","pid":1}`, false},
		"unknown field":   {`{"url":"http://127.0.0.1:80","token":"t","pid":1,"x":1}`, false},
		"something after": {`{"url":"http://127.0.0.1:80","token":"t","pid":1} x`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseAddress([]byte(tt.text))
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, fault.Damaged) {
				t.Errorf("got %v, want it right: %t", err, tt.ok)
			}
		})
	}
}

func TestNodeThatIsGone(t *testing.T) {
	state := t.TempDir()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	announce(state, s.URL)
	c, err := Open(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Alive(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Alive: %v, want unavailable", err)
	}
}

func TestContextEnds(t *testing.T) {
	c := talk(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	tests := map[string]struct {
		cause error
		kind  fault.Kind
	}{
		"without a reason": {nil, fault.Cancelled},
		"with a fault":     {fault.Timeout.New("late"), fault.Timeout},
		"with an error":    {errors.New("whatever"), fault.Cancelled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(tt.cause)
			if _, err := c.Wait(ctx, "0-a"); !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %s", err, tt.kind)
			}
		})
	}
}

func TestWaitAsksAgain(t *testing.T) {
	asked := 0
	c := talk(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fmt.Fprint(w, `{"status":"failed","fault":{"kind":"timeout","text":"late"},"usage":{"turns":2}}`)
	})
	o, err := c.Wait(t.Context(), "0-a")
	if err != nil || asked != 3 {
		t.Fatalf("asked %d times, %v; want 3", asked, err)
	}
	if o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Timeout) || o.Usage.Turns != 2 {
		t.Errorf("got %+v", o)
	}
}

func TestStream(t *testing.T) {
	const notice = `{"at":"2026-01-02T03:04:05Z","commit":1,"kind":"opened","run":"0-a"}` + "\n"
	enough := errors.New("enough")
	tests := map[string]struct {
		body  string
		each  error
		lines int
		want  error
	}{
		"whole":               {notice + "\n\n" + notice + `{"end":true}` + "\n", nil, 2, nil},
		"nothing but its end": {`{"end":true}`, nil, 0, nil},
		"cut":                 {notice, nil, 1, fault.Unavailable},
		"empty":               {"", nil, 0, fault.Unavailable},
		"ends with a fault":   {notice + `{"end":true,"error":{"kind":"damaged","text":"bit rot"}}`, nil, 1, fault.Damaged},
		"not JSON":            {"<html>", nil, 0, fault.Damaged},
		"unknown fault":       {`{"end":true,"error":{"kind":"odd","text":"x"}}`, nil, 0, fault.Damaged},
		"the reader has enough": {
			notice + notice + `{"end":true}`, enough, 1, enough,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := talk(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.body) })
			lines := 0
			err := c.Tail(t.Context(), "0-a", func(n polity.Notice) error {
				lines++
				if n.Run != "0-a" || n.Kind != "opened" || n.Commit != 1 {
					t.Errorf("notice %+v", n)
				}
				return tt.each
			})
			if !errors.Is(err, tt.want) || lines != tt.lines {
				t.Errorf("%d lines and %v, want %d and %v", lines, err, tt.lines, tt.want)
			}
		})
	}
}

func TestPathsKeepChildrenWhole(t *testing.T) {
	var got []string
	c := talk(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Authorization"))
		io.WriteString(w, `{}`)
	})
	if _, err := c.Find(t.Context(), "0-a/b~2/c d"); err != nil {
		t.Fatal(err)
	}
	if err := c.Cancel(t.Context(), "0-a/b", "why"); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(t.Context(), "0-a"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /v1/runs/0-a%2Fb~2%2Fc%20d/summary Bearer secret", "POST /v1/runs/0-a%2Fb/cancel Bearer secret", "POST /v1/runs/0-a/resume Bearer secret",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// Whatever a node answers, the error is a fault of a known kind.
func FuzzParseFailure(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"not-found","detail":"x"}`, `{"kind":"odd","detail":"x"}`, `{"kind":null}`, `{}`, ``, `[`,
		`{"kind":"exhausted","detail":"x","bound":"turns"}`,
	} {
		f.Add(500, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, data []byte) {
		var known bool
		err := parseFailure(status, data)
		for _, k := range fault.Kinds() {
			known = known || errors.Is(err, k)
		}
		if !known {
			t.Errorf("%d %q: %v has no known kind", status, data, err)
		}
	})
}

// Whatever the address file holds, the token goes to this machine.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		`{"url":"http://127.0.0.1:80","token":"t","pid":1}`, `{"url":"http://127.0.0.1:80@evil:1","token":"t"}`,
		`{"url":"http://127.0.0.1:80\\@evil","token":"t"}`, `{}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAddress(data)
		if err != nil {
			return
		}
		req, err := http.NewRequest(http.MethodGet, a.URL+runPath("0-a", ""), nil)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if req.URL.Hostname() != "127.0.0.1" || req.URL.Scheme != "http" || req.URL.Path != "/v1/runs/0-a" {
			t.Errorf("%q leads to %s", data, req.URL)
		}
	})
}

// Whatever comes as a stream, it ends, and an end that is none is said to be none.
func FuzzReadStream(f *testing.F) {
	f.Add("\n{\"kind\":\"opened\",\"run\":\"0-a\"}\n{\"end\":true}\n")
	f.Add("{\"end\":true,\"error\":{\"kind\":\"failed\",\"text\":\"x\"}}")
	f.Add("{\"kind\":1}")
	f.Fuzz(func(t *testing.T, text string) {
		ended, err := readStream(strings.NewReader(text), func(Line) error { return nil }, func() {})
		if !ended && err == nil {
			t.Errorf("%q: cut, and nothing said", text)
		}
		if ended && err == nil && !strings.Contains(strings.ToLower(text), "end") {
			t.Errorf("%q: ended by nothing", text)
		}
	})
}

// TestInputComesAsItIs wants a node to read what it would be given in its own process: a run is known by it.
func TestInputComesAsItIs(t *testing.T) {
	var body []byte
	c := talk(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body) // what is missing is seen
		_, _ = w.Write([]byte("{}"))
	})
	const input = `{"a":"x < y & z > é"}`
	if err := c.call(t.Context(), http.MethodPost, "/", map[string]json.RawMessage{"input": json.RawMessage(input)}, nil); err != nil {
		t.Fatal(err)
	}
	if want := `{"input":` + input + "}\n"; string(body) != want {
		t.Errorf("came as %q, want %q", body, want)
	}
}
