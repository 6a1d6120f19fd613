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

func (s *Server) replay(r *http.Request, q client.Replay) (polity.Replay, error) {
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		return polity.Replay{}, err
	}
	return Replay(r.Context(), s.engine, id(r), q)
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

func (s *Server) install(r *http.Request, q client.Install) (client.Installed, error) {
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		return client.Installed{}, err
	}
	return Install(r.Context(), s.engine, q)
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

func (s *Server) fork(r *http.Request, q client.Fork) (client.Started, error) {
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		return client.Started{}, err
	}
	opened, err := Fork(r.Context(), s.engine, id(r), q)
	if err == nil {
		s.serve(opened)
	}
	return client.Started{ID: opened}, err
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

// A file is of the node's machine, and whoever asks names it: the token says that they are this process's user, who could read and write it without us.

func (s *Server) export(r *http.Request, q client.File) (polity.Archive, error) {
	if err := absolute(q.Path); err != nil {
		return polity.Archive{}, err
	}
	return s.engine.Export(r.Context(), id(r), q.Path)
}

func (s *Server) importRun(r *http.Request, q client.File) (polity.Archive, error) {
	if err := absolute(q.Path); err != nil {
		return polity.Archive{}, err
	}
	return s.engine.Import(r.Context(), q.Path)
}

// backup writes a backup, and says meanwhile how far it is.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	var q client.File
	err := read(r.Body, &q)
	if err == nil {
		err = absolute(q.Path)
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.long(w, func(tell func(polity.Progress)) (client.Line, error) {
		made, err := s.engine.Backup(r.Context(), q.Path, tell)
		return client.Line{Backup: &made}, err
	})
}

// absolute refuses a path that depends on the folder which a process happens to be in.
func absolute(path string) error {
	if !filepath.IsAbs(path) {
		return fault.Invalid.New("rest: path %.200q is not absolute", path)
	}
	return nil
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

func (s *Server) reconcile(r *http.Request, q client.Reconcile) (polity.Finding, error) {
	return s.reconciled(r.Context(), q)
}

// Reconcile finds out what became of an effect, as a client asks for it.
func Reconcile(ctx context.Context, e *engine.Engine, q client.Reconcile) (polity.Finding, error) {
	return e.Reconcile(ctx, engine.Reconcile{Key: q.Key, Verdict: q.Verdict, By: q.By, Reason: q.Reason})
}
