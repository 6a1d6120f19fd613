package rest_test

import (
	"encoding/json"
	"errors"
	"testing"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/message"
)

// TestScopedKeys asks, as the command line does, with keys that have a role in one organization.
func TestScopedKeys(t *testing.T) {
	w := trips(t)
	trip := get[client.Opened](t, w, "POST", "/v1/runs", `{"org": "trip", "input": {"trip": "Rome", "euros": 1}}`, 201).ID
	echo := w.start(client.Request{Agent: "echo", Input: json.RawMessage(`1`)})
	as := func(grant string) *client.Client {
		c, err := client.Dial(client.Server{URL: w.at.URL, Token: w.key(t, grant)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	viewer, operator, foreign := as("trip=viewer"), as("trip=operator"), as("go=operator")
	letter := func(to string) message.Do {
		e := message.Envelope{ID: "to-" + to, From: message.Address{Kind: message.Outside, Name: "ann"}, Type: message.Task, Data: json.RawMessage(`{"trip": "Oslo", "euros": 2}`)}
		address, err := message.ParseAddress(to)
		if err != nil {
			t.Fatal(err)
		}
		e.To = []message.Address{address}
		e = e.Or()
		return message.Do{Send: &e}
	}
	for name, c := range map[string]struct {
		who  *client.Client
		to   string
		want error
	}{
		"an agent of theirs":        {operator, "trip", nil},
		"only to look at":           {viewer, "trip", fault.Denied},
		"another's":                 {foreign, "trip", fault.NotFound},
		"one that there is not":     {operator, "nobody", fault.NotFound},
		"everybody":                 {operator, "all", fault.Denied},
		"a role, which others have": {operator, "role:trip", fault.Denied},
	} {
		done, err := c.who.Messages(t.Context(), letter(c.to))
		if !errors.Is(err, c.want) || c.want == nil && len(done.Receipts) != 1 {
			t.Errorf("a message to %s (%s): %+v %v, want %v", c.to, name, done, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		who            *client.Client
		runs, messages int
		other          polity.RunID
	}{"trip": {viewer, 2, 1, echo}, "go": {foreign, 1, 0, trip}} {
		list, err := c.who.List(t.Context())
		if err != nil || len(list) != c.runs {
			t.Errorf("%s: %d runs, want %d: %v", name, len(list), c.runs, err)
		}
		for _, r := range list {
			if r.ID == c.other {
				t.Errorf("%s is told of run %s", name, r.ID)
			}
		}
		found, err := c.who.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns})
		if err != nil || len(found.Runs) != c.runs {
			t.Errorf("%s: %d runs are found, want %d: %v", name, len(found.Runs), c.runs, err)
		}
		if _, err := c.who.Lookup(t.Context(), polity.Lookup{Of: polity.LookupCosts}); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: costs of all organizations: %v", name, err)
		}
		if _, err := c.who.Find(t.Context(), c.other); !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Denied) {
			t.Errorf("%s: a run of others: %v", name, err)
		}
		mail, err := c.who.Messages(t.Context(), message.Do{List: &message.Filter{}})
		if err != nil || len(mail.Entries) != c.messages {
			t.Errorf("%s: %d messages, want %d: %v", name, len(mail.Entries), c.messages, err)
		}
		if boxes, err := c.who.Messages(t.Context(), message.Do{Mailboxes: true}); err != nil || len(boxes.Boxes) > c.messages {
			t.Errorf("%s: mailboxes: %+v %v", name, boxes, err)
		}
	}
	if a := w.ask(t, w.key(t, "trip=operator"), "POST", "/v1/messages/ask", `{"instances": {"agent": "trip", "add": ["x"]}}`); a.status != 400 {
		t.Errorf("a change by the way of reading: %d %s", a.status, a.body)
	}
}
