package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"polity.run/client"
	"polity.run/fault"
	"polity.run/internal/gateway/door"
)

// problem is a client.Problem as an answer of huma's.
type problem struct{ client.Problem }

// problemOf makes the answer of an error. Everything that goes wrong at this door goes through here.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return &problem{client.ProblemOf(err, door.Status(fault.Of(err).Kind))}
}

// Error returns the detail.
func (p *problem) Error() string { return p.Detail }

// GetStatus returns the status of the answer.
func (p *problem) GetStatus() int { return p.Status }

// ContentType returns the media type of problems.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// init has huma word its own findings about requests as problems: that is its only hook for this, and belongs to the whole program.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return refusal(status, msg, errs)
	}
}

// kindOf is the kind of what huma refuses with a status.
func kindOf(status int) fault.Kind {
	switch {
	case status == http.StatusRequestTimeout:
		return fault.Timeout
	case status >= http.StatusInternalServerError:
		return fault.Internal
	}
	return fault.Invalid
}

func refusal(status int, msg string, errs []error) *problem {
	var findings []client.ProblemPart
	text := []string{}
	for _, err := range errs {
		if err == nil {
			continue
		}
		var d huma.ErrorDetailer
		if !errors.As(err, &d) {
			text = append(text, err.Error())
			continue
		}
		at := d.ErrorDetail()
		findings = append(findings, client.ProblemPart{At: at.Location, Text: at.Message})
		text = append(text, strings.TrimPrefix(at.Location+": ", ": ")+at.Message)
	}
	if len(text) == 0 {
		text = append(text, msg)
	}
	p := problemOf(kindOf(status).New("rest: %s", strings.Join(text, "; ")))
	p.Parts = findings
	return p
}

// instance says of a problem which request it is about. It is called by huma for every answer.
func instance(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*problem); ok {
		at := *p
		u := ctx.URL()
		at.Instance = u.EscapedPath()
		return &at, nil
	}
	return v, nil
}

// fails makes an answer of an error of a request.
func (s *Server) fails(_ context.Context, err error) error {
	p := problemOf(s.cause(err))
	if p.Kind == fault.Internal {
		s.log.Error("rest: internal fault", "error", p.Detail)
	}
	return p
}
