package schema

import (
	"strconv"
	"strings"

	"polity.run/fault"
)

// Upcasts make values of each version into values of the next: the first makes version 1 into version 2. A nil step says that
// the next version reads the values as they are. Steps are pure: the same value always becomes the same one, and it is not changed itself.
//
// What was stored stays as it was written; it is upcast each time it is read.
type Upcasts[T any] []func(T) (T, error)

// Newest is the version that the last step makes.
func (u Upcasts[T]) Newest() int { return len(u) + 1 }

// Read makes a value of a version into one of the newest version that the range allows. It returns fault.Invalid for a
// version outside the range or that there is not, and what a step returns, with the step's version.
func (u Upcasts[T]) Read(v T, version int, r Range) (T, error) {
	to := r.To
	switch {
	case version < r.From || version > r.To:
		return v, r.refuse(version)
	case r.To > u.Newest() || r.From < 1:
		return v, fault.Invalid.New("versions %s are to be read, and there are 1 to %d", r, u.Newest())
	}
	for ; version < to; version++ {
		step := u[version-1]
		if step == nil {
			continue
		}
		next, err := step(v)
		if err != nil {
			return v, fault.Of(err).Kind.New("version %d made into %d: %w", version, version+1, err)
		}
		v = next
	}
	return v, nil
}

// Range are the versions that a consumer reads: from the oldest to the newest, which is the one it is written for.
type Range struct{ From, To int }

// ParseRange reads a range as String writes it.
func ParseRange(text string) (Range, error) {
	from, to, several := strings.Cut(text, "-")
	if !several {
		to = from
	}
	a, err1 := strconv.Atoi(strings.TrimPrefix(from, "v"))
	b, err2 := strconv.Atoi(strings.TrimPrefix(to, "v"))
	if err1 != nil || err2 != nil || a < 1 || b < a {
		return Range{}, fault.Invalid.New("versions %.40q: want a number, or two as in 1-3", text)
	}
	return Range{a, b}, nil
}

// String is "3" or "1-3".
func (r Range) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.To)
	}
	return strconv.Itoa(r.From) + "-" + strconv.Itoa(r.To)
}

func (r Range) refuse(version int) error {
	if version > r.To {
		return fault.Invalid.New("version %d is newer than what is read here, which is %s: upgrade the reader first", version, r)
	}
	return fault.Invalid.New("version %d is older than what is read here, which is %s", version, r)
}
