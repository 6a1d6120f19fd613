package run

import (
	"polity.run"
	"polity.run/fault"
)

// ledger keeps the bounds of one run and everything below it. A root has every bound; a child has a ledger only if
// bounds were delegated to it, and only for those: what it was not given it draws from above. What was
// delegated is held above until the child ends, so the sum of the parts never exceeds the whole.
type ledger struct {
	owner   *run
	above   *ledger // nil at a root
	limit   polity.Bounds
	used    polity.Usage
	held    polity.Usage
	retries int
	expired bool // the wall time is over
}

func (l *ledger) turns() *ledger {
	for l.limit.Turns == 0 {
		l = l.above
	}
	return l
}

func (l *ledger) tokens() *ledger {
	for l.limit.Tokens == 0 {
		l = l.above
	}
	return l
}

func (l *ledger) money() *ledger {
	for l.limit.MicroUSD == 0 {
		l = l.above
	}
	return l
}

// The next three are not held above when they are delegated: every ledger on the way up has its say.

// crowded returns the ledger that does not allow so many pending commands in one run, or nil.
func (l *ledger) crowded(pending int) *ledger {
	for ; l != nil; l = l.above {
		if n := l.limit.FanOut; n > 0 && pending > n {
			return l
		}
	}
	return nil
}

// deep returns the ledger that does not allow a run so far below the root, or nil.
func (l *ledger) deep(depth int) *ledger {
	for ; l != nil; l = l.above {
		if n := l.limit.Depth; n > 0 && depth-l.owner.depth > n {
			return l
		}
	}
	return nil
}

// retried returns the ledger that does not allow one more retry, or nil.
func (l *ledger) retried() *ledger {
	for ; l != nil; l = l.above {
		if n := l.limit.Retries; n > 0 && l.retries >= n {
			return l
		}
	}
	return nil
}

func (l *ledger) over() *ledger {
	for ; l != nil; l = l.above {
		if l.expired {
			return l
		}
	}
	return nil
}

// need is what p holds while it is pending.
func (p *pending) need() polity.Usage {
	if p.cmd.Do == polity.DoSleep {
		return polity.Usage{}
	}
	u := clipUsage(p.cmd.Reserve).Plus(polity.Usage{Turns: 1})
	if p.cmd.Do == polity.DoAsk {
		b := p.cmd.Bounds
		u = u.Plus(clipUsage(polity.Usage{Turns: b.Turns, InputTokens: b.Tokens, MicroUSD: b.MicroUSD}))
	}
	return u
}

// reserve holds what p needs, or returns the fault that names the bound in the way and the ledger
// that has it. It changes nothing then. p is already among its run's pending commands.
func (r *run) reserve(p *pending) (*fault.Error, *ledger) {
	l := r.ledger
	if at := l.over(); at != nil {
		return fault.Exceeded("wall", "wall time of %s is over", at.limit.Wall), at
	}
	if at := l.crowded(len(r.pending)); at != nil {
		return fault.Exceeded("fan_out", "%d commands are pending already", at.limit.FanOut), at
	}
	if p.cmd.Do == polity.DoAsk {
		if at := l.deep(r.depth + 1); at != nil {
			return fault.Exceeded("depth", "%d levels of runs; the most is %d", r.depth+1-at.owner.depth, at.limit.Depth), at
		}
	}
	u := p.need()
	turns, tokens, money := l.turns(), l.tokens(), l.money()
	if free := turns.limit.Turns - turns.used.Turns - turns.held.Turns; u.Turns > free {
		return fault.Exceeded("turns", "%d turns needed, %d of %d left", u.Turns, max(free, 0), turns.limit.Turns), turns
	}
	if free := tokens.limit.Tokens - tokens.used.Tokens() - tokens.held.Tokens(); u.Tokens() > free {
		return fault.Exceeded("tokens", "%d tokens needed, %d of %d left", u.Tokens(), max(free, 0), tokens.limit.Tokens), tokens
	}
	if free := money.limit.MicroUSD - money.used.MicroUSD - money.held.MicroUSD; u.MicroUSD > free {
		return fault.Exceeded("money", "%d micro-USD needed, %d of %d left", u.MicroUSD, max(free, 0), money.limit.MicroUSD), money
	}
	if p.cmd.Attempt > 1 {
		if at := l.retried(); at != nil {
			return fault.Exceeded("retries", "%d retries are used up", at.limit.Retries), at
		}
		for at := l; at != nil; at = at.above {
			at.retries++
		}
	}
	p.held = u
	turns.held.Turns += u.Turns
	tokens.held.InputTokens += u.InputTokens
	tokens.held.OutputTokens += u.OutputTokens
	money.held.MicroUSD += u.MicroUSD
	return nil, nil
}

// unhold gives back what p held and books what was used instead.
func (r *run) unhold(p *pending, used polity.Usage) {
	turns, tokens, money := r.ledger.turns(), r.ledger.tokens(), r.ledger.money()
	turns.held.Turns -= p.held.Turns
	turns.used.Turns += used.Turns
	tokens.held.InputTokens -= p.held.InputTokens
	tokens.held.OutputTokens -= p.held.OutputTokens
	tokens.used.InputTokens += used.InputTokens
	tokens.used.OutputTokens += used.OutputTokens
	money.held.MicroUSD -= p.held.MicroUSD
	money.used.MicroUSD += used.MicroUSD
	p.held = polity.Usage{}
}

// spentAtMost is what an effect is booked with of which nobody knows whether it was done.
func (p *pending) spentAtMost() polity.Usage {
	if p.cmd.Do == polity.DoSleep {
		return polity.Usage{}
	}
	return clipUsage(p.cmd.Reserve).Plus(polity.Usage{Turns: 1})
}

// spentByChild is what a child used of the bounds that were delegated to it, and the turn of asking it.
// The rest was booked above as it happened.
func (p *pending) spentByChild(child *run) polity.Usage {
	u := polity.Usage{Turns: 1}
	if child.ledger.owner != child {
		return u
	}
	used := child.ledger.used
	if p.cmd.Bounds.Turns > 0 {
		u.Turns += used.Turns
	}
	if p.cmd.Bounds.Tokens > 0 {
		u.InputTokens, u.OutputTokens = used.InputTokens, used.OutputTokens
	}
	if p.cmd.Bounds.MicroUSD > 0 {
		u.MicroUSD = used.MicroUSD
	}
	return u
}
