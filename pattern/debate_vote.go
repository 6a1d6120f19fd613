package pattern

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"polity.run"
)

// numberMax is the longest text that is read as a number.
const numberMax = 40

var (
	numberText  = regexp.MustCompile(`^[+-]?(\d+|\d{1,3}(,\d{3})+)?(\.\d+)?([eE][+-]?\d{1,3})?$`)
	digitText   = regexp.MustCompile(`\d`)
	leadingText = regexp.MustCompile(`^[[:alpha:]]+`)
)

// edges are cut off a word's ends. A hyphen is not among them: A- is no A.
const edges = ".,;:!?\"'`()[]{}<>*_…“”„‘’«»–—"

// normalised is an answer in the form in which answers are compared: without differences of case, white space, punctuation around words
// and ways to write a number. It rather takes two answers for different than for the same: declared aliases say what it cannot know.
func normalised(text string) string {
	var words []string
	for _, word := range strings.Fields(strings.ToLower(text)) {
		bare := strings.TrimRight(strings.TrimLeft(word, strings.ReplaceAll(edges, ".", "")), edges) // .5 is a number
		if n, ok := number(bare); ok {
			words = append(words, n)
			continue
		}
		words = append(words, strings.Fields(apart(strings.Trim(bare, edges)))...)
	}
	return strings.Join(words, " ")
}

// apart takes apostrophes out of a word and divides it at its hyphens.
func apart(word string) string {
	runes := []rune(word)
	var b strings.Builder
	for i, r := range runes {
		inside := i > 0 && i < len(runes)-1 && unicode.IsLetter(runes[i-1]) && unicode.IsLetter(runes[i+1])
		switch {
		case inside && (r == '\'' || r == '’'):
		case inside && (r == '-' || r == '‐'), len(runes) == 1 && r == '-':
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// number writes a number in one way: 1,000 and 1000.0 and 1e3 are the same.
func number(word string) (string, bool) {
	if len(word) > numberMax || !numberText.MatchString(word) || !digitText.MatchString(word) || word[0] == 'e' {
		return "", false
	}
	n, ok := new(big.Rat).SetString(strings.ReplaceAll(word, ",", ""))
	if !ok {
		return "", false
	}
	return n.RatString(), true
}

// choice returns the declared choice that a text stands for; true for any text where none are declared.
func (d *Debate) choice(text string) (string, bool) {
	if len(d.Choices) == 0 {
		return text, true
	}
	key := normalised(text)
	for _, c := range d.Choices {
		if slices.ContainsFunc(append([]string{c.Answer}, c.Aliases...), func(s string) bool { return normalised(s) == key }) {
			return c.Answer, true
		}
	}
	return "", false
}

// DebateVote counts who gives which answer.
type DebateVote struct {
	Eligible  int `json:"eligible"`
	Cast      int `json:"cast"`
	Abstained int `json:"abstained"`
	Absent    int `json:"absent"`
	// Effective is how many independent voices the votes that were cast are worth, as far as one can say without having measured it.
	Effective float64        `json:"effective"`
	Answers   []DebateAnswer `json:"answers"` // most votes first, then in the order of the debaters
	// Winner is the answer with the most votes; "" if none or several have them.
	Winner string   `json:"winner,omitempty"`
	Tied   []string `json:"tied,omitempty"`
}

// DebateAnswer is an answer and all who give it: a class of answers that are the same.
type DebateAnswer struct {
	Answer    string             `json:"answer"`              // as it was declared, or first written
	Spellings []string           `json:"spellings,omitempty"` // other ways in which it was written
	Votes     int                `json:"votes"`
	Effective float64            `json:"effective"`
	Agents    []polity.AgentName `json:"agents"`

	key   string
	sides []int
}

// vote counts answers: what each said, nil for those who are absent.
func (d *Debate) vote(said []*Said) *DebateVote {
	v := &DebateVote{Eligible: len(d.Debaters), Answers: []DebateAnswer{}}
	var cast []int
	for i, s := range said {
		switch {
		case s == nil:
			v.Absent++
		case s.Abstained:
			v.Abstained++
		default:
			cast = append(cast, i)
			v.add(s, i, d.Debaters[i].Agent)
		}
	}
	v.Cast, v.Effective = len(cast), d.effective(cast)
	for i := range v.Answers {
		v.Answers[i].Effective = d.effective(v.Answers[i].sides)
	}
	slices.SortStableFunc(v.Answers, func(a, b DebateAnswer) int { return b.Votes - a.Votes })
	for _, a := range v.Answers {
		if a.Votes == v.Answers[0].Votes {
			v.Tied = append(v.Tied, a.Answer)
		}
	}
	if len(v.Tied) == 1 {
		v.Winner, v.Tied = v.Tied[0], nil
	}
	return v
}

func (v *DebateVote) add(s *Said, side int, agent polity.AgentName) {
	i := slices.IndexFunc(v.Answers, func(a DebateAnswer) bool { return a.key == s.key })
	if i < 0 {
		i = len(v.Answers)
		v.Answers = append(v.Answers, DebateAnswer{Answer: s.Answer, key: s.key})
	}
	a := &v.Answers[i]
	if s.wrote != a.Answer {
		a.Spellings = addNew(a.Spellings, s.wrote)
	}
	a.Votes++
	a.Agents = append(a.Agents, agent)
	a.sides = append(a.sides, side)
}

// quorate says whether so many of all debaters as the quorum asks give one answer.
func (d *Debate) quorate(v *DebateVote) bool {
	return len(v.Answers) > 0 && v.Answers[0].Votes*100 >= d.Quorum*v.Eligible
}

// How far two votes are taken to go together, in per cent. Nobody has measured it for these agents: these are defaults, near what was
// measured of large models elsewhere.
const (
	togetherModel  = 80 // the same model
	togetherFamily = 60 // models of one family
	togetherOther  = 45 // different families, and agents without a model
)

// effective is how many independent votes those of the debaters are worth: n over 1 + (n-1) times the mean correlation, in hundredths.
func (d *Debate) effective(sides []int) float64 {
	n, sum := len(sides), 0
	if n == 0 {
		return 0
	}
	for i, a := range sides {
		for _, b := range sides[:i] {
			sum += together(find(d.Members, d.Debaters[a].Agent).Model, find(d.Members, d.Debaters[b].Agent).Model)
		}
	}
	all := 100*n + 2*sum // of the matrix of correlations, in per cent
	return float64((100*100*n*n+all/2)/all) / 100
}

func together(a, b string) int {
	switch {
	case a == "" || b == "":
		return togetherOther
	case a == b:
		return togetherModel
	case family(a) == family(b):
		return togetherFamily
	default:
		return togetherOther
	}
}

// family is the first word of a model's name, without its maker's.
func family(model string) string {
	name := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	if word := leadingText.FindString(name); word != "" {
		return word
	}
	return name
}
