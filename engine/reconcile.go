package engine

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/internal/work"
	"polity.run/tool"
)

// inquiry is how it is found out what became of a call.
type inquiry struct {
	tool.Reconcile // when and how often is asked
	by             string
	ask            func(ctx context.Context, c tool.Call, since time.Time) (polity.Finding, error)
}

// inquires gives a tool that can be asked what became of a call its inquiry.
func (t *toolEntry) inquires(r tool.Reconciler) {
	if t.spec.Effect == polity.EffectExternal {
		t.inquiry = &inquiry{by: "tool " + t.spec.Name, ask: r.Reconcile}
	}
}

// inquire makes the inquiries that a source declares, which are of its own tools.
func (c *catalog) inquire(src tool.Source, tools map[string]*toolEntry) error {
	for name, r := range src.Reconcile {
		of, by := tools[src.Name+"."+name], tools[src.Name+"."+r.Ask]
		if of == nil || by == nil || of == by {
			return fault.Invalid.New("tools %s: reconcile: %s asks %s: want two tools of the source", src.Name, name, r.Ask)
		}
		if err := r.Check(of.spec, by.spec); err != nil {
			return fault.Invalid.New("tools %s: reconcile: %s: %w", src.Name, name, err)
		}
		of.inquiry = &inquiry{Reconcile: r, by: "tool " + by.spec.Name, ask: func(ctx context.Context, c tool.Call, since time.Time) (polity.Finding, error) {
			in, err := r.Question(by.spec, c, since)
			if err != nil {
				return polity.Finding{}, err
			}
			c.Input = in
			return r.Finding(work.Call(ctx, by.tool, c, by.in, by.out))
		}}
	}
	return nil
}

// asks is the most time that it takes to ask about a tool's calls; 0 if they cannot be asked about.
func (t *toolEntry) asks() time.Duration {
	if t.inquiry == nil {
		return 0
	}
	return t.inquiry.Most()
}

// asked asks what became of an effect until there is a verdict: see run.Config.Ask.
func (c *catalog) asked(ctx context.Context, f *run.Effect) (polity.Finding, error) {
	q, err := c.question(f)
	if err != nil {
		return polity.Finding{}, err
	}
	return q.entry.inquiry.Asked(ctx, q.put)
}

// question is what is asked of the destination of one effect.
type question struct {
	entry *toolEntry
	call  tool.Call
	since time.Time
}

func (c *catalog) question(f *run.Effect) (*question, error) {
	r, err := c.release(f.Release)
	if err != nil {
		return nil, err
	}
	t := c.tool(r, f.To)
	if f.Verb != polity.DoCall || t == nil || t.inquiry == nil {
		return nil, fault.NotFound.New("%s: nothing says how to ask what became of it", f.To)
	}
	return &question{t, tool.Call{Key: f.Key(), Run: f.Run, Agent: f.Agent, Org: r.doc.Name, Folder: f.Folder, Input: f.Input}, f.Since}, nil
}

// put asks once. What the destination says was answered is checked as an answer is; that it was done counts even if that cannot be used.
func (q *question) put(ctx context.Context) (polity.Finding, error) {
	t := q.entry
	found, err := work.Find(t.spec.Name, func() (polity.Finding, error) { return t.inquiry.ask(ctx, q.call, q.since) })
	if err == nil {
		err = found.Check()
	}
	if err != nil {
		return polity.Finding{}, err
	}
	found.By = t.inquiry.by
	if found.Verdict != polity.VerdictDone {
		return found, nil
	}
	if len(found.Output) == 0 {
		found.Output = json.RawMessage("null")
	}
	found.Receipt = t.spec.Proof(found.Receipt, found.Output)
	if err := work.Found(t.spec, found.Output, t.out); err != nil {
		found.Output = nil
		return found, fault.Invalid.New("it was done, says %s, but what it answered cannot be used: %w", found.By, err)
	}
	return found, nil
}

// Reconcile finds out what became of an effect that ended as unknown, by its key.
type Reconcile struct {
	Key string
	// Verdict is what a person found out, with By and Reason; "" asks the effect's destination.
	Verdict polity.Verdict
	By      string
	Reason  string
}

// Reconcile finds out what became of an effect that ended as unknown, records it, and returns it when that is durable. What the run's decider was
// told stays as it is. A destination that does not know either is polity.VerdictUnknown, and nothing is recorded. It returns fault.NotFound if
// there is no such effect or its destination cannot be asked, and fault.Conflict for an effect that did not end as unknown.
func (e *Engine) Reconcile(ctx context.Context, q Reconcile) (polity.Finding, error) {
	id, name, attempt, err := polity.ParseEffectKey(q.Key)
	if err != nil {
		return polity.Finding{}, err
	}
	f := polity.Finding{Verdict: q.Verdict, By: q.By, Reason: strings.TrimSpace(q.Reason)}
	if f.Verdict == "" {
		if f, err = e.ask(ctx, id, name, attempt); err != nil || f.Verdict == polity.VerdictUnknown {
			return f, err
		}
		kept := f
		if kept.Reason != "" { // it may quote what was answered, and reasons are not enciphered
			kept.Reason = "what was answered cannot be used"
		}
		return f, e.part.Reconcile(ctx, id, name, attempt, kept)
	}
	if f.By == "" || f.Reason == "" {
		return polity.Finding{}, fault.Invalid.New("engine: reconcile: a verdict needs who says so, and why")
	}
	return f, e.part.Reconcile(ctx, id, name, attempt, f)
}

// ask asks the destination of an effect that ended as unknown, once.
func (e *Engine) ask(ctx context.Context, id polity.RunID, name string, attempt int) (polity.Finding, error) {
	if err := e.part.Unknown(ctx, id, name, attempt); err != nil {
		return polity.Finding{}, err
	}
	f, err := e.part.Began(ctx, id, name, attempt)
	if err != nil {
		return polity.Finding{}, err
	}
	q, err := e.catalog.question(f)
	if err != nil {
		return polity.Finding{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, tool.AskTimeout)
	defer cancel()
	found, err := q.put(ctx)
	if err != nil && found.Verdict == polity.VerdictDone {
		found.Reason, err = fault.Of(err).Text, nil // what it answered is of no use any more
	}
	return found, err
}
