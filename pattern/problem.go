package pattern

import (
	"errors"
	"fmt"

	"polity.run/fault"
)

// Problem is one thing that is wrong in a configuration. As an error it is fault.Invalid.
type Problem struct {
	// Field is where it is, by the names of the configuration's JSON, as in join.k or
	// plan.steps[2].input.why.
	Field string
	// With are the fields that it rests on, if these are others than Field: where one of them is not
	// as it was meant, this may be no problem.
	With []string
	Text string // what is wrong and how to correct it

	name string // the place as Error names it
}

// Error returns the place in the words of whoever declared it, and the text.
func (p *Problem) Error() string { return p.name + ": " + p.Text }

// Unwrap returns fault.Invalid, which makes errors.Is and fault.Of see the kind.
func (p *Problem) Unwrap() error { return fault.Invalid }

// where is a place in a configuration.
type where struct{ field, name string }

// in is a place that is named as its field is.
func in(format string, args ...any) where {
	field := fmt.Sprintf(format, args...)
	return where{field, field}
}

// at is the place of a field of the step at position i; "" is the step as a whole.
func (s *Step) at(i int, field string) where {
	return where{fmt.Sprintf("plan.steps[%d]%s", i, field), fmt.Sprintf("plan: step %q", s.ID)}
}

// input is the place at the path in the input, or in what is awaited, of the step at position i.
func (s *Step) input(i int, path string) where {
	field := ".input"
	if s.Await != nil {
		field = ".await.match"
	}
	w := s.at(i, field+path)
	w.name += ": " + field[1:]
	return w
}

// problems collects what is wrong.
type problems struct {
	list []error
	more int // beyond problemsMax
}

// add adds a problem, whose With may be set then.
func (p *problems) add(at where, format string, args ...any) *Problem {
	one := &Problem{Field: at.field, Text: fmt.Sprintf(format, args...), name: at.name}
	if len(p.list) == problemsMax {
		p.more++
	} else {
		p.list = append(p.list, one)
	}
	return one
}

// among is among, which costs something, unless nobody will read it.
func (p *problems) among(known []string, name string) string {
	if len(p.list) == problemsMax {
		return ""
	}
	return among(known, name)
}

// err joins the problems.
func (p *problems) err() error {
	if p.more > 0 {
		return errors.Join(append(p.list, fault.Invalid.New("and %d more problems", p.more))...)
	}
	return errors.Join(p.list...)
}
