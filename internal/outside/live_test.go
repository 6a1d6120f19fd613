package outside

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/message"
	"polity.run/remote"
)

// lesson is lives whose questions come to a function, with what answers them.
func lesson(asked func(at ref, token, data string)) *lives {
	l := &lives{}
	l.attach(func(org string, p bus.Parcel) error {
		agent, token, _ := remote.Answered(p.Reply)
		asked(ref{org, agent}, token, string(p.Data))
		return nil
	})
	return l
}

func (l *lives) ask(ctx context.Context, to, data string, until time.Time) (string, error) {
	e := message.Envelope{ID: "1", From: message.To("shop"), To: []message.Address{message.To(polity.AgentName(to))}, Type: message.Query, Data: []byte(data)}
	out, err := l.AskLive(ctx, "shop", e.Or(), until)
	return string(out), err
}

// TestTokens wants tokens to be used again, after others, if they were answered, and never otherwise, nor for another agent.
func TestTokens(t *testing.T) {
	later := time.Now().Add(time.Hour)
	var l *lives
	answers, last := true, ""
	l = lesson(func(at ref, token, data string) {
		last = token
		if answers {
			if err := l.answered(at, token, bus.Parcel{Data: []byte(data)}); err != nil {
				t.Error(err)
			}
		}
	})
	ask := func(to string, until time.Time) (string, error) {
		out, err := l.ask(t.Context(), to, `"`+to+`"`, until)
		if err == nil && out != `"`+to+`"` {
			t.Errorf("%s answers %s", to, out)
		}
		return last, err
	}
	var tokens []string
	for range 10 * liveRest {
		token, err := ask("a", later)
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.Index(tokens, token); i >= 0 && len(tokens)-i < liveRest {
			t.Fatalf("%s is used again after %d", token, len(tokens)-i)
		}
		tokens = append(tokens, token)
		if token, err = ask("b", later); err != nil || slices.Contains(tokens, token) {
			t.Fatalf("b is asked with a's %s: %v", token, err)
		}
	}
	slices.Sort(tokens)
	if n := len(slices.Compact(tokens)); n != liveRest+1 {
		t.Errorf("%d tokens for one question at once", n)
	}
	answers = false
	lost, err := ask("a", time.Now())
	if !errors.Is(err, fault.Timeout) {
		t.Fatal(err)
	}
	answers = true
	for i := range 5 * liveRest {
		if err := l.answered(ref{"shop", "a"}, lost, bus.Parcel{Data: []byte("late")}); err != nil {
			t.Fatal(err)
		}
		if token, err := ask("a", later); err != nil || token == lost {
			t.Fatalf("question %d after it: %s %v", i, token, err)
		}
	}
}

// TestLateAnswers asks two agents at once, which answer sooner or later, while some wait no longer: whoever is answered has their own answer.
func TestLateAnswers(t *testing.T) {
	var l *lives
	var under sync.WaitGroup
	l = lesson(func(at ref, token, data string) {
		under.Go(func() {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			wrong := ref{at.org, "c"}
			if err := l.answered(wrong, token, bus.Parcel{Data: []byte(`"forged"`)}); err != nil && !errors.Is(err, fault.Denied) {
				t.Error(err)
			}
			if err := l.answered(at, token, bus.Parcel{Data: []byte(data)}); err != nil {
				t.Error(err)
			}
		})
	})
	const askers, each = 8, 200
	had := make([]int, askers)
	for n := range askers {
		under.Go(func() {
			for i := range each {
				data, wait := fmt.Sprintf(`"%d %d"`, n, i), time.Hour
				if i%4 == 0 {
					wait = 150 * time.Microsecond
				}
				switch out, err := l.ask(t.Context(), "ab"[n%2:n%2+1], data, time.Now().Add(wait)); {
				case err == nil && out == data:
					had[n]++
				case err == nil || !errors.Is(err, fault.Timeout):
					t.Errorf("%s is answered with %s %v", data, out, err)
				}
			}
		})
	}
	under.Wait()
	if len(l.open) > 0 || slices.Min(had) < each*3/4 {
		t.Errorf("%d are open, and %v of %d were answered", len(l.open), had, each)
	}
	for at, rests := range l.rests {
		if len(rests) > 2*liveRest || !strings.Contains("ab", string(at.agent)) {
			t.Errorf("%d tokens of %v rest", len(rests), at)
		}
	}
}
