package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

// nothing is the body of a request, or of an answer, that says no more.
type nothing struct{}

// asked handles requests with a body: with do's answer, or why there is none.
func asked[Q, A any](s *Server, do func(*http.Request, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := read(r.Body, &q); err != nil {
			s.refuse(w, err)
			return
		}
		answer, err := do(r, q)
		s.reply(w, answer, err)
	}
}

// lengthy handles requests with a body for what takes long: see long.
func lengthy[Q any](s *Server, do func(context.Context, Q, func(polity.Progress)) (client.Line, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := read(r.Body, &q); err != nil {
			s.refuse(w, err)
			return
		}
		s.long(w, func(tell func(polity.Progress)) (client.Line, error) { return do(r.Context(), q, tell) })
	}
}

// long does what takes long, and says meanwhile how far it is; then what it came to, or why not.
func (s *Server) long(w http.ResponseWriter, do func(tell func(polity.Progress)) (client.Line, error)) {
	out := lines(w)
	defer out.close()
	write := func(l client.Line) {
		if err := out.write(l); err != nil {
			s.log.Debug("rest: the one who asked has gone away", "error", err)
		}
	}
	end, err := do(func(p polity.Progress) { write(client.Line{Progress: &p}) })
	if err != nil {
		end = client.Line{Error: fault.Of(s.cause(err))}
	}
	end.End = true
	write(end)
}

// read decodes the one JSON value of a body. Nothing in it may be unknown. An empty body is an empty object.
func read(body io.Reader, v any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fault.Invalid.New("rest: the request is larger than %d bytes", BodyMax)
	case err != nil:
		return fault.Invalid.New("rest: the request cannot be read: %w", err)
	}
	return nil
}

// reply answers with JSON, or with why there is no answer.
func (s *Server) reply(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}

// refuse answers with a fault.
func (s *Server) refuse(w http.ResponseWriter, err error) { s.door.Refuse(w, nil, err) }

// answer answers with JSON.
func (s *Server) answer(w http.ResponseWriter, status int, v any) { s.door.Answer(w, status, v) }

// cause says of an error that came because the door closes that it did.
func (s *Server) cause(err error) error {
	select {
	case <-s.closing:
		if !errors.Is(err, fault.NotFound) {
			return fault.Unavailable.New("rest: the node is stopping; ask again")
		}
	default:
	}
	return err
}
