package run

import (
	"context"
	"log/slog"

	"polity.run"
	"polity.run/internal/journal"
	"polity.run/trace"
)

// This file writes what runs do into the log of the program, once it is acknowledged. Lines about runs are of level info, failures too, and debug:
// what an agent fails at is no fault of the node's. Nothing that runs were told or answered is in them but the text of a fault, and that only at debug.

// logged is one of them.
type logged struct {
	about journal.About
	level slog.Level
	n     polity.Notice
}

// logs returns what writes the lines of a commit; nil if nobody reads them.
func (p *Partition) logs() func([]logged) {
	if !p.cfg.Log.Enabled(p.ctx, slog.LevelInfo) {
		return nil
	}
	return func(lines []logged) {
		for i := range lines {
			lines[i].write(p.ctx, p.cfg.Log)
		}
	}
}

func (l *logged) write(ctx context.Context, log *slog.Logger) {
	if !log.Enabled(ctx, l.level) {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.Uint64("commit", l.n.Commit))
	text := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	text("status", l.n.Status)
	text("verb", l.n.Verb)
	text("to", l.n.To)
	if l.n.Usage.Tokens() > 0 {
		attrs = append(attrs, slog.Int64("tokens", l.n.Usage.Tokens()), slog.Float64("usd", float64(l.n.Usage.MicroUSD)/1e6))
	}
	if f := l.n.Fault; f != nil {
		text("fault", string(f.Kind))
		if log.Enabled(ctx, slog.LevelDebug) {
			text("error", f.Text)
		}
	}
	what := "run "
	if l.about.Step != "" {
		what = "step "
	}
	log.LogAttrs(journal.With(ctx, l.about), l.level, what+l.n.Kind, attrs...)
}

// note keeps a line for when n is acknowledged.
func (c *core) note(n *polity.Notice) {
	r := c.runs[n.Run]
	if r == nil {
		return
	}
	l := logged{journal.About{Run: n.Run, Org: r.program.Org, Agent: r.agent, Step: n.Name, Attempt: n.Attempt, Trace: r.trace()}, slog.LevelInfo, *n}
	switch {
	case n.Kind == "opened", n.Kind == "finished", n.Kind == "cancel", n.Kind == "expired", n.Kind == "paused", n.Kind == "resumed", n.Fault != nil:
	default:
		l.level = slog.LevelDebug
	}
	p := c.pack()
	p.logged = append(p.logged, l)
}

// trace is the trace that a run is part of.
func (r *run) trace() trace.ID {
	if r.caller.Valid() {
		return r.caller.Trace
	}
	return TraceOf(r.id)
}

// about is what lines are about that an effect writes.
func (q *pending) about() journal.About {
	return journal.About{
		Run: q.run.id, Org: q.run.program.Org, Agent: q.run.agent, Step: q.cmd.Name, Attempt: q.cmd.Attempt, Trace: q.run.trace(),
	}
}
