package pattern

import (
	"fmt"
	"regexp"
	"slices"

	"polity.run"
)

// Limits of a configuration, whatever its caps say.
const (
	specialistsMax = 500
	skillsMax      = 100 // of one specialist
	stepsMax       = 500
	widthMax       = 64 // as many as a run may have pending where its bounds name no fan-out
	depthMax       = 100
	retriesMax     = 20
	replansMax     = 100
	rulesMax       = 100
	idMax          = 40        // bytes of a step's ID
	stepInputMax   = 64 << 10  // bytes of a step's declared input
	planMax        = 256 << 10 // bytes of a plan as JSON
	problemsMax    = 100       // problems that are reported together
)

var (
	stances    = []polity.Stance{polity.For, polity.Against, polity.Neutral}
	severities = []polity.Severity{polity.Critical, polity.High, polity.Medium, polity.Low, polity.Info}
	policies   = []string{joinAll, joinQuorum, joinBestEffort, joinFirst}
)

// Check returns nil or all problems of the configuration and its declared plan together, as
// errors.Join. Each is a *Problem, and so fault.Invalid. What follows from another problem is not
// reported; what does not is, whatever else is wrong.
func (h Hub) Check() error {
	var p problems
	if h.Ledger != nil {
		h.Ledger.check(&h, &p)
	}
	h = h.withDefaults()
	h.checkSpecialists(&p)
	h.checkCaps(&p)
	h.checkJoin(&p)
	h.checkVerdict(&p)
	h.checkOthers(&p)
	if h.Plan != nil {
		newGraph(&h, h.Plan.Steps, &p)
	}
	return p.err()
}

func (h *Hub) checkSpecialists(p *problems) {
	if len(h.Specialists) == 0 {
		p.add(in("specialists"), "there are none; name at least one agent")
	}
	if len(h.Specialists) > specialistsMax {
		p.add(in("specialists"), "%d are more than %d; make groups of them, each with a hub", len(h.Specialists), specialistsMax)
	}
	seen := map[polity.AgentName]bool{}
	for i := range h.Specialists {
		s := &h.Specialists[i]
		if err := s.Name.Check(); err != nil {
			p.add(in("specialists[%d]", i), "%v", err)
		}
		if seen[s.Name] {
			p.add(in("specialists[%d]", i), "%s is listed twice; remove one", s.Name)
		}
		seen[s.Name] = true
		s.checkSkills(i, p)
	}
}

// checkSkills checks the skills of the specialist at position i.
func (s *Member) checkSkills(i int, p *problems) {
	skills := where{fmt.Sprintf("specialists[%d].skills", i), "specialist " + string(s.Name)}
	if len(s.Skills) == 0 {
		p.add(skills, "it has no skill; declare at least one")
	}
	if len(s.Skills) > skillsMax {
		p.add(skills, "%d skills are more than %d; split the agent", len(s.Skills), skillsMax)
	}
	seen := map[string]bool{}
	for j, skill := range s.Skills {
		if skill.Name == "" {
			p.add(skills, "skills[%d] has no name; give it one", j)
		}
		if seen[skill.Name] {
			p.add(skills, "skill %q is declared twice; remove one", skill.Name)
		}
		seen[skill.Name] = true
	}
}

func (h *Hub) checkCaps(p *problems) {
	within := func(name string, n, least, most int) {
		if n < least || n > most {
			p.add(in("%s", name), "%d is not within %d and %d", n, least, most)
		}
	}
	within("caps.steps", h.Caps.Steps, 1, stepsMax)
	within("caps.width", h.Caps.Width, 1, widthMax)
	within("caps.depth", h.Caps.Depth, 1, depthMax)
	within("retries", *h.Retries, 0, retriesMax)
	within("replans", *h.Replans, 0, replansMax)
	if h.Caps.MicroUSD < 0 {
		p.add(in("caps.micro_usd"), "%d is negative; leave it out for no cap", h.Caps.MicroUSD)
	}
	if h.Hedge < 0 {
		p.add(in("hedge.after"), "%s is negative", h.Hedge)
	}
}

// checkOthers checks who has a role beside the specialists.
func (h *Hub) checkOthers(p *problems) {
	if h.planned() && h.specialist(polity.AgentName(h.Planner)) != nil {
		p.add(in("planner"), "%s is a specialist, and would plan for itself; name another agent, or %q", h.Planner, plannerMatch)
	}
	for _, other := range []struct {
		field string
		agent polity.AgentName
	}{{"review", h.Review}, {"synthesizer", h.Synthesizer}} {
		if other.agent != "" && h.specialist(other.agent) != nil {
			p.add(in("%s", other.field), "%s is a specialist, and would judge its own work; name another agent", other.agent)
		}
	}
	switch {
	case h.AtOnce && !undoes(h.Specialists):
		p.add(in("undo_at_once"), "no specialist's skill says how it is undone; delete it, or add undo to skills")
	case h.Stuck != "" && !undoes(h.Specialists):
		p.add(in("stuck"), "no specialist's skill says how it is undone; delete it, or add undo to skills")
	case h.Ledger != nil && (h.AtOnce || h.Stuck != ""):
		p.add(in("ledger"), "with ledgers nothing is undone; delete undo_at_once and stuck, or have a plan")
	}
	if h.Review != "" && string(h.Review) == h.Planner {
		p.add(in("review"), "%s would approve its own plan; name another agent", h.Review)
	}
	switch {
	case h.Fallback != "" && h.Fallback != plannerMatch:
		p.add(in("fallback"), "%q is unknown; use %q, or leave it out", h.Fallback, plannerMatch)
	case h.Fallback != "" && !h.planned():
		p.add(in("fallback"), "no agent plans whose plan could be missing; name one as planner, or leave it out")
	}
	checkRoles(h.Roles()[len(h.Specialists):], h.Members, p)
}

func (h *Hub) checkJoin(p *problems) {
	switch h.Join.Policy {
	case joinAll, joinFirst:
		if h.Join.K != 0 {
			p.add(in("join.k"), "policy %s takes none; leave it out, or use quorum or best-effort", h.Join.Policy)
		}
	case joinQuorum, joinBestEffort:
		if h.Join.K < 1 {
			p.add(in("join.k"), "policy %s needs the number of steps that must succeed, at least 1", h.Join.Policy)
		}
	case joinFirstValid:
		p.add(in("join.policy"), "first-valid is of pattern parallel; a hub has first")
	default:
		p.add(in("join.policy"), "%q is unknown; want all, quorum, best-effort or first%s", h.Join.Policy, among(policies, h.Join.Policy))
	}
}

func (h *Hub) checkVerdict(p *problems) {
	if len(h.Verdict) > rulesMax {
		p.add(in("verdict"), "%d rules are more than %d", len(h.Verdict), rulesMax)
	}
	for i, rule := range h.Verdict {
		if rule.Verdict == "" {
			p.add(in("verdict[%d]", i), "the verdict is empty; write what holds, as in \"ready\"")
		}
		if rule.When == nil {
			if i < len(h.Verdict)-1 {
				p.add(in("verdict[%d]", i), "it always holds, so the rules after it never do; move it to the end")
			}
			continue
		}
		rule.When.check(i, p)
	}
}

func (w *When) check(i int, p *problems) {
	if !slices.Contains(stances, w.Stance) {
		p.add(in("verdict[%d].when.stance", i), "%q is unknown; want for, against or neutral", w.Stance)
	}
	if !slices.Contains(severities, w.Severity) {
		p.add(in("verdict[%d].when.severity", i), "%q is unknown; want critical, high, medium, low or info", w.Severity)
	}
	if w.AtLeast < 1 {
		p.add(in("verdict[%d].when.at_least", i), "%d would always hold; want at least 1, or leave out when", w.AtLeast)
	}
}

var idText = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// reserved are IDs that would read as a command of the hub itself, or as the request.
var reserved = []string{requestID, verifyName, "finish", "fail"}

// checkID checks the ID of the step at position i.
func checkID(id string, i int, p *problems) {
	at := fmt.Sprintf("plan.steps[%d].id", i)
	step := where{at, fmt.Sprintf("plan: step %q", clip(id, idMax))}
	switch {
	case id == "":
		p.add(where{at, fmt.Sprintf("plan: step %d", i+1)}, "it has no id; give it one")
	case len(id) > idMax:
		p.add(step, "the id is longer than %d bytes; shorten it", idMax)
	case !idText.MatchString(id):
		p.add(step, "the id may hold a-z, 0-9, '-' and '_' and begins with a letter or digit")
	case slices.Contains(reserved, id):
		p.add(step, "the id is reserved; choose another")
	}
}

// checkSize bounds the plan's text.
func checkSize(steps []Step, p *problems) {
	total := 0
	for i := range steps {
		s := &steps[i]
		if len(s.Input) > stepInputMax {
			p.add(s.at(i, ".input"), "its input of %d bytes is larger than %d; put it into a file", len(s.Input), stepInputMax)
		}
		if err := s.Bounds.Check(); err != nil {
			p.add(s.at(i, ".bounds"), "%v", err)
		}
		total += len(s.ID) + len(s.Input) + len(s.Objective)
	}
	if total > planMax {
		p.add(in("plan"), "its texts of %d bytes are larger than %d; shorten objectives and inputs", total, planMax)
	}
}

// checkMoney bounds the money that the steps are delegated together.
func (h *Hub) checkMoney(steps []Step, p *problems) {
	left := h.Caps.MicroUSD
	for i := range steps {
		if left -= steps[i].Bounds.MicroUSD; h.Caps.MicroUSD > 0 && left < 0 {
			bounds := steps[i].at(i, ".bounds")
			p.add(bounds, "up to it the steps are delegated more than the cap of %d micro_usd; lower their bounds or raise the cap",
				h.Caps.MicroUSD).With = []string{bounds.field, "caps.micro_usd"}
			return
		}
	}
}
