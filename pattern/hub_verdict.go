package pattern

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"polity.run"
)

// merge makes findings of the claims: one for all that say the same with the same standing, the
// verified first, then by severity, nearness to the question, and text.
func (r *hubRun) merge() []Finding {
	type same struct {
		status string
		stance polity.Stance
		text   string
	}
	place := map[same]int{}
	var findings []Finding
	for _, c := range r.verify.claims {
		key := same{c.status, c.Stance, c.Text}
		i, ok := place[key]
		if !ok {
			i = len(findings)
			place[key] = i
			f := Finding{Claim: c.Claim, Status: c.status, Reason: c.reason}
			f.Text, f.Evidence = clip(c.Text, claimTextMax), nil
			findings = append(findings, f)
		}
		r.addTo(&findings[i], c)
	}
	r.sort(findings)
	for i := range findings {
		findings[i].ID = fmt.Sprintf("f%d", i+1)
	}
	return findings
}

// addTo adds what one claim contributes to its finding.
func (r *hubRun) addTo(f *Finding, c *claim) {
	if c.Severity.Weight() > f.Severity.Weight() {
		f.Severity = c.Severity
	}
	var calls []string
	for _, e := range c.Evidence {
		if e.Call != "" && len(calls) < callsMax {
			calls = addNew(calls, clip(e.Call, fileMax))
		}
		e.File, e.Text = clip(e.File, fileMax), clip(e.Text, evidenceTextMax)
		switch {
		case slices.Contains(f.Evidence, e):
		case len(f.Evidence) < evidenceMax:
			f.Evidence = append(f.Evidence, e)
		default:
			f.MoreEvidence++
		}
	}
	id := r.plan.Steps[c.step].ID
	i := slices.IndexFunc(f.Provenance, func(p Provenance) bool { return p.Step == id })
	if i >= 0 {
		all := addNew(f.Provenance[i].Calls, calls...)
		f.Provenance[i].Calls = all[:min(len(all), callsMax)]
		return
	}
	if len(f.Provenance) < provenanceMax {
		f.Provenance = append(f.Provenance, Provenance{Step: id, Agent: r.plan.Steps[c.step].Agent, Calls: calls})
	}
}

// sort orders findings as merge says.
func (r *hubRun) sort(findings []Finding) {
	texts := make([]string, len(findings))
	for i := range findings {
		texts[i] = findings[i].Text
	}
	near := scores(texts, r.question)
	order := make([]int, len(findings))
	for i := range order {
		order[i] = i
	}
	standing := []string{findingVerified, findingUnverified, findingOpinion}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &findings[i], &findings[j]
		return cmp.Or(
			cmp.Compare(slices.Index(standing, a.Status), slices.Index(standing, b.Status)),
			cmp.Compare(b.Severity.Weight(), a.Severity.Weight()),
			cmp.Compare(near[j], near[i]),
			cmp.Compare(a.Text, b.Text),
			cmp.Compare(a.Stance, b.Stance),
		)
	})
	sorted := make([]Finding, len(findings))
	for to, from := range order {
		sorted[to] = findings[from]
	}
	copy(findings, sorted)
}

// verdict applies the rules to the verified findings. It gives none where something that the rules
// count on was not looked at: silence about a defect is not its absence.
func (r *hubRun) verdict(to *HubResponse, findings []Finding) {
	if len(r.cfg.Verdict) == 0 {
		return
	}
	if why := r.undecidable(); why != "" {
		to.Reason = "no verdict can be given: " + why
		return
	}
	var failed []string
	for i, rule := range r.cfg.Verdict {
		found := rule.When.matches(findings)
		if rule.When != nil && len(found) < rule.When.AtLeast {
			failed = append(failed, fmt.Sprintf("%q %d of %d %s", rule.Verdict, len(found), rule.When.AtLeast, rule.When.what()))
			continue
		}
		to.Verdict, to.Decided = rule.Verdict, found[:min(len(found), decidedMax)]
		to.Reason = fmt.Sprintf("rule %d of %d, %q", i+1, len(r.cfg.Verdict), rule.Verdict)
		switch {
		case rule.When != nil:
			to.Reason += fmt.Sprintf(", needs %s (there %s)", rule.When, areCount(len(found)))
		case len(failed) == 0:
			to.Reason += ", always holds"
		}
		break
	}
	if to.Reason == "" {
		to.Reason = "no rule holds"
	}
	if to.Decided == nil && len(failed) > 0 {
		if to.Verdict != "" {
			to.Reason += ": no earlier rule held"
		}
		to.Reason += ", by verified claims found of those needed: " + strings.Join(failed, "; ")
	}
	to.Reason += ". " + r.verify.counts.words() + r.silent()
}

// noteCoverage says which specialists a planner did not ask: a verdict by rules is not one over what they would have
// looked at. Who declares a plan knows whom it asks.
func (r *hubRun) noteCoverage(to *HubResponse) {
	if r.cfg.Plan != nil {
		return
	}
	var covered, unasked []polity.AgentName
	for i := range r.cfg.Specialists {
		name := r.cfg.Specialists[i].Name
		switch asked, answered := r.part(name); {
		case !asked:
			unasked = append(unasked, name)
		case answered:
			covered = append(covered, name)
		}
	}
	if len(unasked) == 0 {
		return
	}
	text := "not asked: " + list(unasked)
	switch {
	case len(covered) == 0:
	case to.Verdict != "":
		text = "the verdict covers only: " + list(covered) + "; " + text
	default:
		text = "the answer covers only: " + list(covered) + "; " + text
	}
	r.notes = slices.Insert(r.notes, 0, text) // before all others, and even where there is no room for more
	if to.Reason != "" {
		to.Reason = strings.TrimSuffix(to.Reason, ".") + ". " + strings.ToUpper(text[:1]) + text[1:] + "."
	}
}

// part says whether a specialist was asked, and whether a step of it was answered.
func (r *hubRun) part(name polity.AgentName) (asked, answered bool) {
	for i, s := range r.steps {
		if s.attempt > 0 && slices.Contains(s.tried, name) {
			asked = true
			answered = answered || s.good() && r.plan.Steps[i].Agent == name
		}
	}
	return asked, answered
}

// silent says in words how many steps gave no answer, or only a part.
func (r *hubRun) silent() string {
	none, part := 0, 0
	for _, s := range r.steps {
		switch {
		case !s.good():
			none++
		case s.status == stepExhausted:
			part++
		}
	}
	text := ""
	if none > 0 {
		text += fmt.Sprintf(" %d of %s gave no answer.", none, plural(len(r.steps), "step"))
	}
	if part > 0 {
		text += fmt.Sprintf(" %d of %s stopped at a bound.", part, plural(len(r.steps), "step"))
	}
	return text
}

// undecidable says why no rule may be applied, "" if they may.
func (r *hubRun) undecidable() string {
	t := r.tally()
	switch {
	case t.good < t.need:
		return fmt.Sprintf("join %s is not met: %d of %d succeeded, %d must", r.cfg.Join, t.good, t.all, t.need)
	case r.verify.failed != "":
		return "the evidence was not verified: " + r.verify.failed
	case r.verify.counts.LeftOut > 0:
		return fmt.Sprintf("%s not looked at", plural(r.verify.counts.LeftOut, "claim"))
	case r.verify.counts.Verified == 0 && len(r.verify.claims) > 0:
		return "none of " + plural(len(r.verify.claims), "claim") + " was verified"
	case !slices.ContainsFunc(r.verify.reports, func(rep report) bool { return rep.claimed }):
		return "no step answered with claims"
	default:
		return ""
	}
}

// matches returns the IDs of the findings that the condition counts; those of a nil condition are
// none.
func (w *When) matches(findings []Finding) []string {
	var found []string
	for i := range findings {
		f := &findings[i]
		if w != nil && f.Status == findingVerified && f.Stance == w.Stance && f.Severity.Weight() >= w.Severity.Weight() {
			found = append(found, f.ID)
		}
	}
	return found
}

// what writes which claims the condition counts.
func (w *When) what() string {
	if w.Severity == polity.Critical {
		return fmt.Sprintf("%s (critical)", w.Stance)
	}
	return fmt.Sprintf("%s (%s or heavier)", w.Stance, w.Severity)
}

// String writes the condition in words.
func (w *When) String() string {
	what := plural(w.AtLeast, "verified claim") + " " + string(w.Stance)
	if w.Stance == polity.Neutral {
		what = plural(w.AtLeast, "verified neutral claim")
	}
	if w.Severity == polity.Critical {
		return "at least " + what + ", critical"
	}
	return fmt.Sprintf("at least %s, %s or heavier", what, w.Severity)
}

func areCount(n int) string {
	if n == 1 {
		return "is 1"
	}
	return fmt.Sprintf("are %d", n)
}

// words writes the counts for a reason.
func (v Verification) words() string {
	text := fmt.Sprintf("Of %s with evidence %d verified and %d refused.", plural(v.Checked, "claim"), v.Verified, v.Refused)
	if v.Opinions > 0 {
		text += fmt.Sprintf(" Not counted: %s.", plural(v.Opinions, "opinion"))
	}
	return text
}
