package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// RefusedJournal is the journal of what agents in other processes were refused. Backups hold it.
const RefusedJournal = "refused"

// AccessJournal is the journal of who wanted what at the node's doors. Backups hold it.
const AccessJournal = "access"

const journalPrefix = "JOURNAL_"

// Journal is a stream that is only added to, of which the newest are kept. It is safe for concurrent use.
type Journal struct {
	b       *Bus
	stream  string
	subject string
}

// Journal opens the named journal, and creates it if it is not there: it keeps up to so many entries for so long.
func (b *Bus) Journal(ctx context.Context, name string, most int64, age time.Duration) (*Journal, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	config := journalConfig(name, most, age)
	if _, err := b.js.CreateOrUpdateStream(ctx, config); err != nil {
		return nil, fault.Unavailable.New("bus: open journal %s: %w", name, err)
	}
	return &Journal{b: b, stream: config.Name, subject: config.Subjects[0]}, nil
}

// journalConfig are a journal's settings; without limits it keeps everything.
func journalConfig(name string, most int64, age time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: journalPrefix + name, Subjects: []string{"journal." + name}, MaxMsgs: most, MaxAge: age,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, DenyDelete: true, AllowDirect: true,
	}
}

// Add adds an entry, and returns when it is safe.
func (j *Journal) Add(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	if _, err := j.b.js.Publish(ctx, j.subject, data); err != nil {
		return fault.Unavailable.New("bus: add to %s: %w", j.stream, err)
	}
	return nil
}

// Read returns up to most entries after a position, 0 for the beginning, in order.
func (j *Journal) Read(ctx context.Context, after uint64, most int) ([]Entry, error) {
	var list []Entry
	err := j.b.batch(ctx, j.stream, j.subject, after+1, time.Time{}, most, func(m *nats.Msg, seq uint64, _ time.Time) error {
		list = append(list, Entry{seq, m.Data})
		return nil
	})
	return list, err
}

// HasJournal says whether the named journal is there.
func (b *Bus) HasJournal(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	_, err := b.js.Stream(ctx, journalPrefix+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fault.Unavailable.New("bus: look for journal %s: %w", name, err)
	}
	return true, nil
}
