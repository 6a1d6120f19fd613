package pattern

import (
	"encoding/json"
	"slices"
	"strings"

	"polity.run/fault"
)

// dutySynthesize is the duty of whoever words the answer.
const dutySynthesize = "synthesize"

const synthesizeOutput = `{"type":"object","additionalProperties":false,"required":["text"],"properties":{` +
	`"text":{"type":"string","description":"The answer, in a few sentences."},` +
	`"used":{"type":"array","items":{"type":"string"},"description":"IDs of the findings that it rests on, as in f1."},` +
	`"missing":{"type":"string","description":"What would have to be known and is not. Leave it out if what was found is sufficient."}}}`

// wordsFindings is how many findings a synthesizer is shown, the heaviest first.
const wordsFindings = 200

// wordsErrand is what a synthesizer is asked with.
type wordsErrand struct {
	errand
	Verdict  string        `json:"verdict,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Findings []wordFinding `json:"findings"`
	Answers  []Answer      `json:"answers"`
	Guidance string        `json:"guidance"`
}

type wordFinding struct {
	ID       string `json:"id"`
	Text     string `json:"text"`
	Stance   string `json:"stance"`
	Severity string `json:"severity"`
}

// wordsAnswer is what it answers.
type wordsAnswer struct {
	Text    string   `json:"text"`
	Used    []string `json:"used"`
	Missing string   `json:"missing"`
}

// askWords has the answer worded. Only verified findings are shown.
func (r *hubRun) askWords(result *HubResult) {
	r.phase, r.words = wording, result
	in := wordsErrand{errand: errandOf(dutySynthesize, r.request), Verdict: result.Response.Verdict, Reason: result.Response.Reason,
		Findings: []wordFinding{}, Answers: result.Response.Answers,
		Guidance: "Word the answer to the objective from the findings and answers alone. The verdict stands; do not change it. List in used the ids of the findings " +
			"that the answer rests on. If something is not known that would be needed, say in missing what."}
	var ids []string
	for _, f := range slices.Concat(result.Response.Against, result.Response.For, result.Response.Neutral) {
		if len(ids) < wordsFindings {
			ids = append(ids, f.ID)
			in.Findings = append(in.Findings, wordFinding{f.ID, f.Text, string(f.Stance), string(f.Severity)})
		}
	}
	input, err := marshal(in)
	if err != nil {
		r.fail(err)
		return
	}
	n := 1
	if r.verify.again {
		n = 2
	}
	accept := func(output json.RawMessage) error {
		w, err := understand[wordsAnswer](output)
		if err == nil && strings.TrimSpace(w.Text) == "" {
			err = fault.Invalid.New("text is empty; want the answer, as far as it is known")
		}
		for _, id := range w.Used {
			if err == nil && !slices.Contains(ids, id) {
				err = fault.Invalid.New("used: there is no finding %q", clip(id, nameMax))
			}
		}
		return err
	}
	r.consult(question{name: staffName(dutySynthesize, n), to: find(r.cfg.Members, r.cfg.Synthesizer), duty: dutySynthesize, input: input, accept: accept})
}

// worded takes the words. If something is missing, and may still be planned, it is.
func (r *hubRun) worded(a *answer) {
	if !a.good() {
		r.note("the answer was not worded: %s: %s", a.fault.Kind, a.fault.Text)
		r.complete(r.words)
		return
	}
	w, err := understand[wordsAnswer](a.output)
	if err != nil { // it was accepted
		r.fail(err)
		return
	}
	missing := strings.TrimSpace(clip(w.Missing, problemMax))
	r.words.Response.Synthesis = &Synthesis{Text: clip(w.Text, outputsMax), Used: w.Used, Missing: missing, Agent: a.to.Name, Run: a.run}
	switch {
	case missing == "" || r.verify.again || !r.cfg.planned() || r.staff.exhausted != nil:
	case r.mayReplan() != "":
		r.note("%s says that something is missing, and it is not planned anew: %s", r.cfg.Synthesizer, r.mayReplan())
	default:
		r.phase, r.verify = working, verification{again: true}
		r.newCut(missing)
		r.askReplan("")
		return
	}
	r.complete(r.words)
}
