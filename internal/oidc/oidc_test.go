package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/oidc"
)

// issuer is one that is run: it says where its keys are, and signs.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
	up  bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{key: newKey(t), up: true}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		if !i.up {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(data)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestWho(t *testing.T) {
	i := newIssuer(t)
	ops, err := oidc.ParseGrant("groups=ops:shop=operator")
	if err != nil {
		t.Fatal(err)
	}
	boss, err := oidc.ParseGrant("title=a:b:*=admin")
	if err != nil {
		t.Fatal(err)
	}
	v, err := oidc.New(oidc.Config{Issuer: i.URL, Audience: "polity", Grants: []oidc.Grant{ops, boss}})
	if err != nil {
		t.Fatal(err)
	}
	claims := func(change map[string]any) map[string]any {
		c := map[string]any{
			"iss": i.URL, "aud": "polity", "sub": "u1", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "email": "ann@example.com",
			"groups": []string{"all", "ops"},
		}
		for k, v := range change {
			c[k] = v
		}
		return c
	}
	who, err := v.Who(t.Context(), sign(t, jose.ES256, i.key, claims(nil)))
	if err != nil || who.Name != "ann@example.com" || who.ID != "issuer:"+i.URL+" u1" || !who.Holds(access.Operate, "shop") || who.Holds(access.Read, "bank") {
		t.Fatalf("%+v %v", who, err)
	}
	for what, tt := range map[string]struct {
		change map[string]any
		check  func(access.Who) bool
	}{
		"a claim that is a text":        {map[string]any{"title": "a:b"}, func(w access.Who) bool { return w.Holds(access.Manage, access.Everywhere) }},
		"no group":                      {map[string]any{"groups": nil}, func(w access.Who) bool { return len(w.Grants) == 0 }},
		"an address nobody vouches for": {map[string]any{"email_verified": false}, func(w access.Who) bool { return w.Name == "u1" }},
	} {
		if who, err := v.Who(t.Context(), sign(t, jose.ES256, i.key, claims(tt.change))); err != nil || !tt.check(who) {
			t.Errorf("%s: %+v %v", what, who, err)
		}
	}
	good := sign(t, jose.ES256, i.key, claims(nil))
	head, rest, _ := strings.Cut(good, ".")
	for what, token := range map[string]string{
		"of another key":       sign(t, jose.ES256, newKey(t), claims(nil)),
		"for another audience": sign(t, jose.ES256, i.key, claims(map[string]any{"aud": "bank"})),
		"of another issuer":    sign(t, jose.ES256, i.key, claims(map[string]any{"iss": "https://evil.example.com"})),
		"that has run out":     sign(t, jose.ES256, i.key, claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
		"of nobody":            sign(t, jose.ES256, i.key, claims(map[string]any{"sub": ""})),
		"with a shared secret": sign(t, jose.HS256, []byte("0123456789abcdef0123456789abcdef"), claims(nil)),
		"without a signature":  "eyJhbGciOiJub25lIn0." + rest,
		"cut":                  head + "." + rest[:20],
		"that is none":         "a.b.c",
	} {
		if who, err := v.Who(t.Context(), token); !errors.Is(err, fault.Unauthenticated) {
			t.Errorf("a token %s: %+v %v", what, who, err)
		}
	}
}

// TestIssuerIsAway starts without its issuer, and says so.
func TestIssuerIsAway(t *testing.T) {
	i := newIssuer(t)
	i.up = false
	ops, err := oidc.ParseGrant("groups=ops:viewer")
	if err != nil || ops.Org != access.Everywhere {
		t.Fatal(ops, err)
	}
	v, err := oidc.New(oidc.Config{Issuer: i.URL, Audience: "polity", Grants: []oidc.Grant{ops}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Who(t.Context(), "a.b.c"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestConfig(t *testing.T) {
	ops, err := oidc.ParseGrant("groups=ops:shop=operator")
	if err != nil {
		t.Fatal(err)
	}
	for what, cfg := range map[string]oidc.Config{
		"plain text":  {Issuer: "http://issuer.example.com", Audience: "a", Grants: []oidc.Grant{ops}},
		"no audience": {Issuer: "https://issuer.example.com", Grants: []oidc.Grant{ops}},
		"no grants":   {Issuer: "https://issuer.example.com", Audience: "a"},
	} {
		if _, err := oidc.New(cfg); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, text := range []string{"", "groups", "groups=ops", ":viewer", "=ops:viewer", "groups=:viewer", "groups=ops:shop=root"} {
		if _, err := oidc.ParseGrant(text); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
