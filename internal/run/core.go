package run

import (
	"crypto/sha256"
	"encoding/json"
	gohash "hash"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/trace"
)

// Limits of the kernel.
const (
	commandsMax = 1024 // commands in one answer of a decider
	nameMax     = 64   // bytes of a command's name
	refusalsMax = 64   // commands of one run refused at a bound before the run is ended
	namedMax    = 3    // pending commands that a report of a divergence names
)

// Catalog tells the kernel what a release holds. It is called from the partition's goroutine: what it
// answers must be in memory after the first time.
type Catalog interface {
	// Program returns what does the work of an agent of a release: a decider, which becomes a run, or an
	// effect. NotFound or Diverged says that it is not to be had as it was pinned.
	Program(release Digest, agent string) (*Program, error)
	// Work returns how a tool is called or a model asked, as pinned in the release.
	Work(release Digest, agent string, verb polity.Verb, to string) (Work, error)
}

// Work is what the kernel needs to know of an effect.
type Work struct {
	Class   polity.Effect
	Timeout time.Duration // 0 is timeoutDefault
	// Asks is the most time that it takes to ask the destination what became of the effect, with all repetitions; 0: it cannot be asked.
	// Only an effect of class external is asked about.
	Asks time.Duration
	// Person says that a person does it, who is told by Partition.Questions and answers with Partition.Answer. Timeout counts from when it was decided.
	Person bool
	// Early, if not nil, lets it begin before it is durable that it is asked for, where it is asked directly. Its class is none then.
	Early *Early
}

// Program is what does an agent's work: a decider, or an effect.
type Program struct {
	Org     string         // the name of the release, for lines of the log
	Decider polity.Decider // nil for an effect
	Work    Work           // without a decider
	// Input and Output check what a skill is asked and answers. Nil accepts everything.
	Input  func(skill string, data json.RawMessage) error
	Output func(skill string, data json.RawMessage) error
	// Answer returns what is kept of what a person answers to a skill's input, or why that is not accepted. By is who answers, "" if that is not known. Nil accepts
	// everything.
	Answer func(skill string, input, answer json.RawMessage, by string) (json.RawMessage, error)
	// Signal says whether an agent declares a signal and its schema accepts the data; nil data only asks the first. A nil function declares none.
	Signal func(name string, data json.RawMessage) error
	// Told makes the data of a signal, of a version of its registered schema, into what the agent reads. A nil function reads none.
	Told func(name string, version int, data json.RawMessage) (json.RawMessage, error)
	// Topic says whether an agent may await what is published on the topics of a pattern. Event makes the data of an event into what
	// the agent reads; version is that of the topic's registered schema, 0 for none. Neither may block; nil functions accept everything.
	Topic func(pattern string) error
	Event func(topic string, version int, data json.RawMessage) (json.RawMessage, error)
	// Arrival says what becomes of a message in mid-run. Nil is polity.ArrivalReject for every skill.
	Arrival func(skill string) polity.Arrival
	// AtOnce is how many messages the agent works on at once; 0 is mailAtOnce.
	AtOnce int
}

// host is what the core asks of its surroundings. Nothing of it blocks, and nothing of it calls back: outcomes
// come as later inputs. The partition's goroutine is one; the simulation is another.
type host interface {
	append(p *pack, token uint64)           // then appended, or refused, or nothing
	readHead(token uint64, try int)         // then headRead
	acknowledged()                          // the log ends with what the core knows: those who are answered now find it there
	start(p *pending)                       // then result
	hold(seq uint64)                        // then letGo, a moment later
	stop(p *pending)                        // the effect shall end soon: then result
	load(d Digest) (json.RawMessage, error) // a blob, at once
	down(err error)                         // the core has given up: fenced, or the store refuses
}

// core is the kernel of one partition: a state machine without goroutines, clocks or input-output. It
// folds and decides as inputs arrive, gathers what happened in a pack, and has at most one pack in flight. What
// others may see (answers, effects) is released when its pack is acknowledged.
type core struct {
	host    host
	catalog Catalog
	vault   *vault
	epoch   [8]byte

	runs   map[polity.RunID]*run
	trees  map[polity.RunID]*tree
	roots  []*tree                // in the order of opening
	halted map[polity.RunID]*tree // those that are stopped
	waits  waits
	talks  map[conversation][]*tree // that have not ended, in the order of opening
	trays  map[string]*tray         // messages that have not ended, by agent
	dirty  []*tray                  // where something may begin
	debts  []*tree                  // that are still owed, in the order of their ends

	seq      uint64    // of the last acknowledged commit
	head     hash      // its hash
	at       time.Time // and its time
	name     string    // of the last commit that was sent, as the log knows it; "" for not yet known
	now      time.Time
	lastAt   time.Time     // time of the last record applied
	downtime time.Duration // nobody served the partition: the sum over all claims
	served   time.Time     // when this owner began to serve

	gather *pack // nil if nothing happened since the last seal
	flight *pack
	spare  *pack    // to be used again
	used   *pending // likewise, while a log is folded
	token  uint64   // of the append in flight
	tries  int      // how often the flight was sent
	dead   error    // set once the core has given up

	stalled  error  // the store takes nothing, or did not until now: what those are told who wait for an answer
	reviving bool   // it is being started anew
	flows    func() // called when a stalled store takes something again; nil for nobody
	owes     func() // called when there is a debt; nil for nobody

	todo  []record // derived records that are not yet in a pack; the state alone can derive them again
	live  bool     // false while the log is folded
	soft  int      // a pack takes no further input beyond this many bytes
	parks bool     // runs found in the log wait until they are asked for

	spool   spool  // nil: trees are never put to sleep
	alarms  alarms // the trees that have something due
	aside   *core  // where a sleeping tree is folded again
	claims  []claim
	trails  []*trail // to be used again
	trailed int      // bytes of all trails
	spilt   uint64   // when all were last brought to the spool
	segment []byte   // to be used again
	hand    int      // of makeRoom
	asleep  int      // trees

	base     *base                 // what stands for the log's beginning; nil for nothing
	register *register             // of trees that have ended; nil: they stay in memory
	leaving  []*tree               // that have ended, and are not in it
	left     int                   // of roots, those that are only there
	retryAt  uint64                // it took none: no other is offered before this commit
	doubles  map[polity.RunID]bool // that are in memory, and in the register as they were

	// awakeMax is how many runs are in memory while a log is folded; foldAwakeMax but for tests.
	awakeMax int
	halting  []*tree          // that a checkpoint says are stopped
	skips    map[*tree]uint64 // up to which commit a checkpoint told of a tree, while the log behind it is folded

	audit *Audit // of whoever asks for what is being done; nil for nobody, and once it is written
	// heard is told what was audited, in the order of the log: while that is folded, and then as it is acknowledged; nil if nobody keeps it.
	heard func(seq uint64, at time.Time, data [][]byte)
	told  [][]byte // what the commit that is being folded has of that
	// noted is told of the lines of a commit that was acknowledged; nil if nobody reads them.
	noted func([]logged)
	// decided is told each command as it is decided: for tests of determinism.
	decided func(r polity.RunID, c *polity.Command)
}

// tree is a root run and all below it.
type tree struct {
	id         polity.RunID
	root       *run // nil once it ended, and while it sleeps
	summary    polity.Summary
	request    requestHash
	first      uint64 // its first and last commit
	last       uint64
	end        uint64             // the commit in which it finished; 0 while it has not
	log        *payload           // of a run that was imported; nil for one that ran here
	origin     polity.RunID       // of a fork: the run whose ID deciders are told; "" for any other
	hold       *string            // why it must not be erased; nil if it may
	key        string             // that its payloads are enciphered with; "" for none
	salt       *[sha256.Size]byte // of its requests' hashes, while it has not ended; nil without a key
	deleted    bool               // as far as this owner knows
	leaving    bool               // it is among those of the core
	left       bool               // the register has it instead
	stays      uint64             // it is not to leave before this commit is acknowledged
	simulates  bool               // keyed and external effects are not done: it is a fork
	parked     bool
	idle       bool // it was found in the log, and nothing that it leaves undone has been begun here
	stopped    *fault.Error
	paused     time.Time     // since when nothing new begins; zero if it is not paused
	pausedDown time.Duration // the partition's downtime then
	talk       conversation  // zero for none
	queued     bool          // it waits for those before it in its conversation, or for its agent to have time
	input      payload       // of a queued run
	from       string
	mail       *Mail                         // of a message
	tray       *tray                         // that it is in until it ends
	listed     bool                          // in the tray's heap
	taken      bool                          // its agent works on it
	owed       uint64                        // the commit that answers its sender; stillOwed for none yet, 0 if nobody is to be answered
	ended      []func(polity.Outcome, error) // who waits for the end
	watch      []*watcher

	waits []*wait // what it waits for of signals and topics, while it sleeps too

	trail     *trail        // what is in no segment yet; nil for nothing
	place     place         // of the last segment
	reach     uint64        // the last commit that is in it
	stored    uint32        // bytes of all segments
	links     uint32        // segments
	records   uint32        // that the log told
	slot      int32         // among the alarms, from 1; 0 for none
	due       int64         // when it has something due, in nanoseconds since 1970; 0 for never
	asleep    bool          // it has no runs in memory
	undone    bool          // asleep, but more is to be done than to wait
	posing    bool          // asleep, and asks people
	excused   time.Duration // how long it was parked
	excusedAt uint64        // its last commit then; 0 for never
}

type watcher struct {
	notice func(polity.Notice)
	gone   bool
}

// run is a live run.
type run struct {
	id       polity.RunID
	tree     *tree
	parent   *run
	asked    *pending // the parent's command
	depth    int
	release  Digest
	agent    string
	skill    string
	folder   string
	caller   trace.Context // where in a trace its root was asked for; zero for nowhere
	program  *Program
	state    any
	pending  []*pending
	names    []string // keys of all commands so far
	box      *mailbox // nil before it was told anything
	ledger   *ledger
	usage    polity.Usage
	opened   time.Time
	downtime time.Duration // of the partition when it opened

	bound     *fault.Error // the first bound that refused a command
	boundAt   *ledger      // who has that bound; nil if none of ours
	boundBy   string       // the command that met it
	refusals  int
	closing   *polity.Outcome // how it will end, once nothing is pending
	closeHash requestHash
	finishing bool
	stopping  *polity.Outcome // it was told to end, and this is how it will
	killed    bool            // it ends without undoing
	undoing   bool            // it does its work for a command that undoes

	// of a root
	timers timerHeap // of its tree
	busy   *pending  // a command for which its tree could not be put to sleep
}

// pending is a command without a result.
type pending struct {
	run     *run
	cmd     polity.Command
	key     string
	request requestHash
	held    polity.Usage
	refused *fault.Error
	why     *fault.Error // it shall end, and this is why
	now     bool         // without undoing what it did
	child   *run
	since   time.Time // when it was decided
	due     time.Time // of a sleep, a wait or a question; zero for never
	wait    *wait     // of an await
	work    Work
	lost    *fault.Error // asking: what is its result if its destination does not know
	routed  bool
	posed   bool // a person was asked
	began   bool
	begins  uint8 // how often it began
	asking  bool  // its destination is being asked what became of it
	foreign bool  // it began in the run that this one is a fork of
	started bool
	done    bool
	awaited uint64 // the commit that waits for its result; 0 for none
	flight  flight // the host's own
}

// pack is a commit that is being gathered or is in flight.
type pack struct {
	buf    []byte
	hashed int
	sum    gohash.Hash
	seq    uint64
	prev   hash
	id     hash
	ids    [2]string // prev and id as the log knows them
	at     time.Time
	blobs  []payload // with data and digest: stored before the append

	starts  []*pending
	early   []*pending // that begin before it is durable
	led     int        // of these, those that have begun
	waits   int        // and those whose results are to be in it
	held    bool       // it waits for them
	let     bool       // not any more
	stops   []*pending
	answers []func(error) // to those who asked for something
	ends    []func(error) // to those who wait for a run's end, however long that takes
	notices []notice
	records int
	sent    time.Time // when it was sent first, if somebody measures
	logged  []logged  // of the program's log
	trees   []*tree   // that it tells of
	gone    []*wait   // that are waited for no longer once it is acknowledged
	audits  [][]byte  // what was audited
}

type notice struct {
	tree *tree
	n    polity.Notice
}

func newCore(h host, catalog Catalog, epoch [8]byte) *core {
	return &core{
		host: h, catalog: catalog, vault: newVault(nil), epoch: epoch, soft: packSoft, awakeMax: foldAwakeMax,
		runs: map[polity.RunID]*run{}, trees: map[polity.RunID]*tree{}, halted: map[polity.RunID]*tree{},
	}
}

// --- gathering and committing

// write puts a record into the gathering pack and applies it.
func (c *core) write(rec *record) {
	if c.audit != nil {
		c.testify()
	}
	p := c.pack()
	rec.clip()
	stored, err := c.sealed(rec)
	if c.dead != nil {
		return
	}
	if err != nil { // it is written enciphered, or not at all
		c.giveUp(fault.Of(err).Kind.New("run: %s cannot be enciphered: %w", rec.run, err))
		return
	}
	if stored.newer() || stored.sealed() {
		p.raise()
	}
	stored.data = c.outline(p, stored.data)
	rec.data.blob, rec.data.size = stored.data.blob, stored.data.size
	start := len(p.buf)
	p.records++
	p.buf = appendRecord(p.buf, stored)
	raw := p.buf[start:]
	c.apply(rec, p.seq)
	c.keep(rec, p.seq, raw)
}

// outline makes a blob of a payload that is too large to stand in a commit.
func (c *core) outline(p *pack, d payload) payload {
	if len(d.data) <= inlineMax || d.size > 0 {
		return d
	}
	d.blob = sha256.Sum256(d.data)
	d.size = uint64(len(d.data))
	p.blobs = append(p.blobs, d)
	return d
}

// pack returns the gathering pack, and begins one if there is none.
func (c *core) pack() *pack {
	if c.gather == nil {
		p := c.spare
		if p == nil {
			p = &pack{sum: sha256.New()}
		}
		c.spare = nil
		p.seq, p.prev, p.at = c.seq+1, c.head, c.now.UTC() // as it is read again: UTC, and without a monotonic part
		if c.flight != nil {
			p.seq, p.prev = c.flight.seq+1, c.flight.id
		}
		if p.at.Before(c.lastAt) {
			p.at = c.lastAt // the clock went back: the log's time does not
		}
		p.buf = beginFrame(p.buf[:0], c.epoch, p.prev, p.at)
		c.gather = p
	}
	return c.gather
}

// full says that the pack should take no further input.
func (c *core) full() bool { return c.gather != nil && len(c.gather.buf) >= c.soft }

// settle writes derived records while there is room, hashes what was gathered, and sends the pack if
// none is in flight. The host calls it after each input.
func (c *core) settle() {
	if c.dead != nil {
		return
	}
	for {
		c.admit()
		n := 0
		for n < len(c.todo) && !c.full() {
			rec := c.todo[n]
			n++
			if rec.kind == recResumed { // while it waited for room, what is to begin may have gone to sleep
				if t := c.tree(rec.run.Root()); t != nil {
					c.wake(t)
				}
			}
			if !c.stale(&rec) {
				c.write(&rec)
			}
		}
		c.pay()
		c.todo = append(c.todo[:0], c.todo[n:]...)
		if c.dead != nil {
			return
		}
		if c.gather == nil {
			if len(c.todo) == 0 {
				return
			}
			continue // a run that was woken to be paid has something to do
		}
		g := c.gather
		c.lead(g)
		if c.flight != nil {
			g.sum.Write(g.buf[g.hashed:])
			g.hashed = len(g.buf)
			return
		}
		if c.holding(g) {
			return
		}
		c.send(g)
	}
}

// stale says that a queued record is no longer true: what it speaks of ended while it waited.
func (c *core) stale(rec *record) bool {
	r := c.runs[rec.run]
	t := c.tree(rec.run.Root())
	return t == nil || t.stopped != nil || rec.kind == recCancel && !r.heeds(rec) || rec.kind == recResumed && (r == nil || r.closing != nil || !t.queued)
}

func (c *core) send(g *pack) {
	c.lead(g)
	g.sum.Write(g.buf[g.hashed:])
	g.sum.Sum(g.id[:0])
	g.ids[1] = g.id.id()
	if g.ids[0] = c.name; c.name == "" {
		g.ids[0] = g.prev.id()
	}
	c.name = g.ids[1]
	c.gather, c.flight = nil, g
	c.tries = 0
	c.resend()
}

func (c *core) resend() {
	c.token++
	c.tries++
	c.host.append(c.flight, c.token)
}

// appended tells that the append with the token was acknowledged at seq.
func (c *core) appended(token, seq uint64) {
	if c.flight == nil || token != c.token || c.dead != nil {
		return
	}
	f := c.flight
	if seq != f.seq {
		c.giveUp(fault.Damaged.New("run: commit %d was written at position %d of the log", f.seq, seq))
		return
	}
	c.flow()
	sentOnce := c.tries == 1
	c.seq, c.head, c.at, c.flight = f.seq, f.id, f.at, nil
	c.host.acknowledged()
	if c.gather != nil && !c.holding(c.gather) {
		c.send(c.gather) // before the effects are let loose: the next commit shall not stand in line behind them
	}
	for _, p := range f.starts {
		if !p.done {
			p.started = true
			c.host.start(p)
		}
	}
	for _, p := range f.stops {
		if p.started && !p.done && !p.asking { // what became of it is asked to the end, which is soon
			c.host.stop(p)
		}
	}
	for _, n := range f.notices {
		n.n.Commit = f.seq
		n.tree.tell(n.n)
	}
	if len(f.logged) > 0 {
		for i := range f.logged {
			f.logged[i].n.Commit = f.seq
		}
		c.noted(f.logged)
	}
	if len(f.audits) > 0 {
		c.heard(f.seq, f.at, f.audits)
	}
	for _, end := range f.ends { // who opened a run that has ended finds that it has
		end(nil)
	}
	for _, answer := range f.answers {
		answer(nil)
	}
	c.acknowledged(f)
	if sentOnce && len(f.blobs) == 0 { // else a copy of it may still be under way
		f.reset()
		c.spare = f
	}
}

// reset makes a pack ready to be gathered again, and drops what it held.
func (p *pack) reset() {
	if cap(p.buf) > packSoft*2 {
		p.buf = nil
	}
	p.hashed, p.records = 0, 0
	p.sum.Reset()
	clear(p.starts)
	clear(p.early)
	clear(p.stops)
	clear(p.answers)
	clear(p.ends)
	clear(p.notices)
	clear(p.logged)
	clear(p.trees)
	clear(p.gone)
	clear(p.audits)
	p.early, p.led, p.waits, p.held, p.let = p.early[:0], 0, 0, false, false
	p.starts, p.stops, p.answers, p.ends = p.starts[:0], p.stops[:0], p.answers[:0], p.ends[:0]
	p.notices, p.logged, p.trees, p.gone, p.audits = p.notices[:0], p.logged[:0], p.trees[:0], p.gone[:0], p.audits[:0]
}

// inDoubt tells that the append with the token was refused, or that nothing was heard of it in time. Only
// the log knows what became of it.
func (c *core) inDoubt(token uint64) {
	if c.flight == nil || token != c.token || c.dead != nil || c.reviving {
		return
	}
	c.token++ // a late acknowledgement of that append is no longer listened to
	c.host.readHead(c.token, c.tries)
}

// headRead tells which commit the log ends with. Ours: it was written. The one before: send the identical bytes
// again; a late original and the copy exclude each other. Anything else: another owner.
func (c *core) headRead(token uint64, head hash, seq uint64) {
	if c.flight == nil || token != c.token || c.dead != nil {
		return
	}
	switch head {
	case c.flight.id:
		c.appended(token, seq)
	case c.flight.prev:
		c.resend()
	default:
		if seq < c.seq { // what was acknowledged is there: a replica that has just begun to lead says so before long
			c.tries++
			c.host.readHead(token, c.tries)
			return
		}
		c.giveUp(fault.Fenced.New("run: another owner has taken the partition: its log ends with commit %d, which is not ours", seq))
	}
}

// giveUp drops all state: it may be ahead of the log. Everyone who waits is told to ask again.
func (c *core) giveUp(err error) {
	c.dead = err
	for _, p := range []*pack{c.flight, c.gather} {
		if p == nil {
			continue
		}
		for _, answer := range slices.Concat(p.answers, p.ends) {
			answer(err)
		}
	}
	for _, t := range c.roots {
		for _, ended := range t.ended {
			ended(polity.Outcome{}, err)
		}
		t.ended = nil
	}
	for _, r := range c.runs {
		r.forget()
		for _, p := range r.pending {
			if p.started && !p.done {
				c.host.stop(p)
			}
		}
	}
	c.host.down(err)
}

// answer calls f once everything that has been folded so far is acknowledged.
func (c *core) answer(f func(error)) {
	switch {
	case c.dead != nil:
		f(c.dead)
	case c.stalled != nil:
		f(c.stalled)
	case c.gather != nil:
		c.gather.answers = append(c.gather.answers, f)
	case c.flight != nil:
		c.flight.answers = append(c.flight.answers, f)
	default:
		f(nil)
	}
}

// decline answers with err once everything that it follows from is acknowledged.
func (c *core) decline(err error, answer func(error)) {
	c.answer(func(gone error) {
		if gone != nil {
			err = gone
		}
		answer(err)
	})
}

// tell queues a notice for those who watch the tree.
func (c *core) tell(t *tree, n polity.Notice) {
	if !c.live || len(t.watch) == 0 && c.noted == nil {
		return
	}
	p := c.pack()
	n.At = p.at
	if c.noted != nil {
		c.note(&n)
	}
	if len(t.watch) == 0 {
		return
	}
	p.notices = append(p.notices, notice{t, n})
}

func (t *tree) tell(n polity.Notice) {
	kept := t.watch[:0]
	for _, w := range t.watch {
		if !w.gone {
			w.notice(n)
			kept = append(kept, w)
		}
	}
	t.watch = kept
}

// --- inputs

// request opens a root run.
type request struct {
	id           polity.RunID
	release      Digest
	agent        string
	skill        string
	input        json.RawMessage
	folder       string
	bounds       polity.Bounds // every field set
	conversation string        // "" for none
	key          string        // that its payloads are to be enciphered with; "" for none
	caller       trace.Context // no part of what it is: asked twice from two places it is one run, in the first one's trace
	mail         *Mail         // of a message
	from         string        // who sent it
	hold         bool          // it is parked
}

func (q *request) hash() requestHash {
	skill := q.skill + "\x00" + q.folder
	if q.conversation != "" {
		skill += "\x00" + q.conversation
	}
	to := string(q.release[:]) + q.agent
	if q.mail != nil { // it is the same message to whatever has become of the agent meanwhile
		to = q.from + "\x00" + q.agent
	}
	return hashRequest(&polity.Command{Do: polity.DoAsk, To: to, Skill: skill, Input: q.input})
}

// open opens a run, or finds it: the same ID with the same content is the same run, with another content a
// Conflict. opened is called when that is durable; ended, if not nil, when the run has ended.
func (c *core) open(q *request, opened func(error), ended func(polity.Outcome, error)) {
	if c.dead != nil {
		opened(c.dead)
		return
	}
	if t := c.tree(q.id); t != nil {
		c.openAgain(t, q, opened, ended)
		return
	}
	if c.dead != nil { // it could not be found out
		opened(c.dead)
		return
	}
	program, err := c.catalog.Program(q.release, q.agent)
	if err == nil && c.vault.isErased(q.key) {
		err = fault.Unavailable.New("run: what belongs to the subject is being erased in this moment; ask again")
	}
	if err == nil && program.Input != nil {
		if e := program.Input(q.skill, q.input); e != nil {
			err = fault.Invalid.New("run: input of %s: %w", q.agent, e)
		}
	}
	var request requestHash
	if err == nil {
		request, err = c.vault.blind(q.key, q.hash())
	}
	rec := &record{
		kind: recOpened, run: q.id, release: q.release, agent: q.agent, skill: q.skill, folder: q.folder,
		bounds: q.bounds, request: request, data: payload{key: q.key, data: nonNil(q.input)}, caller: q.caller,
	}
	if err == nil && q.conversation != "" {
		arrival := program.arrival(q.skill)
		if q.mail != nil && arrival == polity.ArrivalReject {
			arrival = polity.ArrivalQueue
		}
		err = c.arrive(q, arrival, rec)
	}
	if err == nil && q.mail != nil {
		err = c.post(q, program, rec)
	}
	if err != nil {
		c.decline(err, opened)
		return
	}
	c.write(rec)
	if c.dead != nil {
		opened(c.dead)
		return
	}
	t := c.trees[q.id]
	if rec.queued && rec.arrival != polity.ArrivalQueue {
		c.overtake(t, rec.arrival == polity.ArrivalRollback)
	}
	if t.stopped != nil {
		opened(t.stopped)
		return
	}
	if q.hold {
		t.idle, t.parked = true, true
	}
	if ended != nil {
		t.ended = append(t.ended, ended)
	}
	c.answer(opened)
}

func (c *core) openAgain(t *tree, q *request, opened func(error), ended func(polity.Outcome, error)) {
	request, err := c.vault.blind(q.key, q.hash())
	switch {
	case err != nil:
		opened(err)
		return
	case c.vault.isErased(t.key):
		opened(fault.Erased.New("run: %s exists, and its payloads were erased", q.id))
		return
	case t.request != request:
		opened(fault.Conflict.New("run: %s exists with another input", q.id))
		return
	case t.stopped != nil:
		opened(t.stopped)
		return
	}
	if ended != nil {
		c.wait(t, ended)
	}
	c.answer(opened)
	if !q.hold {
		c.unpark(t)
	}
}

// unpark begins with a run that waited to be asked for. The time that it waited here is not its wall time.
func (c *core) unpark(t *tree) {
	if !t.idle {
		return
	}
	c.wake(t)
	t.parked = false
	if t.root == nil || !t.paused.IsZero() || !t.idle {
		return
	}
	t.idle = false
	t.excused, t.excusedAt = c.now.Sub(c.served), t.last
	t.root.excuse(t.excused)
	c.resume(t.root, false)
	c.rest(t)
}

func (r *run) excuse(d time.Duration) {
	r.downtime -= d
	for _, p := range r.pending {
		if p.child != nil {
			p.child.excuse(d)
		}
	}
}

func nonNil(data json.RawMessage) json.RawMessage {
	if data == nil {
		return json.RawMessage("null")
	}
	return data
}

// wait calls ended when the tree has ended: with an empty polity.Outcome and nil if that was before, and the log holds it.
func (c *core) wait(t *tree, ended func(polity.Outcome, error)) {
	if t.over() {
		c.acknowledge(func(err error) { ended(polity.Outcome{}, err) })
		return
	}
	t.ended = append(t.ended, ended)
}

func (p *Program) arrival(skill string) polity.Arrival {
	if p.Arrival != nil {
		if a := p.Arrival(skill); slices.Contains(polity.Arrivals(), a) {
			return a
		}
	}
	return polity.ArrivalReject
}

// result tells what became of an effect.
type result struct {
	data    json.RawMessage
	fault   *fault.Error
	usage   polity.Usage
	receipt json.RawMessage
	verdict polity.Verdict // of a destination that was asked
}

// done takes the result of a started effect. One that is not pending any more is dropped: its run has
// been given up.
func (c *core) done(p *pending, res result) {
	if c.dead != nil || p.done {
		return
	}
	if !c.settles(p, &res) {
		return
	}
	if p.awaited > 0 {
		c.met(p)
	}
	res.usage.Turns++
	if res.fault != nil && res.usage.Tokens() == 0 && res.usage.MicroUSD == 0 {
		res.usage = res.usage.Plus(p.cmd.Reserve) // nobody knows what a failed request cost
	}
	if p.why != nil && res.fault != nil && res.fault.Kind == fault.Cancelled {
		res.fault = p.why
	}
	if len(res.data) > payloadMax {
		res.data, res.fault = nil, fault.Exceeded("output", "output of %d bytes; the most is %d", len(res.data), payloadMax)
	}
	c.write(p.result(res))
}

func (p *pending) result(res result) *record {
	return &record{
		kind: recResult, run: p.run.id, name: p.cmd.Name, attempt: p.cmd.Attempt, request: p.request,
		data: payload{data: res.data}, fault: res.fault, usage: res.usage, effect: p.effect(),
		receipt: res.receipt, asked: res.verdict != "",
	}
}

// effect is what the log says of a command that does something outside; zero for one that does not, or was refused.
func (p *pending) effect() effect {
	if p.work.Class == "" {
		return effect{}
	}
	return effect{p.work.Class, p.cmd.Do, p.cmd.To, p.since}
}

// resumeRun goes on with a tree that was left alone when it was found in the log.
func (c *core) resumeRun(id polity.RunID, answer func(error)) {
	t := c.tree(id)
	if t != nil && c.dead == nil {
		c.wake(t)
	}
	switch {
	case c.dead != nil:
		answer(c.dead)
	case t == nil:
		answer(fault.NotFound.New("run: no run %q", id))
	case t.stopped != nil:
		answer(t.stopped)
	default:
		if t.root != nil && !t.paused.IsZero() {
			t.parked = false
			c.write(&record{kind: recResumed, run: id})
		}
		c.unpark(t)
		c.answer(answer)
	}
}

// cancelRun asks a tree to stop, gently or without undoing anything. answer is called when that is durable.
func (c *core) cancelRun(id polity.RunID, reason string, gently bool, answer func(error)) {
	t := c.tree(id)
	if t != nil && c.dead == nil {
		c.wake(t)
	}
	switch {
	case c.dead != nil:
		answer(c.dead)
	case t == nil:
		answer(fault.NotFound.New("run: no run %q", id))
	case t.stopped != nil:
		answer(fault.Conflict.New("run: %s is stopped and cannot be cancelled here: %w", id, t.stopped))
	default:
		if rec := (&record{kind: recCancel, run: id, reason: reason, gently: gently}); t.root.heeds(rec) {
			c.write(rec)
			c.unpark(t)
		}
		c.answer(answer)
	}
}

type timer struct {
	due  time.Time
	run  *run
	wait *pending // a sleep, a wait or a question; nil: the run's wall time
}

type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	return last
}

func (c *core) enqueue(rec *record) {
	if c.live {
		c.todo = append(c.todo, *rec)
	}
}
