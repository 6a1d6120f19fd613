package outside

import (
	"slices"

	"polity.run"
	"polity.run/agent"
	"polity.run/message"
	"polity.run/pattern"
	"polity.run/remote"
)

// rights are the subjects that an agent in another process may use.
type rights struct{ publish, subscribe []string }

// answers are what whoever is asked may say to whoever asks it, without a link of its own.
var answers = []polity.Performative{polity.Agree, polity.Refuse, polity.Inform, polity.Failure}

// compile makes rights of what stands in a release: the organization's links are the access list. A sender's name is a token of each
// subject that it may publish on, so that nobody speaks for another; all that is not named here is refused.
// Links that cross are in force where the other organization, of those that are installed, has them too.
func compile(r *agent.Release, name polity.AgentName, others map[string]*agent.Release) rights {
	self := string(name)
	var out rights
	for _, to := range pattern.Recipients(r, name) {
		out.publish = append(out.publish, to.Subject(name, "*"))
	}
	far, writers := abroad(r, name, others)
	for _, to := range far {
		out.publish = append(out.publish, message.To(to).Subject(name, "*"))
	}
	if len(out.publish) > 0 { // all are those to whom its links lead
		out.publish = append(out.publish, message.Address{Kind: message.All}.Subject(name, "*"))
	}
	for _, to := range unique(append(askers(r, name), writers...)) {
		for _, p := range answers {
			out.publish = append(out.publish, message.To(to).Subject(name, p))
		}
	}
	out.publish = append(out.publish, remote.Control(name, remote.ControlHere), remote.Control(name, remote.ControlRenew), remote.Answers(name, "*"), remote.OperatorInbox+".>")
	out.subscribe = append(out.subscribe, remote.Box(name, ">"), remote.Inbox(name)+".>")
	for _, verb := range []string{"PING", "INFO", "STATS"} { // as nats micro asks for
		at := "$SRV." + verb
		out.subscribe = append(out.subscribe, at, at+"."+self, at+"."+self+".*")
	}
	return out
}

// abroad are the agents of other organizations that an agent may write to, or that may write to it, sorted. others are all releases by organization.
func abroad(r *agent.Release, name polity.AgentName, others map[string]*agent.Release) (to, from []polity.AgentName) {
	self := agent.Party{Org: r.Name, Agent: name}
	for _, c := range r.Crossings() {
		if there := others[c.To.Org]; c.From == self && there != nil && agent.Cross(r, name, there, c.To.Agent) {
			to = append(to, c.To.Agent)
		}
		if there := others[c.From.Org]; c.To == self && there != nil && agent.Cross(there, c.From.Agent, r, name) {
			from = append(from, c.From.Agent)
		}
	}
	return unique(to), unique(from)
}

// askers are those that may ask an agent, sorted: the organization itself for people and programs, whoever may write to it, and whoever works with it.
func askers(r *agent.Release, name polity.AgentName) []polity.AgentName {
	by := append([]polity.AgentName{polity.AgentName(r.Name)}, pattern.Writers(r, name)...)
	for _, d := range r.Agents {
		asks := d.Org != nil && slices.Contains(d.Org.Members, name)
		if m := d.Model; m != nil {
			asks = asks || m.Approve != nil && m.Approve.By == name ||
				slices.ContainsFunc(m.Agents, func(p agent.AgentPin) bool { return p.Agent == name })
		}
		if d.Org != nil {
			asks = asks || slices.ContainsFunc(d.Org.Members, func(m polity.AgentName) bool { return approves(r.Agent(string(m)), name) })
		}
		if asks && d.Name != name {
			by = append(by, d.Name)
		}
	}
	return unique(by)
}

// approves says whether uses of an agent's skills wait for the named one.
func approves(d *agent.Definition, name polity.AgentName) bool {
	return d != nil && slices.ContainsFunc(d.Skills, func(s polity.Skill) bool { return s.Approve != nil && s.Approve.By == name })
}

func unique(names []polity.AgentName) []polity.AgentName {
	slices.Sort(names)
	return slices.Compact(names)
}

// remotes are a release's agents in other processes, in its order.
func remotes(r *agent.Release) []polity.AgentName {
	var out []polity.AgentName
	for _, d := range r.Agents {
		if d.Kind == agent.KindRemote {
			out = append(out, d.Name)
		}
	}
	return out
}
