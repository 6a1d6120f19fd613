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
	"polity.run/internal/run"
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

// checkEvent checks data of a version, 0 for none, that is to be published.
func (c *contracts) checkEvent(topic string, version int, data json.RawMessage) error {
	if version == 0 {
		return nil
	}
	exactly := schema.Range{From: version, To: version}
	r, err := c.reader(topic, exactly.String(), nil)
	if err == nil && r == nil {
		err = fault.NotFound.New("it is of version %d, and no schema is registered", version)
	}
	if err == nil {
		_, err = r.Read(version, data)
	}
	return err
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
	if def := e.def; def.Kind == agent.KindGo && c.agents[def.Go.Use] != nil {
		declared = c.agents[def.Go.Use].Signals // of the code, as those that are checked
	}
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
		return c.topics.publish(ctx, call.Run, bus.Event{Topic: e.Topic, Version: version, ID: call.Key, Data: e.Data})
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
	return c.topics.publish(ctx, call.Run, bus.Event{Topic: e.Topic, ID: call.Key, Data: e.Data})
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

// agree registers the schemas of a release's topics, once it is known that it and the other installed releases understand each other, and keeps what it does
// with topics and how long events are kept.
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
	if _, err := e.topics.open(ctx); err != nil {
		return err
	}
	var wanted []contract.Registration
	uses := map[string]polity.TopicUse{}
	var problems []error
	for i := range r.Topics {
		t := &r.Topics[i]
		s, isNew, err := tried(ctx, store, t)
		if err == nil && isNew {
			wanted = append(wanted, registration(t))
		}
		if err == nil {
			uses[t.Name], err = e.topics.understand(ctx, r.Name, t, s)
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
	return e.topics.agreed(ctx, r, uses)
}

// tried returns a topic's subject as it will be, nil for none, and whether a release brings a version that is new.
func tried(ctx context.Context, store *contract.Store, t *agent.Topic) (s *contract.Subject, isNew bool, err error) {
	if strings.ContainsAny(t.Name, "*>") || len(t.Schema) == 0 && t.Reads == "" {
		return nil, false, nil
	}
	s, err = store.Subject(ctx, t.Name)
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
	s, err = store.Try(ctx, q)
	return s, true, err
}

// understand returns what a release does with a topic, and says whether it and all others that are installed understand what each other write.
func (t *stream) understand(ctx context.Context, release string, topic *agent.Topic, s *contract.Subject) (polity.TopicUse, error) {
	use := polity.TopicUse{Release: release, Topic: topic.Name}
	switch {
	case s == nil && topic.Reads != "":
		return use, fault.NotFound.New("it reads versions %s, and none is registered: install first who publishes, or register the schema", topic.Reads)
	case s == nil:
		return use, nil
	}
	if len(topic.Subscribe) > 0 {
		reads, err := versionsOf(s, topic.Reads, topic.Schema)
		if err == nil {
			_, err = s.Version(reads.To)
		}
		if err != nil {
			return use, err
		}
		use.Reads = reads.String()
	}
	if len(topic.Publish) > 0 && len(topic.Schema) > 0 {
		writes, err := s.Uses(topic.Schema)
		if err != nil {
			return use, err
		}
		use.Writes = writes
	}
	t.book.Lock()
	before := t.uses[release][topic.Name]
	others := slices.DeleteFunc(t.usesOf(topic.Name), func(u polity.TopicUse) bool { return u.Release == release })
	t.book.Unlock()
	for _, other := range append(others, use) {
		if err := errors.Join(understands(s, use, other), understands(s, other, use)); err != nil {
			return use, err
		}
	}
	if use.Writes == 0 || use.Writes == before.Writes {
		return use, nil
	}
	return use, t.understood(ctx, use, s)
}

// understood says whether the runs that wait for a topic's events, of whatever release, understand a version that nobody wrote before.
func (t *stream) understood(ctx context.Context, use polity.TopicUse, s *contract.Subject) error {
	waits, err := t.part.Awaiting(ctx, use.Topic)
	if err != nil {
		return err
	}
	for program, n := range waits {
		r := t.catalog.releaseOf(program)
		if r == nil || r.Topic(use.Topic) == nil {
			continue // it takes what comes
		}
		one := r.Topic(use.Topic)
		if len(one.Schema) == 0 && one.Reads == "" {
			continue
		}
		reads, err := versionsOf(s, one.Reads, one.Schema)
		if err == nil {
			err = s.Understood(use.Writes, reads)
		}
		if err != nil {
			return fault.Of(err).Kind.New("release %s writes version %d, and %d runs of release %s wait that read %s: %w\n  let them end, or cancel them: polity runs list --status running",
				use.Release, use.Writes, n, r.Name, reads, err)
		}
	}
	return nil
}

// releaseOf returns the release that a program is of, or nil.
func (c *catalog) releaseOf(p *run.Program) *agent.Release {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, r := range c.releases {
		for _, e := range r.agents {
			if e.program == p {
				return &r.doc
			}
		}
	}
	return nil
}

// understands says whether a reader of a topic understands a writer.
func understands(s *contract.Subject, reader, writer polity.TopicUse) error {
	if reader.Reads == "" || writer.Writes == 0 {
		return nil
	}
	reads, err := schema.ParseRange(reader.Reads)
	if err == nil {
		err = s.Understood(writer.Writes, reads)
	}
	if err != nil {
		return fault.Of(err).Kind.New("release %s writes version %d, and release %s reads %s: %w\n  install first who reads it; what is not used any more: polity topics forget NAME --release",
			writer.Release, writer.Writes, reader.Release, reader.Reads, err)
	}
	return nil
}

// agreed keeps what a release says of topics, and does with them.
func (t *stream) agreed(ctx context.Context, r *agent.Release, uses map[string]polity.TopicUse) error {
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
	for _, topic := range slices.Sorted(maps.Keys(uses)) {
		use := uses[topic]
		if use.Reads == "" && use.Writes == 0 {
			delete(uses, topic)
		} else if t.uses[r.Name][topic] != use {
			if err := t.put(ctx, usePrefix+r.Name+"."+topic, use); err != nil {
				return err
			}
			t.note(use)
		}
	}
	return t.unuse(ctx, r.Name, uses)
}

func (t *stream) note(u polity.TopicUse) {
	if t.uses[u.Release] == nil {
		t.uses[u.Release] = map[string]polity.TopicUse{}
	}
	t.uses[u.Release][u.Topic] = u
	t.written = map[string]written{}
}

// unuse forgets what a release did with topics, but for some of them.
func (t *stream) unuse(ctx context.Context, release string, but map[string]polity.TopicUse) error {
	for topic := range t.uses[release] {
		if _, still := but[topic]; still {
			continue
		}
		if err := t.bucket.Delete(ctx, usePrefix+release+"."+topic); err != nil {
			return err
		}
		delete(t.uses[release], topic)
	}
	t.written = map[string]written{}
	return nil
}

// forgetRelease forgets what a release that is not used any more did with topics.
func (t *stream) forgetRelease(ctx context.Context, release string) error {
	t.book.Lock()
	defer t.book.Unlock()
	if len(t.uses[release]) == 0 {
		return fault.NotFound.New("release %q reads and writes no version of a topic; see: polity topics list", release)
	}
	return t.unuse(ctx, release, nil)
}

// usesOf returns what installed releases do with a topic, in the order of their names.
func (t *stream) usesOf(topic string) (list []polity.TopicUse) {
	for _, release := range slices.Sorted(maps.Keys(t.uses)) {
		if u, uses := t.uses[release][topic]; uses {
			list = append(list, u)
		}
	}
	return list
}

// written is the version that data is of where nobody says so, of a subject as it was.
type written struct {
	subject *contract.Subject
	version int
}

// version returns the version that an event is of where nobody says so: the newest that every installed release understands, or the newest
// of all if there is none; 0 where nothing is registered.
func (t *stream) version(topic string) int {
	s := t.catalog.contracts.subject(topic)
	if s == nil {
		return 0
	}
	if w := t.written[topic]; w.subject == s {
		return w.version
	}
	uses := t.usesOf(topic)
	version := s.Newest()
	for v := s.Newest(); v > 0; v-- {
		writer := polity.TopicUse{Writes: v}
		if !slices.ContainsFunc(uses, func(u polity.TopicUse) bool { return understands(s, u, writer) != nil }) {
			version = v
			break
		}
	}
	t.written[topic] = written{s, version}
	return version
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
