package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/tool"
)

// What is looked for. An index keeps words in small letters and without what they have in common with the word before, so the end of a rare one is
// looked for, however it is written.
const (
	rareName = "Zebulon Xqartermaine"
	rareMark = "qartermaine"
)

// witness does one thing with what is known of a person, as its input says.
type witness struct{}

type task struct {
	Do    string `json:"do"`
	About string `json:"about"`
}

func (witness) Decide(state any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Kind == polity.Opened:
		var q task
		if err := json.Unmarshal(e.Data, &q); err != nil {
			return nil, []polity.Command{polity.Fail(fault.Of(fault.Invalid.New("%w", err)))}
		}
		switch about := mustJSON(task{"told", q.About}); q.Do {
		case "publish":
			return nil, []polity.Command{polity.Call("tell", "topics.publish", mustJSON(map[string]any{"topic": "people.news", "data": json.RawMessage(about)}))}
		case "publish much":
			about = mustJSON(task{"told", strings.Repeat(q.About+" ", polity.EventMax/(len(q.About)+1)-3)})
			return nil, []polity.Command{polity.Call("tell", "topics.publish", mustJSON(map[string]any{"topic": "people.news", "data": json.RawMessage(about)}))}
		case "pay":
			return nil, []polity.Command{polity.Call("pay", "bank.pay", about)}
		case "lose":
			return nil, []polity.Command{polity.Call("lose", "bank.lose", about)}
		case "hear": // one word, and then one that does not come
			return nil, []polity.Command{polity.Await("first", polity.Awaited{Signal: "word"}, 0)}
		case "listen":
			return nil, []polity.Command{polity.Await("news", polity.Awaited{Topic: "people.*"}, 0)}
		default:
			return nil, []polity.Command{polity.Finish(about)}
		}
	case e.Name == "first":
		return nil, []polity.Command{polity.Await("second", polity.Awaited{Signal: "word"}, 1000*time.Hour)}
	case e.Fault != nil:
		return nil, []polity.Command{polity.Fail(e.Fault)}
	default:
		return nil, []polity.Command{polity.Finish(e.Data)}
	}
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	check(err)
	return b
}

// bank pays with a receipt that names who paid, and loses what it is told to lose. What became of that it says once it is known.
func bank(t *testing.T, known *bool) []tool.Tool {
	pay, err := tool.Func(tool.Spec{Name: "bank.pay", Version: "1", Description: "Pays.", Effect: polity.EffectExternal, Receipt: "$.about"},
		func(_ context.Context, _ tool.Call, q task) (task, error) { return q, nil })
	if err != nil {
		t.Fatal(err)
	}
	lose, err := tool.Func(tool.Spec{Name: "bank.lose", Version: "1", Description: "Loses.", Effect: polity.EffectExternal},
		func(_ context.Context, _ tool.Call, q task) (task, error) {
			return task{}, fault.Unknown.New("nobody knows what became of %s", q.About)
		})
	if err != nil {
		t.Fatal(err)
	}
	return []tool.Tool{pay, tool.WithReconcile(lose, func(_ context.Context, c tool.Call, _ time.Time) (polity.Finding, error) {
		if !*known {
			return polity.Finding{}, fault.Denied.New("not yet, %s", c.Input)
		}
		return polity.Finding{Verdict: polity.VerdictDone, Output: c.Input}, nil
	})}
}

// places is what a node's files are looked through for.
type places struct {
	t     *testing.T
	state string
	e     *engine.Engine
	ids   map[string]polity.RunID // of what was done
	known bool                    // what became of what was lost
}

func (p *places) open(whole bool) {
	p.t.Helper()
	var err error
	p.e, err = engine.Open(p.t.Context(), engine.Config{
		State: p.state, Sync: engine.SyncOS, Tools: bank(p.t, &p.known), View: true, Whole: whole, Agents: []*agent.Agent{{
			Name: "witness", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: witness{}, Signals: map[string]json.RawMessage{"word": nil, "aside": nil},
		}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *places) start(do, about, subject string) polity.RunID {
	p.t.Helper()
	id, err := p.e.Start(p.t.Context(), engine.Request{Agent: "witness", Input: mustJSON(task{do, about}), Subject: subject})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *places) topics(q polity.TopicsRequest) polity.TopicsAnswer {
	p.t.Helper()
	a, err := p.e.Topics(p.t.Context(), q)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// use has every kind of payload written about a person.
func (p *places) use(subject string) {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	p.ids = map[string]polity.RunID{}
	p.topics(polity.TopicsRequest{Join: &polity.TopicGroup{Name: "readers", Topic: "people.*", Tries: 1}})
	p.ids["listen"] = p.start("listen", rareName, subject)
	p.ids["other"] = p.start("listen", "nobody", "somebody else")
	for _, do := range []string{"answer", "publish", "publish much", "pay", "lose"} {
		p.ids[do] = p.start(do, rareName, subject)
		if o, err := p.e.Wait(ctx, p.ids[do]); err != nil || (o.Fault != nil) != (do == "lose") {
			t.Fatalf("%s: %+v %v", do, o.Fault, err)
		}
	}
	p.ids["large"] = p.start("answer", strings.Repeat(rareName+" ", 4000), subject)
	key := polity.EffectKey(p.ids["lose"], "lose", 1)
	p.known = true
	if _, err := p.e.Reconcile(ctx, engine.Reconcile{Key: key}); err != nil {
		t.Fatal(err)
	}
	p.ids["hear"] = p.start("hear", rareName, subject)
	for i, name := range []string{"word", "aside"} { // the second lies in the mailbox
		if err := p.e.Signal(ctx, p.ids["hear"], name, fmt.Sprint(i), 0, mustJSON(rareName)); err != nil {
			t.Fatal(err)
		}
	}
	work := p.topics(polity.TopicsRequest{Take: &polity.TopicTake{Group: "readers", Wait: 10 * time.Second}}).Work
	if len(work) != 1 || !strings.Contains(string(work[0].Data), rareName) {
		t.Fatalf("a reader was given %+v", work)
	}
	p.topics(polity.TopicsRequest{Settle: &polity.TopicSettle{Group: "readers", Token: work[0].Token, Failed: "too hard"}})
	if _, err := p.e.Wait(ctx, p.ids["listen"]); err != nil {
		t.Fatal(err)
	}
	if found, err := p.e.Lookup(ctx, polity.Lookup{Of: polity.LookupRuns}); err != nil || len(found.Runs) == 0 {
		t.Fatalf("the view tells %+v, %v", found, err)
	}
}

// where returns the parts of the state folder that hold the name.
func (p *places) where() []string {
	p.t.Helper()
	var found []string
	err := filepath.WalkDir(p.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(bytes.ToLower(data), []byte(rareMark)) {
			return err
		}
		rel, err := filepath.Rel(p.state, path)
		part, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		for _, stream := range []string{"LOG_p0", "TOPICS", "DEAD"} {
			if part == "store" && strings.Contains(rel, stream) {
				part = stream
			}
		}
		found = append(found, part)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestErasedEverywhere writes every kind of payload about a person into a node's files. Without a subject the name stands in each of the places, which
// shows that it would be found; with one it stands in none, before and after it is erased. What others were told under keys of their own is
// theirs.
func TestErasedEverywhere(t *testing.T) {
	control := &places{t: t, state: t.TempDir()}
	control.open(false)
	control.use("")
	stop(t, control.e)
	if found, want := control.where(), []string{"DEAD", "LOG_p0", "TOPICS", "blobs", "dormant", "view"}; !slices.Equal(found, want) {
		t.Errorf("without a subject the name stands in %v, want %v", found, want)
	}

	p := &places{t: t, state: t.TempDir()}
	p.open(false)
	p.use("zebulon")
	stop(t, p.e)
	if found := p.where(); len(found) > 0 {
		t.Errorf("with a subject the name stands in %v", found)
	}
	p.open(false)
	p.readable()
	done, err := p.e.Erase(t.Context(), "zebulon", "asked for", true)
	if err != nil || len(done.Runs) != len(p.ids)-1 || !slices.Equal(done.Cancelled, []polity.RunID{p.ids["hear"]}) {
		t.Fatalf("%+v %v", done, err)
	}
	p.gone("after the erasure")
	for _, whole := range []bool{true, false} {
		stop(t, p.e)
		if found := p.where(); len(found) > 0 {
			t.Errorf("when it is erased the name stands in %v", found)
		}
		p.open(whole)
		p.gone(fmt.Sprintf("after a start, whole %t", whole))
	}
	stop(t, p.e)
	if found, err := engine.Check(t.Context(), p.state, nil); err != nil || len(found.Damage) > 0 {
		t.Errorf("%+v %v", found.Damage, err)
	}
}

// readable wants everything to come back as it was said.
func (p *places) readable() {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	for do, id := range p.ids {
		said := ""
		if err := p.e.History(ctx, id, func(n polity.Notice) error {
			said += string(n.Data) + string(n.Receipt)
			if n.Fault != nil {
				said += n.Fault.Text
			}
			if n.Finding != nil {
				said += string(n.Finding.Output)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"listen": 3, "pay": 4, "lose": 4, "hear": 4, "other": 2}[do]
		if strings.Count(said, rareName) < max(want, 1) {
			t.Errorf("%s tells %d times of the name, want %d: %.2000s", do, strings.Count(said, rareName), want, said)
		}
	}
	a := p.topics(polity.TopicsRequest{Read: &polity.TopicRead{Topic: "people.*"}})
	if len(a.Events) != 2 || !strings.Contains(string(a.Events[0].Data), rareName) {
		t.Errorf("published was %+v", a.Events)
	}
}

// gone wants nothing that was said about the person to be had from any door.
func (p *places) gone(when string) {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	for do, id := range p.ids {
		o, err := p.e.Wait(ctx, id)
		if do == "other" {
			if err != nil || !strings.Contains(string(o.Output), rareName) {
				t.Errorf("%s what somebody else was told is %s, %v", when, o.Output, err)
			}
			continue
		}
		if !errors.Is(err, fault.Erased) {
			t.Errorf("%s %s ended with %+v, %v", when, do, o, err)
		}
		if err := p.e.History(ctx, id, func(n polity.Notice) error {
			if text := string(mustJSON(n)); strings.Contains(text, rareMark) || !n.Erased && (n.Kind == "result" || n.Kind == "opened" || n.Kind == "signalled") && n.Fault == nil {
				t.Errorf("%s %s tells %s", when, do, text)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	a := p.topics(polity.TopicsRequest{Read: &polity.TopicRead{Topic: "people.*"}})
	if len(a.Events) > 0 || a.Next != 2 {
		t.Errorf("%s a reader of topics is given %+v, and goes on at %d", when, a.Events, a.Next)
	}
	if w := p.topics(polity.TopicsRequest{Take: &polity.TopicTake{Group: "readers", Most: 10, Wait: time.Millisecond}}).Work; len(w) > 0 {
		t.Errorf("%s a group is given %+v", when, w)
	}
	letters := p.topics(polity.TopicsRequest{Dead: &polity.TopicDead{Do: "list"}}).Letters
	if len(letters) != 1 || letters[0].Data != nil || !strings.Contains(letters[0].Reason, "erased") {
		t.Errorf("%s the dead letters are %+v", when, letters)
	}
	for _, of := range []polity.LookupOf{polity.LookupRuns, polity.LookupSteps, polity.LookupTexts} {
		filter := ""
		if of == polity.LookupTexts {
			filter = strings.ToLower(strings.Fields(rareName)[1])
		}
		found, err := p.e.Lookup(ctx, polity.Lookup{Of: of, Filter: filter, All: of == polity.LookupRuns})
		if err != nil || strings.Contains(string(mustJSON(found)), rareMark) || of == polity.LookupTexts && len(found.Texts) > 0 {
			t.Errorf("%s the view tells %s, %v", when, mustJSON(found), err)
		}
	}
	_, err := p.e.Reconcile(ctx, engine.Reconcile{Key: polity.EffectKey(p.ids["lose"], "lose", 1), Verdict: polity.VerdictDone, By: "ada", Reason: "seen"})
	if !errors.Is(err, fault.Erased) {
		t.Errorf("%s a finding is written: %v", when, err)
	}
}
