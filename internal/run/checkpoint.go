package run

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	gohash "hash"
	"io"
	"maps"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// A checkpoint is what a partition knows at a commit: a summary of each tree that has ended, and of each that has not where its trail is and what it waits for. It is a
// cache. The log alone makes the same state again; only it takes longer.
//
//	checkpoint = line  head:block  (known | tree (event* wait)*)*  0  erased:block*  0  trees:8  digest:32
//	erased     = key:text*                             destroyed up to the commit of the checkpoint
//	block      = length:uvarint  bytes
//	head       = commit:8  hash:32  time:8  downtime:8  oldest:4  taken:uvarint  claims:uvarint  (commit:uvarint  downtime:uvarint)*
//	known      = block 'k'  (id:text  hash:16)*       of events that were published, the oldest first
//	tree       = block 't'  id:text  flags:uvarint  first:uvarint  last:uvarint  request:16  agent:text  opened:8  usage
//	             ended: status:1  time:8  end:uvarint  log:payload
//	             not ended: told:uvarint  due:8  records:uvarint  stored:uvarint  links:uvarint  place
//	             fork: run:text  event:uvarint    origin: run:text    conversation: key:text    paused: since:8  downtime:8
//	             sealed: key:text    held: reason:text    mail: priority:1  tries:1  expires:8  deadline:8  0  0
//	event      = block 'e'  name:text  id:text  version:uvarint  data:payload       numbered from 1
//	wait       = block 'w'  flags:1  run:text  name:text  attempt:uvarint  request:16  awaited:text  match:text  since:8  due:8  from:uvarint
//	             shut: closed:uvarint    came: event:uvarint  commit:uvarint    key:text
//
// The digest is the SHA-256 of everything before it. The log goes on while a checkpoint is written, so a tree may be told of as it was somewhat later: up
// to the commit that is as much after the checkpoint's as told says. Nothing of what is behind that, or not acknowledged, is in it. What else the
// partition knows follows from the trees (conversations, mailboxes) or from their trails (signals, pauses, what is undone). oldest is the first file of
// the spool that any trail is in; run is without the tree's ID.
const (
	checkpointLine = "polity checkpoint 3\n"
	blockMax       = 64 << 10
	blockSoft      = 32 << 10 // known takes no more beyond this
	claimsKept     = 1 << 10  // the last ones; those before are taken for one
	erasedBlock    = 1 << 10  // keys in one block
)

const (
	blockKnown = 'k'
	blockTree  = 't'
	blockEvent = 'e'
	blockWait  = 'w'
)

const (
	flagEnded = 1 << iota
	flagUndone
	flagSimulates
	flagFork
	flagOrigin
	flagTalk
	flagSealed
	flagHeld
	flagStopped
	flagQueued
	flagPaused
	flagMail
	flagsEnd
)

// capture writes a checkpoint in pieces, while the partition goes on between them.
type capture struct {
	core   *core
	seq    uint64
	trees  int // of the partition's, in the order of opening
	next   int
	told   uint64
	block  []byte
	events map[*event]uint64 // those that were written, by number
	err    error             // something could not be enciphered

	entry   uint64 // the next one of the register
	until   uint64
	doubles map[polity.RunID]bool // those that are told of as they are in memory
}

// newCapture begins with a checkpoint of the last acknowledged commit, and returns its beginning.
func (c *core) newCapture(oldest uint32) (*capture, []byte) {
	k := &capture{core: c, seq: c.seq, trees: len(c.roots), events: map[*event]uint64{}, doubles: maps.Clone(c.doubles)}
	seen := c.waits.events.at(c.seq, eventIDsMax)
	if c.register != nil {
		k.until = c.register.end()
	}
	h := binary.BigEndian.AppendUint64(nil, c.seq)
	h = append(h, c.head[:]...)
	h = binary.BigEndian.AppendUint64(h, uint64(c.at.UnixNano()))
	h = binary.BigEndian.AppendUint64(h, uint64(c.downtime))
	h = binary.BigEndian.AppendUint32(h, oldest)
	taken := uint64(0)
	if n := len(seen); n > 0 {
		taken = seen[n-1].taken
	}
	h = binary.AppendUvarint(h, taken)
	claims := c.claims[max(0, len(c.claims)-claimsKept):]
	h = binary.AppendUvarint(h, uint64(len(claims)))
	for _, cl := range claims {
		h = binary.AppendUvarint(h, cl.seq)
		h = binary.AppendUvarint(h, uint64(cl.downtime))
	}
	return k, c.waits.events.appendTo(appendBlock([]byte(checkpointLine), h), seen, c.vault)
}

func appendBlock(b, block []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(block)))
	return append(b, block...)
}

// done says that there are no more trees to tell of.
func (k *capture) done() bool { return k.entry >= k.until && k.next >= k.trees }

// fromRegister appends at most n of the trees that the register holds, and returns how many are left of n.
func (k *capture) fromRegister(b []byte, n int) ([]byte, int, error) {
	next, err := k.core.register.each(k.entry, k.until, func(e registered) bool {
		if !k.doubles[e.id] {
			k.told++
			k.block = append(append(k.block[:0], blockTree), e.block...)
			b = appendBlock(b, k.block)
		}
		n--
		return n > 0
	})
	k.entry = next
	return b, n, err
}

// more appends the next n trees. It returns fault.Unavailable if the spool does not take a trail.
func (k *capture) more(b []byte, n int) ([]byte, error) {
	if k.entry < k.until {
		var err error
		if b, n, err = k.fromRegister(b, n); err != nil {
			return b, err
		}
	}
	for ; n > 0 && !k.done(); n-- {
		t := k.core.roots[k.next]
		k.next++
		if t.left || t.first > k.seq {
			continue // the register has it, or the log tells of it behind the checkpoint
		}
		ended := t.endedAt(k.core.seq)
		if !ended && !k.core.spill(t) {
			return b, fault.Unavailable.New("run: checkpoint: the spool does not take the trail of %s", t.id)
		}
		k.told++
		k.block = k.tree(append(k.block[:0], blockTree), t)
		b = appendBlock(b, k.block)
		if !ended {
			b = k.waits(b, t)
		}
		if k.err != nil {
			return b, k.err
		}
	}
	return b, nil
}

// end appends what comes after the last tree, but for the digest.
func (k *capture) end(b []byte) []byte {
	b = append(b, 0)
	for keys := range slices.Chunk(k.core.vault.destroyed(k.seq), erasedBlock) {
		block := k.block[:0]
		for _, key := range keys {
			block = appendText(block, key)
		}
		b = appendBlock(b, block)
	}
	return binary.BigEndian.AppendUint64(append(b, 0), k.told)
}

// endedAt says that a tree had ended at a commit.
func (t *tree) endedAt(seq uint64) bool { return t.over() && t.last <= seq }

// tree writes a tree as it is at the last acknowledged commit. Of one of which more is known than that, its trail tells whether it is queued or paused.
func (k *capture) tree(b []byte, t *tree) []byte { return t.appendTo(b, k.core.seq, k.seq) }

// appendTo writes a tree as it is at an acknowledged commit, into a checkpoint of that one or of one before.
func (t *tree) appendTo(b []byte, seq, point uint64) []byte {
	ended, still := t.endedAt(seq), t.last <= seq
	s := t.summary
	last := t.reach
	switch {
	case ended:
		last = t.last
	case t.root != nil && t.last <= seq:
		s.Usage = t.root.usage
	case !t.asleep:
		s.Usage = polity.Usage{}
	}
	paused := still && !t.paused.IsZero() && !ended
	flags := uint64(0)
	for i, set := range [...]bool{
		ended, t.undone || !t.asleep, t.simulates, s.Fork != nil, t.origin != "", s.Conversation != "", t.key != "", t.hold != nil, t.stopped != nil, still && t.queued && !ended, paused, !ended && t.mail != nil,
	} {
		if set {
			flags |= 1 << i
		}
	}
	b = appendText(b, string(t.id))
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, t.first)
	b = binary.AppendUvarint(b, last)
	b = append(b, t.request[:]...)
	b = appendText(b, s.Agent)
	b = appendTime(b, s.Opened)
	b = appendUsage(b, s.Usage)
	if ended {
		b = append(b, byte(s.Status))
		b = appendTime(b, s.Ended)
		b = binary.AppendUvarint(b, t.end)
		var log payload
		if t.log != nil {
			log = *t.log
		}
		b = appendPayload(b, log)
	} else {
		b = binary.AppendUvarint(b, seq-point)
		b = binary.BigEndian.AppendUint64(b, uint64(t.due))
		b = binary.AppendUvarint(b, uint64(t.records))
		b = binary.AppendUvarint(b, uint64(t.stored))
		b = binary.AppendUvarint(b, uint64(t.links))
		b = appendPlace(b, t.place)
	}
	if s.Fork != nil {
		b = appendText(b, string(s.Fork.Run))
		b = binary.AppendUvarint(b, uint64(s.Fork.Event))
	}
	if t.origin != "" {
		b = appendText(b, string(t.origin))
	}
	if s.Conversation != "" {
		b = appendText(b, s.Conversation)
	}
	if t.key != "" {
		b = appendText(b, t.key)
	}
	if t.hold != nil {
		b = appendText(b, *t.hold)
	}
	if paused {
		b = appendTime(b, t.paused)
		b = binary.BigEndian.AppendUint64(b, uint64(t.pausedDown))
	}
	if !ended && t.mail != nil {
		b = appendMail(b, t.mail.bare())
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

// checkpoint is one that was read.
type checkpoint struct {
	vault    *vault
	seq      uint64
	head     hash
	at       time.Time
	downtime time.Duration
	oldest   uint32
	size     uint64 // bytes of the file
	claims   []claim
	taken    uint64
	known    known
	trees    []*tree  // in the order of opening
	erased   []string // keys
	index    map[polity.RunID]*tree
	stopped  []*tree
	told     map[*tree]uint64  // of those that are told of as they were later than seq
	waits    []*wait           // of all trees
	events   []*event          // that came to some of them
	agents   map[string]string // each name once
	awaited  map[string]*polity.Awaited

	register   *register // nil: trees has all
	registered uint64    // trees that are only there
}

// readCheckpoint reads a checkpoint. It returns fault.Damaged for one that is not whole, and fault.Invalid for a format that this program does
// not know.
func readCheckpoint(from io.Reader, v *vault) (*checkpoint, error) {
	return readCheckpointInto(from, v, nil)
}

// readCheckpointInto is readCheckpoint with an empty register, which takes the trees that have ended instead of the memory, if it is not nil. It is no use
// after an error.
func readCheckpointInto(from io.Reader, v *vault, register *register) (*checkpoint, error) {
	r := &blockReader{from: bufio.NewReaderSize(from, 1<<20), sum: sha256.New()}
	if line := r.bytes(len(checkpointLine)); r.err == nil && string(line) != checkpointLine {
		return nil, fault.Invalid.New("run: checkpoint of an unknown format (%.30q)", line)
	}
	p := &checkpoint{
		register: register, vault: v, agents: map[string]string{}, index: map[polity.RunID]*tree{}, told: map[*tree]uint64{}, awaited: map[string]*polity.Awaited{},
	}
	p.header(&reader{b: r.block()}, r)
	for r.err == nil {
		block := r.block()
		if len(block) == 0 {
			break
		}
		b := &reader{b: block[1:]}
		switch block[0] {
		case blockKnown:
			p.readKnown(b, r)
		case blockTree:
			p.tree(b, r)
		case blockEvent:
			p.event(b, r)
		case blockWait:
			p.wait(b, r)
		default:
			r.fail(fault.Damaged.New("a block of an unknown kind (%d)", block[0]))
		}
	}
	p.destroyed(r)
	told := binary.BigEndian.Uint64(r.bytes(8))
	sum := r.sum.Sum(nil)
	digest := r.bytes(sha256.Size)
	if r.err != nil {
		return nil, fault.Damaged.New("run: checkpoint: %w", r.err)
	}
	if !bytes.Equal(sum, digest) {
		return nil, fault.Damaged.New("run: checkpoint: it is not what was written")
	}
	p.size = r.size
	if _, err := r.from.ReadByte(); err != io.EOF || told != uint64(len(p.trees))+p.registered {
		return nil, fault.Damaged.New("run: checkpoint: it does not end where it should")
	}
	return p, nil
}

func (p *checkpoint) header(h *reader, r *blockReader) {
	p.seq = h.uint64()
	copy(p.head[:], h.bytes(sha256.Size))
	p.at, p.downtime, p.oldest = h.time(), time.Duration(h.uint64()), uint32(h.uint32())
	p.taken = h.uvarint(1<<64 - 1)
	for range h.uvarint(claimsKept) {
		p.claims = append(p.claims, claim{h.uvarint(numberMax), time.Duration(h.uvarint(numberMax))})
	}
	if h.bad || len(h.b) > 0 {
		r.fail(fault.Damaged.New("its head does not make sense"))
	}
}

func (p *checkpoint) tree(b *reader, r *blockReader) {
	t := &tree{id: polity.RunID(b.text())}
	flags := b.uvarint(flagsEnd - 1)
	t.first, t.last, t.request = b.uvarint(numberMax), b.uvarint(numberMax), b.hash()
	t.summary = polity.Summary{ID: t.id, Agent: p.agent(b.text()), Opened: b.time(), Usage: b.usage()}
	told := t.last
	if flags&flagEnded != 0 {
		t.summary.Status, t.summary.Ended, t.end = polity.Status(b.byte()), b.time(), b.uvarint(numberMax)
		if log := b.payload(); log.size > 0 {
			t.log = &log
		}
	} else {
		told = p.seq + b.uvarint(1<<32-1)
		t.due = int64(b.uint64())
		t.records, t.stored, t.links = uint32(b.uvarint(1<<32-1)), uint32(b.uvarint(1<<32-1)), uint32(b.uvarint(1<<32-1))
		t.place, t.reach = b.place(), t.last
		t.asleep, t.idle, t.undone = true, true, flags&flagUndone != 0
	}
	t.simulates = flags&flagSimulates != 0
	if flags&flagFork != 0 {
		t.summary.Fork = &polity.ForkOf{Run: polity.RunID(b.text()), Event: int(b.number())}
	}
	if flags&flagOrigin != 0 {
		t.origin = polity.RunID(b.text())
	}
	if flags&flagTalk != 0 {
		t.summary.Conversation = b.text()
	}
	if flags&flagSealed != 0 {
		t.key = b.text()
	}
	if flags&flagHeld != 0 {
		reason := b.text()
		t.hold = &reason
	}
	if flags&flagPaused != 0 {
		t.paused, t.pausedDown = b.time(), time.Duration(b.uint64())
	}
	if flags&flagMail != 0 {
		t.mail = b.mail()
	}
	t.queued = flags&flagQueued != 0
	if flags&flagStopped != 0 {
		p.stopped = append(p.stopped, t)
	}
	ended := flags&flagEnded != 0
	if b.bad || len(b.b) > 0 || t.id == "" || t.id.Parent() != "" || t.first == 0 || t.first > t.last || t.last > told || p.has(t.id) || ended != t.summary.Status.Final() {
		r.fail(fault.Damaged.New("tree %d does not make sense", len(p.trees)+1))
		return
	}
	if p.retire(t, told) {
		return
	}
	if told > p.seq {
		p.told[t] = told
	}
	p.trees = append(p.trees, t)
	p.index[t.id] = t
}

// has says that a tree was read already.
func (p *checkpoint) has(id polity.RunID) bool {
	if p.register == nil || p.index[id] != nil {
		return p.index[id] != nil
	}
	t, err := p.register.find(id)
	return t != nil || err != nil
}

// retire gives a tree that has ended to the register, if there is one and it takes it.
func (p *checkpoint) retire(t *tree, told uint64) bool {
	if p.register == nil || !t.retirable() || told > p.seq || p.register.put(t) != nil {
		return false
	}
	p.registered++
	return true
}

// destroyed reads the keys that the log told to be destroyed.
func (p *checkpoint) destroyed(r *blockReader) {
	for r.err == nil {
		b := reader{b: r.block()}
		if len(b.b) == 0 {
			return
		}
		for len(b.b) > 0 && !b.bad {
			p.erased = append(p.erased, b.text())
		}
		if b.bad || len(p.erased) > erasedMax {
			r.fail(fault.Damaged.New("the keys that were destroyed do not make sense"))
		}
	}
}

// agent returns one copy of a name for all trees.
func (p *checkpoint) agent(name string) string {
	if one, ok := p.agents[name]; ok {
		return one
	}
	p.agents[name] = name
	return name
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// blockReader takes blocks from a file, and the sum of what it took.
type blockReader struct {
	from *bufio.Reader
	sum  gohash.Hash
	buf  []byte
	size uint64
	err  error
}

func (r *blockReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// bytes returns the next n bytes, until the next call.
func (r *blockReader) bytes(n int) []byte {
	if cap(r.buf) < n {
		r.buf = make([]byte, n, max(n, 1<<10))
	}
	b := r.buf[:n]
	if r.err == nil {
		if _, err := io.ReadFull(r.from, b); err != nil {
			r.fail(fault.Damaged.New("it is cut: %w", err))
		}
	}
	if r.err != nil {
		clear(b)
	}
	r.sum.Write(b)
	r.size += uint64(n)
	return b
}

// block returns the next block, until the next call.
func (r *blockReader) block() []byte {
	var n uint64
	for shift := 0; ; shift += 7 {
		b := r.bytes(1)[0]
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift > 21 {
			r.fail(fault.Damaged.New("a length does not make sense"))
		}
		if r.err != nil {
			return nil
		}
	}
	if n > blockMax {
		r.fail(fault.Damaged.New("a block of %d bytes; the most is %d", n, blockMax))
		return nil
	}
	return r.bytes(int(n))
}

// restore takes over what a checkpoint tells, which is no longer the caller's. The core is new. Then see repaired.
func (c *core) restore(p *checkpoint) {
	c.seq, c.head, c.at, c.now, c.lastAt = p.seq, p.head, p.at, p.at, p.at
	c.downtime, c.claims = p.downtime, p.claims
	c.trees, c.roots = p.index, p.trees
	if p.register != nil {
		c.register = p.register
	}
	for _, key := range p.erased {
		c.vault.erase(key, p.seq)
	}
	c.skips, c.halting = p.told, p.stopped
	c.waits.events, c.waits.taken = p.known, p.taken
	for _, w := range p.waits {
		if w.open() && w.on.Topic != "" {
			c.waits.put(w, w.key)
		}
	}
	for _, t := range p.trees {
		if t.over() {
			c.depart(t)
		}
		t.parked = c.parks && t.asleep
		if t.asleep {
			c.asleep++
		}
		if t.asleep && t.summary.Conversation != "" && !slices.Contains(p.stopped, t) {
			c.talk(t)
			if !t.queued {
				c.occupy(t)
			}
		}
	}
}

// repaired wakes what a checkpoint says is stopped. It returns one that is not any more, whose code is another one again: what was published meanwhile and
// how its conversation went on the checkpoint does not tell, so it cannot be used.
func (c *core) repaired() polity.RunID {
	for _, t := range c.halting {
		if c.wake(t); t.stopped == nil {
			return t.id
		}
	}
	c.halting = nil
	return ""
}

// abandon forgets a core that is not to be used.
func (c *core) abandon() {
	for _, r := range c.runs {
		r.forget()
	}
}
