// Package fault is the one vocabulary of failure: a Kind says what went wrong in a word that
// survives being stored, sent and read again.
//
// It exists because a failure crosses many borders here (a log, a socket, an exit code), and on
// each of them text alone would be guessed at. A Kind is itself an error, so the only test anyone
// writes is
//
//	errors.Is(err, fault.NotFound)
//
// An [Error] is what is stored: its Kind, one line of text and, where a limit ended the work, the
// limit's name. It is written as JSON and comes back equal.
package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Kind is a class of failure. The zero Kind is not a failure class and is never stored.
type Kind string

// The kinds. Each comment says whose turn it is to act.
const (
	// Invalid is input that no retry can make acceptable: the sender corrects it.
	Invalid Kind = "invalid"
	// NotFound is a name that nothing here answers to.
	NotFound Kind = "not-found"
	// Conflict is a request that contradicts what is already recorded under the same ID.
	Conflict Kind = "conflict"
	// Denied is a right that the caller does not have.
	Denied Kind = "denied"
	// Unauthenticated is a caller that did not prove who it is.
	Unauthenticated Kind = "unauthenticated"
	// Exhausted is a bound that was reached; Error.Bound names it.
	Exhausted Kind = "exhausted"
	// Timeout is work that did not end within its time.
	Timeout Kind = "timeout"
	// Cancelled is work that was asked to stop.
	Cancelled Kind = "cancelled"
	// Unavailable is a party that cannot answer now and may later.
	Unavailable Kind = "unavailable"
	// Unknown is an outside effect of which nobody knows whether it happened: a person or a
	// reconciliation decides, never a silent repetition.
	Unknown Kind = "unknown"
	// Full is a store without room: nothing was written.
	Full Kind = "full"
	// Fenced is a partition that another owner has taken: ask again with the same ID.
	Fenced Kind = "fenced"
	// Damaged is stored data that does not match its own hash or a hash kept elsewhere.
	Damaged Kind = "damaged"
	// Erased is what was there and was taken away for good, because somebody had a right to that.
	Erased Kind = "erased"
	// Diverged is a decider that decided otherwise than its log says: the code changed.
	Diverged Kind = "diverged"
	// Failed is work that ran and reported failure.
	Failed Kind = "failed"
	// Internal is our own defect, and the kind of every error that names none.
	Internal Kind = "internal"
)

// Kinds lists every kind, for the tables that map kinds at a door and the tests that prove such a
// table complete. The caller owns the slice.
func Kinds() []Kind {
	return []Kind{
		Invalid, NotFound, Conflict, Denied, Unauthenticated, Exhausted, Timeout, Cancelled,
		Unavailable, Unknown, Full, Fenced, Damaged, Erased, Diverged, Failed, Internal,
	}
}

// Error returns the kind's word, which makes a Kind usable as the target of errors.Is.
func (k Kind) Error() string { return string(k) }

// Retryable says whether the same request, sent again unchanged, may succeed. It is a property of
// the kind, never a guess by the caller.
func (k Kind) Retryable() bool {
	switch k {
	case Timeout, Unavailable, Full, Fenced, Failed:
		return true
	default:
		return false
	}
}

// New returns an error of this kind. Its text is formatted as by fmt.Errorf; what is wrapped by %w
// stays reachable in this process, while only kind and text are stored.
func (k Kind) New(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Text: err.Error(), cause: errors.Unwrap(err)}
}

// Exceeded returns an Exhausted error that names the bound that was reached.
func Exceeded(bound, format string, args ...any) *Error {
	return &Error{Kind: Exhausted, Text: fmt.Sprintf(format, args...), Bound: bound}
}

// Error is a failure as it is stored. It is a value: do not change one that was handed on.
type Error struct {
	Kind  Kind   `json:"kind"`
	Text  string `json:"text"`
	Bound string `json:"bound,omitempty"` // the bound's name, with Exhausted

	cause error
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Is reports whether target is e's Kind, or an equal stored error.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Kind:
		return e.Kind == t
	case *Error:
		return e.Kind == t.Kind && e.Text == t.Text && e.Bound == t.Bound
	default:
		return false
	}
}

// Unwrap returns the cause if e was made in this process and wrapped one, else nil.
func (e *Error) Unwrap() error { return e.cause }

// UnmarshalJSON refuses a kind that this version does not know, so that a foreign word is never
// taken for one of ours.
func (e *Error) UnmarshalJSON(data []byte) error {
	type plain Error
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("fault: read: %w", err)
	}
	if !slices.Contains(Kinds(), p.Kind) {
		return fmt.Errorf("fault: read: unknown kind %q", p.Kind)
	}
	*e = Error(p)
	return nil
}

// Of returns err as a stored error: itself or the first one it wraps, with err's whole text. An
// error that names no kind is Internal; a bare Kind keeps its kind. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Text == err.Error() {
			return e
		}
		return &Error{Kind: e.Kind, Text: err.Error(), Bound: e.Bound, cause: err}
	}
	var k Kind
	if errors.As(err, &k) {
		return &Error{Kind: k, Text: err.Error(), cause: err}
	}
	return &Error{Kind: Internal, Text: err.Error(), cause: err}
}
