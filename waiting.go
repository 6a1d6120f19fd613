package polity

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"polity.run/fault"
)

// The limits of events.
const (
	EventMax = 32 << 10 // bytes of the data of a signal or of an event on a topic: what is larger is named, and kept elsewhere
	TopicMax = 200      // bytes of a topic's name, and of a signal's
	MatchMax = 4 << 10  // bytes of Awaited.Match
)

// Awaited is what a run waits for: exactly one of a signal and a topic.
type Awaited struct {
	// Signal is the name of something that this run is told. One that came before it is awaited is kept until then.
	Signal string `json:"signal,omitempty"`
	// Topic is a pattern of the topics of which the next event is awaited: see CheckPattern. What was published before does not count.
	Topic string `json:"topic,omitempty"`
	// Match, if not empty, is an object that the event's data must have: each field there, with this value; objects in it alike.
	Match json.RawMessage `json:"match,omitempty"`
}

// String names what is awaited, as in "signal paid".
func (a Awaited) String() string {
	text := "topic " + a.Topic
	if a.Signal != "" {
		text = "signal " + a.Signal
	}
	if len(a.Match) > 0 {
		text += " with " + string(a.Match)
	}
	return text
}

// Check returns nil, or fault.Invalid for what nothing can match.
func (a Awaited) Check() error {
	switch {
	case a.Signal != "" && a.Topic != "":
		return fault.Invalid.New("awaited: signal %q or topic %q, not both", a.Signal, a.Topic)
	case a.Signal == "" && a.Topic == "":
		return fault.Invalid.New("awaited: neither a signal nor a topic")
	case len(a.Match) > MatchMax:
		return fault.Invalid.New("awaited: match of %d bytes; the most is %d", len(a.Match), MatchMax)
	}
	if len(a.Match) > 0 {
		if _, err := readMatch(a.Match); err != nil {
			return err
		}
	}
	if a.Signal != "" {
		return CheckSignal(a.Signal)
	}
	return CheckPattern(a.Topic)
}

// CheckSignal returns nil, or fault.Invalid for what is no name of a signal: tokens of a-z, 0-9, '-' and '_', joined by dots.
func CheckSignal(name string) error { return checkTokens("signal", name, false) }

// CheckTopic returns nil, or fault.Invalid for what is no topic: tokens of a-z, 0-9, '-' and '_', joined by dots.
func CheckTopic(name string) error { return checkTokens("topic", name, false) }

// CheckPattern returns nil, or fault.Invalid for what is no pattern of topics: a topic, some tokens of which may be '*', which stands for any
// one token, and the last of which may be '>', which stands for one and more.
func CheckPattern(pattern string) error { return checkTokens("topic", pattern, true) }

func checkTokens(what, name string, pattern bool) error {
	if name == "" || len(name) > TopicMax {
		return fault.Invalid.New("%s %.40q: want 1 to %d bytes", what, name, TopicMax)
	}
	tokens := strings.Split(name, ".")
	for i, t := range tokens {
		if pattern && (t == "*" || t == ">" && i == len(tokens)-1) {
			continue
		}
		if t == "" {
			return fault.Invalid.New("%s %q: there is nothing between two dots, or before or after one", what, name)
		}
		for _, c := range []byte(t) {
			switch {
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			case pattern && c == '>':
				return fault.Invalid.New("%s %q: '>' stands alone, at the end", what, name)
			default:
				return fault.Invalid.New("%s %q: %q is not allowed; use a-z, 0-9, '-' and '_', joined by '.'", what, name, string(rune(c)))
			}
		}
	}
	return nil
}

// MatchTopic says whether a pattern that CheckPattern accepts stands for a topic.
func MatchTopic(pattern, topic string) bool {
	for {
		p, morePattern, pMore := strings.Cut(pattern, ".")
		t, moreTopic, tMore := strings.Cut(topic, ".")
		switch {
		case p == ">" && !pMore:
			return true
		case p != "*" && p != t, pMore != tMore:
			return false
		case !pMore:
			return true
		}
		pattern, topic = morePattern, moreTopic
	}
}

// CoversTopic says whether every topic that one pattern stands for is one of another's. Both are patterns that CheckPattern accepts.
func CoversTopic(pattern, of string) bool {
	for {
		p, morePattern, pMore := strings.Cut(pattern, ".")
		t, moreOf, tMore := strings.Cut(of, ".")
		switch {
		case p == ">" && !pMore:
			return true
		case t == ">" && !tMore, p != "*" && p != t, pMore != tMore:
			return false
		case !pMore:
			return true
		}
		pattern, of = morePattern, moreOf
	}
}

// Matches says whether data has what Match asks for.
func (a Awaited) Matches(data json.RawMessage) bool {
	if len(a.Match) == 0 {
		return true
	}
	want, err := readMatch(a.Match)
	if err != nil {
		return false
	}
	var got any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(&got) == nil && has(got, want)
}

func readMatch(match json.RawMessage) (any, error) {
	var want map[string]any
	d := json.NewDecoder(bytes.NewReader(match))
	d.UseNumber()
	err := d.Decode(&want)
	if _, end := d.Token(); err != nil || want == nil || end != io.EOF {
		return nil, fault.Invalid.New("awaited: match %.80q: want an object, as in {\"order\": 17}", match)
	}
	return want, nil
}

// has says whether a value is as wanted: an object has at least the fields, everything else is equal.
func has(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		for name, w := range want {
			g, there := object[name]
			if !there || !has(g, w) {
				return false
			}
		}
		return ok
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return false
		}
		for i := range want {
			if !has(list[i], want[i]) {
				return false
			}
		}
		return true
	case json.Number:
		n, ok := got.(json.Number)
		return ok && sameNumber(n, want)
	default:
		return got == want
	}
}

// sameNumber compares as they are written, and then as floating point where that is exact for whole numbers.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	const exact = 1 << 53
	x, err1 := strconv.ParseFloat(string(a), 64)
	y, err2 := strconv.ParseFloat(string(b), 64)
	return err1 == nil && err2 == nil && x == y && x < exact && x > -exact
}

// Published is an event on a topic.
type Published struct {
	Topic string          `json:"topic"`
	ID    string          `json:"id"` // of the sender
	Data  json.RawMessage `json:"data"`
	At    time.Time       `json:"at"`
	Seq   uint64          `json:"seq"` // position among all events of the node
	// Version is that of the topic's registered schema that the data is of; 0 if none was registered.
	Version int `json:"version,omitempty"`
	// Unread says why the data is not there for a reader that says what it reads.
	Unread *fault.Error `json:"unread,omitempty"`
}

// Waiting is one thing that a run waits for.
type Waiting struct {
	Run   RunID     `json:"run"`            // the run, or one below it
	Name  string    `json:"name,omitempty"` // the command
	For   string    `json:"for"`            // as in "signal paid", "topic orders.*", "time", "an answer of boss" or "run 0-… before it"
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// ForPerson is how Waiting.For begins where a person is asked.
const ForPerson = "an answer of "

// Arrival is what becomes of a message to an agent that is at work on an earlier one of the same conversation.
type Arrival string

// The ways to take a message that arrives in mid-run.
const (
	// ArrivalReject refuses it: fault.Conflict names the run in the way. It is the default.
	ArrivalReject Arrival = "reject"
	// ArrivalQueue opens a run that begins when those before it have ended.
	ArrivalQueue Arrival = "queue"
	// ArrivalInterrupt cancels those before it, and begins when they have ended.
	ArrivalInterrupt Arrival = "interrupt"
	// ArrivalRollback cancels those before it, gives them the time to undo what they did, and begins when they have ended.
	ArrivalRollback Arrival = "rollback"
)

// Arrivals lists them.
func Arrivals() []Arrival {
	return []Arrival{ArrivalReject, ArrivalQueue, ArrivalInterrupt, ArrivalRollback}
}
