package pattern

import (
	"slices"
	"strconv"
)

// Check returns all problems: see Config.
func (c Peers) Check() error {
	var p problems
	if len(c.Peers) < 2 || len(c.Peers) > PeersMax {
		p.add(in("peers"), "%s; want 2 to %d", plural(len(c.Peers), "peer"), PeersMax)
	}
	names := c.names()
	for i, one := range c.Peers {
		switch {
		case one.Agent == office:
			p.add(in("peers[%d].agent", i), "%q is who the request comes from; give the agent another name", office)
		case one.Agent != "" && slices.Index(names, one.Agent) < i:
			p.add(in("peers[%d].agent", i), "%s is listed twice; delete one", one.Agent)
		}
		if err := one.Bounds.Check(); err != nil {
			p.add(in("peers[%d].bounds", i), "%v", err)
		}
	}
	shaped := c.checkShape(&p)
	c.checkStart(&p)
	c.checkGoal(&p)
	c.checkLimits(&p)
	if shaped && len(p.list) == 0 {
		c.checkReach(&p)
	}
	checkRoles(c.Roles(), c.Members, &p)
	return p.err()
}

// checkShape says whether the shape is one.
func (c *Peers) checkShape(p *problems) bool {
	t, n := &c.Topology, len(c.Peers)
	before := len(p.list)
	if len(c.Links) > 0 && c.shape() != shapeLinks {
		p.add(in("links"), "the topology %s has its own links; delete these, or the topology", c.shape())
	}
	switch shape := c.shape(); {
	case !slices.Contains([]string{shapeMesh, shapeRing, shapeStar, shapeSparse, shapeLinks}, shape):
		p.add(in("topology"), "%q is unknown; want mesh, ring, star, sparse or links", shape)
	case shape == shapeLinks && len(c.Links) == 0:
		p.add(in("links"), "nobody is linked to anybody; add links")
	case shape == shapeRing && n == 2:
		p.add(in("topology"), "two peers are no ring; leave the topology out, or add a peer")
	case shape == shapeSparse && (t.Degree < 2 || t.Degree >= n || t.Degree%2 == 1 && n%2 == 1):
		p.add(in("topology.degree"), "%d of %d peers cannot be linked to each; want 2 to %d, and an even degree where the number of peers is odd", t.Degree, n, n-1)
	case shape != shapeSparse && t.Degree != 0:
		p.add(in("topology.degree"), "only the topology sparse has a degree; delete it")
	case shape != shapeStar && t.Center != "":
		p.add(in("topology.center"), "only a star has a center; delete it")
	case shape == shapeStar && t.Center == "":
		p.add(in("topology"), "the star has no center; write {shape: star, center: NAME}")
	case shape == shapeStar && !slices.Contains(c.names(), t.Center):
		p.add(in("topology.center"), "%s is not among the peers%s", t.Center, among(c.names(), string(t.Center)))
	}
	checkLinks(c.Links, c.names(), "peers", p)
	for i, l := range c.Links {
		if l.Back {
			p.add(in("links[%d].back", i), "messages have no way back to forbid; delete it")
		}
	}
	return len(p.list) == before
}

func (c *Peers) checkStart(p *problems) {
	if len(c.begin()) == 0 {
		p.add(in("peers"), "all of them join later, so that nobody gets the request; let one be there from the start")
	}
	for i, s := range c.Start {
		at := in("start[%d]", i)
		k := slices.Index(c.names(), s)
		switch {
		case k < 0:
			p.add(at, "%s is not among the peers%s", s, among(c.names(), string(s)))
		case c.Peers[k].Later:
			p.add(at, "%s joins later, and cannot get the request", s)
		case slices.Index(c.Start, s) < i:
			p.add(at, "%s is listed twice; delete one", s)
		}
	}
}

func (c *Peers) checkGoal(p *problems) {
	g := c.Goal
	if g == nil {
		return
	}
	if g.When == nil && g.Done == "" {
		p.add(in("goal"), "it says nothing; add when or done")
	}
	if w := g.When; w != nil {
		w.check("goal.when", "state", p)
		if w.Member != "" && !slices.Contains(c.names(), w.Member) {
			p.add(in("goal.when.member"), "%s is not among the peers%s", w.Member, among(c.names(), string(w.Member)))
		}
	}
	if n, err := strconv.Atoi(g.Done); g.Done != "" && g.Done != doneAll && (err != nil || n < 1 || n > len(c.Peers)) {
		p.add(in("goal.done"), "%q is neither a number within 1 and %d nor %s", clip(g.Done, nameMax), len(c.Peers), doneAll)
	}
}

func (c *Peers) checkLimits(p *problems) {
	l := &c.Limits
	for _, one := range []struct {
		name      string
		is, limit int
	}{{"turns", l.Turns, turnsMax}, {"messages", l.Messages, messagesMax}, {"queue", l.Queue, queueMax}, {"stall", l.Stall, stallMax}} {
		if one.is < 0 || one.is > one.limit {
			p.add(in("limits.%s", one.name), "%d is not within 1 and %d", one.is, one.limit)
		}
	}
}

// checkReach checks that everybody can be reached from those who get the request.
func (c *Peers) checkReach(p *problems) {
	for _, n := range unreached(c.names(), c.begin(), c.linked) {
		p.add(in("peers[%d].agent", slices.Index(c.names(), n)), "no message can come to %s from %s; add a link to it", n, list(c.begin()))
	}
}

const doneAll = "all"

// reached says whether the goal is reached.
func (g *Goal) reached(all []*peer) bool {
	if g == nil {
		return false
	}
	here, done := 0, 0
	for _, m := range all {
		if w := g.When; w != nil && (w.Member == "" || w.Member == m.to.Name) && w.holds(m.state) {
			return true
		}
		if m.present {
			here++
		}
		if m.done {
			done++
		}
	}
	if g.Done == doneAll {
		return here > 0 && !slices.ContainsFunc(all, func(m *peer) bool { return m.present && !m.done })
	}
	n, err := strconv.Atoi(g.Done)
	return err == nil && done >= n
}
