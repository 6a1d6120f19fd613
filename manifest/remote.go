package manifest

import (
	"time"

	"polity.run"
	"polity.run/agent"
)

// remoteTimeout is how long an agent in another process is waited for where the manifest says nothing.
const remoteTimeout = polity.Duration(time.Hour)

func (b *builder) remote(m *elsewhere) *agent.Remote {
	if m == nil {
		return nil
	}
	r := &agent.Remote{Effect: polity.Effect(m.Effect), Timeout: polity.Duration(m.Timeout)}
	if r.Effect == "" {
		r.Effect = polity.EffectKeyed
	}
	if r.Timeout == 0 {
		r.Timeout = remoteTimeout
	}
	return r
}
