package rest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
)

func itoa[N int | uint64](n N) string { return fmt.Sprint(n) }

func compact(data json.RawMessage) (string, error) {
	var b bytes.Buffer
	err := json.Compact(&b, data)
	return b.String(), err
}

// done is the answer to what changes something.
func (s *Server) done(err error) (*answered[client.Done], error) {
	return &answered[client.Done]{client.Done{Position: s.engine.Position()}}, err
}

func (s *Server) describeSteering() {
	steer := func(id, verb, summary, about string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: "/v1/runs/{id}/" + verb, Tags: []string{tagRuns}, Summary: summary, Description: about}
	}
	type cancelling struct {
		RunPath
		Body *client.Cancellation `required:"false"`
	}
	operation(s, operateRun, steer("cancelRun", "cancel", "Cancel a run", "What can be undone is undone first, unless now is set."), func(ctx context.Context, in *cancelling) (*answered[client.Done], error) {
		q := or(in.Body)
		end := s.engine.Cancel
		if q.Now {
			end = s.engine.Kill
		}
		return s.done(end(ctx, in.ID, q.Reason))
	})
	type pausing struct {
		RunPath
		Body *client.Pausing `required:"false"`
	}
	operation(s, operateRun, steer("pauseRun", "pause", "Pause a run", "Nothing new begins in it until it is resumed; what has begun ends."), func(ctx context.Context, in *pausing) (*answered[client.Done], error) {
		return s.done(s.engine.Pause(ctx, in.ID, or(in.Body).Reason))
	})
	type resuming struct {
		RunPath
		Body *struct{} `required:"false"`
	}
	operation(s, operateRun, steer("resumeRun", "resume", "Resume a run", "One that was paused, or that nobody works on."), func(ctx context.Context, in *resuming) (*answered[client.Done], error) {
		err := s.engine.Resume(ctx, in.ID)
		if err == nil {
			s.serve(in.ID)
		}
		return s.done(err)
	})
	type signalling struct {
		RunPath
		Key  string `header:"Idempotency-Key" maxLength:"200" doc:"In place of the body's id"`
		Body client.Signalling
	}
	operation(s, operateRun, steer("signalRun", "signal", "Tell a run something", "The same id twice is one signal."), func(ctx context.Context, in *signalling) (*answered[client.Done], error) {
		q := in.Body
		return s.done(s.engine.Signal(ctx, in.ID, q.Name, idOr(q.ID, in.Key), q.Version, q.Data))
	})

	type retrying struct {
		RunPath
		Key  string    `header:"Idempotency-Key" maxLength:"200" doc:"The same key is the same run, however often it is asked for"`
		Body *struct{} `required:"false"`
	}
	type started struct {
		Location string `header:"Location" doc:"Where the run is"`
		Body     client.Opened
	}
	begun := func(ctx context.Context, r *running) (*started, error) {
		o, _, err := s.openedRun(ctx, r, 0)
		return &started{runLocation(r.id), o}, err
	}
	retry := steer("retryRun", "retry", "Start a run again", "A new run with the release, input and bounds of one that has ended without being completed.")
	retry.DefaultStatus = http.StatusCreated
	operation(s, operateRun, retry, func(ctx context.Context, in *retrying) (*started, error) {
		r, err := s.retryRun(ctx, in.ID, in.Key)
		if err != nil {
			return nil, err
		}
		return begun(ctx, r)
	})
	type forking struct {
		RunPath
		Key  string `header:"Idempotency-Key" maxLength:"200" doc:"The same key is the same fork, however often it is asked for"`
		Body client.Forking
	}
	fork := steer("forkRun", "fork", "Fork a run", "A new run that takes over what the log of this one tells up to an event, and then goes on by itself.")
	fork.DefaultStatus = http.StatusCreated
	operation(s, operateRun, fork, func(ctx context.Context, in *forking) (*started, error) {
		q := in.Body
		id, err := s.engine.Fork(ctx, engine.Fork{Run: in.ID, Event: q.Event, Input: q.Input, Effects: q.Effects, Seed: cmp.Or(in.Key, rand.Text())})
		if err != nil {
			return nil, err
		}
		return begun(ctx, s.serve(id))
	})

	type asking struct {
		Run   polity.RunID     `query:"run" maxLength:"1000" doc:"Only what this run, or one below it, asks"`
		Agent polity.AgentName `query:"agent" maxLength:"63" doc:"Only what this person is asked"`
	}
	operation(s, readSome, huma.Operation{
		OperationID: "listQuestions", Method: http.MethodGet, Path: "/v1/questions", Tags: []string{"Questions"}, Summary: "What people are asked",
		Description: "The oldest first. What an approval is about stands in approval.action, as the kernel will do it; approval.why is what a model said, which nobody has checked.",
	}, func(ctx context.Context, in *asking) (*answered[client.Page[polity.Question]], error) {
		open, err := s.visibleQuestions(ctx)
		var list []polity.Question
		for _, q := range open {
			if (in.Run == "" || q.Run == in.Run || inside(q.Run, in.Run)) && (in.Agent == "" || q.Agent == in.Agent) {
				list = append(list, q)
			}
		}
		return listOf(s, list), err
	})
	type replying struct {
		Key  string `path:"key" maxLength:"1100" doc:"The question's key"`
		Body client.Reply
	}
	operation(s, door.Rule{Verb: access.Answer, Scope: door.OfAnswer}, huma.Operation{
		OperationID: "answerQuestion", Method: http.MethodPost, Path: "/v1/questions/{key}/answer", Tags: []string{"Questions"}, Summary: "Answer a question",
		Description: "An approval is answered by a decision that names the hash of the action: what is approved is what was shown.",
	}, func(ctx context.Context, in *replying) (*answered[client.Done], error) {
		answer, err := replyOf(&in.Body)
		if err == nil {
			err = s.permitAnswer(ctx, in.Key)
		}
		if err != nil {
			return nil, err
		}
		return s.done(s.engine.Answer(ctx, in.Key, answer))
	})
}

// idOr is the first of some IDs that is there, or a new one.
func idOr(ids ...string) string { return cmp.Or(cmp.Or(ids...), rand.Text()) }

// or is what is pointed to, or nothing.
func or[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}

// replyOf is an answer as the kernel takes it.
func replyOf(r *client.Reply) (json.RawMessage, error) {
	switch {
	case (r.Decision == nil) == (len(r.Answer) == 0):
		return nil, fault.Invalid.New("rest: want either an answer or a decision")
	case r.Decision == nil:
		return r.Answer, nil
	case r.Decision.Hash == "":
		return nil, fault.Invalid.New("rest: decision: hash: it is missing; the question's approval has it")
	}
	data, err := json.Marshal(r.Decision)
	if err != nil {
		return nil, fault.Invalid.New("rest: decision: %w", err)
	}
	return data, nil
}

// retryRun starts again what has ended without being completed.
func (s *Server) retryRun(ctx context.Context, id polity.RunID, key string) (*running, error) {
	was, err := s.engine.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	if !was.Status.Final() || was.Status == polity.StatusCompleted {
		return nil, fault.Conflict.New("rest: run %s is %s; what has failed, or was cancelled or exhausted, can be tried again", id, was.Status)
	}
	o, err := s.engine.Opening(ctx, id)
	if err != nil {
		return nil, err
	}
	if o.Sealed {
		return nil, fault.Invalid.New("rest: run %s holds a person's data: start a new one that names whose", id)
	}
	return s.startOnce(ctx, key, engine.Request{
		Release: o.Release, Agent: o.Agent, Skill: o.Skill, Input: o.Input, Folder: o.Folder, Bounds: o.Bounds,
	})
}

// inside says whether a run is below another one.
func inside(id, of polity.RunID) bool {
	return len(id) > len(of) && id[:len(of)] == of && id[len(of)] == '/'
}
