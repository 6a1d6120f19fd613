package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// The limits of topics.
const (
	TopicsAge    = 30 * 24 * time.Hour // an event is kept for so long, unless its topic says less
	TopicsBytes  = 4 << 30             // of all events: the oldest go first
	DeadAge      = 90 * 24 * time.Hour
	DeadBytes    = 256 << 20
	GroupsMax    = 64              // consumers cost 50 KB each, whoever makes them
	ReadMax      = 1000            // events of one Read
	readBytesMax = 4 << 20         // bytes of one Read, after which the server stops
	topicsWindow = 2 * time.Minute // how long the server knows an event's ID
	feedPending  = 1024            // events on their way to the partition, at most
)

const (
	TopicsStream = "TOPICS" // holds events
	deadStream   = "DEAD"
	topicPrefix  = "topic."
	redoPrefix   = "redo."
	deadPrefix   = "dead."
	wireJSON     = "application/json"
	wireSealed   = "application/octet-stream"
)

// Event is an event on a topic, as it is stored: a CloudEvent in binary mode, so that any reader of JetStream knows it. Its data is the
// message, its attributes are headers.
type Event struct {
	Seq     uint64 // position in the stream; 0 before it is published
	Topic   string
	Version int // of the topic's registered schema that the data is of; 0 if none was registered
	ID      string
	Source  string // a URI reference; "" is the node
	Key     string // that its data is enciphered with; "" for none
	Data    []byte
	At      time.Time // when it was stored: never before that of an earlier position
}

// The headers of a CloudEvent: https://github.com/cloudevents/spec, NATS protocol binding 1.0.
const (
	headSpec   = "ce-specversion"
	headID     = "ce-id"
	headSource = "ce-source"
	headType   = "ce-type"
	headTime   = "ce-time"
	headData   = "content-type"
	headSchema = "ce-dataschema"
	headKey    = "ce-politykey" // an extension of CloudEvents
	headTTL    = "Nats-TTL"
	headGroup  = "Polity-Group"    // of a dead letter: whose it is
	headReason = "Polity-Reason"   // why
	headTries  = "Polity-Tries"    // how often it was given out
	headOrigin = "Polity-Sequence" // the position that it had
)

// Topics is the stream of all topics of a node, and the one of dead letters. It is safe for concurrent use.
type Topics struct {
	b      *Bus
	stream jetstream.Stream
	dead   jetstream.Stream
}

// Topics opens the stream of topics, and creates it if it is not there. after is the last position that was taken from it: if the stream ends
// before that, because it was lost or the store was restored without it, it begins again after it, and lost is true.
func (b *Bus) Topics(ctx context.Context, after uint64) (t *Topics, lost bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	t = &Topics{b: b}
	t.stream, err = b.stream(ctx, topicsConfig())
	if err == nil {
		t.dead, err = b.stream(ctx, deadConfig())
	}
	if err != nil {
		return nil, false, fault.Of(err).Kind.New("bus: open topics: %w", err)
	}
	last, err := b.settled(ctx, t.stream, after)
	if err != nil {
		return nil, false, fault.Unavailable.New("bus: open topics: %w", err)
	}
	if last < after {
		if err := t.stream.Purge(ctx, jetstream.WithPurgeSequence(after+1)); err != nil {
			return nil, false, fault.Unavailable.New("bus: begin topics after %d: %w", after, err)
		}
		lost = true
	}
	return t, lost, nil
}

// HasTopics says whether there is a stream of topics.
func (b *Bus) HasTopics(ctx context.Context) (bool, error) { return b.has(ctx, TopicsStream) }

func topicsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: TopicsStream, Subjects: []string{topicPrefix + ">", redoPrefix + ">"}, Description: "events on topics",
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: TopicsAge, MaxBytes: TopicsBytes, Duplicates: topicsWindow, AllowDirect: true, AllowMsgTTL: true,
	}
}

func deadConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: deadStream, Subjects: []string{deadPrefix + ">"}, Description: "events that a group could not do",
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: DeadAge, MaxBytes: DeadBytes, Duplicates: topicsWindow, AllowDirect: true,
	}
}

// Publish stores an event for keep, or for TopicsAge if that is 0, and returns its position when it is safe. An event with a topic and ID that came
// within the last two minutes is not stored again: then the position is the earlier one's, and again is true.
func (t *Topics) Publish(ctx context.Context, e Event, keep time.Duration) (seq uint64, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	m := newMessage(topicPrefix+e.Topic, e)
	if keep > 0 {
		m.Header.Set(headTTL, keep.String())
	}
	ack, err := t.b.js.PublishMsg(ctx, m, jetstream.WithMsgID(e.Topic+" "+e.ID))
	if err != nil {
		return 0, false, fault.Unavailable.New("bus: publish on %s: %w; publish it again with the same ID", e.Topic, err)
	}
	return ack.Sequence, ack.Duplicate, nil
}

func newMessage(subject string, e Event) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = e.Data
	source := e.Source
	if source == "" {
		source = "polity"
	}
	m.Header = nats.Header{
		headSpec: {"1.0"}, headID: {e.ID}, headSource: {source}, headType: {e.Topic}, headData: {wireJSON},
		headTime: {time.Now().UTC().Format(time.RFC3339Nano)},
	}
	if e.Version > 0 {
		version := strconv.Itoa(e.Version)
		m.Header.Set(headType, e.Topic+typeVersion+version)
		m.Header.Set(headSchema, schemaPrefix+e.Topic+"/"+version)
	}
	if e.Key != "" {
		m.Header.Set(headKey, e.Key)
		m.Header.Set(headData, wireSealed)
	}
	return m
}

// An event of a registered schema has the type orders.placed.v2 and the dataschema polity:schemas/orders.placed/2; without one its type
// is the topic.
const (
	typeVersion  = ".v"
	schemaPrefix = "polity:schemas/"
)

// eventOf reads an event.
func eventOf(h nats.Header, data []byte, seq uint64, at time.Time) Event {
	e := Event{Seq: seq, Topic: h.Get(headType), ID: h.Get(headID), Source: h.Get(headSource), Key: h.Get(headKey), Data: data, At: at}
	if of, ok := strings.CutPrefix(h.Get(headSchema), schemaPrefix); ok {
		topic, version, _ := strings.Cut(of, "/")
		if n, err := strconv.Atoi(version); err == nil && n > 0 {
			e.Topic, e.Version = topic, n
		}
	}
	return e
}

// Last returns the oldest position that is kept, and that of the newest event; 0 if there is none.
func (t *Topics) Last(ctx context.Context) (first, last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	info, err := t.stream.Info(ctx)
	if err != nil {
		return 0, 0, fault.Unavailable.New("bus: topics: %w", err)
	}
	newest, err := t.stream.GetLastMsgForSubject(ctx, topicPrefix+">") // what is given out again is none
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return info.State.FirstSeq, 0, nil
	}
	if err != nil {
		return 0, 0, fault.Unavailable.New("bus: topics: %w", err)
	}
	return info.State.FirstSeq, newest.Sequence, nil
}

// Names returns the topics that have events that are kept, and how many.
func (t *Topics) Names(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	info, err := t.stream.Info(ctx, jetstream.WithSubjectFilter(topicPrefix+">"))
	if err != nil {
		return nil, fault.Unavailable.New("bus: topics: %w", err)
	}
	names := map[string]uint64{}
	for subject, n := range info.State.Subjects {
		names[strings.TrimPrefix(subject, topicPrefix)] = n
	}
	return names, nil
}

// Get returns the event at a position, or fault.NotFound.
func (t *Topics) Get(ctx context.Context, seq uint64) (Event, error) {
	return get(ctx, t.stream, seq)
}

func get(ctx context.Context, stream jetstream.Stream, seq uint64) (Event, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	m, err := stream.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Event{}, fault.NotFound.New("bus: no event at position %d", seq)
	case err != nil:
		return Event{}, fault.Unavailable.New("bus: read event %d: %w", seq, err)
	}
	return eventOf(m.Header, m.Data, m.Sequence, m.Time), nil
}

// Read returns up to most events on the topics of a pattern from a position on, or from a time on if that is not zero, in order.
func (t *Topics) Read(ctx context.Context, pattern string, from uint64, since time.Time, most int) ([]Event, error) {
	var list []Event
	err := t.b.batch(ctx, TopicsStream, topicPrefix+pattern, from, since, most, func(m *nats.Msg, seq uint64, at time.Time) error {
		list = append(list, eventOf(m.Header, m.Data, seq, at))
		return nil
	})
	return list, err
}

// batch reads messages of a stream without a consumer: NATS ADR-31.
func (b *Bus) batch(ctx context.Context, stream, subject string, from uint64, since time.Time, most int, each func(m *nats.Msg, seq uint64, at time.Time) error) error {
	ask := struct {
		Seq   uint64     `json:"seq,omitempty"`
		Since *time.Time `json:"start_time,omitempty"`
		Next  string     `json:"next_by_subj"`
		Batch int        `json:"batch"`
		Bytes int        `json:"max_bytes"`
	}{Seq: max(from, 1), Next: subject, Batch: min(most, ReadMax), Bytes: readBytesMax}
	if !since.IsZero() {
		ask.Seq, ask.Since = 0, &since
	}
	query, err := json.Marshal(ask)
	if err != nil {
		return fault.Internal.New("bus: read %s: %w", stream, err)
	}
	sub, err := b.nc.SubscribeSync(b.nc.NewRespInbox())
	if err != nil {
		return fault.Unavailable.New("bus: read %s: %w", stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone; then it is, too
	if err := b.nc.PublishRequest(b.requests+"DIRECT.GET."+stream, sub.Subject, query); err != nil {
		return fault.Unavailable.New("bus: read %s: %w", stream, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fault.Unavailable.New("bus: read %s: %w", stream, err)
		}
		switch m.Header.Get("Status") {
		case "204", "404": // the end, and nothing
			return nil
		case "":
		default:
			return fault.Unavailable.New("bus: read %s: %s %s", stream, m.Header.Get("Status"), m.Header.Get("Description"))
		}
		seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return fault.Internal.New("bus: read %s: a message without a position", stream)
		}
		at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
		if err != nil {
			return fault.Internal.New("bus: read %s: message %d without a time", stream, seq)
		}
		if err := each(m, seq, at); err != nil {
			return err
		}
	}
}

// Feed gives every event after a position to take, in order, until ctx ends (nil) or take fails (its error). It is the one consumer of the
// partition; up to feedPending events are fetched ahead of take.
func (t *Topics) Feed(ctx context.Context, after uint64, take func(Event) error) error {
	c, err := t.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{topicPrefix + ">"}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return fedUp(ctx, err)
	}
	messages, err := c.Messages(jetstream.PullMaxMessages(feedPending))
	if err != nil {
		return fedUp(ctx, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fedUp(ctx, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fault.Internal.New("bus: feed: %w", err)
		}
		if err := take(eventOf(m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)); err != nil {
			return err
		}
	}
}

func fedUp(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fault.Unavailable.New("bus: feed of topics: %w", err)
}
