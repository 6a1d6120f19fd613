package environ

import (
	"context"
	"time"

	"polity.run/fault"
)

const (
	// EveryMin is the shortest time between two planned times.
	EveryMin = time.Second
	// wakeMax is the longest sleep: a machine that slept, or a clock that was set, is noticed then.
	wakeMax = time.Minute
)

// CatchUp says what becomes of planned times at which nobody watched.
type CatchUp string

// The ways to catch up.
const (
	CatchUpNone CatchUp = "none" // nothing; the default
	CatchUpOne  CatchUp = "one"  // the last of them is observed at the start, unless it was already
)

// Schedule is time that passes. Planned times are the multiples of Every since a Monday's midnight in UTC, so that they are the
// same for whoever counts; an observation's ID is its planned time. While emit holds it back or the machine sleeps, the
// planned times that pass are one: the last of them.
type Schedule struct {
	Every   time.Duration // at least EveryMin
	CatchUp CatchUp       // "" is CatchUpNone
}

// dueInput is what an observation of a Schedule says.
type dueInput struct {
	Event   string    `json:"event"` // time.due
	Planned time.Time `json:"planned"`
}

// Open returns the schedule as a source. It returns fault.Invalid for a bad Schedule. Once observes the last planned time with
// CatchUpOne, else nothing.
func (s Schedule) Open() (Source, error) {
	switch {
	case s.Every < EveryMin:
		return nil, fault.Invalid.New("schedule: every %s is less than %s", s.Every, EveryMin)
	case s.CatchUp != "" && s.CatchUp != CatchUpNone && s.CatchUp != CatchUpOne:
		return nil, fault.Invalid.New("schedule: catch-up %q: want none or one", s.CatchUp)
	}
	return &schedule{Schedule: s}, nil
}

type schedule struct {
	Schedule
	last time.Time // the planned time that was dealt with last; zero before the first
}

func (s *schedule) Name() string { return "every " + s.Every.String() }

// due is the last planned time. It goes by the wall clock alone, as planned times do.
func (s *schedule) due(now time.Time) time.Time { return now.Round(0).UTC().Truncate(s.Every) }

func (s *schedule) Run(ctx context.Context, emit Emit) error {
	if err := s.begin(ctx, emit); err != nil {
		return err
	}
	for {
		next := s.last.Add(s.Every)
		if wait := min(time.Until(next), wakeMax); wait > 0 {
			if err := pause(ctx, s.Name(), wait); err != nil {
				return err
			}
			continue
		}
		if err := s.tell(ctx, emit, s.due(time.Now())); err != nil {
			return err
		}
	}
}

func (s *schedule) Once(ctx context.Context, emit Emit) error { return s.begin(ctx, emit) }

// begin deals with the planned times before the first look.
func (s *schedule) begin(ctx context.Context, emit Emit) error {
	switch {
	case !s.last.IsZero():
		return nil
	case s.CatchUp == CatchUpOne:
		return s.tell(ctx, emit, s.due(time.Now()))
	default:
		s.last = s.due(time.Now())
		return nil
	}
}

func (s *schedule) tell(ctx context.Context, emit Emit, planned time.Time) error {
	o, err := observe(planned.Format(time.RFC3339Nano), planned, dueInput{"time.due", planned})
	if err == nil {
		err = emit(ctx, o)
	}
	if err == nil {
		s.last = planned
	}
	return err
}
