package bus

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// RefusedJournal is the journal of what agents were refused. Backups hold it.
const (
	RefusedJournal = "refused"
	RefusedMax     = 100_000 // the newest are kept
	RefusedAge     = 90 * 24 * time.Hour
)

// AccessJournal is the journal of who wanted what at the node's doors. Backups hold it.
const AccessJournal = "access"

// The access journal's limits.
const (
	AccessMax = 1_000_000            // messages with records
	AccessAge = 400 * 24 * time.Hour // which is longer than any law of ours asks
)

const journalPrefix = "JOURNAL_"

// Journal is a stream that is only added to, of which the newest are kept. It is safe for concurrent use.
//
// Entries that come while the write before is under way are one message of the stream, a line each, and one write to the disk: else a hundred at once would wait for
// a hundred. They have the position of their message.
//
// Entries may also be copied from a log: then each message says up to which commit everything is there, and is written on condition that the one before is the last.
type Journal struct {
	b       *Bus
	stream  string
	subject string
	turn    chan struct{} // held by who writes, and by who knows what follows
	copies  bool          // it says how far it is copied
	last    uint64        // position of the last message
	copied  uint64        // what it says

	mu   sync.Mutex
	next *bundle // what is gathered for the next write; nil if nothing is
}

// bundle are entries that are written at once.
type bundle struct {
	lines []byte
	done  chan struct{} // closed when err is set
	err   error
}

// bundleMax is the size from which on a bundle takes no further entry, in bytes. A message may have 1 MiB.
const bundleMax = 256 << 10

// Journal opens the named journal, and creates it if it is not there: it keeps up to so many messages for so long. Open it once a process: what is added
// to one Journal is bundled.
func (b *Bus) Journal(ctx context.Context, name string, most int64, age time.Duration) (*Journal, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	config := journalConfig(name, most, age)
	if _, err := b.stream(ctx, config); err != nil {
		return nil, fault.Of(err).Kind.New("bus: open journal %s: %w", name, err)
	}
	return &Journal{b: b, stream: config.Name, subject: config.Subjects[0], turn: make(chan struct{}, 1)}, nil
}

// copiedHeader says up to which commit of a log everything was copied that belongs into the journal.
const copiedHeader = "Polity-Copied"

// copyTries is how often a message is written that comes behind one that somebody else wrote.
const copyTries = 5

// Copied makes the journal one into which a log is copied, and returns up to which commit it was; 0 for not at all.
func (j *Journal) Copied(ctx context.Context) (uint64, error) {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	j.copies = true
	return j.copied, j.end(ctx)
}

// end reads how the journal ends.
func (j *Journal) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	s, err := j.b.js.Stream(ctx, j.stream)
	if err != nil {
		return fault.Unavailable.New("bus: the end of %s: %w", j.stream, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, j.subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // what it had is too old
		j.last, j.copied = s.CachedInfo().State.LastSeq, 0
		return nil
	case err != nil:
		return fault.Unavailable.New("bus: the end of %s: %w", j.stream, err)
	}
	j.last, j.copied = m.Sequence, 0
	if text := m.Header.Get(copiedHeader); text != "" {
		if j.copied, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fault.Damaged.New("bus: the end of %s: %s: %w", j.stream, copiedHeader, err)
		}
	}
	return nil
}

// Copy adds the lines that commits of a log from one to another brought, as one message, and returns when that is safe. If others have copied them it adds nothing. It returns
// up to which commit the log is copied then: if that is neither before from nor to, or there was an error, ask for what comes after it.
// Lines must be one line each, or none.
func (j *Journal) Copy(ctx context.Context, lines [][]byte, from, to uint64) (uint64, error) {
	select {
	case j.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, fault.Unavailable.New("bus: add to %s: %w", j.stream, context.Cause(ctx))
	}
	defer func() { <-j.turn }()
	err := j.publish(ctx, bytes.Join(lines, []byte{'\n'}), func() (uint64, bool) { return to, j.copied < from })
	return j.copied, err
}

// SetBack says that the log ends with a commit before what is said to be copied: it was restored as it had been.
func (j *Journal) SetBack(ctx context.Context, to uint64) error {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	return j.publish(ctx, nil, func() (uint64, bool) { return to, j.copied > to })
}

// publish writes a message that says what mark returns, as long as that returns true.
func (j *Journal) publish(ctx context.Context, data []byte, mark func() (copied uint64, wanted bool)) error {
	if !j.copies {
		return j.put(ctx, &nats.Msg{Subject: j.subject, Data: data})
	}
	var err error
	for range copyTries {
		copied, wanted := mark()
		if !wanted {
			return nil
		}
		m := &nats.Msg{Subject: j.subject, Data: data, Header: nats.Header{copiedHeader: {strconv.FormatUint(copied, 10)}}}
		if err = j.put(ctx, m, jetstream.WithExpectLastSequence(j.last)); err == nil {
			j.copied = copied
			return nil
		}
		if lost := j.end(ctx); lost != nil {
			return errors.Join(err, lost)
		}
		if !errors.Is(err, fault.Conflict) { // it may have been written
			return err
		}
	}
	return err
}

func (j *Journal) put(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	ack, err := j.b.js.PublishMsg(ctx, m, opts...)
	var refused *jetstream.APIError
	switch {
	case err == nil:
		j.last = ack.Sequence
		return nil
	case errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return fault.Conflict.New("bus: add to %s: %w", j.stream, err)
	default:
		return fault.Unavailable.New("bus: add to %s: %w", j.stream, err)
	}
}

// journalConfig are a journal's settings; without limits it keeps everything.
func journalConfig(name string, most int64, age time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: journalPrefix + name, Subjects: []string{"journal." + name}, MaxMsgs: most, MaxAge: age,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, DenyDelete: true, AllowDirect: true,
	}
}

func refusedConfig() jetstream.StreamConfig {
	return journalConfig(RefusedJournal, RefusedMax, RefusedAge)
}

func accessConfig() jetstream.StreamConfig { return journalConfig(AccessJournal, AccessMax, AccessAge) }

// Add adds an entry, which must be one line, and returns when it is safe. If ctx ends before, it is not known whether it was added.
func (j *Journal) Add(ctx context.Context, data []byte) error {
	if bytes.IndexByte(data, '\n') >= 0 {
		return fault.Internal.New("bus: add to %s: an entry of more than one line", j.stream)
	}
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	j.mu.Lock()
	b := j.next
	if b == nil || len(b.lines)+len(data) > bundleMax {
		b = &bundle{done: make(chan struct{})}
		j.next = b
		go j.write(context.WithoutCancel(ctx), b) // it is not only for who came first
	} else {
		b.lines = append(b.lines, '\n')
	}
	b.lines = append(b.lines, data...)
	j.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fault.Unavailable.New("bus: add to %s: %w", j.stream, context.Cause(ctx))
	}
}

// write writes a bundle when the one before is written. Until then it grows.
func (j *Journal) write(ctx context.Context, b *bundle) {
	defer close(b.done)
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	j.mu.Lock()
	if j.next == b {
		j.next = nil
	}
	j.mu.Unlock()
	b.err = j.publish(ctx, b.lines, func() (uint64, bool) { return j.copied, true })
}

// Read returns up to most entries after a position, 0 for the beginning, in order; and beyond, those that have the position of the last of them.
func (j *Journal) Read(ctx context.Context, after uint64, most int) ([]Entry, error) {
	var list []Entry
	err := j.b.batch(ctx, j.stream, j.subject, after+1, time.Time{}, most, func(m *nats.Msg, seq uint64, _ time.Time) error {
		if len(list) >= most {
			return errEnough
		}
		if len(m.Data) == 0 { // it only says how far the log is copied
			return nil
		}
		for line := range bytes.SplitSeq(m.Data, []byte{'\n'}) {
			list = append(list, Entry{seq, line})
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}

// errEnough ends the reading of a journal.
var errEnough = errors.New("enough")

// HasJournal says whether the named journal is there.
func (b *Bus) HasJournal(ctx context.Context, name string) (bool, error) {
	return b.has(ctx, journalPrefix+name)
}
