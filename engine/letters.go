package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/message"
)

const listDefault = 100 // messages of an answer

// Messages does one thing with messages: see message.Do. It returns what the methods do that it stands for, and fault.Invalid if it says nothing.
func (e *Engine) Messages(ctx context.Context, q message.Do) (d message.Done, err error) {
	switch {
	case q.Send != nil:
		d.Receipts, err = e.send(ctx, "", *q.Send, q.Hold)
	case q.Ask != nil:
		d.Receipts, d.Answers, err = e.Ask(ctx, q.Ask.Envelope, q.Ask.Join)
	case q.List != nil:
		d.Entries, d.Next, err = e.listMessages(ctx, *q.List)
	case q.Tail != nil:
		d.Entries, d.Next, err = e.tailMessages(ctx, *q.Tail)
	case q.Settle != nil:
		d.Receipts, err = e.settle(ctx, *q.Settle, q.Hold)
	case q.Mailboxes:
		var boxes []run.Mailbox
		boxes, err = e.part.Mailboxes(ctx)
		for _, b := range boxes {
			d.Boxes = append(d.Boxes, message.Box(b))
		}
	case q.Instances != nil && q.Instances.Agent == "":
		d.Counts, err = e.Instances(ctx)
	case q.Instances != nil:
		d.Count, err = e.changeInstances(ctx, *q.Instances)
	default:
		err = fault.Invalid.New("messages: the request says nothing")
	}
	return d, err
}

// listMessages asks the view.
func (e *Engine) listMessages(ctx context.Context, f message.Filter) (list []message.Entry, next uint64, err error) {
	if err := f.Check(); err != nil {
		return nil, 0, err
	}
	f.Limit = cmp.Or(f.Limit, listDefault)
	v, err := e.view()
	if err != nil {
		return nil, 0, err
	}
	if _, err := e.part.Stopped(ctx); err != nil { // behind it the tip is that of everything that was answered
		return nil, 0, err
	}
	list, next, err = v.Messages(ctx, f)
	if err == nil && len(list) == 0 && f.Waiting && f.To != "" && f.After == 0 {
		err = e.known(ctx, polity.AgentName(f.To)) // an empty mailbox, or none
	}
	if err != nil || f.Run == "" {
		return list, next, err
	}
	for i := range list {
		if err := e.wholeMessage(ctx, &list[i]); err != nil {
			return nil, 0, err
		}
	}
	return list, next, nil
}

// known returns fault.NotFound for an agent that has no address.
func (e *Engine) known(ctx context.Context, name polity.AgentName) error {
	if err := e.orgs.ready(ctx); err != nil {
		return err
	}
	defer e.orgs.mu.RUnlock()
	_, _, err := e.orgs.of(name)
	return err
}

// wholeMessage adds a message's data and its answer.
func (e *Engine) wholeMessage(ctx context.Context, m *message.Entry) error {
	return e.part.History(ctx, m.Run, func(n polity.Notice) error {
		switch {
		case n.Run != m.Run:
		case n.Kind == "opened":
			m.Envelope.Data = slices.Clone(n.Data)
		case n.Kind == "finished":
			m.Answer = slices.Clone(n.Data)
		}
		return nil
	})
}

// errEnough ends the reading of the log.
var errEnough = errors.New("enough")

// tailMessages reads the log from a position on until there is something.
func (e *Engine) tailMessages(ctx context.Context, q message.Tail) (list []message.Entry, next uint64, err error) {
	if q.Wait < 0 || q.Wait > message.WaitMax {
		return nil, 0, fault.Invalid.New("messages: wait %s: the most is %s", q.Wait, message.WaitMax)
	}
	if err := q.Filter.Check(); err != nil {
		return nil, 0, err
	}
	next = q.After
	if next == 0 {
		next = e.part.Tip()
	}
	waiting, stop := context.WithTimeout(ctx, max(q.Wait, time.Millisecond))
	defer stop()
	err = e.part.Feed(waiting, next+1, func(c *run.Commit) error {
		for i := range c.Facts {
			f := &c.Facts[i]
			if f.Mail == nil || f.Taken {
				continue
			}
			m := message.Entry{To: polity.AgentName(f.Agent), Run: f.Run, At: f.At, Seq: c.Seq, Status: polity.StatusRunning}
			if err := m.Envelope.UnmarshalJSON(f.Mail.Envelope); err != nil {
				return fault.Damaged.New("messages: %s: %w", f.Run, err)
			}
			if !q.Filter.Matches(&m) {
				continue
			}
			data, err := e.part.Data(f)
			if err != nil {
				return err
			}
			m.Envelope.Data = slices.Clone(data)
			list = append(list, m)
		}
		next = c.Seq
		if len(list) > 0 && c.Seq >= e.part.Tip() || len(list) >= message.ListMax {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() == nil && waiting.Err() != nil {
		err = nil
	}
	return list, next, err
}

// settle gives a dead letter out again, or drops it.
func (e *Engine) settle(ctx context.Context, q message.Settle, hold bool) ([]message.Receipt, error) {
	if q.Do != message.Replayed && q.Do != message.Dropped {
		return nil, fault.Invalid.New("messages: settle %.40q: want %s or %s", q.Do, message.Replayed, message.Dropped)
	}
	list, _, err := e.listMessages(ctx, message.Filter{Run: q.Run})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, fault.NotFound.New("no message is delivered by a run %q; see: polity dead list", q.Run)
	case list[0].Dead != message.Dead:
		return nil, fault.Conflict.New("message %s is no dead letter: it is %s", list[0].Envelope.ID, cmp.Or(list[0].Dead, list[0].Status.String()))
	}
	var receipts []message.Receipt
	if q.Do == message.Replayed {
		if receipts, err = e.again(ctx, list[0].Envelope, message.To(list[0].To), hold); err != nil {
			return receipts, err
		}
	}
	return receipts, e.part.Settle(ctx, q.Run, q.Do, q.By)
}

// again sends a message anew, to one of its recipients. Its new key follows from the one before, so what crashes in between is not sent twice.
func (e *Engine) again(ctx context.Context, m message.Envelope, to message.Address, hold bool) ([]message.Receipt, error) {
	now := e.now().UTC()
	own := m.Conversation == m.ID
	m.To, m.Time, m.Causation, m.Key = []message.Address{to}, now, m.ID, nextKey(m.Key)
	m.ID = m.Key
	if own {
		m.Conversation = m.ID
	}
	if !m.Deadline.IsZero() && !now.Before(m.Deadline) {
		m.Deadline = time.Time{}
	}
	return e.send(ctx, "", m, hold)
}

// nextKey is the key of a message that is sent once more: a~2 for a, a~3 for a~2.
func nextKey(key string) string {
	base, n := key, 1
	if i := strings.LastIndexByte(key, '~'); i > 0 {
		if was, err := strconv.Atoi(key[i+1:]); err == nil && was > 1 && was < math.MaxInt32 {
			base, n = key[:i], was
		}
	}
	if len(base) > message.TextMax/2 {
		sum := sha256.Sum256([]byte(base))
		base = hex.EncodeToString(sum[:])
	}
	return base + "~" + strconv.Itoa(n+1)
}
