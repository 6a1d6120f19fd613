package pattern

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"polity.run"
	"polity.run/fault"
)

// Limits of what a debater says; what is beyond them is left out.
const (
	argumentsMax   = 16       // of one statement
	quotesMax      = 8        // of one argument
	saidMax        = 8 << 10  // bytes of a statement, an answer and an argument
	argueMax       = 32 << 10 // bytes of all arguments of a statement, with what they quote
	candidateMax   = 16 << 10 // bytes of all that the judge sees of one candidate
	candidateLeast = 2 << 10  // bytes that every candidate may use, even if the shortest uses fewer
)

// Said is what a debater says.
type Said struct {
	Statement  string     `json:"statement,omitempty"`
	Answer     string     `json:"answer,omitempty"` // deliberative
	Confidence *float64   `json:"confidence,omitempty"`
	Arguments  []Argument `json:"arguments,omitempty"`
	Abstained  bool       `json:"abstained,omitempty"`

	wrote string // the answer as it was written
	key   string // equal for what says the same
}

// Argument is one argument, and what is quoted for it.
type Argument struct {
	Text   string  `json:"text"`
	Quotes []Quote `json:"quotes,omitempty"`
}

// Quote is a passage that is said to stand in the source.
type Quote struct {
	polity.Evidence
	// Status is verified if it stands there, refused if it does not, and unchecked if nobody has looked.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"` // why it is not verified
}

const (
	quoteVerified  = "verified"
	quoteRefused   = "refused"
	quoteUnchecked = "unchecked"
)

// read reads what a debater answered: an object as its duty's schema has it, a report of claims, a text, or the result of an
// organization that holds one of these. It returns fault.Invalid for what says nothing.
func (d *Debate) read(output json.RawMessage) (*Said, error) {
	fields := saidFields(output)
	s := &Said{
		Statement: clip(strings.TrimSpace(cmp.Or(textOf(fields["statement"]), textOf(fields["summary"]))), saidMax),
		Arguments: limited(append(readArguments(fields["arguments"], "quotes"), readArguments(fields["claims"], "evidence")...)),
	}
	if d.Mode == adversarial {
		if s.key = normalised(s.Statement); s.key == "" {
			return nil, fault.Invalid.New(`it says nothing: want {"statement": "...", "arguments": [...]}`)
		}
		return s, nil
	}
	answer, given := scalar(fields["answer"])
	if !given {
		answer, given = s.Statement, s.Statement != ""
		s.Statement = ""
	}
	if s.Abstained = strings.TrimSpace(answer) == ""; s.Abstained && !given {
		return nil, fault.Invalid.New(`it gives no answer: want {"answer": "...", "confidence": 0.5, "arguments": [...]}, with an empty answer to abstain`)
	} else if s.Abstained {
		return s, nil
	}
	s.wrote = clip(strings.TrimSpace(answer), saidMax)
	var known bool
	if s.Answer, known = d.choice(s.wrote); !known {
		return nil, fault.Invalid.New("the answer %q is none of the choices: %s", clip(s.wrote, 80), list(d.choices()))
	}
	if s.key = normalised(s.Answer); s.key == "" {
		s.key = s.Answer
	}
	var confidence float64
	if json.Unmarshal(fields["confidence"], &confidence) == nil && fields["confidence"] != nil && confidence >= 0 && confidence <= 1 {
		s.Confidence = &confidence
	}
	return s, nil
}

func (d *Debate) choices() []string {
	var all []string
	for _, c := range d.Choices {
		all = append(all, c.Answer)
	}
	return all
}

// saidFields finds the object that says something, within the result of an organization too.
func saidFields(output json.RawMessage) map[string]json.RawMessage {
	var text string
	if json.Unmarshal(output, &text) == nil {
		return map[string]json.RawMessage{"statement": output}
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(output, &fields) != nil {
		return nil
	}
	switch {
	case fields["pattern"] != nil && fields["verdict"] != nil:
		return below(fields["verdict"])
	case fields["response"] != nil:
		return reported(output)
	default:
		return fields
	}
}

// below reads the verdict of a debate as what somebody says.
func below(verdict json.RawMessage) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(verdict, &fields) != nil {
		return nil
	}
	if textOf(fields["answer"]) == "" {
		fields["answer"] = json.RawMessage(`""`) // it found none
	}
	if fields["statement"] = fields["conclusion"]; textOf(fields["conclusion"]) == "" {
		fields["statement"] = fields["answer"]
	}
	return fields
}

// reported reads a hub's report as what somebody says.
func reported(output json.RawMessage) map[string]json.RawMessage {
	rep := readReport(output)
	claims := make([]polity.Claim, len(rep.claims))
	for i, c := range rep.claims {
		claims[i] = c.Claim
	}
	fields := map[string]json.RawMessage{}
	for name, v := range map[string]any{"statement": rep.summary, "claims": claims} {
		if raw, err := marshal(v); err == nil { // else it says nothing, which is found
			fields[name] = raw
		}
	}
	var hub struct {
		Response struct{ Verdict json.RawMessage }
	}
	if json.Unmarshal(output, &hub) == nil && textOf(hub.Response.Verdict) != "" {
		fields["answer"] = hub.Response.Verdict
	}
	return fields
}

// readArguments reads each argument by itself; what cannot be read is left out.
func readArguments(data json.RawMessage, quotes string) []Argument {
	var all []json.RawMessage
	var out []Argument
	if json.Unmarshal(data, &all) != nil {
		return nil
	}
	for _, raw := range all[:min(len(all), argumentsMax)] {
		var one map[string]json.RawMessage
		if json.Unmarshal(raw, &one) != nil {
			continue
		}
		a := Argument{Text: clip(strings.TrimSpace(textOf(one["text"])), saidMax)}
		var places []polity.Evidence
		if json.Unmarshal(one[quotes], &places) != nil {
			places = nil
		}
		for _, e := range places[:min(len(places), quotesMax)] {
			e.Call = ""
			e.Text = strings.TrimSpace(e.Text)
			a.Quotes = append(a.Quotes, Quote{Evidence: e, Status: quoteUnchecked, Reason: "nobody has looked"})
		}
		if a.Text != "" {
			out = append(out, a)
		}
	}
	return out
}

// scalar is the text of a string, a number or a truth value.
func scalar(raw json.RawMessage) (string, bool) {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return "", false
	}
	switch v := v.(type) {
	case string:
		return v, true
	case float64, bool:
		return string(raw), true
	default:
		return "", false
	}
}

// limited keeps the first arguments, as many as may be.
func limited(all []Argument) []Argument {
	room := argueMax
	for i, a := range all {
		room -= len(a.Text)
		for _, q := range a.Quotes {
			room -= len(q.File) + len(q.Text)
		}
		if i == argumentsMax || room < 0 {
			return all[:i]
		}
	}
	return all
}

var (
	fenceText    = regexp.MustCompile("(?m)^[ \t]*(```|~~~).*$")
	linkText     = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	headText     = regexp.MustCompile(`(?m)^[ \t]*(#{1,6}|>+|[-*+•]|\d{1,3}[.)])[ \t]+`)
	ruleText     = regexp.MustCompile(`(?m)^[ \t]*([-*_=|: \t]){3,}$`)
	emphasisText = regexp.MustCompile("\\*+|__+|`+|~~+|\\|")
)

// unformatted is a text without what makes it look good: a judge shall weigh what is said.
func unformatted(text string) string {
	for _, form := range []*regexp.Regexp{fenceText, ruleText, headText, emphasisText} {
		text = form.ReplaceAllString(text, " ")
	}
	text = linkText.ReplaceAllString(text, "$1")
	text = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.So, r) || unicode.Is(unicode.Cf, r) { // pictures, and what is not seen
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// equalised cuts the texts of candidates so that none has more room than another: that of the shortest, if it is not very short.
func equalised(all [][]string) [][]string {
	room := candidateMax
	for _, texts := range all {
		n := 0
		for _, t := range texts {
			n += len(t)
		}
		room = min(room, n)
	}
	room = max(room, candidateLeast)
	out := make([][]string, len(all))
	for i, texts := range all {
		left := room
		out[i] = []string{}
		for j, t := range texts {
			t = shortened(t, left/(len(texts)-j))
			left -= len(t)
			out[i] = append(out[i], t)
		}
	}
	return out
}

// shortened cuts a text to at most max bytes, at a space where there is one near.
func shortened(text string, max int) string {
	const mark = "…"
	if len(text) <= max {
		return text
	}
	cut := strings.TrimSuffix(clip(text, max-len(mark)), mark)
	if i := strings.LastIndexByte(cut, ' '); i > len(cut)*3/4 {
		cut = cut[:i]
	}
	return cut + mark
}

// outline writes arguments as texts, without format.
func (s *Said) outline() []string {
	var out []string
	if s.Statement != "" {
		out = append(out, unformatted(s.Statement))
	}
	for _, a := range s.Arguments {
		out = append(out, unformatted(a.Text))
	}
	return slices.DeleteFunc(out, func(t string) bool { return t == "" })
}
