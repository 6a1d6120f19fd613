package saga_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"polity.run/fault"
	"polity.run/saga"
)

func Example() {
	var a saga.Account
	a.Did(saga.Act{Name: "seat"})
	a.Did(saga.Act{Name: "pay"})
	a.Begin("no paper")
	for acts := a.Next(); len(acts) > 0; acts = a.Next() {
		brief, err := a.Brief(acts[0])
		fmt.Println(string(brief), err)
		a.Undid(acts[0].Name, saga.Undone{Name: "undo." + acts[0].Name})
	}
	fmt.Println(a.Report().Status)
	// Output:
	// {"duty":"undo","stage":"pay","input":null,"reason":"no paper","effect_key":""} <nil>
	// {"duty":"undo","stage":"seat","input":null,"reason":"no paper","effect_key":""} <nil>
	// compensated
}

// TestOrder undoes acts that rest on each other, in accounts of many seeds, with some that cannot be undone: each is undone or left once, and with AtOnce
// never before what rested on it; without, the last one first.
func TestOrder(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		a := saga.Account{AtOnce: r.IntN(2) == 0}
		var names []string
		after := map[string][]string{}
		for i := range r.IntN(8) {
			act := saga.Act{Name: fmt.Sprint(i)}
			for _, n := range names {
				if r.IntN(3) == 0 {
					act.After = append(act.After, n)
				}
			}
			if r.IntN(6) == 0 {
				act.Left = "nobody can"
			}
			after[act.Name] = act.After
			names = append(names, act.Name)
			a.Did(act)
		}
		a.Begin("why")
		var open, over []string
		for {
			for _, act := range a.Next() {
				for name, on := range after {
					if a.AtOnce && slices.Contains(on, act.Name) && !slices.Contains(over, name) && !left(&a, name) {
						t.Fatalf("seed %d: %s is undone before %s, which rested on it", seed, act.Name, name)
					}
				}
				open = append(open, act.Name)
			}
			if len(open) == 0 {
				break
			}
			if !a.AtOnce && len(open) > 1 {
				t.Fatalf("seed %d: %v are undone at once", seed, open)
			}
			i := r.IntN(len(open))
			name := open[i]
			open = slices.Delete(open, i, i+1)
			over = append(over, name)
			if r.IntN(4) == 0 {
				a.Failed(name, "no")
			} else {
				a.Undid(name, saga.Undone{Name: name})
			}
		}
		report := a.Report()
		if got := len(report.Undone) + len(report.Left); got != len(names) || !a.Over() {
			t.Fatalf("seed %d: of %v there are %+v", seed, names, report)
		}
		if !a.AtOnce && !slices.IsSortedFunc(over, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Fatalf("seed %d: undone in the order %v", seed, over)
		}
	}
}

func left(a *saga.Account, name string) bool {
	return slices.ContainsFunc(a.Report().Left, func(l saga.Left) bool { return l.Stage == name })
}

func TestStatuses(t *testing.T) {
	for want, do := range map[string]func(a *saga.Account){
		saga.Compensated: func(a *saga.Account) { a.Undid("x", saga.Undone{}) },
		saga.Partly:      func(a *saga.Account) { a.GiveUp("a bound") },
		saga.Mended: func(a *saga.Account) {
			a.Failed("x", "no")
			for _, l := range a.Stuck() {
				a.Mended(l.Stage, []byte(`"by hand"`))
			}
		},
	} {
		a := saga.Account{}
		a.Did(saga.Act{Name: "x"})
		a.Begin("why")
		a.Next()
		if do(&a); a.Report().Status != want || len(a.Stuck()) > 0 && want != saga.Partly {
			t.Errorf("want %s, got %+v", want, a.Report())
		}
	}
}

func TestMayBeDone(t *testing.T) {
	for kind, want := range map[fault.Kind]bool{fault.Unknown: true, fault.Cancelled: true, fault.Timeout: true, fault.Unavailable: true, fault.Denied: false, fault.Failed: false, fault.Exhausted: false} {
		if got := saga.MayBeDone(&fault.Error{Kind: kind}, false); got != want {
			t.Errorf("%s: %t", kind, got)
		}
	}
	if !saga.MayBeDone(&fault.Error{Kind: fault.Exhausted, Bound: "wall"}, false) || !saga.MayBeDone(&fault.Error{Kind: fault.Exhausted, Bound: "turns"}, true) {
		t.Error("what a bound has stopped in the middle may have been done")
	}
}

func TestOf(t *testing.T) {
	for output, want := range map[string]bool{`{"saga":{"status":"partly"}}`: true, `{"saga":{"status":"fine"}}`: false, `{"saga":7}`: false, `7`: false, ``: false, `{"a":1}`: false} {
		if got := saga.Of([]byte(output)) != nil; got != want {
			t.Errorf("%s: %t", output, got)
		}
	}
}
