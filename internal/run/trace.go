package run

import (
	"crypto/sha256"

	"polity.run"
	"polity.run/trace"
)

// TraceOf is the trace that a run's spans belong to, unless it continues its caller's. It follows from the root's ID alone: the same run is the same trace
// after every crash, and told twice it is told of the same spans.
func TraceOf(id polity.RunID) trace.ID {
	sum := sha256.Sum256([]byte("trace " + id.Root()))
	return trace.ID(sum[:16])
}

// SpanOf is the span of a run, or with a command's key that of the step.
func SpanOf(id polity.RunID, key string) trace.SpanID {
	sum := sha256.Sum256([]byte("span " + string(id) + "#" + key))
	return trace.SpanID(sum[:8])
}

// place is where in a trace a step is done. If no spans of it are exported that is the caller's place as it came, so that nobody is told of a
// parent that there is not.
func (q *pending) place(exported bool) trace.Context {
	caller := q.run.caller
	if !exported || caller.Valid() && !caller.Sampled() {
		return caller
	}
	c := trace.Context{Trace: caller.Trace, Span: SpanOf(q.run.id, q.key), Flags: caller.Flags, State: caller.State}
	if !caller.Valid() {
		c.Trace, c.Flags = TraceOf(q.run.id), trace.Sampled
	}
	return c
}
