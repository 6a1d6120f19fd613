// Package oidc knows who comes with a token of an issuer of OpenID Connect.
//
// It exists so that people and programs come in with the identity that they have already, and go when their issuer says so. The life of a token:
//
//	issuer signs it -> Verifier.Who: signature, issuer, audience, time -> its claims -> grants
package oidc

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/tool/dial"
)

const (
	askMax      = 10 * time.Second // to ask an issuer for its keys
	againAfter  = 10 * time.Second // an issuer that could not be asked is not asked again sooner
	nameDefault = "email"
	subjectMax  = 255 // bytes, by OpenID Connect Core 1.0, section 2
)

// algorithms are those by which a token may be signed: none that needs a shared secret, and not none.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// Config says whom to believe.
type Config struct {
	Issuer    string // URL, as it stands in the tokens
	Audience  string // for whom tokens have to be
	NameClaim string // the claim that names somebody for people; default email. Without it they are named by their subject
	Grants    []Grant
}

// Grant gives everybody a role whose token has a claim with a value, or with a list in which the value is.
type Grant struct {
	Claim, Value string
	access.Grant
}

// ParseGrant reads CLAIM=VALUE:ORG=ROLE, as in groups=ops:*=operator.
func ParseGrant(text string) (Grant, error) {
	i := strings.LastIndex(text, ":")
	claim, value, ok := strings.Cut(text[:max(i, 0)], "=")
	if !ok || claim == "" || value == "" {
		return Grant{}, fault.Invalid.New("oidc: %.200q: want CLAIM=VALUE:ORG=ROLE, as in groups=ops:*=operator", text)
	}
	g, err := access.ParseGrant(text[i+1:])
	return Grant{claim, value, g}, err
}

// Check returns fault.Invalid for what cannot be.
func (c *Config) Check() error {
	switch {
	case !strings.HasPrefix(c.Issuer, "https://") && !strings.HasPrefix(c.Issuer, "http://127.0.0.1"):
		return fault.Invalid.New("oidc: issuer %.200q: want https://", c.Issuer)
	case c.Audience == "":
		return fault.Invalid.New("oidc: an audience is needed: else a token for anybody else were good here")
	case len(c.Grants) == 0:
		return fault.Invalid.New("oidc: no grants: nobody would be allowed anything")
	}
	return nil
}

// Verifier knows who comes with a token. It is safe for concurrent use.
type Verifier struct {
	cfg Config

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil before the issuer was asked
	failed   error                 // why it could not be
	since    time.Time             // then
}

// New returns a verifier. It does not ask the issuer yet: a node starts without it.
func New(cfg Config) (*Verifier, error) {
	if cfg.NameClaim == "" {
		cfg.NameClaim = nameDefault
	}
	return &Verifier{cfg: cfg}, cfg.Check()
}

// ready asks the issuer where its keys are, the first time.
func (v *Verifier) ready() (*oidc.IDTokenVerifier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.verifier != nil || v.failed != nil && time.Since(v.since) < againAfter {
		return v.verifier, v.failed
	}
	client := dial.Client(true, nil) // the operator says whom to ask, and no caller
	client.Timeout = askMax
	// The keys are asked for with this context as long as the verifier lives.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.Background(), client), v.cfg.Issuer)
	if err != nil {
		v.failed, v.since = fault.Unavailable.New("oidc: the issuer cannot be asked: %w", err), time.Now()
		return nil, v.failed
	}
	v.verifier, v.failed = provider.Verifier(&oidc.Config{ClientID: v.cfg.Audience, SupportedSigningAlgs: algorithms}), nil
	return v.verifier, nil
}

// Who returns who comes with a token. It returns fault.Unauthenticated for one that is not good, and fault.Unavailable if the issuer cannot be asked.
func (v *Verifier) Who(ctx context.Context, raw string) (access.Who, error) {
	verifier, err := v.ready()
	if err != nil {
		return access.Who{}, err
	}
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return access.Who{}, fault.Unauthenticated.New("oidc: the token is not good: %w", err)
	}
	var claims map[string]json.RawMessage
	if err := token.Claims(&claims); err != nil {
		return access.Who{}, fault.Unauthenticated.New("oidc: the token's claims: %w", err)
	}
	if token.Subject == "" || len(token.Subject) > subjectMax {
		return access.Who{}, fault.Unauthenticated.New("oidc: the token says of nobody that it is theirs")
	}
	who := access.Who{ID: "issuer:" + token.Issuer + " " + token.Subject, Name: token.Subject, Kind: access.Issued, Until: token.Expiry}
	if name := strings.Join(values(claims[v.cfg.NameClaim]), " "); name != "" && v.verified(claims) {
		who.Name = name
	}
	for _, g := range v.cfg.Grants {
		if slices.Contains(values(claims[g.Claim]), g.Value) && !slices.Contains(who.Grants, g.Grant) {
			who.Grants = append(who.Grants, g.Grant)
		}
	}
	return who, nil
}

// verified says whether the name may be used: an address that the issuer does not vouch for may be somebody else's.
func (v *Verifier) verified(claims map[string]json.RawMessage) bool {
	return v.cfg.NameClaim != "email" || string(claims["email_verified"]) != "false"
}

// values are a claim's: a text, or a list of them.
func values(data json.RawMessage) []string {
	var one string
	if json.Unmarshal(data, &one) == nil {
		return []string{one}
	}
	var more []string
	if json.Unmarshal(data, &more) == nil {
		return more
	}
	return nil
}
