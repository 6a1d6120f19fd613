package bus_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/bus/bustest"
)

// connects opens the bus, appends to a log, and says whether strangers get in.
func connects(t *testing.T, where bus.Server) (open bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, bus.Config{Server: &where})
	if err != nil {
		return false, err
	}
	defer b.Close()
	if _, err := b.Bucket(ctx, "things"); err != nil {
		t.Fatal(err)
	}
	return b.Open()
}

// refusedAs wants an error of a kind with all words.
func refusedAs(t *testing.T, name string, where bus.Server, kind fault.Kind, words ...string) {
	t.Helper()
	_, err := connects(t, where)
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want it to be %s", name, err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want %q in it", name, err, w)
		}
	}
}

// TestOperator has a node on a server in operator mode, with JWTs that are good, weak, over, of somebody else, and torn.
func TestOperator(t *testing.T) {
	s, other := bustest.StartOperator(t, ""), bustest.StartOperator(t, "")
	ctx := t.Context()
	where := bus.Server{URL: s.URL(), Creds: s.Creds(false, time.Hour, nil)}
	if _, err := bus.Setup(ctx, where, []string{"things"}, false); err != nil {
		t.Fatal(err)
	}
	system := bus.Server{URL: s.URL(), Creds: s.Creds(true, 0, nil)}
	publish, subscribe := bus.Rights("")
	exact := where
	exact.Creds = s.Creds(false, 0, func(c *jwt.UserClaims) { c.Pub.Allow, c.Sub.Allow = publish, subscribe })
	weak := where
	weak.Creds = s.Creds(false, 0, func(c *jwt.UserClaims) { c.Pub.Allow, c.Sub.Allow = publish[1:], subscribe })
	for _, c := range []struct {
		where bus.Server
		want  string
	}{{where, "ok"}, {exact, "ok"}, {weak, "missing"}} {
		points, err := bus.Examine(ctx, c.where, []string{"things"}, &system)
		if err != nil || states(points)["permissions"] != c.want || states(points)["links"] != "ok" || states(points)["stream BUCKET_things"] != "ok" {
			t.Errorf("%v %v, want permissions %s", points, err, c.want)
		}
		if open, err := connects(t, c.where); err != nil || open {
			t.Errorf("open %v: %v", open, err)
		}
	}

	text, err := os.ReadFile(where.Creds)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	theirs, err := os.ReadFile(s.Creds(false, 0, nil))
	if err != nil {
		t.Fatal(err)
	}
	half := strings.Index(string(text), "-----BEGIN USER")
	mixed := string(text)[:half] + string(theirs)[strings.Index(string(theirs), "-----BEGIN USER"):]
	as := func(creds string) bus.Server { return bus.Server{URL: s.URL(), Creds: creds} }
	refusedAs(t, "over", as(s.Creds(false, -time.Hour, nil)), fault.Denied, ".creds", "ended at", "nsc generate creds --name user")
	refusedAs(t, "too early", as(s.Creds(false, 0, func(c *jwt.UserClaims) { c.NotBefore = time.Now().Add(time.Hour).Unix() })), fault.Denied, "begin at")
	foreign := other.Creds(false, 0, nil)
	refusedAs(t, "of another operator", as(foreign), fault.Denied, foreign, "does not take")
	refusedAs(t, "of the system", as(s.Creds(true, 0, nil)), fault.Unavailable, "JetStream is not enabled for this account")
	refusedAs(t, "no file", as("/none/x.creds"), fault.Invalid, "/none/x.creds")
	refusedAs(t, "a word", as(write("w.creds", "word")), fault.Invalid, "w.creds", "want a user's JWT and seed")
	refusedAs(t, "a JWT alone", as(write("j.creds", string(text)[:half])), fault.Invalid, "j.creds", "no seed")
	refusedAs(t, "two users", as(write("m.creds", mixed)), fault.Invalid, "m.creds", "its seed of U")
	refusedAs(t, "nobody", bus.Server{URL: s.URL()}, fault.Denied, "without credentials", "--nats-creds")
}

// TestLogins has a node on servers that know their users by other means, and says which of them let strangers into the node's account.
func TestLogins(t *testing.T) {
	ca, theirs := bustest.NewCA(t), bustest.NewCA(t)
	seed, public := bustest.NKey(t)
	otherSeed, _ := bustest.NKey(t)
	cert, key := ca.Issue("node", time.Hour)
	oldCert, oldKey := ca.Issue("node", -time.Minute)
	strange, strangeKey := theirs.Issue("node", time.Hour)

	nkey := bustest.Configured(t, "accounts { P { jetstream: enabled, users: [{nkey: "+public+"}] }, SYS { users: [{user: sys, password: secret}] } }\nsystem_account: SYS\n")
	token := bustest.Configured(t, "authorization { token: hush }\n")
	secure := bustest.Configured(t, ca.TLS(false)+"accounts { P { jetstream: enabled, users: [{user: node, password: secret}] } }\n")
	mutual := bustest.Configured(t, ca.TLS(true))
	inside := bustest.Configured(t, "accounts { P { jetstream: enabled, users: [{user: node, password: secret}, {user: guest, password: secret}] } }\nno_auth_user: guest\n")
	beside := bustest.Configured(t, "accounts { P { jetstream: enabled, users: [{user: node, password: secret}] }, G { users: [{user: guest, password: secret}] } }\nno_auth_user: guest\n")

	for name, c := range map[string]struct {
		where bus.Server
		open  bool
	}{
		"NKey":                       {bus.Server{URL: nkey.URL(), NKey: seed}, false},
		"token":                      {bus.Server{URL: token.URL(), Token: "hush"}, false},
		"TLS":                        {bus.Server{URL: secure.URL(), CA: ca.File, User: "node", Password: "secret"}, false},
		"TLS by its address":         {bus.Server{URL: "tls://" + secure.Addr, CA: ca.File, User: "node", Password: "secret"}, false},
		"certificates of clients":    {bus.Server{URL: mutual.URL(), CA: ca.File, Cert: cert, Key: key}, false},
		"strangers in the account":   {bus.Server{URL: inside.URL(), User: "node", Password: "secret"}, true},
		"strangers in another one":   {bus.Server{URL: beside.URL(), User: "node", Password: "secret"}, false},
		"strangers, and the node is": {bus.Server{URL: inside.URL()}, true},
	} {
		if open, err := connects(t, c.where); err != nil || open != c.open {
			t.Errorf("%s: open is %v, want %v: %v", name, open, c.open, err)
		}
	}
	as := func(s *bustest.Server, change func(*bus.Server)) bus.Server {
		where := bus.Server{URL: s.URL()}
		change(&where)
		return where
	}
	refusedAs(t, "another NKey", as(nkey, func(s *bus.Server) { s.NKey = otherSeed }), fault.Denied, otherSeed, "no user with its public key")
	refusedAs(t, "no seed", as(nkey, func(s *bus.Server) { s.NKey = cert }), fault.Invalid, cert, "want a file with a user's seed")
	refusedAs(t, "no file", as(nkey, func(s *bus.Server) { s.NKey = "/none" }), fault.Invalid, "/none")
	refusedAs(t, "another token", as(token, func(s *bus.Server) { s.Token = "loud" }), fault.Denied, "does not take the token")
	refusedAs(t, "no CA", as(secure, func(s *bus.Server) { s.User, s.Password = "node", "secret" }), fault.Denied, "--nats-ca")
	refusedAs(t, "another CA", as(secure, func(s *bus.Server) { s.CA, s.User = theirs.File, "node" }), fault.Denied, theirs.File, "not of the CA")
	refusedAs(t, "a CA and no TLS", as(token, func(s *bus.Server) { s.CA, s.Token = ca.File, "hush" }), fault.Unavailable, "the server has no TLS")
	refusedAs(t, "no certificate", as(mutual, func(s *bus.Server) { s.CA = ca.File }), fault.Denied, "--nats-cert and --nats-key")
	refusedAs(t, "another's certificate", as(mutual, func(s *bus.Server) { s.CA, s.Cert, s.Key = ca.File, strange, strangeKey }), fault.Denied, "does not take the certificate "+strange)
	refusedAs(t, "an old certificate", as(mutual, func(s *bus.Server) { s.CA, s.Cert, s.Key = ca.File, oldCert, oldKey }), fault.Denied, oldCert, "ended at")
	refusedAs(t, "a certificate and another's key", as(mutual, func(s *bus.Server) { s.CA, s.Cert, s.Key = ca.File, cert, oldKey }), fault.Invalid, cert, oldKey)
	refusedAs(t, "a certificate without a key", as(mutual, func(s *bus.Server) { s.Cert = cert }), fault.Invalid, "needs its key")
}
