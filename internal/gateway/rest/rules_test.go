package rest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"polity.run/internal/access"
)

var handled = regexp.MustCompile(`mux\.Handle(?:Func)?\("([^"]+)"`)

// TestEveryRouteHasARule wants a rule for each route that is not described, and a route for each rule. (Those that are described bring their own, and
// what has none is denied.)
func TestEveryRouteHasARule(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range handled.FindAllStringSubmatch(string(text), -1) {
			routes[m[1]] = true
			if rule, ok := rules[m[1]]; !ok || rule.Verb == "" || rule.Verb == access.Public {
				t.Errorf("%s serves %q, for which there is no rule", name, m[1])
			}
		}
	}
	if len(routes) < 20 {
		t.Fatalf("only %d routes were found", len(routes))
	}
	for pattern := range rules {
		if !routes[pattern] && !strings.HasPrefix(pattern, "GET /v1/openapi.") { // whose pattern is put together
			t.Errorf("there is a rule for %q, which nothing serves", pattern)
		}
	}
}
