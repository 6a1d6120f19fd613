package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// Limits of a router.
const (
	RoutesMax      = 100
	conditionsMax  = 50 // of one route
	calibrationMax = 20 // points
	leastDefault   = 0.6
	noRoute        = "none" // what a classifier says that finds no route
	routeReasonMax = 500    // bytes of a classifier's reason
)

// How a route was found.
const (
	byRule       = "rule"
	byClassifier = "classifier"
	byFallback   = "fallback"
)

// Router is the configuration of a router: one of several agents is asked, and answers.
//
//	request -> the first route with a condition that holds | a classifier that is sure enough | the fallback | nobody -> its answer
//
// Nothing is chosen silently: a classifier that says none, names no route, fails or is not sure enough leaves the request to the
// fallback, and without one the run ends with a result that says that it abstained and why.
type Router struct {
	Routes []Route `json:"routes"`
	// Classifier is asked for the duty classify where no condition holds.
	Classifier polity.AgentName `json:"classifier,omitempty"`
	// Least is how sure a classifier must be, after calibration: above 0, at most 1; 0 is 0.6.
	Least float64 `json:"least,omitempty"`
	// Calibration says how often the classifier was right when it said how sure it was, with Said ascending. Between two points it is a
	// straight line, before the first and after the last level. Empty believes the classifier.
	Calibration []Calibrated     `json:"calibration,omitempty"`
	Fallback    polity.AgentName `json:"fallback,omitempty"`
	Members     []Member         `json:"members,omitempty"`
}

// Route is an agent that requests may go to.
type Route struct {
	Name        string           `json:"name,omitempty"` // what it is called; "" is the agent's name
	Agent       polity.AgentName `json:"agent"`
	Skill       string           `json:"skill,omitempty"`       // "" for the agent's only one
	Description string           `json:"description,omitempty"` // for the classifier; "" is the agent's
	When        []Condition      `json:"when,omitempty"`        // one that holds is enough
	Bounds      polity.Bounds    `json:"bounds,omitzero"`
}

// Calibrated is a point of a calibration.
type Calibrated struct {
	Said  float64 `json:"said"`  // what the classifier says, 0 to 1
	Right float64 `json:"right"` // the share of such answers that were right, 0 to 1
}

func (r *Route) name() string {
	if r.Name != "" {
		return r.Name
	}
	return string(r.Agent)
}

// Roles lists the routes, the classifier and the fallback.
func (r Router) Roles() []Role {
	var roles []Role
	for i, one := range r.Routes {
		role := Role{Field: fmt.Sprintf("routes[%d].agent", i), Name: "route " + one.name(), Agent: one.Agent}
		if one.Skill != "" {
			role.Duties = []polity.Skill{{Name: one.Skill}}
		}
		roles = append(roles, role)
	}
	if r.Classifier != "" {
		roles = append(roles, Role{Field: "classifier", Name: "classifier", Agent: r.Classifier, Duties: []polity.Skill{r.classify()}})
	}
	if r.Fallback != "" {
		roles = append(roles, Role{Field: "fallback", Name: "fallback", Agent: r.Fallback})
	}
	return roles
}

const dutyClassify = "classify"

// classify is the classifier's duty.
func (r *Router) classify() polity.Skill {
	names, err := marshal(append(r.names(), noRoute))
	if err != nil {
		names = json.RawMessage("[]")
	}
	return polity.Skill{
		Name: dutyClassify, Description: "Say which route a request belongs to, and how sure you are.", Input: dutyInput,
		Output: fmt.Appendf(nil, `{"type":"object","required":["route","confidence"],"properties":{`+
			`"route":{"enum":%s,"description":"the route, or none if none of them fits"},`+
			`"confidence":{"type":"number","minimum":0,"maximum":1,"description":"how sure you are: the share of such answers that would be right"},`+
			`"reason":{"type":"string","description":"why, in a sentence"}}}`, names),
	}
}

// dutyInput is the schema of what a pattern asks for by a duty.
var dutyInput = json.RawMessage(`{"type":"object","required":["duty"],"properties":{"duty":{"type":"string"}}}`)

func (r *Router) names() []string {
	var names []string
	for i := range r.Routes {
		names = append(names, r.Routes[i].name())
	}
	return names
}

// Know fills the members in.
func (r *Router) Know(members []Member) { r.Members = known(r.Roles(), members) }

// Check returns all problems: see Config.
func (r Router) Check() error {
	var p problems
	if len(r.Routes) == 0 || len(r.Routes) > RoutesMax {
		p.add(in("routes"), "%d routes; want 1 to %d", len(r.Routes), RoutesMax)
	}
	for i := range r.Routes {
		r.checkRoute(i, &p)
	}
	if r.Least < 0 || r.Least > 1 || math.IsNaN(r.Least) {
		p.add(in("least"), "%v is not within 0 and 1", r.Least)
	}
	if r.Classifier == "" && r.Least != 0 {
		p.add(in("least"), "nobody classifies, so that nobody needs to be sure; name a classifier, or delete it")
	}
	r.checkCalibration(&p)
	checkRoles(r.Roles(), r.Members, &p)
	checkOnly(r.Roles(), r.Members, &p)
	return p.err()
}

// checkOnly checks that an agent which is asked for whatever it can do can do one thing.
func checkOnly(roles []Role, members []Member, p *problems) {
	for _, r := range roles {
		if m := find(members, r.Agent); m != nil && len(r.Duties) == 0 && len(m.Skills) != 1 {
			p.add(in("%s", r.Field), "%s has %s; say which one is asked, of %s", r.Agent, plural(len(m.Skills), "skill"), list(m.skillNames()))
		}
	}
}

func (r *Router) checkRoute(i int, p *problems) {
	one := &r.Routes[i]
	at := fmt.Sprintf("routes[%d]", i)
	switch name := one.name(); {
	case name == noRoute:
		p.add(in("%s.name", at), "%q stands for no route; choose another", noRoute)
	case slices.Index(r.names(), name) < i:
		p.add(in("%s.name", at), "the route before it is called %s too; join their conditions, or give one of them a name", name)
	}
	if len(one.When) == 0 && r.Classifier == "" {
		p.add(in("%s", at), "no request can come here; add when, or a classifier")
	}
	if err := one.Bounds.Check(); err != nil {
		p.add(in("%s.bounds", at), "%v", err)
	}
	if len(one.When) > conditionsMax {
		p.add(in("%s.when", at), "%d conditions are more than %d", len(one.When), conditionsMax)
		return
	}
	for j := range one.When {
		one.When[j].check(fmt.Sprintf("%s.when[%d]", at, j), "input", p)
	}
}

func (r *Router) checkCalibration(p *problems) {
	if len(r.Calibration) > calibrationMax {
		p.add(in("calibration"), "%d points are more than %d", len(r.Calibration), calibrationMax)
		return
	}
	if len(r.Calibration) > 0 && r.Classifier == "" {
		p.add(in("calibration"), "nobody classifies; name a classifier, or delete it")
	}
	if n, least := len(r.Calibration), cmp.Or(r.Least, leastDefault); n > 0 && !slices.ContainsFunc(r.Calibration, func(c Calibrated) bool { return c.Right >= least }) {
		p.add(in("calibration"), "however sure the classifier says it is, it is never %.4g %% sure; lower least", 100*least)
	}
	for i, c := range r.Calibration {
		at := in("calibration[%d]", i)
		switch {
		case !(c.Said >= 0 && c.Said <= 1 && c.Right >= 0 && c.Right <= 1):
			p.add(at, "said and right are shares within 0 and 1")
		case i > 0 && c.Said <= r.Calibration[i-1].Said:
			p.add(at, "said must be more than that of the point before")
		}
	}
}

// confidence is how sure a classifier is that says how sure it is, to four decimals.
func (r *Router) confidence(said float64) float64 {
	points := r.Calibration
	if len(points) == 0 {
		return said
	}
	i := slices.IndexFunc(points, func(c Calibrated) bool { return said <= c.Said })
	switch i {
	case -1:
		return points[len(points)-1].Right
	case 0:
		return points[0].Right
	}
	a, b := points[i-1], points[i]
	share := (said - a.Said) / (b.Said - a.Said)
	return math.Round((a.Right+float64(share*(b.Right-a.Right)))*1e4) / 1e4 // converted, so that every machine rounds alike
}

// Decider returns what decides the runs. A run finishes with a RouterResult, or fails with the kind of the agent that the request went to.
func (r Router) Decider() (polity.Decider, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	own := copied(r)
	if own.Least == 0 {
		own.Least = leastDefault
	}
	return player{"router", func(d *desk) play { return &routerRun{desk: d, cfg: own, result: RouterResult{Pattern: "router"}} }}, nil
}

// RouterResult is what a run of a router answers.
type RouterResult struct {
	Pattern string           `json:"pattern"` // router
	Route   string           `json:"route,omitempty"`
	Agent   polity.AgentName `json:"agent,omitempty"`
	By      string           `json:"by,omitempty"`   // rule, classifier or fallback
	Rule    *Condition       `json:"rule,omitempty"` // that held
	// Abstained says that nobody was asked, and Reason why; with By fallback Reason says why it was needed, with classifier what that said.
	Abstained bool   `json:"abstained,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// Choice is the classifier's, if it named a route; Said is how sure it said it was, Confidence the same after calibration.
	Choice     string          `json:"choice,omitempty"`
	Said       *float64        `json:"said,omitempty"`
	Confidence *float64        `json:"confidence,omitempty"`
	Candidates []string        `json:"candidates,omitempty"` // the routes that there were, if none was taken
	Output     json.RawMessage `json:"output,omitempty"`
	Done       []Done          `json:"done"`
}

// routerRun is the state of one run.
type routerRun struct {
	*desk
	cfg     *Router
	request json.RawMessage
	result  RouterResult
}

func (r *routerRun) open(e polity.Event) {
	r.request = e.Data
	r.result.Done = []Done{}
	for i := range r.cfg.Routes {
		for j := range r.cfg.Routes[i].When {
			if c := &r.cfg.Routes[i].When[j]; c.holds(r.request) {
				r.result.Rule = c
				r.send(&r.cfg.Routes[i], byRule)
				return
			}
		}
	}
	if r.cfg.Classifier == "" {
		r.fallback("no condition of a route holds")
		return
	}
	r.classify()
}

// send asks the agent of a route, with the request as it is.
func (r *routerRun) send(to *Route, by string) {
	r.result.Route, r.result.Agent, r.result.By = to.name(), to.Agent, by
	r.ask(question{
		name: named("route", to.name()), to: find(r.cfg.Members, to.Agent), duty: to.Skill, input: r.request, bounds: to.Bounds,
	})
}

// fallback asks who is there for what belongs nowhere, or abstains.
func (r *routerRun) fallback(why string) {
	r.result.Reason, r.result.Candidates = why, r.cfg.names()
	if r.cfg.Fallback != "" {
		r.send(&Route{Name: "fallback", Agent: r.cfg.Fallback}, byFallback)
		return
	}
	r.result.Abstained = true
	r.finish(r.result)
}

// routeOffer is a route as a classifier sees it.
type routeOffer struct {
	Route       string `json:"route"`
	Description string `json:"description,omitempty"`
}

func (r *routerRun) classify() {
	var routes []routeOffer
	for i := range r.cfg.Routes {
		one := &r.cfg.Routes[i]
		o := routeOffer{one.name(), one.Description}
		if o.Description == "" {
			o.Description = find(r.cfg.Members, one.Agent).Description
		}
		routes = append(routes, o)
	}
	input, err := marshal(struct {
		Duty      string          `json:"duty"`
		Objective string          `json:"objective"`
		Guidance  string          `json:"guidance"`
		Routes    []routeOffer    `json:"routes"`
		Request   json.RawMessage `json:"request"`
	}{
		dutyClassify, "Say which of the routes the request belongs to.",
		"Do not do what the request asks. Answer none if no route fits; say honestly how sure you are.", routes, r.request,
	})
	if err != nil {
		r.desk.fail(err)
		return
	}
	r.ask(question{name: dutyClassify, to: find(r.cfg.Members, r.cfg.Classifier), duty: dutyClassify, input: input, accept: r.accept})
}

// choice is what a classifier answers.
type choice struct {
	Route      string   `json:"route"`
	Confidence *float64 `json:"confidence"`
	Reason     string   `json:"reason"`
}

// accept says what is wrong with a classifier's answer.
func (r *routerRun) accept(output json.RawMessage) error {
	var c choice
	if err := readObject(output, &c); err != nil {
		return fault.Invalid.New("want {route, confidence}: %w", err)
	}
	if c.Route != noRoute && !slices.Contains(r.cfg.names(), c.Route) {
		return fault.Invalid.New("there is no route %q%s", clip(c.Route, nameMax), among(append(r.cfg.names(), noRoute), c.Route))
	}
	if c.Confidence == nil || !(*c.Confidence >= 0 && *c.Confidence <= 1) {
		return fault.Invalid.New("confidence: want a number within 0 and 1")
	}
	return nil
}

func (r *routerRun) answered(a *answer) {
	r.result.Done = append(r.result.Done, a.done())
	switch {
	case a.name == dutyClassify && !a.good():
		if r.exhausted == nil { // else idle ends the run
			r.fallback(fmt.Sprintf("the classifier %s did not answer: %s", r.cfg.Classifier, a.fault.Text))
		}
	case a.name == dutyClassify:
		r.classified(a.output)
	case a.good():
		r.result.Output = a.output
		r.finish(r.result)
	case r.exhausted == nil:
		r.desk.fail(because(a.fault, "router: %s (%s, %s): %s", r.result.Route, r.result.Agent, plural(a.tries, "attempt"), a.fault.Text))
	}
}

// classified goes where the classifier says, if it is sure enough.
func (r *routerRun) classified(output json.RawMessage) {
	var c choice
	if err := readObject(output, &c); err != nil {
		r.desk.fail(err) // accept has read it
		return
	}
	sure := r.cfg.confidence(*c.Confidence)
	r.result.Choice, r.result.Said, r.result.Confidence = c.Route, c.Confidence, &sure
	reason := clip(c.Reason, routeReasonMax)
	i := slices.Index(r.cfg.names(), c.Route)
	switch {
	case i < 0:
		r.fallback(colon("the classifier finds that no route fits", reason))
	case sure < r.cfg.Least:
		r.fallback(colon(fmt.Sprintf("the classifier chose %s, but is only %.4g %% sure where %.4g %% is wanted", c.Route, 100*sure, 100*r.cfg.Least), reason))
	default:
		r.result.Reason = reason
		r.send(&r.cfg.Routes[i], byClassifier)
	}
}

// idle is called only at a bound: whoever is asked answers, or ends the run.
func (r *routerRun) idle() {
	if r.exhausted == nil {
		r.desk.fail(fault.Internal.New("router: nobody is asked"))
		return
	}
	if !slices.ContainsFunc(r.result.Done, func(d Done) bool { return d.Fault == nil }) {
		r.desk.fail(fault.Exceeded(r.exhausted.Bound, "router: a bound was reached before anybody answered: %s", r.exhausted.Text))
		return
	}
	r.result.Abstained = r.result.By == ""
	r.finish(r.result)
}

// because is a fault with a text of its own.
func because(f *fault.Error, format string, args ...any) error {
	return &fault.Error{Kind: f.Kind, Text: clip(fmt.Sprintf(format, args...), faultTextMax), Bound: f.Bound}
}

// colon adds a reason to what happened, if there is one.
func colon(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}
