package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
)

// hook builds an entry of "on" that is a webhook. Unlike what is watched it is part of the release: it is there where, and as long as, the organization is installed.
func (b *builder) hook(w *occasion, at string, r *agent.Release) {
	h := agent.Hook{
		Name: string(w.Webhook), Agent: polity.AgentName(w.Agent), Skill: string(w.Skill), SecretEnv: w.Secret, Window: polity.Duration(w.Window), Where: w.Where,
		Fields: w.Fields, Input: w.Input.json,
	}
	asked := On{Agent: r.Main, Skill: h.Skill}
	if h.Agent != "" {
		asked.Agent = string(h.Agent)
	}
	b.asked(&asked, at)
	b.hookFields(w, at)
	if i := slices.IndexFunc(r.Hooks, func(other agent.Hook) bool { return other.Name == h.Name }); i >= 0 {
		b.add(at+".webhook", "there is another webhook "+h.Name, "rename one of them")
	}
	if err := h.Check(); err != nil && !b.log.doubts(at) { // a limit that no field tells of
		b.add(at, err.Error(), "")
	}
	if b.spend(len(h.Input)+len(fmt.Sprint(h.Fields)), at) {
		r.Hooks = append(r.Hooks, h)
	}
}

// hookFields reports what is wrong with the fields of a webhook.
func (b *builder) hookFields(w *occasion, at string) {
	const name = "write the name of an environment variable of the server, as in SHOP_SECRET; the secret itself stands there alone"
	switch {
	case w.Secret != "" && !envText.MatchString(w.Secret) || strings.HasPrefix(w.Secret, "whsec_"):
		b.add(at+".secret_env", "this is not the name of an environment variable", name)
	case w.Secret == "" && !b.log.doubts(at+".secret_env"):
		b.add(at, "nothing says by which secret requests are signed: secret_env is missing", name)
	}
	if b.at.has(at + ".in") {
		b.add(at+".in", "a webhook has no folder", "delete it")
	}
	if time.Duration(w.Window) > agent.HookWindowMax {
		b.add(at+".window", fmt.Sprintf("%s is more than %s", time.Duration(w.Window), agent.HookWindowMax), "")
	}
	if _, err := polity.ParseWhere(w.Where); w.Where != "" && err != nil {
		b.add(at+".where", err.Error(), "")
	}
	for _, field := range slices.Sorted(maps.Keys(w.Fields)) {
		if err := polity.CheckField(w.Fields[field]); err != nil {
			b.add(at+".fields"+keyPath(field), err.Error(), "write it as in data.order.id, where data is the request's body")
		}
	}
	if in := w.Input.json; in != nil && in[0] != '{' {
		b.add(at+".input", "this is not an object", "write it as in {question: ...}")
	}
}
