package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// Limits of a hub with ledgers.
const (
	ledgerRoundsMax     = 100
	ledgerStallMax      = 20
	ledgerResetsMax     = 20
	ledgerRoundsDefault = 20
	ledgerStallDefault  = 3
	ledgerResetsDefault = 2
	ledgerSame          = 3        // times that one instruction to one specialist is chosen until that is no progress
	ledgerLines         = 50       // lines of one part of a task ledger
	ledgerLineMax       = 1 << 10  // bytes of a line
	ledgerFactsMax      = 200      // facts that are kept
	ledgerHistory       = 12       // newest rounds that the lead is shown
	ledgerShown         = 4 << 10  // bytes of an output that the lead is shown
	ledgerContextMax    = 32 << 10 // bytes of facts that a specialist is told
)

// Ledger makes a hub one without a plan: its lead keeps a ledger of the task, and says round by round who does what next.
//
//	task ledger -> progress ledger -> a specialist -> its claims looked up -> progress ledger ... -> answer
//	     ^               |
//	     +---- reset ----+ too many bad rounds: facts and plan are written anew, verified facts stay
//
// It is a mode of the hub and no pattern of its own, since it has the hub's specialists and has what they claim looked up as the hub does.
// Whether there is progress is not the lead's word alone: the same instruction again and again, or rounds without anything new, are bad
// rounds whatever its ledger says.
type Ledger struct {
	Lead polity.AgentName `json:"lead"`
	// Rounds is how often somebody is chosen; default 20, at most 100.
	Rounds *int `json:"rounds,omitempty"`
	// Stall is how high the count of bad rounds may be: each adds one, each good round takes one. Beyond it there is a reset. Default 3.
	Stall *int `json:"stall,omitempty"`
	// Resets is how many there may be; default 2.
	Resets *int `json:"resets,omitempty"`
}

func (l *Ledger) rounds() int { return *cmp.Or(l.Rounds, new(ledgerRoundsDefault)) }
func (l *Ledger) stall() int  { return *cmp.Or(l.Stall, new(ledgerStallDefault)) }
func (l *Ledger) resets() int { return *cmp.Or(l.Resets, new(ledgerResetsDefault)) }

// The duties of a lead.
const (
	dutyLedger       = "ledger"
	dutyProgress     = "progress"
	dutyLedgerAnswer = "answer"
	dutyLedgerWork   = "work" // of a specialist, by its own skill
)

const (
	ledgerOutput = `{"type":"object","additionalProperties":false,"required":["given","look_up","derive","guesses","plan"],"properties":{` +
		`"given":{"type":"array","items":{"type":"string"},"description":"Facts that the request states."},` +
		`"look_up":{"type":"array","items":{"type":"string"},"description":"Facts to look up, and where."},` +
		`"derive":{"type":"array","items":{"type":"string"},"description":"Facts to derive or compute."},` +
		`"guesses":{"type":"array","items":{"type":"string"},"description":"Educated guesses."},` +
		`"plan":{"type":"array","items":{"type":"string"},"description":"Steps, each with the specialist that does it."}}}`
	saidBool       = `{"type":"object","additionalProperties":false,"required":["reason","answer"],"properties":{"reason":{"type":"string"},"answer":{"type":"boolean"}}}`
	saidText       = `{"type":"object","additionalProperties":false,"required":["reason","answer"],"properties":{"reason":{"type":"string"},"answer":{"type":"string"}}}`
	progressOutput = `{"type":"object","additionalProperties":false,"required":["satisfied","in_loop","progress","next_speaker","instruction"],"properties":{` +
		`"satisfied":` + saidBool + `,"in_loop":` + saidBool + `,"progress":` + saidBool + `,"next_speaker":` + saidText + `,"instruction":` + saidText + `,"skill":` + saidText + `}}`
	answerOutput = `{"type":"object","additionalProperties":false,"required":["text"],"properties":{` +
		`"text":{"type":"string","description":"The answer to the objective."},` +
		`"rests_on":{"type":"array","items":{"type":"string"},"description":"IDs of the verified facts that it rests on, as in f1."}}}`
)

// role is the lead's.
func (l *Ledger) role() Role {
	return Role{"ledger.lead", "lead", l.Lead, []polity.Skill{
		dutyOf(dutyLedger, "Write down what is known, what is not, and a plan.", ledgerOutput),
		dutyOf(dutyProgress, "Say how far the work is, and who does what next.", progressOutput),
		dutyOf(dutyLedgerAnswer, "Answer from what was found.", answerOutput),
	}}
}

// check checks the mode, and that nothing is declared that needs a plan.
func (l *Ledger) check(h *Hub, p *problems) {
	within := func(name string, n, least, most int) {
		if n < least || n > most {
			p.add(in("ledger.%s", name), "%d is not within %d and %d", n, least, most)
		}
	}
	within("rounds", l.rounds(), 1, ledgerRoundsMax)
	within("stall", l.stall(), 0, ledgerStallMax)
	within("resets", l.resets(), 0, ledgerResetsMax)
	if h.specialist(l.Lead) != nil {
		p.add(in("ledger.lead"), "%s is a specialist, and would choose itself; name another agent", l.Lead)
	}
	for _, other := range []struct {
		field string
		set   bool
	}{
		{"plan", h.Plan != nil}, {"planner", h.Planner != ""}, {"fallback", h.Fallback != ""}, {"synthesizer", h.Synthesizer != ""},
		{"verdict", len(h.Verdict) > 0}, {"join", h.Join != Join{}}, {"caps", h.Caps != Caps{}}, {"retries", h.Retries != nil}, {"replans", h.Replans != nil},
	} {
		if other.set {
			p.add(in("%s", other.field), "a hub with a ledger has no plan that this could be about; delete it, or the ledger")
		}
	}
}

// ledgerResult is what the result of a hub with a ledger calls itself.
const ledgerResult = "magentic"

// MagenticResult is what a run of a hub with a ledger answers.
type MagenticResult struct {
	Pattern string `json:"pattern"` // magentic
	// Answer is the lead's; where a bound came before it, what is known.
	Answer string `json:"answer"`
	// RestsOn lists the verified facts that the lead says its answer rests on.
	RestsOn   []string `json:"rests_on,omitempty"`
	Satisfied bool     `json:"satisfied"` // as the lead's last progress ledger says
	// Stopped says why there were no more rounds: satisfied, rounds, resets or bound.
	Stopped string `json:"stopped"`
	// Facts are those that were looked up and hold. A reset keeps them.
	Facts  []LedgerFact  `json:"facts"`
	Task   TaskLedger    `json:"task"` // as the lead wrote it last
	Rounds []LedgerRound `json:"rounds"`
	Resets int           `json:"resets"`
	Lead   []Done        `json:"lead"` // what the lead, and who reviewed its plan, was asked beside the rounds
	Notes  []string      `json:"notes,omitempty"`
}

// LedgerFact is a claim of a specialist whose evidence holds.
type LedgerFact struct {
	ID string `json:"id"` // as in f1
	polity.Claim
	Agent polity.AgentName `json:"agent"`
	Run   polity.RunID     `json:"run"`
	Round int              `json:"round"`
}

// TaskLedger is what a lead writes down of a task. Nothing of it is verified.
type TaskLedger struct {
	Given   []string `json:"given"`
	LookUp  []string `json:"look_up"`
	Derive  []string `json:"derive"`
	Guesses []string `json:"guesses"`
	Plan    []string `json:"plan"`
}

// LedgerRound is one progress ledger and what followed from it.
type LedgerRound struct {
	Round       int              `json:"round"`
	Reset       int              `json:"reset,omitempty"` // how many resets there had been
	Speaker     polity.AgentName `json:"speaker,omitempty"`
	Skill       string           `json:"skill,omitempty"`
	Instruction string           `json:"instruction,omitempty"`
	Reason      string           `json:"reason,omitempty"` // why this speaker
	Bad         []string         `json:"bad,omitempty"`    // why the round was a bad one
	Stall       int              `json:"stall"`            // the count of bad rounds after it
	Verified    int              `json:"verified,omitempty"`
	Refused     int              `json:"refused,omitempty"` // claims whose evidence does not hold
	Led         Done             `json:"led"`
	Worked      *Done            `json:"worked,omitempty"`
	Output      json.RawMessage  `json:"output,omitempty"`
	OutputBytes int              `json:"output_bytes,omitempty"` // instead of an output that is too large to be copied
}

// tidied returns a ledger whose parts are not too long.
func (t TaskLedger) tidied() TaskLedger {
	cut := func(lines []string) []string {
		out := []string{}
		for _, l := range lines[:min(len(lines), ledgerLines)] {
			out = append(out, clip(l, ledgerLineMax))
		}
		return out
	}
	return TaskLedger{cut(t.Given), cut(t.LookUp), cut(t.Derive), cut(t.Guesses), cut(t.Plan)}
}

// ledgerSaid is one entry of a progress ledger.
type ledgerSaid[T any] struct {
	Reason string `json:"reason"`
	Answer *T     `json:"answer"`
}

// or is the answer, or what stands for none.
func (s ledgerSaid[T]) or(none T) T {
	if s.Answer == nil {
		return none
	}
	return *s.Answer
}

// progressLedger is what a lead says of a round.
type progressLedger struct {
	Satisfied   ledgerSaid[bool]   `json:"satisfied"`
	InLoop      ledgerSaid[bool]   `json:"in_loop"`
	Progress    ledgerSaid[bool]   `json:"progress"`
	NextSpeaker ledgerSaid[string] `json:"next_speaker"`
	Instruction ledgerSaid[string] `json:"instruction"`
	Skill       ledgerSaid[string] `json:"skill"`
}

// readProgress reads a progress ledger, and wants it to name a specialist with a skill. Nobody is chosen by default.
func (h *Hub) readProgress(output json.RawMessage) (progressLedger, *Member, string, error) {
	l, err := understand[progressLedger](output)
	if err != nil {
		return l, nil, "", err
	}
	for _, one := range []struct {
		name   string
		answer *bool
	}{{"satisfied", l.Satisfied.Answer}, {"in_loop", l.InLoop.Answer}, {"progress", l.Progress.Answer}} {
		if one.answer == nil {
			return l, nil, "", fault.Invalid.New("%s.answer is missing; want true or false", one.name)
		}
	}
	if *l.Satisfied.Answer {
		return l, nil, "", nil
	}
	name := l.NextSpeaker.or("")
	to := h.specialist(polity.AgentName(name))
	if to == nil {
		return l, nil, "", fault.Invalid.New("next_speaker.answer: no specialist is named %q%s", clip(name, nameMax), among(h.names(), name))
	}
	skill := l.Skill.or("")
	if to.skill(skill) == nil {
		return l, nil, "", fault.Invalid.New("skill.answer: %s has no skill %q; name one of %s", name, clip(skill, nameMax), list(to.skillNames()))
	}
	if strings.TrimSpace(l.Instruction.or("")) == "" {
		return l, nil, "", fault.Invalid.New("instruction.answer is empty; say what %s is to do", name)
	}
	return l, to, to.skill(skill).Name, nil
}

func (h *Hub) names() []string {
	var names []string
	for i := range h.Specialists {
		names = append(names, string(h.Specialists[i].Name))
	}
	return names
}

func (f *LedgerFact) line() string { return fmt.Sprintf("- %s: %s", f.ID, f.Text) }
