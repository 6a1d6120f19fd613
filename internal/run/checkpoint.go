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

// A checkpoint is what a partition knows at a commit: a summary of each tree that has ended, and of each that has not where its trail is. It is a
// cache. The log alone makes the same state again; only it takes longer.
//
//	checkpoint = line  head:block  tree:block*  0  erased:block*  0  trees:8  digest:32
//	block      = length:uvarint  bytes
//	erased     = key:text*
//	head       = commit:8  hash:32  time:8  downtime:8  oldest:4  claims:uvarint  (commit:uvarint  downtime:uvarint)*
//	tree       = id:text  flags:1  first:uvarint  last:uvarint  request:16  agent:text  opened:8  usage
//	             ended: status:1  time:8  end:uvarint  log:payload
//	             not ended: due:8  records:uvarint  stored:uvarint  links:uvarint  place
//	             fork: run:text  event:uvarint    origin: run:text    conversation: key:text    sealed: key:text    held: reason:text
//
// The digest is the SHA-256 of everything before it. The log goes on while a checkpoint is written, so a tree may be told of as it was somewhat later:
// last says up to which commit. oldest is the first file of the spool that any trail is in.
const (
	checkpointLine = "polity checkpoint 2\n"
	blockMax       = 64 << 10
	claimsKept     = 1 << 10 // the last ones; those before are taken for one
	erasedBlock    = 1 << 10 // keys in one block
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
)

// capture writes a checkpoint in pieces, while the partition goes on between them.
type capture struct {
	core  *core
	seq   uint64
	trees int // of the partition's, in the order of opening
	next  int
	told  uint64
	block []byte

	entry   uint64 // the next one of the register
	until   uint64
	doubles map[polity.RunID]bool // those that are told of as they are in memory
}

// plain says that a checkpoint of the last acknowledged commit can tell all that the partition knew then. What runs await and were told, what was published, and conversations
// that are under way are not in it: while there is any of them no checkpoint is finished, and a start reads the log behind the one before.
func (c *core) plain() bool { return c.bare() && c.laden <= c.seq }

// bare says whether there is nothing of that in what is folded.
func (c *core) bare() bool {
	return len(c.waits.byKey) == 0 && len(c.waits.signals) == 0 && len(c.waits.events.said) == 0 && len(c.talks) == 0
}

// newCapture begins with a checkpoint of the last acknowledged commit, and returns its beginning.
func (c *core) newCapture(oldest uint32) (*capture, []byte) {
	k := &capture{core: c, seq: c.seq, trees: len(c.roots), doubles: maps.Clone(c.doubles)}
	if c.register != nil {
		k.until = c.register.end()
	}
	h := binary.BigEndian.AppendUint64(nil, c.seq)
	h = append(h, c.head[:]...)
	h = binary.BigEndian.AppendUint64(h, uint64(c.at.UnixNano()))
	h = binary.BigEndian.AppendUint64(h, uint64(c.downtime))
	h = binary.BigEndian.AppendUint32(h, oldest)
	claims := c.claims[max(0, len(c.claims)-claimsKept):]
	h = binary.AppendUvarint(h, uint64(len(claims)))
	for _, cl := range claims {
		h = binary.AppendUvarint(h, cl.seq)
		h = binary.AppendUvarint(h, uint64(cl.downtime))
	}
	return k, appendBlock([]byte(checkpointLine), h)
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
		if !k.doubles[e.tree.id] {
			k.told++
			b = appendBlock(b, e.block)
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
		if !t.endedAt(k.core.seq) && !k.core.spill(t) {
			return b, fault.Unavailable.New("run: checkpoint: the spool does not take the trail of %s", t.id)
		}
		k.block = t.appendTo(k.block[:0], k.core.seq)
		k.told++
		b = appendBlock(b, k.block)
	}
	return b, nil
}

// end appends what comes after the last tree, but for the digest.
func (k *capture) end(b []byte) []byte {
	b = append(b, 0)
	for keys := range slices.Chunk(k.core.vault.destroyed(k.core.seq), erasedBlock) {
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

// appendTo writes a tree as it is at an acknowledged commit.
func (t *tree) appendTo(b []byte, seq uint64) []byte {
	ended := t.endedAt(seq)
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
	flags := byte(0)
	for i, set := range [...]bool{
		ended, t.undone || !t.asleep, t.simulates, s.Fork != nil, t.origin != "", s.Conversation != "", t.key != "", t.hold != nil,
	} {
		if set {
			flags |= 1 << i
		}
	}
	b = appendText(b, string(t.id))
	b = append(b, flags)
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
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

// checkpoint is one that was read.
type checkpoint struct {
	seq      uint64
	head     hash
	at       time.Time
	downtime time.Duration
	oldest   uint32
	size     uint64 // bytes of the file
	claims   []claim
	trees    []*tree  // in the order of opening
	erased   []string // keys
	index    map[polity.RunID]*tree
	agents   map[string]string // each name once

	register   *register // nil: trees has all
	registered uint64    // trees that are only there
}

// readCheckpoint reads a checkpoint. It returns fault.Damaged for one that is not whole, and fault.Invalid for a format that this program does
// not know.
func readCheckpoint(from io.Reader) (*checkpoint, error) { return readCheckpointInto(from, nil) }

// readCheckpointInto is readCheckpoint with an empty register, which takes the trees that have ended instead of the memory, if it is not nil. It is no use
// after an error.
func readCheckpointInto(from io.Reader, register *register) (*checkpoint, error) {
	r := &blockReader{from: bufio.NewReaderSize(from, 1<<20), sum: sha256.New()}
	if line := r.bytes(len(checkpointLine)); r.err == nil && string(line) != checkpointLine {
		return nil, fault.Invalid.New("run: checkpoint of an unknown format (%.30q)", line)
	}
	p := &checkpoint{agents: map[string]string{}, index: map[polity.RunID]*tree{}, register: register}
	p.header(&reader{b: r.block()}, r)
	for r.err == nil {
		block := r.block()
		if len(block) == 0 {
			break
		}
		p.tree(&reader{b: block}, r)
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
	for range h.uvarint(claimsKept) {
		p.claims = append(p.claims, claim{h.uvarint(numberMax), time.Duration(h.uvarint(numberMax))})
	}
	if h.bad || len(h.b) > 0 {
		r.fail(fault.Damaged.New("its head does not make sense"))
	}
}

func (p *checkpoint) tree(b *reader, r *blockReader) {
	t := &tree{id: polity.RunID(b.text())}
	flags := b.byte()
	t.first, t.last, t.request = b.uvarint(numberMax), b.uvarint(numberMax), b.hash()
	t.summary = polity.Summary{ID: t.id, Agent: p.agent(b.text()), Opened: b.time(), Usage: b.usage()}
	if flags&flagEnded != 0 {
		t.summary.Status, t.summary.Ended, t.end = polity.Status(b.byte()), b.time(), b.uvarint(numberMax)
		if log := b.payload(); log.size > 0 {
			t.log = &log
		}
	} else {
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
	ended := flags&flagEnded != 0
	if b.bad || len(b.b) > 0 || t.id == "" || t.id.Parent() != "" || t.first == 0 || t.first > t.last || p.has(t.id) || ended != t.summary.Status.Final() {
		r.fail(fault.Damaged.New("tree %d does not make sense", len(p.trees)+1))
		return
	}
	if p.retire(t) {
		return
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
func (p *checkpoint) retire(t *tree) bool {
	if p.register == nil || !t.retirable() || t.last > p.seq || p.register.put(t) != nil {
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

// restore takes over what a checkpoint tells, which is no longer the caller's. The core is new.
func (c *core) restore(p *checkpoint) {
	c.seq, c.head, c.at, c.now, c.lastAt = p.seq, p.head, p.at, p.at, p.at
	c.downtime, c.claims = p.downtime, p.claims
	c.trees, c.roots = p.index, p.trees
	if p.register != nil {
		c.register = p.register
	}
	c.skips = map[*tree]uint64{}
	for _, key := range p.erased {
		c.vault.erase(key, p.seq)
	}
	for _, t := range p.trees {
		if t.over() {
			c.depart(t)
		}
		t.parked = c.parks && t.asleep
		if t.asleep {
			c.asleep++
		}
		if t.last > p.seq {
			c.skips[t] = t.last
		}
	}
}
