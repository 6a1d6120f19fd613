package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/run"
)

// decideFunc is a decider whose state is the number of results.
type decideFunc func(n int, e polity.Event) []polity.Command

func (f decideFunc) Decide(state any, e polity.Event) (any, []polity.Command) {
	n, _ := state.(int)
	if e.Kind == polity.Result {
		n++
	}
	return n, f(n, e)
}

// team asks its reviewer, which thinks and calls a tool; then it pauses and tells a person.
var team = decideFunc(func(n int, e polity.Event) []polity.Command {
	switch {
	case e.Fault != nil:
		return []polity.Command{polity.Fail(e.Fault)}
	case n == 0:
		return []polity.Command{polity.Ask("review", "reviewer", "check", e.Data)}
	case n == 1:
		return []polity.Command{polity.Sleep("pause", time.Microsecond)}
	case n == 2:
		return []polity.Command{polity.Ask("approve.1.1", "boss", "", json.RawMessage(`{}`))}
	case n == 3:
		return []polity.Command{polity.Call("send", "mail.send", json.RawMessage(`{}`))}
	default:
		return []polity.Command{polity.Finish(json.RawMessage(`{"verdict":"all is well"}`))}
	}
})

var reviewer = decideFunc(func(n int, e polity.Event) []polity.Command {
	switch {
	case e.Fault != nil:
		return []polity.Command{polity.Fail(e.Fault)}
	case n == 0:
		return []polity.Command{polity.Think("think", "gpt", e.Data, polity.Usage{})}
	case n == 1:
		return []polity.Command{polity.Call("look", "code.grep", e.Data)}
	default:
		return []polity.Command{polity.Finish(json.RawMessage(`{"found":["a refund of 12 € was \"promised\""]}`))}
	}
})

// clerk waits for a signal and an event, and then does what nobody knows of whether it was done.
var clerk = decideFunc(func(n int, e polity.Event) []polity.Command {
	switch {
	case e.Kind == polity.Stopping:
		undo := polity.Await("undo.paid", polity.Awaited{Signal: "undone"}, 0)
		undo.Undo = true
		return []polity.Command{undo}
	case e.Name == "placed" && e.Fault != nil: // it was stopped meanwhile
		return nil
	case e.Name == "undo.paid":
		return []polity.Command{polity.Fail(fault.Of(fault.Cancelled.New("undone")))}
	case e.Fault != nil && e.Fault.Kind != fault.Unknown:
		return []polity.Command{polity.Fail(e.Fault)}
	case n == 0:
		return []polity.Command{polity.Await("paid", polity.Awaited{Signal: "paid"}, 0)}
	case n == 1:
		return []polity.Command{polity.Await("placed", polity.Awaited{Topic: "orders.*"}, 0)}
	case n == 2:
		return []polity.Command{polity.Call("lost", "mail.lost", json.RawMessage(`{}`))}
	default:
		return []polity.Command{polity.Finish(json.RawMessage(`"filed"`))}
	}
})

// world is a catalog.
type world struct{}

func (world) Program(_ run.Digest, agent string) (*run.Program, error) {
	switch agent {
	case "team":
		return &run.Program{Decider: team}, nil
	case "reviewer":
		return &run.Program{Decider: reviewer}, nil
	case "boss":
		return &run.Program{Work: run.Work{Class: polity.EffectIdempotent}}, nil
	case "clerk":
		return &run.Program{Decider: undoer{clerk}, Signal: func(string, json.RawMessage) error { return nil }}, nil
	default:
		return nil, fault.NotFound.New("no agent %q", agent)
	}
}

func (world) Work(_ run.Digest, _ string, _ polity.Verb, to string) (run.Work, error) {
	if strings.HasPrefix(to, "mail.") {
		return run.Work{Class: polity.EffectExternal}, nil
	}
	return run.Work{Class: polity.EffectNone}, nil
}

// do does effects. What the input says, goes wrong.
func do(_ context.Context, e *run.Effect) (json.RawMessage, polity.Usage, error) {
	switch e.To {
	case "gpt":
		return json.RawMessage(`{"text":"line one\nline two","about":` + string(e.Input) + `}`), polity.Usage{InputTokens: 100, OutputTokens: 20, MicroUSD: 1500}, nil
	case "code.grep":
		if strings.Contains(string(e.Input), "broken") {
			return nil, polity.Usage{}, fault.Failed.New("the zebra tool broke")
		}
		return json.RawMessage(`"` + strings.Repeat(strings.Repeat("x", 999)+" ", 40) + `padding needle"`), polity.Usage{}, nil
	case "mail.lost":
		return nil, polity.Usage{}, fault.Unknown.New("no answer")
	case "boss":
		return json.RawMessage(`{"approve":true,"hash":"abc","reason":"as agreed"}`), polity.Usage{}, nil
	default:
		return json.RawMessage(`"sent"`), polity.Usage{}, nil
	}
}

// openLog opens a partition on a real log.
func openLog(t testing.TB, dir string) *run.Partition {
	t.Helper()
	b, err := bus.Open(context.Background(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	acks := run.NewAcks()
	l, err := b.Log(context.Background(), "p0", acks.Put)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := run.OpenBlobs(filepath.Join(dir, "blobs"), false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := run.Open(context.Background(), l, acks, run.Config{Catalog: world{}, Blobs: blobs, Do: do, Anchor: filepath.Join(dir, "anchor")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		b.Close()
	})
	return p
}

// openView opens a view that follows a log until the returned function is called.
func openView(t testing.TB, dsn, dir string, p Log) (*View, func()) {
	t.Helper()
	v, err := Open(Config{Dir: dir, DSN: dsn, Log: p, Person: func(_ run.Digest, agent string) bool { return agent == "boss" }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); v.Run(ctx) }()
	return v, func() {
		cancel()
		<-ended
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

func rootID(i int) polity.RunID { return polity.NewRunID(0, fmt.Appendf(nil, "%d", i)) }

// runs does so many runs, of which every fifth goes wrong.
func runs(t testing.TB, p *run.Partition, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		input := fmt.Sprintf(`{"order":%d,"text":"is it ready?"}`, i)
		if i%5 == 0 {
			input = `"broken"`
		}
		if _, err := p.Run(context.Background(), run.Request{ID: rootID(i), Agent: "team", Skill: "decide", Input: json.RawMessage(input)}); err != nil {
			t.Fatal(err)
		}
	}
}

func caughtUp(t testing.TB, v *View, p Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := v.WaitFor(ctx, p.Tip()); err != nil {
		t.Fatalf("%v; %+v", err, v.State())
	}
}

func ask(t testing.TB, v *View, q polity.Lookup) polity.Found {
	t.Helper()
	found, err := v.Lookup(t.Context(), q, Live{})
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	if found.View.Behind != 0 {
		t.Errorf("%+v is behind: %+v", q, found.View)
	}
	return found
}

// undoer undoes what it did when it is to stop.
type undoer struct{ decideFunc }

func (undoer) Stops(any) bool { return true }

// office does what is told of with more than steps: clerks 2000 to 2003, of which one has ended, one waits for a signal and is paused, one for an event,
// and one undoes what it did.
func office(t testing.TB, p *run.Partition) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		must(p.Open(ctx, run.Request{ID: rootID(2000 + i), Agent: "clerk", Skill: "file", Input: json.RawMessage(`{"order":17}`), Conversation: []string{"", "ada", "", "bob"}[i]}))
	}
	must(p.Signal(ctx, rootID(2000), "paid", "bank-1", 0, json.RawMessage(`{"by":"walrus"}`)))
	must(p.Signal(ctx, rootID(2002), "paid", "bank-2", 0, json.RawMessage(`{"by":"otter"}`)))
	must(p.Signal(ctx, rootID(2003), "paid", "bank-3", 0, json.RawMessage(`{"by":"otter"}`)))
	must(p.Pause(ctx, rootID(2002), "lunch"))
	must(p.Resume(ctx, rootID(2002)))
	deliver := func(place uint64, topic, id string) {
		taken := make(chan error, 1)
		if !p.Deliver(polity.Published{Topic: topic, ID: id, Data: json.RawMessage(`{"what":"a giraffe"}`), Seq: place}, "", func(err error) { taken <- err }) {
			t.Fatal("the partition has ended")
		}
		must(<-taken)
	}
	must(p.Pause(ctx, rootID(2002), "no events yet"))
	must(p.Resume(ctx, rootID(2002)))
	must(p.Cancel(ctx, rootID(2003), "no more"))
	deliver(1, "lights.out", "from outside")
	deliver(2, "orders.placed", string(rootID(2001))+"#tell")
	for _, id := range []polity.RunID{rootID(2000), rootID(2002)} {
		if _, err := p.Wait(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	must(p.Pause(ctx, rootID(2001), "lunch"))
	must(p.Reconcile(ctx, rootID(2000), "lost", 1, polity.Finding{Verdict: polity.VerdictDone, By: "ada", Reason: "the bank says so"}))
}

// TestSameFromZero follows a log while it grows, being stopped in between at any time, and wants what that made to be what one reading from
// the first commit makes: also with forks, with texts in blobs, and after the log was opened anew.
func TestSameFromZero(t *testing.T) { each(t, checkSameFromZero) }

func checkSameFromZero(t *testing.T, dsn string) {
	dir := t.TempDir()
	p := openLog(t, dir)
	random := rand.New(rand.NewPCG(1, 2))
	live := filepath.Join(dir, "live")
	for i := range 12 {
		_, stop := openView(t, dsn, live, p)
		runs(t, p, 10*i, 10*i+10)
		if i == 5 {
			office(t, p)
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // it is stopped at one place or another; nothing depends on where
		stop()
	}
	for i := range 5 {
		if err := p.Fork(t.Context(), run.Fork{ID: rootID(1000 + i), Origin: rootID(1), Event: 2 + i, Effects: i%2 == 0}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(t.Context(), rootID(1000+i)); err != nil {
			t.Fatal(err)
		}
	}
	v, stop := openView(t, dsn, live, p)
	defer stop()
	caughtUp(t, v, p)
	fresh, stopFresh := openView(t, dsn, filepath.Join(dir, "fresh"), p)
	defer stopFresh()
	caughtUp(t, fresh, p)
	grown, once := Content(t, v), Content(t, fresh)
	if len(once) < 120*10 || !slices.ContainsFunc(once, func(l string) bool { return strings.Contains(l, "needle") }) {
		t.Fatalf("only %d lines", len(once))
	}
	if d := cmp.Diff(once, grown); d != "" {
		t.Fatalf("(-at once +as it grew) %s", d)
	}
	if err := v.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, v, p)
	if d := cmp.Diff(once, Content(t, v)); d != "" {
		t.Fatalf("(-at once +made again) %s", d)
	}
}

// TestThrownAway wants a view that cannot be used to be made again by itself.
func TestThrownAway(t *testing.T) { each(t, checkThrownAway) }

func checkThrownAway(t *testing.T, dsn string) {
	one, two := openLog(t, t.TempDir()), openLog(t, t.TempDir())
	runs(t, one, 0, 10)
	runs(t, two, 0, 3)
	tests := map[string]func(t *testing.T, dir string){
		"a table is gone": func(t *testing.T, dir string) { change(t, dsn, dir, "DROP TABLE position") },
		"other log":       func(*testing.T, string) {},
		"log goes back":   func(t *testing.T, dir string) { change(t, dsn, dir, "UPDATE position SET seq = seq + 1000") },
		"other version": func(t *testing.T, dir string) {
			if dsn == "" {
				change(t, dsn, dir, "PRAGMA user_version = 99")
			} else {
				change(t, dsn, dir, "UPDATE polity_view SET version = 99")
			}
		},
	}
	if dsn == "" {
		tests["no database"] = func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, fileName), []byte(strings.Repeat("hello ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	fresh, stop := openView(t, dsn, t.TempDir(), two)
	caughtUp(t, fresh, two)
	want := Content(t, fresh)
	stop()
	for name, harm := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			v, stop := openView(t, dsn, dir, one)
			caughtUp(t, v, one)
			stop()
			harm(t, dir)
			v, stop = openView(t, dsn, dir, two)
			defer stop()
			for v.State().Position != two.Tip() { // its position of before may be larger
				time.Sleep(time.Millisecond)
			}
			if d := cmp.Diff(want, Content(t, v)); d != "" {
				t.Error(d)
			}
		})
	}
}

// change does something to the tables of a view that nobody follows.
func change(t *testing.T, dsn, dir, statement string) {
	t.Helper()
	s, err := openStore(Config{Dir: dir, DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	one, err := s.session(t.Context(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	if dsn != "" {
		err = s.(*server).each(t.Context(), statement)
	} else {
		err = one.put(statement)
	}
	if err := errors.Join(err, one.close(), s.close()); err != nil {
		t.Fatal(err)
	}
}

// ids are the numbers of the runs of a list.
func ids(list []polity.RunRow) string {
	var all []string
	for _, r := range list {
		all = append(all, fmt.Sprint(numbers()[r.ID.Root()])+strings.TrimPrefix(string(r.ID), string(r.ID.Root())))
	}
	return strings.Join(all, " ")
}

// numbers are the numbers of root IDs.
var numbers = sync.OnceValue(func() map[polity.RunID]int {
	all := map[polity.RunID]int{}
	for i := range 2010 {
		all[rootID(i)] = i
	}
	return all
})

func TestLookupRuns(t *testing.T) { each(t, checkLookupRuns) }

func checkLookupRuns(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	v, stop := openView(t, dsn, t.TempDir(), p)
	defer stop()
	runs(t, p, 0, 7)
	if err := p.Fork(t.Context(), run.Fork{ID: rootID(1000), Origin: rootID(1), Event: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(t.Context(), rootID(1000)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		filter string
		all    bool
		want   string
	}{
		{"", false, "1000 6 5 4 3 2 1 0"},
		{"status:failed", false, "1000 5 0"}, // the fork may not send
		{"status:failed,running", false, "1000 5 0"},
		{"status!=failed", false, "6 4 3 2 1"},
		{"-status:failed", false, "6 4 3 2 1"},
		{"status:running", false, ""},
		{"agent:team status:completed", false, "6 4 3 2 1"},
		{"agent:team,x*", false, "1000 6 5 4 3 2 1 0"},
		{"agent:te*", false, "1000 6 5 4 3 2 1 0"},
		{"agent:te", false, ""},
		{"agent:reviewer", false, ""},
		{"with:reviewer", false, "1000 6 5 4 3 2 1 0"},
		{"agent:reviewer status:failed", true, "5/review 0/review"},
		{"team:team agent!=team status:completed cost>0", true, "6/review 4/review 3/review 2/review 1000/review 1/review"},
		{"skill:decide", false, "1000 6 5 4 3 2 1 0"},
		{"skill:check", true, "6/review 5/review 4/review 3/review 2/review 1000/review 1/review 0/review"},
		{"cost>0.001 tokens>=120 started>-1h", false, "1000 6 5 4 3 2 1 0"},
		{"cost>0.0015", false, ""},
		{"started<-1h", false, ""},
		{"took<1d -took>2d", false, "1000 6 5 4 3 2 1 0"},
		{"fault:failed", false, "5 0"},
		{"fault!=failed", false, "1000 6 4 3 2 1"},
		{"-fault:failed", false, "1000 6 4 3 2 1"},
		{"tool:mail.send", false, "1000 6 4 3 2 1"},
		{"tool:code.* model:gpt", false, "1000 6 5 4 3 2 1 0"},
		{"-tool:mail.send", false, "5 0"},
		{"tool!=mail.send", false, "5 0"},
		{"tool:code.grep", true, "6/review 5/review 4/review 3/review 2/review 1000/review 1/review 0/review"},
		{"id:" + string(rootID(3)), false, "3"},
		{"id:" + string(rootID(3))[:10] + "*", false, "3"},
		{"fork:" + string(rootID(1)), false, "1000"},
		{"release:0*", false, "1000 6 5 4 3 2 1 0"},
		{"zebra", false, "5 0"},
		{"ZEBRA tool", false, "5 0"},
		{"-zebra", false, "1000 6 4 3 2 1"},
		{`"refund of 12"`, false, "1000 6 4 3 2 1"},
		{`"12 refund"`, false, ""},
		{"needle", false, "1000 6 4 3 2 1"},
		{`"line two"`, false, "1000 6 5 4 3 2 1 0"},
		{"order", false, ""}, // the name of a field
		{"verdict", false, ""},
		{`"is it ready" -needle`, false, ""},
		{`"--" -"' OR 1=1"`, false, ""},
		{`agent:"' OR 1=1 --"`, false, ""},
		{`"\" OR words MATCH \"a"`, false, ""},
	}
	for _, most := range []effort{v.most, {3, 10_000, time.Minute}, {1, 3, 0}} { // the answer is the same, however it is looked up
		v.most = most
		for _, tt := range tests {
			found := every(t, v, polity.Lookup{Of: polity.LookupRuns, Filter: tt.filter, All: tt.all})
			if got := ids(found.Runs); got != tt.want {
				t.Errorf("%q (%v)\n got %s\nwant %s", tt.filter, most, got, tt.want)
			}
		}
	}
	found := ask(t, v, polity.Lookup{Of: polity.LookupRuns, Filter: "id:" + string(rootID(5))})
	got := found.Runs[0]
	s, err := p.Find(t.Context(), rootID(5))
	if err != nil {
		t.Fatal(err)
	}
	if got.Fault == nil || got.Fault.Kind != fault.Failed || got.Fault.Text != "the zebra tool broke" {
		t.Errorf("fault %v", got.Fault)
	}
	got.Fault = nil // which the kernel's has only of a stopped run
	if d := cmp.Diff(polity.RunRow{Summary: s, Skill: "decide", Team: "team", Release: strings.Repeat("0", 64)}, got); d != "" {
		t.Errorf("(-kernel +view) %s", d)
	}
	stopped, err := v.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Filter: "status:stopped"}, Live{Stopped: []string{string(rootID(4))}})
	if err != nil || ids(stopped.Runs) != "4" {
		t.Errorf("stopped: %s, %v", ids(stopped.Runs), err)
	}
}

// TestPages wants the pages of a list, put together, to be the list, whatever it is sorted by.
func TestPages(t *testing.T) { each(t, checkPages) }

func checkPages(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	v, stop := openView(t, dsn, t.TempDir(), p)
	defer stop()
	runs(t, p, 0, 23)
	pages(t, v)
	v.most = effort{1, 3, 0} // as if it took long to look through them
	pages(t, v)
}

// every asks for page after page.
func every(t *testing.T, v *View, q polity.Lookup) (all polity.Found) {
	t.Helper()
	for {
		found := ask(t, v, q)
		all.Runs, all.Steps, all.Texts = append(all.Runs, found.Runs...), append(all.Steps, found.Steps...), append(all.Texts, found.Texts...)
		if q.After = found.Next; q.After == "" {
			return all
		}
	}
}

func pages(t *testing.T, v *View) {
	t.Helper()
	for _, sort := range []string{"", "started", "-started", "ended", "-ended", "cost", "-cost", "tokens", "-tokens", "took", "-took"} {
		for _, all := range []bool{false, true} {
			q := polity.Lookup{Of: polity.LookupRuns, Sort: sort, All: all, Limit: 1000}
			whole := ids(every(t, v, q).Runs)
			q.Limit = 4
			if got := ids(every(t, v, q).Runs); got != whole || len(strings.Fields(whole)) != map[bool]int{false: 23, true: 46}[all] {
				t.Errorf("sorted by %q:\n got %s\nwant %s", sort, got, whole)
			}
		}
	}
	for _, of := range []polity.LookupOf{polity.LookupSteps, polity.LookupTexts} {
		q := polity.Lookup{Of: of, Filter: "line -nowhere", Limit: 1000}
		whole := every(t, v, q)
		q.Limit = 5
		if got := every(t, v, q); !cmp.Equal(whole, got) || len(got.Steps)+len(got.Texts) != 23 {
			t.Errorf("%s: %d and %d rows", of, len(got.Steps), len(got.Texts))
		}
	}
	first := ask(t, v, polity.Lookup{Of: polity.LookupRuns, Limit: 1})
	_, err := v.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Sort: "cost", After: first.Next}, Live{})
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("a page of another order: %v", err)
	}
}

func TestLookupRest(t *testing.T) { each(t, checkLookupRest) }

func checkLookupRest(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	v, stop := openView(t, dsn, t.TempDir(), p)
	defer stop()
	runs(t, p, 0, 5)
	if err := p.Fork(t.Context(), run.Fork{ID: rootID(1000), Origin: rootID(1), Event: 5, Effects: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(t.Context(), rootID(1000)); err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, s := range ask(t, v, polity.Lookup{Of: polity.LookupSteps, Run: rootID(1)}).Steps {
		steps = append(steps, fmt.Sprintf("%s %s %s %s %s %t %v", s.Agent, s.Command, s.Verb, s.To, s.Status, s.Person, s.Decision))
	}
	want := []string{
		"reviewer think think gpt done false <nil>", "reviewer look call code.grep done false <nil>", "team pause sleep  done false <nil>",
		"team approve.1.1 ask boss done true &{true abc as agreed  false}", "team send call mail.send done false <nil>",
	}
	if d := cmp.Diff(want, steps); d != "" {
		t.Error(d)
	}
	if got := ask(t, v, polity.Lookup{Of: polity.LookupSteps, Run: rootID(1).Child("review", 1)}).Steps; len(got) != 2 {
		t.Errorf("%d steps of a part", len(got))
	}
	taken := 0
	for _, s := range ask(t, v, polity.Lookup{Of: polity.LookupSteps, Run: rootID(1000)}).Steps {
		if s.Taken {
			taken++
		}
	}
	if taken != 2 {
		t.Errorf("%d steps of the fork were taken over", taken)
	}
	if got := ask(t, v, polity.Lookup{Of: polity.LookupSteps, Filter: "status:failed to:code.grep"}).Steps; len(got) != 1 || !strings.Contains(got[0].Fault, "zebra") {
		t.Errorf("failed calls: %+v", got)
	}
	if got := ask(t, v, polity.Lookup{Of: polity.LookupSteps, Filter: "person:yes"}).Steps; len(got) != 5 {
		t.Errorf("%d questions", len(got))
	}
	text := ask(t, v, polity.Lookup{Of: polity.LookupTexts, Filter: "zebra part:output"}).Texts
	if len(text) != 3 || text[2].Command != "look" || text[2].Excerpt != "the zebra tool broke" || text[0].Command != "" {
		t.Errorf("texts: %+v", text)
	}
	text = ask(t, v, polity.Lookup{Of: polity.LookupTexts, Filter: "needle", Limit: 1}).Texts
	if len(text) != 1 || !strings.HasSuffix(text[0].Excerpt, "padding needle") || !strings.HasPrefix(text[0].Excerpt, "…") {
		t.Errorf("a text in a blob: %+v", text)
	}
	cost := func(q polity.Lookup) string {
		var all []string
		q.Of = polity.LookupCosts
		for _, c := range ask(t, v, q).Costs {
			all = append(all, fmt.Sprintf("%s %d %d $%d", c.By, c.Calls, c.Failed, c.Usage.MicroUSD))
		}
		return strings.Join(all, ", ")
	}
	today := time.Now().UTC().Format(time.DateOnly)
	for _, tt := range []struct {
		q    polity.Lookup
		want string
	}{
		{polity.Lookup{}, "reviewer 10 1 $7500, boss 5 0 $0, team 5 0 $0"}, // what the fork took over was not paid again
		{polity.Lookup{By: "model"}, "gpt 5 0 $7500"},
		{polity.Lookup{By: "tool"}, "code.grep 5 1 $0, mail.send 5 0 $0"},
		{polity.Lookup{By: "skill"}, "check 10 1 $7500, decide 10 0 $0"},
		{polity.Lookup{By: "day"}, today + " 20 1 $7500"},
		{polity.Lookup{By: "model", Filter: "agent:team"}, ""},
		{polity.Lookup{By: "model", Filter: "day>=" + today}, "gpt 5 0 $7500"},
		{polity.Lookup{By: "model", Filter: "day<" + today}, ""},
		{polity.Lookup{By: "agent", Run: rootID(1)}, "reviewer 2 0 $1500, boss 1 0 $0, team 1 0 $0"},
		{polity.Lookup{By: "model", Run: rootID(1000)}, ""},
	} {
		if got := cost(tt.q); got != tt.want {
			t.Errorf("%+v\n got %s\nwant %s", tt.q, got, tt.want)
		}
	}
	var agents []string
	for _, a := range ask(t, v, polity.Lookup{Of: polity.LookupAgents}).Agents {
		agents = append(agents, fmt.Sprintf("%s %d=%d+%d %d-%d $%d", a.Agent, a.Runs, a.Completed, a.Failed, a.Calls, a.Errors, a.Usage.MicroUSD))
	}
	if d := cmp.Diff([]string{"boss 0=0+0 5-0 $0", "reviewer 5=4+1 10-1 $7500", "team 6=5+1 5-0 $0"}, agents); d != "" {
		t.Error(d)
	}
}

func TestOffice(t *testing.T) { each(t, checkOffice) }

func checkOffice(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	v, stop := openView(t, dsn, t.TempDir(), p)
	defer stop()
	office(t, p)
	live := Live{Current: p.Current}
	for _, tt := range []struct{ filter, want string }{
		{"paused:yes", "2001"},
		{"paused:no", "2003 2002 2000"},
		{"status:running", "2003 2001"},
		{"undoing:yes", "2003"},
		{"conversation:ada", "2001"},
		{"conversation:*", "2003 2001"},
		{"conversation!=ada", "2003 2002 2000"},
		{"signal:paid", "2003 2002 2000"},
		{"-signal:pa*", "2001"},
		{"published:orders.*", "2001"},
		{"published:lights.out", ""},
		{"waiting:signal", "2003 2001"},
		{`waiting:"signal paid"`, "2001"},
		{"waiting:sig", ""},
		{"waiting:sig*", "2003 2001"},
		{"waiting:topic", ""},
		{"-waiting:signal status:running", ""},
		{"waiting!=topic", "2003 2001"},
		{"waiting:signal conversation:bob", "2003"},
		{"walrus", "2000"},
		{"giraffe", "2002 2001 2000"}, // two were told, and one published
	} {
		found, err := v.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Filter: tt.filter}, live)
		if got := ids(found.Runs); err != nil || got != tt.want {
			t.Errorf("%q: %s, %v; want %s", tt.filter, got, err, tt.want)
		}
	}
	var pages []string
	total := 0
	going, err := v.Going(t.Context())
	for _, l := range going {
		total += l.Running
	}
	if err != nil || total != 2 {
		t.Errorf("not 2 root runs go on, but %+v, %v", going, err)
	}
	for q := (polity.Lookup{Of: polity.LookupRuns, Filter: "waiting:signal", Limit: 1}); ; {
		found, err := v.Lookup(t.Context(), q, live)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, ids(found.Runs))
		if q.After = found.Next; q.After == "" {
			break
		}
	}
	if got := strings.Join(pages, ", "); got != "2003, 2001" && got != "2003, 2001, " {
		t.Errorf("pages: %s", got)
	}
	if _, err := v.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Filter: "waiting:signal"}, Live{}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("nobody knows: %v", err)
	}
	steps := func(filter string) string {
		var all []string
		for _, s := range ask(t, v, polity.Lookup{Of: polity.LookupSteps, Filter: filter}).Steps {
			all = append(all, fmt.Sprintf("%d#%s %s %s %s", numbers()[s.Run], s.Command, s.Status, s.Verdict, s.By))
		}
		return strings.Join(all, ", ")
	}
	for filter, want := range map[string]string{
		"status:unknown":          "2002#lost unknown  , 2000#lost unknown done ada",
		"open:yes":                "2002#lost unknown  ",
		"verdict:done":            "2000#lost unknown done ada",
		"command:lo*":             "2002#lost unknown  , 2000#lost unknown done ada",
		"open:no to:mail.*":       "2000#lost unknown done ada",
		"verdict!=done to:mail.*": "2002#lost unknown  ",
	} {
		if got := steps(filter); got != want {
			t.Errorf("%q: %s", filter, got)
		}
	}
	events := func(q polity.Lookup) string {
		var all []string
		q.Of = polity.LookupEvents
		for _, e := range ask(t, v, q).Events {
			all = append(all, fmt.Sprintf("%s %s %d %d", e.Kind, e.Name, numbers()[e.Run], e.Place))
		}
		return strings.Join(all, ", ")
	}
	for _, tt := range []struct {
		q    polity.Lookup
		want string
	}{
		{polity.Lookup{}, "topic orders.placed 2001 2, topic lights.out 0 1, signal paid 2003 0, signal paid 2002 0, signal paid 2000 0"},
		{polity.Lookup{Filter: "kind:topic agent:clerk"}, "topic orders.placed 2001 2"},
		{polity.Lookup{Filter: "name:paid id:bank-2"}, "signal paid 2002 0"},
		{polity.Lookup{Filter: "at>-1h", Run: rootID(2000)}, "signal paid 2000 0"},
	} {
		if got := events(tt.q); got != tt.want {
			t.Errorf("%+v: %s", tt.q, got)
		}
	}
	texts := ask(t, v, polity.Lookup{Of: polity.LookupTexts, Filter: "giraffe part:event"}).Texts
	if len(texts) != 1 || texts[0].Excerpt != "a giraffe" {
		t.Errorf("%+v", texts)
	}
	if texts = ask(t, v, polity.Lookup{Of: polity.LookupTexts, Filter: "walrus part:signal"}).Texts; len(texts) != 1 || texts[0].Excerpt != "walrus" {
		t.Errorf("%+v", texts)
	}
}

func TestLookupRefuses(t *testing.T) { each(t, checkLookupRefuses) }

func checkLookupRefuses(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	v, stop := openView(t, dsn, t.TempDir(), p)
	defer stop()
	for _, q := range []polity.Lookup{
		{}, {Of: "rums"}, {Of: polity.LookupRuns, Limit: -1}, {Of: polity.LookupRuns, Limit: 1001}, {Of: polity.LookupRuns, Sort: "agent"},
		{Of: polity.LookupRuns, After: "x"}, {Of: polity.LookupRuns, Filter: "stauts:x"}, {Of: polity.LookupCosts, By: "hour"},
		{Of: polity.LookupCosts, Filter: "word"}, {Of: polity.LookupAgents, Filter: "agent:a"}, {Of: polity.LookupTexts, Filter: "agent:a"},
		{Of: polity.LookupTexts, Filter: "-word"}, {Of: polity.LookupRuns, Wait: -1},
	} {
		if _, err := v.Lookup(t.Context(), q, Live{}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// TestBehind wants an answer that does not wait for ever to say what it lacks.
func TestBehind(t *testing.T) { each(t, checkBehind) }

func checkBehind(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	runs(t, p, 0, 3)
	v, err := Open(Config{Dir: t.TempDir(), DSN: dsn, Log: p}) // and nobody runs it
	if err != nil {
		t.Fatal(err)
	}
	found, err := v.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Wait: polity.Duration(time.Millisecond)}, Live{})
	if err != nil || len(found.Runs) != 0 || found.View.Behind != p.Tip() || found.View.Tip != p.Tip() {
		t.Errorf("%+v, %v", found, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Wait: polity.Duration(time.Millisecond)}, Live{}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("closed: %v", err)
	}
}

// TestDamageWhileAsked wants a view that turns out to be damaged when it is asked to be made again.
func TestDamageWhileAsked(t *testing.T) { each(t, checkDamageWhileAsked) }

func checkDamageWhileAsked(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	runs(t, p, 0, 5)
	dir := t.TempDir()
	v, stop := openView(t, dsn, dir, p)
	caughtUp(t, v, p)
	stop()
	change(t, dsn, dir, "DROP TABLE used")
	v, stop = openView(t, dsn, dir, p)
	defer stop()
	q := polity.Lookup{Of: polity.LookupCosts, Wait: polity.LookupWaitMax}
	if _, err := v.Lookup(t.Context(), q, Live{}); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("damaged: %v", err)
	}
	for {
		found, err := v.Lookup(t.Context(), q, Live{})
		if err == nil && len(found.Costs) == 3 {
			return
		}
		if err != nil && !errors.Is(err, fault.Unavailable) || t.Context().Err() != nil {
			t.Fatalf("%+v, %v", found, err)
		}
		time.Sleep(time.Millisecond)
	}
}
