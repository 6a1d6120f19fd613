package bus_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/bus/bustest"
)

func TestMain(m *testing.M) {
	bustest.Main()
	os.Exit(m.Run())
}

func at(s *bustest.Server) bus.Server {
	return bus.Server{URL: s.URL(), User: bustest.User, Password: bustest.Password}
}

func states(points []bus.Point) map[string]string {
	m := map[string]string{}
	for _, p := range points {
		m[p.What] = p.State
	}
	return m
}

// TestServerElsewhere sets up, checks, uses, kills and starts again a server that this program does not run.
func TestServerElsewhere(t *testing.T) {
	s := bustest.Start(t, `{user: weak, password: secret, permissions: {publish: ["log.>", "$JS.API.>", "$SYS.REQ.USER.INFO"], subscribe: ["_INBOX.>"]}}`, "")
	ctx := t.Context()
	where := at(s)
	buckets := []string{"things"}

	points, err := bus.Examine(ctx, where, buckets, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{"permissions": "ok", "stream LOG_p0": "wanted", "stream BUCKET_things": "wanted", "links": "ok", "sync": "warning"} {
		if got := states(points)[what]; got != want {
			t.Errorf("before: %s is %s, want %s", what, got, want)
		}
	}
	for i, want := range []string{"wanted", "made", "ok"} {
		points, err := bus.Setup(ctx, where, buckets, i == 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			if p.State != want {
				t.Errorf("setup %d: %+v, want %s", i, p, want)
			}
		}
	}
	weak := where
	weak.User = "weak"
	s.Conn(bustest.User)
	system := where
	system.User = bustest.System
	points, err = bus.Examine(ctx, weak, buckets, &system)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		switch {
		case p.What == "permissions" && (p.State != "missing" || !strings.Contains(p.Text, "publish bucket.>") || strings.Contains(p.Text, "publish log.>")),
			p.What == "sync" && (p.State != "warning" || !strings.Contains(p.Text, "n1 has up to 2m0s")),
			p.What == "account" && (p.State != "warning" || !strings.HasSuffix(p.Text, ": node")),
			strings.HasPrefix(p.What, "stream ") && p.State != "ok":
			t.Errorf("%+v", p)
		}
	}
	if states(points)["account"] == "" {
		t.Error("nobody is told that another user is connected")
	}

	acks := make(chan bus.Ack, 16)
	b, err := bus.Open(ctx, bus.Config{Server: &where})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	l, err := b.Log(ctx, "p0", func(a bus.Ack) { acks <- a })
	if err != nil {
		t.Fatal(err)
	}
	append_ := func(data, id, prev string, at, token uint64, good bool) {
		t.Helper()
		if err := l.Append([]byte(data), id, prev, at, token); err != nil {
			t.Fatal(err)
		}
		if a := <-acks; a.Token != token || (a.Err == nil) != good || good && a.Seq != at {
			t.Fatalf("%s: %+v", data, a)
		}
	}
	append_("one", "h1", "", 1, 1, true)
	append_("two", "h2", "h1", 2, 2, true)
	append_("stale", "hx", "h1", 2, 3, false)
	append_("as if it were empty", "hy", "", 1, 4, false)
	k, err := b.Bucket(ctx, "things")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := k.Swap(ctx, "x", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}

	s.Kill()
	if _, err := l.Last(ctx); !errors.Is(err, fault.Unavailable) {
		t.Errorf("while it is away: %v", err)
	}
	s.Start()
	if err := b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	append_("three", "h3", "h2", 3, 5, true)
	if e, err := l.Last(ctx); err != nil || e.Seq != 3 || string(e.Data) != "three" {
		t.Errorf("after: %+v %v", e, err)
	}
	if _, err := k.Swap(ctx, "x", []byte("2"), rev); err != nil {
		t.Error(err)
	}
	if _, err := k.Swap(ctx, "x", []byte("2"), rev); !errors.Is(err, fault.Conflict) {
		t.Errorf("a stale swap: %v", err)
	}
	var read []string
	if err := l.Read(ctx, 1, 3, func(e bus.Entry) error { read = append(read, string(e.Data)); return nil }); err != nil || !slices.Equal(read, []string{"one", "two", "three"}) {
		t.Errorf("read %v: %v", read, err)
	}
	if err := l.Read(ctx, 1, 4, func(bus.Entry) error { return nil }); !errors.Is(err, fault.Damaged) {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestServerRefused wants words that help from a server that does not do.
func TestServerRefused(t *testing.T) {
	s := bustest.Start(t, "", "")
	open := func(where bus.Server) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		b, err := bus.Open(ctx, bus.Config{Server: &where})
		if err == nil {
			b.Close()
		}
		return err
	}
	wrong, agent := at(s), at(s)
	wrong.Password, agent.User = "no", bustest.Stranger
	for name, c := range map[string]struct {
		where bus.Server
		want  string
	}{
		"nobody listens":       {bus.Server{URL: "nats://127.0.0.1:1"}, "connect to nats://127.0.0.1:1"},
		"no scheme":            {bus.Server{URL: "127.0.0.1:4222"}, "want nats://HOST:PORT"},
		"a password in it":     {bus.Server{URL: "nats://me:pw@127.0.0.1:1"}, "nats://me:xxxxx@127.0.0.1:1: the user does not stand in the URL"},
		"a wrong password":     {wrong, `does not take user "node" with its password`},
		"no JetStream":         {agent, "JetStream is not enabled for this account"},
		"two kinds":            {bus.Server{URL: s.URL(), NKey: "x", User: "y"}, "give one of them"},
		"a file that is none":  {bus.Server{URL: s.URL(), Creds: "/none"}, "credentials: open /none"},
		"certificates of none": {bus.Server{URL: s.URL(), CA: os.Args[0]}, "no certificate in it"},
		"replicas":             {bus.Server{URL: s.URL(), Replicas: 9}, "want 1 to 5"},
	} {
		if err := open(c.where); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	everybody := bustest.Open(t)
	b, err := bus.Open(t.Context(), bus.Config{Server: &bus.Server{URL: everybody.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if open, err := b.Open(); err != nil || !open {
		t.Errorf("a server that lets everybody in: %v %v", open, err)
	}
	points, err := bus.Examine(t.Context(), bus.Server{URL: everybody.URL()}, nil, nil)
	if err != nil || states(points)["links"] != "missing" {
		t.Errorf("%v %v", points, err)
	}
}
