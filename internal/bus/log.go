package bus

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

var errNoSpace = syscall.ENOSPC

// FrameMax is the largest frame that Append takes, in bytes: the smallest max_payload that a NATS
// server is commonly run with, less room for headers.
const FrameMax = 1<<20 - 1024

// Log is one stream with one subject, which is written under a condition: that it still ends with
// the message that the writer knows to be last. That condition, not a lock, keeps a second writer out.
// It is safe for concurrent use.
type Log struct {
	b       *Bus
	name    string
	subject string
	inbox   string
	sub     *nats.Subscription
}

// Ack is what became of an Append. A refusal says only that this copy was not written: see
// Log.Append.
type Ack struct {
	Token uint64 // of the Append
	Seq   uint64 // position of the message, from 1; 0 with Err
	Err   error
}

// Entry is one message of a log.
type Entry struct {
	Seq  uint64
	Data []byte // the caller owns it
}

// Log opens the named log, and creates it if it is not there. Each outcome of an Append is given to
// acked, from one goroutine; acked must not block. Outcomes may be lost, late or double. Close it.
func (b *Bus) Log(ctx context.Context, name string, acked func(Ack)) (*Log, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	l := &Log{b: b, name: name, subject: "log." + name}
	_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "LOG_" + name, Subjects: []string{l.subject},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		Duplicates: dupWindow, DenyDelete: true, AllowDirect: false,
	})
	if err != nil {
		return nil, fault.Unavailable.New("bus: open log %s: %w", name, err)
	}
	nonce := make([]byte, 8)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fault.Internal.New("bus: open log %s: %w", name, err)
	}
	l.inbox = "_ack." + hex.EncodeToString(nonce) + "."
	l.sub, err = b.nc.Subscribe(l.inbox+"*", func(m *nats.Msg) {
		token, err := strconv.ParseUint(m.Subject[len(l.inbox):], 36, 64)
		if err != nil {
			return // not a reply to an Append: nobody waits for it
		}
		seq, err := parseAck(m)
		acked(Ack{token, seq, err})
	})
	if err != nil {
		return nil, fault.Unavailable.New("bus: open log %s: %w", name, err)
	}
	return l, nil
}

// Close stops listening for acknowledgements.
func (l *Log) Close() error {
	if err := l.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("bus: close log %s: %w", l.name, err)
	}
	return nil
}

// Append starts to write data with the given ID, on condition that the log's last message has the
// ID prev, or that the log is empty if prev is "". It returns at once and keeps no part of data; the outcome
// comes as an Ack with the token. When the outcome is lost or a refusal, read Last: only the log
// knows. Sending the identical message again is safe: at most one copy is written.
func (l *Log) Append(data []byte, id, prev string, token uint64) error {
	m := messages.Get().(*message)
	defer messages.Put(m)
	m.Subject, m.Reply, m.Data = l.subject, l.inbox+strconv.FormatUint(token, 36), data
	m.id[0], m.condition[0] = id, prev
	if prev == "" {
		m.condition[0] = "0"
		delete(m.Header, jetstream.ExpectedLastMsgIDHeader)
		m.Header[jetstream.ExpectedLastSubjSeqHeader] = m.condition[:]
	} else {
		delete(m.Header, jetstream.ExpectedLastSubjSeqHeader)
		m.Header[jetstream.ExpectedLastMsgIDHeader] = m.condition[:]
	}
	err := l.b.nc.PublishMsg(&m.Msg) // which keeps nothing of it
	m.Data = nil
	if err != nil {
		return fault.Unavailable.New("bus: append to %s: %w", l.name, err)
	}
	return nil
}

// message is a message that is used again: its headers are most of what an append costs here.
type message struct {
	nats.Msg
	id, condition [1]string
}

var messages = sync.Pool{New: func() any {
	m := &message{}
	m.Header = nats.Header{jetstream.MsgIDHeader: m.id[:]}
	return m
}}

// parseAck reads a JetStream acknowledgement. The common one, {"stream":"…","seq":17,…}, is read by
// hand, as it comes once for every commit.
func parseAck(m *nats.Msg) (uint64, error) {
	if m.Header.Get("Status") == "503" {
		return 0, fault.Unavailable.New("bus: append: nobody serves the log")
	}
	if !bytes.Contains(m.Data, []byte(`"error"`)) {
		if _, after, ok := bytes.Cut(m.Data, []byte(`"seq":`)); ok {
			end := bytes.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
			if end > 0 {
				return strconv.ParseUint(string(after[:end]), 10, 64)
			}
		}
	}
	var a struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			ErrCode     int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return 0, fault.Unavailable.New("bus: append: read acknowledgement: %w", err)
	}
	if a.Error != nil {
		return 0, fault.Conflict.New("bus: append: refused (%d): %s", a.Error.ErrCode, a.Error.Description)
	}
	return a.Seq, nil
}

// Last returns the log's last message, as its leader has it, or the zero Entry if the log is empty.
func (l *Log) Last(ctx context.Context) (Entry, error) {
	return l.get(ctx, `{"last_by_subj":"`+l.subject+`"}`)
}

// Get returns the message at a position, or the zero Entry if there is none.
func (l *Log) Get(ctx context.Context, seq uint64) (Entry, error) {
	return l.get(ctx, `{"seq":`+strconv.FormatUint(seq, 10)+`}`)
}

func (l *Log) get(ctx context.Context, query string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	m, err := l.b.nc.RequestWithContext(ctx, "$JS."+domain+".API.STREAM.MSG.GET.LOG_"+l.name, []byte(query))
	if err != nil {
		return Entry{}, fault.Unavailable.New("bus: read %s: %w", l.name, err)
	}
	var a struct {
		Message struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
		Error *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return Entry{}, fault.Unavailable.New("bus: read %s: %w", l.name, err)
	}
	switch {
	case a.Error == nil:
		return Entry{a.Message.Seq, a.Message.Data}, nil
	case a.Error.Code == 404:
		return Entry{}, nil
	default:
		return Entry{}, fault.Unavailable.New("bus: read %s: %s", l.name, a.Error.Description)
	}
}

// Read gives each message from position from up to and including to, in order, to each, which stops the
// reading by returning an error. A message that is missing in between is fault.Damaged.
func (l *Log) Read(ctx context.Context, from, to uint64, each func(Entry) error) error {
	if from > to {
		return nil
	}
	js, err := l.b.nc.JetStream(nats.Domain(domain))
	if err != nil {
		return fault.Unavailable.New("bus: read %s: %w", l.name, err)
	}
	sub, err := js.SubscribeSync(l.subject, nats.OrderedConsumer(), nats.StartSequence(from), nats.BindStream("LOG_"+l.name))
	if err != nil {
		return fault.Unavailable.New("bus: read %s: %w", l.name, err)
	}
	// A reader that is slow is waited for: the server's flow control bounds what is under way. With a limit here as well, messages beyond it would
	// be dropped, and the reading begun again and again.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fault.Unavailable.New("bus: read %s: %w", l.name, err)
	}
	defer func() {
		// Nothing is lost when the end of the reading is not heard: the consumer ends by itself.
		_ = sub.Unsubscribe()
	}()
	// One context serves all messages; its clock runs only while one is awaited.
	wait, cancel := context.WithCancel(ctx)
	clock := time.AfterFunc(requestMax, cancel)
	defer func() { clock.Stop(); cancel() }()
	for next := from; next <= to; next++ {
		clock.Reset(requestMax)
		m, err := sub.NextMsgWithContext(wait)
		if err != nil {
			return l.unread(ctx, next, err)
		}
		if !clock.Stop() {
			return l.unread(ctx, next, context.DeadlineExceeded) // it came in the very moment
		}
		seq, err := sequence(m.Reply)
		if err != nil {
			return err
		}
		if seq != next {
			return fault.Damaged.New("bus: read %s: message %d is missing: the next one is %d", l.name, next, seq)
		}
		if err := each(Entry{seq, m.Data}); err != nil {
			return err
		}
	}
	return nil
}

// unread explains why a message could not be read.
func (l *Log) unread(ctx context.Context, seq uint64, err error) error {
	if ctx.Err() != nil {
		return fault.Cancelled.New("bus: read %s: %w", l.name, ctx.Err())
	}
	return fault.Damaged.New("bus: read %s: message %d did not come within %s: %w", l.name, seq, requestMax, err)
}

// sequence takes the stream position from an acknowledgement subject,
// $JS.ACK.[<domain>.<account hash>.]<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>].
func sequence(reply string) (uint64, error) {
	at := 5
	if strings.Count(reply, ".") >= 10 {
		at = 7
	}
	rest := reply
	for range at {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return 0, fault.Internal.New("bus: read: subject %q holds no position", reply)
		}
		rest = after
	}
	token, _, _ := strings.Cut(rest, ".")
	seq, err := strconv.ParseUint(token, 10, 64)
	if err != nil {
		return 0, fault.Internal.New("bus: read: subject %q holds no position: %w", reply, err)
	}
	return seq, nil
}

// Size returns the number of messages and bytes that the log holds.
func (l *Log) Size(ctx context.Context) (messages, size uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	s, err := l.b.js.Stream(ctx, "LOG_"+l.name)
	if err != nil {
		return 0, 0, fault.Unavailable.New("bus: size of %s: %w", l.name, err)
	}
	state := s.CachedInfo().State
	return state.Msgs, state.Bytes, nil
}
