package pattern_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

const (
	simSeeds     = 1500
	simEventsMax = 2000
)

// kernel is a small model of the kernel: it answers what is pending in any order and with any luck,
// refuses commands beyond a fan-out, and answers what was cancelled late.
type kernel struct {
	t         testing.TB
	random    *rand.Rand
	decider   polity.Decider
	state     any
	now       time.Time
	fanOut    int
	luck      float64 // how often a command succeeds
	pending   []polity.Command
	refused   []string // keys of pending commands that are refused
	cancelled []string
	names     map[string]bool
	ended     *polity.Command
	events    []polity.Event
	answers   []string
}

var commandName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func newKernel(t testing.TB, h pattern.Hub, random *rand.Rand) *kernel {
	t.Helper()
	d, err := h.Decider()
	if err != nil {
		t.Fatal(err)
	}
	return &kernel{
		t: t, random: random, decider: d, now: testTime, names: map[string]bool{},
		fanOut: 1 + random.IntN(12), luck: []float64{0.2, 0.6, 0.9, 1}[random.IntN(4)],
	}
}

// deliver has an event decided and takes the commands.
func (k *kernel) deliver(e polity.Event) {
	k.now = k.now.Add(time.Duration(k.random.IntN(3)) * time.Second)
	e.Run, e.At = testRun, k.now
	state, commands := k.decider.Decide(k.state, e)
	k.state = state
	k.events = append(k.events, e)
	k.answers = append(k.answers, commandsText(commands))
	if k.ended != nil && len(commands) > 0 {
		k.t.Fatalf("after the end it decides: %s", commandsText(commands))
	}
	for _, c := range commands {
		k.take(c)
	}
	if k.ended == nil && len(k.pending) == 0 {
		k.t.Fatal("it neither ended nor waits for anything")
	}
}

func (k *kernel) take(c polity.Command) {
	if k.ended != nil {
		k.t.Fatalf("it decides after its end: %s", c.Name)
	}
	switch c.Do {
	case polity.DoFinish, polity.DoFail:
		k.ended = &c
		return
	case polity.DoCancel:
		if !slices.ContainsFunc(k.pending, func(p polity.Command) bool { return p.Key() == c.To }) {
			k.t.Fatalf("it cancels %s, which is not pending", c.To)
		}
		k.cancelled = append(k.cancelled, c.To)
		return
	}
	if !commandName.MatchString(c.Name) {
		k.t.Fatalf("command name %q", c.Name)
	}
	if k.names[c.Key()] {
		k.t.Fatalf("command %s is decided twice", c.Key())
	}
	k.names[c.Key()] = true
	k.pending = append(k.pending, c)
	if len(k.pending) > k.fanOut {
		k.refused = append(k.refused, c.Key())
	}
}

// answerOne ends one pending command.
func (k *kernel) answerOne() {
	i := k.random.IntN(len(k.pending))
	c := k.pending[i]
	k.pending = slices.Delete(k.pending, i, i+1)
	e := polity.Event{Kind: polity.Result, Name: c.Name, Attempt: max(c.Attempt, 1)}
	switch {
	case slices.Contains(k.refused, c.Key()):
		e.Fault = fault.Exceeded("fan_out", "%d commands are pending already", k.fanOut)
	case slices.Contains(k.cancelled, c.Key()) && k.random.IntN(4) > 0:
		e.Fault = fault.Of(fault.Cancelled.New("cancelled"))
	case c.Do == polity.DoSleep && k.random.IntN(20) > 0:
	case k.random.Float64() < k.luck:
		e.Data = k.output(c)
	default:
		kinds := fault.Kinds()
		e.Fault = &fault.Error{Kind: kinds[k.random.IntN(len(kinds))], Text: "bad luck"}
		if k.random.IntN(3) == 0 {
			e.Data = k.output(c)
		}
	}
	e.Usage = polity.Usage{Turns: k.random.IntN(2)}
	k.deliver(e)
}

// output makes an output, sensible or not.
func (k *kernel) output(c polity.Command) json.RawMessage {
	if c.Do == polity.DoCall {
		var in struct{ Citations []polity.Evidence }
		if err := json.Unmarshal(c.Input, &in); err != nil || len(in.Citations) == 0 {
			k.t.Fatalf("verification of %s: %v", c.Input, err)
		}
		results := make([]map[string]any, len(in.Citations))
		for i := range results {
			results[i] = map[string]any{"ok": k.random.IntN(4) > 0}
		}
		if k.random.IntN(10) == 0 {
			results = results[1:]
		}
		data, err := json.Marshal(map[string]any{"results": results})
		if err != nil {
			k.t.Fatal(err)
		}
		return data
	}
	return json.RawMessage([]string{
		`{"x":{"y":1},"claims":[{"text":"t","stance":"against","severity":"high","evidence":[{"file":"a","line":1}]}]}`,
		`{"x":{"y":[]},"claims":[{"text":"u","stance":"for"},{"text":"t","stance":"against","severity":"low","evidence":[{"file":"b"}]}],"notes":["n"]}`,
		`{"x":1}`, `"text"`, `null`, `[]`, `{"claims":{}}`, `{"response":{"for":[{"text":"z","stance":"for","status":"opinion"}]}}`, `{`,
	}[k.random.IntN(9)])
}

// run answers until the run has ended and nothing is pending.
func (k *kernel) run(request string) {
	k.deliver(polity.Event{Kind: polity.Opened, Data: json.RawMessage(request), Folder: []string{"", "/src"}[k.random.IntN(2)]})
	for len(k.pending) > 0 {
		if len(k.events) > simEventsMax {
			k.t.Fatalf("it has not ended after %d events", len(k.events))
		}
		if k.random.IntN(10) == 0 {
			k.deliver(polity.Event{Kind: polity.Result, Name: "s1", Attempt: 9})
		}
		k.answerOne()
	}
	if k.ended == nil {
		k.t.Fatal("nothing is pending, and the run has not ended")
	}
	k.check()
}

// check checks how the run ended.
func (k *kernel) check() {
	if k.ended.Do == polity.DoFail {
		if k.ended.Fault == nil || k.ended.Fault.Text == "" || k.ended.Fault.Kind == fault.Internal {
			k.t.Fatalf("it failed with %+v", k.ended.Fault)
		}
		return
	}
	var result pattern.HubResult
	if err := json.Unmarshal(k.ended.Input, &result); err != nil {
		k.t.Fatalf("result: %v", err)
	}
	v := result.Details.Verification
	if v.Checked != v.Verified+v.Refused {
		k.t.Fatalf("verification does not add up: %+v", v)
	}
	if v.Fault != "" && result.Response.Verdict != "" {
		k.t.Fatalf("verdict %q without verification", result.Response.Verdict)
	}
	for _, s := range result.Details.Steps {
		if !slices.Contains([]string{"ok", "failed", "skipped", "cancelled", "exhausted"}, s.Status) {
			k.t.Fatalf("step %s ended %q", s.ID, s.Status)
		}
	}
}

// randomHub makes a configuration that Check accepts.
func randomHub(t testing.TB, random *rand.Rand) pattern.Hub {
	for range 100 {
		h := pattern.Hub{Retries: new(random.IntN(3)), Replans: new(random.IntN(3)), Verdict: []pattern.Rule{
			{Verdict: "no", When: &pattern.When{Stance: polity.Against, Severity: polity.Low, AtLeast: 1}}, {Verdict: "yes"},
		}}
		h.Caps.Width = random.IntN(5)
		for i := range 1 + random.IntN(4) {
			h.Specialists = append(h.Specialists, pattern.Member{
				Name: polity.AgentName(fmt.Sprintf("a%d", i)), Description: "looks at things",
				Skills: []polity.Skill{{Name: []string{"look", "see"}[random.IntN(2)], Tags: []string{[]string{"x", "y"}[random.IntN(2)]}}},
			})
		}
		h.Join = []pattern.Join{{}, {Policy: "quorum", K: 1 + random.IntN(3)}, {Policy: "best-effort"}, {Policy: "first"}}[random.IntN(4)]
		if random.IntN(8) > 0 {
			h.Plan = randomPlan(random, h.Specialists)
		}
		if h.Check() == nil {
			return h
		}
	}
	return crew(step("x", ""))
}

func randomPlan(random *rand.Rand, agents []pattern.Member) *pattern.Plan {
	p := &pattern.Plan{}
	for i := range 1 + random.IntN(8) {
		s := pattern.Step{ID: fmt.Sprintf("s%d", i), Agent: agents[random.IntN(len(agents))].Name, Optional: random.IntN(5) == 0}
		if i > 0 && random.IntN(2) == 0 {
			s.Input = json.RawMessage(fmt.Sprintf(`{"in":"$s%d%s"}`, random.IntN(i), []string{"", ".x", ".x.y"}[random.IntN(3)]))
		}
		if random.IntN(4) == 0 {
			s.Bounds = polity.Bounds{Turns: 3}
		}
		p.Steps = append(p.Steps, s)
	}
	return p
}

// simulate runs a random hub in a random world, and folds its log again.
func simulate(t testing.TB, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	h := randomHub(t, random)
	k := newKernel(t, h, random)
	k.run(`{"question":"what do you see when you look at things?"}`)
	d, err := h.Decider()
	if err != nil {
		t.Fatal(err)
	}
	var state any
	var again []string
	for _, e := range k.events {
		var commands []polity.Command
		state, commands = d.Decide(state, e)
		again = append(again, commandsText(commands))
	}
	if diff := cmp.Diff(k.answers, again); diff != "" {
		t.Fatalf("the log folded again (-want +got):\n%s", diff)
	}
}

// TestHubAlwaysEnds runs many random hubs in random worlds: each ends, none waits for nothing.
func TestHubAlwaysEnds(t *testing.T) {
	for seed := range uint64(simSeeds) {
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { simulate(t, seed) }) {
			return
		}
	}
}

func FuzzHubAlwaysEnds(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { simulate(t, seed) })
}

// FuzzHubOutput proves that nothing that a specialist or the verification answers breaks the hub.
func FuzzHubOutput(f *testing.F) {
	f.Add([]byte(`{"claims":[{"text":"x","stance":"for","severity":"low","evidence":[{"file":"a"}]}]}`), []byte(`{"results":[{"ok":true}]}`))
	f.Add([]byte(`{"response":{"for":[{"text":"x"}],"against":[],"notes":["n"]}}`), []byte(`{"results":7}`))
	f.Add([]byte(`{"claims":[7,{"text":1},null],"summary":{},"notes":{},"extractive":[]}`), []byte(``))
	f.Add([]byte("\xff"), []byte("null"))
	f.Fuzz(func(t *testing.T, output, verified []byte) {
		d, err := with(crew(step("x", "")), func(h *pattern.Hub) { h.Verdict = []pattern.Rule{{Verdict: "yes"}} }).Decider()
		if err != nil {
			t.Fatal(err)
		}
		state, _ := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, Folder: "/src", Data: json.RawMessage(`{}`)})
		state, commands := d.Decide(state, polity.Event{Kind: polity.Result, Run: testRun, Name: "x", Attempt: 1, Data: output})
		if len(commands) == 1 && commands[0].Do == polity.DoCall {
			_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Run: testRun, Name: "verify", Attempt: 1, Data: verified})
		}
		if len(commands) == 0 || commands[0].Do == polity.DoFinish && !json.Valid(commands[0].Input) {
			t.Fatalf("commands: %s", commandsText(commands))
		}
	})
}
