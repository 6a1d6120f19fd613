package polity

import (
	"encoding/json"
	"strings"
	"time"

	"polity.run/fault"
)

// The limits of topics.
const (
	TopicsMax       = 1000             // topics that are declared
	TopicSchemaMax  = 64 << 10         // bytes of a topic's schema
	TopicCursorsMax = 1000             // named positions
	TopicReadMax    = 1000             // events of one answer
	ReaderMax       = 64               // bytes of the name of a cursor, a group or another reader
	TopicTriesMax   = 100              // of a group
	TopicWithinMax  = 24 * time.Hour   // of a group
	TopicRetryMax   = 10 * time.Minute // the longest wait before an event is given out again
	TopicKeepMin    = time.Second
	TopicKeepMax    = 30 * 24 * time.Hour // how long any event is kept at most
)

// Topic is what is known of a topic.
type Topic struct {
	Topic  string          `json:"topic"`
	Events uint64          `json:"events"`           // that are kept
	Schema json.RawMessage `json:"schema,omitempty"` // of its events' data, if one is registered: the newest version
	Keep   time.Duration   `json:"keep,omitempty"`   // nanoseconds for which an event is kept; 0 is TopicKeepMax
	About  string          `json:"about,omitempty"`

	// What follows is told, and not declared.
	Version int        `json:"version,omitempty"` // of Schema
	Mode    string     `json:"mode,omitempty"`    // what its next version may change
	Uses    []TopicUse `json:"uses,omitempty"`    // by installed releases
}

// TopicUse is what an installed release does with a topic: which versions of its schema it reads and writes. No release is installed that writes what
// another does not understand, or that does not understand what another writes.
type TopicUse struct {
	Release string `json:"release"` // name
	Topic   string `json:"topic"`
	Reads   string `json:"reads,omitempty"`  // versions, as in 1-3
	Writes  int    `json:"writes,omitempty"` // version
}

// Check returns nil, or fault.Invalid for what cannot be declared.
func (t Topic) Check() error {
	switch {
	case t.Keep != 0 && (t.Keep < TopicKeepMin || t.Keep > TopicKeepMax):
		return fault.Invalid.New("topic %s: keep %s: want %s to %s", t.Topic, t.Keep, TopicKeepMin, TopicKeepMax)
	case len(t.Schema) > TopicSchemaMax:
		return fault.Invalid.New("topic %s: a schema of %d bytes; the most is %d", t.Topic, len(t.Schema), TopicSchemaMax)
	case len(t.About) > 1000:
		return fault.Invalid.New("topic %s: about: %d bytes; the most is 1000", t.Topic, len(t.About))
	}
	return CheckTopic(t.Topic)
}

// TopicCursor is a position with a name: everything up to it was read.
type TopicCursor struct {
	Name  string `json:"name"`
	Topic string `json:"topic"` // pattern
	At    uint64 `json:"at"`
}

// TopicGroup is how some readers share the events of topics: each event goes to one of them, and again to one of them until it was done.
type TopicGroup struct {
	Name  string    `json:"name"`
	Topic string    `json:"topic"`          // pattern
	From  uint64    `json:"from,omitempty"` // the first position; 0 is what is published from now on, unless Since is set
	Since time.Time `json:"since,omitzero"` // the first time
	// An event is given out Tries times (default 5) before it is a dead letter. What is not settled Within a time (default 30 s) is given out again; what
	// failed is after Retry (default 1 s), which doubles up to TopicRetryMax.
	Tries  int           `json:"tries,omitempty"`
	Within time.Duration `json:"within,omitempty"` // nanoseconds, like Retry
	Retry  time.Duration `json:"retry,omitempty"`

	Done    uint64 `json:"done"`    // every event up to this position is settled
	Pending uint64 `json:"pending"` // events that were not given out yet
	Out     int    `json:"out"`     // given out and not settled, or waiting for another try
}

// Or returns g with defaults for what it does not say.
func (g TopicGroup) Or() TopicGroup {
	if g.Tries == 0 {
		g.Tries = 5
	}
	if g.Within == 0 {
		g.Within = 30 * time.Second
	}
	if g.Retry == 0 {
		g.Retry = time.Second
	}
	return g
}

// Check returns nil, or fault.Invalid for what can be no group.
func (g TopicGroup) Check() error {
	switch {
	case g.Tries < 1 || g.Tries > TopicTriesMax:
		return fault.Invalid.New("group %s: %d tries; want 1 to %d", g.Name, g.Tries, TopicTriesMax)
	case g.Within < time.Second || g.Within > TopicWithinMax:
		return fault.Invalid.New("group %s: within %s; want 1s to %s", g.Name, g.Within, TopicWithinMax)
	case g.Retry < time.Millisecond || g.Retry > TopicRetryMax:
		return fault.Invalid.New("group %s: retry after %s; want 1ms to %s", g.Name, g.Retry, TopicRetryMax)
	}
	if err := CheckReader(g.Name); err != nil {
		return err
	}
	return CheckPattern(g.Topic)
}

// CheckReader returns nil, or fault.Invalid for what is no name of a cursor or a group: a-z, 0-9, '-' and '_', up to ReaderMax of them.
func CheckReader(name string) error {
	if len(name) > ReaderMax || strings.Contains(name, ".") {
		return fault.Invalid.New("name %.80q: want up to 64 of a-z, 0-9, '-' and '_'", name)
	}
	return checkTokens("name", name, false)
}

// TopicWork is an event that was given out to a reader of a group, to be settled by its token.
type TopicWork struct {
	Published
	Token string `json:"token"`
	Try   int    `json:"try"` // from 1
}

// DeadLetter is an event that a group did not get done.
type DeadLetter struct {
	Published        // Seq is where the event was
	Letter    uint64 `json:"letter"`
	Group     string `json:"group"`
	Reason    string `json:"reason"`
	Tries     int    `json:"tries"`
}

// Topics is how the topics of a node are.
type Topics struct {
	First uint64 `json:"first"` // the oldest position that is kept
	Last  uint64 `json:"last"`  // the newest
	// Taken is the position up to which runs were given what they await. What is newer than that lags.
	Taken   uint64        `json:"taken"`
	Topics  []Topic       `json:"topics"`
	Groups  []TopicGroup  `json:"groups"`
	Cursors []TopicCursor `json:"cursors"`
}

// TopicsRequest asks for one thing to be done with topics: exactly one field is set.
type TopicsRequest struct {
	State   bool         `json:"state,omitempty"`   // how they are: TopicsAnswer.State
	Read    *TopicRead   `json:"read,omitempty"`    // what was published: Events, Next
	Declare *Topic       `json:"declare,omitempty"` // how a topic's events are to be
	Retract string       `json:"retract,omitempty"` // a declaration; its events stay
	Release string       `json:"release,omitempty"` // forget what a release does with topics
	Unread  *TopicUnread `json:"unread,omitempty"`  // make a dead letter of an event that a reader does not understand
	Cursor  *TopicCursor `json:"cursor,omitempty"`  // keep a position
	Forget  string       `json:"forget,omitempty"`  // a cursor
	Join    *TopicGroup  `json:"join,omitempty"`    // make a group, if it is not there
	Leave   string       `json:"leave,omitempty"`   // remove a group
	Take    *TopicTake   `json:"take,omitempty"`    // give out events of a group: Work
	Settle  *TopicSettle `json:"settle,omitempty"`  // what became of one
	Dead    *TopicDead   `json:"dead,omitempty"`    // letters: Letters, or how many were given again or dropped: Count
}

// Reads says whether a request changes nothing.
func (q *TopicsRequest) Reads() bool {
	only := *q
	only.State, only.Read = false, nil
	if q.Dead != nil && q.Dead.Do == "list" {
		only.Dead = nil
	}
	return only == TopicsRequest{}
}

// TopicRead asks for what was published.
type TopicRead struct {
	Topic string    `json:"topic"`           // pattern
	After uint64    `json:"after,omitempty"` // position
	Since time.Time `json:"since,omitzero"`  // if set, instead of After
	Most  int       `json:"most,omitempty"`  // default TopicReadMax
	// Release, if not "", is an installed release, by its digest in hex, as which is read: events of older versions of a topic's schema are upcast, and
	// what it does not understand comes without its data, and with the reason.
	Release string `json:"release,omitempty"`
	// Wait is how many nanoseconds to wait for news if there is none, up to 30 s.
	Wait time.Duration `json:"wait,omitempty"`
}

// TopicUnread is an event that a reader does not understand.
type TopicUnread struct {
	Reader string `json:"reader"` // as which the letter is listed; no group has its name
	Seq    uint64 `json:"seq"`
	Reason string `json:"reason"`
}

// TopicTake asks for events of a group.
type TopicTake struct {
	Group string        `json:"group"`
	Most  int           `json:"most,omitempty"` // default 1
	Wait  time.Duration `json:"wait,omitempty"` // nanoseconds for the first of them; up to 30 s
}

// TopicSettle says what became of an event that was given out.
type TopicSettle struct {
	Group  string `json:"group"`
	Token  string `json:"token"`
	Failed string `json:"failed,omitempty"` // why it was not done; "" if it was
}

// TopicDead asks for dead letters.
type TopicDead struct {
	Do     string `json:"do"`               // list, replay or drop
	Group  string `json:"group,omitempty"`  // "" for all
	Letter uint64 `json:"letter,omitempty"` // one of them; 0 for all
	After  uint64 `json:"after,omitempty"`  // with list: a letter
}

// TopicsAnswer is the answer to a TopicsRequest.
type TopicsAnswer struct {
	State   *Topics      `json:"state,omitempty"`
	Events  []Published  `json:"events,omitempty"`
	Next    uint64       `json:"next,omitempty"` // the position after Events
	Work    []TopicWork  `json:"work,omitempty"`
	Letters []DeadLetter `json:"letters,omitempty"`
	Count   int          `json:"count,omitempty"`
}
