// Package journal has every line of the log about a run say which run, and where in it.
//
// It exists so that whoever writes a line need not know: a [Handler] takes it from the line's context, which the kernel made.
//
//	Handler(next) -> logger.WarnContext(ctx, ...) -> next, with run, org, agent, step, attempt and trace_id
package journal

import (
	"context"
	"log/slog"

	"polity.run"
	"polity.run/trace"
)

// About is what a line is about. Step and Attempt are zero for a run as a whole, and whatever whoever writes the line does not know.
type About struct {
	Run     polity.RunID
	Org     string // the release that the run is of
	Agent   string
	Step    string
	Attempt int
	Trace   trace.ID
}

// ContextKey is the key under which a context.Context has its About, for those who make contexts of their own.
type ContextKey struct{}

// With returns a context whose lines are about a.
func With(ctx context.Context, a About) context.Context {
	return context.WithValue(ctx, ContextKey{}, a)
}

// Handler returns a handler that adds to each record what its context is about, and hands it to next. Around itself it is itself.
func Handler(next slog.Handler) slog.Handler {
	if h, already := next.(handler); already {
		return h
	}
	return handler{next}
}

type handler struct{ slog.Handler }

// Handle adds the attributes after the line's own: a group that the logger is in holds them, too.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	a, ok := ctx.Value(ContextKey{}).(About)
	if !ok {
		return h.Handler.Handle(ctx, r)
	}
	place := ""
	if a.Trace != (trace.ID{}) {
		place = a.Trace.String()
	}
	r = r.Clone()
	r.AddAttrs(slog.String("run", string(a.Run)), slog.String("org", a.Org), slog.String("agent", a.Agent),
		slog.String("step", a.Step), slog.Int("attempt", a.Attempt), slog.String("trace_id", place))
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
