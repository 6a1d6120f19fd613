package telemetry

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otrace "go.opentelemetry.io/otel/trace"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/trace"
)

// contentMax is how much of an output is put on a span where content is wanted, in bytes.
const contentMax = 16 << 10

// Subject is what a release says of an agent, a tool or a model.
type Subject struct {
	Kind     string // of an agent: org, model, exec ...
	Provider string // of a model
	Model    string // the provider's name of it
}

// live is a run that has not ended, as its span will tell of it.
type live struct {
	at      time.Time
	commit  uint64
	agent   string
	skill   string
	release run.Digest
	caller  trace.Context // of a root: whose trace it continues
}

// projector makes spans of what the log tells. It remembers the runs that have not ended, and nothing else.
type projector struct {
	tracer   otrace.Tracer
	describe func(release run.Digest, verb, agent, to string) Subject
	data     func(*run.Fact) (json.RawMessage, error) // nil: no content
	runs     map[polity.RunID]live
	roots    int // of them
}

// ids carries the IDs of the next span to the SDK, which would draw lots for them.
type ids struct {
	trace otrace.TraceID
	span  otrace.SpanID
}

type idsKey struct{}

// fixedIDs is an sdk.IDGenerator that takes IDs from the context.
type fixedIDs struct{}

var _ sdk.IDGenerator = fixedIDs{}

func (fixedIDs) NewIDs(ctx context.Context) (otrace.TraceID, otrace.SpanID) {
	i, _ := ctx.Value(idsKey{}).(ids)
	return i.trace, i.span
}

func (fixedIDs) NewSpanID(ctx context.Context, _ otrace.TraceID) otrace.SpanID {
	i, _ := ctx.Value(idsKey{}).(ids)
	return i.span
}

// span makes a span that has already ended.
func (p *projector) span(id polity.RunID, key string, name string, kind otrace.SpanKind, from, to time.Time, f *fault.Error, attrs []attribute.KeyValue) {
	parent := p.parent(id, key)
	i := ids{otrace.TraceID(parent.Trace), otrace.SpanID(run.SpanOf(id, key))}
	ctx := context.WithValue(context.Background(), idsKey{}, i)
	if parent.Valid() {
		// The state is the caller's own affair: it has a limit of its own here, and was checked when it came.
		state, err := otrace.ParseTraceState(parent.State)
		if err != nil {
			state = otrace.TraceState{}
		}
		ctx = otrace.ContextWithSpanContext(ctx, otrace.NewSpanContext(otrace.SpanContextConfig{
			TraceID: i.trace, SpanID: otrace.SpanID(parent.Span), TraceFlags: otrace.FlagsSampled, TraceState: state, Remote: parent == p.runs[id].caller,
		}))
	}
	if f != nil {
		attrs = append(attrs, errorType(f))
	}
	_, s := p.tracer.Start(ctx, name, otrace.WithTimestamp(from), otrace.WithSpanKind(kind), otrace.WithAttributes(attrs...))
	if f != nil {
		s.SetStatus(codes.Error, f.Text)
	}
	s.End(otrace.WithTimestamp(to))
}

// parent is the span that a run's or a step's span is part of, with its trace; without a span at the root of a trace.
func (p *projector) parent(id polity.RunID, key string) trace.Context {
	caller := p.runs[id.Root()].caller
	c := trace.Context{Trace: caller.Trace, State: caller.State, Flags: trace.Sampled}
	if !caller.Valid() {
		c.Trace = run.TraceOf(id)
	}
	switch up := id.Parent(); {
	case key != "":
		c.Span = run.SpanOf(id, "")
	case up != "":
		c.Span = run.SpanOf(up, "")
	case caller.Valid():
		return caller
	}
	return c
}

// unwatched says that a run's caller records nothing, and wants nothing recorded.
func (p *projector) unwatched(id polity.RunID) bool {
	caller := p.runs[id.Root()].caller
	return caller.Valid() && !caller.Sampled()
}

// fact takes one fact. Spans are made if tell is true; otherwise it only remembers.
func (p *projector) fact(f *run.Fact, tell bool) {
	tell = tell && !p.unwatched(f.Run)
	switch f.Kind {
	case "opened":
		p.open(f)
	case "forked":
		p.open(f)
	case "result":
		if tell && f.Effect != nil {
			p.step(f)
		}
	case "finished":
		if r, ok := p.runs[f.Run]; ok {
			if tell {
				p.run(f, r)
			}
			p.close(f.Run)
		}
	}
}

func (p *projector) open(f *run.Fact) {
	if _, ok := p.runs[f.Run]; !ok && f.Run.Parent() == "" {
		p.roots++
	}
	r := live{at: f.At, commit: f.Commit, agent: f.Agent, skill: f.Skill, release: f.Release, caller: f.Caller}
	if r.release == (run.Digest{}) {
		r.release = p.runs[f.Run.Root()].release
	}
	p.runs[f.Run] = r
}

func (p *projector) close(id polity.RunID) {
	delete(p.runs, id)
	if id.Parent() == "" {
		p.roots--
	}
}

// oldest is the first commit that tells of a run which has not ended, and else of none.
func (p *projector) oldest(none uint64) uint64 {
	first := none
	for _, r := range p.runs {
		first = min(first, r.commit)
	}
	return first
}

func (p *projector) run(f *run.Fact, r live) {
	op, name := opAgent, attrAgent
	if p.describe(r.release, "ask", "", r.agent).Kind == "org" {
		op, name = opWorkflow, attrWorkflow
	}
	attrs := []attribute.KeyValue{
		attrOperation.String(op), name.String(r.agent), attrConversation.String(string(f.Run.Root())), attrRun.String(string(f.Run)),
		attrStatus.String(f.Status), attrRelease.String(hex.EncodeToString(r.release[:6])), attrCommit.Int64(int64(f.Commit)),
	}
	if r.skill != "" {
		attrs = append(attrs, attrSkill.String(r.skill))
	}
	attrs = p.content(append(attrs, usage(f.Usage)...), attrPayload, f)
	p.span(f.Run, "", op+" "+r.agent, otrace.SpanKindInternal, r.at, f.At, f.Kept(), attrs)
}

func (p *projector) step(f *run.Fact) {
	e := f.Effect
	key := polity.CommandKey(f.Name, f.Attempt)
	attrs := []attribute.KeyValue{
		attrRun.String(string(f.Run)), attrStep.String(f.Name), attrAttempt.Int(f.Attempt), attrEffect.String(string(e.Class)),
		attrConversation.String(string(f.Run.Root())), attrCommit.Int64(int64(f.Commit)),
	}
	owner := p.runs[f.Run]
	about := p.describe(owner.release, e.Verb, owner.agent, e.To)
	var name string
	kind, content := otrace.SpanKindClient, attrPayload
	switch e.Verb {
	case "think":
		name = opChat + " " + model(about, e.To)
		content = attrOutput
		attrs = append(attrs, attrOperation.String(opChat), attrModel.String(model(about, e.To)), attrAgent.String(owner.agent))
		if about.Provider != "" {
			attrs = append(attrs, attrProvider.String(about.Provider))
		}
	case "call":
		name, kind, content = opTool+" "+e.To, otrace.SpanKindInternal, attrToolResult
		attrs = append(attrs, attrOperation.String(opTool), attrTool.String(e.To), attrToolCall.String(e.Key), attrAgent.String(owner.agent))
	default:
		name = opAgent + " " + e.To
		attrs = append(attrs, attrOperation.String(opAgent), attrAgent.String(e.To))
	}
	attrs = p.content(append(attrs, usage(f.Usage)...), content, f)
	p.span(f.Run, key, name, kind, e.Since, f.At, f.Kept(), attrs)
}

func model(about Subject, to string) string {
	if about.Model != "" {
		return about.Model
	}
	return to
}

func usage(u polity.Usage) []attribute.KeyValue {
	if u.Tokens() == 0 && u.MicroUSD == 0 {
		return nil
	}
	return []attribute.KeyValue{
		attrInputTokens.Int64(u.InputTokens), attrOutputTokens.Int64(u.OutputTokens), attrCost.Float64(float64(u.MicroUSD) / 1e6),
	}
}

// content adds what came out, if that is wanted and nobody's: what was sent away cannot be erased. What cannot be read is not told: the log has it, or says that it is damaged.
func (p *projector) content(attrs []attribute.KeyValue, name attribute.Key, f *run.Fact) []attribute.KeyValue {
	if p.data == nil || f.DataSize() == 0 || f.Sealed {
		return attrs
	}
	data, err := p.data(f)
	if err != nil {
		return attrs
	}
	if len(data) > contentMax {
		data = data[:contentMax]
	}
	return append(attrs, name.String(string(data)))
}
