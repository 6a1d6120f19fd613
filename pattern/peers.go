package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
)

// Limits of peers.
const (
	PeersMax        = 64
	turnsDefault    = 200
	turnsMax        = 10_000
	messagesDefault = 1000
	messagesMax     = 10_000
	queueDefault    = 100
	queueMax        = 1000
	stallDefault    = 20
	stallMax        = 10_000
	sameTurns       = 3 // times that a member is asked the very same thing, after which peers stall
)

// The shapes of who is linked to whom. Every one of them but links goes both ways.
const (
	shapeMesh   = "mesh"   // everybody to everybody
	shapeRing   = "ring"   // each to the one before and the one after, in the order of the peers
	shapeStar   = "star"   // the center to everybody else
	shapeSparse = "sparse" // each to its degree nearest ones in the order of the peers, which is taken for a circle
	shapeLinks  = "links"  // as Links say
)

// Peers is the configuration of agents that send each other messages.
//
//	request -> start -> { a member with mail takes its turn -> what it sends is delivered } ... -> quiet | goal | stall | bound
//
// A member that has mail is asked for the duty receive, with all of its mail and what it returned as its state before; one turn
// of a member at a time, turns of different members at once. What it sends goes to those that it is linked to, and "*" to all of
// them, never back to itself. Links are permissions: what may not be delivered is returned to its sender with the reason.
//
// A request, query or cfp is answered once, by a message with in_reply_to; an answer may go where no link leads. When all is quiet who
// waits for an answer is told once that none comes.
type Peers struct {
	Peers    []Peer             `json:"peers"`
	Topology Topology           `json:"topology,omitzero"`
	Links    []Link             `json:"links,omitempty"`
	Start    []polity.AgentName `json:"start,omitempty"` // who gets the request; empty is everybody who is there from the start
	Goal     *Goal              `json:"goal,omitempty"`
	Limits   PeerLimits         `json:"limits,omitzero"`
	Members  []Member           `json:"members,omitempty"`
}

// Peer is a member.
type Peer struct {
	Agent polity.AgentName `json:"agent"`
	// Later says that it joins only when it is sent an invite. Until then nothing else is delivered to it.
	Later  bool          `json:"later,omitempty"`
	Bounds polity.Bounds `json:"bounds,omitzero"` // of each of its turns
}

// Topology says who is linked to whom.
type Topology struct {
	Shape  string           `json:"shape,omitempty"`  // mesh, ring, star, sparse or links; "" is links if there are Links, else mesh
	Center polity.AgentName `json:"center,omitempty"` // of a star
	Degree int              `json:"degree,omitempty"` // of sparse: how many each is linked to
}

// Goal says when peers have reached what they are there for. Either field is enough; each turn it is looked at.
type Goal struct {
	When *GoalState `json:"when,omitempty"`
	Done string     `json:"done,omitempty"` // how many say that they are done: a number, or all who are there
}

// GoalState is what a member's state must hold.
type GoalState struct {
	Member polity.AgentName `json:"member,omitempty"` // "" for any
	Condition
}

// PeerLimits bound a run of peers, beside the bounds of every run. A zero field takes its default.
type PeerLimits struct {
	Turns    int `json:"turns,omitempty"`    // of all members together; default 200
	Messages int `json:"messages,omitempty"` // that are delivered; default 1000
	Queue    int `json:"queue,omitempty"`    // messages that wait for one member; default 100
	Stall    int `json:"stall,omitempty"`    // turns in a row that send something and say nothing new, after which it ends; default 20
}

func (l PeerLimits) orDefault() PeerLimits {
	return PeerLimits{
		Turns: cmp.Or(l.Turns, turnsDefault), Messages: cmp.Or(l.Messages, messagesDefault),
		Queue: cmp.Or(l.Queue, queueDefault), Stall: cmp.Or(l.Stall, stallDefault),
	}
}

const (
	dutyReceive = "receive"
	// office is who sends the request and what concerns delivery; answers to it are answers of the run.
	office = "organization"
	// everyone as a recipient is everybody whom the sender is linked to.
	everyone = "*"
)

// receiveDuty is the duty of a member.
var receiveDuty = polity.Skill{
	Name: dutyReceive, Description: "Take your mail, and say what you send and what you remember.", Input: dutyInput,
	Output: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{` +
		`"send":{"type":"array","maxItems":64,"description":"messages","items":{"type":"object","additionalProperties":false,"required":["kind"],"properties":{` +
		`"to":{"type":"string","description":"a member you are linked to, or * for all of them; left out it is who asked"},` +
		`"kind":{"enum":["request","query","cfp","response","propose","refuse","failure","agree","inform","accept","reject","notify","subscribe","cancel","invite"]},` +
		`"body":{"description":"what you say"},` +
		`"in_reply_to":{"type":"string","description":"id of the message that this answers"},` +
		`"conversation":{"type":"string","description":"left out it is that of what is answered, or a new one"}}}},` +
		`"state":{"description":"what you will be told again at your next turn; left out it stays"},` +
		`"register":{"type":"array","maxItems":20,"items":{"type":"string"},"description":"what you can be asked about, for the others to see"},` +
		`"done":{"type":"boolean","description":"whether you have nothing more to do"},` +
		`"leave":{"type":"boolean","description":"true takes you out, after what you send"}}}`),
}

// Roles lists the peers.
func (c Peers) Roles() []Role {
	var roles []Role
	for i, p := range c.Peers {
		roles = append(roles, Role{Field: fmt.Sprintf("peers[%d].agent", i), Name: "peer", Agent: p.Agent, Duties: []polity.Skill{receiveDuty}})
	}
	return roles
}

// Know fills the members in.
func (c *Peers) Know(members []Member) { c.Members = known(c.Roles(), members) }

func (c *Peers) names() []polity.AgentName {
	var names []polity.AgentName
	for _, p := range c.Peers {
		names = append(names, p.Agent)
	}
	return names
}

// index is the place of a peer, or -1.
func (c *Peers) index(name polity.AgentName) int {
	return slices.IndexFunc(c.Peers, func(p Peer) bool { return p.Agent == name })
}

// shape is the shape of who is linked to whom.
func (c *Peers) shape() string {
	switch {
	case c.Topology.Shape != "":
		return c.Topology.Shape
	case len(c.Links) > 0:
		return shapeLinks
	default:
		return shapeMesh
	}
}

// linked says whether one member may send to another.
func (c *Peers) linked(from, to polity.AgentName) bool {
	i, k, n := c.index(from), c.index(to), len(c.Peers)
	if i < 0 || k < 0 || i == k {
		return false
	}
	apart := min((i-k+n)%n, (k-i+n)%n) // on the circle
	switch c.shape() {
	case shapeRing:
		return apart == 1
	case shapeStar:
		return from == c.Topology.Center || to == c.Topology.Center
	case shapeSparse:
		return apart <= c.Topology.Degree/2 || c.Topology.Degree%2 == 1 && 2*apart == n
	case shapeLinks:
		return slices.ContainsFunc(c.Links, func(l Link) bool {
			return l.From == from && slices.Contains(l.To, to) || l.Both && l.From == to && slices.Contains(l.To, from)
		})
	default:
		return true
	}
}

// begin is who gets the request.
func (c *Peers) begin() []polity.AgentName {
	if len(c.Start) > 0 {
		return c.Start
	}
	var names []polity.AgentName
	for _, p := range c.Peers {
		if !p.Later {
			names = append(names, p.Agent)
		}
	}
	return names
}

// Decider returns what decides the runs. A run finishes with a PeersResult, or fails with the kind of the last turn if no member ever
// answered.
func (c Peers) Decider() (polity.Decider, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	own := copied(c)
	own.Limits = own.Limits.orDefault()
	return player{"peers", func(d *desk) play { return newPeersRun(d, own) }}, nil
}
