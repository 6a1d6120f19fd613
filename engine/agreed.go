package engine

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/contract"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/schema"
	"polity.run/tool"
	"polity.run/tool/topics"
)

// --- what is registered, in memory: events and signals are read by the partition, which asks no store

// load reads what is registered.
func (c *contracts) load(ctx context.Context) error {
	c.subjects, c.readers = map[string]*contract.Subject{}, map[readerKey]*contract.Reader{}
	store, err := c.existing(ctx)
	if err != nil || store == nil {
		return err
	}
	list, err := store.List(ctx)
	for i := range list {
		c.subjects[list[i].Name] = &list[i]
	}
	return err
}

// know keeps a subject that was registered.
func (c *contracts) know(s *contract.Subject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subjects[s.Name] = s
}

// subject returns what is registered of a name, or nil. It does not change.
func (c *contracts) subject(name string) *contract.Subject {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subjects[name]
}

// readerKey is what a reader is made of: a subject, and the versions that are read, or the schema that is used.
type readerKey struct{ name, reads, uses string }

// reader returns what reads versions of a subject: those that reads says, or all up to the one that a schema is. It is nil if nothing is registered.
func (c *contracts) reader(name, reads string, uses json.RawMessage) (*contract.Reader, error) {
	key := readerKey{name, reads, string(uses)}
	c.mu.Lock()
	s, r := c.subjects[name], c.readers[key]
	c.mu.Unlock()
	if s == nil || r != nil {
		return r, nil
	}
	want, err := versionsOf(s, reads, uses)
	if err != nil {
		return nil, err
	}
	if r, err = s.Reader(want); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subjects[name] == s {
		c.readers[key] = r
	}
	return r, nil
}

// versionsOf returns the versions of a subject that are read by whoever says so, or uses a schema.
func versionsOf(s *contract.Subject, reads string, uses json.RawMessage) (schema.Range, error) {
	if reads != "" {
		return schema.ParseRange(reads)
	}
	to, err := s.Uses(uses)
	return schema.Range{From: 1, To: to}, err
}

// checkEvent checks data that is to be published, and returns the version that it is of: the given one, or the newest for 0. It is 0 where
// nothing is registered.
func (c *contracts) checkEvent(topic string, version int, data json.RawMessage) (int, error) {
	s := c.subject(topic)
	switch {
	case s == nil && version > 0:
		return 0, fault.NotFound.New("it is of version %d, and no schema is registered", version)
	case s == nil:
		return 0, nil
	case version == 0:
		version = s.Newest()
	}
	exactly := schema.Range{From: version, To: version}
	r, err := c.reader(topic, exactly.String(), nil)
	if err != nil {
		return 0, err
	}
	_, err = r.Read(version, data)
	return version, err
}

// event returns an event's data as a release reads it.
func (c *contracts) event(release *agent.Release, topic string, version int, data json.RawMessage) (json.RawMessage, error) {
	t := release.Topic(topic)
	if t == nil || len(t.Schema) == 0 && t.Reads == "" {
		return data, nil
	}
	r, err := c.reader(topic, t.Reads, t.Schema)
	if err == nil && r != nil {
		data, err = r.Take(version, data)
	}
	if err != nil {
		return nil, fault.Of(err).Kind.New("release %s: %w", release.Name, err)
	}
	return data, nil
}

// --- what a release does with topics and signals

// events gives an agent's program what it needs to be told events and signals.
func (c *catalog) events(r *release, e *entry) {
	declared := e.def.Signals
	e.program.Told = func(name string, version int, data json.RawMessage) (json.RawMessage, error) {
		reader, err := c.contracts.reader(contract.SignalSubject(string(e.def.Name), name), "", declared[name])
		if err != nil {
			return nil, err
		}
		if reader == nil {
			return nil, fault.NotFound.New("nothing is registered of signal %s of agent %s; leave the version out", name, e.def.Name)
		}
		return reader.Take(version, data)
	}
	if len(r.doc.Topics) == 0 {
		return
	}
	e.program.Topic = func(pattern string) error { return r.doc.MayAwait(e.def.Name, pattern) }
	e.program.Event = func(topic string, version int, data json.RawMessage) (json.RawMessage, error) {
		return c.contracts.event(&r.doc, topic, version, data)
	}
}

// equipTopics gives a release that declares topics the tool that publishes on those alone, and in the versions that it was written for.
func (c *catalog) equipTopics(r *release) error {
	if len(r.doc.Topics) == 0 {
		return nil
	}
	tools, err := topics.Tools(func(ctx context.Context, call tool.Call, e topics.Event) error {
		if err := r.doc.MayPublish(polity.AgentName(call.Agent), e.Topic); err != nil {
			return err
		}
		version := 0
		if t, s := r.doc.Topic(e.Topic), c.contracts.subject(e.Topic); t != nil && len(t.Schema) > 0 && s != nil {
			uses, err := s.Uses(t.Schema)
			if err != nil {
				return err
			}
			version = uses
		}
		return c.topics.publish(ctx, bus.Event{Topic: e.Topic, Version: version, ID: call.Key, Data: e.Data})
	})
	if err != nil {
		return err
	}
	made := &catalog{cfg: c.cfg} // the name is built in: it is meant to be replaced
	for _, t := range tools {
		if err := made.addTool(r.tools, t); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes for an agent of a release that declares no topics.
func (c *catalog) publish(ctx context.Context, call tool.Call, e topics.Event) error {
	return c.topics.publish(ctx, bus.Event{Topic: e.Topic, ID: call.Key, Data: e.Data})
}

// registration asks for a topic's schema to be registered.
func registration(t *agent.Topic) contract.Registration {
	q := contract.Registration{Subject: t.Name, Version: contract.Version{Schema: t.Schema}}
	if t.Mode != "" || t.Declared {
		q.Policy = &schema.Policy{Mode: t.Mode, Declared: t.Declared}
		if t.Mode == "" {
			q.Policy.Mode = contract.DefaultMode(t.Name)
		}
	}
	return q
}

// --- when a release is installed

// agree registers the schemas of a release's topics, once it is known that nobody would break, and keeps what the release reads and how long
// events are kept.
func (e *Engine) agree(ctx context.Context, r *agent.Release) error {
	if len(r.Topics) == 0 {
		return nil
	}
	if err := polity.CheckReader(r.Name); err != nil {
		return fault.Invalid.New("release %s declares topics: %w", r.Name, err)
	}
	e.contracts.registering.Lock()
	defer e.contracts.registering.Unlock()
	store, err := e.contracts.open(ctx)
	if err != nil {
		return err
	}
	var wanted []contract.Registration
	reads := map[string]polity.TopicReader{}
	var problems []error
	for i := range r.Topics {
		t := &r.Topics[i]
		next, isNew, err := e.tried(ctx, store, r.Name, t)
		if err == nil && isNew {
			wanted = append(wanted, registration(t))
		}
		if err == nil {
			err = understands(t, next, reads, r.Name)
		}
		if err != nil {
			problems = append(problems, fault.Of(err).Kind.New("release %s: topic %s: %w", r.Name, t.Name, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for _, q := range wanted {
		if _, err := e.register(ctx, q); err != nil {
			return err
		}
	}
	return e.topics.agreed(ctx, r, reads)
}

// tried returns a topic's subject as it will be, nil for none, and whether the release has a version that is new.
func (e *Engine) tried(ctx context.Context, store *contract.Store, release string, t *agent.Topic) (next *contract.Subject, isNew bool, err error) {
	if strings.ContainsAny(t.Name, "*>") {
		return nil, false, nil
	}
	s, err := store.Subject(ctx, t.Name)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, false, err
	}
	if len(t.Schema) == 0 {
		return s, false, nil
	}
	q := registration(t)
	if s != nil {
		if q.Policy != nil && *q.Policy != s.Policy {
			return nil, false, fault.Conflict.New("it is registered with mode %s (declared: %t), and the release says %s (declared: %t); polity schemas register --mode changes it",
				s.Mode, s.Declared, q.Policy.Mode, q.Policy.Declared)
		}
		if _, err := s.Uses(t.Schema); err == nil || !errors.Is(err, fault.NotFound) {
			return s, false, err
		}
	}
	if next, err = store.Try(ctx, q); err == nil {
		err = e.served(ctx, next, release)
	}
	return next, true, err
}

// served says whether all installed releases that subscribe to a topic, but one, understand its newest version.
func (e *Engine) served(ctx context.Context, s *contract.Subject, but string) error {
	readers, err := e.topics.readersOf(ctx, s.Name)
	if err != nil {
		return err
	}
	for _, r := range readers {
		want, err := schema.ParseRange(r.Reads)
		if err == nil && r.Release != but {
			err = s.Serves(want.To)
		}
		if err != nil {
			return fault.Of(err).Kind.New("release %s reads versions %s of %s: %w\n  install one that reads it first; if nobody watches it any more: polity topics forget %s --release",
				r.Release, r.Reads, s.Name, err, r.Release)
		}
	}
	return nil
}

// understands notes which versions a release reads of a topic, and says whether it understands the newest.
func understands(t *agent.Topic, s *contract.Subject, reads map[string]polity.TopicReader, release string) error {
	if len(t.Subscribe) == 0 || len(t.Schema) == 0 && t.Reads == "" {
		return nil
	}
	if s == nil {
		return fault.NotFound.New("it reads versions %s, and none is registered: install the release that publishes first, or name the schema", t.Reads)
	}
	want, err := versionsOf(s, t.Reads, t.Schema)
	if err != nil {
		return err
	}
	if _, err := s.Version(want.To); err != nil {
		return err
	}
	reads[t.Name] = polity.TopicReader{Release: release, Topic: t.Name, Reads: want.String()}
	return s.Serves(want.To)
}

// agreed keeps what a release says of topics.
func (t *stream) agreed(ctx context.Context, r *agent.Release, reads map[string]polity.TopicReader) error {
	if _, err := t.open(ctx); err != nil {
		return err
	}
	for i := range r.Topics {
		one := &r.Topics[i]
		t.book.Lock()
		d := t.declared[one.Name]
		t.book.Unlock()
		keep := time.Duration(one.Keep)
		if strings.ContainsAny(one.Name, "*>") || keep == 0 && one.About == "" || d.Keep == keep && d.About == one.About {
			continue
		}
		if err := t.declare(ctx, polity.Topic{Topic: one.Name, Keep: keep, About: one.About}); err != nil {
			return err
		}
	}
	t.book.Lock()
	defer t.book.Unlock()
	for topic := range t.readers[r.Name] {
		if _, still := reads[topic]; !still {
			if err := t.bucket.Delete(ctx, readerKeys+r.Name+"."+topic); err != nil {
				return err
			}
			delete(t.readers[r.Name], topic)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(reads)) {
		if t.readers[r.Name][topic] == reads[topic] {
			continue
		}
		if err := t.put(ctx, readerKeys+r.Name+"."+topic, reads[topic]); err != nil {
			return err
		}
		t.note(reads[topic])
	}
	return nil
}

func (t *stream) note(r polity.TopicReader) {
	if t.readers[r.Release] == nil {
		t.readers[r.Release] = map[string]polity.TopicReader{}
	}
	t.readers[r.Release][r.Topic] = r
}

// readersOf returns the releases that subscribe to a topic, in the order of their names.
func (t *stream) readersOf(ctx context.Context, topic string) ([]polity.TopicReader, error) {
	if t == nil { // the node is opening, and registers nothing
		return nil, nil
	}
	if there, err := t.bus.HasBucket(ctx, topicsBucket); err != nil || !there {
		return nil, err
	}
	if _, err := t.open(ctx); err != nil {
		return nil, err
	}
	t.book.Lock()
	defer t.book.Unlock()
	var list []polity.TopicReader
	for _, release := range slices.Sorted(maps.Keys(t.readers)) {
		if r, reads := t.readers[release][topic]; reads {
			list = append(list, r)
		}
	}
	return list, nil
}

// unread forgets what a release reads.
func (t *stream) unread(ctx context.Context, release string) error {
	t.book.Lock()
	defer t.book.Unlock()
	if len(t.readers[release]) == 0 {
		return fault.NotFound.New("release %q subscribes to no topic in versions; see: polity topics list", release)
	}
	for topic := range t.readers[release] {
		if err := t.bucket.Delete(ctx, readerKeys+release+"."+topic); err != nil {
			return err
		}
	}
	delete(t.readers, release)
	return nil
}

// bury makes a dead letter of an event that a reader does not understand.
func (t *stream) bury(ctx context.Context, stream *bus.Topics, u polity.TopicUnread) error {
	if err := polity.CheckReader(u.Reader); err != nil {
		return err
	}
	e, err := stream.Get(ctx, u.Seq)
	if err != nil {
		return err
	}
	return stream.Bury(ctx, u.Reader, e, 1, u.Reason)
}
