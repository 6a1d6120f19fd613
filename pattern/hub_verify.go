package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"polity.run"
)

// Limits of verification.
const (
	claimsMax       = 10_000 // of all steps
	citationsMax    = 20_000 // different ones, of all claims
	citationsInCall = 2_000  // what files.cite takes at once
	evidenceMax     = 64     // of one claim
	evidenceTextMax = 4 << 10
	fileMax         = 1 << 10
	verifyRetries   = 1
)

// VerifyTool is the tool with which a hub looks evidence up. A release pins it for the hub.
const VerifyTool = "files.cite"

// verifyName is the name of the first verification call.
const verifyName = "verify"

// claim is a claim of a step and what became of it.
type claim struct {
	polity.Claim
	step   int
	status string
	reason string
	cites  []int // its evidence in files, by place among the citations
}

// verification is the state of the check by code of what was claimed.
type verification struct {
	reports   []report // of the steps, by their place
	claims    []*claim
	citations []polity.Evidence // each once
	results   []citation        // as far as they are known
	attempt   int               // of the last call
	failures  int               // of the call that is under way
	again     bool              // it is the second of a run
	asleep    bool
	blocked   bool   // until a cancelled command is answered
	failed    string // why citations could not be looked at
	counts    Verification
}

// citation is what files.cite answers for one piece of evidence.
type citation struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason"`
}

// beginVerify collects the claims and has their evidence looked at.
func (r *hubRun) beginVerify() {
	r.phase, r.marked = verifying, len(r.notes)
	r.collect()
	switch {
	case len(r.verify.citations) == 0:
		r.finish()
	case r.folder == "":
		r.cannotVerify("the run has no folder in which files could be looked at")
	default:
		r.callVerify(1)
	}
}

// collect reads the reports and judges each claim as far as that needs no look at a file.
func (r *hubRun) collect() {
	known := map[polity.Evidence]int{}
	for i, s := range r.steps {
		var rep report
		if s.good() && !r.plan.Steps[i].waits() { // an event claims nothing
			rep = readReport(s.output)
		}
		r.verify.reports = append(r.verify.reports, rep)
		id := r.plan.Steps[i].ID
		child := string(r.run.Child(id, s.kept()))
		for _, n := range rep.notes {
			r.note("%s: %s", id, n)
		}
		for j, c := range rep.claims {
			if len(r.verify.claims) == claimsMax {
				r.verify.counts.LeftOut += len(rep.claims) - j
				r.note("%s: %s left out, since there are more than %d", id, plural(len(rep.claims)-j, "claim"), claimsMax)
				break
			}
			c.step = i
			r.verify.judge(c, child, known)
			r.verify.claims = append(r.verify.claims, c)
		}
	}
}

// judge says of a claim of a child run what can be said without a look at a file.
func (v *verification) judge(c *claim, child string, known map[polity.Evidence]int) {
	if c.Severity == "" {
		c.Severity = polity.Info
	}
	if c.status != "" {
		return // a hub below has judged it, and it is no better for having come up
	}
	c.status, c.reason = findingUnverified, ""
	switch {
	case !slices.Contains(stances, c.Stance):
		c.reason = fmt.Sprintf("its stance %q is none of for, against and neutral", clip(string(c.Stance), 40))
	case !slices.Contains(severities, c.Severity):
		c.reason = fmt.Sprintf("its severity %q is none of critical, high, medium, low and info", clip(string(c.Severity), 40))
	case len(c.Evidence) == 0:
		c.status = findingOpinion
	case len(c.Evidence) > evidenceMax:
		c.reason = fmt.Sprintf("%d pieces of evidence are more than %d", len(c.Evidence), evidenceMax)
	default:
		c.status = findingVerified // unless something speaks against it
		for i := range c.Evidence {
			if why := v.resolve(c, child, &c.Evidence[i], known); why != "" {
				c.status, c.reason = findingUnverified, fmt.Sprintf("evidence %d: %s", i+1, why)
				return
			}
		}
	}
}

// resolve checks where a piece of evidence comes from and adds what it cites to the citations. It
// returns what speaks against it.
func (v *verification) resolve(c *claim, child string, e *polity.Evidence, known map[polity.Evidence]int) string {
	switch {
	case e.File == "" && e.Call == "":
		return "it names neither a file nor a tool call"
	case e.Call != "" && !strings.HasPrefix(e.Call, child+"#") && !strings.HasPrefix(e.Call, child+"/"):
		return fmt.Sprintf("the tool call %q was not made by this step's run", clip(e.Call, 120))
	case len(e.Text) > evidenceTextMax || len(e.File) > fileMax:
		return "its text or file name is too long to be looked at"
	case e.File == "":
		return ""
	}
	place := *e
	place.Call = ""
	n, ok := known[place]
	if !ok {
		if n = len(v.citations); n == citationsMax {
			v.counts.LeftOut++
			return fmt.Sprintf("it was not looked at, since there are more than %d citations", citationsMax)
		}
		known[place] = n
		v.citations = append(v.citations, place)
	}
	c.cites = append(c.cites, n)
	return ""
}

// chunk returns the name of the call that comes next, and the citations that it checks.
func (v *verification) chunk() (string, []polity.Evidence) {
	from := len(v.results)
	name := verifyName
	if v.again {
		name += ".again"
	}
	if n := from / citationsInCall; n > 0 {
		name = fmt.Sprintf("%s.%d", name, n+1)
	}
	return name, v.citations[from:min(from+citationsInCall, len(v.citations))]
}

// callVerify has the next citations looked at.
func (r *hubRun) callVerify(attempt int) {
	name, citations := r.verify.chunk()
	input, err := citing(citations)
	if err != nil {
		r.cannotVerify(err.Error())
		return
	}
	r.verify.attempt, r.verify.asleep, r.verify.blocked = attempt, false, false
	if attempt == 1 {
		r.verify.failures = 0
	}
	c := polity.Call(name, VerifyTool, input)
	c.Attempt = attempt
	r.emit(c)
}

// verified takes an answer while verification is under way.
func (r *hubRun) verified(e polity.Event) {
	v := &r.verify
	name, citations := v.chunk()
	switch {
	case v.asleep && e.Name == backoffName(name, v.attempt):
		if e.Fault != nil {
			r.cannotVerify(e.Fault.Text)
			return
		}
		r.callVerify(v.attempt + 1)
	case v.asleep || v.blocked || e.Name != name || max(e.Attempt, 1) != v.attempt:
		return
	case e.Fault != nil && e.Fault.Bound == boundFanOut && len(r.late) > 0:
		v.blocked = true
	case e.Fault != nil && e.Fault.Kind.Retryable() && v.failures < verifyRetries && r.exhausted == nil:
		v.asleep = true
		v.failures++
		r.emit(polity.Sleep(backoffName(name, v.attempt), backoff(r.run, name, v.attempt, v.failures)))
	case e.Fault != nil:
		r.cannotVerify(fmt.Sprintf("%s ended %s: %s", VerifyTool, e.Fault.Kind, e.Fault.Text))
	default:
		r.take(e.Data, len(citations))
	}
}

// verifyAgain makes the call that was refused while too many cancelled commands were pending: one
// of them has ended.
func (r *hubRun) verifyAgain() {
	if r.phase == verifying && r.verify.blocked {
		r.callVerify(r.verify.attempt + 1)
	}
}

// take keeps the results of one call and goes on.
func (r *hubRun) take(output json.RawMessage, want int) {
	if why := r.verify.add(output, want); why != "" {
		r.cannotVerify(why)
		return
	}
	if len(r.verify.results) < len(r.verify.citations) {
		r.callVerify(1)
		return
	}
	r.finish()
}

// add keeps what files.cite answered for so many citations, or says why it cannot.
func (v *verification) add(output json.RawMessage, want int) (wrong string) {
	results, wrong := readCitations(output, want)
	v.results = append(v.results, results...)
	return wrong
}

// readCitations reads what files.cite answered for so many citations, or says what is wrong with it.
func readCitations(output json.RawMessage, want int) (results []citation, wrong string) {
	var answer struct {
		Results []citation `json:"results"`
	}
	if err := json.Unmarshal(output, &answer); err != nil {
		return nil, fmt.Sprintf("%s answered what cannot be read: %v", VerifyTool, err)
	}
	if len(answer.Results) != want {
		return nil, fmt.Sprintf("%s answered %d of %s", VerifyTool, len(answer.Results), plural(want, "citation"))
	}
	return answer.Results, ""
}

// citing is the input of files.cite.
func citing(citations []polity.Evidence) (json.RawMessage, error) {
	return marshal(map[string][]polity.Evidence{"citations": citations})
}

// cannotVerify finishes without the citations having been looked at, and says so.
func (r *hubRun) cannotVerify(why string) {
	r.verify.failed = clip(why, noteMax)
	r.note("the evidence in files was not verified: %s", why)
	r.finish()
}

// settleClaims says of each claim what the look at its files has shown, and counts.
func (v *verification) settleClaims() {
	v.counts.Fault = v.failed
	for _, c := range v.claims {
		if c.status == findingVerified && len(c.cites) > 0 {
			c.reason = v.against(c)
		}
		if c.reason != "" {
			c.status = findingUnverified
		}
		switch c.status {
		case findingVerified:
			v.counts.Verified++
			v.counts.Checked++
		case findingOpinion:
			v.counts.Opinions++
		default:
			v.counts.Refused++
			v.counts.Checked++
		}
	}
}

// against returns what speaks against the claim's citations, "" if nothing does.
func (v *verification) against(c *claim) string {
	if v.failed != "" {
		return "not looked at: " + v.failed
	}
	for _, n := range c.cites {
		if result := v.results[n]; !result.OK {
			e := v.citations[n]
			return fmt.Sprintf("%s: %s", place(e), clip(cmp.Or(result.Reason, "it does not hold"), noteMax))
		}
	}
	return ""
}

// place writes where evidence is.
func place(e polity.Evidence) string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	return e.File
}

// report is what a step's output says in the words that hubs understand: a polity.Report, a text,
// or the result of another hub. Fields of another type are as if absent, but for claims, of which a
// note says so.
type report struct {
	summary     string
	onlySummary bool // the output is nothing else
	claimed     bool // the output has claims
	claims      []*claim
	notes       []string
	extractive  string
}

// readReport reads an output. It takes any JSON.
func readReport(output json.RawMessage) report {
	var rep report
	if json.Unmarshal(output, &rep.summary) == nil && rep.summary != "" {
		rep.onlySummary = true
		return rep
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(output, &fields) != nil {
		return rep
	}
	if nested, ok := fields["response"]; ok && fields["claims"] == nil && rep.readResponse(nested) {
		return rep
	}
	rep.summary, rep.extractive = textOf(fields["summary"]), textOf(fields["extractive"])
	rep.onlySummary = rep.summary != "" && len(fields) == 1
	if json.Unmarshal(fields["notes"], &rep.notes) != nil {
		rep.notes = nil
	}
	if claims, ok := fields["claims"]; ok {
		rep.readClaims(claims)
	}
	return rep
}

// readClaims reads each claim by itself, so that one that cannot be read takes no other with it.
func (rep *report) readClaims(data json.RawMessage) {
	var list []json.RawMessage
	if json.Unmarshal(data, &list) != nil {
		rep.notes = append(rep.notes, "its claims are not a list")
		return
	}
	rep.claimed = true
	for i, one := range list {
		var c claim
		if err := json.Unmarshal(one, &c.Claim); err != nil {
			rep.notes = append(rep.notes, fmt.Sprintf("claim %d cannot be read: %v", i+1, err))
			continue
		}
		if c.Text = strings.TrimSpace(c.Text); c.Text == "" {
			rep.notes = append(rep.notes, fmt.Sprintf("claim %d has no text", i+1))
			continue
		}
		rep.claims = append(rep.claims, &c)
	}
}

// readResponse reads the response of another hub. What it verified is verified again; what it could
// not verify stays so.
func (rep *report) readResponse(data json.RawMessage) bool {
	var below HubResponse
	if json.Unmarshal(data, &below) != nil || below.For == nil && below.Against == nil && below.Neutral == nil && below.Unverified == nil {
		return false
	}
	rep.claimed = true
	rep.notes, rep.extractive = below.Notes, below.Extractive
	rep.summary = strings.Trim(below.Verdict+": "+below.Reason, ": ")
	for _, findings := range [][]Finding{below.Against, below.For, below.Neutral, below.Unverified} {
		for _, f := range findings {
			c := &claim{Claim: f.Claim}
			if f.Status != findingVerified {
				c.status, c.reason = findingUnverified, cmp.Or(f.Reason, "the hub below did not verify it")
			}
			if f.Status == findingOpinion {
				c.status, c.reason = findingOpinion, ""
			}
			rep.claims = append(rep.claims, c)
		}
	}
	return true
}
