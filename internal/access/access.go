// Package access says who may do what with a node.
//
// It exists so that there is one answer to that, whichever door is knocked at. The life of a request:
//
//	what it carries -> Book.Key, Book.Session or a token of an issuer -> Who -> Decide(Who, Verb, Object) -> Decision
//
// What nobody is allowed is denied: a door without a rule for what is asked of it denies it, and so does a Who without a grant.
package access

import (
	"context"
	"slices"
	"strings"
	"time"

	"polity.run/fault"
)

// Role is what somebody is in an organization.
type Role string

// The roles. No role has all rights: who manages an organization does not for that answer its questions.
const (
	Viewer   Role = "viewer"   // reads
	Operator Role = "operator" // reads; starts, steers and ends runs, and sends messages and events
	Approver Role = "approver" // reads; answers questions to people
	Admin    Role = "admin"    // what an operator does; applies, deletes and erases. Of all organizations: also what concerns the node
)

// Roles returns all roles, from the least on.
func Roles() []Role { return []Role{Viewer, Operator, Approver, Admin} }

// Verb is a kind of doing.
type Verb string

// The verbs.
const (
	Public  Verb = "public"  // what may be asked by anybody
	Greet   Verb = "greet"   // what may be asked by whoever is known
	Read    Verb = "read"    // of an organization and its runs
	Operate Verb = "operate" // its runs
	Answer  Verb = "answer"  // its questions to people
	Manage  Verb = "manage"  // what it is, and what is kept of it
	Node    Verb = "node"    // the node's own: its files, keys and backups
)

// Verbs returns all verbs.
func Verbs() []Verb { return []Verb{Public, Greet, Read, Operate, Answer, Manage, Node} }

// may says which verbs each role is good for.
var may = map[Role][]Verb{
	Viewer:   {Read},
	Operator: {Read, Operate},
	Approver: {Read, Answer},
	Admin:    {Read, Operate, Manage, Node},
}

// Everywhere is the organization of a Grant that holds for all of them, and for the node.
const Everywhere = "*"

// Somewhere is the organization of an Object that is not known before the request is read: it is decided again for those that turn up then.
const Somewhere = "?"

// Grant gives a role in an organization.
type Grant struct {
	Org  string `json:"org"` // or Everywhere
	Role Role   `json:"role"`
}

func (g Grant) String() string { return g.Org + "=" + string(g.Role) }

// ParseGrant reads ORG=ROLE, or ROLE for everywhere. It returns fault.Invalid for what is no role.
func ParseGrant(text string) (Grant, error) {
	org, role, ok := strings.Cut(text, "=")
	if !ok {
		org, role = Everywhere, text
	}
	g := Grant{org, Role(role)}
	return g, g.Check()
}

// Check returns fault.Invalid for a grant without an organization or with a role that there is not.
func (g Grant) Check() error {
	names := make([]string, 0, len(may))
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	switch {
	case !slices.Contains(names, string(g.Role)):
		near := ""
		if n := fault.Nearest(string(g.Role), names); n != "" {
			near = "; did you mean " + n + "?"
		}
		return fault.Invalid.New("access: role %.40q: want %s%s", g.Role, strings.Join(names, ", "), near)
	case g.Org == "" || g.Org == Somewhere || len(g.Org) > nameMax:
		return fault.Invalid.New("access: organization %.40q: want its name, or * for all", g.Org)
	}
	return nil
}

// Kind is how somebody proved who they are.
type Kind string

// The kinds.
const (
	Owner  Kind = "owner"  // by the token in the state folder, which only the node's user can read
	ByKey  Kind = "key"    // by an API key
	Issued Kind = "issuer" // by a token of an issuer of OpenID Connect
)

// Who is somebody who asks. The zero value is nobody.
type Who struct {
	ID     string    `json:"id"`   // of the key, or issuer and subject: the same for the same one always
	Name   string    `json:"name"` // for people
	Kind   Kind      `json:"kind"`
	Grants []Grant   `json:"grants"`
	Until  time.Time `json:"until,omitzero"` // when this ends
}

// TheOwner is who runs the node: on this machine that may do everything.
func TheOwner(name string) Who {
	return Who{ID: "owner", Name: name, Kind: Owner, Grants: []Grant{{Everywhere, Admin}, {Everywhere, Approver}}}
}

// Holds says whether somebody may do something with an organization; Everywhere asks whether with all.
func (w Who) Holds(v Verb, org string) bool {
	return slices.ContainsFunc(w.Grants, func(g Grant) bool {
		return slices.Contains(may[g.Role], v) && (g.Org == Everywhere || g.Org == org && v != Node)
	})
}

// Orgs returns the organizations with which somebody may do something, sorted; all says that it is every one.
func (w Who) Orgs(v Verb) (list []string, all bool) {
	for _, g := range w.Grants {
		switch {
		case !slices.Contains(may[g.Role], v):
		case g.Org == Everywhere:
			return nil, true
		default:
			list = append(list, g.Org)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), false
}

// Gives returns fault.Denied for a grant that is more than somebody has: nobody gives what they have not.
func (w Who) Gives(g Grant) error {
	for _, v := range may[g.Role] {
		if v == Node && g.Org != Everywhere {
			continue // which the role has only there
		}
		if !w.Holds(v, g.Org) {
			return fault.Denied.New("access: %s may not give %s: that is more than they have", w.Name, g)
		}
	}
	return nil
}

// Object is what something is done with.
type Object struct {
	Org string `json:"org,omitempty"` // "" for the node, Somewhere if it is not known yet
	Run string `json:"run,omitempty"` // if it is about a run
	Key string `json:"key,omitempty"` // of what is answered or reconciled
}

// Decision is what became of a request.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"` // the grant by which it is allowed, or what is missing
	kind    fault.Kind
}

// Err returns nil if it is allowed. Else it returns fault.Unauthenticated for nobody, fault.Denied, or fault.NotFound where even that it is there is not to
// be learned.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return d.kind.New("%s", d.Why)
}

// Decide says whether somebody may do something. It depends on its arguments alone.
func Decide(who Who, verb Verb, object Object) Decision {
	switch {
	case verb == Public:
		return Decision{Allowed: true, Why: "anybody may"}
	case !slices.Contains(Verbs(), verb):
		return Decision{Why: "access: there is no rule that allows this", kind: fault.Denied}
	case who.ID == "":
		return Decision{Why: "access: nobody knows who asks: a token or a key is needed", kind: fault.Unauthenticated}
	case verb == Greet:
		return Decision{Allowed: true, Why: "whoever is known may"}
	}
	org := object.Org
	if verb == Node {
		org = ""
	}
	for _, g := range who.Grants {
		if !slices.Contains(may[g.Role], verb) {
			continue
		}
		if g.Org == Everywhere || org != "" && (org == Somewhere || g.Org == org) {
			return Decision{Allowed: true, Why: g.String()}
		}
	}
	if object.Run != "" && org != Somewhere && !who.Holds(Read, org) {
		return Decision{Why: "access: no run " + object.Run, kind: fault.NotFound}
	}
	return Decision{Why: missing(who, verb, org), kind: fault.Denied}
}

// missing words which roles would be enough.
func missing(who Who, verb Verb, org string) string {
	var roles []string
	for _, r := range Roles() {
		if slices.Contains(may[r], verb) {
			roles = append(roles, string(r))
		}
	}
	where := "in organization " + org
	switch org {
	case "":
		where = "everywhere (*)"
	case Somewhere:
		where = "in an organization"
	}
	return "access: " + who.Name + " may not " + string(verb) + ": that needs the role " + strings.Join(roles, " or ") + " " + where
}

type askingKey struct{}

// asking is a request in the context of what it asks for.
type asking struct {
	who  Who
	tell func(Verb, Object, Decision)
}

// With returns a context in which who asks is known. What Permit decides there is told to tell, if that is not nil.
func With(ctx context.Context, who Who, tell func(Verb, Object, Decision)) context.Context {
	return context.WithValue(ctx, askingKey{}, asking{who, tell})
}

// From returns who asks; nobody, if that is not known.
func From(ctx context.Context) Who {
	a, _ := ctx.Value(askingKey{}).(asking)
	return a.who
}

// Permit decides whether whoever asks may do something, for handlers that learn only on the way what it is.
func Permit(ctx context.Context, verb Verb, object Object) error {
	a, _ := ctx.Value(askingKey{}).(asking)
	d := Decide(a.who, verb, object)
	if a.tell != nil {
		a.tell(verb, object, d)
	}
	return d.Err()
}
