package environ

import (
	"context"
	"slices"
	"time"

	"polity.run/fault"
)

const (
	// EveryMin is the shortest time between two planned times.
	EveryMin = time.Second
	// CatchUpMax is how many planned times are made up for at most, the last ones.
	CatchUpMax = 100
	// wakeMax is the longest sleep: a machine that slept, or a clock that was set, is noticed then.
	wakeMax = time.Minute
)

// CatchUp says what becomes of planned times at which nobody watched.
type CatchUp string

// The ways to catch up.
const (
	CatchUpNone CatchUp = "none" // nothing; the default
	CatchUpOne  CatchUp = "one"  // the last of them is observed at the start, unless it was already
	// CatchUpAll observes each of them since the schedule began, the last CatchUpMax at most, the oldest first.
	CatchUpAll CatchUp = "all"
)

// CatchUps are the ways to catch up.
func CatchUps() []string {
	return []string{string(CatchUpNone), string(CatchUpOne), string(CatchUpAll)}
}

// Schedule is time that passes. Planned times are the same for whoever counts; an observation's ID is its planned time. While emit holds it
// back or the machine sleeps, the planned times that pass are one: the last of them.
type Schedule struct {
	// One of these is set. Every, of at least EveryMin, plans the multiples since a Monday's midnight in UTC. Cron is a calendar of five
	// fields (minute, hour, day of the month, month, day of the week), in a time zone; "" is UTC.
	Every time.Duration
	Cron  string
	Zone  string

	CatchUp CatchUp // "" is CatchUpNone
	// Since says when the schedule began, and that it did at now if it has not yet. It is asked with CatchUpAll alone, once; nil
	// is CatchUpOne instead.
	Since func(now time.Time) (time.Time, error)
}

// dueInput is what an observation of a Schedule says.
type dueInput struct {
	Event   string    `json:"event"` // time.due
	Planned time.Time `json:"planned"`
}

// calendar plans times.
type calendar interface {
	next(t time.Time) time.Time // the first after t; zero if none comes
	last(t time.Time) time.Time // the last that is not after t; zero if there was none
	name() string
}

// Open returns the schedule as a source. It returns fault.Invalid for a bad Schedule. Once observes what is to be caught up with, else
// nothing.
func (s Schedule) Open() (Source, error) {
	out := &schedule{Schedule: s}
	switch {
	case (s.Every != 0) == (s.Cron != ""):
		return nil, fault.Invalid.New("schedule: want one of every and cron")
	case s.Cron == "" && s.Every < EveryMin:
		return nil, fault.Invalid.New("schedule: every %s is less than %s", s.Every, EveryMin)
	case s.Cron == "" && s.Zone != "":
		return nil, fault.Invalid.New("schedule: a zone goes with cron")
	case s.CatchUp != "" && !slices.Contains(CatchUps(), string(s.CatchUp)):
		return nil, fault.Invalid.New("schedule: catch-up %q: want none, one or all", s.CatchUp)
	case s.Cron == "":
		out.calendar = every(s.Every)
		return out, nil
	}
	c, err := parseCron(s.Cron, s.Zone)
	out.calendar = c
	return out, err
}

// every is the calendar of Schedule.Every. It goes by the wall clock alone, as planned times do.
type every time.Duration

func (e every) next(t time.Time) time.Time { return e.last(t).Add(time.Duration(e)) }
func (e every) last(t time.Time) time.Time { return t.Round(0).UTC().Truncate(time.Duration(e)) }
func (e every) name() string               { return "every " + time.Duration(e).String() }

type schedule struct {
	Schedule
	calendar
	begun  bool
	dealt  time.Time   // up to here nothing is to be observed any more
	missed []time.Time // what is still to be made up for
}

func (s *schedule) Name() string { return s.name() }

func (s *schedule) Run(ctx context.Context, emit Emit) error {
	if err := s.Once(ctx, emit); err != nil {
		return err
	}
	for {
		wait := wakeMax
		if next := s.next(s.dealt); !next.IsZero() {
			wait = min(time.Until(next), wakeMax)
		}
		if wait > 0 {
			if err := pause(ctx, s.Name(), wait); err != nil {
				return err
			}
			continue
		}
		if err := s.tell(ctx, emit, s.last(time.Now())); err != nil {
			return err
		}
	}
}

// Once deals with the planned times before the first look.
func (s *schedule) Once(ctx context.Context, emit Emit) error {
	if err := s.begin(time.Now()); err != nil {
		return err
	}
	for len(s.missed) > 0 {
		if err := s.tell(ctx, emit, s.missed[0]); err != nil {
			return err
		}
		s.missed = s.missed[1:]
	}
	return nil
}

// begin finds out, once, what is to be made up for.
func (s *schedule) begin(now time.Time) error {
	if s.begun {
		return nil
	}
	most, since := 0, time.Time{}
	switch {
	case s.CatchUp == CatchUpAll && s.Since != nil:
		var err error
		if since, err = s.Since(now); err != nil {
			return err
		}
		most = CatchUpMax
	case s.CatchUp == CatchUpOne, s.CatchUp == CatchUpAll:
		most = 1
	}
	for t := s.last(now); len(s.missed) < most && t.After(since); t = s.last(t.Add(-1)) {
		s.missed = append(s.missed, t)
	}
	slices.Reverse(s.missed)
	s.begun, s.dealt = true, now.Round(0)
	return nil
}

func (s *schedule) tell(ctx context.Context, emit Emit, planned time.Time) error {
	o, err := observe(planned.Format(time.RFC3339Nano), planned, dueInput{"time.due", planned})
	if err == nil {
		err = emit(ctx, o)
	}
	if err == nil && planned.After(s.dealt) {
		s.dealt = planned
	}
	return err
}
