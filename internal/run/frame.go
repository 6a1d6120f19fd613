package run

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/trace"
)

// The commit frame, versions 1 and 2 (ADR-0003). All numbers are big-endian or unsigned varints.
//
//	frame   = version:1  epoch:8  prev:32  time:8  record*
//	record  = length:uvarint  kind:1  body
//	text    = length:uvarint  bytes
//	payload = 0                                          nothing
//	        | 1  key:text  length:uvarint  bytes         inline
//	        | 2  key:text  digest:32  size:uvarint       a blob, which was stored before the commit
//
// prev is the hash of the frame before (zeros at the first), so the frames are a chain; epoch tells owners
// apart; time is when the partition accepted the commit, in nanoseconds since 1970. key names the key that a
// payload is enciphered with, "" for none: a payload can be made unreadable by destroying its key while the
// chain stays whole. A field may be added at the end of a body: readers of this version skip it.
const (
	frameVersion = 1
	frameImports = 2 // the version of a frame that holds records which version 1 does not know
	headerSize   = 1 + 8 + sha256.Size + 8

	packSoft    = 256 << 10 // a pack takes no further input beyond this
	inlineMax   = 32 << 10  // a larger payload becomes a blob
	textMax     = 4 << 10   // names, paths
	idMax       = 256       // the ID of a root run
	faultMax    = 8 << 10   // the text of a fault
	quantityMax = 1 << 50   // what one command can use or reserve of a bound
	payloadMax  = 64 << 20  // a blob's size
	frameMax    = bus.FrameMax
	requestSize = 16 // bytes kept of a request's hash
)

type hash [sha256.Size]byte

func (h hash) id() string {
	if h == (hash{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// requestHash identifies what a command asked for, without its name.
type requestHash [requestSize]byte

func hashRequest(c *polity.Command) requestHash {
	var small [512]byte
	b := append(small[:0], byte(c.Do))
	b = appendText(b, c.To)
	b = appendText(b, c.Skill)
	b = binary.BigEndian.AppendUint64(b, uint64(c.After))
	if c.Fault != nil {
		b = appendText(b, string(c.Fault.Kind))
		b = appendText(b, c.Fault.Text)
	}
	if !c.At.IsZero() {
		b = binary.BigEndian.AppendUint64(append(b, "at"...), uint64(c.At.UnixNano()))
	}
	if c.Await != nil {
		b = appendText(b, c.Await.Signal)
		b = appendText(b, c.Await.Topic)
		b = appendText(b, string(c.Await.Match))
	}
	var sum [sha256.Size]byte
	if len(b)+len(c.Input) <= len(small) {
		sum = sha256.Sum256(append(b, c.Input...))
	} else {
		h := sha256.New()
		h.Write(b)
		h.Write(c.Input)
		h.Sum(sum[:0])
	}
	return requestHash(sum[:requestSize])
}

type recordKind byte

const (
	recClaim    recordKind = 1 // an owner took the partition
	recOpened   recordKind = 2
	recBegan    recordKind = 3 // an external effect without a key is about to be done
	recResult   recordKind = 4
	recCancel   recordKind = 5
	recExpired  recordKind = 6 // the wall time of a root is over
	recFinished recordKind = 7
	recImported recordKind = 8 // a run that ended elsewhere; its log is a blob. Only in frames of version 2
	recForked   recordKind = 9 // a run begins with what another one's log told up to an event. Only in frames of version 2

	// Only in frames of version 2, too.
	recSignalled recordKind = 10 // a run was told something
	recPublished recordKind = 11 // an event on a topic, for all who await it
	recPaused    recordKind = 12 // nothing new begins in a root run
	recResumed   recordKind = 13 // a paused root run goes on, or a queued one begins
	// recReconciled is what was found out about an effect that had ended as unknown. It changes nothing. Only in frames of version 2.
	recReconciled recordKind = 15
	// recSettled is what became of a message that was not done. It changes nothing either. Only in frames of version 2.
	recSettled recordKind = 22

	// These are no part of what a run does, and stand only in frames of version 2.
	recErased   recordKind = 17 // a key is destroyed
	recHeld     recordKind = 18 // a root run must not be erased
	recReleased recordKind = 19 // and may again
	recDeleted  recordKind = 20 // a root run is deleted: its key, which no other uses, is destroyed
	recBased    recordKind = 21 // a base stands for the log up to a commit: see base.go
	recAudited  recordKind = 23 // who asked for what comes next in the commit; nothing follows from it
)

// newer says that a record stands only in frames of version 2.
func (r *record) newer() bool { return r.kind >= recImported || r.conversation != "" || r.queued }

// record is one thing that happened. Which fields are stored depends on the kind.
type record struct {
	kind    recordKind
	run     polity.RunID
	name    string // command, with began and result; signal or topic, with signalled and published; the key, with erased and deleted
	id      string // of what was signalled or published
	place   uint64 // of what was published, in the stream of topics; 0 in older logs
	version int    // of what was published: of its topic's registered schema; 0 for none, and in older logs
	attempt int
	request requestHash
	data    payload
	fault   *fault.Error
	// faultText is the fault's text while it is enciphered; then the fault has none.
	faultText payload
	usage     polity.Usage
	reason    string        // cancel, paused, erased, held, released, deleted
	gently    bool          // cancel: the run may undo first what it did. Logs of older versions have it never
	status    polity.Status // finished, imported
	opened    time.Time     // imported
	ended     time.Time     // imported

	// began and result: what was done where, for those who look at effects; zero if it was none, and in older logs
	effect effect
	// result and reconciled: what the destination gave as proof, and whether it was asked for the result
	receipt json.RawMessage
	// sealedReceipt is the receipt while it is enciphered; then there is no other.
	sealedReceipt payload
	asked         bool

	// reconciled; its receipt and output stand above
	verdict polity.Verdict
	by      string

	// opened
	release Digest
	agent   string
	skill   string
	from    string
	folder  string
	bounds  polity.Bounds
	origin  polity.RunID // opened: the run whose ID its decider is told, if that is not its own; forked: of which it is a fork

	// opened, of a root run that is part of a conversation
	conversation string
	arrival      polity.Arrival
	queued       bool  // it waits for its resumed
	mail         *Mail // of a message; such a run is always part of a conversation

	caller trace.Context // opened, of a root run: where in a trace it was asked for; zero for nowhere, and in older logs

	// forked
	event   int  // the last that was taken over
	effects bool // it may do keyed and external effects

	base *base // based
}

// effect says what a command did outside.
type effect struct {
	class polity.Effect
	verb  polity.Verb
	to    string    // agent, tool or model
	since time.Time // when it was decided
}

// effectClasses are the classes as the log numbers them, from 1.
func effectClasses() [4]polity.Effect {
	return [...]polity.Effect{polity.EffectNone, polity.EffectIdempotent, polity.EffectKeyed, polity.EffectExternal}
}

// appendEffect writes e, and nothing for the zero effect.
//
//	effect = class:1  verb:1  to:text  since:8
func appendEffect(b []byte, e effect) []byte {
	classes := effectClasses()
	i := slices.Index(classes[:], e.class)
	if i < 0 {
		return b
	}
	b = append(b, byte(i+1), byte(e.verb))
	b = appendText(b, e.to)
	return binary.BigEndian.AppendUint64(b, uint64(e.since.UnixNano()))
}

// verdicts are the verdicts as the log numbers them, from 1.
func verdicts() []polity.Verdict {
	return []polity.Verdict{polity.VerdictDone, polity.VerdictNotDone, polity.VerdictUndone}
}

// appendProof writes what the destination of an effect said of it, and nothing if that is nothing. It follows an effect.
//
//	proof = receipt:text  asked:1
func appendProof(b []byte, r *record) []byte {
	if len(r.receipt) == 0 && r.sealedReceipt.key == "" && !r.asked {
		return b
	}
	b = appendReceipt(b, r)
	return append(b, oneIf(r.asked))
}

// payload is a user's bytes. Inline bytes alias the frame they were read from.
type payload struct {
	key  string
	data json.RawMessage // nil for nothing, and for a blob until it was read
	blob Digest          // set for a blob
	size uint64          // of the blob
	// plain says that the data is as it was before it was enciphered with the key: it was not read, but is being written.
	plain bool
}

// Digest is the SHA-256 of a stored document.
type Digest [sha256.Size]byte

func beginFrame(b []byte, epoch [8]byte, prev hash, at time.Time) []byte {
	b = append(b, frameVersion)
	b = append(b, epoch[:]...)
	b = append(b, prev[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(at.UnixNano()))
}

func appendText[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendPayload(b []byte, p payload) []byte {
	switch {
	case p.size > 0:
		b = append(b, 2)
		b = appendText(b, p.key)
		b = append(b, p.blob[:]...)
		return binary.AppendUvarint(b, p.size)
	case p.data != nil:
		b = append(b, 1)
		b = appendText(b, p.key)
		b = binary.AppendUvarint(b, uint64(len(p.data)))
		return append(b, p.data...)
	default:
		return append(b, 0)
	}
}

func appendFault(b []byte, f *fault.Error, sealed payload) []byte {
	if f == nil {
		return append(b, 0)
	}
	if sealed.key != "" {
		return appendSealedFault(b, f, sealed)
	}
	text, err := json.Marshal(f)
	if err != nil {
		panic("run: a fault that JSON cannot hold: " + err.Error())
	}
	return appendPayload(b, payload{data: text})
}

func oneIf(yes bool) byte {
	if yes {
		return 1
	}
	return 0
}

func appendUsage(b []byte, u polity.Usage) []byte {
	b = binary.AppendUvarint(b, uint64(u.Turns))
	b = binary.AppendUvarint(b, uint64(u.InputTokens))
	b = binary.AppendUvarint(b, uint64(u.OutputTokens))
	return binary.AppendUvarint(b, uint64(u.MicroUSD))
}

// appendRecord writes r with its length before it. The body is written behind a gap for the length and moved if
// the length takes another number of bytes than guessed.
func appendRecord(b []byte, r *record) []byte {
	const gap = 2
	start := len(b)
	b = append(b, 0, 0)
	b = append(b, byte(r.kind))
	b = appendText(b, string(r.run))
	switch r.kind {
	case recClaim:
	case recOpened:
		b = append(b, r.release[:]...)
		b = appendText(b, r.agent)
		b = appendText(b, r.skill)
		b = appendText(b, r.from)
		b = appendText(b, r.folder)
		b = append(b, r.request[:]...)
		for _, v := range [...]uint64{uint64(r.bounds.Turns), uint64(r.bounds.Tokens), uint64(r.bounds.MicroUSD),
			uint64(r.bounds.Wall), uint64(r.bounds.Depth), uint64(r.bounds.FanOut), uint64(r.bounds.Retries)} {
			b = binary.AppendUvarint(b, v)
		}
		b = appendPayload(b, r.data)
		talks, reserves := r.conversation != "" || r.queued, r.bounds.UndoReserve > 0
		traced := r.caller.Valid() || r.mail != nil
		if r.origin != "" || reserves || talks || traced {
			b = appendText(b, string(r.origin))
		}
		if reserves || talks || traced {
			b = binary.AppendUvarint(b, uint64(r.bounds.UndoReserve))
		}
		if talks || traced {
			b = appendText(b, r.conversation)
			b = append(b, byte(max(slices.Index(polity.Arrivals(), r.arrival), 0)), oneIf(r.queued))
		}
		if traced {
			var parent [64]byte
			b = appendText(b, r.caller.AppendParent(parent[:0]))
			b = appendText(b, r.caller.State)
		}
		if r.mail != nil {
			b = appendMail(b, r.mail)
		}
	case recBegan:
		b = appendText(b, r.name)
		b = binary.AppendUvarint(b, uint64(r.attempt))
		b = append(b, r.request[:]...)
		b = appendEffect(b, r.effect)
	case recResult:
		b = appendText(b, r.name)
		b = binary.AppendUvarint(b, uint64(r.attempt))
		b = append(b, r.request[:]...)
		b = appendUsage(b, r.usage)
		b = appendPayload(b, r.data)
		b = appendFault(b, r.fault, r.faultText)
		b = appendEffect(b, r.effect)
		if r.effect.class != "" {
			b = appendProof(b, r)
		}
	case recReconciled:
		b = appendText(b, r.name)
		b = binary.AppendUvarint(b, uint64(r.attempt))
		b = append(b, byte(slices.Index(verdicts(), r.verdict)+1))
		b = appendText(b, r.by)
		b = appendText(b, r.reason)
		b = appendReceipt(b, r)
		b = appendPayload(b, r.data)
	case recCancel:
		b = appendText(b, r.reason)
		if r.gently {
			b = append(b, 1)
		}
	case recPaused:
		b = appendText(b, r.reason)
	case recSignalled, recPublished:
		b = appendText(b, r.name)
		b = appendText(b, r.id)
		b = appendPayload(b, r.data)
		if r.place > 0 || r.version > 0 {
			b = binary.AppendUvarint(b, r.place)
		}
		if r.version > 0 {
			b = binary.AppendUvarint(b, uint64(r.version))
		}
	case recResumed:
	case recSettled:
		b = appendText(b, r.name)
		b = appendText(b, r.by)
	case recForked:
		b = append(b, r.release[:]...)
		b = appendText(b, r.agent)
		b = append(b, r.request[:]...)
		b = appendText(b, string(r.origin))
		b = binary.AppendUvarint(b, uint64(r.event))
		b = append(b, oneIf(r.effects))
		b = appendPayload(b, r.data)
	case recImported:
		b = append(b, byte(r.status))
		b = append(b, r.release[:]...)
		b = appendText(b, r.agent)
		b = append(b, r.request[:]...)
		b = appendUsage(b, r.usage)
		b = binary.BigEndian.AppendUint64(b, uint64(r.opened.UnixNano()))
		b = binary.BigEndian.AppendUint64(b, uint64(r.ended.UnixNano()))
		b = appendPayload(b, r.data)
	case recExpired:
	case recErased, recDeleted:
		b = appendText(b, r.name)
		b = appendText(b, r.reason)
	case recBased:
		b = r.base.appendTo(b)
	case recAudited:
		b = appendPayload(b, r.data)
	case recHeld, recReleased:
		b = appendText(b, r.reason)
	case recFinished:
		b = append(b, byte(r.status))
		b = append(b, r.request[:]...)
		b = appendUsage(b, r.usage)
		b = appendPayload(b, r.data)
		b = appendFault(b, r.fault, r.faultText)
	default:
		panic("run: record of no kind")
	}
	size := len(b) - start - gap
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(size))
	if n > gap {
		b = append(b, length[:n-gap]...) // makes room; overwritten next
		copy(b[start+n:], b[start+gap:start+gap+size])
	} else if n < gap {
		copy(b[start+n:], b[start+gap:])
		b = b[:len(b)-(gap-n)]
	}
	copy(b[start:], length[:n])
	return b
}

// clip makes a record one that the log gives back exactly as it took it. Otherwise a decider would see one thing
// now and another after a restart, or one careless effect could write what no fold can read.
func (r *record) clip() {
	r.reason, r.by = clipText(r.reason, textMax), clipText(r.by, textMax)
	r.usage = clipUsage(r.usage)
	if polity.CheckReceipt(r.receipt) != nil {
		r.receipt = nil // whoever took it should have checked it
	}
	if r.fault == nil {
		return
	}
	f := fault.Error{Kind: r.fault.Kind, Text: clipText(r.fault.Text, faultMax), Bound: clipText(r.fault.Bound, nameMax)}
	if !slices.Contains(fault.Kinds(), f.Kind) {
		f.Kind = fault.Internal
	}
	if f.Kind != r.fault.Kind || f.Text != r.fault.Text || f.Bound != r.fault.Bound {
		r.fault = &f
	}
}

// clipText replaces what is not UTF-8, as JSON would, and cuts what is too long between two characters.
func clipText(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	n := most - len("…")
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func clipUsage(u polity.Usage) polity.Usage {
	return polity.Usage{
		Turns: min(max(u.Turns, 0), quantityMax), InputTokens: min(max(u.InputTokens, 0), quantityMax),
		OutputTokens: min(max(u.OutputTokens, 0), quantityMax), MicroUSD: min(max(u.MicroUSD, 0), quantityMax),
	}
}

// frame is a decoded commit.
type frame struct {
	epoch   [8]byte
	prev    hash
	at      time.Time
	records []record // reused by the next decode into the same frame
	raw     [][]byte // likewise: each record as it is written, with its length
}

// decode reads a frame. It returns fault.Damaged for anything that was not written by appendRecord,
// and fault.Invalid for a version that this program does not know. Payloads alias data.
func (f *frame) decode(data []byte) error {
	if v := first(data); v < framesRead.From || v > framesRead.To {
		return fault.Invalid.New("run: commit of an unknown format (first byte %d); a newer version of this program wrote it?", first(data))
	}
	if len(data) < headerSize {
		return fault.Damaged.New("run: commit is cut: %d bytes", len(data))
	}
	copy(f.epoch[:], data[1:9])
	copy(f.prev[:], data[9:41])
	f.at = timeOf(data[41:49])
	f.records, f.raw = f.records[:0], f.raw[:0]
	r := reader{b: data[headerSize:]}
	for len(r.b) > 0 {
		start := r.b
		body := reader{b: r.bytes(r.uvarint(frameMax))}
		if r.bad {
			return fault.Damaged.New("run: commit: record %d is cut", len(f.records)+1)
		}
		f.raw = append(f.raw, start[:len(start)-len(r.b)])
		f.records = append(f.records, record{})
		body.record(&f.records[len(f.records)-1])
		if body.bad {
			return fault.Damaged.New("run: commit: record %d does not make sense", len(f.records))
		}
	}
	_, err := frameUpcasts.Read(f, first(data), framesRead)
	return err
}

func first(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	return int(b[0])
}

// reader takes fields from bytes. After a field that is not there it is bad and returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint(limit uint64) uint64 {
	if r.bad {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

const numberMax = 1<<63 - 1

func (r *reader) number() int64 { return int64(r.uvarint(numberMax)) }

func (r *reader) text() string { return string(r.bytes(r.uvarint(textMax))) }

func (r *reader) hash() (h requestHash) {
	copy(h[:], r.bytes(requestSize))
	return h
}

func (r *reader) digest() (d Digest) {
	copy(d[:], r.bytes(sha256.Size))
	return d
}

func (r *reader) time() time.Time {
	b := r.bytes(8)
	if b == nil {
		return time.Time{}
	}
	return timeOf(b)
}

func timeOf(b []byte) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC() }

func (r *reader) payload() (p payload) {
	switch r.byte() {
	case 0:
	case 1:
		p.key = r.text()
		p.data = r.bytes(r.uvarint(frameMax))
		if p.data == nil {
			p.data = json.RawMessage{}
		}
	case 2:
		p.key = r.text()
		p.blob = r.digest()
		if p.size = r.uvarint(payloadMax); p.size == 0 {
			r.bad = true
		}
	default:
		r.bad = true
	}
	return p
}

func (r *reader) fault() (*fault.Error, payload) {
	p := r.payload()
	if r.bad || p.data == nil {
		return nil, payload{}
	}
	if p.key != "" {
		return r.sealedFault(p)
	}
	var f fault.Error
	if err := json.Unmarshal(p.data, &f); err != nil {
		r.bad = true
		return nil, payload{}
	}
	return &f, payload{}
}

func (r *reader) usage() polity.Usage {
	return polity.Usage{Turns: int(r.number()), InputTokens: r.number(), OutputTokens: r.number(), MicroUSD: r.number()}
}

// effect reads what logs have had since effects can be listed.
func (r *reader) effect() effect {
	if r.bad || len(r.b) == 0 {
		return effect{}
	}
	class, verb, to, since := r.byte(), r.byte(), r.text(), r.bytes(8)
	classes := effectClasses()
	if r.bad || class == 0 || int(class) > len(classes) {
		r.bad = true
		return effect{}
	}
	return effect{classes[class-1], polity.Verb(verb), to, time.Unix(0, int64(binary.BigEndian.Uint64(since))).UTC()}
}

func (r *reader) verdict() polity.Verdict {
	i, all := int(r.byte()), verdicts()
	if r.bad || i == 0 || i > len(all) {
		r.bad = true
		return ""
	}
	return all[i-1]
}

func (r *reader) arrival() polity.Arrival {
	all := polity.Arrivals()
	i := int(r.byte())
	if i >= len(all) {
		r.bad = true
		return ""
	}
	return all[i]
}

// caller reads where in a trace a run was asked for.
func (r *reader) caller() trace.Context {
	c, err := trace.Parse(r.text(), r.text())
	r.bad = r.bad || err != nil
	return c
}

func (r *reader) record(rec *record) {
	rec.kind = recordKind(r.byte())
	rec.run = polity.RunID(r.text())
	switch rec.kind {
	case recClaim, recExpired, recResumed:
	case recOpened:
		rec.release = r.digest()
		rec.agent, rec.skill, rec.from, rec.folder = r.text(), r.text(), r.text(), r.text()
		rec.request = r.hash()
		rec.bounds = polity.Bounds{
			Turns: int(r.number()), Tokens: r.number(), MicroUSD: r.number(), Wall: polity.Duration(r.number()),
			Depth: int(r.number()), FanOut: int(r.number()), Retries: int(r.number()),
		}
		rec.data = r.payload()
		if len(r.b) > 0 {
			rec.origin = polity.RunID(r.text())
		}
		if len(r.b) > 0 {
			rec.bounds.UndoReserve = int(r.uvarint(polity.UndoReserveMax))
		}
		if len(r.b) > 0 {
			rec.conversation = r.text()
			rec.arrival, rec.queued = r.arrival(), r.byte() == 1
			if rec.conversation == "" && !rec.queued {
				rec.arrival = "" // of no conversation
			}
		}
		if len(r.b) > 0 {
			rec.caller = r.caller()
		}
		if len(r.b) > 0 {
			rec.mail = r.mail()
		}
	case recBegan:
		rec.name, rec.attempt, rec.request = r.text(), int(r.number()), r.hash()
		rec.effect = r.effect()
	case recResult:
		rec.name, rec.attempt, rec.request = r.text(), int(r.number()), r.hash()
		rec.usage = r.usage()
		rec.data = r.payload()
		rec.fault, rec.faultText = r.fault()
		rec.effect = r.effect()
		if len(r.b) > 0 {
			r.receipt(rec)
			rec.asked = r.byte() == 1
		}
	case recReconciled:
		rec.name, rec.attempt = r.text(), int(r.number())
		rec.verdict = r.verdict()
		rec.by, rec.reason = r.text(), r.text()
		r.receipt(rec)
		rec.data = r.payload()
	case recCancel:
		rec.reason = r.text()
		rec.gently = len(r.b) > 0 && r.byte() == 1
	case recPaused, recHeld, recReleased:
		rec.reason = r.text()
	case recSettled:
		rec.name, rec.by = r.text(), r.text()
	case recErased, recDeleted:
		rec.name, rec.reason = r.text(), r.text()
	case recBased:
		rec.base = r.base()
	case recAudited:
		rec.data = r.payload()
	case recSignalled, recPublished:
		rec.name, rec.id = r.text(), r.text()
		rec.data = r.payload()
		if rec.kind == recPublished && len(r.b) > 0 {
			rec.place = r.uvarint(math.MaxUint64)
		}
		if rec.kind == recPublished && len(r.b) > 0 {
			rec.version = int(r.number())
		}
	case recForked:
		rec.release = r.digest()
		rec.agent, rec.request = r.text(), r.hash()
		rec.origin, rec.event, rec.effects = polity.RunID(r.text()), int(r.number()), r.byte() == 1
		rec.data = r.payload()
	case recImported:
		rec.status = polity.Status(r.byte())
		rec.release = r.digest()
		rec.agent, rec.request = r.text(), r.hash()
		rec.usage = r.usage()
		rec.opened, rec.ended = r.time(), r.time()
		rec.data = r.payload()
	case recFinished:
		rec.status = polity.Status(r.byte())
		rec.request = r.hash()
		rec.usage = r.usage()
		rec.data = r.payload()
		rec.fault, rec.faultText = r.fault()
	default:
		r.bad = true
	}
	if !rec.status.Known() {
		r.bad = true
	}
}
