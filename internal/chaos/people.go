package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/internal/chaos/journey"
	"polity.run/pattern"
	"polity.run/saga"
)

const (
	peopleStep = 150 * time.Millisecond
	deniedOf   = 3        // one approval in so many is denied
	absent     = "absent" // a person who never answers
)

// people answers what people are asked: a run's ID says how. Before an action is let go, somebody tries to let go another one.
func (w *world) people(ctx context.Context) {
	for ctx.Err() == nil {
		var open []polity.Question
		err := w.call(func(ctx context.Context, c *client.Client) (err error) { open, err = c.Questions(ctx); return err })
		if err == nil {
			for _, q := range open {
				w.reply(q)
			}
		}
		time.Sleep(peopleStep)
	}
}

// reply answers a question. A node that ends meanwhile asks again, and what is no longer asked needs no answer.
func (w *world) reply(q polity.Question) {
	w.book.asked(q)
	if q.Agent == absent {
		return
	}
	if q.Approval == nil {
		_ = w.answer(q, map[string]bool{"ok": true})
		return
	}
	if err := w.answer(q, polity.Decision{Approve: true, Hash: "another"}); err == nil {
		w.book.violate(violation{Run: q.Run, Expected: "an approval of another action is refused", Found: text(q)})
	}
	_ = w.answer(q, polity.Decision{Approve: !denied(q.Run.Root()), Hash: q.Approval.Hash})
}

func (w *world) answer(q polity.Question, what any) error {
	data, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return w.call(func(ctx context.Context, c *client.Client) error { return c.Answer(ctx, q.Key, data) })
}

func denied(id polity.RunID) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return (h.Sum64()>>7)%deniedOf == 0
}

// asked keeps under which key a run asked about an action: the same action has the same key, whatever happened to the node meanwhile.
func (b *book) asked(q polity.Question) {
	if q.Approval == nil {
		return
	}
	b.mu.Lock()
	what := string(q.Run) + " " + q.Approval.Hash
	before, again := b.keys[what]
	b.keys[what] = q.Key
	b.mu.Unlock()
	if again && before != q.Key {
		b.violate(violation{Run: q.Run, Expected: "a question keeps its key " + before, Found: q.Key})
	}
}

// checkApproved holds a saga whose last step a person lets go or not.
func checkApproved(k *checker) {
	if denied(k.e.id) {
		k.refused("a person denied")
		return
	}
	if k.completed() {
		k.once("seat", "pay")
		if k.of("unseat").Asked > 0 {
			k.want("seat is not undone, as the rest was approved", k.o)
		}
	}
}

func checkLapsed(k *checker) { k.refused("nobody approved in time") }

// refused wants the step that was not approved not to be done, and what was done before to be undone.
func (k *checker) refused(why string) {
	if k.o.Status != polity.StatusFailed || k.o.Fault == nil || k.o.Fault.Kind != fault.Denied {
		k.want("it fails as denied, as "+why, k.o)
	}
	if k.of("pay").Asked > 0 {
		k.want("pay is not asked for, as "+why, k.o)
	}
	if k.of("seat").Done != 1 || k.of("unseat").Done != 1 {
		k.want("seat is done once and undone once, as "+why, k.o)
	}
	var r pattern.SequenceResult
	if err := json.Unmarshal(k.o.Output, &r); err != nil || r.Saga == nil || r.Saga.Status != saga.Compensated {
		k.want("it is compensated", k.o)
	}
}

// --- a script

// journeys opens a run of a script, and sends the signal that it awaits, before that or after it, and sometimes twice.
func (w *world) journeys(k *kind, rng *rand.Rand) {
	e := w.draw(k, rng.Uint64())
	before, times := time.Duration(rng.Int64N(int64(signalMax))), 1+rng.IntN(2)
	if !w.opened(e) {
		return
	}
	if e.cancelAfter > 0 {
		w.followers.Go(func() { w.cancelLater(e) })
	}
	time.Sleep(before)
	for range times {
		err := w.until(func(ctx context.Context, c *client.Client) error {
			return c.Signal(ctx, e.id, journey.Go, "go", 0, json.RawMessage(`{"n":7}`))
		})
		if errors.Is(err, fault.Conflict) { // it has ended, or is coming to its end
			break
		}
		w.expect(e, "a signal that it awaits is taken", err)
	}
	w.follow(e)
}

func checkJourney(k *checker) {
	undo := [][2]string{{"seat", "unseat"}, {"bed", "unbed"}}
	if k.o.Status == polity.StatusCompleted {
		k.once("seat", "bed", "note", "printer")
		var out journey.Out
		if err := json.Unmarshal(k.o.Output, &out); err != nil || out.N != 7 || !out.OK || k.e.fail {
			k.want("it answers what the signal and the person said, and fails if the printer has no paper", k.o)
		}
		for _, pair := range undo {
			if k.of(pair[1]).Asked > 0 {
				k.want(pair[0]+" is not undone, as nothing failed", k.o)
			}
		}
		return
	}
	cancelled := k.cancelled() && k.o.Status == polity.StatusCancelled
	if !cancelled && (!k.e.fail || k.o.Fault == nil || k.o.Fault.Kind != fault.Conflict) {
		k.want("it fails only where the printer has no paper, or it is cancelled", k.o)
	}
	done := false
	for _, pair := range undo {
		if k.of(pair[0]).Done > 0 {
			done = true
			if k.of(pair[1]).Done != 1 {
				k.want(pair[0]+", which was done, is undone once", k.o)
			}
		}
	}
	var r struct{ Saga *saga.Report }
	if err := json.Unmarshal(k.o.Output, &r); done && (err != nil || r.Saga == nil || r.Saga.Status != saga.Compensated) {
		k.want(fmt.Sprintf("what it did is told to be %s", saga.Compensated), k.o)
	}
	if k.e.fail && k.of("printer").Done > 0 {
		k.want("the printer printed nothing", k.o)
	}
}
