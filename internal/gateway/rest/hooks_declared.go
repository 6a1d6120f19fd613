package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/gateway/hook"
)

// A hook that a manifest declares is named ORGANIZATION.NAME. One that was made by hand has no dot in its name, so that neither takes the other's.
const hookDot = "."

// askedByDeclared opens the run that a message to a hook of an installed organization is for, once for each message; "" if the message is none that the hook wants.
func (s *Server) askedByDeclared(ctx context.Context, org, name string, header http.Header, body []byte) (polity.RunID, error) {
	h, release, secret, err := s.declaredHook(ctx, org, name)
	if err != nil {
		return "", err
	}
	whole := org + hookDot + name
	id, err := verified(whole, secret, h.Window, header, body)
	if err != nil {
		return "", err
	}
	input, wanted, err := h.Ask(id, body)
	if err != nil || !wanted {
		return "", err
	}
	run, err := s.startOnce(ctx, "hook "+whole+" "+id, engine.Request{Release: release, Agent: string(h.Agent), Skill: h.Skill, Input: input})
	if err != nil {
		return "", err
	}
	return run.id, nil
}

// declaredHook returns a hook of an installed organization, and its secret. One that is not there has a secret that nobody knows: that is nobody's business.
func (s *Server) declaredHook(ctx context.Context, org, name string) (agent.Hook, engine.Digest, string, error) {
	orgs, err := s.engine.Installed(ctx)
	d, installed := orgs[org]
	if err != nil || !installed {
		return agent.Hook{}, d, hook.NewSecret(), err
	}
	r, err := s.engine.Described(d)
	if err != nil {
		return agent.Hook{}, d, "", err
	}
	h := r.Hook(name)
	if h == nil {
		return agent.Hook{}, d, hook.NewSecret(), nil
	}
	secret := strings.TrimSpace(os.Getenv(h.SecretEnv))
	if err := hook.CheckSecret(secret); err != nil {
		s.log.Warn("rest: a hook has no secret: its messages are refused", "hook", org+hookDot+name, "variable", h.SecretEnv, "error", err)
		secret = hook.NewSecret()
	}
	return *h, d, secret, nil
}

// verified returns the ID of a message to a hook.
func verified(name, secret string, window polity.Duration, header http.Header, body []byte) (string, error) {
	id, err := hook.Verify(secret, header, body, time.Now(), time.Duration(cmp.Or(window, polity.Duration(hook.WindowDefault))))
	if err != nil {
		return "", fault.Unauthenticated.New("rest: there is no hook %.80q, or the message is not of its service: %w", name, err)
	}
	if !json.Valid(body) {
		return "", fault.Invalid.New("rest: hook %s: the body is not JSON", name)
	}
	return id, nil
}

// declaredHooks lists the hooks of the organizations that whoever asks looks after.
func (s *Server) declaredHooks(ctx context.Context, looksAfter func(org string) bool) (list []client.Hook, err error) {
	err = s.eachOrg(ctx, "", func(r *agent.Release) {
		for _, h := range r.Hooks {
			if looksAfter(r.Name) {
				list = append(list, client.Hook{
					Name: r.Name + hookDot + h.Name, Org: r.Name, Agent: cmp.Or(string(h.Agent), r.Main), Skill: h.Skill, Window: h.Window,
					SecretEnv: h.SecretEnv, Where: h.Where, Fields: h.Fields,
				})
			}
		}
	})
	return list, err
}
