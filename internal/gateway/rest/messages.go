package rest

import (
	"context"
	"net/http"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/message"
)

// messages sends messages, and what else changes something.
func (s *Server) messages(r *http.Request, q message.Do) (message.Done, error) {
	return s.withMessages(r.Context(), q, s.permitMessages)
}

// askMessages lists messages, and what else changes nothing.
func (s *Server) askMessages(r *http.Request, q message.Do) (message.Done, error) {
	return s.withMessages(r.Context(), q, s.readableMessages)
}

func (s *Server) withMessages(ctx context.Context, q message.Do, permit func(context.Context, *message.Do) error) (message.Done, error) {
	if err := permit(ctx, &q); err != nil {
		return message.Done{}, err
	}
	ctx, leave := s.untilClosing(ctx)
	defer leave()
	done, err := s.engine.Messages(ctx, q)
	if err == nil {
		err = s.hideMessages(ctx, &done)
	}
	return done, err
}

// permitMessages says whether what changes something may be done: by who operates the organizations whose agents write and are written to. More than agents by name only
// who operates all may write to.
func (s *Server) permitMessages(ctx context.Context, q *message.Do) error {
	if access.From(ctx).Holds(access.Operate, access.Everywhere) {
		return access.Permit(ctx, access.Operate, access.Object{})
	}
	switch {
	case q.Send != nil:
		return s.permitEnvelope(ctx, q.Send)
	case q.Ask != nil:
		return s.permitEnvelope(ctx, &q.Ask.Envelope)
	case q.Settle != nil:
		return s.permitRun(ctx, access.Operate, q.Settle.Run, "")
	case q.Instances != nil && q.Instances.Agent != "":
		return s.permitAgent(ctx, q.Instances.Agent)
	default:
		return access.Permit(ctx, access.Operate, access.Object{})
	}
}

func (s *Server) permitEnvelope(ctx context.Context, e *message.Envelope) error {
	parties := slices.Clone(e.To)
	if e.From.Kind != message.Outside {
		parties = append(parties, e.From)
	}
	for _, a := range parties {
		if a.Kind != message.Agent {
			return access.Permit(ctx, access.Operate, access.Object{})
		}
		if err := s.permitAgent(ctx, polity.AgentName(a.Name)); err != nil {
			return err
		}
	}
	return nil
}

// permitAgent says whether an agent of an installed organization may be written to. Of others whoever asks learns nothing.
func (s *Server) permitAgent(ctx context.Context, name polity.AgentName) error {
	org, err := s.engine.OrgOfAgent(ctx, name)
	if err != nil {
		return err
	}
	if org == "" || !access.From(ctx).Holds(access.Read, org) {
		return fault.NotFound.New("no agent %.100q has an address that you may write to", name)
	}
	return access.Permit(ctx, access.Operate, access.Object{Org: org})
}

// permitRun says whether something may be done with a run, of whichever organization it is. Key is of what it is about, if it is not all of it.
func (s *Server) permitRun(ctx context.Context, verb access.Verb, run polity.RunID, key string) error {
	org, err := s.engine.OrgOf(ctx, run)
	if err != nil {
		return err
	}
	return access.Permit(ctx, verb, access.Object{Org: org, Run: string(run.Root()), Key: key})
}

// readableMessages has only what whoever asks may read looked for.
func (s *Server) readableMessages(ctx context.Context, q *message.Do) error {
	if !q.Reads() {
		return fault.Invalid.New("rest: messages: this changes something, and is asked by POST /v1/messages")
	}
	orgs, err := readable(ctx)
	if err == nil && q.List != nil {
		q.List.Orgs = orgs
	}
	return err
}

// hideMessages takes out of an answer what is of organizations that whoever asks may not read.
func (s *Server) hideMessages(ctx context.Context, d *message.Done) (err error) {
	who := access.From(ctx)
	if who.Holds(access.Read, access.Everywhere) {
		return nil
	}
	hidden := func(name polity.AgentName) bool {
		org, e := s.engine.OrgOfAgent(ctx, name)
		if e != nil {
			err = e
		}
		return !who.Holds(access.Read, org)
	}
	d.Entries = slices.DeleteFunc(d.Entries, func(m message.Entry) bool {
		org, e := s.engine.OrgOf(ctx, m.Run)
		if e != nil {
			err = e
		}
		return !who.Holds(access.Read, org)
	})
	d.Boxes = slices.DeleteFunc(d.Boxes, func(b message.Box) bool { return hidden(polity.AgentName(b.Agent)) })
	for name := range d.Counts {
		if hidden(name) {
			delete(d.Counts, name)
		}
	}
	return err
}
