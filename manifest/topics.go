package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/contract"
	"polity.run/pattern"
	"polity.run/schema"
)

// topicName is a topic, or a pattern of topics.
type topicName string

var topicText = regexp.MustCompile(`^(\*|[a-z0-9_-]+)(\.(\*|[a-z0-9_-]+))*(\.>)?$|^>$`)

func (topicName) shape() shape {
	return shape{topicText, polity.TopicMax, "words of a-z, 0-9, '-' and '_', joined by dots; * stands for any one word, > at the end for one and more"}
}

// topic is agent.Topic.
type topic struct {
	About     string    `json:"about,omitempty" jsonschema:"What its events tell."`
	Schema    schemaUse `json:"schema,omitempty" jsonschema:"JSON Schema of what is published: written here, the name of a file in the manifest's folder, or type: and a type that is registered in the folder schemas. It is registered when the organization is installed. Left out it is what is registered already, if anything is."`
	Mode      modeName  `json:"mode,omitempty" jsonschema:"What the schema's next version may change; default backward: who reads it is upgraded first."`
	Declared  bool      `json:"declared,omitempty" jsonschema:"Whether writers write only what the schema declares, although it allows more. Then an optional property may be added."`
	Reads     versions  `json:"reads,omitempty" jsonschema:"Versions of the schema that the subscribers read, as in 1-3. Left out it is all up to the one of this manifest."`
	Key       string    `json:"key,omitempty" jsonschema:"Field of its events, as in data.order: on: handles those with the same value one after another, in order."`
	Keep      duration  `json:"keep,omitempty" jsonschema:"How long an event is kept, as in 24h; default and most 720h."`
	Publish   []word    `json:"publish,omitempty" jsonschema:"Agents that may publish on it."`
	Subscribe []word    `json:"subscribe,omitempty" jsonschema:"Agents that may await its events, or be asked about them."`
}

// modeName is a schema.Mode.
type modeName string

func (modeName) choices() (names []string) {
	for _, m := range schema.Modes() {
		names = append(names, string(m))
	}
	return names
}

// topics declares the topics of a release, once its agents are known.
func (b *builder) topics(r *agent.Release) {
	if len(b.file.Topics) > polity.TopicsMax {
		b.add("topics", fmt.Sprintf("%d topics are more than %d", len(b.file.Topics), polity.TopicsMax), "split the manifest")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(b.file.Topics)) {
		w, at := b.file.Topics[name], "topics"+keyPath(string(name))
		t := agent.Topic{
			Name: string(name), About: w.About, Mode: schema.Mode(w.Mode), Declared: w.Declared, Reads: string(w.Reads), Key: w.Key, Keep: polity.Duration(w.Keep),
			Publish: b.parties(w.Publish, at+".publish"), Subscribe: b.parties(w.Subscribe, at+".subscribe"),
		}
		if b.at.has(at + ".schema") {
			t.Schema = b.schema(w.Schema, at+".schema")
		}
		b.oneTopic(&t, &w, at)
		r.Topics = append(r.Topics, t)
	}
	if len(r.Topics) > 0 {
		b.heldTo(r)
	}
}

// heldTo reports who publishes or awaits what the topics do not let them.
func (b *builder) heldTo(r *agent.Release) {
	for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
		o := b.orgs[name]
		for i, s := range o.as.Stages {
			at := fmt.Sprintf("%s.stages[%d]", o.path, i)
			switch {
			case s.Publish != nil && s.Publish.Topic != "":
				b.denied(r.MayPublish(o.def.Name, s.Publish.Topic), at+".publish.topic")
				b.publishes(r, o, i, at)
			case s.Await != nil && s.Await.Topic != "":
				b.denied(r.MayAwait(o.def.Name, s.Await.Topic), at+".await.topic")
			}
		}
		for i, s := range o.as.Plan {
			if s.Await != nil && s.Await.Topic != "" {
				b.denied(r.MayAwait(o.def.Name, s.Await.Topic), fmt.Sprintf("%s.plan[%d].await.topic", o.path, i))
			}
		}
	}
	for _, name := range b.agentNames() {
		tools := b.file.Agents[word(name)].Tools
		i := slices.Index(tools, pattern.PublishTool)
		if i >= 0 && !slices.ContainsFunc(r.Topics, func(t agent.Topic) bool { return slices.Contains(t.Publish, polity.AgentName(name)) }) {
			b.add(fmt.Sprintf("agents%s.tools[%d]", keyPath(name), i), "agent "+name+" may publish on no topic", "add it to publish: of a topic, or delete the tool")
		}
	}
}

// denied reports a right that is missing.
func (b *builder) denied(err error, at string) {
	if err != nil && !b.log.doubts("topics") {
		b.add(at, oneLine(err), "write topics: so that it may, or name another topic")
	}
}

// publishes warns where a stage publishes what is not shown to fit the topic's schema.
func (b *builder) publishes(r *agent.Release, o *org, stage int, at string) {
	t := r.Topic(o.as.Stages[stage].Publish.Topic)
	if t == nil || len(t.Schema) == 0 || stage == 0 {
		return
	}
	before := o.as.Stages[stage-1]
	skill := b.skillOf(&pattern.Stage{Agent: polity.AgentName(before.Agent), Skill: string(before.Skill)})
	if skill == nil || len(skill.Output) == 0 {
		return
	}
	list, err := schema.Fits(schema.Side{Name: string(before.Agent), Schema: skill.Output}, schema.Side{Name: t.Name, Schema: t.Schema}, true)
	if err == nil && len(list) > 0 {
		b.log.warn(b.at.place(at), at, fmt.Sprintf("what %s answers is not shown to fit topic %s: at %s: %s", before.Agent, t.Name, list[0].Path, list[0].Text),
			"change one of the two schemas")
	}
}

// parties are the agents that may do something.
func (b *builder) parties(names []word, at string) []polity.AgentName {
	var list []polity.AgentName
	for i, name := range names {
		path := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case name == "" || b.log.doubts("agents"+keyPath(string(name))):
		case b.defs[string(name)] == nil:
			b.unknown(path, "no agent", string(name), slices.Sorted(maps.Keys(b.defs)))
		case slices.Contains(list, polity.AgentName(name)):
			b.add(path, "agent "+shown(string(name))+" is listed already", "delete one")
		default:
			list = append(list, polity.AgentName(name))
		}
	}
	slices.Sort(list)
	return list
}

// oneTopic checks what is declared of a topic.
func (b *builder) oneTopic(t *agent.Topic, w *topic, at string) {
	if strings.ContainsAny(t.Name, "*>") {
		for _, field := range []string{"schema", "mode", "declared", "reads", "key", "keep"} {
			if b.at.has(at + "." + field) {
				b.add(at+"."+field, "a pattern stands for topics with schemas of their own", "declare each topic by its name, or delete this")
			}
		}
		return
	}
	text, isType := strings.CutPrefix(w.Schema.file, typePrefix)
	switch {
	case b.log.doubts(at):
		return
	case len(t.Schema) > 0 && contract.CheckName(t.Name) != nil:
		b.add(at, oneLine(contract.CheckName(t.Name)), "name the topic otherwise")
	case len(t.Schema) > polity.TopicSchemaMax:
		b.add(at+".schema", fmt.Sprintf("the schema has %d bytes; the most is %d", len(t.Schema), polity.TopicSchemaMax), "shorten it")
	case len(t.Schema) == 0 && (t.Mode != "" || t.Declared):
		b.add(at, "mode and declared say what a schema may change, and there is none", "add schema:, or delete them")
	case isType && !strings.HasPrefix(text, t.Name+".v"):
		b.add(at+".schema", "this type is of another topic", "write "+typePrefix+t.Name+".vN")
	case t.Reads != "" && len(t.Subscribe) == 0:
		b.add(at+".reads", "nobody subscribes to the topic", "add subscribe:, or delete this")
	}
	if t.Reads != "" {
		if _, err := schema.ParseRange(t.Reads); err != nil {
			b.add(at+".reads", oneLine(err), "")
		}
	}
	if t.Key != "" {
		if err := polity.CheckField(t.Key); err != nil {
			b.add(at+".key", oneLine(err), "")
		}
	}
	if err := (polity.Topic{Topic: t.Name, Keep: time.Duration(t.Keep), About: t.About}).Check(); err != nil {
		b.add(at, oneLine(err), "")
	}
}
