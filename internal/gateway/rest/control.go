package rest

import (
	"context"
	"encoding/hex"
	"net/http"
	"path/filepath"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
)

func (s *Server) replay(w http.ResponseWriter, r *http.Request) {
	var q client.Replay
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		s.refuse(w, err)
		return
	}
	answer, err := Replay(r.Context(), s.engine, id(r), q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}

// Replay does a client's replay on an engine: a release that it brings is installed first.
func Replay(ctx context.Context, e *engine.Engine, id polity.RunID, q client.Replay) (polity.Replay, error) {
	release, err := install(e, q.Release, q.Files)
	if err != nil {
		return polity.Replay{}, err
	}
	return e.Replay(ctx, id, release)
}

// install installs a release that came with a request, if one did.
func install(e *engine.Engine, r *agent.Release, files map[string][]byte) (engine.Digest, error) {
	if r != nil {
		return e.Install(r, files)
	}
	if len(files) > 0 {
		return engine.Digest{}, fault.Invalid.New("rest: there are files, and no release that pins them")
	}
	return engine.Digest{}, nil
}

func (s *Server) install(w http.ResponseWriter, r *http.Request) {
	var q client.Install
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		s.refuse(w, err)
		return
	}
	answer, err := Install(r.Context(), s.engine, q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}

// Install does what a client asks for on an engine.
func Install(ctx context.Context, e *engine.Engine, q client.Install) (client.Installed, error) {
	if q.Release == nil {
		return client.Installed{}, fault.Invalid.New("install: there is no release")
	}
	d, err := e.Install(q.Release, q.Files)
	if err == nil && q.Enlist {
		err = e.Enlist(ctx, d)
	}
	return client.Installed{Digest: hex.EncodeToString(d[:])}, err
}

func (s *Server) fork(w http.ResponseWriter, r *http.Request) {
	var q client.Fork
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		s.refuse(w, err)
		return
	}
	opened, err := Fork(r.Context(), s.engine, id(r), q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.serve(opened)
	s.answer(w, http.StatusOK, client.Started{ID: opened})
}

// Fork does a client's fork on an engine: a release that it brings is installed first.
func Fork(ctx context.Context, e *engine.Engine, id polity.RunID, q client.Fork) (polity.RunID, error) {
	release, err := install(e, q.Release, q.Files)
	if err != nil {
		return "", err
	}
	return e.Fork(ctx, engine.Fork{
		ID: q.ID, Run: id, Event: q.Event, Release: release, Input: q.Input, Effects: q.Effects, Seed: q.Seed,
	})
}

func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	s.withFile(w, r, func(path string) (polity.Archive, error) { return s.engine.Export(r.Context(), id(r), path) })
}

func (s *Server) importRun(w http.ResponseWriter, r *http.Request) {
	s.withFile(w, r, func(path string) (polity.Archive, error) { return s.engine.Import(r.Context(), path) })
}

// backup writes a backup, and says meanwhile how far it is.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	path, err := filePath(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.long(w, func(tell func(polity.Progress)) (client.Line, error) {
		made, err := s.engine.Backup(r.Context(), path, tell)
		return client.Line{Backup: &made}, err
	})
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

// filePath is the absolute path in a request's body.
func filePath(r *http.Request) (string, error) {
	var q client.File
	err := read(r.Body, &q)
	if err == nil && !filepath.IsAbs(q.Path) {
		err = fault.Invalid.New("rest: path %.200q is not absolute", q.Path)
	}
	return q.Path, err
}

// withFile does something with a file that the one who asks names: the token says that it is this process's user, who could
// do it without us.
func (s *Server) withFile(w http.ResponseWriter, r *http.Request, do func(path string) (polity.Archive, error)) {
	path, err := filePath(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	answer, err := do(path)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}

// reconciled does what a client wants of an effect of an organization that it operates.
func (s *Server) reconciled(ctx context.Context, q client.Reconcile) (polity.Finding, error) {
	id, _, _, err := polity.ParseEffectKey(q.Key)
	if err == nil {
		err = s.permitRun(ctx, access.Operate, id, q.Key)
	}
	if err != nil {
		return polity.Finding{}, err
	}
	return Reconcile(ctx, s.engine, q)
}

func (s *Server) reconcile(w http.ResponseWriter, r *http.Request) {
	var q client.Reconcile
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	found, err := s.reconciled(r.Context(), q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, found)
}

// Reconcile finds out what became of an effect, as a client asks for it.
func Reconcile(ctx context.Context, e *engine.Engine, q client.Reconcile) (polity.Finding, error) {
	return e.Reconcile(ctx, engine.Reconcile{Key: q.Key, Verdict: q.Verdict, By: q.By, Reason: q.Reason})
}
