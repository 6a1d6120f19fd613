package outside

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/agent"
	"polity.run/manifest"
	"polity.run/message"
)

func release(t *testing.T, text string) *agent.Release {
	t.Helper()
	path := filepath.Join(t.TempDir(), "polity.yaml")
	if err := os.WriteFile(path, []byte("polity: v1\nname: shop\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Load(path, manifest.Env{Models: []string{"quote", "thinker"}})
	if err != nil {
		t.Fatal(err)
	}
	return &m.Release
}

// TestCompile wants of each pattern that its links, and nothing else, are what an agent outside may publish on. "a" is in another process.
func TestCompile(t *testing.T) {
	answers := func(to string) []string {
		return []string{"msg.a." + to + ".agree", "msg.a." + to + ".refuse", "msg.a." + to + ".inform", "msg.a." + to + ".failure"}
	}
	join := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return append(all, "ctl.a.here", "ctl.a.renew", "ans.a.*", "_OPS.>")
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"alone":             {"agents: {a: {remote: {}}}", join(answers("shop"))},
		"a stage":           {"agents: {a: {remote: {}}, b: {remote: {}}}\norg: {pattern: sequence, stages: [{agent: a}, {agent: b}]}", join(answers("shop"))},
		"a link of its own": {"agents: {a: {remote: {}}, b: {remote: {}}}\norg: {pattern: sequence, stages: [{agent: a}, {agent: b}]}\nmessages: {groups: {g: [b]}, links: [{from: a, to: [b, group:g, role:stages, 'topic:news.>']}, {from: b, to: [shop]}]}", join([]string{"msg.a.b.*", "grp.a.g.*", "rol.a.stages.*", "evt.a.news.>", "all.a.*"}, answers("shop"))},
		"asked by another":  {"agents: {a: {remote: {}}, b: {remote: {}}}\norg: {pattern: sequence, stages: [{agent: a}]}\nmessages: {links: [{from: b, to: [a]}]}", join(answers("b"), answers("shop"))},
		"asked by a model":  {"agents: {a: {remote: {}}, b: {model: thinker, instructions: x, agents: [a]}}\norg: {pattern: sequence, stages: [{agent: b}]}", join(answers("b"), answers("shop"))},
		"peers in a ring": {
			"agents: {a: {remote: {}}, b: {remote: {}}, c: {remote: {}}, d: {remote: {}}}\norg: {pattern: peers, peers: [a, b, c, d], topology: ring, goal: {done: all}, start: [a]}",
			join([]string{"msg.a.b.*", "msg.a.d.*", "all.a.*"}, answers("b"), answers("d"), answers("shop")),
		},
		"handed over one way": {
			"agents: {a: {remote: {}}, b: {remote: {}}}\norg: {pattern: handoff, owner: a, links: [{from: a, to: [b]}]}",
			join(answers("shop")),
		},
		"in an organization within": {
			"agents: {a: {remote: {}}, team: {pattern: sequence, stages: [{agent: a}]}}\norg: {pattern: sequence, stages: [{agent: team}]}",
			join(answers("shop"), answers("team")),
		},
		"who lets go": {
			"agents: {a: {remote: {}, skills: [{name: approve}]}, b: {remote: {}, skills: [{name: pay, approve: {by: a}}]}}\norg: {pattern: sequence, stages: [{agent: b}]}",
			join(answers("shop")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := compile(release(t, c.text), "a", nil)
			if d := cmp.Diff(c.want, got.publish); d != "" {
				t.Errorf("publish (-want +got)\n%s", d)
			}
			for _, s := range got.subscribe {
				if !strings.HasPrefix(s, "box.a.") && !strings.HasPrefix(s, "_INBOX_a.") && !strings.HasPrefix(s, "$SRV.") {
					t.Errorf("subscribe %s", s)
				}
			}
		})
	}
}

// TestCompileCrossing wants a link between two organizations to hold where both have it, both ways of it, and nowhere else.
func TestCompileCrossing(t *testing.T) {
	load := func(org, text string) *agent.Release {
		r := release(t, text)
		r.Name = org
		for i, c := range r.Crossings() { // the text's own organization is shop
			if c.From.Org == "shop" && org != "shop" {
				r.Messages.Crossings[i].From.Org = org
			}
			if c.To.Org == "shop" && org != "shop" {
				r.Messages.Crossings[i].To.Org = org
			}
		}
		return r
	}
	shop := load("shop", "agents: {a: {remote: {}}, b: {remote: {}}}\norg: {pattern: sequence, stages: [{agent: a}]}\nmessages: {links: [{from: a, to: [bank/t, bank/u, b]}, {from: bank/u, to: [a]}]}")
	bank := load("bank", "agents: {t: {remote: {}}, u: {remote: {}}}\norg: {pattern: sequence, stages: [{agent: t}]}\nmessages: {links: [{from: mall/a, to: [t]}, {from: u, to: [mall/a]}]}")
	for i, c := range bank.Crossings() {
		if c.From.Org == "mall" {
			bank.Messages.Crossings[i].From.Org = "shop"
		} else {
			bank.Messages.Crossings[i].To.Org = "shop"
		}
	}
	all := map[string]*agent.Release{"shop": shop, "bank": bank}
	has := func(r *agent.Release, name, subject string, others map[string]*agent.Release) bool {
		return slices.Contains(compile(r, polity.AgentName(name), others).publish, subject)
	}
	for _, c := range []struct {
		r             *agent.Release
		name, subject string
		both          bool
	}{
		{shop, "a", "msg.a.t.*", true},       // both say so
		{shop, "a", "msg.a.u.*", false},      // the bank does not
		{shop, "b", "msg.b.t.*", false},      // nobody does
		{bank, "t", "msg.t.a.inform", true},  // an answer
		{bank, "t", "msg.t.a.*", false},      // but no word of its own
		{bank, "u", "msg.u.a.*", true},       //
		{shop, "a", "msg.a.u.inform", true},  //
		{shop, "b", "msg.b.u.inform", false}, //
	} {
		if got := has(c.r, c.name, c.subject, all); got != c.both {
			t.Errorf("%s of %s may publish on %s: %v", c.name, c.r.Name, c.subject, got)
		}
		if strings.Contains(c.subject, ".a.") != strings.Contains(c.subject, ".b.") && c.both && has(c.r, c.name, c.subject, map[string]*agent.Release{c.r.Name: c.r}) {
			t.Errorf("%s of %s may publish on %s while the other organization is not installed", c.name, c.r.Name, c.subject)
		}
	}
}

// FuzzCompile wants of any release that an agent's rights name it as the sender, and no wildcard where another name stands.
func FuzzCompile(f *testing.F) {
	f.Add("a", "b", "c", true)
	f.Fuzz(func(t *testing.T, a, b, c string, linked bool) {
		for _, n := range []string{a, b, c} {
			if polity.AgentName(n).Check() != nil {
				t.Skip() // no manifest has it
			}
		}
		r := &agent.Release{Name: c, Agents: []agent.Definition{{Name: polity.AgentName(a), Kind: agent.KindRemote, Remote: &agent.Remote{}}, {Name: polity.AgentName(b), Kind: agent.KindRemote, Remote: &agent.Remote{}}}}
		if linked {
			r.Messages = &agent.Messages{Links: []agent.Link{{From: message.To(polity.AgentName(a)), To: []message.Address{message.To(polity.AgentName(b))}}}}
		}
		for _, s := range compile(r, polity.AgentName(a), nil).publish {
			words := strings.Split(s, ".")
			switch {
			case s == "_OPS.>", linked && s == "all."+a+".*":
			case len(words) < 3 || words[1] != a || words[0] != "msg" && words[0] != "ctl" && s != "ans."+a+".*":
				t.Errorf("%q may publish on %s", a, s)
			case words[0] == "msg" && (len(words) != 4 || words[2] != b && words[2] != c || words[3] == "*" && !(linked && words[2] == b)):
				t.Errorf("%q, linked %v, may publish on %s", a, linked, s)
			}
		}
	})
}
