package engine

import (
	"context"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
)

// Ask sends a message and waits for the answers of its recipients, in the order of their receipts, until join says that there are enough: what is
// still under way then is cancelled. A recipient that refused has answered. A live message is worked on in the asker's goroutine, if there is one recipient. It
// returns fault.Failed, with the answers that came, if there are not enough, and otherwise what Send does.
func (e *Engine) Ask(ctx context.Context, m message.Envelope, join message.Join) ([]message.Receipt, []message.Envelope, error) {
	if err := join.Check(); err != nil {
		return nil, nil, err
	}
	m = m.Or()
	m.Reply = true
	if m.Live && isToOne(m) && join.Enough() <= 1 {
		return e.askLive(ctx, m, join)
	}
	return e.askAll(ctx, m, join)
}

func (e *Engine) askAll(ctx context.Context, m message.Envelope, join message.Join) ([]message.Receipt, []message.Envelope, error) {
	sent, err := e.dispatch(ctx, &m, posting{})
	if err != nil {
		return receipts(sent), nil, err
	}
	answers, err := e.gather(ctx, &m, sent, join)
	return receipts(sent), answers, err
}

// gather waits for answers.
func (e *Engine) gather(ctx context.Context, m *message.Envelope, sent []delivery, join message.Join) ([]message.Envelope, error) {
	if len(sent) == 1 && sent[0].end != nil && join.Enough() <= 1 {
		return sent[0].only(ctx, m, join)
	}
	all := make([]*message.Envelope, len(sent))
	open := map[int]bool{}
	for i := range sent {
		switch d := &sent[i]; {
		case d.Fault != nil:
			a := d.answer(m, polity.Outcome{Status: polity.StatusFailed, Fault: d.Fault})
			a.Performative = polity.Refuse
			all[i] = &a
		case d.end != nil:
			open[i] = true
		}
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	ends := make(chan ending, len(open))
	for i := range open {
		go func() {
			out, err := sent[i].end(waiting)
			ends <- ending{i, out, err}
		}()
	}
	good, enough := 0, join.Enough()
	for len(open) > 0 && (enough == 0 || good < enough) {
		end := <-ends
		delete(open, end.i)
		if end.err != nil {
			return collect(all), end.err
		}
		a := sent[end.i].answer(m, end.out)
		if all[end.i] = &a; a.Performative == polity.Inform {
			good++
		}
	}
	for i := range open {
		if sent[i].Run == "" {
			continue // a live one: it ends with waiting
		}
		if err := e.part.Cancel(ctx, sent[i].Run, "enough others have answered"); err != nil {
			return collect(all), err
		}
	}
	if enough > 0 && good < enough {
		return collect(all), fault.Failed.New("message %s: %d of the %d answers that are wanted came", m.ID, good, enough)
	}
	return collect(all), nil
}

// ending is how the delivery with a number ended.
type ending struct {
	i   int
	out polity.Outcome
	err error
}

// only waits for the answer of the only recipient.
func (d *delivery) only(ctx context.Context, m *message.Envelope, join message.Join) ([]message.Envelope, error) {
	out, err := d.end(ctx)
	if err != nil {
		return nil, err
	}
	return onlyAnswer(m, d.answer(m, out), join)
}

func onlyAnswer(m *message.Envelope, a message.Envelope, join message.Join) ([]message.Envelope, error) {
	if join.Enough() > 0 && a.Performative != polity.Inform {
		return []message.Envelope{a}, fault.Failed.New("message %s: 0 of the 1 answers that are wanted came", m.ID)
	}
	return []message.Envelope{a}, nil
}

// askLive is askAll for a live question to one agent: what it takes to ask several, or to keep something, would cost more than the question. m stays on the stack.
func (e *Engine) askLive(ctx context.Context, m message.Envelope, join message.Join) ([]message.Receipt, []message.Envelope, error) {
	if err := e.open(ctx, &m); err != nil {
		return nil, nil, err
	}
	t := e.orgs.target(m.From, m.To[0])
	e.orgs.mu.RUnlock()
	w, err := e.offer(&m, &t)
	if err != nil {
		r := refusal(t.to, err)
		return []message.Receipt{r}, nil, r.Fault
	}
	out := w.do(ctx, &m)
	answers, err := onlyAnswer(&m, message.Answer(&m, polity.AgentName(t.to.Name), out), join)
	return []message.Receipt{{To: t.to, Performative: polity.Agree}}, answers, err
}

// isToOne says whether a message is to one agent, which is not its sender.
func isToOne(m message.Envelope) bool {
	return len(m.To) == 1 && m.To[0].Kind == message.Agent && m.To[0] != m.From
}

func (d *delivery) answer(m *message.Envelope, out polity.Outcome) message.Envelope {
	return message.Answer(m, polity.AgentName(d.To.Name), out)
}

func collect(all []*message.Envelope) []message.Envelope {
	var list []message.Envelope
	for _, a := range all {
		if a != nil {
			list = append(list, *a)
		}
	}
	return list
}
