package message

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// The attributes that Polity knows, in the order in which they are written.
var known = [...]string{
	"specversion", "id", "source", "type", "time", "recipients", "performative", "skill", "conversation", "correlationid", "causationid",
	"replyrequired", "live", "priority", "ttl", "deadline", "hops", "idempotencykey", "traceparent", "tracestate", "subject", "dataschema",
	"datacontenttype",
}

// unquoted are those that JSON may write without quotes.
var unquoted = [...]string{"replyrequired", "live", "priority", "ttl", "hops"}

const (
	specVersion = "1.0"
	typePrefix  = "run.polity." // of CloudEvents' type
	headPrefix  = "ce-"
	headData    = "content-type"
)

// value returns an attribute in CloudEvents' canonical form, and whether JSON writes it without quotes; "" for one that is not said.
func (e *Envelope) value(name string) (text string, bare bool) {
	switch name {
	case "specversion":
		return specVersion, false
	case "id":
		return e.ID, false
	case "source":
		return e.From.String(), false
	case "type":
		return typePrefix + string(e.Type), false
	case "time":
		return timeText(e.Time), false
	case "recipients":
		return addresses(e.To), false
	case "performative":
		return string(e.Performative), false
	case "skill":
		return e.Skill, false
	case "conversation":
		return e.Conversation, false
	case "correlationid":
		return e.Correlation, false
	case "causationid":
		return e.Causation, false
	case "replyrequired":
		return ifTrue(e.Reply), true
	case "live":
		return ifTrue(e.Live), true
	case "priority":
		return strconv.Itoa(int(e.Priority)), true
	case "ttl":
		return strconv.FormatInt(int64(e.TTL/time.Second), 10), true
	case "deadline":
		return timeText(e.Deadline), false
	case "hops":
		if e.Hops == 0 {
			return "", true
		}
		return strconv.Itoa(e.Hops), true
	case "idempotencykey":
		return e.Key, false
	case "traceparent":
		return e.TraceParent, false
	case "tracestate":
		return e.TraceState, false
	case "subject":
		return e.Subject, false
	case "dataschema":
		return e.DataSchema, false
	default:
		return e.DataType, false
	}
}

func ifTrue(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// set reads an attribute in canonical form.
func (e *Envelope) set(name, text string, isBare bool) (err error) {
	switch name {
	case "specversion":
		if text != specVersion {
			err = fault.Invalid.New("message: specversion %.40q: want %s", text, specVersion)
		}
	case "id":
		e.ID = text
	case "source":
		e.From, err = ParseAddress(text)
	case "type":
		t, ok := strings.CutPrefix(text, typePrefix)
		if e.Type = Type(t); !ok {
			err = fault.Invalid.New("message: type %.60q: want %stask, %[2]sresult, %[2]squery or %[2]snotification", text, typePrefix)
		}
	case "time":
		e.Time, err = parseTime(name, text)
	case "recipients":
		e.To, err = parseAddresses(text)
	case "performative":
		e.Performative = polity.Performative(text)
	case "skill":
		e.Skill = text
	case "conversation":
		e.Conversation = text
	case "correlationid":
		e.Correlation = text
	case "causationid":
		e.Causation = text
	case "replyrequired":
		e.Reply, err = parseBool(name, text)
	case "live":
		e.Live, err = parseBool(name, text)
	case "priority":
		e.Priority, err = ParsePriority(text)
	case "ttl":
		var n int
		n, err = parseInt(name, text, int(TTLMin/time.Second), int(TTLMax/time.Second))
		e.TTL = time.Duration(n) * time.Second
	case "deadline":
		e.Deadline, err = parseTime(name, text)
	case "hops":
		e.Hops, err = parseInt(name, text, 0, HopsMax)
	case "idempotencykey":
		e.Key = text
	case "traceparent":
		e.TraceParent = text
	case "tracestate":
		e.TraceState = text
	case "subject":
		e.Subject = text
	case "dataschema":
		e.DataSchema = text
	case "datacontenttype":
		e.DataType = text
	default:
		if len(e.Extensions) == ExtensionsMax {
			return fault.Invalid.New("message: more than %d attributes that are not known", ExtensionsMax)
		}
		e.Extensions = append(e.Extensions, Extension{name, text, isBare})
	}
	if err != nil && (name == "source" || name == "recipients") {
		return fault.Invalid.New("message: %s: %w", name, err)
	}
	return err
}

func parseTime(name, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fault.Invalid.New("message: %s %.60q: want a time as in 2026-12-24T08:00:00Z", name, text)
	}
	return t.UTC(), nil
}

func parseBool(name, text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, fault.Invalid.New("message: %s %.40q: want true or false", name, text)
	}
	return text == "true", nil
}

func parseInt(name, text string, least, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(n) != text || n < least || n > most {
		return 0, fault.Invalid.New("message: %s %.40q: want a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// checkSize bounds what the attributes have as headers.
func (e *Envelope) checkSize() error {
	if e.sizeAtMost() <= HeaderMax {
		return nil
	}
	n := 0
	for _, name := range known {
		if v, _ := e.value(name); v != "" {
			n += len(headPrefix) + len(name) + escapedLen(v)
		}
	}
	for _, x := range e.Extensions {
		n += len(headPrefix) + len(x.Name) + escapedLen(x.Value)
	}
	if n > HeaderMax {
		return fault.Invalid.New("message: its attributes have %d bytes; the most is %d: put what is long into the data", n, HeaderMax)
	}
	return nil
}

// sizeAtMost is a bound of the attributes' size that costs nothing to know: every byte of a text is escaped.
func (e *Envelope) sizeAtMost() int {
	const each, address, escaped = 40, 16, 3
	texts := len(e.ID) + len(e.Skill) + len(e.Conversation) + len(e.Correlation) + len(e.Causation) + len(e.Key) + len(e.TraceParent) +
		len(e.TraceState) + len(e.Subject) + len(e.DataSchema) + len(e.DataType) + len(e.From.Name)
	for _, a := range e.To {
		texts += address + len(a.Name)
	}
	for _, x := range e.Extensions {
		texts += each + len(x.Name) + len(x.Value)
	}
	return len(known)*each + escaped*texts
}

// --- binary mode

// Header returns the attributes as headers of a NATS message whose payload is the data: CloudEvents' binary mode. The caller owns the map. It
// returns what Check does.
func (e Envelope) Header() (map[string][]string, error) {
	return e.header(false)
}

// ShortHeader is Header without what Decode fills in by itself: it reads both as the same.
func (e Envelope) ShortHeader() (map[string][]string, error) { return e.header(true) }

func (e Envelope) header(short bool) (map[string][]string, error) {
	e.fill()
	if err := e.check(); err != nil {
		return nil, err
	}
	return e.written(short), nil
}

// CheckedHeader is ShortHeader of an envelope that Or has filled in and Check has passed.
func (e *Envelope) CheckedHeader() map[string][]string { return e.written(true) }

func (e *Envelope) written(short bool) map[string][]string {
	most := len(known) + len(e.Extensions)
	values := make([]string, 0, most) // of all headers: each has a piece of it
	if short {
		most = 0 // most are left out, and a small map is a quick one
	}
	h := make(map[string][]string, most)
	set := func(name, value string) {
		values = append(values, escape(value))
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for i, name := range known {
		if short && e.implied(name) {
			continue
		}
		if v, _ := e.value(name); v != "" {
			set(headNames[i], v)
		}
	}
	for _, x := range e.Extensions {
		set(headPrefix+x.Name, x.Value)
	}
	return h
}

// implied says whether an attribute is what Or fills in.
func (e *Envelope) implied(name string) bool {
	switch name {
	case "performative":
		return e.Performative == performatives[e.Type][0]
	case "conversation":
		return e.Conversation == e.ID
	case "idempotencykey":
		return e.Key == e.ID
	case "priority":
		return e.Priority == Normal
	case "ttl":
		return e.TTL == TTLDefault
	case "datacontenttype":
		return e.DataType == JSON
	default:
		return false
	}
}

// headNames are the headers of the known attributes.
var headNames = func() (names [len(known)]string) {
	for i, name := range known {
		if names[i] = headPrefix + name; name == "datacontenttype" {
			names[i] = headData
		}
	}
	return names
}()

// Decode reads a message from headers and payload: names in any case, headers that are not of CloudEvents are passed over. The envelope holds
// data and is as Or fills it in. It returns fault.Invalid with the first attribute that is wrong or missing.
func Decode(header map[string][]string, data []byte) (Envelope, error) {
	var e Envelope
	var seen [len(known)]bool
	var room [len(known) + 8]string
	keys := room[:0]
	for key := range header {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	size := 0
	for _, key := range keys {
		name, i, ours := attribute(key)
		if !ours {
			continue
		}
		if len(header[key]) != 1 || i >= 0 && seen[i] || i < 0 && e.has(name) {
			return Envelope{}, twice(name)
		}
		if i >= 0 {
			seen[i] = true
		}
		if size += len(key) + len(header[key][0]); size > HeaderMax {
			return Envelope{}, fault.Invalid.New("message: its attributes have more than %d bytes", HeaderMax)
		}
		text, ok := unescape(header[key][0])
		if !ok {
			return Envelope{}, fault.Invalid.New("message: %s %.60q: a broken escape; '%%' is followed by two hex digits", name, header[key][0])
		}
		if text == "" {
			return Envelope{}, empty(name)
		}
		if err := e.set(name, text, false); err != nil {
			return Envelope{}, err
		}
	}
	for i := range needed {
		if !seen[i] {
			return Envelope{}, missing(known[i])
		}
	}
	e.Data = data
	e.fill()
	if err := e.check(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

// attribute is the attribute of a header, its place among the known ones, -1 for one that is not known, and whether it is one at all.
func attribute(key string) (name string, i int, ours bool) {
	if i, ok := headIndex[key]; ok {
		return known[i], i, true
	}
	head := strings.ToLower(key)
	if i, ok := headIndex[head]; ok {
		return known[i], i, true
	}
	name, ours = strings.CutPrefix(head, headPrefix)
	return name, slices.Index(known[:], name), ours
}

// headIndex are the places of the known attributes by their headers' names.
var headIndex = func() map[string]int {
	index := make(map[string]int, len(known))
	for i, name := range headNames {
		index[name] = i
	}
	return index
}()

// has says whether there is an extension of a name.
func (e *Envelope) has(name string) bool {
	return slices.ContainsFunc(e.Extensions, func(x Extension) bool { return x.Name == name })
}

// needed is how many of the known attributes every CloudEvent has, the first ones.
const needed = 4

// needs says which attribute of every CloudEvent is missing.
func needs(seen map[string]bool) error {
	for _, name := range known[:needed] {
		if !seen[name] {
			return missing(name)
		}
	}
	return nil
}

func (e Envelope) checked() (Envelope, error) {
	e = e.Or()
	if err := e.Check(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

const hex = "0123456789ABCDEF"

// plain says whether a byte stands for itself in a header: CloudEvents' HTTP protocol binding 3.1.3.2, which that of NATS follows.
func plain(c byte) bool { return c > 0x20 && c < 0x7f && c != '"' && c != '%' }

func escapedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if !plain(s[i]) {
			n += 2
		}
	}
	return n
}

func escape(s string) string {
	n := escapedLen(s)
	if n == len(s) {
		return s
	}
	b := make([]byte, 0, n)
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), true
}

// --- structured mode

// MarshalJSON writes the envelope as CloudEvents' JSON format: data as it is if it is JSON, else as data_base64. It returns what Check does.
func (e Envelope) MarshalJSON() ([]byte, error) {
	e = e.Or()
	if err := e.Check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 512+len(e.Data)*4/3)
	b = append(b, '{')
	for _, name := range known {
		if v, isBare := e.value(name); v != "" {
			b = appendMember(b, name, v, isBare)
		}
	}
	for _, x := range e.Extensions {
		b = appendMember(b, x.Name, x.Value, x.Bare)
	}
	switch {
	case e.Data == nil:
	case e.IsJSON():
		b = append(b, `,"data":`...)
		b = append(b, e.Data...)
	default:
		b = append(b, `,"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, e.Data)
		b = append(b, '"')
	}
	return append(b, '}'), nil
}

func appendMember(b []byte, name, value string, isBare bool) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	if isBare {
		return append(b, value...)
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic("message: a string that JSON cannot hold: " + err.Error())
	}
	return append(b, text...)
}

// UnmarshalJSON reads CloudEvents' JSON format. The envelope is as Or fills it in. It returns fault.Invalid with the first attribute that is
// wrong or missing, and fault.Invalid for what is no object, or has something twice.
func (e *Envelope) UnmarshalJSON(raw []byte) error {
	if len(raw) > structuredMax {
		return fault.Invalid.New("message: %d bytes; the most is %d", len(raw), structuredMax)
	}
	var out Envelope
	seen := map[string]bool{}
	err := members(raw, func(name string, value json.RawMessage) error {
		if seen[name] {
			return twice(name)
		}
		if string(value) == "null" && name != "data" {
			return nil // CloudEvents: not set
		}
		seen[name] = true
		return out.member(name, value)
	})
	if err == nil {
		err = needs(seen)
	}
	if err == nil && seen["data"] && seen["data_base64"] {
		err = fault.Invalid.New("message: both data and data_base64")
	}
	if err != nil {
		return err
	}
	if !out.Or().mode(seen["data_base64"]) {
		return fault.Invalid.New("message: data: of datacontenttype %s it stands in data_base64", out.DataType)
	}
	*e, err = out.checked()
	return err
}

// mode says whether the data stands where its type says. JSON may stand in either place.
func (e Envelope) mode(encoded bool) bool { return e.Data == nil || encoded || e.IsJSON() }

func (e *Envelope) member(name string, value json.RawMessage) error {
	switch {
	case name == "data":
		e.Data = slices.Clone(value)
		return nil
	case name == "data_base64":
		var text string
		err := json.Unmarshal(value, &text)
		if err == nil {
			e.Data, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil {
			return fault.Invalid.New("message: data_base64: want base64: %w", err)
		}
		return nil
	case value[0] == '"':
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return fault.Invalid.New("message: %.40q: %w", name, err)
		}
		if text == "" {
			return empty(name)
		}
		return e.set(name, text, false)
	case bare(string(value)):
		if slices.Contains(known[:], name) && !slices.Contains(unquoted[:], name) {
			return fault.Invalid.New("message: %s %.40s: want a text", name, value)
		}
		return e.set(name, string(value), true)
	default:
		return fault.Invalid.New("message: %.40q: %.40s is neither a text, a whole number, true nor false", name, value)
	}
}

// bare says whether a text is a value of CloudEvents that JSON writes without quotes: true, false or an integer of 32 bits.
func bare(text string) bool {
	if text == "true" || text == "false" {
		return true
	}
	n, err := strconv.ParseInt(text, 10, 32)
	return err == nil && strconv.FormatInt(n, 10) == text
}

// members gives the members of a JSON object in order.
func members(raw []byte, each func(name string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	token, err := d.Token()
	if err != nil || token != json.Delim('{') {
		return fault.Invalid.New("message: want a JSON object with the attributes of a CloudEvent")
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			return fault.Invalid.New("message: %w", err)
		}
		if err := each(name.(string), value); err != nil {
			return err
		}
	}
	if _, err = d.Token(); err != nil {
		return fault.Invalid.New("message: %w", err)
	}
	if _, err = d.Token(); err != io.EOF {
		return fault.Invalid.New("message: there is something after the object")
	}
	return nil
}
