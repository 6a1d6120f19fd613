package door

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/access"
)

// Scope says with which organization a route has to do.
type Scope int

// The scopes.
const (
	OfNode   Scope = iota // none: only who may do it everywhere may
	OfOrg                 // the one that {org} of its path names, or {name}
	OfRun                 // the one of the run that {id} of its path names
	OfAnswer              // any: the handler asks access.Permit of those that turn up, and tells of no others
)

// Rule says who may use a route.
type Rule struct {
	Verb  access.Verb
	Scope Scope
	// Beside says that it changes nothing in the log of runs: then its record is written while it is done, and not after.
	Beside bool
}

// Rules are those of routes by their patterns, as http.ServeMux has them.
type Rules map[string]Rule

// routes are what the door serves.
type routes struct {
	mu    sync.RWMutex
	muxes []*http.ServeMux // the first that has a pattern for a request serves it
	rules Rules
}

// Serve has the door serve what a mux does, as far as there are rules for its patterns. Of two muxes that have a pattern for a request the one that came
// first has it.
func (d *Door) Serve(mux *http.ServeMux, rules Rules) {
	d.routes.mu.Lock()
	defer d.routes.mu.Unlock()
	d.routes.muxes = append(d.routes.muxes, mux)
	if d.routes.rules == nil {
		d.routes.rules = Rules{}
	}
	maps.Copy(d.routes.rules, rules)
}

// find returns what serves a request, its pattern, and the rule for it; nil if nothing does. A pattern without a rule is for nobody.
func (r *routes) find(q *http.Request) (http.Handler, string, Rule) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, mux := range r.muxes {
		if _, pattern := mux.Handler(q); pattern != "" {
			return mux, pattern, r.rules[pattern]
		}
	}
	return nil, "", Rule{Verb: access.Greet}
}

// object is what a request is about. Only who may not do it everywhere is asked for the organization.
func (d *Door) object(ctx context.Context, who access.Who, rule Rule, pattern string, q *http.Request) (access.Object, error) {
	var o access.Object
	switch rule.Scope {
	case OfAnswer:
		return access.Somewhere(), nil
	case OfOrg:
		if o.Org = wildcard(pattern, q, "{org}"); o.Org == "" {
			o.Org = wildcard(pattern, q, "{name}")
		}
	case OfRun:
		id := polity.RunID(wildcard(pattern, q, "{id}"))
		o.Run = string(id.Root())
		if who.ID == "" || who.Holds(rule.Verb, access.Everywhere) {
			return o, nil
		}
		org, err := d.engine.OrgOf(ctx, id)
		if errors.Is(err, fault.NotFound) {
			return o, nil // which is answered as a run of others is
		}
		o.Org = org
		return o, err
	}
	return o, nil
}

// wildcard is the part of a request's path that a pattern names, as in {id}; "" if it names none.
func wildcard(pattern string, q *http.Request, name string) string {
	_, path, _ := strings.Cut(pattern, " ")
	i := slices.Index(strings.Split(path, "/"), name)
	parts := strings.Split(q.URL.EscapedPath(), "/")
	if i < 0 || i >= len(parts) {
		return ""
	}
	part, err := url.PathUnescape(parts[i])
	if err != nil {
		return ""
	}
	return part
}
