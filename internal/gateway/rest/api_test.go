package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/internal/access"
	"polity.run/manifest"
	"polity.run/tool"
)

// trips is a node with the example of a trip, in which a person lets a payment go.
func trips(t *testing.T) *world {
	t.Helper()
	tools, err := engine.Tools()
	if err != nil {
		t.Fatal(err)
	}
	env := manifest.Env{Specs: engine.Specs, Tools: map[string]tool.Spec{}}
	for _, x := range tools {
		env.Tools[x.Spec().Name] = x.Spec()
	}
	m, err := manifest.Load("../../../examples/trip", env)
	if err != nil {
		t.Fatal(err)
	}
	w := open(t, echo())
	if _, err := w.client.Install(t.Context(), client.Install{Release: &m.Release, Files: m.Blobs, Enlist: true}); err != nil {
		t.Fatal(err)
	}
	return w
}

// asked is an answer to a request.
type asked struct {
	status int
	header http.Header
	body   []byte
}

func (w *world) ask(t *testing.T, token, method, path, body string, header ...string) asked {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.at.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return asked{resp.StatusCode, resp.Header, data}
}

// get asks for something that has to be answered with a status, and reads the answer.
func get[T any](t *testing.T, w *world, method, path, body string, status int, header ...string) T {
	t.Helper()
	a := w.ask(t, w.at.Token, method, path, body, header...)
	var v T
	if a.status != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%s %s: %s: %v", method, path, a.body, err)
	}
	return v
}

func path(id polity.RunID, rest string) string {
	return "/v1/runs/" + url.PathEscape(string(id)) + rest
}

// event is one of a stream of server-sent events.
type event struct{ id, name, data string }

// events reads a stream until f has enough.
func (w *world) events(t *testing.T, path, last string, f func(event) bool) (status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.at.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.at.Token)
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e event
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.data != "" && f(e) {
				return resp.StatusCode
			}
			e = event{}
		}
	}
	return resp.StatusCode
}

func TestARunByHTTP(t *testing.T) {
	w := trips(t)
	const order = `{"org": "trip", "input": {"trip": "Rome", "euros": 99}}`
	begun := get[client.Opened](t, w, "POST", "/v1/runs", order, 201, "Idempotency-Key", "one")
	again := get[client.Opened](t, w, "POST", "/v1/runs?wait=1ms", order, 202, "Idempotency-Key", "one")
	if begun.ID != again.ID {
		t.Errorf("the same key is %s, and then %s", begun.ID, again.ID)
	}
	if a := w.ask(t, w.at.Token, "POST", "/v1/runs", `{"org": "trip"}`, "Idempotency-Key", "one"); a.status != 409 {
		t.Errorf("the key with another request: %d %s", a.status, a.body)
	}

	var q polity.Question
	for deadline := time.Now().Add(wait); q.Key == ""; {
		for _, one := range get[client.Page[polity.Question]](t, w, "GET", "/v1/questions?agent=boss", "", 200).Items {
			q = one
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody is asked")
		}
	}
	steps := get[client.Page[polity.Step]](t, w, "GET", path(begun.ID, "/steps"), "", 200).Items
	var kinds []string
	for _, s := range steps {
		kinds = append(kinds, s.Command+" "+string(s.Kind)+" "+s.Status)
	}
	slices.Sort(kinds)
	want := []string{" run running", "approve.pay question waiting", "room ask done", "seat ask done"}
	got := slices.DeleteFunc(kinds, func(s string) bool { return strings.HasPrefix(s, "approve.pay.late") })
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	answer := "/v1/questions/" + url.PathEscape(q.Key) + "/answer"
	for body, status := range map[string]int{
		`{}`: 400, `{"answer": 1, "decision": {"approve": true}}`: 400, `{"decision": {"approve": true}}`: 400, `{"decision": {"approve": true, "hash": "00"}}`: 409,
	} {
		if a := w.ask(t, w.at.Token, "POST", answer, body); a.status != status {
			t.Errorf("%s: %d %s, want %d", body, a.status, a.body, status)
		}
	}
	get[client.Done](t, w, "POST", answer, `{"decision": {"approve": true, "hash": "`+q.Approval.Hash+`"}}`, 200)
	ended := get[client.Opened](t, w, "POST", "/v1/runs?wait=20s", order, 200, "Idempotency-Key", "one")
	if ended.Outcome == nil || ended.Status != polity.StatusCompleted {
		t.Fatalf("it ended with %+v", ended)
	}

	// A list with the position of an answer tells of it.
	a := w.ask(t, w.at.Token, "GET", "/v1/runs?q=org:trip&at="+w.ask(t, w.at.Token, "GET", "/v1/view", "").header.Get(client.PositionHeader), "")
	var runs client.Page[polity.RunRow]
	if err := json.Unmarshal(a.body, &runs); err != nil || len(runs.Items) != 1 || runs.Items[0].Status != polity.StatusCompleted || runs.Items[0].Org != "trip" {
		t.Errorf("runs: %d %s", a.status, a.body)
	}
	whole := get[client.Run](t, w, "GET", path(begun.ID, ""), "", 200)
	if whole.Outcome == nil || whole.Bounds.Turns != 40 || whole.Org != "trip" || !bytes.Contains(whole.Input, []byte("Rome")) {
		t.Errorf("the run: %+v", whole)
	}
	if retry := w.ask(t, w.at.Token, "POST", path(begun.ID, "/retry"), ""); retry.status != 409 {
		t.Errorf("retry of what is completed: %d %s", retry.status, retry.body)
	}
	fork := get[client.Opened](t, w, "POST", path(begun.ID, "/fork"), `{"event": 2}`, 201)
	get[client.Done](t, w, "POST", path(fork.ID, "/cancel"), `{"reason": "enough"}`, 200)
	org := get[client.OrgDetail](t, w, "GET", "/v1/orgs/trip", "", 200)
	if len(org.Members) != 7 || len(org.Topology.Edges) < 5 || !slices.Contains(org.Topology.Edges, client.Edge{From: "trip", To: "bank", Does: "asks"}) {
		t.Errorf("the organization: %+v", org)
	}
	page, err1 := w.client.Runs(t.Context(), "status:completed", "", 1)
	one, err2 := w.client.Run(t.Context(), begun.ID)
	line, err3 := w.client.Steps(t.Context(), begun.ID, 1)
	theirs, err4 := w.client.Organization(t.Context(), "trip")
	if err := errors.Join(err1, err2, err3, err4); err != nil || len(page.Items) != 1 || one.Org != "trip" || len(line.Items) < 4 || line.Items[0].Number != 2 || theirs.Agents != 7 {
		t.Errorf("by the client: %v %+v %+v %+v %+v", err, page, one, line, theirs)
	}
	t.Run("streams", func(t *testing.T) { streams(t, w, begun.ID) })
	t.Run("one organization", func(t *testing.T) { oneOrg(t, w, begun.ID) })
}

// streams wants a stream to tell what the list tells, from wherever it goes on, without gap or repetition.
func streams(t *testing.T, w *world, id polity.RunID) {
	list := get[client.Page[client.Told]](t, w, "GET", path(id, "/events?limit=10000"), "", 200).Items
	var paged []client.Told
	for after := ""; ; {
		page := get[client.Page[client.Told]](t, w, "GET", path(id, "/events?limit=2&after="+after), "", 200)
		paged = append(paged, page.Items...)
		if after = page.Next; after == "" {
			break
		}
	}
	if d := cmp.Diff(canonical(t, list), canonical(t, paged)); d != "" {
		t.Errorf("pages (-whole +pages):\n%s", d)
	}
	var changes []string
	first := list[0].Commit - 1
	for i := range list {
		last := list[i].ID
		var ids []string
		ended := false
		w.events(t, path(id, "/events"), last, func(e event) bool {
			if ended = e.name == "end"; !ended {
				ids = append(ids, e.id)
			}
			return ended
		})
		var want []string
		for _, e := range list[i+1:] {
			want = append(want, e.ID)
		}
		if len(want) == 0 {
			ended = true // and was answered with nothing
		}
		if !slices.Equal(ids, want) || !ended {
			t.Errorf("after %s: %v, want %v and an end", last, ids, want)
		}
	}
	if status := w.events(t, path(id, "/events"), list[len(list)-1].ID, func(event) bool { return true }); status != http.StatusNoContent {
		t.Errorf("a client that comes back after the end: %d", status)
	}
	all := func(last string) (ids []string) {
		w.events(t, "/v1/events?q=run:"+string(id), last, func(e event) bool {
			ids = append(ids, e.id)
			return strings.Contains(e.data, `"kind":"finished"`)
		})
		return ids
	}
	changes = all(itoa(first))
	if len(changes) != len(list) {
		t.Errorf("%d changes, and %d events", len(changes), len(list))
	}
	for i := range changes[:len(changes)-1] {
		if got := all(changes[i]); !slices.Equal(got, changes[i+1:]) {
			t.Errorf("after %s: %v, want %v", changes[i], got, changes[i+1:])
		}
	}
}

// oneOrg wants a key of another organization to learn nothing of this one.
func oneOrg(t *testing.T, w *world, id polity.RunID) {
	w.start(client.Request{Agent: "echo", Input: json.RawMessage(`1`)})
	other := w.key(t, "go=viewer")
	mine := w.key(t, "trip=viewer")
	for _, p := range []string{"/v1/runs", "/v1/effects", "/v1/texts?q=Rome", "/v1/orgs", "/v1/agents", "/v1/skills", "/v1/questions", "/v1/messages", "/v1/summaries"} {
		if a := w.ask(t, other, "GET", p, ""); a.status != 200 || bytes.Contains(a.body, []byte("trip")) || bytes.Contains(a.body, []byte("Rome")) {
			t.Errorf("%s: %d %s", p, a.status, a.body)
		}
		if a := w.ask(t, mine, "GET", p, ""); a.status != 200 || bytes.Contains(a.body, []byte(`"go"`)) {
			t.Errorf("%s: %d %s", p, a.status, a.body)
		}
	}
	for p, method := range map[string]string{path(id, ""): "GET", path(id, "/steps"): "GET", path(id, "/events"): "GET", "/v1/orgs/trip": "GET", path(id, "/cancel"): "POST", path(id, "/retry"): "POST"} {
		if a := w.ask(t, other, method, p, ""); a.status != 404 && a.status != 403 {
			t.Errorf("%s %s: %d %s", method, p, a.status, a.body)
		}
	}
}

// key makes an API key with a grant.
func (w *world) key(t *testing.T, grant string) string {
	t.Helper()
	book, err := w.engine.Access(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g, err := access.ParseGrant(grant)
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := book.Create(t.Context(), access.TheOwner("test"), grant, []access.Grant{g}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
