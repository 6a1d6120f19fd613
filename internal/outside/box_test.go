package outside

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"polity.run/remote"
)

// TestBox plays an agent's comings and goings to its box: when is what put?
func TestBox(t *testing.T) {
	type step struct {
		at   time.Duration
		do   func(b *box, now time.Time)
		want string // the questions that are due then
	}
	here := func(state remote.State, working ...string) func(*box, time.Time) {
		return func(b *box, now time.Time) { b.hear(remote.Here{Instance: "a", State: state, Working: working}, now) }
	}
	missed := func(b *box, now time.Time) { b.missed(b.open[0], now) }
	agree := func(i int) func(*box, time.Time) {
		return func(b *box, now time.Time) { b.open[i].taken, b.open[i].sign = true, now }
	}
	answer := func(b *box, _ time.Time) { b.remove(b.open[0]) }
	const s = time.Second
	for name, steps := range map[string][]step{
		"put once":                         {{0, nil, "q0 q1"}, {s, nil, ""}, {14 * s, nil, ""}},
		"put again without a sign":         {{0, nil, "q0 q1"}, {15 * s, nil, "q0 q1"}, {16 * s, nil, ""}},
		"an answer is the end":             {{0, nil, "q0 q1"}, {s, answer, ""}, {15 * s, nil, "q1"}},
		"one is tried while nobody is":     {{0, nil, "q0 q1"}, {0, missed, ""}, {s, nil, "q0"}, {s + 1, nil, ""}, {2 * s, nil, "q0"}},
		"all when somebody comes":          {{0, nil, "q0 q1"}, {0, missed, ""}, {s, nil, "q0"}, {s, missed, ""}, {90 * s / 60, here(remote.Serving, []string{}...), "q0 q1"}},
		"who works is left alone":          {{0, here(remote.Serving, []string{}...), "q0 q1"}, {10 * s, here(remote.Serving, "q0"), ""}, {15 * s, nil, "q1"}, {20 * s, here(remote.Serving, "q0", "q1"), ""}, {34 * s, nil, ""}},
		"who says nothing is believed":     {{0, nil, "q0 q1"}, {s, agree(0), ""}, {10 * s, func(b *box, now time.Time) { b.hear(remote.Here{}, now) }, ""}, {15 * s, nil, "q1"}, {24 * s, nil, ""}, {25 * s, nil, "q0"}},
		"what its process took, it loses":  {{0, here(remote.Serving, []string{}...), "q0 q1"}, {s, agree(0), ""}, {5 * s, here(remote.Gone), ""}, {16 * s, nil, "q0 q1"}},
		"nothing for who drains":           {{0, here(remote.Draining, []string{}...), ""}, {s, here(remote.Serving, []string{}...), "q0 q1"}},
		"who drained and went is no more":  {{0, here(remote.Draining, []string{}...), ""}, {10 * s, here(remote.Gone), "q0 q1"}},
		"who drained and died, too":        {{0, here(remote.Draining, []string{}...), ""}, {30 * s, nil, ""}, {31 * s, nil, "q0 q1"}},
		"one serves though another drains": {{0, here(remote.Draining), ""}, {s, func(b *box, now time.Time) { b.hear(remote.Here{Instance: "b"}, now) }, "q0 q1"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &box{open: []*question{{id: "q0"}, {id: "q1"}}}
			start := time.Unix(1e9, 0)
			for i, step := range steps {
				now := start.Add(step.at)
				if step.do != nil {
					step.do(b, now)
				}
				var due []string
				for _, q := range b.due(now) {
					due = append(due, q.id)
				}
				if got := strings.Join(due, " "); got != step.want {
					t.Fatalf("step %d, after %s: %q is due, want %q", i+1, step.at, got, step.want)
				}
			}
		})
	}
}

func TestBoxGivesNoMoreThanItsWindow(t *testing.T) {
	b := &box{}
	for i := range windowMax + 10 {
		b.open = append(b.open, &question{id: fmt.Sprint(i)})
	}
	now := time.Unix(1e9, 0)
	if n := len(b.due(now)); n != windowMax {
		t.Errorf("%d are due", n)
	}
	b.remove(b.open[3])
	if due := b.due(now); len(due) != 1 || due[0].id != fmt.Sprint(windowMax) {
		t.Errorf("after one answer: %v", due)
	}
}
