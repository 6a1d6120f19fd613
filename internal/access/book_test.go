package access_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run/fault"
	"polity.run/internal/access"
)

// shelf is one in memory.
type shelf struct {
	all  map[string][]byte
	full error
}

func (s *shelf) Put(_ context.Context, key string, value []byte) error {
	if s.full == nil {
		s.all[key] = value
	}
	return s.full
}

func (s *shelf) Delete(_ context.Context, key string) error { delete(s.all, key); return s.full }

func (s *shelf) Each(_ context.Context, each func(string, []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(s.all)) {
		if err := each(k, s.all[k]); err != nil {
			return err
		}
	}
	return nil
}

func TestBook(t *testing.T) {
	ctx, now := t.Context(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	kept := &shelf{all: map[string][]byte{}}
	open := func() *access.Book {
		t.Helper()
		b, err := access.Open(ctx, kept, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	grants := []access.Grant{{Org: "shop", Role: access.Operator}}
	k, token, err := b.Create(ctx, access.TheOwner("root"), "ci", grants, time.Hour)
	if err != nil || k.By != "root" || !k.Until.Equal(now.Add(time.Hour)) {
		t.Fatalf("%+v %v", k, err)
	}
	secret := token[strings.LastIndex(token, "_")+1:]
	who, err := b.Key(ctx, token)
	if err != nil || who.Name != "ci" || !who.Holds(access.Operate, "shop") {
		t.Fatalf("%+v %v", who, err)
	}
	browser, until, err := b.Begin(ctx, who)
	if err != nil || !until.Equal(k.Until) { // a session does not outlive its key
		t.Fatalf("%v %v", until, err)
	}
	for name, value := range kept.all {
		if strings.Contains(string(value)+name, secret) || strings.Contains(string(value)+name, browser) {
			t.Errorf("a secret stands in %s", name)
		}
	}
	b = open() // as after a crash
	if again, err := b.Key(ctx, token); err != nil || again.ID != who.ID {
		t.Errorf("after a start: %+v %v", again, err)
	}
	if again, err := b.Session(browser); err != nil || again.Name != "ci" || !again.Until.Equal(until) {
		t.Errorf("a session after a start: %+v %v", again, err)
	}
	for what, wrong := range map[string]string{
		"another secret": token[:len(token)-1] + "A", "no secret": access.KeyPrefix + k.ID, "another key": strings.Replace(token, k.ID, "0000000000000000", 1), "nothing": "",
	} {
		if wrong == token {
			wrong = token[:len(token)-1] + "B"
		}
		if _, err := b.Key(ctx, wrong); !errors.Is(err, fault.Unauthenticated) || strings.Contains(err.Error(), k.ID) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := b.Revoke(ctx, k.ID[:6]); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Key(ctx, token); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a key that is revoked: %v", err)
	}
	if _, err := b.Session(browser); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a session of a key that is revoked: %v", err)
	}
	if list := open().Keys(); len(list) != 1 || list[0].Revoked.IsZero() || !list[0].Used.Equal(now) {
		t.Errorf("%+v", list)
	}
}

func TestBookEnds(t *testing.T) {
	ctx, now := t.Context(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	kept := &shelf{all: map[string][]byte{}}
	b, err := access.Open(ctx, kept, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	owner := access.TheOwner("root")
	_, token, err := b.Create(ctx, owner, "short", []access.Grant{{Org: "*", Role: access.Viewer}}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	session, _, err := b.Begin(ctx, owner)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if _, err := b.Key(ctx, token); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a key that has run out: %v", err)
	}
	if _, err := b.Session(session); err != nil {
		t.Error(err)
	}
	now = now.Add(access.SessionLife)
	if _, err := b.Session(session); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a session that has ended: %v", err)
	}
	if session, _, err = b.Begin(ctx, owner); err != nil || len(kept.all) != 2 {
		t.Errorf("%d entries, with one key and one session; %v", len(kept.all), err)
	}
	if err := errors.Join(b.End(ctx, session), b.End(ctx, session)); err != nil {
		t.Error(err)
	}
	if _, err := b.Session(session); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a session that was ended: %v", err)
	}
	kept.full = fault.Full.New("no room")
	if _, _, err := b.Create(ctx, owner, "late", []access.Grant{{Org: "*", Role: access.Viewer}}, 0); !errors.Is(err, fault.Full) {
		t.Errorf("a key that cannot be kept: %v", err)
	}
	if len(b.Keys()) != 1 {
		t.Error("a key that is not kept is good")
	}
	kept.full = nil
	for what, err := range map[string]error{
		"no name": create(ctx, b, "", []access.Grant{{Org: "*", Role: access.Viewer}}, 0), "two lines": create(ctx, b, "a\nb", []access.Grant{{Org: "*", Role: access.Viewer}}, 0),
		"no role": create(ctx, b, "a", nil, 0), "a wrong role": create(ctx, b, "a", []access.Grant{{Org: "*", Role: "root"}}, 0),
		"the past": create(ctx, b, "a", []access.Grant{{Org: "*", Role: access.Viewer}}, -1),
	} {
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	kept.all["key.x"] = []byte("{")
	if _, err := access.Open(ctx, kept, nil); !errors.Is(err, fault.Damaged) {
		t.Errorf("a key that cannot be read: %v", err)
	}
}

func create(ctx context.Context, b *access.Book, name string, grants []access.Grant, life time.Duration) error {
	_, _, err := b.Create(ctx, access.TheOwner("root"), name, grants, life)
	return err
}
