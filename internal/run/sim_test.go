package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
)

var (
	simSeeds = flag.Int("sim.seeds", 100, "seeds of the simulated kernel")
	simSeed  = flag.Uint64("sim.seed", 0, "run only this seed, and print what happens")
)

// world is the kernel's surroundings on one goroutine: a log, effects, clients, clocks and crashes, in an order
// that a seed chooses.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	seed  uint64
	print bool
	now   time.Time
	calm  bool // no more faults: everything must come to its end

	log     []memEntry
	spool   simSpool // of all owners, one after the other
	points  [][]byte // checkpoints
	writing bool     // one is being written
	blobs   map[Digest]json.RawMessage
	travel  []*letter // appends on their way to the log
	replies []*reply  // what is on its way back
	owners  []*owner  // the last one is the newest
	effects []*simEffect
	clients []*simClient
	done    map[string]int // effect key -> how often it was really done
	dest    destination
	stats   simStats
	told    map[string]int // what was there when a checkpoint was compared with the log

	catalog programs
	forks   map[polity.RunID]bool // roots that are forks, as the log tells
	bounds  polity.Bounds         // of every root run
	keys    *simKeys              // of the clients that have one; nil for none
	// answers is what an effect answers; the same for the same effect, however often it is done.
	answers func(e *simEffect) json.RawMessage
	// trims says that bases are made and the log's beginning is dropped: first is the first commit that owners may read then.
	trims bool
	first uint64
	// journal is where owners copy who asked for what.
	journal simJournal
	// extra does something else that can happen, if it is set.
	extra func()
}

type simStats struct {
	crashes, takeovers, lostRequests, lostAcks, duplicates, resent, mine, fenced, refusedAsOld, rejected int
	lostAnswers, asked, foundDone, begunAgain, unknown                                                   int
	slept, woken, reread, damaged, checkpoints, restored, compared, retired                              int
	rebased, dropped, begun, carried                                                                     int
	audited, early, whole                                                                                int
}

type memEntry struct {
	data []byte
	id   hash
}

type letter struct {
	from     *owner
	data     []byte
	id, prev hash
	token    uint64
}

type reply struct {
	to    *owner
	token uint64
	seq   uint64 // 0: refused
	quiet bool   // nothing comes: the owner's patience ends instead
	head  bool   // the answer to readHead
}

// owner is one process that serves, or believes to serve, the partition.
type owner struct {
	w       *world
	name    int
	core    *core
	alive   bool
	deposed bool // somebody claimed after it
	owed    []simOwed
	held    uint64 // a commit that waits for effects
}

type simEffect struct {
	owner *owner
	p     *pending
	stop  bool
	sent  int // when it was, in order
}

// simClient wants one run, and asks until it knows how it ended.
type simClient struct {
	id        polity.RunID
	key       string
	agent     string
	asked     *owner // who is working on the answer
	acked     bool
	outcome   *polity.Outcome
	cancel    bool
	cancelled bool
	killed    bool

	skill        string
	conversation string
	mail         *Mail
	from         string
	fork         *record // it is opened by this
}

func (w *world) logf(format string, args ...any) {
	if w.print {
		w.t.Logf("%s "+format, append([]any{w.now.Format("05.000")}, args...)...)
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: "+format+" (repeat: go test ./internal/run -run Simulated -sim.seed %d -v)", append(append([]any{w.seed}, args...), w.seed)...)
}

// --- host

func (o *owner) append(p *pack, token uint64) {
	for _, b := range p.blobs {
		o.w.blobs[b.blob] = slices.Clone(b.data)
	}
	o.w.travel = append(o.w.travel, &letter{o, slices.Clone(p.buf), p.id, p.prev, token})
	if o.core.tries > 1 {
		o.w.stats.resent++
	}
}

func (o *owner) readHead(token uint64, _ int) {
	o.w.replies = append(o.w.replies, &reply{to: o, token: token, head: true})
}

func (o *owner) acknowledged() {}

func (o *owner) start(p *pending) {
	if !p.began && !p.run.tree.paused.IsZero() {
		o.w.fail("%s of %s begins while its run is paused", p.key, p.run.id)
	}
	if o.core.flight != nil || o.core.gather != nil {
		o.checkEarly(p)
	}
	o.w.dest.clock++
	o.w.effects = append(o.w.effects, &simEffect{owner: o, p: p, sent: o.w.dest.clock})
}

// hold lets a commit go that nothing else does.
func (o *owner) hold(seq uint64) { o.held = seq }

func (o *owner) stop(p *pending) {
	for _, e := range o.w.effects {
		if e.p == p {
			e.stop = true
		}
	}
}

func (o *owner) load(d Digest) (json.RawMessage, error) {
	if b, ok := o.w.blobs[d]; ok {
		return b, nil
	}
	return nil, fault.NotFound.New("blob %x", d)
}

func (o *owner) down(err error) {
	o.alive = false
	o.w.logf("owner %d: %v", o.name, err)
	lost := fault.Of(err).Kind == fault.NotFound && o.w.keys != nil // a key that the next owner destroyed
	if o.deposed && (fault.Of(err).Kind == fault.Fenced || lost) {
		o.w.stats.fenced++
		return
	}
	o.w.fail("owner %d went down without reason: %v", o.name, err)
}

// --- what can happen

// arrive brings a letter to the log, which takes it on the condition that JetStream knows.
func (w *world) arrive(l *letter) {
	var head hash
	if len(w.log) > 0 {
		head = w.log[len(w.log)-1].id
	}
	r := &reply{to: l.from, token: l.token}
	switch {
	case l.id == head:
		r.seq = uint64(len(w.log)) // the duplicate window knows it
	case l.prev == head:
		w.log = append(w.log, memEntry{l.data, l.id})
		r.seq = uint64(len(w.log))
	default:
		w.stats.refusedAsOld++
	}
	w.replies = append(w.replies, r)
}

func (w *world) deliver(r *reply) {
	o := r.to
	if !o.alive {
		return
	}
	o.core.now = w.now
	switch {
	case r.head:
		var head hash
		if len(w.log) > 0 {
			head = w.log[len(w.log)-1].id
		}
		if o.core.flight != nil && head == o.core.flight.id {
			w.stats.mine++
		}
		o.core.headRead(r.token, head, uint64(len(w.log)))
	case r.quiet || r.seq == 0:
		o.core.inDoubt(r.token)
	default:
		o.core.appended(r.token, r.seq)
	}
	o.step()
}

func (o *owner) step() {
	if o.alive {
		if o.held > 0 && o.w.journal.rng.IntN(6) == 0 {
			o.core.letGo(o.held)
			o.held = 0
		}
		o.core.tick()
		o.core.settle()
	}
}

// claim makes a new owner as Open does: claim, then fold.
func (w *world) claim() {
	for _, o := range w.owners {
		o.deposed = true
	}
	o := &owner{w: w, name: len(w.owners) + 1, alive: true}
	var epoch [8]byte
	binary.BigEndian.PutUint64(epoch[:], w.rng.Uint64())
	o.core = newCore(o, w.catalog, epoch)
	o.core.vault = w.vault()
	o.core.heard = o.audited
	o.core.spool, o.core.register = ownSpool{&w.spool, o.core}, w.register()
	o.core.awakeMax = w.rng.IntN(20) // runs, while the log is folded
	if w.rng.IntN(2) == 0 {
		o.core.soft = 100 + w.rng.IntN(900) // packs end in the middle of what follows from an input
	}
	var prev hash
	at := w.now
	if n := len(w.log); n > 0 {
		prev = w.log[n-1].id
		var f frame
		if err := f.decode(w.log[n-1].data); err != nil {
			w.fail("%v", err)
		}
		if at.Before(f.at) {
			at = f.at
		}
	}
	data := appendRecord(beginFrame(nil, epoch, prev, at), &record{kind: recClaim})
	w.log = append(w.log, memEntry{data, sha256.Sum256(data)})
	w.owners = append(w.owners, o)
	w.restore(o.core)
	w.begin(o.core)
	if err := foldFrom(o.core, w.log); err != nil {
		w.fail("fold: %v", err)
	}
	w.logf("owner %d takes the log at %d", o.name, len(w.log))
	o.core.now = w.now
	o.core.serve()
	w.checkPosing(o.core)
	o.step()
}

func foldLog(c *core, log []memEntry) error { return foldFrom(c, log) }

// foldFrom folds what comes after what the core knows already.
func foldFrom(c *core, log []memEntry) error {
	var f frame
	for i, e := range log {
		if uint64(i) < c.seq {
			continue
		}
		if err := f.decode(e.data); err != nil {
			return err
		}
		if err := c.fold(&f, e.id, uint64(i+1)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) newest() *owner { return w.owners[len(w.owners)-1] }

// crash ends the newest owner: its effects may have been done or not; its letters still travel.
func (w *world) crash() {
	o := w.newest()
	o.alive = false
	w.stats.crashes++
	for _, e := range w.effects {
		if e.owner == o {
			w.lose(e)
		}
	}
	w.effects = slices.DeleteFunc(w.effects, func(e *simEffect) bool { return e.owner == o })
	w.claim()
}

func (w *world) finish(e *simEffect) {
	o := e.owner
	if !o.alive {
		return
	}
	res := result{}
	class := e.p.work.Class
	switch n := w.rng.IntN(12); {
	case e.p.asking:
		res = w.tell(e)
	case class == polity.EffectExternal && (e.stop || n == 0):
		w.lose(e)
		w.stats.lostAnswers++
		res.fault = fault.Of(fault.Unknown.New("no answer"))
	case e.stop:
		res.fault = fault.Of(fault.Cancelled.New("stopped"))
	case n == 0 && class == polity.EffectNone:
		res.fault = fault.Of(fault.Unavailable.New("not now"))
	case !w.do(e):
		res.fault = fault.Of(fault.Conflict.New("too late"))
	default:
		res.data = w.answers(e)
	}
	o.core.now = w.now
	o.core.done(e.p, res)
	if w.rng.IntN(8) == 0 { // what was left behind after its grace says something later
		o.core.done(e.p, result{fault: fault.Of(fault.Unknown.New("too late"))})
	}
	o.step()
}

// ask has a client open its run, or ask for it again.
func (w *world) ask(c *simClient) {
	o := w.newest()
	if w.rng.IntN(8) == 0 {
		o = w.owners[w.rng.IntN(len(w.owners))] // it may still know the old one
	}
	if !o.alive || c.outcome != nil || c.asked == o {
		return
	}
	c.asked = o
	o.core.now = w.now
	opened := func(err error) {
		switch {
		case err == nil:
			c.acked = true
		case w.mayRefuse(c, err):
		case w.keys != nil && o != w.newest(): // a key is gone that it knows nothing of
			c.asked = nil
		case fault.Of(err).Kind == fault.Conflict && c.conversation != "" && (!c.acked || o.deposed):
			c.asked = nil // another time
			w.stats.rejected++
		case fault.Of(err).Kind != fault.Fenced:
			w.fail("open %s: %v", c.id, err)
		}
	}
	ended := func(out polity.Outcome, err error) {
		if err != nil {
			if c.asked == o {
				c.asked = nil
			}
			return
		}
		if out.Status == polity.StatusRunning {
			out = w.stored(c.id)
		}
		if c.outcome != nil && !w.keys.gone(c.key) && string(c.outcome.Output) != string(out.Output) {
			w.fail("%s ended twice: %s and %s", c.id, c.outcome.Output, out.Output)
		}
		c.outcome = &out
	}
	w.audits(o, c, func(told func(error)) {
		opened := func(err error) { told(err); opened(err) }
		if c.fork == nil {
			o.core.open(&request{
				id: c.id, key: c.key, agent: c.agent, skill: c.skill, conversation: c.conversation, input: json.RawMessage(`{}`), bounds: w.bounds, mail: c.mail, from: c.from,
			}, opened, ended)
			return
		}
		rec := *c.fork
		o.core.fork(&rec, c.key, opened)
		if t := o.core.tree(c.id); t != nil {
			o.core.wait(t, ended)
		}
	})
	o.step()
}

func (w *world) stored(id polity.RunID) polity.Outcome {
	var f frame
	for _, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for _, r := range f.records {
			if r.kind == recFinished && r.run == id {
				return polity.Outcome{Status: r.status, Output: w.plain(r.data), Fault: r.fault, Usage: r.usage}
			}
		}
	}
	w.fail("%s has no end in the log", id)
	return polity.Outcome{}
}

func (w *world) cancel(c *simClient) {
	o := w.newest()
	if !o.alive || !c.acked || c.killed {
		return
	}
	gently := !c.cancelled || w.rng.IntN(3) > 0
	o.core.now = w.now
	w.audits(o, c, func(told func(error)) {
		o.core.cancelRun(c.id, "the client wants it", gently, func(err error) {
			if told(err); err == nil {
				c.cancelled, c.killed = true, !gently
			}
		})
	})
	o.step()
}

// step does one thing that can happen.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.rng.IntN(5)) * time.Millisecond)
	w.belated()
	w.sleepOrWake()
	w.eraseSome()
	if w.extra != nil && w.rng.IntN(5) == 0 {
		w.extra()
		return
	}
	n := w.rng.IntN(100)
	switch {
	case n < 30 && len(w.travel) > 0:
		i := w.rng.IntN(len(w.travel))
		l := w.travel[i]
		switch k := w.rng.IntN(100); {
		case !w.calm && k < 8: // the request is lost
			w.stats.lostRequests++
			w.travel = slices.Delete(w.travel, i, i+1)
			w.replies = append(w.replies, &reply{to: l.from, token: l.token, quiet: true})
		case !w.calm && k < 18: // it arrives, and a copy arrives later again
			w.stats.duplicates++
			w.arrive(l)
		default:
			w.travel = slices.Delete(w.travel, i, i+1)
			w.arrive(l)
		}
	case n < 60 && len(w.replies) > 0:
		i := w.rng.IntN(len(w.replies))
		r := w.replies[i]
		w.replies = slices.Delete(w.replies, i, i+1)
		if !w.calm && !r.head && w.rng.IntN(10) == 0 {
			w.stats.lostAcks++
			r = &reply{to: r.to, token: r.token, quiet: true}
		}
		w.deliver(r)
	case n < 80 && len(w.effects) > 0:
		i := w.rng.IntN(len(w.effects))
		e := w.effects[i]
		w.effects = slices.Delete(w.effects, i, i+1)
		w.finish(e)
	case n < 92:
		w.ask(w.clients[w.rng.IntN(len(w.clients))])
	case n < 94:
		if c := w.clients[w.rng.IntN(len(w.clients))]; c.cancel {
			w.cancel(c)
		}
	case n < 96:
		w.now = w.now.Add(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
		for _, o := range w.owners {
			o.core.now = w.now
			o.step()
		}
	case n < 98 && !w.calm && w.rng.IntN(4) == 0:
		w.crash()
	case n == 98 && !w.calm && w.rng.IntN(4) == 0:
		w.stats.takeovers++
		w.claim() // the old owner does not know
	case n == 99: // an idle owner looks whether it still is one
		o := w.owners[w.rng.IntN(len(w.owners))]
		if o.alive && o.core.flight == nil && o.core.head != w.log[len(w.log)-1].id {
			o.core.giveUp(fault.Fenced.New("not ours"))
		}
	}
}

// checkBounds wants no ledger overdrawn, at any moment.
func (w *world) checkBounds() {
	for _, r := range w.newest().core.runs {
		l := r.ledger
		if l.owner != r {
			continue
		}
		if spent := l.used.Turns + l.held.Turns; l.limit.Turns > 0 && spent > l.limit.Turns || l.held.Turns < 0 {
			w.fail("%s: %d turns used and %d held of %d", r.id, l.used.Turns, l.held.Turns, l.limit.Turns)
		}
		if len(r.pending) == 0 && r.closing == nil && !r.tree.queued {
			w.fail("%s waits for nothing", r.id)
		}
	}
}

func (w *world) over() bool {
	for _, c := range w.clients {
		if c.outcome == nil {
			return false
		}
	}
	return true
}

var simBounds = polity.Bounds{Turns: 25}.Or(polity.DefaultBounds())

// branch is a decider whose plan follows from its run's ID: tools of every class, children, sleeps, retries,
// things it cancels, things it does not wait for.
type branch struct{ waits, asks bool }

type branchState struct {
	waits   bool
	asks    bool
	open    []string
	faults  []string
	results int
	bytes   int
}

func (b branch) Decide(state any, e polity.Event) (any, []polity.Command) {
	if e.Kind == polity.Opened {
		s := &branchState{waits: b.waits, asks: b.asks}
		return s, s.plan(e)
	}
	s := state.(*branchState)
	key := polity.CommandKey(e.Name, e.Attempt)
	s.open = slices.DeleteFunc(s.open, func(k string) bool { return k == key })
	s.results++
	s.bytes += len(e.Data)
	if e.Fault != nil {
		if e.Fault.Kind == fault.Unavailable && e.Attempt < 3 {
			c := polity.Call(e.Name, "none", json.RawMessage(`{}`))
			c.Attempt = e.Attempt + 1
			s.open = append(s.open, c.Key())
			return s, []polity.Command{c}
		}
		s.faults = append(s.faults, string(e.Fault.Kind))
	}
	if len(s.open) > 0 {
		return s, nil
	}
	return s, []polity.Command{polity.Finish(json.RawMessage(fmt.Sprintf(`{"results":%d}`, s.results)))}
}

func (s *branchState) plan(e polity.Event) []polity.Command {
	h := fnv.New64a()
	h.Write([]byte(e.Run))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	depth := strings.Count(string(e.Run), "/")
	var out []polity.Command
	for i := range 1 + rng.IntN(4) {
		name := fmt.Sprintf("c%d", i)
		var c polity.Command
		kinds := 10
		if s.waits {
			kinds = 16
		}
		if s.asks {
			kinds = 22
		}
		switch k := rng.IntN(kinds); {
		case k >= 16:
			c = polity.Ask(name, polity.AgentName([]string{"boss", "boss", "late"}[rng.IntN(3)]), "", json.RawMessage(fmt.Sprintf(`{"i":%d}`, i)))
		case k >= 10:
			c = waitCommand(name, rng, e.At)
		case k < 3 && depth < 3:
			c = polity.Ask(name, e.Agent, "", json.RawMessage(fmt.Sprintf(`{"i":%d}`, i)))
			if rng.IntN(2) == 0 {
				c.Bounds = polity.Bounds{Turns: 5 + rng.IntN(5)}
			}
		case k < 5:
			c = polity.Call(name, "none", json.RawMessage(`{}`))
		case k < 6:
			c = polity.Call(name, [...]string{"external", "asked"}[rng.IntN(2)], json.RawMessage(`{}`))
		case k < 7:
			c = polity.Call(name, "keyed", json.RawMessage(`{}`))
		case k < 8:
			c = polity.Ask(name, []polity.AgentName{"function", "pure"}[i%2], "", json.RawMessage(`{}`))
		default:
			c = polity.Sleep(name, time.Duration(rng.IntN(3000))*time.Millisecond)
		}
		out = append(out, c)
		s.open = append(s.open, c.Key())
	}
	if len(out) > 2 && rng.IntN(4) == 0 {
		out = append(out, polity.Cancel(out[0].Key()))
	}
	if rng.IntN(6) == 0 { // an answer that does not wait
		out = append(out, polity.Finish(json.RawMessage(`"early"`)))
	}
	return out
}

var simCatalog = programs{
	deciders: map[string]polity.Decider{"branch": branch{}},
	effects: map[string]polity.Effect{
		"function": polity.EffectIdempotent, "pure": polity.EffectNone, "external": polity.EffectExternal, "keyed": polity.EffectKeyed,
		"asked": polity.EffectExternal,
	},
	asks: map[string]time.Duration{"asked": time.Second},
}

func TestSimulatedKernel(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed, true)
		return
	}
	var sum simStats
	for seed := range uint64(*simSeeds) {
		s := simulate(t, seed+1, false)
		sum.crashes += s.crashes
		sum.takeovers += s.takeovers
		sum.lostRequests += s.lostRequests
		sum.lostAcks += s.lostAcks
		sum.duplicates += s.duplicates
		sum.resent += s.resent
		sum.mine += s.mine
		sum.fenced += s.fenced
		sum.refusedAsOld += s.refusedAsOld
		sum.lostAnswers += s.lostAnswers
		sum.asked += s.asked
		sum.foundDone += s.foundDone
		sum.begunAgain += s.begunAgain
		sum.unknown += s.unknown
		sum.slept += s.slept
		sum.woken += s.woken
		sum.reread += s.reread
		sum.damaged += s.damaged
		sum.checkpoints += s.checkpoints
		sum.restored += s.restored
		sum.compared += s.compared
		sum.retired += s.retired
		sum.rebased += s.rebased
		sum.dropped += s.dropped
		sum.begun += s.begun
		sum.carried += s.carried
		sum.audited += s.audited
		sum.early += s.early
		sum.whole += s.whole
	}
	t.Logf("%d seeds: %+v", *simSeeds, sum)
	if sum.slept == 0 || sum.woken == 0 || sum.reread == 0 || sum.damaged == 0 || sum.checkpoints == 0 || sum.restored == 0 || sum.compared == 0 || sum.retired == 0 {
		t.Errorf("trees do not sleep, wake and come back in every way: %+v", sum)
	}
	if sum.audited == 0 || sum.early == 0 || sum.whole == 0 {
		t.Errorf("nothing was audited, began early, or ended in the commit that began it: %+v", sum)
	}
	if sum.rebased == 0 || sum.dropped == 0 || sum.begun == 0 || sum.carried == 0 {
		t.Errorf("the log's beginning is not dropped in every way: %+v", sum)
	}
	if sum.crashes == 0 || sum.takeovers == 0 || sum.resent == 0 || sum.mine == 0 || sum.fenced == 0 ||
		sum.foundDone == 0 || sum.begunAgain == 0 || sum.unknown == 0 {
		t.Errorf("a kind of fault never happened: %+v", sum)
	}
}

func simulate(t *testing.T, seed uint64, print bool) simStats {
	w := newWorld(t, seed, print, simCatalog)
	w.answers = func(e *simEffect) json.RawMessage {
		if w.rng.IntN(11) == 0 {
			return json.RawMessage(`"` + strings.Repeat("x", inlineMax+100) + `"`)
		}
		return json.RawMessage(fmt.Sprintf(`{"did":%q}`, e.p.cmd.Name))
	}
	w.opens("branch", 6)
	w.opens("pure", 2)
	w.live()
	return w.stats
}

func newWorld(t *testing.T, seed uint64, print bool, catalog programs) *world {
	w := &world{
		t: t, seed: seed, print: print, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_800_000_000, 0),
		blobs: map[Digest]json.RawMessage{}, done: map[string]int{}, told: map[string]int{}, forks: map[polity.RunID]bool{}, catalog: catalog, bounds: simBounds, trims: seed%2 == 0,
		dest: destination{closed: map[string]int{}, dumb: seed%2 == 0},
	}
	w.spool.w = w
	w.journal.rng = rand.New(rand.NewPCG(seed, 23))
	return w
}

// opens has n clients want a run of the agent.
func (w *world) opens(agent string, n int) {
	for range n {
		w.clients = append(w.clients, &simClient{
			id: polity.NewRunID(0, fmt.Appendf(nil, "%d/%d", w.seed, len(w.clients))), agent: agent, cancel: w.rng.IntN(5) == 0,
		})
	}
}

// live lets things happen, and then everything come to its end.
func (w *world) live() {
	w.claim()
	for range 400 {
		w.step()
		w.checkBounds()
	}
	w.calm = true
	for n := 0; !w.over(); n++ {
		if n > 100_000 {
			w.fail("not all runs come to an end: log of %d commits, %d effects in flight, %d letters", len(w.log), len(w.effects), len(w.travel))
		}
		w.step()
	}
	w.check()
}

// check reads the log as an outsider would.
func (w *world) check() {
	var f frame
	var prev hash
	results := map[string]bool{}
	ended := map[polity.RunID]bool{}
	opened := map[polity.RunID]bool{}
	for i, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("commit %d: %v", i+1, err)
		}
		if f.prev != prev || sha256.Sum256(e.data) != e.id {
			w.fail("commit %d breaks the chain", i+1)
		}
		prev = e.id
		began := map[polity.RunID]bool{}
		for _, r := range f.records {
			switch r.kind {
			case recOpened, recForked:
				if opened[r.run] {
					w.fail("%s is opened twice", r.run)
				}
				opened[r.run], began[r.run] = true, true
			case recResult:
				if began[r.run] && r.run.Parent() == "" && r.effect.class == polity.EffectNone {
					w.stats.whole++
				}
				key := polity.EffectKey(r.run, r.name, r.attempt)
				if results[key] {
					w.fail("%s has two results", key)
				}
				results[key] = true
				if ended[r.run] {
					w.fail("%s has a result after its end", key)
				}
				if r.fault == nil && r.effect.class != "" && w.done[key] == 0 {
					w.fail("%s has a result and was never done", key)
				}
			case recFinished:
				if ended[r.run] {
					w.fail("%s ends twice", r.run)
				}
				ended[r.run] = true
				if r.run.Parent() == "" && r.usage.Turns > w.bounds.Turns {
					w.fail("%s used %d turns", r.run, r.usage.Turns)
				}
			}
		}
	}
	for run := range opened {
		if !ended[run] {
			w.fail("%s never ended", run)
		}
	}
	for _, c := range w.clients {
		if c.acked && !opened[c.id] {
			w.fail("%s was acknowledged and is lost", c.id)
		}
	}
	w.checkOnce()
	w.checkAsked()
	w.checkFolds()
	w.checkEnded()
	w.checkAudits()
}

// checkEnded wants the last owner to know of every run what the log alone tells, wherever it keeps that.
func (w *world) checkEnded() {
	o := w.newest()
	if o.core.dead != nil {
		return
	}
	c := newCore(&owner{w: w, alive: true}, w.catalog, [8]byte{})
	c.vault = w.vault()
	if err := foldLog(c, w.log); err != nil {
		w.fail("fold: %v", err)
	}
	for _, want := range c.roots {
		got := o.core.tree(want.id)
		if got == nil {
			w.fail("%s is forgotten", want.id)
		}
		for _, t := range []*tree{got, want} {
			if t.owed != stillOwed {
				t.owed = 0 // as it is in the register
			}
		}
		if got.over() && want.over() && !bytes.Equal(got.appendTo(nil, got.last, got.last), want.appendTo(nil, want.last, want.last)) {
			w.fail("%s ended as %+v, and the log tells %+v", want.id, got.summary, want.summary)
		}
	}
}

// checkOnce wants every external effect without a key done at most once.
func (w *world) checkOnce() {
	var f frame
	for _, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for _, r := range f.records {
			if r.kind == recBegan {
				if key := polity.EffectKey(r.run, r.name, r.attempt); w.done[key] > 1 {
					w.fail("%s has no key and was done %d times", key, w.done[key])
				}
			}
		}
	}
}

// checkFolds wants the log folded again, and from a prefix, to decide the same commands.
func (w *world) checkFolds() {
	whole := w.decisions(len(w.log))
	part := w.decisions(w.rng.IntN(len(w.log) + 1))
	if !strings.HasPrefix(whole, part) || whole != w.decisions(len(w.log)) {
		w.fail("folding the log again decides otherwise")
	}
}

func (w *world) decisions(n int) string {
	var b strings.Builder
	c := newCore(&owner{w: w, alive: true}, w.catalog, [8]byte{})
	c.vault = w.vault()
	c.decided = func(r polity.RunID, cmd *polity.Command) {
		fmt.Fprintf(&b, "%s %s %d %s %s\n", r, cmd.Key(), cmd.Do, cmd.To, cmd.Input)
	}
	if err := foldLog(c, w.log[:n]); err != nil {
		w.fail("fold: %v", err)
	}
	for _, t := range c.roots {
		if t.stopped != nil && !w.keys.gone(t.key) {
			w.fail("a fold stopped %s: %v", t.id, t.stopped)
		}
	}
	return b.String()
}
