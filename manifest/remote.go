package manifest

import (
	"fmt"
	"maps"
	"slices"
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

// writes adds to whom an agent in another process may write. It runs when all agents are known.
func (b *builder) writes(name string, m *elsewhere) {
	def, at := b.defs[name], "agents"+keyPath(name)+".remote.agents"
	if len(m.Agents) > WordsMax {
		b.add(at, fmt.Sprintf("%d agents are more than %d", len(m.Agents), WordsMax), "split the agent")
		return
	}
	for i, to := range agentNames(m.Agents) {
		path := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case to == "": // reported by the decoder
		case b.defs[string(to)] == nil:
			b.unknown(path, "no agent", string(to), slices.Sorted(maps.Keys(b.defs)))
		case to == def.Name:
			b.add(path, "this is the agent itself", "delete it")
		case slices.Contains(def.Remote.Agents, to):
			b.add(path, "the agent is listed twice", "delete one of them")
		default:
			def.Remote.Agents = append(def.Remote.Agents, to)
		}
	}
}
