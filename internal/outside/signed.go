package outside

import (
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/remote"
)

// signedMax are the signatures that are remembered of remote.SignedWithin: that many messages may come signed in that time.
const signedMax = 200_000

// signatures remembers those that were seen, for as long as their messages are taken. It is safe for concurrent use.
type signatures struct {
	mu       sync.Mutex
	now, old map[string]bool // the old ones are dropped when nobody takes their messages any more
	turned   time.Time
}

// add returns fault.Conflict for a signature that was seen, and fault.Full if there are too many to remember.
func (s *signatures) add(signature string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.turned) > 2*remote.SignedWithin { // a message may be as early as it may be late
		s.now, s.old, s.turned = map[string]bool{}, s.now, now
	}
	switch {
	case s.now[signature] || s.old[signature]:
		return fault.Conflict.New("it came before, with the same signature")
	case len(s.now) >= signedMax:
		return fault.Full.New("more than %d signed messages within %s", signedMax, 2*remote.SignedWithin)
	}
	s.now[signature] = true
	return nil
}

// proven returns nil for what a sender has signed with a key that was issued to it, for the first time, where messages have to be. The hub's word for who
// speaks is not needed then.
func (g *Gate) proven(org string, sender polity.AgentName, p bus.Parcel) error {
	if !g.cfg.Signed || !g.atHub(org) {
		return nil
	}
	now := time.Now()
	public, signature, err := remote.Signed(p.Subject, p.Header, p.Data, now)
	if err != nil {
		return err
	}
	k := g.book.find(public)
	if k == nil || k.Org != org || k.Agent != sender || !now.Before(k.Until) {
		return fault.Unauthenticated.New("it is signed with a key that is not %s's, or not any more", sender)
	}
	return g.signed.add(signature, now)
}

// atHub says whether agents of an organization may come through the hub.
func (g *Gate) atHub(org string) bool { return g.cfg.Hub != nil && g.cfg.Hub.Account == org }
