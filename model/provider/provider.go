// Package provider makes a declared model of a provider's adapter, and adds what every provider needs: attempts that wait as
// long as it asks for, limits over all runs of the process, a time limit, prices, and other models to fall back to.
//
//	request -> wait for the limits -> ask, within its time -> again while unavailable -> the next model
package provider

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"

	"polity.run"
	"polity.run/fault"
	"polity.run/memory"
	"polity.run/model"
	"polity.run/model/anthropic"
	"polity.run/model/openai"
)

// Limits of waiting.
const (
	FirstWait = 500 * time.Millisecond // before the second attempt, without a word of the provider
	MostWait  = 30 * time.Second       // between two attempts
	AfterMax  = 2 * time.Minute        // that a provider may ask to wait; asked for more, the attempt is the last
)

// Shared is what models with the same address and key have in common: their limits. It is safe for concurrent use.
type Shared struct {
	waiting atomic.Int64 // requests

	mu     sync.Mutex
	limits map[string]*limit
}

// Waiting returns how many requests wait for the limits of their providers now.
func (s *Shared) Waiting() int { return int(s.waiting.Load()) }

// NewShared returns limits of which nothing is used.
func NewShared() *Shared { return &Shared{limits: map[string]*limit{}} }

// limit is what one provider may be asked for by this process.
type limit struct {
	perMinute *rate.Limiter // nil for no limit
	atOnce    chan struct{}
	waiting   *atomic.Int64
}

// of returns the limit of a spec's provider. The first spec that names an address and a key sets it; a later one only lowers the rate.
func (s *Shared) of(spec model.Spec) *limit {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join([]string{string(spec.API), spec.URL, spec.KeyEnv}, " ")
	l := s.limits[key]
	if l == nil {
		n := spec.AtOnce
		if n == 0 {
			n = model.AtOnceDefault
		}
		l = &limit{atOnce: make(chan struct{}, n), waiting: &s.waiting}
		s.limits[key] = l
	}
	if spec.PerMinute > 0 {
		every := rate.Every(time.Minute / time.Duration(spec.PerMinute))
		switch {
		case l.perMinute == nil:
			l.perMinute = rate.NewLimiter(every, max(1, spec.PerMinute/10))
		case every < l.perMinute.Limit():
			l.perMinute.SetLimit(every)
		}
	}
	return l
}

func (l *limit) enter(ctx context.Context, name string) error {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	if l.perMinute != nil {
		if err := l.perMinute.Wait(ctx); err != nil {
			if ctx.Err() != nil {
				return model.Ended(ctx, name)
			}
			return fault.Timeout.New("model %s: its limit of requests a minute leaves no time: %w", name, err)
		}
	}
	select {
	case l.atOnce <- struct{}{}:
		return nil
	case <-ctx.Done():
		return model.Ended(ctx, name)
	}
}

func (l *limit) leave() { <-l.atOnce }

// provided is a model with all that is added to it.
type provided struct {
	spec   model.Spec
	asks   model.Model
	others func(name string) model.Model
	limit  *limit
}

var _ model.Model = (*provided)(nil)

// New returns the model that a spec declares. others finds the models that it may fall back to, when it does; those must be made by New
// as well. It returns fault.Invalid for a spec that is wrong. Nothing is asked of the provider yet.
func New(spec model.Spec, others func(name string) model.Model, shared *Shared) (model.Model, error) {
	var m model.Model
	var err error
	switch spec.API {
	case model.Anthropic:
		m, err = anthropic.New(spec)
	default:
		m, err = openai.New(spec)
	}
	if err != nil {
		return nil, err
	}
	return &provided{spec: spec, asks: m, others: others, limit: shared.of(spec)}, nil
}

// Name is the spec's.
func (p *provided) Name() string { return p.spec.Name }

// Answer implements model.Model: it asks its own provider as often as the spec allows, and then those of the fallbacks, which fall
// back to nobody themselves. Usage is of all attempts together, each at its own price.
func (p *provided) Answer(ctx context.Context, r model.Request) (model.Response, error) {
	out, err := p.attempts(ctx, r)
	spent := out.Usage
	for _, name := range p.spec.Fallback {
		if !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Timeout) || ctx.Err() != nil {
			break
		}
		next, ok := p.other(name)
		if !ok {
			return model.Response{Usage: spent}, fault.NotFound.New("model %s: no model %q to fall back to: %w", p.spec.Name, name, err)
		}
		var after error
		if out, after = next.attempts(ctx, r); after != nil {
			err = fault.Of(after).Kind.New("%w; model %s, instead of it: %w", err, name, after)
		} else {
			err = nil
			if out.Model == "" {
				out.Model = next.spec.Model
			}
		}
		spent = spent.Plus(out.Usage)
	}
	out.Usage = spent
	return out, err
}

// other finds a model to fall back to, also behind what was put around it.
func (p *provided) other(name string) (*provided, bool) {
	if p.others == nil {
		return nil, false
	}
	m := p.others(name)
	for m != nil {
		if found, ok := m.(*provided); ok {
			return found, true
		}
		around, ok := m.(interface{ Unwrap() model.Model })
		if !ok {
			return nil, false
		}
		m = around.Unwrap()
	}
	return nil, false
}

// attempts asks as often as the spec allows.
func (p *provided) attempts(ctx context.Context, r model.Request) (model.Response, error) {
	most := p.spec.OutputMax
	if most == 0 {
		most = model.OutputDefault
	}
	if r.OutputMax == 0 || r.OutputMax > most {
		r.OutputMax = most
	}
	var spent polity.Usage
	var out model.Response
	err := persist(ctx, p.spec, func() error {
		var err error
		out, err = p.once(ctx, r)
		spent = spent.Plus(out.Usage)
		return err
	})
	out.Usage = spent
	return out, err
}

// persist asks until there is an answer, or a fault that asking again does not change.
func persist(ctx context.Context, spec model.Spec, once func() error) error {
	waits := backoff.ExponentialBackOff{
		InitialInterval: FirstWait, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: MostWait,
	}
	waits.Reset()
	attempts := cmp.Or(spec.Attempts, model.AttemptsDefault)
	for n := 1; ; n++ {
		err := once()
		if err == nil || n >= attempts || ctx.Err() != nil || !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Timeout) {
			return err
		}
		wait := waits.NextBackOff()
		var later *model.Later
		if errors.As(err, &later) {
			if later.After > AfterMax {
				return err
			}
			wait = later.After + rand.N(FirstWait) // not all at the same moment
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return model.Ended(ctx, spec.Name)
		}
	}
}

// once asks one time, within the limits and its time.
func (p *provided) once(ctx context.Context, r model.Request) (model.Response, error) {
	var out model.Response
	err := p.limit.within(ctx, p.spec, func(ctx context.Context) error {
		var err error
		out, err = p.asks.Answer(ctx, r)
		return err
	})
	out.Usage.MicroUSD = p.spec.Price.Cost(out.Usage.InputTokens, out.Usage.OutputTokens, out.Cached, out.CacheWritten)
	return out, err
}

// within does something within the limits and a spec's time.
func (l *limit) within(ctx context.Context, spec model.Spec, do func(context.Context) error) error {
	if err := l.enter(ctx, spec.Name); err != nil {
		return err
	}
	defer l.leave()
	most := time.Duration(cmp.Or(spec.Timeout, model.TimeoutDefault))
	timed, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := do(timed)
	if err != nil && ctx.Err() == nil && timed.Err() != nil {
		return fault.Timeout.New("model %s: no whole answer within %s", spec.Name, most)
	}
	return err
}

// embedder is an embedder with all that is added to it.
type embedder struct {
	spec  model.Spec
	asks  memory.Embedder
	limit *limit
}

var _ memory.Embedder = (*embedder)(nil)

// NewEmbedder returns the embedder that a spec declares, with attempts, limits and prices as a model has them. It returns fault.Invalid for a spec that is
// wrong, or of a protocol that has none.
func NewEmbedder(spec model.Spec, shared *Shared) (memory.Embedder, error) {
	if spec.API != model.OpenAI {
		return nil, fault.Invalid.New("model %s: embeddings are asked for with api openai alone", spec.Name)
	}
	e, err := openai.NewEmbedder(spec)
	if err != nil {
		return nil, err
	}
	return &embedder{spec, e, shared.of(spec)}, nil
}

func (e *embedder) Name() string { return e.asks.Name() }

func (e *embedder) Embed(ctx context.Context, texts []string) (vectors [][]float32, spent polity.Usage, err error) {
	err = persist(ctx, e.spec, func() error {
		return e.limit.within(ctx, e.spec, func(ctx context.Context) error {
			var usage polity.Usage
			var err error
			vectors, usage, err = e.asks.Embed(ctx, texts)
			usage.MicroUSD = e.spec.Price.Cost(usage.InputTokens, 0, 0, 0)
			spent = spent.Plus(usage)
			return err
		})
	})
	return vectors, spent, err
}
