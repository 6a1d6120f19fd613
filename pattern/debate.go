package pattern

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"polity.run"
)

// Limits of a debate. RoundsMax holds for assigned positions: more rounds of people who may change their minds only make them alike.
const (
	DebatersMax      = 100
	PositionsMax     = 16 // debaters of an adversarial debate, in which each answers all others
	RoundsMax        = 10
	DeliberationsMax = 3 // rounds of a deliberative debate
	OrdersMax        = 10
	ChoicesMax       = 50

	roundsDefault = 2
	degreeDefault = 2
	quorumDefault = 80 // per cent
	quorumLeast   = 51 // below which two answers could have it
	ordersDefault = 4
	topicMax      = 4 << 10 // bytes; of a position and of a choice too
	aliasesMax    = 20
)

// Modes of a debate.
const (
	adversarial  = "adversarial"
	deliberative = "deliberative"
)

// Debate is the configuration of a debate: several are asked at once, answer each other in rounds, and one who takes no part judges.
//
//	openings, blind -> quotes looked up -> { round -> quotes looked up } -> judge, in several orders -> verdict
//
// In an adversarial debate each defends the position that it was assigned. In a deliberative one each has an answer of its own and may
// change it; a few others are shown to it, without names. Moves are simultaneous: everyone answers what was there after the last round.
// The vote of the openings is kept beside the verdict, since a debate is worth its price only where it beats that vote.
type Debate struct {
	// Mode is adversarial (the default) or deliberative.
	Mode string `json:"mode,omitempty"`
	// Topic is what the debate is about; "" is the request's question.
	Topic    string           `json:"topic,omitempty"`
	Debaters []Debater        `json:"debaters"`
	Judge    polity.AgentName `json:"judge"`
	// Rounds after the openings; default 2, at most RoundsMax or, deliberative, DeliberationsMax.
	Rounds int `json:"rounds,omitempty"`
	// Degree is how many others are shown to each in a round of a deliberative debate; default 2. They are its neighbours on a ring that
	// is drawn for the run.
	Degree int `json:"degree,omitempty"`
	// Quorum is how many of a hundred debaters, whether they answer or not, must give the same answer for a deliberative debate to end
	// with it; default 80.
	Quorum int `json:"quorum,omitempty"`
	// Orders is in how many orders the judge sees three candidates or more; default 4, and even, since each is seen from its end too. Two
	// candidates are seen in both orders that they have.
	Orders int `json:"orders,omitempty"`
	// Choices are the answers that there are in a deliberative debate. Empty: any.
	Choices []Choice `json:"choices,omitempty"`
	// Source says that what is quoted must stand in the run's folder, and is looked up there by files.cite.
	Source  bool     `json:"source,omitempty"`
	Members []Member `json:"members,omitempty"`
}

// Debater is one who debates.
type Debater struct {
	Agent polity.AgentName `json:"agent"`
	// Position is what it has to defend in an adversarial debate.
	Position string        `json:"position,omitempty"`
	Bounds   polity.Bounds `json:"bounds,omitzero"` // of each question to it
}

// Choice is an answer that may be given, and other words for it.
type Choice struct {
	Answer  string   `json:"answer"`
	Aliases []string `json:"aliases,omitempty"`
}

// Duties of a debate.
const (
	dutyOpen    = "open"
	dutyRespond = "respond"
	dutyJudge   = "judge"
)

const quotesSchema = `{"type":"array","maxItems":8,"description":"What stands in the source, word for word.","items":{"type":"object",` +
	`"required":["file","text"],"properties":{"file":{"type":"string"},"line":{"type":"integer","minimum":1},"text":{"type":"string"}}}}`

const argumentsSchema = `{"type":"array","maxItems":16,"items":{"type":"object","required":["text"],"properties":` +
	`{"text":{"type":"string","description":"One argument."},"quotes":` + quotesSchema + `}}}`

const statementSchema = `{"type":"object","required":["statement"],"properties":{"statement":{"type":"string",` +
	`"description":"What you say for your position, in a few sentences."},"arguments":` + argumentsSchema + `}}`

const answerSchema = `{"type":"object","required":["answer"],"properties":{"answer":{"type":"string",` +
	`"description":"Your answer in as few words as it takes. Empty if you abstain."},"confidence":{"type":"number","minimum":0,"maximum":1},` +
	`"arguments":` + argumentsSchema + `}}`

const verdictSchema = `{"type":"object","required":["verdict","reasons"],"properties":{` +
	`"verdict":{"type":"string","description":"The letter of the best candidate, or tie, or insufficient if what was said does not decide it."},` +
	`"ranking":{"type":"array","items":{"type":"string"},"description":"The letters of all candidates, best first."},` +
	`"reasons":{"type":"string","description":"Why."},` +
	`"sides":{"type":"array","items":{"type":"object","required":["candidate"],"properties":{"candidate":{"type":"string"},` +
	`"strongest":{"type":"array","items":{"type":"string"}},"weaknesses":{"type":"array","items":{"type":"string"}}}}},` +
	`"conclusion":{"type":"string","description":"What can be concluded from all that was said, without letters."}}}`

// Roles lists the debaters and the judge.
func (d Debate) Roles() []Role {
	said := json.RawMessage(statementSchema)
	if d.Mode == deliberative {
		said = json.RawMessage(answerSchema)
	}
	duties := []polity.Skill{
		{Name: dutyOpen, Description: "Open a debate, without having heard the others.", Output: said},
		{Name: dutyRespond, Description: "Answer what the others said.", Output: said},
	}
	var roles []Role
	for i, one := range d.Debaters {
		roles = append(roles, Role{Field: fmt.Sprintf("debaters[%d].agent", i), Name: "debater", Agent: one.Agent, Duties: duties})
	}
	return append(roles, Role{Field: "judge", Name: "judge", Agent: d.Judge, Duties: []polity.Skill{
		{Name: dutyJudge, Description: "Judge a debate, without having taken part.", Output: json.RawMessage(verdictSchema)},
	}})
}

// Know fills the members in.
func (d *Debate) Know(members []Member) { d.Members = known(d.Roles(), members) }

// Check returns all problems: see Config.
func (d Debate) Check() error {
	var p problems
	d = d.withDefaults()
	rounds, most := RoundsMax, PositionsMax
	switch d.Mode {
	case adversarial:
	case deliberative:
		rounds, most = DeliberationsMax, DebatersMax
	default:
		p.add(in("mode"), "%q is unknown; want %s or %s%s", clip(d.Mode, 40), adversarial, deliberative, among([]string{adversarial, deliberative}, d.Mode))
		return p.err()
	}
	if d.Rounds < 1 || d.Rounds > rounds {
		byMode(p.add(in("rounds"), "%d is not within 1 and %d", d.Rounds, rounds))
	}
	if d.Orders < 2 || d.Orders > OrdersMax || d.Orders%2 != 0 {
		p.add(in("orders"), "%d is no even number within 2 and %d", d.Orders, OrdersMax)
	}
	if len(d.Topic) > topicMax {
		p.add(in("topic"), "%d bytes are more than %d; put the rest into a file", len(d.Topic), topicMax)
	}
	if n := len(d.Debaters); n < 2 || n > most {
		byMode(p.add(in("debaters"), "%s in a debate that is %s; want 2 to %d", plural(n, "debater"), d.Mode, most))
	}
	d.checkDebaters(&p)
	if d.Mode == deliberative {
		if d.Quorum < quorumLeast || d.Quorum > 100 {
			p.add(in("quorum"), "%d%% is not within %d%% and 100%% of the debaters; two answers could have less", d.Quorum, quorumLeast)
		}
		if d.Degree < 1 || d.Degree >= max(len(d.Debaters), 2) {
			p.add(in("degree"), "%d is not within 1 and %d, the number of others", d.Degree, max(len(d.Debaters)-1, 1))
		}
		d.checkChoices(&p)
	} else {
		d.onlyDeliberative(&p)
	}
	checkRoles(d.Roles(), d.Members, &p)
	return p.err()
}

// byMode marks a problem as one that rests on the mode too.
func byMode(one *Problem) { one.With = []string{one.Field, "mode"} }

func (d *Debate) checkDebaters(p *problems) {
	if i := slices.IndexFunc(d.Debaters, func(one Debater) bool { return one.Agent == d.Judge }); i >= 0 && d.Judge != "" {
		p.add(in("judge"), "%s is debaters[%d] too, and nobody judges their own case; name another agent", d.Judge, i)
	}
	agents, positions := map[polity.AgentName]int{}, map[string]int{}
	for i, one := range d.Debaters {
		agent, position := in("debaters[%d].agent", i), in("debaters[%d].position", i)
		if first, twice := agents[one.Agent]; twice && one.Agent != "" {
			p.add(agent, "%s is debaters[%d] already; name another agent, behind which the same model may stand", one.Agent, first)
		} else {
			agents[one.Agent] = i
		}
		text := normalised(one.Position)
		switch first, twice := positions[text]; {
		case d.Mode == deliberative && one.Position != "":
			byMode(p.add(position, "in a deliberative debate everyone has an answer of their own; delete it, or set mode: %s", adversarial))
		case d.Mode == deliberative:
		case strings.TrimSpace(one.Position) == "":
			byMode(p.add(position, "%s has no position to defend; write one, or set mode: %s", one.Agent, deliberative))
		case len(one.Position) > topicMax:
			p.add(position, "%d bytes are more than %d", len(one.Position), topicMax)
		case twice:
			p.add(position, "it is that of debaters[%d] already; give each a position of its own", first)
		default:
			positions[text] = i
		}
		if err := one.Bounds.Check(); err != nil {
			p.add(in("debaters[%d].bounds", i), "%s", strings.TrimPrefix(err.Error(), "bounds: "))
		}
	}
}

func (d *Debate) checkChoices(p *problems) {
	if n := len(d.Choices); n == 1 || n > ChoicesMax {
		p.add(in("choices"), "%s; want 2 to %d, or none for any answer", plural(n, "choice"), ChoicesMax)
	}
	first := map[string]string{}
	for i, c := range d.Choices {
		if len(c.Aliases) > aliasesMax {
			p.add(in("choices[%d].aliases", i), "%d aliases are more than %d", len(c.Aliases), aliasesMax)
		}
		for j, text := range append([]string{c.Answer}, c.Aliases...) {
			at := in("choices[%d].answer", i)
			if j > 0 {
				at = in("choices[%d].aliases[%d]", i, j-1)
			}
			key := normalised(text)
			switch other, twice := first[key]; {
			case key == "":
				p.add(at, "it says nothing; write an answer, or delete it")
			case len(text) > topicMax:
				p.add(at, "%d bytes are more than %d", len(text), topicMax)
			case twice:
				p.add(at, "%q is the same as %q; delete one of them", clip(text, 60), clip(other, 60))
			default:
				first[key] = text
			}
		}
	}
}

// onlyDeliberative refuses what has no meaning where positions are assigned.
func (d *Debate) onlyDeliberative(p *problems) {
	const text = "it belongs to a deliberative debate; delete it, or set mode: deliberative"
	if d.Degree != 0 {
		byMode(p.add(in("degree"), text))
	}
	if d.Quorum != 0 {
		byMode(p.add(in("quorum"), text))
	}
	if len(d.Choices) > 0 {
		byMode(p.add(in("choices"), text))
	}
}

// withDefaults returns d with its zero fields filled in.
func (d Debate) withDefaults() Debate {
	fill := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	if d.Mode == "" {
		d.Mode = adversarial
	}
	fill(&d.Rounds, roundsDefault)
	fill(&d.Orders, ordersDefault)
	if d.Mode == deliberative {
		fill(&d.Quorum, quorumDefault)
		fill(&d.Degree, max(min(degreeDefault, len(d.Debaters)-1), 1))
	}
	return d
}

// Decider returns what decides the runs. A run finishes with a DebateResult. It fails if nobody opened: with the bound that was reached,
// or with the kind of the first debater's fault.
func (d Debate) Decider() (polity.Decider, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	own := copied(d.withDefaults())
	return player{"debate", func(desk *desk) play { return newDebateRun(desk, own) }}, nil
}
