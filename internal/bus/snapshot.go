package bus

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

const (
	snapshotChunk = 512 << 10        // bytes of one piece
	snapshotMax   = 30 * time.Second // wait for the next one
	headMax       = 64 << 10         // bytes of a snapshot's first piece
)

// EventStreams are the streams of topics, of dead letters, of refusals and of who wanted what, as Snapshot and Restore name them, in the order in which they are backed up: a
// letter is written before its event is settled, so it is not lost if it comes second.
func EventStreams() []string {
	return []string{TopicsStream, deadStream, journalPrefix + RefusedJournal, journalPrefix + AccessJournal}
}

// apiError is what the server answers that refuses something.
type apiError struct {
	Error *struct {
		Description string `json:"description"`
	} `json:"error,omitempty"`
}

// Snapshot gives a stream as it is now, with its positions, its times and its consumers, piece by piece, and returns how many messages it has. The first
// piece says what the server has to know before the others. The server goes on meanwhile.
func (b *Bus) Snapshot(ctx context.Context, stream string, each func(piece []byte) error) (messages uint64, err error) {
	sub, err := b.nc.SubscribeSync(b.nc.NewRespInbox())
	if err != nil {
		return 0, fault.Unavailable.New("bus: snapshot of %s: %w", stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone; then it is, too
	var begun struct {
		apiError
		State json.RawMessage `json:"state"`
	}
	if err := b.api(ctx, "STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": sub.Subject, "chunk_size": snapshotChunk, "jsck": true}, &begun, &begun.apiError); err != nil {
		return 0, err
	}
	var state struct {
		Messages uint64 `json:"messages"`
	}
	if err := json.Unmarshal(begun.State, &state); err != nil {
		return 0, fault.Internal.New("bus: snapshot of %s: %w", stream, err)
	}
	if err := each(begun.State); err != nil {
		return 0, err
	}
	for {
		within, cancel := context.WithTimeout(ctx, snapshotMax)
		m, err := sub.NextMsgWithContext(within)
		cancel()
		switch {
		case err != nil:
			return 0, fault.Unavailable.New("bus: snapshot of %s: %w", stream, err)
		case len(m.Data) == 0 && m.Header.Get("Status") != "" && m.Header.Get("Status") != "204":
			return 0, fault.Unavailable.New("bus: snapshot of %s: %s %s", stream, m.Header.Get("Status"), m.Header.Get("Description"))
		case len(m.Data) == 0:
			return state.Messages, nil
		}
		if err := each(m.Data); err != nil {
			return 0, err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return 0, fault.Unavailable.New("bus: snapshot of %s: %w", stream, err)
			}
		}
	}
}

// api asks the server's JetStream something.
func (b *Bus) api(ctx context.Context, what string, q, answer any, refused *apiError) error {
	data, err := json.Marshal(q)
	if err != nil {
		return fault.Internal.New("bus: %s: %w", what, err)
	}
	within, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	m, err := b.nc.RequestWithContext(within, "$JS."+domain+".API."+what, data)
	if err != nil {
		return fault.Unavailable.New("bus: %s: %w", what, err)
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fault.Internal.New("bus: %s: %w", what, err)
	}
	if refused.Error != nil {
		return fault.Unavailable.New("bus: %s: %s", what, refused.Error.Description)
	}
	return nil
}

// Restoration is a stream that is made of a snapshot.
type Restoration struct {
	b       *Bus
	stream  string
	subject string // to which pieces are sent
}

// Restore begins to make a stream, which must not be there, of a snapshot, given its first piece. The stream's settings are this program's own.
func (b *Bus) Restore(ctx context.Context, stream string, first []byte) (*Restoration, error) {
	var config jetstream.StreamConfig
	switch stream {
	case TopicsStream:
		config = topicsConfig()
	case deadStream:
		config = deadConfig()
	case journalPrefix + RefusedJournal, journalPrefix + AccessJournal:
		config = journalConfig(strings.TrimPrefix(stream, journalPrefix), 0, 0) // whoever opens it sets its limits
	default:
		return nil, fault.Invalid.New("bus: restore %.40q: no stream of events", stream)
	}
	if len(first) > headMax || !json.Valid(first) {
		return nil, fault.Damaged.New("bus: restore %s: its beginning is none", stream)
	}
	var begun struct {
		apiError
		Subject string `json:"deliver_subject"`
	}
	q := map[string]any{"config": config, "state": json.RawMessage(first)}
	if err := b.api(ctx, "STREAM.RESTORE."+stream, q, &begun, &begun.apiError); err != nil {
		return nil, err
	}
	return &Restoration{b, stream, begun.Subject}, nil
}

// Write sends the next piece.
func (r *Restoration) Write(ctx context.Context, piece []byte) error {
	if len(piece) == 0 {
		return fault.Damaged.New("bus: restore %s: an empty piece", r.stream)
	}
	return r.send(ctx, piece)
}

// Close says that there are no more pieces, and returns when the stream is there.
func (r *Restoration) Close(ctx context.Context) error { return r.send(ctx, nil) }

func (r *Restoration) send(ctx context.Context, piece []byte) error {
	within, cancel := context.WithTimeout(ctx, snapshotMax)
	defer cancel()
	m, err := r.b.nc.RequestMsgWithContext(within, &nats.Msg{Subject: r.subject, Data: piece})
	if err != nil {
		return fault.Unavailable.New("bus: restore %s: %w", r.stream, err)
	}
	var refused apiError
	if len(m.Data) > 0 && json.Unmarshal(m.Data, &refused) == nil && refused.Error != nil {
		return fault.Damaged.New("bus: restore %s: %s", r.stream, refused.Error.Description)
	}
	return nil
}
