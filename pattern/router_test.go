package pattern_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

// lines are the problems of a configuration.
func lines(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestRouterCheck(t *testing.T) {
	is := func(field string) pattern.Condition { return pattern.Condition{Field: field, Contains: "x"} }
	router := func(change func(*pattern.Router)) pattern.Router {
		c := pattern.Router{Routes: []pattern.Route{{Agent: "ada", When: []pattern.Condition{is("input")}}}, Members: append(patterntest.Team("ada", "bob"), patterntest.Dutiful("classify", "cls")...)}
		change(&c)
		return c
	}
	tests := map[string]struct {
		router pattern.Router
		want   string
	}{
		"good":          {router(func(*pattern.Router) {}), ""},
		"no routes":     {router(func(c *pattern.Router) { c.Routes = nil }), "routes: 0 routes; want 1 to 100"},
		"unreachable":   {router(func(c *pattern.Router) { c.Routes[0].When = nil }), "routes[0]: no request can come here; add when, or a classifier"},
		"same name":     {router(func(c *pattern.Router) { c.Routes = append(c.Routes, c.Routes[0]) }), "routes[1].name: the route before it is called ada too; join their conditions, or give one of them a name"},
		"reserved name": {router(func(c *pattern.Router) { c.Routes[0].Name = "none" }), `routes[0].name: "none" stands for no route; choose another`},
		"other root":    {router(func(c *pattern.Router) { c.Routes[0].When[0].Field = "kind" }), `routes[0].when[0].field: "kind" names no field; write input, or input.NAME for a field of it`},
		"says nothing":  {router(func(c *pattern.Router) { c.Routes[0].When[0].Contains = "" }), "routes[0].when[0]: it says nothing about the field; add equals, contains or matches"},
		"bad regexp":    {router(func(c *pattern.Router) { c.Routes[0].When[0].Matches = "(" }), "routes[0].when[0].matches: it is no regular expression: error parsing regexp: missing closing ): `(`"},
		"long wanted":   {router(func(c *pattern.Router) { c.Routes[0].When[0].Contains = strings.Repeat("x", 1001) }), "routes[0].when[0].contains: it is longer than 1000 bytes; shorten it"},
		"sure of what":  {router(func(c *pattern.Router) { c.Least = 0.5 }), "least: nobody classifies, so that nobody needs to be sure; name a classifier, or delete it"},
		"too sure":      {router(func(c *pattern.Router) { c.Classifier, c.Least = "cls", 1.1 }), "least: 1.1 is not within 0 and 1"},
		"calibration": {router(func(c *pattern.Router) {
			c.Classifier, c.Calibration = "cls", []pattern.Calibrated{{Said: 0.5, Right: 0.4}, {Said: 0.5, Right: 0.4}, {Said: 2, Right: 1}}
		}), "calibration[1]: said must be more than that of the point before\ncalibration[2]: said and right are shares within 0 and 1"},
		"never sure": {router(func(c *pattern.Router) {
			c.Classifier, c.Calibration = "cls", []pattern.Calibrated{{Said: 0.5, Right: 0.4}, {Said: 1, Right: 0.5}}
		}), "calibration: however sure the classifier says it is, it is never 60 % sure; lower least"},
		"nobody":         {router(func(c *pattern.Router) { c.Fallback = "eve" }), `fallback: there is no agent "eve" to be the fallback`},
		"several skills": {router(func(c *pattern.Router) { c.Members[0].Skills = []polity.Skill{{Name: "a"}, {Name: "b"}} }), "routes[0].agent: ada has 2 skills; say which one is asked, of a, b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lines(tt.router.Check())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
