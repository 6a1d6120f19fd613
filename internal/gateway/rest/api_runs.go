package rest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
)

const (
	waitMax     = time.Minute // for a run's end, in one question
	childrenMax = 200         // runs that are told right below one
	tagRuns     = "Runs"
)

func (s *Server) describeRuns() {
	type listing struct {
		Q    string `query:"q" maxLength:"4096" doc:"In the filter language, as in status:failed agent:reviewer cost>0.5 started>-1h"`
		Sort string `query:"sort" enum:"started,-started,ended,-ended,cost,-cost,tokens,-tokens,took,-took" doc:"With - before it the largest first; default -started"`
		All  bool   `query:"all" doc:"The runs below others, too"`
		Paged
	}
	operation(s, readSome, huma.Operation{
		OperationID: "listRuns", Method: http.MethodGet, Path: "/v1/runs", Tags: []string{tagRuns}, Summary: "List runs",
		Description: "The newest first, unless sort says otherwise. The fields that q may name are those of GET /v1/fields?of=runs.",
	}, func(ctx context.Context, in *listing) (*answered[client.Page[polity.RunRow]], error) {
		found, err := s.lookingUp(ctx, polity.Lookup{
			Of: polity.LookupRuns, Filter: in.Q, Sort: in.Sort, All: in.All, Limit: in.Limit, After: in.After, Position: in.At,
		})
		return pageOf(found.Runs, &found), err
	})

	type starting struct {
		Key  string `header:"Idempotency-Key" maxLength:"200" doc:"The same key is the same run, however often it is asked for"`
		Wait string `query:"wait" maxLength:"20" doc:"How long to wait for the run's end, as in 30s; at most 1m"`
		Body client.NewRun
	}
	type started struct {
		Status   int
		Location string `header:"Location" doc:"Where the run is"`
		Body     client.Opened
	}
	opened := map[string]*huma.Response{
		"200": {Description: "The run has ended while it was waited for"},
		"202": {Description: "The run was accepted, and has not ended while it was waited for"},
	}
	operation(s, door.Rule{Verb: access.Operate, Scope: door.OfAnswer}, huma.Operation{
		OperationID: "startRun", Method: http.MethodPost, Path: "/v1/runs", Tags: []string{tagRuns}, Summary: "Start a run", DefaultStatus: http.StatusCreated,
		Description: "It is durable when it is answered. With wait the answer is 200 with the outcome, or 202 if the run has not ended by then.", Responses: opened,
		Middlewares: huma.Middlewares{patiently},
	}, func(ctx context.Context, in *starting) (*started, error) {
		wait, err := patience(in.Wait)
		if err != nil {
			return nil, err
		}
		r, err := s.startRun(ctx, in.Key, &in.Body)
		if err != nil {
			return nil, err
		}
		answer, status, err := s.openedRun(ctx, r, wait)
		return &started{status, runLocation(r.id), answer}, err
	})

	operation(s, readRun, huma.Operation{
		OperationID: "getRun", Method: http.MethodGet, Path: "/v1/runs/{id}", Tags: []string{tagRuns}, Summary: "A run",
		Description: "With its bounds, what it has used, what it waits for, how it ended, and the runs right below it.",
	}, func(ctx context.Context, in *RunPath) (*answered[client.Run], error) {
		r, err := s.wholeRun(ctx, in.ID)
		return &answered[client.Run]{r}, err
	})

	type stepping struct {
		RunPath
		After int `query:"after" minimum:"0" doc:"Number of the last step of the page before"`
		Limit int `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"The most steps of the answer"`
	}
	operation(s, readRun, huma.Operation{
		OperationID: "listSteps", Method: http.MethodGet, Path: "/v1/runs/{id}/steps", Tags: []string{tagRuns}, Summary: "The timeline of a run",
		Description: "What it and the runs below it did and wait for, in the order in which the log tells of it. What is under way and not in the log yet has the " +
			"number 0 and stands at the end of the last page.",
	}, func(ctx context.Context, in *stepping) (*answered[client.Page[polity.Step]], error) {
		steps, more, err := s.engine.Steps(ctx, in.ID, in.After, in.Limit)
		if err != nil {
			return nil, err
		}
		page := listOf(s, steps)
		if more {
			page.Body.Next = itoa(steps[len(steps)-1].Number)
		}
		return page, nil
	})
	s.describeEvents()
}

// patiently gives an answer that is waited for the time that it may take.
func patiently(ctx huma.Context, next func(huma.Context)) {
	_, w := humago.Unwrap(ctx)
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(waitMax + writeWait)); err != nil {
		panic("rest: a connection without deadlines: " + err.Error())
	}
	next(ctx)
}

// runLocation is where a run is.
func runLocation(id polity.RunID) string {
	return "/v1/runs/" + strings.ReplaceAll(string(id), "/", "%2F")
}

// startRun opens a run of an installed organization.
func (s *Server) startRun(ctx context.Context, key string, q *client.NewRun) (*running, error) {
	org, release, err := s.orgNamed(ctx, q.Org)
	if err == nil {
		err = errors.Join(access.Permit(ctx, access.Operate, access.Object{Org: org}), permitFolder(ctx, q.Folder))
	}
	if err != nil {
		return nil, err
	}
	r := engine.Request{
		Release: release, Agent: q.Agent, Skill: q.Skill, Input: q.Input, Folder: q.Folder, Version: q.Version, Conversation: q.Conversation, Subject: q.Subject,
	}
	if q.Bounds != nil {
		r.Bounds = *q.Bounds
	}
	return s.startOnce(ctx, key, r)
}

// startOnce opens a run under an idempotency key, if there is one: the same key is the same run. That an organization was changed between two
// attempts makes no other request of it.
func (s *Server) startOnce(ctx context.Context, key string, r engine.Request) (*running, error) {
	seed := "idempotency key " + key
	if key == "" {
		seed = rand.Text()
	}
	r.ID = polity.NewRunID(0, []byte(seed))
	id, end, err := s.engine.Begin(ctx, r)
	switch {
	case err == nil:
		return s.follow(id, end), nil
	case key == "" || !errors.Is(err, fault.Conflict):
		return nil, err
	}
	was, lost := s.engine.Opening(ctx, r.ID)
	if lost != nil || was.Release == r.Release || was.Agent != r.Agent && r.Agent != "" || was.Skill != r.Skill || !sameJSON(was.Input, r.Input) {
		return nil, fault.Conflict.New("rest: Idempotency-Key %.40q was used for another request: %w", key, err)
	}
	return s.serve(r.ID), nil
}

func sameJSON(a, b json.RawMessage) bool {
	if len(a) == 0 {
		a = json.RawMessage("null")
	}
	if len(b) == 0 {
		b = json.RawMessage("null")
	}
	x, err1 := compact(a)
	y, err2 := compact(b)
	return err1 == nil && err2 == nil && x == y
}

// openedRun says where a run stands that was asked for, when it has ended or after a while.
func (s *Server) openedRun(ctx context.Context, r *running, wait time.Duration) (client.Opened, int, error) {
	o := client.Opened{ID: r.id, Status: polity.StatusRunning, Position: s.engine.Position()}
	if wait == 0 {
		at, err := s.engine.Find(ctx, r.id)
		o.Status = at.Status
		return o, http.StatusCreated, err
	}
	waiting := ctx
	if !r.over() {
		open, leave := s.untilClosing(ctx)
		defer leave()
		within, cancel := context.WithTimeout(open, wait)
		defer cancel()
		waiting = within
	}
	outcome, err := r.end(waiting)
	if err != nil && (ctx.Err() != nil || waiting.Err() == nil) {
		return o, 0, err
	}
	o.Position = s.engine.Position()
	if err != nil {
		return o, http.StatusAccepted, nil
	}
	o.Status, o.Outcome = outcome.Status, &outcome
	return o, http.StatusOK, nil
}

// wholeRun gathers what is to be told of a run, or of one below a root.
func (s *Server) wholeRun(ctx context.Context, id polity.RunID) (client.Run, error) {
	r := client.Run{Position: s.engine.Position()}
	opening, err := s.engine.Opening(ctx, id)
	if err != nil {
		return r, err
	}
	below, err := s.lookingUp(ctx, polity.Lookup{Of: polity.LookupRuns, All: true, Sort: "started", Filter: "id:" + quoted(string(id)) + "," + quoted(string(id)+"/") + "*", Limit: polity.LookupLimitMax})
	if err != nil {
		return r, err
	}
	for _, row := range below.Runs {
		switch {
		case row.ID == id:
			r.RunRow = row
		case row.ID.Parent() == id && len(r.Children) < childrenMax:
			r.Children = append(r.Children, row)
		}
	}
	if id.Parent() == "" {
		summary, err := s.engine.Find(ctx, id)
		if err != nil {
			return r, err
		}
		r.Summary = summary
		if summary.Status.Final() {
			outcome, err := s.engine.Wait(ctx, id)
			if err != nil {
				return r, err
			}
			r.Outcome = &outcome
		}
	} else if r.Status.Final() {
		if r.Outcome, err = s.endOf(ctx, id); err != nil {
			return r, err
		}
	}
	r.Bounds, r.Input, r.Skill = opening.Bounds, opening.Input, opening.Skill
	open, err := s.engine.Questions(ctx)
	for _, q := range open {
		if q.Run == id || strings.HasPrefix(string(q.Run), string(id)+"/") {
			r.Asks = append(r.Asks, q)
		}
	}
	return r, err
}

// endOf reads how a run below a root ended.
func (s *Server) endOf(ctx context.Context, id polity.RunID) (*polity.Outcome, error) {
	var end *polity.Outcome
	err := s.engine.History(ctx, id.Root(), func(n polity.Notice) error {
		if n.Run != id || n.Kind != "finished" {
			return nil
		}
		end = &polity.Outcome{Output: slices.Clone(n.Data), Fault: n.Fault, Usage: n.Usage}
		return end.Status.UnmarshalText([]byte(n.Status))
	})
	return end, err
}

// quoted is a text as a value of the filter language.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
