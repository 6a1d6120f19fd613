package rest

import (
	"testing"

	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
)

// TestEveryRouteHasARule wants a rule for each route. (What has none is denied.) Requests of other services alone bring no token: they are signed.
func TestEveryRouteHasARule(t *testing.T) {
	s := &Server{rules: door.Rules{}}
	s.routes()
	if len(s.rules) < 60 {
		t.Fatalf("only %d routes were found", len(s.rules))
	}
	for pattern, rule := range s.rules {
		if rule.Verb == "" || rule.Verb == access.Public && pattern != "POST /v1/hooks/{name}/in" {
			t.Errorf("%q is served to anybody", pattern)
		}
	}
}
