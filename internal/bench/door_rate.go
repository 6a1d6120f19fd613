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
	OpensMax = 20_000         // a second
	OpensFor = 24 * time.Hour // at most
)

const (
	opensAlong = 1024 // requests under way at once; beyond, they are late, which counts
	echoEach   = 10   // starts there are to each echo beside them
	sayEvery   = 10 * time.Second
)

// Opens is what came of runs that were started at an even rate.
type Opens struct {
	Sync   engine.Sync   `json:"sync"`
	Wanted float64       `json:"wanted_per_second"`
	For    time.Duration `json:"for_ns"`
	Rate   float64       `json:"per_second"`
	Errors int           `json:"errors"`          // of both
	Error  string        `json:"error,omitempty"` // the first
	Starts Lags          `json:"starts"`          // that were answered 201
	Echo   Lags          `json:"echo"`            // by net/http with one commit, in the same moments
}

// Lags are how long answers took from when the request was due, and not from when it could be sent, in ms.
type Lags struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// OpenAt has runs of an agent started through the door of a node at an even rate for a while, from the same process. An answer says that the run is durable; the run
// goes on meanwhile: it is of a function, and has two commits. Beside every tenth of them an echo that commits once is asked: what that takes is the machine's.
func OpenAt(ctx context.Context, cfg Config, rate float64, during time.Duration) (w Opens, err error) {
	cfg = cfg.or()
	w = Opens{Sync: cfg.Sync[0], Wanted: rate, For: during}
	dir, remove, err := cfg.folder()
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, remove()) }()
	s, err := openServed(ctx, filepath.Join(dir, "polity"), w.Sync)
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, s.Close()) }()
	body := order("clerk")
	start := func() ([]byte, error) {
		return post(ctx, s.http, s.url+"/v1/runs", s.token, body, http.StatusCreated)
	}
	answer, err := start()
	if err != nil {
		return w, err
	}
	l, err := openLimits(ctx, dir, w.Sync, answer)
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, l.Close()) }()
	var starts, echoes tally
	begin, said := time.Now(), time.Now()
	slots := make(chan struct{}, opensAlong)
	for i := 0; ctx.Err() == nil; i++ {
		after := time.Duration(float64(i) / rate * float64(time.Second))
		if after >= during {
			break
		}
		due := begin.Add(after)
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		if time.Since(said) > sayEvery {
			said = time.Now()
			cfg.Progress(fmt.Sprintf("%d starts within %s", i, time.Since(begin).Round(time.Second)))
		}
		slots <- struct{}{}
		starts.run(due, func() error {
			defer func() { <-slots }()
			_, err := start()
			return err
		})
		if i%echoEach == 0 {
			echoes.run(due, func() error { return l.ask(ctx, body) })
		}
	}
	starts.under.Wait()
	echoes.under.Wait()
	if ctx.Err() != nil {
		return w, context.Cause(ctx)
	}
	w.Rate = float64(len(starts.took)) / time.Since(begin).Seconds()
	w.Starts, w.Echo, w.Errors = starts.lags(), echoes.lags(), starts.bad+echoes.bad
	if err := first(starts.first, echoes.first); err != nil {
		w.Error = fault.Of(err).Error()
	}
	return w, nil
}

// tally gathers how long answers took.
type tally struct {
	under sync.WaitGroup
	mu    sync.Mutex
	took  []float64 // ms
	bad   int
	first error
}

// run does what was due at a moment, in a goroutine.
func (t *tally) run(due time.Time, do func() error) {
	t.under.Go(func() {
		err := do()
		took := float64(time.Since(due).Nanoseconds()) / 1e6
		t.mu.Lock()
		defer t.mu.Unlock()
		if err != nil {
			t.bad++
			t.first = first(t.first, err)
			return
		}
		t.took = append(t.took, took)
	})
}

func (t *tally) lags() Lags {
	n := len(t.took)
	if n == 0 {
		return Lags{}
	}
	slices.Sort(t.took)
	at := func(q float64) float64 { return t.took[int(q*float64(n-1))] }
	return Lags{Count: n, P50: at(.5), P95: at(.95), P99: at(.99), Max: at(1)}
}
