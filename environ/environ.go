// Package environ watches what happens outside, so that an organization answers to its environment and not only to those
// who ask it.
//
// It exists because perception begins somewhere: a file appears, an hour has passed, a line arrives. Each source turns that
// into observations, and knows nothing of who makes a request of them:
//
//	Folder, Schedule, Lines (what is watched) -> Open -> Run: observation, observation ... -> emit, which accepts or refuses each
//
// What makes perception exactly-once is the observation's ID: the same thing seen again, in this process or in the next one,
// has the same ID. Whoever accepts observations derives the run from it, so that opening twice is one run.
package environ

import (
	"context"
	"encoding/json"
	"time"

	"polity.run/fault"
)

// Observation is one thing that was seen.
type Observation struct {
	// ID is the same whenever the same thing is seen, and unique within its source.
	ID string `json:"id"`
	// Time is when it was seen, or when it was planned.
	Time time.Time `json:"time"`
	// Key names what it is about: observations of one key are handled one after another, in order. "" is nothing.
	Key string `json:"key,omitempty"`
	// Input is a JSON object that says what was seen.
	Input json.RawMessage `json:"input"`
}

// Emit takes an observation. It blocks until there is room for it, which holds the source back. When it returns nil the
// observation is safe and the source forgets it; after an error the source ends, and its next Run begins with this observation.
type Emit func(ctx context.Context, o Observation) error

// Source is something outside that is watched. It is used by one goroutine at a time.
type Source interface {
	// Name says in a few words what is watched, as in "folder inbox".
	Name() string
	// Run emits what is seen, one after the other, until the source is at its end (nil), ctx ends (fault.Cancelled), emit fails
	// (its error) or nothing can be seen any more. It may be called again.
	Run(ctx context.Context, emit Emit) error
	// Once emits what there is to see now. Its errors are those of Run.
	Once(ctx context.Context, emit Emit) error
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, name string, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx, name)
	}
}

func ended(ctx context.Context, name string) error {
	return fault.Cancelled.New("%s: %w", name, context.Cause(ctx))
}

// observe makes an observation of what was seen now.
func observe(id string, at time.Time, input any) (Observation, error) {
	data, err := json.Marshal(input)
	if err != nil {
		return Observation{}, fault.Internal.New("environ: write an observation: %w", err)
	}
	return Observation{ID: id, Time: at, Input: data}, nil
}
