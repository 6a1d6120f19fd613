package door

import (
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"polity.run/internal/access"
)

// How often somebody may ask. The owner may as often as they like: it is their machine.
const (
	askRate     = 100 // requests a second
	askBurst    = 200
	failRate    = 1 // requests a second of an address that does not prove who it is
	failBurst   = 20
	limitersMax = 10_000 // those that are not full are counted; beyond, all begin anew
)

// rates count who asks how often.
type rates struct {
	mu    sync.Mutex
	asked map[string]*rate.Limiter // by who
	wrong map[string]*rate.Limiter // by address
}

// asks counts a request, and returns how long its sender has to wait before it is answered, 0 for not at all.
func (r *rates) asks(who access.Who, now time.Time) time.Duration {
	if who.ID == "" || who.Kind == access.Owner {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return take(&r.asked, who.ID, askRate, askBurst, now)
}

// failed counts a request that did not prove who sent it.
func (r *rates) failed(address string, now time.Time) time.Duration {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return take(&r.wrong, host, failRate, failBurst, now)
}

func take(all *map[string]*rate.Limiter, name string, each rate.Limit, burst int, now time.Time) time.Duration {
	l := (*all)[name]
	if l == nil {
		if *all == nil || len(*all) >= limitersMax {
			*all = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(each, burst)
		(*all)[name] = l
	}
	taken := l.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait > 0 {
		taken.CancelAt(now) // it is not answered, and does not count
	}
	return wait
}
