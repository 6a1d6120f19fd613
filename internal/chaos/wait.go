package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/environ"
	"polity.run/fault"
	"polity.run/pattern"
	"polity.run/saga"
)

const (
	signalMax = 600 * time.Millisecond // before a signal: it comes before it is awaited, or while the node is down
	talkMax   = 150 * time.Millisecond // between two messages of a conversation
	talkRuns  = 3
	toldRuns  = 4 // events of one key
	holdLeast = 300 * time.Millisecond
)

// until does what changes the node until it is acknowledged, and returns any fault that is not one of a node which is ended, stopped or full.
func (w *world) until(do func(context.Context, *client.Client) error) error {
	for w.ctx.Err() == nil {
		err := w.call(do)
		if err == nil || !passing(err) {
			return err
		}
		time.Sleep(againStep)
	}
	return context.Cause(w.ctx)
}

// opened asks for a run, as work does.
func (w *world) opened(e *entry) bool {
	return w.ask(e, func(ctx context.Context, c *client.Client) (polity.RunID, error) { return c.Start(ctx, e.request) })
}

func (w *world) expect(e *entry, expected string, err error) {
	if err != nil && w.ctx.Err() == nil {
		w.book.violate(violation{Run: e.id, Expected: e.kind.name + ": " + expected, Found: err.Error()})
	}
}

// --- signals

// signalled opens a run that awaits two signals, and sends them, some of them twice.
func (w *world) signalled(k *kind, rng *rand.Rand) {
	e := w.draw(k, rng.Uint64())
	if !w.opened(e) {
		return
	}
	for n := 1; n <= 2; n++ {
		time.Sleep(time.Duration(rng.Int64N(int64(signalMax))))
		for range 1 + rng.IntN(2) {
			err := w.until(func(ctx context.Context, c *client.Client) error {
				return c.Signal(ctx, e.id, "go", fmt.Sprint("signal-", n), 0, fmt.Appendf(nil, `{"n":%d}`, n))
			})
			if n == 2 && errors.Is(err, fault.Conflict) { // it had that one, and has ended
				break
			}
			w.expect(e, "a signal that it awaits is taken", err)
		}
	}
	w.follow(e)
}

func checkSignalled(k *checker) {
	if !k.completed() {
		return
	}
	k.once("before")
	var r struct {
		Output struct{ One, Two struct{ N int } }
	}
	if err := json.Unmarshal(k.o.Output, &r); err != nil || r.Output.One.N != 1 || r.Output.Two.N != 2 {
		k.want("each await has the next signal, once", k.o)
	}
}

// --- pauses

// paused pauses a run somewhere, and looks whether anything begins until it is resumed.
func (w *world) paused(k *kind, rng *rand.Rand) {
	e := w.draw(k, rng.Uint64())
	before, hold := time.Duration(rng.Int64N(int64(signalMax))), holdLeast+time.Duration(rng.Int64N(int64(holdMax)))
	if !w.opened(e) {
		return
	}
	time.Sleep(before)
	err := w.until(func(ctx context.Context, c *client.Client) error { return c.Pause(ctx, e.id, "wait") })
	if err == nil {
		first, wrong := w.destination.counts()
		w.expect(e, "the destination tells what it counted", wrong)
		time.Sleep(hold)
		last, wrong := w.destination.counts()
		w.expect(e, "the destination tells what it counted", wrong)
		if a, b := len(first.Counts[e.id]), len(last.Counts[e.id]); b > a+1 { // one was in flight
			w.book.violate(violation{Run: e.id, Expected: "paused: nothing begins in a paused run", Found: fmt.Sprintf("%d effects when it was paused, %d later", a, b)})
		}
	} else if !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.Invalid) { // it has ended
		w.expect(e, "it is paused, or has ended", err)
	}
	w.follow(e) // which resumes it
}

func checkPaused(k *checker) {
	if k.completed() {
		k.once("p1", "p2", "p3", "p4", "p5", "p6")
	}
}

// --- events

// tells publishes events of one key, some of them twice. Each opens a run.
func (w *world) tells(k *kind, rng *rand.Rand) {
	key := fmt.Sprint("k", rng.Uint64())
	var before []*entry
	for n := range toldRuns {
		id := fmt.Sprint(key, "-", n)
		e := &entry{kind: k, opens: true, before: before, arrival: "queue"}
		for _, on := range w.watched.On {
			if on.Topic == "chaos.told" {
				e.id = on.RunID(w.watched.Release.Name, environ.Observation{ID: "chaos.told " + id})
			}
		}
		data := fmt.Appendf(nil, `{"key":%q,"n":%d}`, key, n)
		for range 1 + rng.IntN(2) {
			err := w.until(func(ctx context.Context, c *client.Client) error { return c.Publish(ctx, "chaos.told", id, 0, data) })
			if w.expect(e, "an event is taken", err); err != nil {
				return
			}
		}
		w.book.acknowledge(e)
		w.followers.Go(func() { w.follow(e) })
		before = append(before, e)
	}
}

func checkTold(k *checker) {
	if k.completed() {
		k.once("hear")
		k.inOrder("hear", "hear")
	}
}

// inOrder wants what comes before in a conversation, or with the same key, to be done before this begins.
func (k *checker) inOrder(last, first string) {
	for _, e := range k.e.before {
		if before := k.all[e.id][last]; before != nil && before.Ended > k.of(first).First {
			k.want(fmt.Sprintf("%s of %s is done before it begins", last, e.id), before)
		}
	}
}

// --- conversations

var arrivals = []string{"reject", "queue", "interrupt", "rollback"}

// talks sends messages of one conversation, one soon after the other.
func (w *world) talks(k *kind, rng *rand.Rand) {
	arrival, conversation := arrivals[rng.IntN(len(arrivals))], fmt.Sprint("c", rng.Uint64())
	var before []*entry
	for range talkRuns {
		e := w.draw(k, rng.Uint64())
		e.request.Agent, e.request.Conversation = arrival, conversation
		e.arrival, e.before = arrival, before
		err := w.until(func(ctx context.Context, c *client.Client) error {
			_, err := c.Start(ctx, e.request)
			return err
		})
		switch {
		case err == nil:
			w.book.acknowledge(e)
			w.followers.Go(func() { w.follow(e) })
			for _, earlier := range before {
				earlier.overtaken = true
			}
			before = append(before, e)
		case arrival != "reject" || !errors.Is(err, fault.Conflict):
			w.expect(e, "a message is taken, or rejected while another is at work", err)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(talkMax))))
	}
}

func checkTalk(k *checker) {
	if k.o.Status == polity.StatusCompleted {
		k.once("seat", "say")
	}
	overtaken := k.e.overtaken && (k.e.arrival == "interrupt" || k.e.arrival == "rollback")
	switch {
	case k.o.Status == polity.StatusCompleted && k.of("unseat").Asked > 0:
		k.want("it is not undone, as it completed", k.o)
	case k.o.Status != polity.StatusCompleted && (!overtaken || k.o.Status != polity.StatusCancelled):
		k.want("it completes, or is cancelled by a message after it", k.o)
	case k.o.Status == polity.StatusCancelled && k.e.arrival == "rollback" && k.of("seat").Done > 0 && k.of("unseat").Done != 1:
		k.want("what it did is undone once, as the message after it rolls back", k.o)
	}
	if k.e.arrival == "queue" {
		k.inOrder("say", "seat")
	}
}

// --- a saga that is choreographed

// checkOrder holds the parts of an order, which runs of three organizations did, against each other.
func checkOrder(k *checker) {
	undo := [][2]string{{"reserve", "release"}, {"pay", "refund"}, {"enter", "strike"}}
	if k.o.Status == polity.StatusCompleted {
		k.once("enter", "pay", "reserve", "ship")
		for _, pair := range undo {
			if k.of(pair[1]).Asked > 0 {
				k.want(pair[0]+" is not undone, as it is shipped", k.o)
			}
		}
		if k.e.fail {
			k.want("it is not shipped", k.o)
		}
		return
	}
	var r pattern.SequenceResult
	if err := json.Unmarshal(k.o.Output, &r); err != nil || r.Saga == nil || r.Saga.Status != saga.Compensated || !k.e.fail {
		k.want("it is compensated, where nothing can be shipped", k.o)
	}
	last := 0
	for _, pair := range undo {
		if k.of(pair[0]).Done != 1 || k.of(pair[1]).Done != 1 {
			k.want(pair[0]+" is done once, and undone once", k.o)
		}
		if now := k.of(pair[1]).Ended; now < last {
			k.want(pair[1]+" comes after the undoing of what was done after it", k.o)
		} else {
			last = now
		}
	}
	if k.of("ship").Done > 0 {
		k.want("it is not shipped", k.o)
	}
}
