package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

var errNoSpace = syscall.ENOSPC

// dropMax is how long a log may take to drop what it is told to.
const dropMax = 2 * time.Minute

// FrameMax is the largest frame that Append takes, in bytes: the smallest max_payload that a NATS
// server is commonly run with, less room for headers.
const FrameMax = 1<<20 - 1024

// Log is one stream with one subject, which is written under a condition: that it still ends with
// the message that the writer knows to be last. That condition, not a lock, keeps a second writer out.
// It is safe for concurrent use.
//
// The condition is that message's ID, as it says what was written and not only where. On a server that runs elsewhere it is its position: replicas
// disagree about the last ID once one of them has caught up from another (docs/adr/0036).
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
	if _, err := b.stream(ctx, logConfig(name)); err != nil {
		return nil, fault.Of(err).Kind.New("bus: open log %s: %w", name, err)
	}
	l.inbox = b.nc.NewInbox() + "."
	var err error
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

func logConfig(name string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: LogStream(name), Subjects: []string{"log." + name}, Description: "a log of runs",
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		Duplicates: dupWindow, DenyDelete: true, AllowDirect: true,
	}
}

// Close stops listening for acknowledgements.
func (l *Log) Close() error {
	if err := l.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("bus: close log %s: %w", l.name, err)
	}
	return nil
}

// Append starts to write data with the given ID as the message at a position, on condition that the log's last message is the one before and has the
// ID prev, or that the log is empty if prev is "". At most one Append may be under way. It returns at once and keeps no part of data; the outcome
// comes as an Ack with the token. When the outcome is lost or a refusal, read Last: only the log
// knows. Sending the identical message again is safe: at most one copy is written.
func (l *Log) Append(data []byte, id, prev string, at, token uint64) error {
	m := messages.Get().(*message)
	defer messages.Put(m)
	m.Subject, m.Reply, m.Data = l.subject, l.inbox+strconv.FormatUint(token, 36), data
	delete(m.Header, m.header)
	switch {
	case l.b.cfg.Server != nil:
		m.header, prev = jetstream.ExpectedLastSeqHeader, strconv.FormatUint(at-1, 10)
	case prev == "":
		m.header, prev = jetstream.ExpectedLastSubjSeqHeader, "0"
	default:
		m.header = jetstream.ExpectedLastMsgIDHeader
	}
	m.id[0], m.condition[0] = id, prev
	m.Header[m.header] = m.condition[:]
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
	header        string // of the condition
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
	return l.get(ctx, `{"last_by_subj":"`+l.subject+`"}`, requestMax)
}

// Get returns the message at a position, or the zero Entry if there is none.
func (l *Log) Get(ctx context.Context, seq uint64) (Entry, error) {
	return l.get(ctx, `{"seq":`+strconv.FormatUint(seq, 10)+`}`, readTries*requestMax) // a busy disk may take so long
}

func (l *Log) get(ctx context.Context, query string, most time.Duration) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	m, err := l.b.nc.RequestWithContext(ctx, l.b.requests+"STREAM.MSG.GET.LOG_"+l.name, []byte(query))
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

// The bounds of what is under way while a log is read.
const (
	readBatch  = 4096      // messages that are asked for at once
	readBytes  = 512 << 10 // likewise; the last message may go beyond. While it is read, no append is written, so it is little
	readPieces = 4         // batches that wait for a slow reader
	readTries  = 6         // of one batch, of requestMax each
)

// Read gives each message from position from up to and including to, in order, to each, which stops the
// reading by returning an error. A message that is missing in between is fault.Damaged. What is under way is asked for in batches, so it is bounded however slow each is, and
// nothing can be dropped. It returns fault.Unavailable if the store does not answer in half a minute.
func (l *Log) Read(ctx context.Context, from, to uint64, each func(Entry) error) error {
	if from > to {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch, readPieces)
	go func() {
		defer close(batches)
		for next := from; next <= to; {
			b := l.batch(ctx, next, to)
			next += uint64(len(b.list))
			select {
			case batches <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range batches { // until the goroutine has ended
		}
	}()
	for b := range batches {
		for _, e := range b.list {
			if err := each(e); err != nil {
				return err
			}
		}
		if b.err != nil {
			return b.err
		}
	}
	if err := ctx.Err(); err != nil {
		return fault.Cancelled.New("bus: read %s: %w", l.name, err)
	}
	return nil
}

// batch is what comes next, up to an error.
type batch struct {
	list []Entry
	err  error
}

// batch asks for messages from a position on, and asks again if they do not come, as when the disk is busy with other things.
func (l *Log) batch(ctx context.Context, next, to uint64) (b batch) {
	for range readTries {
		sub, err := l.b.nc.SubscribeSync(l.b.nc.NewInbox()) // what comes too late goes nowhere
		if err != nil {
			return batch{err: fault.Unavailable.New("bus: read %s: %w", l.name, err)}
		}
		b = l.ask(ctx, sub, next, to)
		_ = sub.Unsubscribe() // nothing is lost if it is not heard
		if !errors.Is(b.err, fault.Timeout) {
			return b
		}
	}
	b.err = fault.Unavailable.New("bus: read %s: %d times: %w", l.name, readTries, b.err)
	return b
}

// ask asks for messages once, and returns those that come up to the end of the batch. They come without headers, which would cost more than they do: that none
// is missing their number tells, with the position of the last one.
func (l *Log) ask(ctx context.Context, sub *nats.Subscription, next, to uint64) (b batch) {
	query := fmt.Sprintf(`{"seq":%d,"batch":%d,"max_bytes":%d,"no_hdr":true}`, next, min(to-next+1, readBatch), readBytes)
	if err := l.b.nc.PublishRequest(l.b.requests+"DIRECT.GET.LOG_"+l.name, sub.Subject, []byte(query)); err != nil {
		return batch{err: fault.Unavailable.New("bus: read %s: %w", l.name, err)}
	}
	wait, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(wait)
		switch {
		case ctx.Err() != nil:
			return batch{err: fault.Cancelled.New("bus: read %s: %w", l.name, ctx.Err())}
		case errors.Is(err, context.DeadlineExceeded):
			return batch{err: fault.Timeout.New("message %d did not come within %s", next+uint64(len(b.list)), requestMax)}
		case err != nil:
			return batch{err: fault.Unavailable.New("bus: read %s: message %d: %w", l.name, next+uint64(len(b.list)), err)}
		case m.Header == nil:
			b.list = append(b.list, Entry{next + uint64(len(b.list)), m.Data})
			continue
		}
		switch status := m.Header.Get("Status"); {
		case status == "404", status == "204" && len(b.list) == 0: // or it is not yet where the server has looked: the leader knows
			return l.singly(ctx, next, next)
		case status != "204":
			return batch{err: fault.Unavailable.New("bus: read %s: %s %s", l.name, status, m.Header.Get("Description"))}
		case m.Header.Get(jetstream.LastSequenceHeader) != strconv.FormatUint(b.list[len(b.list)-1].Seq, 10):
			return l.singly(ctx, next, to)
		}
		return b
	}
}

// singly reads what comes before a message that is missing.
func (l *Log) singly(ctx context.Context, next, to uint64) (b batch) {
	for ; next <= to && b.err == nil; next++ {
		var e Entry
		switch e, b.err = l.Get(ctx, next); {
		case b.err != nil:
		case e.Seq != next:
			b.err = fault.Damaged.New("bus: read %s: message %d is missing", l.name, next)
		default:
			b.list = append(b.list, e)
		}
	}
	return b
}

// Size returns the number of messages and bytes that the log holds.
func (l *Log) Size(ctx context.Context) (messages, size uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	s, err := l.stream(ctx)
	if err != nil {
		return 0, 0, err
	}
	state := s.CachedInfo().State
	return state.Msgs, state.Bytes, nil
}

func (l *Log) stream(ctx context.Context) (jetstream.Stream, error) {
	s, err := l.b.js.Stream(ctx, "LOG_"+l.name)
	if err != nil {
		return nil, fault.Unavailable.New("bus: look at %s: %w", l.name, err)
	}
	return s, nil
}

// First returns the position of the first message that the log holds, or would hold: 1 unless something was dropped.
func (l *Log) First(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	s, err := l.stream(ctx)
	if err != nil {
		return 0, err
	}
	return max(s.CachedInfo().State.FirstSeq, 1), nil
}

// Drop removes all messages up to a position, which a log that is empty then begins behind. It can be repeated after any fault. Files that are no longer needed
// are removed some time later.
func (l *Log) Drop(ctx context.Context, upTo uint64) error {
	ctx, cancel := context.WithTimeout(ctx, dropMax)
	defer cancel()
	s, err := l.stream(ctx)
	if err != nil {
		return err
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return fault.Unavailable.New("bus: drop up to message %d of %s: %w", upTo, l.name, err)
	}
	return nil
}
