// Package message is the envelope in which messages travel between agents: CloudEvents 1.0 with what agents need beside it.
//
// It exists so that agents in any process and any language say the same thing in the same bytes, and every door refuses the same
// mistakes. The life of an envelope:
//
//	an Envelope -> Check -> Header + Data (binary mode, over NATS), or JSON (structured mode, elsewhere)
//	  -> Decode or UnmarshalJSON, which check -> an equal Envelope
//
// docs/spec/messages.md is the specification. What an envelope causes is up to package engine.
package message

import (
	"crypto/sha256"
	hexText "encoding/hex"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/jsontext"
)

// The limits of an envelope.
const (
	DataMax       = 512 << 10 // bytes of the data: what is larger is kept elsewhere, and named
	HeaderMax     = 8 << 10   // bytes of all attributes, names and values, as they stand in headers
	TextMax       = 256       // bytes of an ID, a conversation, a key, and of any attribute that Polity knows and that says no other limit
	RecipientsMax = 32        // addresses of one message
	ExtensionsMax = 32        // attributes that Polity does not know
	HopsMax       = 16        // how often a message may cause another one
	TTLMin        = time.Second
	TTLMax        = 30 * 24 * time.Hour
	TTLDefault    = time.Hour
	skillMax      = 64                              // bytes of a skill's name
	longMax       = 512                             // bytes of dataschema and tracestate
	structuredMax = DataMax/3*4 + HeaderMax + 4<<10 // bytes of an envelope as JSON, its data as base64
)

// Cancel takes back the message that Correlation names: whatever it caused is asked to end. The other performatives are in the root package.
const Cancel polity.Performative = "cancel"

// Performatives lists what a message may do.
func Performatives() []polity.Performative {
	return []polity.Performative{
		polity.Request, polity.Query, polity.Agree, polity.Refuse, polity.Inform, polity.Failure, polity.CFP, polity.Propose, polity.Accept,
		polity.Reject, polity.Subscribe, polity.Notify, Cancel,
	}
}

// Type is a plain word for what a message is, for those who need no performatives.
type Type string

// The types.
const (
	Task         Type = "task"         // asks for something to be done
	Result       Type = "result"       // answers
	Query        Type = "query"        // asks for something to be told
	Notification Type = "notification" // tells, and expects nothing
)

// Types lists them.
func Types() []Type { return []Type{Task, Result, Query, Notification} }

// performatives is the table of types and performatives: the first of a type is meant if a message says only its type.
var performatives = map[Type][]polity.Performative{
	Task:         {polity.Request, polity.CFP, polity.Accept, Cancel},
	Result:       {polity.Inform, polity.Agree, polity.Refuse, polity.Failure, polity.Propose, polity.Reject},
	Query:        {polity.Query, polity.Subscribe},
	Notification: {polity.Notify},
}

// Performatives returns the performatives of a type, the one that it stands for first; nil for an unknown type.
func (t Type) Performatives() []polity.Performative { return slices.Clone(performatives[t]) }

// TypeOf returns the type of a performative, "" for an unknown one.
func TypeOf(p polity.Performative) Type { return types[p] }

// types is performatives the other way round.
var types = func() map[polity.Performative]Type {
	all := map[polity.Performative]Type{}
	for t, list := range performatives {
		for _, p := range list {
			all[p] = t
		}
	}
	return all
}()

// Priority says which message an agent takes first, of those of different conversations that wait for it.
type Priority int

// The priorities. 0 stands for Normal.
const (
	Low Priority = iota + 1
	Normal
	High
	Urgent
)

var priorities = []string{"low", "normal", "high", "urgent"}

// String returns the priority's word.
func (p Priority) String() string {
	if p < Low || p > Urgent {
		return "?"
	}
	return priorities[p-1]
}

// ParsePriority reads a word or a number from 1 to 4, or returns fault.Invalid.
func ParsePriority(text string) (Priority, error) {
	for p := Low; p <= Urgent; p++ {
		if text == p.String() || text == string(rune('0'+p)) {
			return p, nil
		}
	}
	return 0, fault.Invalid.New("message: priority %.40q: want low, normal, high or urgent, or 1 to 4%s", text, meant(text, priorities))
}

func meant(text string, known []string) string {
	if near := fault.Nearest(text, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// Envelope is a message. Two envelopes with the same From and Key are one message, for each of its recipients. The zero value of a field
// that has a default stands for it; Or fills them in.
type Envelope struct {
	ID           string              // unique for its sender
	From         Address             // who speaks: an agent, or somebody outside
	To           []Address           // at least one
	Type         Type                // default: that of the performative
	Performative polity.Performative // default: the first of the type
	Skill        string              // of the recipients; "" for the only one
	Conversation string              // messages of one are taken in order; default: the ID, a conversation of its own
	Correlation  string              // ID of the message that this one answers or takes back
	Causation    string              // ID of the message, or key of the command, that caused this one
	Reply        bool                // the sender waits for an answer
	Live         bool                // nothing of it is kept: it is done once at most, and lost if there is no time for it or the process ends
	Priority     Priority            // default Normal
	TTL          time.Duration       // whole seconds after Time at which it is no longer worth beginning with; TTLMin to TTLMax, default TTLDefault
	Deadline     time.Time           // the answer is worth nothing after it; zero for none
	Time         time.Time           // when it was sent; zero: when it arrives
	Hops         int                 // messages that led to this one; up to HopsMax
	Key          string              // the same twice is once; default: the ID
	TraceParent  string              // W3C trace context
	TraceState   string
	Subject      string // of CloudEvents, kept
	DataSchema   string // of CloudEvents, kept
	DataType     string // media type of the data; default JSON
	Data         []byte // JSON, if DataType says so; nil for none
	// Extensions are attributes that Polity does not know, in the order in which they came: those of headers by name.
	Extensions []Extension
}

// Extension is an attribute that Polity does not know. It is kept.
type Extension struct {
	Name  string // a-z and 0-9, up to 64
	Value string // in CloudEvents' canonical form
	Bare  bool   // in JSON it is true, false or a number, and no string
}

// JSON is the media type of data that says no other.
const JSON = "application/json"

// Or returns e with defaults for what it does not say.
func (e Envelope) Or() Envelope {
	e.fill()
	return e
}

func (e *Envelope) fill() {
	if e.Type == "" {
		e.Type = TypeOf(e.Performative)
	}
	if list := performatives[e.Type]; e.Performative == "" && list != nil {
		e.Performative = list[0]
	}
	if e.Conversation == "" {
		e.Conversation = e.ID
	}
	if e.Key == "" {
		e.Key = e.ID
	}
	if e.Priority == 0 {
		e.Priority = Normal
	}
	if e.TTL == 0 {
		e.TTL = TTLDefault
	}
	if e.DataType == "" {
		e.DataType = JSON
	}
	if len(e.Data) == 0 {
		e.Data = nil
	}
}

// KeyOf returns a text as an ID or a key: itself, or its hash if it is longer than TextMax.
func KeyOf(text string) string {
	if len(text) <= TextMax {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return hexText.EncodeToString(sum[:])
}

// IsJSON says whether the data is JSON.
func (e *Envelope) IsJSON() bool {
	if e.DataType == JSON || e.DataType == "" {
		return true
	}
	kind, _, _ := strings.Cut(e.DataType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "" || kind == JSON || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// Expires returns when a message that arrived at a time is no longer worth beginning with: the TTL after it was sent, or its deadline if that
// is earlier. A message that says it was sent in the future counts from its arrival.
func (e *Envelope) Expires(arrived time.Time) time.Time {
	sent := e.Time
	if sent.IsZero() || sent.After(arrived) {
		sent = arrived
	}
	ttl := e.TTL
	if ttl == 0 {
		ttl = TTLDefault
	}
	at := sent.Add(ttl)
	if !e.Deadline.IsZero() && e.Deadline.Before(at) {
		return e.Deadline
	}
	return at
}

// Check returns nil, or fault.Invalid with the first attribute that is wrong. It reads e as Or fills it in.
func (e Envelope) Check() error {
	e.fill()
	return e.check()
}

// check is Check of what is filled in.
func (e *Envelope) check() error {
	if e.Performative == "" {
		return e.typeless()
	}
	if err := e.checkTexts(); err != nil {
		return err
	}
	if err := checkFrom(e.From); err != nil {
		return err
	}
	if err := checkTo(e.To, e.Type); err != nil {
		return err
	}
	if err := e.checkActs(); err != nil {
		return err
	}
	if err := e.checkTimes(); err != nil {
		return err
	}
	if err := checkTrace(e.TraceParent, e.TraceState); err != nil {
		return err
	}
	if err := checkExtensions(e.Extensions); err != nil {
		return err
	}
	if err := e.checkSize(); err != nil {
		return err
	}
	return e.checkData()
}

func (e *Envelope) checkTexts() error {
	for _, t := range [...]struct {
		name, text string
		most       int
		needed     bool
	}{
		{"id", e.ID, TextMax, true}, {"skill", e.Skill, skillMax, false}, {"conversation", e.Conversation, TextMax, true},
		{"correlationid", e.Correlation, TextMax, false}, {"causationid", e.Causation, TextMax, false}, {"idempotencykey", e.Key, TextMax, true},
		{"subject", e.Subject, TextMax, false}, {"dataschema", e.DataSchema, longMax, false}, {"datacontenttype", e.DataType, TextMax, true},
	} {
		if t.text != "" {
			if err := checkText(t.name, t.text, t.most); err != nil {
				return err
			}
		} else if t.needed {
			return missing(t.name)
		}
	}
	return nil
}

func missing(name string) error { return fault.Invalid.New("message: %s: missing", name) }

func (e *Envelope) typeless() error {
	if e.Type == "" {
		return fault.Invalid.New("message: neither type nor performative says what it does; want type task, result, query or notification")
	}
	return fault.Invalid.New("message: type %.40q: want task, result, query or notification%s", string(e.Type), meant(string(e.Type), words(Types())))
}

// checkActs checks what the message does.
func (e *Envelope) checkActs() error {
	t := TypeOf(e.Performative)
	switch {
	case t == "":
		return unknownAct(e.Performative)
	case e.Type != t:
		return fault.Invalid.New("message: type %.40q and performative %s do not go together; %s is of type %s", string(e.Type), e.Performative, e.Performative, t)
	case e.Performative == Cancel && e.Correlation == "":
		return fault.Invalid.New("message: correlationid: missing; a cancel names the message that it takes back")
	case t == Result && e.Correlation == "":
		return fault.Invalid.New("message: correlationid: missing; %s answers a message and names it", e.Performative)
	case e.Priority < Low || e.Priority > Urgent:
		return fault.Invalid.New("message: priority %d: want 1 (low) to 4 (urgent)", e.Priority)
	case e.Hops < 0 || e.Hops > HopsMax:
		return fault.Invalid.New("message: hops %d: want 0 to %d; do messages cause each other in a circle?", e.Hops, HopsMax)
	}
	return nil
}

func unknownAct(p polity.Performative) error {
	known := words(Performatives())
	return fault.Invalid.New("message: performative %.40q: want one of %s%s", string(p), strings.Join(known, ", "), meant(string(p), known))
}

func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

func (e *Envelope) checkTimes() error {
	switch {
	case e.TTL < TTLMin || e.TTL > TTLMax || e.TTL%time.Second != 0:
		return fault.Invalid.New("message: ttl %s: want whole seconds from %d to %d", e.TTL, TTLMin/time.Second, TTLMax/time.Second)
	case !plausible(e.Time):
		return fault.Invalid.New("message: time %s: out of range", e.Time)
	case !plausible(e.Deadline):
		return fault.Invalid.New("message: deadline %s: out of range", e.Deadline)
	case !e.Deadline.IsZero() && !e.Time.IsZero() && e.Deadline.Before(e.Time):
		return fault.Invalid.New("message: deadline %s is before time %s", e.Deadline.Format(time.RFC3339), e.Time.Format(time.RFC3339))
	}
	return nil
}

// plausible says that a time can be written and read again: RFC 3339 has four digits for the year, and the log counts nanoseconds since 1970.
func plausible(t time.Time) bool {
	return t.IsZero() || !t.Before(time.Unix(0, 0)) && t.Before(time.Unix(0, math.MaxInt64))
}

func (e *Envelope) checkData() error {
	switch {
	case len(e.Data) > DataMax:
		return fault.Invalid.New("message: data of %d bytes; the most is %d: keep it elsewhere and send its name", len(e.Data), DataMax)
	case e.Data != nil && e.IsJSON() && !jsontext.Valid(e.Data):
		return fault.Invalid.New("message: data is not JSON: %.80q; datacontenttype says what it is if it is something else", e.Data)
	}
	return nil
}

// checkText refuses what no attribute of CloudEvents may hold.
func checkText(name, text string, most int) error {
	if len(text) > most {
		return fault.Invalid.New("message: %s: %d bytes; the most is %d", name, len(text), most)
	}
	if printable(text) {
		return nil
	}
	if !utf8.ValidString(text) {
		return fault.Invalid.New("message: %s %.40q: not UTF-8", name, text)
	}
	for _, c := range text {
		if c < 0x20 || c >= 0x7f && c <= 0x9f || c >= 0xfdd0 && c <= 0xfdef || c&0xfffe == 0xfffe {
			return fault.Invalid.New("message: %s %.40q: control characters are not allowed", name, text)
		}
	}
	return nil
}

// printable says whether a text is of ASCII's letters, digits, signs and spaces alone, as nearly all are.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

func checkExtensions(list []Extension) error {
	if len(list) > ExtensionsMax {
		return fault.Invalid.New("message: %d attributes that are not known; the most is %d", len(list), ExtensionsMax)
	}
	for i, x := range list {
		if err := checkExtensionName(x.Name); err != nil {
			return err
		}
		if x.Value == "" {
			return empty(x.Name)
		}
		if err := checkText(x.Name, x.Value, HeaderMax); err != nil {
			return err
		}
		if slices.ContainsFunc(list[:i], func(o Extension) bool { return o.Name == x.Name }) {
			return twice(x.Name)
		}
		if x.Bare && !bare(x.Value) {
			return fault.Invalid.New("message: %s %.40q: neither true, false nor a whole number", x.Name, x.Value)
		}
	}
	return nil
}

// nameMax is the length of an attribute's name, in bytes.
const nameMax = 64

func checkExtensionName(name string) error {
	if name == "" || len(name) > nameMax {
		return fault.Invalid.New("message: attribute %.80q: a name has 1 to %d bytes", name, nameMax)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fault.Invalid.New("message: attribute %q: %q is not allowed; a name is of a-z and 0-9", name, string(rune(c)))
		}
	}
	if slices.Contains(known[:], name) || name == "data" {
		return fault.Invalid.New("message: %s: it is no extension; set the field of the envelope", name)
	}
	return nil
}

func empty(name string) error {
	return fault.Invalid.New("message: %.80s: it is empty; leave it out", name)
}

func twice(name string) error {
	return fault.Invalid.New("message: %.80s: it stands there twice", name)
}

// checkTrace checks the W3C trace context: https://www.w3.org/TR/trace-context.
func checkTrace(parent, state string) error {
	if parent != "" && !traceParent(parent) {
		return fault.Invalid.New("message: traceparent %.80q: want 00-TRACE-SPAN-FLAGS, as in 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", parent)
	}
	if state != "" && parent == "" {
		return fault.Invalid.New("message: tracestate: there is none without traceparent")
	}
	return checkText("tracestate", state, longMax)
}

func traceParent(s string) bool {
	const size = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(s) != size || s[:2] == "ff" || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i, c := range []byte(s) {
		if i != 2 && i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}
