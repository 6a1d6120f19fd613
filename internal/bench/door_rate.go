package bench

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"polity.run/engine"
	"polity.run/fault"
)

// The limits of what can be asked for.
const (
	StartsMax   = 20_000         // a second
	StartsFor   = 24 * time.Hour // at most
	startsAlong = 1024           // requests under way at once; beyond, they are late, which counts
	sayEvery    = 10 * time.Second
)

// Opens is what came of runs that were started at an even rate.
type Opens struct {
	Sync   engine.Sync   `json:"sync"`
	Rate   float64       `json:"rate"` // wanted, a second
	For    time.Duration `json:"for_ns"`
	Starts int           `json:"starts"` // that were answered 201
	Errors int           `json:"errors"`
	Error  string        `json:"error,omitempty"` // the first
	Got    float64       `json:"per_second"`
	// From when a request was due, not from when it could be sent, until it was answered; in ms.
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// OpenAt has runs of an agent started through the door of a node at an even rate for a while, from the same process. An answer says that the run is durable; the run goes on
// meanwhile: it is of a function, and has two commits.
func OpenAt(ctx context.Context, cfg Config, rate float64, during time.Duration) (w Opens, err error) {
	cfg = cfg.or()
	dir, remove, err := cfg.folder()
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, remove()) }()
	s, err := openServed(ctx, filepath.Join(dir, "polity"), cfg.Sync[0])
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, s.Close()) }()
	body := order("clerk")
	t := tally{most: int(rate*during.Seconds()) + 1}
	said := time.Now()
	begin := time.Now()
	slots := make(chan struct{}, startsAlong)
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if due.Sub(begin) >= during {
			break
		}
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		if time.Since(said) > sayEvery {
			said = time.Now()
			cfg.Progress(fmt.Sprintf("%d of %d starts, %s", i, t.most, time.Since(begin).Round(time.Second)))
		}
		slots <- struct{}{}
		t.under.Go(func() {
			defer func() { <-slots }()
			_, err := post(ctx, s.http, s.url+"/v1/runs", s.token, body, http.StatusCreated)
			t.add(time.Since(due), err)
		})
	}
	t.under.Wait()
	if ctx.Err() != nil {
		return w, context.Cause(ctx)
	}
	w = t.sum(time.Since(begin))
	w.Sync, w.Rate, w.For = cfg.Sync[0], rate, during
	return w, nil
}

// tally gathers how long answers took.
type tally struct {
	most  int
	under sync.WaitGroup
	mu    sync.Mutex
	took  []time.Duration
	bad   int
	first error
}

func (t *tally) add(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.bad++
		t.first = first(t.first, err)
		return
	}
	if t.took == nil {
		t.took = make([]time.Duration, 0, t.most)
	}
	t.took = append(t.took, took)
}

func (t *tally) sum(during time.Duration) Opens {
	w := Opens{Starts: len(t.took), Errors: t.bad, Got: float64(len(t.took)) / during.Seconds()}
	if t.first != nil {
		w.Error = fault.Of(t.first).Error()
	}
	if len(t.took) == 0 {
		return w
	}
	slices.Sort(t.took)
	at := func(q float64) float64 { return float64(t.took[int(q*float64(len(t.took)-1))]) / 1e6 }
	w.P50, w.P95, w.P99, w.Max = at(.5), at(.95), at(.99), at(1)
	return w
}
