package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/door"
)

// rules say who may use each route that is not described: those that are bring their own, see operation. A route that has none here is for nobody. What names files of the node, or brings a release, is checked again by
// what does it: see permitFiles and permitRelease.
var rules = door.Rules{
	"GET /v1":                      {Verb: access.Greet},
	"GET /v1/summaries":            {Verb: access.Read, Scope: door.OfAnswer},
	"POST /v1/releases/runs":       {Verb: access.Operate, Scope: door.OfAnswer},
	"GET /v1/runs/{id}/summary":    {Verb: access.Read, Scope: door.OfRun},
	"GET /v1/openapi.json":         {Verb: access.Greet},
	"GET /v1/openapi.yaml":         {Verb: access.Greet},
	"GET /v1/runs/{id}/history":    {Verb: access.Read, Scope: door.OfRun},
	"GET /v1/runs/{id}/tail":       {Verb: access.Read, Scope: door.OfRun},
	"GET /v1/runs/{id}/wait":       {Verb: access.Read, Scope: door.OfRun},
	"POST /v1/topics/ask":          {Verb: access.Operate},
	"POST /v1/topics/read":         {Verb: access.Read},
	"POST /v1/topics":              {Verb: access.Operate},
	"POST /v1/releases":            {Verb: access.Manage, Scope: door.OfAnswer},
	"POST /v1/messages":            {Verb: access.Operate, Scope: door.OfAnswer},
	"POST /v1/messages/ask":        {Verb: access.Read, Scope: door.OfAnswer},
	"POST /v1/runs/{id}/replay":    {Verb: access.Read, Scope: door.OfRun},
	"POST /v1/releases/forks/{id}": {Verb: access.Operate, Scope: door.OfRun},
	"POST /v1/orgs/ask":            {Verb: access.Read, Scope: door.OfAnswer},
	"POST /v1/orgs/apply":          {Verb: access.Manage, Scope: door.OfAnswer},
	"POST /v1/orgs/remove":         {Verb: access.Manage, Scope: door.OfAnswer},
	"GET /v1/access":               {Verb: access.Node},
	"POST /v1/access":              {Verb: access.Node},
	"POST /v1/access/{key}/revoke": {Verb: access.Node},
	"GET /v1/access/log":           {Verb: access.Node},
	"POST /v1/runs/{id}/export":    {Verb: access.Node},
	"POST /v1/import":              {Verb: access.Node},
	"POST /v1/backup":              {Verb: access.Node},
	"POST /v1/archive":             {Verb: access.Node},
	"POST /v1/trim":                {Verb: access.Node},
	"POST /v1/archive/restore":     {Verb: access.Node},
	"POST /v1/runs/{id}/hold":      {Verb: access.Manage, Scope: door.OfRun},
	"POST /v1/runs/{id}/release":   {Verb: access.Manage, Scope: door.OfRun},
	"POST /v1/runs/{id}/delete":    {Verb: access.Manage, Scope: door.OfRun},
	"POST /v1/erase":               {Verb: access.Node}, // a person's data may be of more than one organization
	"POST /v1/memory":              {Verb: access.Manage, Scope: door.OfAnswer},
	"POST /v1/coordinate":          {Verb: access.Manage, Scope: door.OfAnswer},
	"POST /v1/lookup":              {Verb: access.Read, Scope: door.OfAnswer},
	"POST /v1/view/rebuild":        {Verb: access.Node},
	"POST /v1/view/verify":         {Verb: access.Node},
	"POST /v1/schemas":             {Verb: access.Manage},
	"POST /v1/reconcile":           {Verb: access.Operate, Scope: door.OfAnswer},
	"POST /v1/bus":                 {Verb: access.Node},
}

// permitRelease lets a request bring a release, which is code, only if who asks manages the organization that it is of.
func permitRelease(ctx context.Context, r *agent.Release, files map[string][]byte) error {
	if r == nil && len(files) == 0 {
		return nil
	}
	name := ""
	if r != nil {
		name = r.Name
	}
	return access.Permit(ctx, access.Manage, access.Object{Org: name})
}

// permitFolder lets a request name a folder of the node's machine only if who asks may do so everywhere.
func permitFolder(ctx context.Context, path string) error {
	if path == "" {
		return nil
	}
	return access.Permit(ctx, access.Node, access.Object{})
}

// permitStart says whether a run may be started.
func permitStart(ctx context.Context, q *client.Request) error {
	if err := errors.Join(permitRelease(ctx, q.Release, q.Files), permitFolder(ctx, q.Folder)); err != nil {
		return err
	}
	if q.Release != nil {
		return access.Permit(ctx, access.Operate, access.Object{Org: q.Release.Name})
	}
	return access.Permit(ctx, access.Operate, access.Object{}) // one of the program's own agents
}

// permitAnswer says whether a question may be answered: by who approves in the organization of the run that asks.
func (s *Server) permitAnswer(ctx context.Context, key string) error {
	open, err := s.visibleQuestions(ctx)
	if err != nil {
		return err
	}
	for i := range open {
		if open[i].Key == key {
			org, err := s.engine.OrgOf(ctx, open[i].Run)
			if err != nil {
				return err
			}
			return access.Permit(ctx, access.Answer, access.Object{Org: org, Run: string(open[i].Run.Root()), Key: key})
		}
	}
	return fault.NotFound.New("nobody asks %q, or not any more; see: polity runs questions", key)
}

// visibleQuestions are the questions of the organizations that whoever asks may read.
func (s *Server) visibleQuestions(ctx context.Context) ([]polity.Question, error) {
	open, err := s.engine.Questions(ctx)
	if err != nil || access.From(ctx).Holds(access.Read, access.Everywhere) {
		return open, err
	}
	visible := []polity.Question{}
	for i := range open {
		org, err := s.engine.OrgOf(ctx, open[i].Run)
		if err != nil {
			return nil, err
		}
		if access.From(ctx).Holds(access.Read, org) {
			visible = append(visible, open[i])
		}
	}
	return visible, nil
}

// routes are everything that can be asked. An ID is one segment: the slashes of a child's are escaped.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1", s.node)
	s.describe(mux)
	// What follows is for package client, and not described: its form is that package's.
	mux.HandleFunc("GET /v1/summaries", s.list)
	mux.HandleFunc("POST /v1/releases/runs", s.start)
	mux.HandleFunc("GET /v1/runs/{id}/summary", s.find)
	mux.HandleFunc("GET /v1/runs/{id}/history", s.history)
	mux.HandleFunc("GET /v1/runs/{id}/tail", s.tail)
	mux.HandleFunc("GET /v1/runs/{id}/wait", s.wait)
	mux.HandleFunc("POST /v1/topics/ask", s.topics)
	mux.HandleFunc("POST /v1/topics/read", s.readTopics)
	mux.HandleFunc("POST /v1/topics", s.publish)
	mux.HandleFunc("POST /v1/releases", s.install)
	mux.HandleFunc("POST /v1/orgs/ask", s.orgs)
	mux.HandleFunc("POST /v1/orgs/apply", s.apply)
	mux.HandleFunc("POST /v1/orgs/remove", s.remove)
	mux.HandleFunc("GET /v1/access", s.keys)
	mux.HandleFunc("POST /v1/access", s.createKey)
	mux.HandleFunc("POST /v1/access/{key}/revoke", s.revokeKey)
	mux.HandleFunc("GET /v1/access/log", s.accessLog)
	mux.HandleFunc("POST /v1/messages", s.messages)
	mux.HandleFunc("POST /v1/messages/ask", s.askMessages)
	mux.HandleFunc("POST /v1/runs/{id}/replay", s.replay)
	mux.HandleFunc("POST /v1/releases/forks/{id}", s.fork)
	mux.HandleFunc("POST /v1/runs/{id}/export", s.export)
	mux.HandleFunc("POST /v1/import", s.importRun)
	mux.HandleFunc("POST /v1/backup", s.backup)
	mux.HandleFunc("POST /v1/archive", s.retain)
	mux.HandleFunc("POST /v1/archive/restore", s.restoreArchived)
	mux.HandleFunc("POST /v1/trim", s.trim)
	mux.HandleFunc("POST /v1/runs/{id}/hold", s.holding(s.engine.Hold))
	mux.HandleFunc("POST /v1/runs/{id}/release", s.holding(s.engine.Release))
	mux.HandleFunc("POST /v1/runs/{id}/delete", s.deleteRun)
	mux.HandleFunc("POST /v1/erase", s.erase)
	mux.HandleFunc("POST /v1/memory", s.memory)
	mux.HandleFunc("POST /v1/coordinate", s.coordinate)
	mux.HandleFunc("POST /v1/lookup", s.lookup)
	mux.HandleFunc("POST /v1/view/rebuild", s.rebuildView)
	mux.HandleFunc("POST /v1/view/verify", s.verifyView)
	mux.HandleFunc("POST /v1/schemas", s.schemas)
	mux.HandleFunc("POST /v1/reconcile", s.reconcile)
	mux.HandleFunc("POST /v1/bus", s.bus)
	return mux
}

func id(r *http.Request) polity.RunID { return polity.RunID(r.PathValue("id")) }

func (s *Server) node(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, map[string]int{"pid": os.Getpid()})
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) {
	summary, err := s.engine.Find(r.Context(), id(r))
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, summary)
}

// wait answers with how the run ended, or with nothing if it has not for a while: then the one who asks
// asks again.
func (s *Server) wait(w http.ResponseWriter, r *http.Request) {
	errPoll := fault.Timeout.New("rest: the run has not ended yet")
	open, leave := s.whileOpen(r)
	defer leave()
	ctx, cancel := context.WithTimeoutCause(open, pollWait, errPoll)
	defer cancel()
	outcome, err := s.engine.Wait(ctx, id(r))
	switch {
	case err != nil && open.Err() == nil && ctx.Err() != nil:
		w.WriteHeader(http.StatusNoContent)
	case err != nil:
		s.refuse(w, s.cause(err))
	default:
		s.answer(w, http.StatusOK, outcome)
	}
}

func (s *Server) start(w http.ResponseWriter, r *http.Request) {
	var q client.Request
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	if err := permitStart(r.Context(), &q); err != nil {
		s.refuse(w, err)
		return
	}
	opened, err := Start(r.Context(), s.engine, q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.serve(opened)
	s.answer(w, http.StatusOK, client.Started{ID: opened})
}

// running is a run that was started or resumed through the door.
type running struct {
	id      polity.RunID
	ended   chan struct{} // closed when the rest is set
	outcome polity.Outcome
	err     error
}

// serve keeps the door from being idle until a run has ended.
func (s *Server) serve(id polity.RunID) *running {
	return s.follow(id, func(ctx context.Context) (polity.Outcome, error) { return s.engine.Wait(ctx, id) })
}

// follow keeps the door from being idle until end has returned, which says how the run ended.
func (s *Server) follow(id polity.RunID, end func(context.Context) (polity.Outcome, error)) *running {
	r := &running{id: id, ended: make(chan struct{})}
	s.started.run(func() {
		r.outcome, r.err = end(s.ctx) // the log of the program tells of it already
		close(r.ended)
	})
	return r
}

// end returns how it ended, as soon as it has.
func (r *running) end(ctx context.Context) (polity.Outcome, error) {
	select {
	case <-r.ended:
		return r.outcome, r.err
	case <-ctx.Done():
		return polity.Outcome{}, fault.Cancelled.New("rest: wait for run %s: %w", r.id, context.Cause(ctx))
	}
}

// Start does a client's request on an engine: it installs the release, opens the run, and returns its ID when
// that is durable.
func Start(ctx context.Context, e *engine.Engine, q client.Request) (polity.RunID, error) {
	r := engine.Request{
		ID: q.ID, Agent: q.Agent, Skill: q.Skill, Input: q.Input, Version: q.Version, Folder: q.Folder, Bounds: q.Bounds,
		Seed: q.Seed, Conversation: q.Conversation, Subject: q.Subject,
	}
	var err error
	if r.Release, err = install(e, q.Release, q.Files); err != nil {
		return "", err
	}
	return e.Start(ctx, r)
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

// whileOpen returns a context of a request about a run that ends when the door closes, unless the run has
// ended: then the answer is on its way. Call the function when it was given.
func (s *Server) whileOpen(r *http.Request) (context.Context, func()) {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
		case <-s.closing:
			if run, err := s.engine.Find(ctx, id(r).Root()); err != nil || !run.Status.Final() {
				cancel()
			}
		}
	}()
	return ctx, func() { close(done); cancel() }
}

// untilClosing returns a context that ends when the door begins to close. Call the function in the end.
func (s *Server) untilClosing(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

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

// history answers with everything that the log tells of a run.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	s.stream(w, r, s.engine.History)
}

// tail answers with what happened to a run, and then with what happens to it, until it has ended.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) {
	s.stream(w, r, func(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error {
		return Follow(ctx, s.engine, id, each)
	})
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, source func(context.Context, polity.RunID, func(polity.Notice) error) error) {
	// Only a run that exists begins a stream: afterwards the status cannot tell any more.
	if _, err := s.engine.Find(r.Context(), id(r)); err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	ctx, leave := s.whileOpen(r)
	defer leave()
	out := lines(w)
	defer out.close()
	err := source(ctx, id(r), func(n polity.Notice) error { return out.write(client.Line{Notice: n}) })
	end := client.Line{End: true}
	if err != nil {
		end.Error = fault.Of(s.cause(err))
	}
	if err := out.write(end); err != nil {
		s.log.Debug("rest: the one who asked has gone away", "error", err)
	}
}

// lineOf writes one line of a stream.
func lineOf(l client.Line) ([]byte, error) {
	var b bytes.Buffer
	err := json.NewEncoder(&b).Encode(l) // ends with the newline
	return b.Bytes(), err
}

// refuse answers with a fault.
func (s *Server) refuse(w http.ResponseWriter, err error) { s.door.Refuse(w, nil, err) }

// answer answers with JSON.
func (s *Server) answer(w http.ResponseWriter, status int, v any) { s.door.Answer(w, status, v) }
