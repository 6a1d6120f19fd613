package door_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
)

// world is a node with a door, behind which there is a page for everybody and a few things for some.
type world struct {
	t      *testing.T
	engine *engine.Engine
	door   *door.Door
	served chan error
}

func open(t *testing.T, state string, cfg door.Config) *world {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, engine: e, served: make(chan error, 1)}
	if w.door, err = door.Open(t.Context(), e, cfg); err != nil {
		t.Fatal(errors.Join(err, e.Close()))
	}
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, access.From(r.Context()).Name)
	}
	for _, pattern := range []string{"GET /page", "GET /orgs/{org}", "POST /orgs/{org}/start", "POST /orgs/{org}/delete", "POST /node", "GET /forgotten", "GET /runs/{id}"} {
		mux.HandleFunc(pattern, say)
	}
	mux.HandleFunc("POST /body", func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("a body of any size is read")
		}
	})
	w.door.Serve(mux, door.Rules{
		"GET /page": {Verb: access.Public}, "GET /orgs/{org}": {Verb: access.Read, Scope: door.OfOrg}, "POST /orgs/{org}/start": {Verb: access.Operate, Scope: door.OfOrg},
		"POST /orgs/{org}/delete": {Verb: access.Manage, Scope: door.OfOrg}, "POST /node": {Verb: access.Node}, "GET /runs/{id}": {Verb: access.Read, Scope: door.OfRun},
		"POST /body": {Verb: access.Greet},
	})
	go func() { w.served <- w.door.Run(context.Background()) }()
	return w
}

func (w *world) close() {
	w.t.Helper()
	if err := errors.Join(w.door.Close(), <-w.served, w.engine.Close()); err != nil {
		w.t.Error(err)
	}
}

// ask asks, and returns the answer with its body.
func (w *world) ask(method, path, token string, change func(*http.Request)) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.door.URL()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if change != nil {
		change(r)
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

func (w *world) owner() string {
	w.t.Helper()
	path := filepath.Join(w.engine.State(), door.TokenFile)
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		w.t.Errorf("the token's file: %v %v", info.Mode(), err)
	}
	return strings.TrimSpace(string(data))
}

func (w *world) key(roles ...string) string {
	w.t.Helper()
	book, err := w.engine.Access(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var grants []access.Grant
	for _, text := range roles {
		g, err := access.ParseGrant(text)
		if err != nil {
			w.t.Fatal(err)
		}
		grants = append(grants, g)
	}
	_, token, err := book.Create(w.t.Context(), access.TheOwner("root"), "key of "+strings.Join(roles, "+"), grants, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func TestDoor(t *testing.T) {
	state := t.TempDir()
	w := open(t, state, door.Config{Hosts: []string{"polity.example.com"}})
	owner, viewer, operator, admin := w.owner(), w.key("shop=viewer"), w.key("shop=operator"), w.key("shop=admin")
	all := w.key("admin")

	t.Run("rules", func(t *testing.T) {
		for _, tt := range []struct {
			who, method, path string
			want              int
		}{
			{"", "GET", "/livez", 200}, {"", "GET", "/readyz", 200}, {"", "GET", "/page", 200}, {"", "GET", "/orgs/shop", 401}, {"", "GET", "/nothing", 401}, {"", "GET", "/metrics", 401},
			{"made-up", "GET", "/orgs/shop", 401}, {"polity_00_made-up", "GET", "/orgs/shop", 401}, {"a.b.c", "GET", "/orgs/shop", 401},
			{owner, "GET", "/orgs/shop", 200}, {owner, "POST", "/node", 200}, {owner, "GET", "/metrics", 200}, {owner, "GET", "/nothing", 404},
			{owner, "GET", "/forgotten", 403}, // the rule was forgotten: it is for nobody
			{owner, "PUT", "/orgs/shop", 404},
			{viewer, "GET", "/orgs/shop", 200}, {viewer, "GET", "/orgs/bank", 403}, {viewer, "POST", "/orgs/shop/start", 403}, {viewer, "GET", "/metrics", 403},
			{viewer, "GET", "/runs/0-none", 404}, {owner, "GET", "/runs/0-none", 200},
			{operator, "POST", "/orgs/shop/start", 200}, {operator, "POST", "/orgs/bank/start", 403}, {operator, "POST", "/orgs/shop/delete", 403},
			{admin, "POST", "/orgs/shop/delete", 200}, {admin, "POST", "/node", 403}, {admin, "POST", "/orgs/%73hop/delete", 200}, {admin, "POST", "/orgs/Shop/delete", 403},
			{admin, "POST", "/orgs/shop%2f..%2fbank/delete", 403}, {admin, "POST", "/orgs/*/delete", 403}, {admin, "POST", "/orgs/%3F/delete", 403},
			{all, "POST", "/node", 200},
		} {
			if resp, body := w.ask(tt.method, tt.path, tt.who, nil); resp.StatusCode != tt.want {
				t.Errorf("%.20s %s %s: %d %s, want %d", tt.who, tt.method, tt.path, resp.StatusCode, body, tt.want)
			}
		}
	})
	t.Run("host and origin", func(t *testing.T) {
		own, err := url.Parse(w.door.URL())
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			host, origin string
			want         int
		}{
			{own.Host, "", 200}, {"localhost:" + own.Port(), "", 200}, {"polity.example.com", "", 200}, {"polity.example.com:443", "https://polity.example.com:443", 200},
			{"evil.example.com:" + own.Port(), "", 403}, {"127.0.0.1", "", 403}, {"polity.example.com.evil.com", "", 403},
			{own.Host, "http://" + own.Host, 200}, {own.Host, "http://evil.example.com", 403}, {own.Host, "null", 403}, {own.Host, "http://127.0.0.1:1", 403},
		} {
			resp, body := w.ask("GET", "/page", "", func(r *http.Request) {
				if r.Host = tt.host; tt.origin != "" {
					r.Header.Set("Origin", tt.origin)
				}
			})
			if resp.StatusCode != tt.want {
				t.Errorf("host %s origin %s: %d %s, want %d", tt.host, tt.origin, resp.StatusCode, body, tt.want)
			}
		}
	})
	t.Run("limits", func(t *testing.T) {
		resp, _ := w.ask("POST", "/body", owner, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, door.BodyMax+1)), -1
		})
		if resp.StatusCode >= 500 {
			t.Errorf("a body that is too large: %d", resp.StatusCode)
		}
		resp, _ = w.ask("GET", "/page", "", func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("x", 80<<10)) })
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a header that is too large: %d", resp.StatusCode)
		}
	})
	var session *http.Cookie
	t.Run("session", func(t *testing.T) {
		link, err := w.door.Link()
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(link, w.door.URL())
		resp, _ := w.ask("GET", path, "", nil)
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/console/" || len(resp.Cookies()) != 1 {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		session = resp.Cookies()[0]
		if !session.HttpOnly || session.SameSite != http.SameSiteStrictMode || session.Path != "/" || session.Secure {
			t.Errorf("%+v", session)
		}
		if resp, _ := w.ask("GET", path, "", nil); resp.StatusCode != 401 || len(resp.Cookies()) != 0 {
			t.Errorf("the link a second time: %d", resp.StatusCode)
		}
		if resp, _ := w.ask("POST", "/node", "", func(r *http.Request) { r.AddCookie(session) }); resp.StatusCode != 200 {
			t.Errorf("with the session: %d", resp.StatusCode)
		}
		resp, _ = w.ask("POST", "/node", "", func(r *http.Request) { r.AddCookie(session); r.Header.Set("Origin", "http://evil.example.com") })
		if resp.StatusCode != 403 {
			t.Errorf("with the session, from another page: %d", resp.StatusCode)
		}
		for _, body := range []string{`{"token":"` + viewer + `"}`, `{"token":"wrong"}`, `{"tokn":"x"}`, ``} {
			resp, text := w.ask("POST", "/session", "", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(body)) })
			good := strings.Contains(body, viewer)
			if (resp.StatusCode == 200) != good || (len(resp.Cookies()) == 1) != good || resp.StatusCode >= 500 {
				t.Errorf("%.20s: %d %s", body, resp.StatusCode, text)
			}
		}
	})
	t.Run("audit", func(t *testing.T) {
		list, err := w.engine.Audited(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var denied, allowed int
		for _, r := range list {
			if r.Asked == "POST /orgs/{org}/delete" && r.Name == "key of shop=operator" && !r.Decision.Allowed && r.Object.Org == "shop" && r.Verb == access.Manage {
				denied++
			}
			if r.Asked == "POST /orgs/{org}/start" && r.Name == "key of shop=operator" && r.Decision.Allowed && r.Decision.Why == "shop=operator" {
				allowed++
			}
			if strings.HasPrefix(r.Asked, "GET") {
				t.Errorf("what only reads is kept: %+v", r)
			}
		}
		if denied != 1 || allowed != 1 {
			t.Errorf("%d denied, %d allowed in %+v", denied, allowed, list)
		}
	})
	t.Run("often", func(t *testing.T) {
		busy := w.key("shop=viewer")
		var resp *http.Response
		var body string
		for range 400 { // more than the burst, faster than they come back
			if resp, body = w.ask("GET", "/orgs/shop", busy, nil); resp.StatusCode != 200 {
				break
			}
		}
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "too often") {
			t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
		}
		if resp, _ := w.ask("GET", "/orgs/shop", viewer, nil); resp.StatusCode != 200 {
			t.Errorf("another key meanwhile: %d", resp.StatusCode)
		}
	})
	w.close()
	if _, err := os.Stat(filepath.Join(state, client.AddressFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the address of a door that is closed: %v", err)
	}

	again := open(t, state, door.Config{})
	defer again.close()
	if again.owner() != owner {
		t.Error("the owner has another token after a start")
	}
	resp, body := again.ask("GET", "/orgs/shop", "", func(r *http.Request) {
		session.Name = "polity_" + r.URL.Port() // the door is on another port now
		r.AddCookie(session)
	})
	if resp.StatusCode != 200 || body == "" {
		t.Errorf("the session after a start: %d %s", resp.StatusCode, body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestDoorWithTLS(t *testing.T) {
	w := open(t, t.TempDir(), door.Config{Listen: "127.0.0.1:0", TLS: door.TLSOwn, Hosts: []string{"polity.example.com"}})
	defer w.close()
	pem, err := os.ReadFile(w.door.Certificate())
	if err != nil || !strings.HasPrefix(w.door.URL(), "https://127.0.0.1:") {
		t.Fatal(w.door.URL(), err)
	}
	c, err := client.Dial(client.Server{URL: w.door.URL(), Token: w.key("viewer"), CA: pem})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Link(t.Context()); err != nil {
		t.Errorf("a client that knows the certificate: %v", err)
	}
	if c, err = client.Dial(client.Server{URL: w.door.URL(), Token: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Link(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a client that does not: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	old := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS12}}}
	if resp, err := old.Get(w.door.URL() + "/livez"); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.2 is spoken")
	}
	own, err := client.Open(w.engine.State()) // this machine's user needs no certificate
	if err != nil {
		t.Fatal(err)
	}
	if link, err := own.Link(t.Context()); err != nil || !strings.HasPrefix(link, "http://127.0.0.1:") {
		t.Errorf("%s %v", link, err)
	}
}

// A door that is about to close serves as before, and says that it is not ready.
func TestDoorDrains(t *testing.T) {
	w := open(t, t.TempDir(), door.Config{})
	defer w.close()
	c, err := client.Open(w.engine.State())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("before: %v", err)
	}
	w.door.Drain()
	if err := c.Ready(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("meanwhile: %v", err)
	}
	if link, err := c.Link(t.Context()); err != nil || link == "" {
		t.Errorf("what is asked meanwhile: %q %v", link, err)
	}
}

func TestDoorRefusesToOpen(t *testing.T) {
	e, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Sync: engine.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	for what, tt := range map[string]struct {
		cfg  door.Config
		want fault.Kind
	}{
		"plain text for others": {door.Config{Listen: "0.0.0.0:0"}, fault.Invalid},
		"no port":               {door.Config{Listen: "127.0.0.1"}, fault.Invalid},
		"half a certificate":    {door.Config{Cert: "cert.pem"}, fault.Invalid},
		"two certificates":      {door.Config{Cert: "cert.pem", Key: "key.pem", TLS: door.TLSOwn}, fault.Invalid},
		"no certificate there":  {door.Config{Cert: "no.pem", Key: "no.pem"}, fault.Invalid},
		"an address of others":  {door.Config{Listen: "192.0.2.1:1", TLS: door.TLSOff}, fault.Unavailable},
	} {
		if d, err := door.Open(t.Context(), e, tt.cfg); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				err = d.Close()
			}
			if err != nil && d != nil {
				t.Error(err)
			}
		}
	}
	path := filepath.Join(e.State(), door.TokenFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := door.Open(t.Context(), e, door.Config{}); !errors.Is(err, fault.Denied) {
		t.Errorf("a token that others may read: %v", err)
	}
}

// TestWhoAnswers wants GET /session to say who asks, with what they may do.
func TestWhoAnswers(t *testing.T) {
	w := open(t, t.TempDir(), door.Config{})
	defer w.close()
	_, body := w.ask("GET", "/session", w.key("shop=approver"), nil)
	var who access.Who
	if err := json.Unmarshal([]byte(body), &who); err != nil || who.Name != "key of shop=approver" || !who.Holds(access.Answer, "shop") || who.Holds(access.Answer, "bank") {
		t.Errorf("%s %v", body, err)
	}
	if resp, _ := w.ask("GET", "/session", "", nil); resp.StatusCode != 401 {
		t.Errorf("nobody: %d", resp.StatusCode)
	}
}
