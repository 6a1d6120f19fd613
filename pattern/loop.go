package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// Limits of a loop.
const (
	LoopRoundsMax       = 20
	loopRoundsDefault   = 3
	loopPatienceDefault = 2
	critiqueMax         = 4 << 10 // bytes of a critique that the generator is told
)

// Loop is the configuration of a loop: one agent makes a candidate, another says how good it is, until it is good enough.
//
//	request -> generate -> evaluate -> passed? -> the best
//	              ^           |
//	              +-- the best and its critique, within a number of rounds
//
// The evaluator is another agent than the generator, best something outside any model, as a test or a linter: an agent that judges its own
// work makes it worse. What is answered is the best candidate, not the last. A loop always ends: there is no loop without rounds.
type Loop struct {
	Generator polity.AgentName `json:"generator"`
	Evaluator polity.AgentName `json:"evaluator"`
	// Rounds is how many candidates there may be; default 3, at most LoopRoundsMax.
	Rounds *int `json:"rounds,omitempty"`
	// Patience is after how many rounds that brought nothing better it is given up; default 2.
	Patience *int     `json:"patience,omitempty"`
	Members  []Member `json:"members,omitempty"`
}

// The duties of a loop.
const (
	dutyGenerate = "generate"
	dutyEvaluate = "evaluate"
)

const (
	generateOutput = `{"type":"object","additionalProperties":false,"required":["text"],"properties":{` +
		`"text":{"type":"string","description":"The candidate, whole."}}}`
	evaluateOutput = `{"type":"object","additionalProperties":false,"required":["score","pass","critique"],"properties":{` +
		`"score":{"type":"number","minimum":0,"maximum":1,"description":"How good the candidate is; 1 is as good as can be."},` +
		`"pass":{"type":"boolean","description":"Whether it is good enough."},` +
		`"critique":{"type":"string","description":"What is to be made better, each point with where it shows."},` +
		`"evidence":{"type":"array","items":{"type":"string"},"description":"What was looked at: lines, results of tests, messages of tools."}}}`
)

// Roles lists the generator and the evaluator.
func (l Loop) Roles() []Role {
	return []Role{
		{"generator", "generator", l.Generator, []polity.Skill{dutyOf(dutyGenerate, "Make a candidate, or a better one.", generateOutput)}},
		{"evaluator", "evaluator", l.Evaluator, []polity.Skill{dutyOf(dutyEvaluate, "Say how good a candidate is, and what is to be made better.", evaluateOutput)}},
	}
}

// Know fills the members in.
func (l *Loop) Know(members []Member) { l.Members = known(l.Roles(), members) }

// Check returns all problems: see Config.
func (l Loop) Check() error {
	var p problems
	if l.Generator == l.Evaluator && l.Generator != "" {
		p.add(in("evaluator"), "%s would judge its own work, which makes it worse; name another agent, or a program that tests it", l.Evaluator)
	}
	if n := l.rounds(); n < 1 || n > LoopRoundsMax {
		p.add(in("rounds"), "%d rounds: a loop has a bound, and at least one round; want 1 to %d", n, LoopRoundsMax)
	}
	if n := l.patience(); n < 1 || n > LoopRoundsMax {
		p.add(in("patience"), "%d is not within 1 and %d", n, LoopRoundsMax)
	}
	checkRoles(l.Roles(), l.Members, &p)
	return p.err()
}

func (l *Loop) rounds() int   { return *cmp.Or(l.Rounds, new(loopRoundsDefault)) }
func (l *Loop) patience() int { return *cmp.Or(l.Patience, new(loopPatienceDefault)) }

// Decider returns what decides the runs, or what Check finds. A run finishes with a LoopResult, or fails with the kind of the last fault
// if there is no candidate at all.
func (l Loop) Decider() (polity.Decider, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	own := copied(l)
	return player{"loop", func(d *desk) play { return &loopRun{desk: d, cfg: own, best: -1} }}, nil
}

// Why a loop stopped.
const (
	loopPassed = "passed"
	loopStuck  = "no improvement"
	loopRounds = "rounds"
	loopBound  = "bound"
)

// LoopResult is what a run of a loop answers.
type LoopResult struct {
	Pattern string          `json:"pattern"` // loop
	Best    json.RawMessage `json:"best"`    // the candidate with the highest score, of equals the first
	Round   int             `json:"round"`   // in which it was made, from 1
	Score   *float64        `json:"score"`   // from 0 to 1; null if it was never judged
	Passed  bool            `json:"passed"`
	// Stopped says why there were no more rounds: passed, no improvement, rounds or bound.
	Stopped string      `json:"stopped"`
	Rounds  []LoopRound `json:"rounds"`
}

// LoopRound is one candidate and what was said of it.
type LoopRound struct {
	Round    int      `json:"round"`
	Score    *float64 `json:"score,omitempty"`
	Passed   bool     `json:"passed,omitempty"`
	Improved bool     `json:"improved,omitempty"` // it is the best so far
	Repeats  int      `json:"repeats,omitempty"`  // the round whose candidate was the same; it was not judged again
	Critique string   `json:"critique,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
	// Candidate is what was made, unless it is the best, repeats another, or is too large to be copied.
	Candidate json.RawMessage `json:"candidate,omitempty"`
	Generated Done            `json:"generated"`
	Evaluated *Done           `json:"evaluated,omitempty"`
}

// loopRound is a round with its whole candidate.
type loopRound struct {
	LoopRound
	candidate json.RawMessage
}

// loopRun is the state of one run.
type loopRun struct {
	*desk
	cfg     *Loop
	request json.RawMessage
	rounds  []*loopRound
	best    int // index of the best round; -1 for none
	dry     int // rounds since it
}

func (r *loopRun) open(e polity.Event) { r.request = e.Data }

// generateErrand is what a generator is asked with.
type generateErrand struct {
	errand
	Round    int             `json:"round"`
	Rounds   int             `json:"rounds"` // that there may be
	Best     json.RawMessage `json:"best,omitempty"`
	Score    *float64        `json:"score,omitempty"`
	Critique string          `json:"critique,omitempty"`
	Evidence []string        `json:"evidence,omitempty"`
	// Tried is what was said of a newer candidate that was no better.
	Tried    string `json:"tried,omitempty"`
	Guidance string `json:"guidance"`
}

// evaluateErrand is what an evaluator is asked with.
type evaluateErrand struct {
	errand
	Candidate json.RawMessage `json:"candidate"`
	Guidance  string          `json:"guidance"`
}

// evaluateAnswer is what an evaluator answers.
type evaluateAnswer struct {
	Score    *float64 `json:"score"`
	Pass     *bool    `json:"pass"`
	Critique string   `json:"critique"`
	Evidence []string `json:"evidence"`
}

func acceptJudgement(output json.RawMessage) error {
	j, err := understand[evaluateAnswer](output)
	switch {
	case err != nil:
		return err
	case j.Score == nil || *j.Score < 0 || *j.Score > 1:
		return fault.Invalid.New("score is no number from 0 to 1")
	case j.Pass == nil:
		return fault.Invalid.New("pass is missing; want true or false")
	}
	return nil
}

func (r *loopRun) idle() {
	switch {
	case r.exhausted != nil:
		r.end(loopBound)
	case r.best >= 0 && r.rounds[r.best].Passed:
		r.end(loopPassed)
	case len(r.rounds) == r.cfg.rounds():
		r.end(loopRounds)
	case r.dry >= r.cfg.patience():
		r.end(loopStuck)
	default:
		r.generate()
	}
}

// generate asks for a candidate: the first, or one that is better than the best.
func (r *loopRun) generate() {
	in := generateErrand{errand: errandOf(dutyGenerate, r.request), Round: len(r.rounds) + 1, Rounds: r.cfg.rounds(), Guidance: "Make the candidate, whole."}
	if r.best >= 0 {
		b := r.rounds[r.best]
		in.Best, in.Score, in.Critique, in.Evidence = b.candidate, b.Score, b.Critique, b.Evidence
		in.Guidance = "Make a better candidate, whole: begin with best, and do what critique says."
		if last := r.rounds[len(r.rounds)-1]; last != b {
			in.Tried = last.failing()
		}
	}
	r.put(in, r.cfg.Generator, dutyGenerate, nil)
}

// failing says what was wrong with a round that brought nothing better.
func (r *loopRound) failing() string {
	switch {
	case r.Repeats > 0:
		return fmt.Sprintf("The newest candidate was the same as that of round %d.", r.Repeats)
	case r.Score != nil:
		return fmt.Sprintf("The newest candidate was no better (%.2f): %s", *r.Score, r.Critique)
	default:
		return "The newest candidate came to nothing."
	}
}

// put asks for a duty of the round that is under way.
func (r *loopRun) put(in any, to polity.AgentName, duty string, accept func(json.RawMessage) error) {
	input, err := marshal(in)
	if err != nil {
		r.fail(err)
		return
	}
	n := len(r.rounds)
	if duty == dutyGenerate {
		n++
	}
	r.ask(question{name: fmt.Sprintf("round%d.%s", n, duty), to: find(r.cfg.Members, to), duty: duty, input: input, accept: accept})
}

func (r *loopRun) answered(a *answer) {
	if strings.HasSuffix(a.name, dutyGenerate) {
		r.made(a)
		return
	}
	now := r.rounds[len(r.rounds)-1]
	now.Evaluated = new(a.done())
	if !a.good() {
		r.dry++
		return
	}
	j, err := understand[evaluateAnswer](a.output)
	if err != nil { // it was accepted
		r.fail(err)
		return
	}
	now.Score, now.Passed, now.Critique = j.Score, *j.Pass, clip(j.Critique, critiqueMax)
	for _, e := range j.Evidence[:min(len(j.Evidence), evidenceMax)] {
		now.Evidence = append(now.Evidence, clip(e, noteMax))
	}
	if r.better(now) {
		now.Improved = true
		r.best, r.dry = len(r.rounds)-1, 0
		return
	}
	r.dry++
}

// better says whether a round's candidate is better than the best: one that passed than one that did not, then by the score.
func (r *loopRun) better(now *loopRound) bool {
	best := r.rounds[r.best]
	if best == now || best.Score == nil {
		return true
	}
	if now.Passed != best.Passed {
		return now.Passed
	}
	return *now.Score > *best.Score
}

// made takes a candidate and has it judged, unless it was judged before.
func (r *loopRun) made(a *answer) {
	candidate := a.output
	now := &loopRound{LoopRound: LoopRound{Round: len(r.rounds) + 1, Generated: a.done()}, candidate: candidate}
	for _, b := range r.rounds {
		if a.good() && b.candidate != nil && b.Score != nil && string(b.candidate) == string(candidate) {
			now.Repeats = b.Round
			break
		}
	}
	r.rounds = append(r.rounds, now)
	if !a.good() || now.Repeats > 0 {
		r.dry++
		return
	}
	if r.best < 0 {
		r.best = len(r.rounds) - 1 // until one is judged
	}
	in := evaluateErrand{errandOf(dutyEvaluate, r.request), candidate,
		"Judge the candidate by the objective alone. Say in critique what is to be made better, with what shows it."}
	r.put(in, r.cfg.Evaluator, dutyEvaluate, acceptJudgement)
}

// end finishes with the best.
func (r *loopRun) end(why string) {
	if r.best < 0 {
		last := r.exhausted
		for _, one := range r.rounds {
			last = cmp.Or(one.Generated.Fault, last)
		}
		if r.exhausted != nil {
			r.fail(fault.Exceeded(r.exhausted.Bound, "loop: a bound was reached before there was a candidate: %s", r.exhausted.Text))
			return
		}
		r.fail(last.Kind.New("loop: %s made no candidate in %s: %s", r.cfg.Generator, plural(len(r.rounds), "round"), last.Text))
		return
	}
	best := r.rounds[r.best]
	result := LoopResult{Pattern: "loop", Best: best.candidate, Round: best.Round, Score: best.Score, Passed: best.Passed, Stopped: why}
	total := 0
	for i, one := range r.rounds {
		if i != r.best && one.Repeats == 0 && len(one.candidate) <= outputMax && total+len(one.candidate) <= outputsMax {
			total += len(one.candidate)
			one.Candidate = one.candidate
		}
		result.Rounds = append(result.Rounds, one.LoopRound)
	}
	r.finish(result)
}
