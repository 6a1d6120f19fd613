package pattern

import (
	"encoding/json"
	"time"

	"polity.run"
	"polity.run/fault"
)

// HubResult is what a run of a hub answers.
type HubResult struct {
	Response HubResponse `json:"response"` // for the reader
	Details  HubDetails  `json:"details"`  // for whoever asks how it came about
}

// HubResponse is the answer, put together from what the specialists claimed and code verified.
type HubResponse struct {
	Question string `json:"question,omitempty"`
	// Verdict is that of the first rule that holds, "" if there is none or none can be given.
	Verdict string `json:"verdict,omitempty"`
	// Reason states the rule and the counts, or why there is no verdict, and who was not asked if a planner chose.
	Reason string `json:"reason,omitempty"`
	// Synthesis is the answer in the words of the synthesizer, if there is one.
	Synthesis *Synthesis `json:"synthesis,omitempty"`
	// Decided lists the findings that made the rule hold, at most 50.
	Decided []string `json:"decided,omitempty"`
	// Answers are those of the steps that succeeded, in the plan's order.
	Answers []Answer `json:"answers"`
	// For, Against and Neutral are the verified findings by their stance: the heaviest first, then
	// those nearest to the question.
	For     []Finding `json:"for"`
	Against []Finding `json:"against"`
	Neutral []Finding `json:"neutral"`
	// Unverified are the findings that a reader should not rely on, each with the reason.
	Unverified []Finding `json:"unverified"`
	Notes      []string  `json:"notes,omitempty"`
	// Extractive says that answers only quote, if an agent said so of itself.
	Extractive string `json:"extractive,omitempty"`
}

// Answer is what one step answered.
type Answer struct {
	Step    string           `json:"step"`
	Agent   polity.AgentName `json:"agent"`
	Summary string           `json:"summary,omitempty"`
	// Sources are the files that its verified claims point at, at most 20.
	Sources []string `json:"sources,omitempty"`
	// Output is the whole output where it holds no claims and is not too large.
	Output json.RawMessage `json:"output,omitempty"`
}

// The statuses of a finding.
const (
	findingVerified   = "verified"
	findingUnverified = "unverified"
	findingOpinion    = "opinion"
)

// Finding is a claim after verification. Claims with the same text and stance are one finding, with
// the heaviest severity and the evidence of all.
type Finding struct {
	ID string `json:"id"` // as in f1
	polity.Claim
	Status string `json:"status"`           // verified, unverified or opinion
	Reason string `json:"reason,omitempty"` // why it is unverified
	// Provenance says who claimed it, the first in the plan first.
	Provenance []Provenance `json:"provenance"`
	// MoreEvidence counts what is left out of Evidence.
	MoreEvidence int `json:"more_evidence,omitempty"`
}

// Provenance leads from a finding to the step, the agent and the tool calls that it rests on.
type Provenance struct {
	Step  string           `json:"step"`
	Agent polity.AgentName `json:"agent"`
	Calls []string         `json:"calls,omitempty"` // effect keys
}

// HubDetails is how a result came about.
type HubDetails struct {
	// Plan is the plan as it was executed: made plans, inferred dependencies and replans included.
	Plan    Plan         `json:"plan"`
	Steps   []StepResult `json:"steps"`
	Replans []Replan     `json:"replans,omitempty"`
	// Past are steps that did not succeed and were replaced by others of a new plan.
	Past []StepResult `json:"past,omitempty"`
	// Staff is what was asked of who plans, reviews and words the answer.
	Staff        []Done       `json:"staff,omitempty"`
	Verification Verification `json:"verification"`
}

// StepResult is what became of a step.
type StepResult struct {
	ID       string           `json:"id"`
	Agent    polity.AgentName `json:"agent"`
	Skill    string           `json:"skill,omitempty"`
	Status   string           `json:"status"` // ok, failed, skipped, cancelled or exhausted
	Attempts int              `json:"attempts"`
	Run      polity.RunID     `json:"run,omitempty"` // of the last attempt
	Started  time.Time        `json:"started,omitzero"`
	Ended    time.Time        `json:"ended,omitzero"`
	Usage    polity.Usage     `json:"usage,omitzero"` // of all attempts that were answered
	Fault    *fault.Error     `json:"fault,omitempty"`
	Output   json.RawMessage  `json:"output,omitempty"`
	// OutputBytes is set instead of Output if that is too large to be copied: read the Run.
	OutputBytes int `json:"output_bytes,omitempty"`
}

// Synthesis is the answer in an agent's words. It changes neither findings nor verdict.
type Synthesis struct {
	Text string `json:"text"`
	// Used lists the findings that it rests on.
	Used []string `json:"used,omitempty"`
	// Missing is what the synthesizer says is not known though it would be needed.
	Missing string           `json:"missing,omitempty"`
	Agent   polity.AgentName `json:"agent"`
	Run     polity.RunID     `json:"run"`
}

// Replan is a failed step that was given to another specialist, or replaced by other steps. Without a step it is what was missing.
type Replan struct {
	Step  string           `json:"step"`
	From  polity.AgentName `json:"from"`
	To    polity.AgentName `json:"to"`
	Skill string           `json:"skill"`
	Fault *fault.Error     `json:"fault"`
	// Steps are the new ones, where a planner made them.
	Steps []string `json:"steps,omitempty"`
}

// Verification counts the claims before they were merged.
type Verification struct {
	Checked  int `json:"checked"`  // claims with evidence
	Verified int `json:"verified"` // whose evidence holds
	Refused  int `json:"refused"`  // whose evidence does not hold, or could not be looked at
	Opinions int `json:"opinions"` // claims without evidence
	LeftOut  int `json:"left_out,omitempty"`
	// Fault says why evidence could not be looked at: then no verdict is given.
	Fault string `json:"fault,omitempty"`
}

// Limits of a result.
const (
	findingsMax    = 1000
	findingsBytes  = 1 << 20   // of all findings as JSON
	outputMax      = 16 << 10  // bytes of an output that is copied
	outputsMax     = 256 << 10 // bytes of all outputs that are copied
	summaryMax     = 4 << 10   // bytes of an answer's summary
	claimTextMax   = 2 << 10   // bytes of a claim's text
	sourcesMax     = 20
	decidedMax     = 50
	provenanceMax  = 50 // agents listed with a finding
	callsMax       = 20 // calls listed with an agent
	extractivesMax = 5  // different texts that say that an answer only quotes
)

// finish ends the run with its result, once it is worded.
func (r *hubRun) finish() {
	result := r.compose()
	if r.cfg.Synthesizer != "" && r.exhausted == nil {
		r.askWords(result)
		return
	}
	r.complete(result)
}

// compose puts the result together.
func (r *hubRun) compose() *HubResult {
	r.noteSilent()
	r.verify.settleClaims()
	findings := r.merge()
	response := HubResponse{
		Question: r.question,
		Answers:  r.answers(),
		For:      []Finding{}, Against: []Finding{}, Neutral: []Finding{}, Unverified: []Finding{},
	}
	r.verdict(&response, findings)
	r.noteCoverage(&response)
	r.share(&response, findings)
	response.Extractive = r.extractive()
	return &HubResult{response, HubDetails{Plan: r.plan, Steps: r.stepResults(), Replans: r.replans, Past: r.past, Verification: r.verify.counts}}
}

// complete ends the run.
func (r *hubRun) complete(result *HubResult) {
	r.phase = ended
	if r.unnoted > 0 {
		r.notes = append(r.notes, plural(r.unnoted, "more note"))
	}
	result.Response.Notes, result.Details.Staff = r.notes, r.done
	output, err := marshal(result)
	if err != nil {
		r.fail(err)
		return
	}
	r.emit(polity.Finish(output))
}

// noteSilent notes the steps that gave no answer.
func (r *hubRun) noteSilent() {
	for i, s := range r.steps {
		if !s.good() && s.fault != nil {
			r.note("step %s gave no answer: %s: %s: %s", r.plan.Steps[i].ID, s.status, s.fault.Kind, s.fault.Text)
		}
	}
}

// share puts the findings where they belong, as many as the result may hold.
func (r *hubRun) share(to *HubResponse, findings []Finding) {
	size := 0
	for i, f := range findings {
		data, err := marshal(f)
		if err != nil { // a claim is text and numbers
			r.note("finding %s cannot be written: %v", f.ID, err)
			continue
		}
		if size += len(data); i >= findingsMax || size > findingsBytes {
			r.note("%s left out, the lightest ones", plural(len(findings)-i, "finding"))
			return
		}
		switch {
		case f.Status != findingVerified:
			to.Unverified = append(to.Unverified, f)
		case f.Stance == polity.For:
			to.For = append(to.For, f)
		case f.Stance == polity.Against:
			to.Against = append(to.Against, f)
		default:
			to.Neutral = append(to.Neutral, f)
		}
	}
}

// answers lists what the steps answered.
func (r *hubRun) answers() []Answer {
	list := []Answer{}
	total := 0
	for i, s := range r.steps {
		if !s.good() || r.plan.Steps[i].Wait != nil {
			continue
		}
		rep := r.verify.reports[i]
		a := Answer{Step: r.plan.Steps[i].ID, Agent: r.plan.Steps[i].Agent, Summary: clip(rep.summary, summaryMax), Sources: r.sources(i)}
		if !rep.claimed && len(s.output) <= outputMax && total+len(s.output) <= outputsMax && !rep.onlySummary {
			total += len(s.output)
			a.Output = s.output
		}
		list = append(list, a)
	}
	return list
}

// sources lists the files that the verified claims of step i point at.
func (r *hubRun) sources(i int) []string {
	var files []string
	for _, c := range r.verify.claims {
		if c.step != i || c.status != findingVerified {
			continue
		}
		for _, e := range c.Evidence {
			if e.File != "" && !e.Missing && len(files) < sourcesMax {
				files = addNew(files, clip(e.File, fileMax))
			}
		}
	}
	return files
}

func (r *hubRun) stepResults() []StepResult {
	var list []StepResult
	total := 0
	for i, s := range r.steps {
		result := r.stepResult(&r.plan.Steps[i], s)
		if total+len(s.output) <= outputsMax && len(s.output) <= outputMax {
			total += len(s.output)
			result.Output = s.output
		} else {
			result.OutputBytes = len(s.output)
		}
		list = append(list, result)
	}
	return list
}

// stepResult is what became of a step, without its output.
func (r *hubRun) stepResult(step *Step, s *stepRun) StepResult {
	result := StepResult{
		ID: step.ID, Agent: step.Agent, Skill: step.Skill, Status: s.status, Attempts: s.attempt,
		Started: s.started, Ended: s.ended, Usage: s.usage, Fault: s.fault,
	}
	if s.attempt > 0 && !step.waits() {
		result.Run = r.run.Child(step.ID, s.kept())
	}
	return result
}

// extractive joins what the agents say of answers that only quote.
func (r *hubRun) extractive() string {
	var texts []string
	for i, s := range r.steps {
		if s.good() && r.verify.reports[i].extractive != "" && len(texts) < extractivesMax {
			texts = addNew(texts, clip(r.verify.reports[i].extractive, noteMax))
		}
	}
	text := ""
	for i, t := range texts {
		if i > 0 {
			text += "; "
		}
		text += t
	}
	return text
}
