package remote_test

import (
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"polity.run/remote"
)

func signer(t testing.TB) (remote.Credentials, string) {
	t.Helper()
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return remote.Credentials{Seed: string(seed)}, key
}

// TestSigned changes each thing that a signature is about, and some that it is not.
func TestSigned(t *testing.T) {
	c, key := signer(t)
	now := time.Date(2026, 12, 24, 8, 0, 0, 0, time.UTC)
	header := map[string][]string{"ce-id": {"1"}, "Nats-Expected": {"x"}}
	h, err := c.Sign("msg.a.b.inform", header, []byte("data"), now)
	if err != nil {
		t.Fatal(err)
	}
	if len(header) != 2 {
		t.Error("the header that was given is changed")
	}
	for name, change := range map[string]struct {
		ok     bool
		change func(subject, data *string, at *time.Time)
	}{
		"nothing":          {true, func(*string, *string, *time.Time) {}},
		"another header":   {true, func(*string, *string, *time.Time) { h["Other"] = []string{"y"} }},
		"late, within":     {true, func(_, _ *string, at *time.Time) { *at = now.Add(remote.SignedWithin) }},
		"late":             {false, func(_, _ *string, at *time.Time) { *at = now.Add(remote.SignedWithin + 1) }},
		"early":            {false, func(_, _ *string, at *time.Time) { *at = now.Add(-remote.SignedWithin - 1) }},
		"the subject":      {false, func(s, _ *string, _ *time.Time) { *s = "msg.a.c.inform" }},
		"the data":         {false, func(_, d *string, _ *time.Time) { *d = "date" }},
		"a header":         {false, func(*string, *string, *time.Time) { h["ce-id"] = []string{"2"} }},
		"a header more":    {false, func(*string, *string, *time.Time) { h["ce-live"] = []string{"true"} }},
		"a value more":     {false, func(*string, *string, *time.Time) { h["ce-id"] = []string{"1", "1"} }},
		"the time":         {false, func(*string, *string, *time.Time) { h["polity-time"] = []string{"2026-12-24T08:00:01Z"} }},
		"no signature":     {false, func(*string, *string, *time.Time) { delete(h, "polity-signature") }},
		"two keys":         {false, func(*string, *string, *time.Time) { h["polity-key"] = []string{key, key} }},
		"another's key":    {false, func(*string, *string, *time.Time) { h["polity-key"] = []string{"UAAAA"} }},
		"a torn signature": {false, func(*string, *string, *time.Time) { h["polity-signature"] = []string{"x"} }},
	} {
		if h, err = c.Sign("msg.a.b.inform", header, []byte("data"), now); err != nil {
			t.Fatal(err)
		}
		subject, data, at := "msg.a.b.inform", "data", now
		change.change(&subject, &data, &at)
		got, signature, err := remote.Signed(subject, h, []byte(data), at)
		if (err == nil) != change.ok || err == nil && (got != key || signature == "") {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// FuzzSigned wants nothing to be signed that was not.
func FuzzSigned(f *testing.F) {
	c, key := signer(f)
	now := time.Date(2026, 12, 24, 8, 0, 0, 0, time.UTC)
	h, err := c.Sign("s", nil, []byte("d"), now)
	if err != nil {
		f.Fatal(err)
	}
	at, signature := h["polity-time"][0], h["polity-signature"][0]
	f.Add("s", key, at, signature, []byte("d"))
	f.Fuzz(func(t *testing.T, subject, by, when, sig string, data []byte) {
		_, _, err := remote.Signed(subject, map[string][]string{"polity-key": {by}, "polity-time": {when}, "polity-signature": {sig}}, data, now)
		if err == nil && (subject != "s" || by != key || when != at || string(data) != "d") {
			t.Errorf("%q by %q at %q is signed", subject, by, when)
		}
	})
}
