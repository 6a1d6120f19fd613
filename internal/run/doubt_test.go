package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// payer pays once, and ends with how that went.
func payer() programs {
	return programs{
		deciders: map[string]polity.Decider{"payer": decideFunc(func(done int, e polity.Event) []polity.Command {
			switch {
			case done == 0:
				return []polity.Command{polity.Call("pay", "bank.pay", json.RawMessage(`{"sum":7}`))}
			case e.Fault != nil:
				return []polity.Command{polity.Finish(json.RawMessage(`"` + string(e.Fault.Kind) + `"`))}
			default:
				return []polity.Command{polity.Finish(e.Data)}
			}
		})},
		effects: map[string]polity.Effect{"bank.pay": polity.EffectExternal},
		asks:    map[string]time.Duration{"bank.pay": time.Minute},
	}
}

// teller is a destination that does and says what a test wants, in turn; the last of it again and again.
type teller struct {
	mu    sync.Mutex
	does  []func(ctx context.Context) (json.RawMessage, error)
	says  []func() (polity.Finding, error)
	keys  []string // of what was begun
	asked []string
	begun chan struct{}
}

func next[T any](list *[]T) T {
	one := (*list)[0]
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return one
}

func (w *teller) do(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
	w.mu.Lock()
	w.keys = append(w.keys, e.Key())
	do := next(&w.does)
	w.mu.Unlock()
	w.begun <- struct{}{}
	out, err := do(ctx)
	return out, polity.Usage{}, err
}

func (w *teller) ask(_ context.Context, e *Effect) (polity.Finding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, fmt.Sprintf("%s %s", e.Key(), e.Input))
	return next(&w.says)()
}

func hangs(ctx context.Context) (json.RawMessage, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func breaks(context.Context) (json.RawMessage, error) {
	return nil, fault.Unavailable.New("it breaks off")
}

func pays(context.Context) (json.RawMessage, error) { return json.RawMessage(`"paid"`), nil }

func finds(v polity.Verdict, output string) func() (polity.Finding, error) {
	return func() (polity.Finding, error) {
		f := polity.Finding{Verdict: v}
		if output != "" {
			f.Output, f.Receipt = json.RawMessage(output), json.RawMessage(`"r-1"`)
		}
		return f, nil
	}
}

func silent() (polity.Finding, error) {
	return polity.Finding{}, fault.Timeout.New("it does not answer")
}

// TestDoubt puts an effect in doubt, by a crash or by a connection that breaks off, and has its destination asked.
func TestDoubt(t *testing.T) {
	type does = []func(context.Context) (json.RawMessage, error)
	type says = []func() (polity.Finding, error)
	for name, tc := range map[string]struct {
		does  does // after it was put in doubt
		says  says
		want  string
		begun int // how often, with the first time
		asked bool
	}{
		"done":                {does{breaks}, says{finds(polity.VerdictDone, `"was paid"`)}, `"was paid"`, 1, true},
		"not done":            {does{pays}, says{finds(polity.VerdictNotDone, "")}, `"paid"`, 2, false},
		"not done, then done": {does{breaks}, says{finds(polity.VerdictNotDone, ""), finds(polity.VerdictDone, `"was paid"`)}, `"was paid"`, 2, true},
		"never done":          {does{breaks}, says{finds(polity.VerdictNotDone, "")}, `"unavailable"`, beginsMax, true},
		"unknown":             {does{breaks}, says{finds(polity.VerdictUnknown, "")}, `"unknown"`, 1, false},
		"silent":              {does{breaks}, says{silent}, `"unknown"`, 1, false},
	} {
		for _, how := range []string{"crash", "in flight"} {
			t.Run(name+" after "+how, func(t *testing.T) {
				dir := t.TempDir()
				w := &teller{says: tc.says, begun: make(chan struct{}, 16)}
				cfg := Config{Catalog: payer(), Do: w.do, Ask: w.ask}
				w.does = append(does{breaks}, tc.does...)
				if how == "crash" {
					w.does[0] = hangs
				}
				n := openNode(t, dir, bus.SyncOS, cfg)
				mustOpen(t, n, rootID(1), "payer", polity.Bounds{})
				if how == "crash" {
					<-w.begun
					n.close(t)
					n = openNode(t, dir, bus.SyncOS, cfg)
				}
				o := endOf(t, n, rootID(1))
				if string(o.Output) != tc.want {
					t.Errorf("ended with %s %v, want %s", o.Output, o.Fault, tc.want)
				}
				key := string(rootID(1)) + "#pay"
				for _, k := range w.keys {
					if k != key {
						t.Errorf("begun with key %s, want %s", k, key)
					}
				}
				if len(w.keys) != tc.begun || w.asked[0] != key+` {"sum":7}` {
					t.Errorf("begun %d times, want %d; asked %q", len(w.keys), tc.begun, w.asked)
				}
				for _, e := range toldOf(t, n, rootID(1)) {
					if e.Kind == "result" && (e.Asked != tc.asked || tc.want == `"was paid"` && string(e.Receipt) != `"r-1"`) {
						t.Errorf("asked %t, receipt %s", e.Asked, e.Receipt)
					}
				}
				n.close(t)
				n = openNode(t, dir, bus.SyncOS, cfg) // it folds what it wrote
				defer n.close(t)
				if again := endOf(t, n, rootID(1)); string(again.Output) != string(o.Output) {
					t.Errorf("folded again: %s", again.Output)
				}
			})
		}
	}
}

// TestDoubtOfWhatIsCancelled wants a destination to be asked when a run is cancelled too, and nothing to be begun again for it.
func TestDoubtOfWhatIsCancelled(t *testing.T) {
	for verdict, want := range map[polity.Verdict]string{
		polity.VerdictDone: "", polity.VerdictNotDone: "cancelled", polity.VerdictUnknown: "unknown",
	} {
		t.Run(string(verdict), func(t *testing.T) {
			output := ""
			if verdict == polity.VerdictDone {
				output = `"was paid"`
			}
			w := &teller{begun: make(chan struct{}, 16), does: []func(context.Context) (json.RawMessage, error){hangs}, says: []func() (polity.Finding, error){finds(verdict, output)}}
			n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: payer(), Do: w.do, Ask: w.ask})
			defer n.close(t)
			mustOpen(t, n, rootID(1), "payer", polity.Bounds{})
			<-w.begun
			if err := n.Cancel(t.Context(), rootID(1), "enough"); err != nil {
				t.Fatal(err)
			}
			if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCancelled {
				t.Errorf("%+v", o)
			}
			for _, e := range toldOf(t, n, rootID(1)) {
				if e.Kind != "result" {
					continue
				}
				if got := e.Fault; got == nil && want != "" || got != nil && string(got.Kind) != want {
					t.Errorf("ended with %v, want %q", got, want)
				}
			}
			if len(w.keys) != 1 || len(w.asked) != 1 {
				t.Errorf("begun %d times, asked %d times", len(w.keys), len(w.asked))
			}
		})
	}
}

// TestForkAsksNothing forks a run where its effect had begun: the destination knows the origin's key alone.
func TestForkAsksNothing(t *testing.T) {
	w := &teller{begun: make(chan struct{}, 16), does: []func(context.Context) (json.RawMessage, error){pays}, says: []func() (polity.Finding, error){finds(polity.VerdictNotDone, "")}}
	dir := t.TempDir()
	cfg := Config{Catalog: payer(), Do: w.do, Ask: w.ask}
	n := openNode(t, dir, bus.SyncOS, cfg)
	mustOpen(t, n, rootID(1), "payer", polity.Bounds{})
	endOf(t, n, rootID(1))
	if err := n.Fork(t.Context(), Fork{ID: rootID(2), Origin: rootID(1), Event: 2, Effects: true}); err != nil {
		t.Fatal(err)
	}
	if o := endOf(t, n, rootID(2)); string(o.Output) != `"unknown"` || len(w.asked) > 0 || len(w.keys) != 1 {
		t.Errorf("%s; asked %q", o.Output, w.asked)
	}
	n.close(t)
	n = openNode(t, dir, bus.SyncOS, cfg)
	defer n.close(t)
	if o := endOf(t, n, rootID(2)); string(o.Output) != `"unknown"` {
		t.Errorf("folded again: %s", o.Output)
	}
}

// TestReconcile records what was found out of an effect after its run has ended, which stays as it ended.
func TestReconcile(t *testing.T) {
	dir := t.TempDir()
	w := &teller{begun: make(chan struct{}, 16), does: []func(context.Context) (json.RawMessage, error){breaks}}
	catalog := payer()
	catalog.asks = nil
	cfg := Config{Catalog: catalog, Do: w.do}
	n := openNode(t, dir, bus.SyncOS, cfg)
	id := rootID(1)
	mustOpen(t, n, id, "payer", polity.Bounds{})
	endOf(t, n, id)
	for _, f := range []polity.Finding{
		{Verdict: polity.VerdictDone, Output: json.RawMessage(`{"id":7}`), Receipt: json.RawMessage(`"r-1"`), By: "tool bank.find"},
		{Verdict: polity.VerdictUndone, By: "ada", Reason: "paid back"},
	} {
		if err := n.Reconcile(t.Context(), id, "pay", 1, f); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		name string
		f    polity.Finding
		want fault.Kind
	}{
		"no such effect": {"pai", polity.Finding{Verdict: polity.VerdictDone}, fault.NotFound},
		"no verdict":     {"pay", polity.Finding{}, fault.Invalid},
		"unknown":        {"pay", polity.Finding{Verdict: polity.VerdictUnknown}, fault.Invalid},
		"no JSON":        {"pay", polity.Finding{Verdict: polity.VerdictDone, Receipt: json.RawMessage(`{`)}, fault.Invalid},
		"undone output":  {"pay", polity.Finding{Verdict: polity.VerdictUndone, Output: json.RawMessage(`1`)}, fault.Invalid},
		"a long receipt": {"pay", polity.Finding{Verdict: polity.VerdictDone, Receipt: bytes.Repeat([]byte("1"), polity.ReceiptMax+1)}, fault.Invalid},
	} {
		if err := n.Reconcile(t.Context(), id, tc.name, 1, tc.f); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
	e, err := n.Began(t.Context(), id, "pay", 1)
	if err != nil || string(e.Input) != `{"sum":7}` || e.To != "bank.pay" || e.Key() != string(id)+"#pay" || e.Since.IsZero() {
		t.Errorf("%+v %v", e, err)
	}
	n.close(t)
	n = openNode(t, dir, bus.SyncOS, cfg)
	defer n.close(t)
	if o := endOf(t, n, id); string(o.Output) != `"unknown"` || o.Status != polity.StatusCompleted {
		t.Errorf("it ended with %s", o.Output)
	}
	var found []string
	for _, e := range toldOf(t, n, id) {
		if e.Finding != nil {
			found = append(found, fmt.Sprint(e.Name, " ", e.Finding.Verdict, " ", e.Finding.By, " ", e.Finding.Reason, " ", string(e.Finding.Receipt), " ", string(e.Finding.Output)))
		}
	}
	if diff := cmp.Diff([]string{`pay done tool bank.find  "r-1" {"id":7}`, `pay undone ada paid back  `}, found); diff != "" {
		t.Error(diff)
	}
	if r, err := n.Replay(t.Context(), id, Digest{}); err != nil || r.Difference != nil {
		t.Errorf("%+v %v", r, err)
	}
}
