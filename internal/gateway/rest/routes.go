package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// route is one that is not described, and who may use it.
type route struct {
	pattern string
	rule    door.Rule
	handle  http.HandlerFunc
}

// The rules of most of them; more are beside operation.
var (
	operate   = door.Rule{Verb: access.Operate, Scope: door.OfAnswer}
	manage    = door.Rule{Verb: access.Manage, Scope: door.OfAnswer}
	manageRun = door.Rule{Verb: access.Manage, Scope: door.OfRun}
	nodeOnly  = door.Rule{Verb: access.Node}
)

// undescribed are the routes for package client, which owns the form of what is said; what is described brings its rules itself, see operation. An ID is one
// segment: the slashes of a child's are escaped. What names files of the node, or brings a release, is checked again by what does it: see permitRelease and permitFolder.
func (s *Server) undescribed() []route {
	return []route{
		{"GET /v1", greet, s.node},
		{"GET /v1/summaries", readSome, s.list},
		{"POST /v1/releases", manage, asked(s, s.install)},
		{"POST /v1/releases/runs", operate, asked(s, s.start)},
		{"POST /v1/releases/forks/{id}", operateRun, asked(s, s.fork)},
		{"GET /v1/runs/{id}/summary", readRun, s.find},
		{"GET /v1/runs/{id}/history", readRun, s.history},
		{"GET /v1/runs/{id}/tail", readRun, s.tail},
		{"GET /v1/runs/{id}/wait", readRun, s.wait},
		{"POST /v1/runs/{id}/replay", readRun, asked(s, s.replay)},
		{"POST /v1/runs/{id}/export", nodeOnly, asked(s, s.export)},
		{"POST /v1/runs/{id}/hold", manageRun, asked(s, s.hold)},
		{"POST /v1/runs/{id}/release", manageRun, asked(s, s.release)},
		{"POST /v1/runs/{id}/delete", manageRun, asked(s, s.deleteRun)},
		{"POST /v1/import", nodeOnly, asked(s, s.importRun)},
		{"POST /v1/backup", nodeOnly, s.backup},
		{"POST /v1/archive", nodeOnly, lengthy(s, s.retain)},
		{"POST /v1/archive/restore", nodeOnly, asked(s, s.restoreArchived)},
		{"POST /v1/trim", nodeOnly, lengthy(s, s.trim)},
		{"POST /v1/erase", nodeOnly, asked(s, s.erase)}, // a person's data may be of more than one organization
		{"POST /v1/orgs/ask", readSome, asked(s, s.orgs)},
		{"POST /v1/orgs/apply", manage, asked(s, s.apply)},
		{"POST /v1/orgs/remove", manage, asked(s, s.remove)},
		{"GET /v1/access", nodeOnly, s.keys},
		{"POST /v1/access", nodeOnly, asked(s, s.createKey)},
		{"POST /v1/access/{key}/revoke", nodeOnly, asked(s, s.revokeKey)},
		{"GET /v1/access/log", nodeOnly, s.accessLog},
		{"POST /v1/topics", door.Rule{Verb: access.Operate, Beside: true}, asked(s, s.publish)},
		{"POST /v1/topics/ask", door.Rule{Verb: access.Operate, Beside: true}, asked(s, s.topics)},
		{"POST /v1/topics/read", readAll, asked(s, s.readTopics)},
		{"POST /v1/messages", operate, asked(s, s.messages)},
		{"POST /v1/messages/ask", readSome, asked(s, s.askMessages)},
		{"POST /v1/reconcile", operate, asked(s, s.reconcile)},
		{"POST /v1/memory", manage, asked(s, s.memory)},
		{"POST /v1/coordinate", manage, asked(s, s.coordinate)},
		{"POST /v1/schemas", door.Rule{Verb: access.Manage}, asked(s, s.schemas)},
		{"POST /v1/lookup", readSome, asked(s, s.lookup)},
		{"POST /v1/view/rebuild", nodeOnly, asked(s, s.rebuildView)},
		{"POST /v1/view/verify", nodeOnly, lengthy(s, s.verifyView)},
		{"POST /v1/bus", nodeOnly, asked(s, s.bus)},
	}
}

// routes are everything that can be asked.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	s.describe(mux)
	s.rules["GET /v1/openapi.json"], s.rules["GET /v1/openapi.yaml"] = greet, greet
	for _, r := range s.undescribed() {
		mux.HandleFunc(r.pattern, r.handle)
		s.rules[r.pattern] = r.rule
	}
	return mux
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

func id(r *http.Request) polity.RunID { return polity.RunID(r.PathValue("id")) }

func (s *Server) node(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, map[string]int{"pid": os.Getpid()})
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) {
	summary, err := s.engine.Find(r.Context(), id(r))
	s.reply(w, summary, err)
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

func (s *Server) start(r *http.Request, q client.Request) (client.Started, error) {
	if err := permitStart(r.Context(), &q); err != nil {
		return client.Started{}, err
	}
	opened, err := Start(r.Context(), s.engine, q)
	if err == nil {
		s.serve(opened)
	}
	return client.Started{ID: opened}, err
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

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// follow keeps the door from being idle until end has returned, which says how the run ended.
func (s *Server) follow(id polity.RunID, end func(context.Context) (polity.Outcome, error)) *running {
	r := &running{id: id, ended: make(chan struct{})}
	if r.outcome, r.err = end(over); r.err == nil { // with the commit that opened it
		close(r.ended)
		return r
	}
	s.started.run(func() {
		r.outcome, r.err = end(s.ctx) // the log of the program tells of it already
		close(r.ended)
	})
	return r
}

// over says that it has ended.
func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
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
