package run

import (
	"encoding/json"
	"errors"
	"testing"

	"polity.run"
	"polity.run/fault"
)

// heldBack is a memory whose commits wait for effects until they are let go.
type heldBack struct {
	*memory
	held uint64
}

func (h *heldBack) hold(seq uint64) { h.held = seq }

func newHeldBack(t *testing.T, class polity.Effect) *heldBack {
	h := &heldBack{memory: newMemory(t, programs{effects: map[string]polity.Effect{"function": class}})}
	h.core.host = h
	return h
}

// begin asks for a run of the function. Its end is what the returned function gives, once it has ended.
func (h *heldBack) begin(name string) (polity.RunID, func() *polity.Outcome) {
	id := polity.NewRunID(0, []byte(name))
	var end *polity.Outcome
	h.core.open(&request{id: id, agent: "function", input: json.RawMessage(`{}`), bounds: polity.DefaultBounds()}, func(err error) {
		if err != nil {
			h.t.Error(err)
		}
	}, func(o polity.Outcome, err error) { end = &o })
	return id, func() *polity.Outcome { return end }
}

// TestEarly wants a function of class none to begin before its run is durable, its result to stand in the same commit if it is quick, and nobody to be answered before that.
func TestEarly(t *testing.T) {
	h := newHeldBack(t, polity.EffectNone)
	before := len(h.log)
	_, end := h.begin("quick")
	h.core.settle()
	if len(h.effects) != 1 || len(h.appends) != 0 {
		t.Fatalf("%d effects have begun, and %d commits are on their way", len(h.effects), len(h.appends))
	}
	h.core.done(h.effects[0], result{data: json.RawMessage(`1`)})
	h.core.settle()
	if len(h.appends) != 1 || end() != nil {
		t.Fatalf("%d commits are on their way; it ended with %v", len(h.appends), end())
	}
	h.acknowledge()
	if o := end(); len(h.log) != before+1 || o == nil || string(o.Output) != `1` || o.Usage.Turns != 1 {
		t.Errorf("%d commits, and it ended with %+v", len(h.log)-before, o)
	}

	h.effects = nil
	_, end = h.begin("slow")
	h.core.settle()
	h.core.letGo(h.held)
	h.core.settle()
	h.acknowledge()
	if end() != nil || len(h.log) != before+2 {
		t.Errorf("%d commits, and it ended with %+v", len(h.log)-before, end())
	}
	h.core.done(h.effects[0], result{fault: fault.Of(fault.Failed.New("not today"))})
	h.core.settle()
	h.acknowledge()
	if o := end(); len(h.log) != before+3 || o == nil || !errors.Is(o.Fault, fault.Failed) || o.Usage.Turns != 1 {
		t.Errorf("%d commits, and it ended with %+v", len(h.log)-before, o)
	}
}

// TestEarlyWaits wants what may not begin early not to: a function of another class, and one whose run is paused before it has begun.
func TestEarlyWaits(t *testing.T) {
	h := newHeldBack(t, polity.EffectIdempotent)
	h.begin("idempotent")
	h.core.settle()
	if len(h.effects) != 0 || len(h.appends) != 1 {
		t.Errorf("%d effects have begun, and %d commits are on their way", len(h.effects), len(h.appends))
	}
	h = newHeldBack(t, polity.EffectNone)
	id, _ := h.begin("paused")
	h.core.pauseRun(id, "wait", func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	h.core.settle()
	if len(h.effects) != 0 || len(h.appends) != 1 {
		t.Errorf("paused: %d effects have begun, and %d commits are on their way", len(h.effects), len(h.appends))
	}
	h.acknowledge()
	h.core.resumeRun(id, func(error) {})
	h.core.settle()
	if len(h.effects) != 1 {
		t.Errorf("resumed: %d effects have begun", len(h.effects))
	}
}

// TestEarlyLearns wants commits not to wait for what is slow, but now and then.
func TestEarlyLearns(t *testing.T) {
	var e Early
	waited := 0
	for range 10_000 {
		if e.expected() {
			waited++
			e.late()
		}
	}
	if waited == 0 || waited > 25 {
		t.Errorf("a slow one was waited for %d times of 10000", waited)
	}
	for range 3 * earlySkipMax {
		if e.expected() {
			e.quick()
		}
	}
	for range 100 {
		if !e.expected() {
			t.Fatal("one that has become quick is not waited for")
		}
		e.quick()
	}
}
