package polity

import (
	"cmp"
	"encoding/json"
	"time"

	"polity.run/fault"
)

// Usage is what work consumed.
type Usage struct {
	Turns        int   `json:"turns,omitempty"` // commands done: asks, calls and thoughts
	InputTokens  int64 `json:"input_tokens,omitempty"`
	OutputTokens int64 `json:"output_tokens,omitempty"`
	MicroUSD     int64 `json:"micro_usd,omitempty"` // millionths of a US dollar
}

// Tokens is input and output together.
func (u Usage) Tokens() int64 { return u.InputTokens + u.OutputTokens }

// Plus returns the sum.
func (u Usage) Plus(v Usage) Usage {
	return Usage{u.Turns + v.Turns, u.InputTokens + v.InputTokens, u.OutputTokens + v.OutputTokens, u.MicroUSD + v.MicroUSD}
}

// Bounds limit a run and all its children together. They are finite: a zero field takes the
// default of DefaultBounds at a root, and is not delegated at a child. Reaching a bound ends
// nothing by force: the command that would exceed it is answered with fault.Exhausted, the decider finishes with
// the best it has, and the run's status says exhausted.
type Bounds struct {
	Turns    int      `json:"turns,omitempty"`     // commands done
	Tokens   int64    `json:"tokens,omitempty"`    // model tokens, input and output
	MicroUSD int64    `json:"micro_usd,omitempty"` // millionths of a US dollar
	Wall     Duration `json:"wall,omitempty"`      // time while an owner served the run
	Depth    int      `json:"depth,omitempty"`     // levels of runs below this one
	FanOut   int      `json:"fan_out,omitempty"`   // commands pending at once in one run
	Retries  int      `json:"retries,omitempty"`   // commands with an attempt above 1

	// UndoReserve is how much of turns, tokens, money, wall and retries only commands that undo may use, in percent, at most UndoReserveMax; 0
	// keeps nothing back. Bounds that are delegated take it over from those above.
	UndoReserve int `json:"undo_reserve,omitempty"`
}

// Percent of bounds that are kept for undoing.
const (
	UndoReserveDefault = 20 // where a manifest says how something is undone, and not how much is kept for it
	UndoReserveMax     = 90
)

// DefaultBounds are what a root run gets where it names nothing.
func DefaultBounds() Bounds {
	return Bounds{
		Turns: 500, Tokens: 2_000_000, MicroUSD: 5_000_000, Wall: Duration(time.Hour),
		Depth: 8, FanOut: 64, Retries: 50,
	}
}

// Or returns b with its zero fields taken from d.
func (b Bounds) Or(d Bounds) Bounds {
	return Bounds{
		Turns: cmp.Or(b.Turns, d.Turns), Tokens: cmp.Or(b.Tokens, d.Tokens), MicroUSD: cmp.Or(b.MicroUSD, d.MicroUSD),
		Wall: cmp.Or(b.Wall, d.Wall), Depth: cmp.Or(b.Depth, d.Depth), FanOut: cmp.Or(b.FanOut, d.FanOut),
		Retries: cmp.Or(b.Retries, d.Retries), UndoReserve: cmp.Or(b.UndoReserve, d.UndoReserve),
	}
}

// Check returns nil, or an Invalid fault for a negative bound or a reserve that leaves too little.
func (b Bounds) Check() error {
	if b.Turns < 0 || b.Tokens < 0 || b.MicroUSD < 0 || b.Wall < 0 || b.Depth < 0 || b.FanOut < 0 || b.Retries < 0 {
		return fault.Invalid.New("bounds: a bound is negative; leave it out for the default")
	}
	if b.UndoReserve < 0 || b.UndoReserve > UndoReserveMax {
		return fault.Invalid.New("bounds: undo_reserve of %d percent; want 0 to %d", b.UndoReserve, UndoReserveMax)
	}
	return nil
}

// Duration is a time.Duration that is written as text, such as "90s".
type Duration time.Duration

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads text as time.ParseDuration does.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fault.Invalid.New("duration: want text such as \"90s\": %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fault.Invalid.New("duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// String writes the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }
