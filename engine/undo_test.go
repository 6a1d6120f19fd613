package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/pattern"
	"polity.run/saga"
)

// nested is a sequence around a hub whose steps say how they are undone.
const nested = `polity: v1
name: trip
agents:
  seat: {use: seat, skills: [{name: do, undo: {skill: undo}}, {name: undo}]}
  bank: {use: bank, skills: [{name: do, undo: {skill: undo, input: {receipt: $output.ok}}}, {name: undo, input: {type: object, required: [receipt]}}]}
  printer: {use: printer, skills: [{name: do}, {name: undo}]}
  office:
    pattern: hub
    specialists: [bank, printer]
    retries: 0
    plan: [{id: pay, agent: bank, skill: do}, {id: print, agent: printer, skill: do, input: {paid: $pay.ok}}]
org:
  pattern: sequence
  stages: [{agent: seat, skill: do}, {agent: office}]
`

// gate is an agent's work that waits until it is let through, or its context ends.
type gate struct{ reached, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 10), make(chan struct{})} }

func (g *gate) wait(ctx context.Context) error {
	g.reached <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestCancelledRunUndoes cancels a run while its third step is under way two organizations deep, and stops the node in the middle of undoing. The next one goes
// on there: the inner organization undoes first, then the outer one, everything once, and the run is cancelled.
func TestCancelledRunUndoes(t *testing.T) {
	w := &outside{keys: map[string]bool{}}
	print, refund := newGate(), newGate()
	agents := func() []*agent.Agent {
		return []*agent.Agent{
			w.agent("seat", nil),
			w.agent("bank", func(ctx context.Context, m polity.Message) error {
				if m.Skill == "undo" {
					return refund.wait(ctx)
				}
				return nil
			}),
			w.agent("printer", func(ctx context.Context, _ polity.Message) error { return print.wait(ctx) }),
		}
	}
	state := t.TempDir()
	e := open(t, state, agents()...)
	id, err := e.Start(t.Context(), engine.Request{Release: install(t, e, nested), Input: json.RawMessage(`{"to":"Rome"}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-print.reached
	if err := e.Cancel(t.Context(), id, "wrong date"); err != nil {
		t.Fatal(err)
	}
	<-refund.reached
	if s, err := e.Find(t.Context(), id); err != nil || s.Status.Final() {
		t.Fatalf("it has ended and nothing is undone: %+v %v", s, err)
	}
	stop(t, e)
	close(refund.open)
	e = open(t, state, agents()...)
	defer stop(t, e)
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCancelled || o.Fault.Text != "cancelled: wrong date" {
		t.Fatalf("%+v %v", o, err)
	}
	if r := saga.Of(o.Output); r == nil || r.Status != saga.Compensated || len(r.Undone) != 1 {
		t.Errorf("%s", o.Output)
	}
	if want := []string{"seat do", "bank do", "bank undo", "seat undo"}; !slices.Equal(w.done, want) {
		t.Errorf("the world saw %v, want %v", w.done, want)
	}
}

// TestKillUndoesNothing kills a run that waits for its undoing.
func TestKillUndoesNothing(t *testing.T) {
	w := &outside{keys: map[string]bool{}}
	print, refund := newGate(), newGate()
	e := open(t, t.TempDir(), w.agent("seat", nil), w.agent("bank", func(ctx context.Context, m polity.Message) error {
		if m.Skill == "undo" {
			return refund.wait(ctx)
		}
		return nil
	}), w.agent("printer", func(ctx context.Context, _ polity.Message) error { return print.wait(ctx) }))
	defer stop(t, e)
	id, err := e.Start(t.Context(), engine.Request{Release: install(t, e, nested), Input: json.RawMessage(`{"to":"Rome"}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-print.reached
	if err := e.Cancel(t.Context(), id, "wrong date"); err != nil {
		t.Fatal(err)
	}
	<-refund.reached
	if err := e.Kill(t.Context(), id, "now"); err != nil {
		t.Fatal(err)
	}
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCancelled || o.Fault.Text != "cancelled: now" || o.Output != nil {
		t.Fatalf("%+v %v", o, err)
	}
	if want := []string{"seat do", "bank do"}; !slices.Equal(w.done, want) {
		t.Errorf("the world saw %v, want %v", w.done, want)
	}
}

// TestReserveUndoes has a run reach the bounds of what it may use before its last step, and undo with what is kept for that.
func TestReserveUndoes(t *testing.T) {
	for name, test := range map[string]struct {
		bounds polity.Bounds
		status string
		want   []string
	}{
		"a part is kept":                {polity.Bounds{Turns: 4, UndoReserve: 50}, saga.Compensated, []string{"seat do", "bank do", "bank undo", "seat undo"}},
		"nothing is kept that would do": {polity.Bounds{Turns: 3, UndoReserve: 1}, saga.Partly, []string{"seat do", "bank do", "bank undo"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &outside{keys: map[string]bool{}}
			e := open(t, t.TempDir(), w.agent("seat", nil), w.agent("bank", nil), w.agent("printer", nil))
			defer stop(t, e)
			o, err := e.Run(t.Context(), engine.Request{Release: install(t, e, trip), Input: json.RawMessage(`{"to":"Rome"}`), Bounds: test.bounds})
			if err != nil || o.Status != polity.StatusExhausted {
				t.Fatalf("%+v %v", o, err)
			}
			if r := saga.Of(o.Output); r == nil || r.Status != test.status {
				t.Errorf("%s", o.Output)
			}
			if !slices.Equal(w.done, test.want) {
				t.Errorf("the world saw %v, want %v", w.done, test.want)
			}
		})
	}
}

// guarded is an organization whose payments a person lets go: by the stage, and two levels down by the skill.
const guarded = `polity: v1
name: trip
agents:
  seat: {use: seat, skills: [{name: do}, {name: undo}]}
  bank: {use: bank, skills: [{name: do, approve: {by: boss, timeout: 24h}, undo: {skill: undo}}, {name: undo}]}
  printer: {use: printer, skills: [{name: do}, {name: undo}]}
  boss: {human: {ask: "Mind the money."}}
  desk: {pattern: hub, specialists: [bank], plan: [{id: pay, agent: bank, skill: do}], retries: 0, replans: 0}
  office: {pattern: parallel, branches: [{agent: desk}]}
org:
  pattern: sequence
  stages: [{agent: seat, skill: do, approve: {by: boss}, undo: {agent: seat, skill: undo}}, {agent: office}]
`

// TestApprovalOfSteps restarts the node while a step waits, approves the one and denies the other, three organizations deep.
func TestApprovalOfSteps(t *testing.T) {
	w := &outside{keys: map[string]bool{}}
	agents := func() []*agent.Agent {
		return []*agent.Agent{w.agent("seat", nil), w.agent("bank", nil), w.agent("printer", nil)}
	}
	state := t.TempDir()
	e := open(t, state, agents()...)
	id, err := e.Start(t.Context(), engine.Request{Release: install(t, e, guarded), Input: json.RawMessage(`{"to":"Rome"}`)})
	if err != nil {
		t.Fatal(err)
	}
	q := asked(t, e)
	if q.Approval == nil || q.Approval.Action.Agent != "seat" || q.Approval.Action.Skill != "do" || string(q.Approval.Action.Input) != `{"to":"Rome"}` || q.Approval.Check() != nil {
		t.Fatalf("%+v", q.Approval)
	}
	if err := e.Answer(t.Context(), q.Key, json.RawMessage(`{"approve":true,"hash":"another"}`)); !errors.Is(err, fault.Conflict) {
		t.Errorf("an approval of another action: %v", err)
	}
	stop(t, e)
	e = open(t, state, agents()...)
	defer stop(t, e)
	if again := asked(t, e); again.Key != q.Key || again.Approval.Hash != q.Approval.Hash {
		t.Fatalf("after the restart it is %+v", again)
	}
	if len(w.done) > 0 {
		t.Fatalf("nobody has approved that %v", w.done)
	}
	if err := e.Answer(t.Context(), q.Key, json.RawMessage(`{"approve":true,"hash":"`+q.Approval.Hash+`"}`)); err != nil {
		t.Fatal(err)
	}
	q = asked(t, e)
	if !strings.HasPrefix(string(q.Run), string(id)+"/stage2.office/") || q.Approval.Action.Effect != "" {
		t.Errorf("%+v", q)
	}
	if err := e.Answer(t.Context(), q.Key, json.RawMessage(`{"approve":false,"reason":"too dear"}`)); err != nil {
		t.Fatal(err)
	}
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusFailed || !strings.Contains(o.Fault.Text, "boss did not approve it: too dear") {
		t.Fatalf("%+v %v", o, err)
	}
	var got pattern.SequenceResult
	if err := json.Unmarshal(o.Output, &got); err != nil || got.Saga == nil || got.Saga.Status != saga.Compensated {
		t.Errorf("%s %v", o.Output, err)
	}
	if want := []string{"seat do", "seat undo"}; !slices.Equal(w.done, want) {
		t.Errorf("the world saw %v, want %v", w.done, want)
	}
}
