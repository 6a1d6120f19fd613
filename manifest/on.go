package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/environ"
	"polity.run/fault"
)

// OnMax is how many sources of requests a manifest may declare.
const OnMax = 100

const keyMax = 64 // bytes of a key's value; of a longer one its hash is the key

// On is a source of requests: what polity watch watches, and who is asked about it. It is no part of the release: what is
// watched is not what is run.
type On struct {
	Agent string // never ""
	Skill string // "" is the agent's only one
	// Input is a JSON object. For a schedule it is the request's input; for the others its fields are added to what was observed,
	// which it does not replace. Nil for what was observed alone.
	Input json.RawMessage
	In    string // folder that the run may read; "" is the watched one, or none

	// One of these is set.
	Folder   *environ.Folder
	Schedule *environ.Schedule
	Topic    string // pattern of topics; what follows belongs to it
	Where    string // condition on its events: polity.ParseWhere
	By       string // field of them, of which those with the same value are handled one after another: polity.CheckField
	Batch    int    // events that are one request at most, if they were published Within a time of the first; 0 for each alone
	Within   time.Duration
	Lines    bool // of standard input
}

// catchUpWord is an environ.CatchUp.
type catchUpWord string

func (catchUpWord) choices() []string {
	return environ.CatchUps()
}

// occasion is On.
type occasion struct {
	Folder  string            `json:"folder,omitempty" jsonschema:"Folder whose new and changed files are requests, relative to the manifest's folder."`
	Files   string            `json:"files,omitempty" of:"folder" jsonschema:"Which files of it, as in *.eml; default all but those that begin with a dot."`
	Deleted bool              `json:"deleted,omitempty" of:"folder" jsonschema:"Whether a file that is gone is a request, too."`
	SizeMax size              `json:"size_max,omitempty" of:"folder" jsonschema:"Most bytes of a file; a larger one is left out. Default 64MiB."`
	Every   duration          `json:"every,omitempty" jsonschema:"Time between two requests, as in 1h. They are made at its multiples, counted from a Monday's midnight in UTC."`
	Cron    string            `json:"cron,omitempty" jsonschema:"Calendar of five fields: minute, hour, day of the month, month, day of the week, as in 0 9 * * 1-5."`
	Zone    string            `json:"zone,omitempty" of:"cron" jsonschema:"Time zone of it, as in Europe/Berlin; default UTC."`
	CatchUp catchUpWord       `json:"catch_up,omitempty" of:"every,cron" jsonschema:"What becomes of the times at which nobody watched: none, one request for the last of them, or all since it was first watched, at most 100; default none."`
	Topic   string            `json:"topic,omitempty" jsonschema:"Topic whose events are requests, as in orders.placed; * stands for any one word of it, and > at the end for one and more."`
	Where   string            `json:"where,omitempty" of:"topic,webhook" jsonschema:"Condition on its events, or on the bodies of its requests, as in data.total > 100; default all of them."`
	Key     string            `json:"key,omitempty" of:"topic" jsonschema:"Field of its events, as in data.order: those with the same value are handled one after another, in order. The skill that is asked needs arrival: queue."`
	Batch   *batch            `json:"batch,omitempty" of:"topic" jsonschema:"How many events are one request."`
	Webhook word              `json:"webhook,omitempty" jsonschema:"Name of a webhook, by which another service has runs opened: signed requests to /v1/hooks/ORGANIZATION.NAME/in of the server that the organization is installed on."`
	Secret  string            `json:"secret_env,omitempty" of:"webhook" jsonschema:"Environment variable of the server that holds the secret by which its requests are signed. The secret itself never stands here."`
	Window  duration          `json:"window,omitempty" of:"webhook" jsonschema:"How far the time of a request may be off, up to 1h; default 5m."`
	Fields  map[string]string `json:"fields,omitempty" of:"webhook" jsonschema:"Fields of what is asked, each with the part of the request's body that it is, as in {order: data.order.id}. Left out the body is what is asked."`
	Lines   bool              `json:"lines,omitempty" jsonschema:"Whether each line of standard input is a request."`
	Agent   word              `json:"agent,omitempty" jsonschema:"Agent that is asked; default the one that a request goes to."`
	Skill   word              `json:"skill,omitempty" jsonschema:"Skill that is asked of it; it may be left out if the agent has one."`
	Input   value             `json:"input,omitempty" jsonschema:"Object that is asked, with every and cron; with folder, topic, webhook and lines its fields are added to what was observed."`
	In      string            `json:"in,omitempty" jsonschema:"Folder that the run may read, relative to the manifest's folder; default the watched one."`
}

// batch says which events of a topic are one request.
type batch struct {
	Max    *int     `json:"max,omitempty" jsonschema:"Most events of one request, up to 1000; default 100."`
	Within duration `json:"within" jsonschema:"Time since the first of them in which the others were published, as in 5s; up to 1h."`
}

// occasionKinds are the fields that tell what is watched.
var occasionKinds = []string{"folder", "every", "cron", "topic", "webhook", "lines"}

// on builds what the manifest wants watched, once the agents are known.
func (b *builder) on(r *agent.Release) []On {
	if len(b.file.On) > OnMax {
		b.add("on", fmt.Sprintf("%d sources are more than %d", len(b.file.On), OnMax), "split the manifest")
		return nil
	}
	var list []On
	first := map[string]int{}
	for i := range b.file.On {
		w, at := &b.file.On[i], fmt.Sprintf("on[%d]", i)
		if !b.at.isMapping(at) || !b.oneKind(at) {
			continue
		}
		if b.at.has(at + ".webhook") {
			b.hook(w, at, r)
			continue
		}
		o := b.occasion(w, at, r)
		key := o.Key()
		if w.Lines {
			key = "lines" // there is one standard input
		}
		if at0, twice := first[key]; twice && !b.log.doubts(at) {
			b.add(at, fmt.Sprintf("this is on[%d] again", at0), "delete one")
		}
		first[key] = i
		list = append(list, o)
	}
	return list
}

// oneKind says whether exactly one thing is watched, with no fields of another.
func (b *builder) oneKind(at string) bool {
	var told []string
	for _, field := range occasionKinds {
		if b.at.has(at + "." + field) {
			told = append(told, field)
		}
	}
	switch {
	case len(told) == 0 && b.log.doubts(at):
		return false // a misspelled one was reported
	case len(told) == 0:
		b.add(at, "nothing says what is watched", "add one of "+strings.Join(occasionKinds, ", "))
		return false
	case len(told) > 1:
		b.add(at+"."+told[1], fmt.Sprintf("%s and %s are two things to watch", told[0], told[1]), "write two entries")
		return false
	}
	all := fieldsOf(reflect.TypeFor[occasion]())
	for _, field := range all.names {
		if of := all.byName[field].Tag.Get("of"); of != "" && !slices.Contains(strings.Split(of, ","), told[0]) && b.at.has(at+"."+field) {
			b.add(at+"."+field, fmt.Sprintf("this belongs to %s; here it is %s that is watched", strings.ReplaceAll(of, ",", " and "), told[0]), "delete it")
		}
	}
	return true
}

func (b *builder) occasion(w *occasion, at string, r *agent.Release) On {
	o := On{Agent: r.Main, Skill: string(w.Skill), Input: w.Input.json, In: w.In}
	if w.Agent != "" {
		o.Agent = string(w.Agent)
	}
	b.asked(&o, at)
	if o.Input != nil && bytes.TrimSpace(o.Input)[0] != '{' {
		b.add(at+".input", "this is not an object", "write it as in {question: ...}")
	}
	switch {
	case b.at.has(at + ".folder"):
		if err := environ.CheckFiles(w.Files); err != nil {
			b.add(at+".files", err.Error(), "")
		}
		o.Folder = &environ.Folder{Path: w.Folder, Files: w.Files, Deleted: w.Deleted, SizeMax: int64(w.SizeMax)}
	case b.at.has(at + ".every"):
		every := time.Duration(w.Every)
		if every > 0 && every < environ.EveryMin {
			b.add(at+".every", fmt.Sprintf("%s is less than %s", every, environ.EveryMin), "wait longer")
		}
		o.Schedule = &environ.Schedule{Every: every, CatchUp: environ.CatchUp(w.CatchUp)}
	case b.at.has(at + ".cron"):
		if w.Cron != "" {
			if err := environ.CheckCron(w.Cron, w.Zone); err != nil {
				b.add(at+".cron", strings.TrimPrefix(err.Error(), "cron: "), "")
			}
		}
		o.Schedule = &environ.Schedule{Cron: w.Cron, Zone: w.Zone, CatchUp: environ.CatchUp(w.CatchUp)}
	case b.at.has(at + ".topic"):
		o.Topic = w.Topic
		if err := polity.CheckPattern(w.Topic); err != nil && !b.log.doubts(at+".topic") {
			b.add(at+".topic", err.Error(), "")
		}
		b.stream(&o, w, at, r)
	default:
		o.Lines = w.Lines
		if !w.Lines && !b.log.doubts(at+".lines") {
			b.add(at+".lines", "this watches nothing", "write true, or delete the entry")
		}
	}
	return o
}

// stream checks how the events of a topic are handled.
func (b *builder) stream(o *On, w *occasion, at string, r *agent.Release) {
	o.Where, o.By = w.Where, w.Key
	if b.defs[o.Agent] != nil && w.Topic != "" {
		b.denied(r.MayAwait(polity.AgentName(o.Agent), w.Topic), at+".topic")
	}
	if t := r.Topic(w.Topic); t != nil && t.Key != "" && w.Batch == nil {
		if w.Key != "" && w.Key != t.Key {
			b.add(at+".key", "the topic's key is "+shown(t.Key), "write that, or delete this")
		}
		o.By = t.Key
	}
	if w.Where != "" {
		if _, err := polity.ParseWhere(w.Where); err != nil {
			b.add(at+".where", err.Error(), "")
		}
	}
	if w.Key != "" {
		if err := polity.CheckField(w.Key); err != nil {
			b.add(at+".key", err.Error(), "")
		}
	}
	if o.By != "" {
		b.queues(o, at)
	}
	if w.Batch == nil {
		return
	}
	o.Batch, o.Within = 100, time.Duration(w.Batch.Within)
	if w.Batch.Max != nil {
		o.Batch = *w.Batch.Max
	}
	switch {
	case w.Key != "":
		b.add(at+".batch", "events of one key are handled one after another, and those of a batch at once", "delete key or batch")
	case o.Batch < 1 || o.Batch > environ.BatchMax:
		b.add(at+".batch.max", fmt.Sprintf("%d events; want 1 to %d", o.Batch, environ.BatchMax), "")
	case o.Within <= 0 || o.Within > environ.BatchWithinMax:
		if !b.log.doubts(at + ".batch") {
			b.add(at+".batch", fmt.Sprintf("within %s; want more than 0, up to %s", o.Within, environ.BatchWithinMax), "write it as in within: 5s")
		}
	}
}

// queues checks that runs about one key wait for each other.
func (b *builder) queues(o *On, at string) {
	d := b.defs[o.Agent]
	if d == nil {
		return // reported
	}
	for _, s := range d.Skills {
		if (s.Name == o.Skill || o.Skill == "" && len(d.Skills) == 1) && s.Arrival != polity.ArrivalQueue {
			b.add(at+".key", fmt.Sprintf("skill %s of %s does not let a request wait for those before it", s.Name, o.Agent), "write arrival: queue into the skill")
		}
	}
}

// asked checks who is asked.
func (b *builder) asked(o *On, at string) {
	d := b.defs[o.Agent]
	if d == nil {
		if b.at.has(at+".agent") && !b.log.doubts("agents"+keyPath(o.Agent)) {
			b.unknown(at+".agent", "no agent", o.Agent, slices.Sorted(maps.Keys(b.defs)))
		}
		return
	}
	var skills []string
	for _, s := range d.Skills {
		if s.Name == o.Skill {
			return
		}
		skills = append(skills, s.Name)
	}
	switch {
	case o.Skill != "":
		b.unknown(at+".skill", "agent "+o.Agent+" has no skill", o.Skill, skills)
	case len(skills) > 1:
		b.add(at, fmt.Sprintf("agent %s has %d skills", o.Agent, len(skills)), "add skill: one of "+strings.Join(skills, ", "))
	}
}

// Wants says which events of the topic are requests; nil for all.
func (o On) Wants() func(environ.Published) bool {
	if o.Where == "" {
		return nil
	}
	where, err := polity.ParseWhere(o.Where)
	return func(e environ.Published) bool { return err == nil && where.Holds(published(e)) }
}

func published(e environ.Published) polity.Published {
	return polity.Published{Topic: e.Topic, ID: e.ID, Data: e.Data, At: e.At, Seq: e.Seq}
}

// About is what an event is handled one after another by; "" for nothing.
func (o On) About(e environ.Published) string {
	if o.By == "" {
		return ""
	}
	value, _ := published(e).Field(o.By) // those without it are of one key, too
	if len(value) > keyMax {
		value = string(polity.NewRunID(0, []byte(value)))
	}
	return o.By + " " + value
}

// RunID is that of the run about what was seen. It goes by what was seen and who is asked, not by the release: what was seen once is not done again
// because a prompt has changed.
func (o On) RunID(organization string, seen environ.Observation) polity.RunID {
	return polity.NewRunID(0, fmt.Appendf(nil, "on\n%s\n%s\n%s", organization, o.Key(), seen.ID))
}

// Conversation is the one of the runs about the same key: their skill lets one begin when those before it have ended. It is "" without a key.
func (o On) Conversation(seen environ.Observation) string {
	if seen.Key == "" {
		return ""
	}
	return "about " + seen.Key
}

// Ask is what is asked about what was seen.
func (o On) Ask(seen environ.Observation) (json.RawMessage, error) {
	switch {
	case o.Input == nil:
		return seen.Input, nil
	case o.Schedule != nil:
		return o.Input, nil
	}
	var fields, more map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(o.Input, &fields), json.Unmarshal(seen.Input, &more)); err != nil {
		return nil, fault.Invalid.New("%s: input: %w", o.Key(), err)
	}
	maps.Copy(fields, more)
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, fault.Invalid.New("%s: input: %w", o.Key(), err)
	}
	return data, nil
}

// Under returns o with its folders as they are seen from where the manifest's folder is dir.
func (o On) Under(dir string) On {
	under := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	o.In = under(o.In)
	if o.Folder != nil {
		f := *o.Folder
		f.Path = under(f.Path)
		o.Folder = &f
	}
	return o
}

// Key names what is watched and who is asked what about it. Two sources with the same key would make the same runs.
func (o On) Key() string {
	what := "lines"
	switch {
	case o.Folder != nil:
		what = fmt.Sprintf("folder %q files %q deleted %t", o.Folder.Path, o.Folder.Files, o.Folder.Deleted)
	case o.Schedule != nil && o.Schedule.Cron != "":
		what = fmt.Sprintf("cron %q zone %q", strings.Join(strings.Fields(o.Schedule.Cron), " "), o.Schedule.Zone)
	case o.Topic != "":
		what = fmt.Sprintf("topic %q", o.Topic)
		if o.Where != "" || o.Batch > 0 {
			what += fmt.Sprintf(" where %q batch %d within %s", o.Where, o.Batch, o.Within)
		}
	case o.Schedule != nil:
		what = "every " + o.Schedule.Every.String()
	}
	return fmt.Sprintf("%s agent %q skill %q input %s in %q", what, o.Agent, o.Skill, o.Input, o.In)
}
