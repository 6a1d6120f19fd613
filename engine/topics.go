package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/contract"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/run"
	"polity.run/internal/work"
)

const (
	deliverMax = 1024             // events on their way into the log at most: what is more waits in the stream
	feedAgain  = time.Second      // wait before a feed that broke begins anew
	waitMax    = 30 * time.Second // of a reader for news
	deadMax    = 1000             // letters that are looked at at once
)

// stream holds the node's events: one JetStream stream that everyone publishes to and reads from, and one feed of it into the partition, which gives events
// to the runs that await them. The streams are made when they are first needed: most nodes publish nothing.
type stream struct {
	bus     *bus.Bus
	part    *run.Partition
	catalog *catalog
	log     *slog.Logger

	ctx    context.Context // of the feed
	cancel context.CancelFunc
	fed    sync.WaitGroup

	mu      sync.Mutex
	stream  *bus.Topics // nil until it is opened
	taken   uint64
	waiting map[uint64][]chan error // publishers, by the position of what they published
	news    chan struct{}           // closed when something was taken

	book     sync.Mutex  // held while the bucket is written, which the partition never waits for
	bucket   *bus.Bucket // of what follows
	declared map[string]declared
	cursors  map[string]polity.TopicCursor
	uses     map[string]map[string]polity.TopicUse // by release and topic
	written  map[string]written                    // by topic: what was found out
}

type declared struct {
	polity.Topic
	check work.Check // nil without a schema
}

func newStream(b *bus.Bus, part *run.Partition, c *catalog, log *slog.Logger) *stream {
	t := &stream{bus: b, part: part, catalog: c, log: log, waiting: map[uint64][]chan error{}, news: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// resume opens the stream if there is one: it may hold what the partition has not taken.
func (t *stream) resume(ctx context.Context) error {
	there, err := t.bus.HasTopics(ctx)
	if err != nil || !there {
		return err
	}
	_, err = t.open(ctx)
	return err
}

// close ends the feed.
func (t *stream) close() {
	t.cancel()
	t.fed.Wait()
}

func (t *stream) open(ctx context.Context) (*bus.Topics, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stream != nil {
		return t.stream, nil
	}
	after, err := t.part.Taken(ctx)
	if err != nil {
		return nil, err
	}
	stream, lost, err := t.bus.Topics(ctx, after)
	if err != nil {
		return nil, err
	}
	if lost {
		t.log.Warn("the stream of topics ended before what runs were given; it begins anew, and what was kept of it is gone", "after", after)
	}
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	t.stream, t.taken = stream, after
	t.fed.Go(func() { t.feed(stream, after) })
	return stream, nil
}

// feed gives the partition every event, in order, and no more at a time than deliverMax.
func (t *stream) feed(stream *bus.Topics, after uint64) {
	room := make(chan struct{}, deliverMax)
	for {
		err := stream.Feed(t.ctx, after, func(e bus.Event) error {
			select {
			case room <- struct{}{}:
			case <-t.ctx.Done():
				return t.ctx.Err()
			}
			if !t.part.Deliver(unsealed(e), e.Key, func(err error) { <-room; t.took(e.Seq, err) }) {
				t.cancel() // the partition has ended
				return t.ctx.Err()
			}
			after = e.Seq
			return nil
		})
		if t.ctx.Err() != nil {
			return
		}
		t.log.Warn("the feed of topics broke and begins again", "error", err)
		select {
		case <-time.After(feedAgain):
		case <-t.ctx.Done():
			return
		}
	}
}

// took tells whoever published an event that runs have it.
func (t *stream) took(seq uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil || errors.Is(err, fault.Conflict) {
		t.taken = max(t.taken, seq)
	}
	for _, w := range t.waiting[seq] {
		w <- err
	}
	delete(t.waiting, seq)
	close(t.news)
	t.news = make(chan struct{})
}

// publish stores an event, and returns when runs that await it have it. Its Version is that of the topic's registered schema, 0 for
// the newest that every installed release understands. What a run says is enciphered as its payloads are; by is "" for whoever is no run.
func (t *stream) publish(ctx context.Context, by polity.RunID, e bus.Event) error {
	if e.Data == nil {
		e.Data = []byte("null")
	}
	before, err := t.part.Admit(ctx, e.Topic, e.ID, e.Data)
	if err != nil || before {
		return err
	}
	stream, err := t.open(ctx)
	if err != nil {
		return err
	}
	keep, err := t.conforms(&e)
	if err != nil {
		return err
	}
	data := e.Data
	if by != "" {
		if e.Key, e.Data, err = t.part.SealFor(ctx, by, data); err != nil {
			return err
		}
	}
	seq, again, err := stream.Publish(ctx, e, keep)
	if err != nil {
		return err
	}
	if again { // by another publisher at the same time, or before a crash
		if err := t.same(ctx, stream, seq, data); err != nil {
			return fault.Of(err).Kind.New("event %q on %s: %w", e.ID, e.Topic, err)
		}
	}
	return t.delivered(ctx, seq)
}

// same returns fault.Conflict if the event at a position says something else. One that is gone is taken for the same.
func (t *stream) same(ctx context.Context, stream *bus.Topics, seq uint64, data []byte) error {
	e, err := stream.Get(ctx, seq)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	said, err := t.part.Unseal(e.Key, e.Data)
	if err == nil && !bytes.Equal(said, data) {
		err = fault.Conflict.New("its id came before with something else")
	}
	return err
}

// conforms says whether an event's data is as its topic's schema says, and how long it is kept. It sets the version of an event
// of which none is said.
func (t *stream) conforms(e *bus.Event) (keep time.Duration, err error) {
	t.book.Lock()
	d := t.declared[e.Topic]
	if e.Version == 0 {
		e.Version = t.version(e.Topic)
	}
	t.book.Unlock()
	err = t.catalog.contracts.checkEvent(e.Topic, e.Version, e.Data)
	if err == nil && e.Version == 0 && d.check != nil { // declared by an earlier version of this program
		err = d.check(e.Data)
	}
	if err != nil {
		return 0, fault.Of(err).Kind.New("event on %s: %w; its schema: polity topics show %s", e.Topic, err, e.Topic)
	}
	return d.Keep, nil
}

// delivered waits until runs have the event at a position.
func (t *stream) delivered(ctx context.Context, seq uint64) error {
	t.mu.Lock()
	if seq <= t.taken {
		t.mu.Unlock()
		return nil
	}
	done := make(chan error, 1)
	t.waiting[seq] = append(t.waiting[seq], done)
	t.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.Cancelled.New("publish: the event is stored, and runs will have it: %w", context.Cause(ctx))
	case <-t.ctx.Done():
		return fault.Unavailable.New("publish: the node is stopping; the event is stored, and runs will have it: the same ID again is safe")
	}
}

// --- declarations and cursors

const (
	topicsBucket = "topics"
	declaredKey  = "declared."
	cursorKey    = "cursor."
	usePrefix    = "reader."
)

// load reads what is declared and the cursors.
func (t *stream) load(ctx context.Context) error {
	bucket, err := t.bus.Bucket(ctx, topicsBucket)
	if err != nil {
		return err
	}
	t.bucket, t.declared, t.cursors = bucket, map[string]declared{}, map[string]polity.TopicCursor{}
	t.uses, t.written = map[string]map[string]polity.TopicUse{}, map[string]written{}
	return bucket.Each(ctx, func(key string, value []byte) error {
		switch {
		case strings.HasPrefix(key, declaredKey):
			var d declared
			err := json.Unmarshal(value, &d.Topic)
			if err == nil {
				d.check, err = checkOf(d.Schema)
			}
			if err != nil {
				return fault.Damaged.New("topics: %s: %w", key, err)
			}
			t.declared[d.Topic.Topic] = d
		case strings.HasPrefix(key, cursorKey):
			var c polity.TopicCursor
			if err := json.Unmarshal(value, &c); err != nil {
				return fault.Damaged.New("topics: %s: %w", key, err)
			}
			t.cursors[c.Name] = c
		case strings.HasPrefix(key, usePrefix):
			var r polity.TopicUse
			if err := json.Unmarshal(value, &r); err != nil {
				return fault.Damaged.New("topics: %s: %w", key, err)
			}
			t.note(r)
		}
		return nil
	})
}

func checkOf(schema json.RawMessage) (work.Check, error) {
	if schema == nil {
		return nil, nil
	}
	return check(schema)
}

// declare keeps how a topic is declared. Its schema is registered, and not kept here.
func (t *stream) declare(ctx context.Context, topic polity.Topic) error {
	if err := topic.Check(); err != nil {
		return err
	}
	topic = polity.Topic{Topic: topic.Topic, Keep: topic.Keep, About: topic.About}
	t.book.Lock()
	defer t.book.Unlock()
	if _, known := t.declared[topic.Topic]; !known && len(t.declared) >= polity.TopicsMax {
		return fault.Full.New("%d topics are declared, which is the most", polity.TopicsMax)
	}
	if err := t.put(ctx, declaredKey+topic.Topic, topic); err != nil {
		return err
	}
	t.declared[topic.Topic] = declared{Topic: topic}
	return nil
}

func (t *stream) put(ctx context.Context, key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fault.Invalid.New("topics: %s: %w", key, err)
	}
	return t.bucket.Put(ctx, key, data)
}

func (t *stream) retract(ctx context.Context, topic string) error {
	t.book.Lock()
	defer t.book.Unlock()
	if _, known := t.declared[topic]; !known {
		return fault.NotFound.New("topic %q is not declared; see: polity topics list", topic)
	}
	if err := t.bucket.Delete(ctx, declaredKey+topic); err != nil {
		return err
	}
	delete(t.declared, topic)
	return nil
}

// keep moves a cursor. It goes back, too.
func (t *stream) keep(ctx context.Context, c polity.TopicCursor) error {
	if err := errors.Join(polity.CheckReader(c.Name), polity.CheckPattern(c.Topic)); err != nil {
		return err
	}
	t.book.Lock()
	defer t.book.Unlock()
	earlier, known := t.cursors[c.Name]
	switch {
	case known && earlier.Topic != c.Topic:
		return fault.Conflict.New("cursor %s reads %s, not %s: name another one", c.Name, earlier.Topic, c.Topic)
	case !known && len(t.cursors) >= polity.TopicCursorsMax:
		return fault.Full.New("there are %d cursors, which is the most: polity topics forget one", polity.TopicCursorsMax)
	case known && earlier == c:
		return nil
	}
	if err := t.put(ctx, cursorKey+c.Name, c); err != nil {
		return err
	}
	t.cursors[c.Name] = c
	return nil
}

func (t *stream) forget(ctx context.Context, name string) error {
	t.book.Lock()
	defer t.book.Unlock()
	if _, known := t.cursors[name]; !known {
		return fault.NotFound.New("no cursor %q; see: polity topics list", name)
	}
	if err := t.bucket.Delete(ctx, cursorKey+name); err != nil {
		return err
	}
	delete(t.cursors, name)
	return nil
}

// --- what is asked

// state says how the topics are.
func (t *stream) state(ctx context.Context, stream *bus.Topics) (*polity.Topics, error) {
	s := &polity.Topics{Topics: []polity.Topic{}, Groups: []polity.TopicGroup{}, Cursors: []polity.TopicCursor{}}
	var err error
	if s.First, s.Last, err = stream.Last(ctx); err != nil {
		return nil, err
	}
	names, err := stream.Names(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := stream.Groups(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		s.Groups = append(s.Groups, polity.TopicGroup{
			Name: g.Name, Topic: g.Pattern, Tries: g.Tries, Within: g.Within, Retry: g.Retry, Done: g.Done, Pending: g.Pending, Out: g.Out,
		})
	}
	t.mu.Lock()
	s.Taken = t.taken
	t.mu.Unlock()
	t.book.Lock()
	defer t.book.Unlock()
	for topic, d := range t.declared {
		d.Events = names[topic]
		delete(names, topic)
		s.Topics = append(s.Topics, d.Topic)
	}
	for topic, n := range names {
		s.Topics = append(s.Topics, polity.Topic{Topic: topic, Events: n})
	}
	for i := range s.Topics {
		topic := &s.Topics[i]
		if subject := t.catalog.contracts.subject(topic.Topic); subject != nil {
			topic.Schema, topic.Version, topic.Mode = subject.Versions[subject.Newest()-1].Schema, subject.Newest(), string(subject.Mode)
		}
		topic.Uses = t.usesOf(topic.Topic)
	}
	slices.SortFunc(s.Topics, func(a, b polity.Topic) int { return strings.Compare(a.Topic, b.Topic) })
	slices.SortFunc(s.Groups, func(a, b polity.TopicGroup) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range slices.Sorted(maps.Keys(t.cursors)) {
		s.Cursors = append(s.Cursors, t.cursors[name])
	}
	return s, nil
}

// read returns what was published after a position, and the position after it. math.MaxInt64 gives the last one.
func (t *stream) read(ctx context.Context, stream *bus.Topics, q polity.TopicRead) (list []polity.Published, next uint64, err error) {
	if err := polity.CheckPattern(q.Topic); err != nil {
		return nil, 0, err
	}
	if q.Most < 0 || q.Most > polity.TopicReadMax || q.Wait < 0 || q.Wait > waitMax {
		return nil, 0, fault.Invalid.New("topics: %d events within %s; want up to %d within %s", q.Most, q.Wait, polity.TopicReadMax, waitMax)
	}
	if q.Most == 0 {
		q.Most = polity.TopicReadMax
	}
	if q.After == math.MaxInt64 {
		_, last, err := stream.Last(ctx)
		return nil, last, err
	}
	timer := time.NewTimer(q.Wait)
	defer timer.Stop()
	for {
		t.mu.Lock()
		news := t.news
		t.mu.Unlock()
		events, err := stream.Read(ctx, q.Topic, q.After+1, q.Since, q.Most)
		next = q.After
		for i := 0; i < len(events) && err == nil; i++ {
			var p polity.Published
			if p, err = t.published(events[i]); err == nil {
				list = append(list, p)
			} else if errors.Is(err, fault.Erased) {
				err = nil
			} else {
				break
			}
			next = events[i].Seq
		}
		if err == nil || len(list) > 0 {
			var unread error
			if list, unread = t.asRead(list, q.Release); unread != nil {
				return nil, q.After, unread
			}
		}
		switch {
		case len(list) > 0: // what is unreadable behind them is told next time
			return list, next, nil
		case err != nil, q.Wait == 0 && len(events) == 0:
			return nil, next, err
		case len(events) > 0: // all of them were erased
			q.After, q.Since = next, time.Time{}
			continue
		}
		select {
		case <-news:
		case <-timer.C:
			return nil, next, nil
		case <-ctx.Done():
			return nil, next, fault.Cancelled.New("topics: %w", context.Cause(ctx))
		case <-t.ctx.Done():
			return nil, next, fault.Unavailable.New("topics: the node is stopping")
		}
	}
}

// published is an event as readers see it; fault.Erased for one that they are to pass over.
func (t *stream) published(e bus.Event) (polity.Published, error) {
	p := polity.Published{Topic: e.Topic, ID: e.ID, At: e.At, Seq: e.Seq, Version: e.Version}
	data, err := t.part.Unseal(e.Key, e.Data)
	if err != nil {
		return p, fault.Of(err).Kind.New("event %d on %s: %w", e.Seq, e.Topic, err)
	}
	p.Data = data
	return p, nil
}

// unsealed is an event as the partition takes it, which deciphers it itself.
func unsealed(e bus.Event) polity.Published {
	return polity.Published{Topic: e.Topic, ID: e.ID, Data: e.Data, At: e.At, Seq: e.Seq, Version: e.Version}
}

// asRead returns events as a release reads them.
func (t *stream) asRead(list []polity.Published, digest string) ([]polity.Published, error) {
	if digest == "" {
		return list, nil
	}
	d, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	r, err := t.catalog.release(d)
	if err != nil {
		return nil, err
	}
	for i := range list {
		e := &list[i]
		data, err := t.catalog.contracts.event(&r.doc, e.Topic, e.Version, e.Data)
		if e.Data = data; err != nil {
			e.Data, e.Unread = nil, fault.Of(fault.Invalid.New("event %q on %s: %w", e.ID, e.Topic, err))
		}
	}
	return list, nil
}

func (t *stream) take(ctx context.Context, stream *bus.Topics, q polity.TopicTake) ([]polity.TopicWork, error) {
	if err := polity.CheckReader(q.Group); err != nil {
		return nil, err
	}
	q.Most = max(q.Most, 1)
	if q.Most > polity.TopicReadMax || q.Wait < 0 || q.Wait > waitMax {
		return nil, fault.Invalid.New("take: %d events within %s; want up to %d, within %s", q.Most, q.Wait, polity.TopicReadMax, waitMax)
	}
	work, err := stream.Take(ctx, q.Group, q.Most, max(q.Wait, time.Millisecond))
	list := make([]polity.TopicWork, 0, len(work))
	for _, w := range work {
		p, unread := t.published(w.Event)
		switch {
		case unread == nil:
			list = append(list, polity.TopicWork{Published: p, Token: w.Token, Try: w.Try})
		case errors.Is(unread, fault.Erased): // nothing is left to be done
			err = errors.Join(err, stream.Settle(ctx, q.Group, w.Token, ""))
		default:
			err = errors.Join(err, unread)
		}
	}
	if len(list) > 0 {
		err = nil // what was given out is told; the rest is given out again
	}
	return list, err
}

// dead lists letters, gives them to their group again, or drops them.
func (t *stream) dead(ctx context.Context, stream *bus.Topics, q polity.TopicDead) (a polity.TopicsAnswer, err error) {
	if q.Group != "" {
		if err := polity.CheckReader(q.Group); err != nil {
			return a, err
		}
	}
	from := q.After + 1
	if q.Letter > 0 {
		from = q.Letter
	}
	letters, err := stream.Dead(ctx, q.Group, from, deadMax)
	if err != nil {
		return a, err
	}
	groups, err := groupNames(ctx, stream, q.Do)
	if err != nil {
		return a, err
	}
	for _, l := range letters {
		if q.Letter > 0 && l.Seq != q.Letter {
			break
		}
		switch q.Do {
		case "list":
			p, unread := t.published(l.Event)
			letter := polity.DeadLetter{Published: p, Letter: l.Seq, Group: l.Group, Reason: l.Reason, Tries: l.Tries}
			letter.Seq = l.Origin
			if unread != nil { // the letter can still be dropped
				letter.Reason += "; its data cannot be read: " + fault.Of(unread).Text
			}
			a.Letters = append(a.Letters, letter)
		case "replay":
			if !slices.Contains(groups, l.Group) {
				return a, fault.Conflict.New("letter %d is of %s, which is no group: see polity topics replay %s --from-seq %d --to-org MANIFEST", l.Seq, l.Group, l.Topic, l.Origin)
			}
			err = stream.Redo(ctx, l)
		case "drop":
			err = stream.Forget(ctx, l.Seq)
		default:
			err = fault.Invalid.New("dead letters: %.40q: want list, replay or drop", q.Do)
		}
		if err != nil {
			return a, err
		}
		a.Count++
	}
	if a.Count == 0 && q.Letter > 0 {
		return a, fault.NotFound.New("no dead letter %d; see: polity topics dead list", q.Letter)
	}
	return a, nil
}

// groupNames lists the groups, if letters are to be given to them.
func groupNames(ctx context.Context, stream *bus.Topics, do string) (names []string, err error) {
	if do != "replay" {
		return nil, nil
	}
	groups, err := stream.Groups(ctx)
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names, err
}

// ask does what is asked.
func (t *stream) ask(ctx context.Context, q polity.TopicsRequest) (a polity.TopicsAnswer, err error) {
	stream, err := t.open(ctx)
	if err != nil {
		return a, err
	}
	switch {
	case q.State:
		a.State, err = t.state(ctx, stream)
	case q.Read != nil:
		a.Events, a.Next, err = t.read(ctx, stream, *q.Read)
	case q.Declare != nil:
		err = t.declare(ctx, *q.Declare)
	case q.Unread != nil:
		err = t.bury(ctx, stream, *q.Unread)
	case q.Retract != "":
		err = t.retract(ctx, q.Retract)
	case q.Cursor != nil:
		err = t.keep(ctx, *q.Cursor)
	case q.Forget != "":
		err = t.forget(ctx, q.Forget)
	case q.Join != nil:
		g := q.Join.Or()
		if err = g.Check(); err == nil {
			err = stream.Join(ctx, bus.Group{Name: g.Name, Pattern: g.Topic, From: g.From, Since: g.Since, Tries: g.Tries, Within: g.Within, Retry: g.Retry})
		}
	case q.Release != "":
		err = t.forgetRelease(ctx, q.Release)
	case q.Leave != "":
		if err = polity.CheckReader(q.Leave); err == nil {
			err = stream.Drop(ctx, q.Leave)
		}
	case q.Take != nil:
		a.Work, err = t.take(ctx, stream, *q.Take)
	case q.Settle != nil:
		if err = polity.CheckReader(q.Settle.Group); err == nil {
			err = stream.Settle(ctx, q.Settle.Group, q.Settle.Token, q.Settle.Failed)
		}
	case q.Dead != nil:
		a, err = t.dead(ctx, stream, *q.Dead)
	default:
		err = fault.Invalid.New("topics: the request says nothing")
	}
	return a, err
}

// Topics does one thing with the node's topics: see polity.TopicsRequest. It returns fault.Invalid for what cannot be, fault.NotFound for what is not
// there, fault.Conflict for a cursor or a group of another topic, and fault.Full if there are too many of them.
func (e *Engine) Topics(ctx context.Context, q polity.TopicsRequest) (polity.TopicsAnswer, error) {
	if d := q.Declare; d != nil && len(d.Schema) > 0 {
		if err := d.Check(); err != nil {
			return polity.TopicsAnswer{}, err
		}
		if _, err := e.Register(ctx, contract.Registration{Subject: d.Topic, Version: contract.Version{Schema: d.Schema}}); err != nil {
			return polity.TopicsAnswer{}, err
		}
	}
	return e.topics.ask(ctx, q)
}

// Publish stores an event, and returns when it is durable and every run that awaits it now has it. The same id on the same topic again, among the last
// 10,000 events, is the same event: it counts once. version is that of the topic's registered schema which data was written for, 0 for the newest that
// every installed release understands. It returns fault.Invalid for what is no topic and for data that the schema refuses, fault.NotFound for a version that there is not, fault.Conflict if the id came with
// something else, and fault.Full if there is no room.
func (e *Engine) Publish(ctx context.Context, topic, id string, version int, data json.RawMessage) error {
	return e.topics.publish(ctx, "", bus.Event{Topic: topic, Version: version, ID: id, Data: data})
}

// publisher publishes what agents tell, once there is a partition: its effects begin before that is returned.
type publisher struct {
	ready  chan struct{}
	topics *stream // once ready is closed
	engine *Engine // likewise
}

func (p *publisher) open(e *Engine) {
	p.topics, p.engine = e.topics, e
	close(p.ready)
}

func (p *publisher) publish(ctx context.Context, by polity.RunID, e bus.Event) error {
	if p.ready == nil {
		return fault.Unavailable.New("publish: nobody can be told outside of a node; see: polity topics publish")
	}
	select {
	case <-p.ready:
		return p.topics.publish(ctx, by, e)
	case <-ctx.Done():
		return fault.Cancelled.New("publish: %w", context.Cause(ctx))
	}
}
