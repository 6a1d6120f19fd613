package run

import (
	"slices"

	"polity.run"
	"polity.run/fault"
)

// destination is what is outside of the simulated world. It keeps the promise that "not done" is: what was sent before it said so is not done
// any more.
type destination struct {
	clock  int
	closed map[string]int // effect key -> what was sent until then is refused
	late   []*simEffect   // on their way, and nobody waits for them any more
	dumb   bool           // sometimes it does not say what became of an effect
}

func (e *simEffect) key() string {
	return polity.EffectKey(e.p.run.id, e.p.cmd.Name, e.p.cmd.Attempt)
}

// do says whether the effect was done.
func (w *world) do(e *simEffect) bool {
	if e.sent <= w.dest.closed[e.key()] {
		return false
	}
	w.done[e.key()]++
	return true
}

// lose has nobody hear of an effect, which was done, is done later, or never is.
func (w *world) lose(e *simEffect) {
	if e.p.asking {
		return
	}
	switch w.rng.IntN(3) {
	case 0:
		w.do(e)
	case 1:
		w.dest.late = append(w.dest.late, e)
	}
}

// belated does sometimes what was lost on its way.
func (w *world) belated() {
	if n := len(w.dest.late); n > 0 && w.rng.IntN(20) == 0 {
		i := w.rng.IntN(n)
		w.do(w.dest.late[i])
		w.dest.late = slices.Delete(w.dest.late, i, i+1)
	}
}

// tell is what the destination says became of an effect.
func (w *world) tell(e *simEffect) result {
	w.stats.asked++
	switch {
	case w.dest.dumb && w.rng.IntN(4) == 0:
		return result{fault: fault.Of(fault.Timeout.New("no answer to the question"))}
	case w.dest.dumb && w.rng.IntN(8) == 0:
		return result{verdict: polity.VerdictUnknown}
	case w.done[e.key()] > 0:
		w.stats.foundDone++
		return result{verdict: polity.VerdictDone, data: w.answers(e), receipt: []byte(`"done"`)}
	default:
		w.dest.clock++
		w.dest.closed[e.key()] = w.dest.clock
		return result{verdict: polity.VerdictNotDone}
	}
}

// checkAsked wants what the log says after a destination was asked to be true, and nothing unknown where the destination always says.
func (w *world) checkAsked() {
	var f frame
	begins := map[string]int{}
	for _, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for _, r := range f.records {
			r.receipt = w.receipt(&r)
			if r.kind == recForked {
				w.forks[r.run] = true
			}
			key := polity.EffectKey(r.run, r.name, r.attempt)
			switch {
			case r.kind == recBegan:
				if begins[key]++; begins[key] > 1 {
					w.stats.begunAgain++
				}
				if begins[key] > beginsMax || begins[key] > 1 && r.effect.to != "asked" {
					w.fail("%s began %d times", key, begins[key])
				}
			case r.kind != recResult || r.effect.to != "asked":
			case r.fault == nil && w.done[key] != 1:
				w.fail("%s has a result and was done %d times", key, w.done[key])
			case r.asked && r.fault == nil && string(r.receipt) != `"done"`:
				w.fail("%s: receipt %q", key, r.receipt)
			case r.asked && r.fault != nil && w.done[key] != 0:
				w.fail("%s was not done, says its destination, and was done %d times", key, w.done[key])
			case r.fault != nil && r.fault.Kind == fault.Unknown:
				w.stats.unknown++
				if !w.dest.dumb && !w.forks[r.run.Root()] { // a fork does not ask about what began in its origin
					w.fail("%s ended as unknown", key)
				}
			}
		}
	}
}
