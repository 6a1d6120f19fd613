package rest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/internal/gateway/hook"
)

// receiver is a service that is told of what happens.
type receiver struct {
	t      *testing.T
	secret string

	mu   sync.Mutex
	fail int // so many messages are refused
	got  []client.Hooked
	ids  []string
	came chan struct{}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(q.Body)
	if err != nil {
		r.t.Error(err)
	}
	id, err := hook.Verify(r.secret, q.Header, body, time.Now(), hook.WindowDefault)
	if err != nil {
		r.t.Errorf("a message that is not signed: %v", err)
	}
	if r.fail > 0 {
		r.fail--
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var m client.Hooked
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Errorf("%s: %v", body, err)
	}
	r.got, r.ids = append(r.got, m), append(r.ids, id)
	w.WriteHeader(http.StatusNoContent)
	r.came <- struct{}{}
}

func (r *receiver) wait() {
	r.t.Helper()
	select {
	case <-r.came:
	case <-time.After(wait):
		r.t.Fatal("no message came")
	}
}

func TestWebhooks(t *testing.T) {
	w := open(t, echo())
	w.door.Hurry(time.Millisecond, time.Millisecond)
	r := &receiver{t: t, secret: hook.NewSecret(), fail: 2, came: make(chan struct{}, 100)}
	service := httptest.NewServer(r)
	defer service.Close()
	made := get[client.Webhook](t, w, "POST", "/v1/webhooks", `{"name": "ends", "url": "`+service.URL+`", "private": true, "q": "kind:finished", "secret": "`+r.secret+`"}`, 201)
	if made.Secret != r.secret {
		t.Errorf("the secret is %q", made.Secret)
	}
	first := w.start(client.Request{Agent: "echo", Input: json.RawMessage(`1`)})
	r.wait()
	r.mu.Lock()
	if r.got[0].Data.Run != first || r.got[0].Type != "run.finished" || r.got[0].Data.Status != "completed" {
		t.Errorf("it was told of %+v", r.got[0])
	}
	r.fail = 3 // which is more than it is tried
	r.mu.Unlock()
	w.start(client.Request{Agent: "echo", Input: json.RawMessage(`2`)})
	third := w.start(client.Request{Agent: "echo", Input: json.RawMessage(`3`)})
	r.wait()
	deliveries := func() []client.Delivery {
		return get[client.Page[client.Delivery]](t, w, "GET", "/v1/webhooks/ends/deliveries", "", 200).Items
	}
	var list []client.Delivery
	for deadline := time.Now().Add(wait); len(list) < 3; {
		if list = deliveries(); time.Now().After(deadline) {
			t.Fatalf("deliveries: %+v", list)
		}
	}
	r.mu.Lock()
	if r.got[1].Data.Run != third || list[1].Status != hook.Dead || list[1].Attempts != 3 || list[1].Answer != 500 || list[2].Attempts != 3 || list[0].Status != hook.Delivered {
		t.Errorf("deliveries: %+v", list)
	}
	r.mu.Unlock()
	dead := list[1]
	if n := get[client.Redelivering](t, w, "POST", "/v1/webhooks/ends/redeliver", `{}`, 200).Queued; n != 1 {
		t.Errorf("%d messages are sent again, want the dead one", n)
	}
	r.wait()
	r.mu.Lock()
	if again := r.ids[len(r.ids)-1]; again != dead.ID || r.got[len(r.got)-1].Data.ID != dead.Event {
		t.Errorf("message %s came again, want %s", again, dead.ID)
	}
	r.mu.Unlock()
	for deadline := time.Now().Add(wait); ; {
		if list = deliveries(); list[1].ID == dead.ID && list[1].Status == hook.Delivered && list[1].Attempts == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("deliveries after it was sent again: %+v", list)
		}
	}
	if list := get[client.Page[client.Delivery]](t, w, "GET", "/v1/webhooks/ends/deliveries?status=dead", "", 200).Items; len(list) != 0 {
		t.Errorf("dead: %+v", list)
	}
	if a := w.ask(t, w.at.Token, "POST", "/v1/webhooks/ends/redeliver", `{"ids": ["msg_ends_1.99"]}`); a.status != 404 {
		t.Errorf("a message that there is not: %d %s", a.status, a.body)
	}
	get[client.Redelivering](t, w, "POST", "/v1/webhooks/ends/redeliver", `{"ids": ["`+dead.ID+`"]}`, 200) // one that arrived, too
	r.wait()
	if list := get[client.Page[client.Webhook]](t, w, "GET", "/v1/webhooks", "", 200).Items; len(list) != 1 || list[0].Secret != "" {
		t.Errorf("webhooks: %+v", list)
	}
	get[client.Done](t, w, "DELETE", "/v1/webhooks/ends", "", 200)
	if a := w.ask(t, w.at.Token, "GET", "/v1/webhooks/ends/deliveries", ""); a.status != 404 {
		t.Errorf("after it was removed: %d %s", a.status, a.body)
	}
}

// What happened while nobody served is told by the next process.
func TestWebhooksGoOn(t *testing.T) {
	state := t.TempDir()
	r := &receiver{t: t, secret: hook.NewSecret(), came: make(chan struct{}, 100)}
	service := httptest.NewServer(r)
	defer service.Close()
	w := openWith(t, engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{echo()}})
	get[client.Webhook](t, w, "POST", "/v1/webhooks", `{"name": "all", "url": "`+service.URL+`", "private": true, "secret": "`+r.secret+`", "q": "kind:opened"}`, 201)
	w.start(client.Request{Agent: "echo", Input: json.RawMessage(`1`)})
	r.wait()
	w.close()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{echo()}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Start(t.Context(), engine.Request{Agent: "echo", Input: json.RawMessage(`2`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	openWith(t, engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{echo()}})
	for told := false; !told; {
		r.wait()
		r.mu.Lock()
		told = r.got[len(r.got)-1].Data.Run == id
		r.mu.Unlock()
	}
}

// A hook of a manifest is there as long as its organization is installed, and opens runs as it says.
func TestDeclaredHooks(t *testing.T) {
	w := open(t, echo())
	secret := hook.NewSecret()
	t.Setenv("FORGE_SECRET", secret)
	release := func(hooks ...agent.Hook) string {
		doc, err := json.Marshal(client.Apply{Install: client.Install{Release: &agent.Release{
			Name: "forge", Main: "smith", Hooks: hooks,
			Agents: []agent.Definition{{Name: "smith", Kind: agent.KindGo, Go: &agent.Go{Use: "echo", Version: "1"}, Skills: []polity.Skill{{Name: "smith"}}}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(doc)
	}
	pushed := agent.Hook{
		Name: "pushed", SecretEnv: "FORGE_SECRET", Where: "data.ref == \"main\"", Fields: map[string]string{"ref": "data.ref", "by": "data.by.name", "gone": "data.gone"},
		Input: json.RawMessage(`{"from": "forge", "ref": "not this"}`),
	}
	get[client.Applied](t, w, "POST", "/v1/orgs/apply", release(pushed, agent.Hook{Name: "bare", SecretEnv: "FORGE_SECRET"}, agent.Hook{Name: "unset", SecretEnv: "FORGE_UNSET"}), 200)
	send := func(name, id, body string) asked {
		t.Helper()
		now := time.Now()
		signature, err := hook.Sign(secret, id, now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return w.ask(t, "", "POST", "/v1/hooks/"+name+"/in", body, hook.IDHeader, id, hook.TimeHeader, strconv.FormatInt(now.Unix(), 10), hook.SignatureHeader, signature)
	}
	ran := func(a asked) (polity.RunID, string) {
		t.Helper()
		var told client.Accepted
		if a.status != 202 || json.Unmarshal(a.body, &told) != nil || told.Run == "" {
			t.Fatalf("a message: %d %s", a.status, a.body)
		}
		o, err := w.client.Wait(t.Context(), told.Run)
		if err != nil {
			t.Fatal(err)
		}
		return told.Run, string(o.Output)
	}
	first, got := ran(send("forge.pushed", "m1", `{"ref": "main", "by": {"name": "ann"}, "more": 1}`))
	if got != `{"by":"ann","from":"forge","ref":"main"}` {
		t.Errorf("its input: %s", got)
	}
	if again, _ := ran(send("forge.pushed", "m1", `{"ref": "main", "by": {"name": "ann"}, "more": 1}`)); again != first {
		t.Errorf("the same message again is run %s, want %s", again, first)
	}
	if _, got := ran(send("forge.bare", "m1", `[1]`)); got != `[1]` {
		t.Errorf("a body as it is: %s", got)
	}
	if a := send("forge.pushed", "m2", `{"ref": "other"}`); a.status != 202 || string(a.body) != "{}\n" && string(a.body) != "{}" {
		t.Errorf("a message that is not wanted: %d %s", a.status, a.body)
	}
	for _, name := range []string{"forge.unset", "forge.pushd", "forje.pushed", "pushed"} {
		if a := send(name, "m3", `{"ref": "main"}`); a.status != 401 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if list := get[client.Page[client.Hook]](t, w, "GET", "/v1/hooks", "", 200).Items; len(list) != 3 || list[0].Name != "forge.pushed" || list[0].SecretEnv != "FORGE_SECRET" || list[0].Secret != "" {
		t.Errorf("hooks: %+v", list)
	}
	if a := w.ask(t, w.key(t, "go=admin"), "GET", "/v1/hooks", ""); a.status != 200 || strings.Contains(string(a.body), "forge") {
		t.Errorf("another organization's: %d %s", a.status, a.body)
	}
	bad := pushed
	bad.Where = "data.ref =="
	if a := w.ask(t, w.at.Token, "POST", "/v1/orgs/apply", release(bad)); a.status != 400 {
		t.Errorf("a condition that is none: %d %s", a.status, a.body)
	}
	get[client.Applied](t, w, "POST", "/v1/orgs/apply", release(), 200)
	if a := send("forge.pushed", "m4", `{"ref": "main"}`); a.status != 401 {
		t.Errorf("after it was taken out: %d %s", a.status, a.body)
	}
}

func TestHooks(t *testing.T) {
	w := open(t, echo())
	made := get[client.Hook](t, w, "POST", "/v1/hooks", `{"name": "forge", "org": "go", "agent": "echo"}`, 201)
	told := get[client.Hook](t, w, "POST", "/v1/hooks", `{"name": "news", "topic": "forge.pushed"}`, 201)
	send := func(name, secret, id string, at time.Time, body string) asked {
		t.Helper()
		signature, err := hook.Sign(secret, id, at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return w.ask(t, "", "POST", "/v1/hooks/"+name+"/in", body,
			hook.IDHeader, id, hook.TimeHeader, strconv.FormatInt(at.Unix(), 10), hook.SignatureHeader, "v1,AAAA "+signature)
	}
	now := time.Now()
	var first, again client.Accepted
	if a := send("forge", made.Secret, "m1", now, `{"push": 1}`); a.status != 202 || json.Unmarshal(a.body, &first) != nil || first.Run == "" {
		t.Fatalf("a message: %d %s", a.status, a.body)
	}
	if a := send("forge", made.Secret, "m1", now, `{"push": 1}`); a.status != 202 || json.Unmarshal(a.body, &again) != nil || again.Run != first.Run {
		t.Errorf("the same message again: %d %s, want run %s", a.status, a.body, first.Run)
	}
	o, err := w.client.Wait(t.Context(), first.Run)
	if err != nil || o.Status != polity.StatusCompleted || string(o.Output) != `{"push":1}` {
		t.Errorf("its run: %+v %v", o, err)
	}
	if a := send("news", told.Secret, "n1", now, `{"push": 2}`); a.status != 202 {
		t.Errorf("an event: %d %s", a.status, a.body)
	}
	if list := get[client.Page[polity.Published]](t, w, "GET", "/v1/topics/forge.pushed/events", "", 200).Items; len(list) != 1 || string(list[0].Data) != `{"push":2}` && string(list[0].Data) != `{"push": 2}` {
		t.Errorf("events: %+v", list)
	}
	for name, a := range map[string]asked{
		"another secret":     send("forge", hook.NewSecret(), "m2", now, `1`),
		"no such hook":       send("forje", made.Secret, "m2", now, `1`),
		"an old message":     send("forge", made.Secret, "m2", now.Add(-time.Hour), `1`),
		"one of tomorrow":    send("forge", made.Secret, "m2", now.Add(time.Hour), `1`),
		"no signature":       w.ask(t, "", "POST", "/v1/hooks/forge/in", `1`),
		"a token is no help": w.ask(t, w.at.Token, "POST", "/v1/hooks/forge/in", `1`),
	} {
		if a.status != 401 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := send("forge", made.Secret, "m3", now, `{`); a.status != 400 {
		t.Errorf("no JSON: %d %s", a.status, a.body)
	}
	get[client.Done](t, w, "DELETE", "/v1/hooks/forge", "", 200)
	if a := send("forge", made.Secret, "m4", now, `1`); a.status != 401 {
		t.Errorf("after it was removed: %d %s", a.status, a.body)
	}
}
