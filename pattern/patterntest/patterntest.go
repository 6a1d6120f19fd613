// Package patterntest checks patterns by what every pattern owes.
//
// It exists so that a new pattern is held to the same promises as the others: it ends whatever its members say, asks only whom it may,
// keeps what it has when a bound is reached, and decides the same again. The life of a check:
//
//	a seed -> a configuration and a mood of the world -> a run, event by event -> the log folded again, and from prefixes
package patterntest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
	"polity.run/saga"
)

// Limits of a simulated run.
const (
	SeedsDefault = 1000
	eventsMax    = 5000
	prefixes     = 3 // of each log that are folded again
)

// Pattern says how a pattern is played.
type Pattern struct {
	// Config makes a configuration that Check accepts, from a seed.
	Config func(r *rand.Rand) pattern.Config
	// Request is what a run is opened with; "" is {"question": ...}.
	Request string
	// Folder is what the run may read; "" is none.
	Folder string
	// Sensible is what a member that does its duty answers, with what luck it may have.
	Sensible func(r *rand.Rand, c polity.Command) string
	// Partial says whether an output that a run ended with at a bound holds anything. nil: it must be more than {} and null.
	Partial func(output json.RawMessage) bool
	// Sound, if set, says what is wrong with an output that a run finished with, in whatever mood the members were.
	Sound func(output json.RawMessage) error
	// Grace is how many answers there may be before a bound without leaving anything to finish with; 0 is 1: with one answer of a
	// member in hand a run must not fail when a bound is reached.
	Grace int
	Seeds int // 0 is SeedsDefault
}

// Once plays one seed, as Run plays many.
func Once(t testing.TB, p Pattern, seed uint64) {
	t.Helper()
	newWorld(t, p.orDefault(), seed).run()
}

func (p Pattern) orDefault() Pattern {
	if p.Seeds == 0 {
		p.Seeds = SeedsDefault
	}
	if p.Grace == 0 {
		p.Grace = 1
	}
	if p.Request == "" {
		p.Request = `{"question":"What is to be done about the red door?"}`
	}
	return p
}

// Play returns the decider of a seed's configuration, and the names of the members that it may ask.
func (p Pattern) Play(seed uint64) (polity.Decider, []string, error) {
	c := p.Config(rand.New(rand.NewPCG(seed, 11)))
	d, err := c.Decider()
	if err != nil {
		return nil, nil, err
	}
	may, _, err := allowed(c)
	return d, slices.Sorted(maps.Keys(may)), err
}

// allowed reads who may be asked for which skills from a configuration's JSON, and what the skills are, as AGENT.SKILL.
func allowed(c pattern.Config) (may map[string][]string, skills map[string]polity.Skill, err error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, nil, err
	}
	var known struct {
		Members     []pattern.Member
		Specialists []pattern.Member
	}
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, nil, err
	}
	may, skills = map[string][]string{}, map[string]polity.Skill{}
	for _, m := range append(known.Members, known.Specialists...) {
		for _, s := range m.Skills {
			may[string(m.Name)] = append(may[string(m.Name)], s.Name)
			skills[string(m.Name)+"."+s.Name] = s
		}
	}
	return may, skills, nil
}

// decides is what somebody says who lets actions go: mostly yes.
func decides(r *rand.Rand, c polity.Command) string {
	var a polity.Approval
	if json.Unmarshal(c.Input, &a) != nil || a.Check() != nil {
		return `"this is no approval"`
	}
	return []string{
		`{"approve":true,"hash":"` + a.Hash + `"}`, `{"approve":true,"hash":"` + a.Hash + `"}`, `{"approve":true,"hash":"` + a.Hash + `","always_for_this_run":true}`,
		`{"approve":false,"reason":"no"}`, `{"approve":true}`, `{"approve":true,"hash":"another"}`,
	}[r.IntN(6)]
}

// The moods of the world: what members answer.
const (
	sensible = iota
	nonsense
	nothing
	repeats
	inventsAgents
	unlucky
	moods
)

// Run checks a pattern with many seeds.
func Run(t *testing.T, p Pattern) {
	t.Helper()
	p = p.orDefault()
	ended := map[string]int{}
	for seed := range uint64(p.Seeds) {
		w := newWorld(t, p, seed)
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { w.t = t; w.run() }) {
			return
		}
		ended[w.end.Do.String()]++
	}
	t.Logf("%d runs ended: %v", p.Seeds, ended)
	if ended["finish"] == 0 {
		t.Error("no run of any seed finished")
	}
}

// world is a small model of the kernel around one run: it answers what is pending in any order, refuses commands beyond a fan-out and
// after a bound, and answers what was cancelled late.
type world struct {
	t         testing.TB
	p         Pattern
	r         *rand.Rand
	config    pattern.Config
	may       map[string][]string // agents that may be asked, with their skills
	skills    map[string]polity.Skill
	done      []string        // names of what was answered, and can be undone
	approved  map[string]bool // hashes of actions
	decider   polity.Decider
	state     any
	now       time.Time
	mood      int
	fanOut    int
	bound     int  // commands until a bound of the run is reached; 0 for none
	reserve   bool // what undoes is not refused at the bound
	stopAt    int  // events until the run is told to end; 0 for never
	stopped   *fault.Error
	begun     int
	good      int // answers without a fault
	pending   []polity.Command
	refused   []string
	over      []string // keys that the bound refuses
	cancelled []string
	names     map[string]bool
	end       *polity.Command
	events    []polity.Event
	answers   []string
}

func newWorld(t testing.TB, p Pattern, seed uint64) *world {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 11))
	w := &world{
		t: t, p: p, r: r, config: p.Config(r), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		mood: r.IntN(moods), fanOut: []int{1, 2, 5, 64}[r.IntN(4)], names: map[string]bool{}, approved: map[string]bool{},
	}
	if r.IntN(3) == 0 {
		w.bound = 1 + r.IntN(12)
		w.reserve = r.IntN(2) == 0
	}
	if r.IntN(3) == 0 {
		w.stopAt = 1 + r.IntN(15)
	}
	var err error
	if w.decider, err = w.config.Decider(); err != nil {
		t.Fatalf("seed %d: the configuration is refused: %v", seed, err)
	}
	if w.may, w.skills, err = allowed(w.config); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) run() {
	w.deliver(polity.Event{Kind: polity.Opened, Data: json.RawMessage(w.p.Request), Folder: w.p.Folder})
	for w.end == nil {
		if len(w.events) > eventsMax {
			w.t.Fatalf("it has not ended after %d events; pending: %d", eventsMax, len(w.pending))
		}
		if w.stopped == nil && w.stopAt > 0 && len(w.events) >= w.stopAt {
			w.stop()
			continue
		}
		w.answerOne()
	}
	for len(w.pending) > 0 && w.r.IntN(4) > 0 { // what comes after the end changes nothing
		w.answerOne()
	}
	w.judge()
	w.again()
}

// stop tells the run that it is to end, as the kernel does, if it wants to be told. Else the kernel would end it at once.
func (w *world) stop() {
	w.stopAt = 0
	s, ok := w.decider.(polity.Stopper)
	if !ok || !s.Stops(w.state) {
		return
	}
	w.stopped = fault.Of(fault.Cancelled.New("enough"))
	for _, c := range w.pending {
		if !c.Undo && !slices.Contains(w.cancelled, c.Key()) {
			w.cancelled = append(w.cancelled, c.Key())
		}
	}
	w.deliver(polity.Event{Kind: polity.Stopping, Fault: w.stopped})
}

// deliver has an event decided and takes the commands.
func (w *world) deliver(e polity.Event) {
	w.now = w.now.Add(time.Duration(w.r.IntN(3)) * time.Second)
	e.Run, e.At = "0-pattern", w.now
	data := slices.Clone(e.Data)
	w.events = append(w.events, polity.Event{
		Kind: e.Kind, At: e.At, Run: e.Run, Folder: e.Folder, Name: e.Name, Attempt: e.Attempt, Data: data, Fault: e.Fault, Usage: e.Usage,
	})
	state, commands := w.decider.Decide(w.state, e)
	w.state = state
	for i := range e.Data { // nothing of an event may be kept
		e.Data[i] = '#'
	}
	w.answers = append(w.answers, Text(commands))
	if w.end != nil && len(commands) > 0 {
		w.t.Fatalf("after the end it decides: %s", Text(commands))
	}
	for _, c := range commands {
		w.take(c)
	}
	if w.end == nil && len(w.pending) == 0 {
		w.t.Fatal("it neither ended nor waits for anything")
	}
}

var commandName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (w *world) take(c polity.Command) {
	if w.end != nil {
		w.t.Fatalf("it decides after its end: %s", c.Name)
	}
	switch c.Do {
	case polity.DoFinish, polity.DoFail:
		w.end = &c
		return
	case polity.DoCancel:
		if !slices.ContainsFunc(w.pending, func(p polity.Command) bool { return p.Key() == c.To }) {
			w.t.Fatalf("it cancels %s, which is not pending", c.To)
		}
		w.cancelled = append(w.cancelled, c.To)
		return
	case polity.DoAsk:
		if !slices.Contains(w.may[c.To], c.Skill) {
			w.t.Fatalf("it asks %s for %q, which nobody declared", c.To, c.Skill)
		}
		if !json.Valid(c.Input) {
			w.t.Fatalf("it asks %s with what is no JSON: %q", c.To, c.Input)
		}
		if w.skills[c.To+"."+c.Skill].Approve != nil {
			hash, err := polity.Action{Agent: polity.AgentName(c.To), Skill: c.Skill, Input: c.Input}.Hash()
			if err != nil || !w.approved[hash] {
				w.t.Fatalf("nobody has approved that %s is asked to %s: %s", c.To, c.Skill, c.Input)
			}
		}
	}
	if !commandName.MatchString(c.Name) {
		w.t.Fatalf("command name %q", c.Name)
	}
	if w.names[c.Key()] {
		w.t.Fatalf("command %s is decided twice", c.Key())
	}
	w.names[c.Key()] = true
	w.pending = append(w.pending, c)
	switch {
	case w.stopped != nil && !c.Undo:
		w.cancelled = append(w.cancelled, c.Key())
	case c.Do != polity.DoSleep && w.bound > 0 && w.begun >= w.bound && !(c.Undo && w.reserve):
		w.over = append(w.over, c.Key())
	case len(w.pending) > w.fanOut:
		w.refused = append(w.refused, c.Key())
	case c.Do != polity.DoSleep:
		w.begun++
	}
}

// answerOne ends one pending command.
func (w *world) answerOne() {
	i := w.r.IntN(len(w.pending))
	c := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	e := polity.Event{Kind: polity.Result, Name: c.Name, Attempt: max(c.Attempt, 1)}
	switch {
	case slices.Contains(w.over, c.Key()):
		e.Fault = fault.Exceeded("turns", "%d turns are spent", w.bound)
	case slices.Contains(w.refused, c.Key()):
		e.Fault = fault.Exceeded("fan_out", "%d commands are pending already", w.fanOut)
	case slices.Contains(w.cancelled, c.Key()):
		e.Fault = fault.Of(fault.Cancelled.New("cancelled"))
	case c.Do == polity.DoSleep:
	case w.mood == unlucky && w.r.IntN(2) == 0:
		kinds := fault.Kinds()
		e.Fault = &fault.Error{Kind: kinds[w.r.IntN(len(kinds))], Text: "bad luck"}
		if w.r.IntN(4) == 0 {
			e.Data = json.RawMessage(w.p.Sensible(w.r, c))
		}
		e.Usage = polity.Usage{Turns: 1}
	default:
		e.Data = json.RawMessage(w.says(c))
		var a polity.Approval
		if json.Unmarshal(c.Input, &a) == nil && a.Hash != "" {
			if _, err := e.Approved(a.Hash); err == nil {
				w.approved[a.Hash] = true
			}
		}
		if w.undoable(c) && json.Valid(e.Data) && len(e.Data) > 0 && len(e.Data) < 10_000 {
			name := c.Name
			if c.Attempt > 1 {
				name = fmt.Sprintf("%s.%d", name, c.Attempt)
			}
			w.done = append(w.done, name)
		}
		e.Usage = polity.Usage{Turns: 1}
		if w.mood == sensible {
			w.good++
		}
	}
	w.deliver(e)
}

// undoable says whether what a command does can be undone, by the configuration of a hub. A stage of a sequence has one answer that counts.
func (w *world) undoable(c polity.Command) bool {
	if s, ok := w.config.(*pattern.Sequence); ok {
		var n int
		_, err := fmt.Sscanf(c.Name, "stage%d.", &n)
		return err == nil && c.Attempt <= 1 && s.Stages[n-1].Undo != nil
	}
	return !c.Undo && w.skills[c.To+"."+c.Skill].Undo != nil
}

// accounted wants all that was done and can be undone in the report of the undoing.
func (w *world) accounted(r *saga.Report) {
	for _, name := range w.done {
		undone := slices.ContainsFunc(r.Undone, func(u saga.Undone) bool { return u.Name == "undo."+name })
		left := slices.ContainsFunc(r.Left, func(l saga.Left) bool { return l.Stage == name })
		if undone == left {
			w.t.Fatalf("%s was done; undone %t, left %t: %+v", name, undone, left, r)
		}
	}
}

// says is what a member answers in the world's mood.
func (w *world) says(c polity.Command) string {
	if w.r.IntN(3) == 0 && w.mood != nothing && w.mood != nonsense {
		return w.p.Sensible(w.r, c)
	}
	switch w.mood {
	case nonsense:
		return []string{
			`"blue"`, `7`, `[]`, `{}`, `[[{}]]`, `{"output":{"text":"x"}}`, "{", "\xff\xfe", `{"assignments":7,"steps":"x","verdict":[],"send":{}}`,
			`"` + strings.Repeat("long ", 5000) + `"`, `{"a":{"b":{"c":{"d":null}}}}`, `true`,
		}[w.r.IntN(12)]
	case nothing:
		return []string{``, `null`, `""`, `{}`}[w.r.IntN(4)]
	case repeats:
		return w.p.Sensible(rand.New(rand.NewPCG(1, 1)), c) // always the same
	case inventsAgents:
		out := w.p.Sensible(w.r, c)
		for _, name := range slices.Sorted(maps.Keys(w.may)) {
			if w.r.IntN(2) == 0 {
				out = strings.ReplaceAll(out, `"`+name+`"`, `"nobody"`)
			}
		}
		return out
	default:
		return w.p.Sensible(w.r, c)
	}
}

// judge judges how the run ended.
func (w *world) judge() {
	w.t.Helper()
	if w.end.Do == polity.DoFail {
		f := w.end.Fault
		switch {
		case f == nil || f.Text == "":
			w.t.Fatalf("it failed with %+v", f)
		case f.Kind == fault.Internal && w.mood != unlucky:
			w.t.Fatalf("it failed as if by a mistake of ours: %s", f.Text)
		case w.stopped != nil && saga.Of(w.end.Input) == nil:
			w.t.Fatalf("it was to end and said that it had something to undo, and does not say what became of that: %s", w.end.Input)
		case saga.Of(w.end.Input) != nil:
			w.accounted(saga.Of(w.end.Input))
		case f.Kind == fault.Exhausted && w.mood == sensible && w.good > w.p.Grace:
			w.t.Fatalf("%d members had answered, and at the bound everything was thrown away: %s", w.good, f.Text)
		}
		return
	}
	if !json.Valid(w.end.Input) {
		w.t.Fatalf("it finished with what is no JSON: %q", w.end.Input)
	}
	if w.p.Sound != nil {
		if err := w.p.Sound(w.end.Input); err != nil {
			w.t.Fatalf("its result is not sound: %v", err)
		}
	}
	if len(w.over) > 0 && w.good > w.p.Grace && w.mood == sensible {
		some := w.p.Partial
		if some == nil {
			some = func(output json.RawMessage) bool { return len(output) > len(`null`) }
		}
		if !some(w.end.Input) {
			w.t.Fatalf("at the bound it kept nothing: %s", w.end.Input)
		}
	}
}

// again folds the log with a new decider, whole and from prefixes, as after a crash.
func (w *world) again() {
	w.t.Helper()
	lengths := []int{len(w.events)}
	for range prefixes {
		lengths = append(lengths, w.r.IntN(len(w.events))+1)
	}
	for _, n := range lengths {
		d, err := w.config.Decider()
		if err != nil {
			w.t.Fatal(err)
		}
		var state any
		var answers []string
		for _, e := range w.events[:n] {
			e.Data = slices.Clone(e.Data)
			var commands []polity.Command
			state, commands = d.Decide(state, e)
			answers = append(answers, Text(commands))
		}
		if diff := cmp.Diff(w.answers[:n], answers); diff != "" {
			w.t.Fatalf("the log folded again to event %d (-want +got):\n%s", n, diff)
		}
	}
}

// Text writes commands as lines, in every part that identifies them.
func Text(commands []polity.Command) string {
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "%s %s to=%s skill=%s after=%s bounds=%+v undo=%t input=%s", c.Do, c.Key(), c.To, c.Skill, c.After, c.Bounds, c.Undo, c.Input)
		if c.Fault != nil {
			fmt.Fprintf(&b, " %s: %s [%s]", c.Fault.Kind, c.Fault.Text, c.Fault.Bound)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
