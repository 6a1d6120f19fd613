package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// The limits of trails.
const (
	trailSoft  = 64 << 10 // bytes of one tree that are kept in memory before they go to the spool
	trailsSoft = 64 << 20 // bytes of all trees
	trailMax   = 64 << 20 // bytes of a segment that are believed in when it is read
	linksMin   = 8        // segments of one tree before they are made one, and one more for
	linksPer   = 64       // so many records, or a tree that wakes often would be written again and again
	trailPool  = 1024     // buffers that are kept to be used again
	trailReuse = 8 << 10  // bytes of the largest of them
)

// A tree that has not ended has a trail: what the log told of it, up to some commit in segments of the spool, each of which knows the place
// of the one before it, and from there on in memory. Folded again it makes the same state, as the log itself does; it is only quicker to reach.
//
//	segment = digest:16  previous:place  tree:text  entry*
//	entry   = commit:uvarint  time:varint  record        both as the difference to the entry before, and to zero at the first
//
// The digest is the beginning of the SHA-256 of what comes after it.

// trail is the part in memory.
type trail struct {
	buf []byte // entries
	seq uint64 // of the last one
	at  int64  // likewise, in nanoseconds since 1970
}

// place is where a segment is in the spool. Zero is nowhere.
type place struct {
	file uint32
	size uint32
	off  uint64
}

// spool keeps segments. It may lose or damage them: what is read is checked.
type spool interface {
	// put stores a segment and keeps no part of it. It returns fault.Full or fault.Unavailable if it cannot.
	put(segment []byte) (place, error)
	// get returns what is at a place, which is the caller's then.
	get(p place) ([]byte, error)
	// drop tells that so many bytes are no longer needed.
	drop(bytes uint32)
	// lost tells that a tree cannot be had from the spool, and is read from the log.
	lost(id polity.RunID, why error)
	// reread gives what the log tells of a tree from one commit to another. A record is given for the time of the call.
	reread(id polity.RunID, first, last uint64, each func(at time.Time, seq uint64, rec *record) error) error
}

const (
	digestSize  = 16 // of a segment
	placeSize   = 16
	segmentHead = digestSize + placeSize
)

func (p place) none() bool { return p.size == 0 }

func appendPlace(b []byte, p place) []byte {
	b = binary.BigEndian.AppendUint32(b, p.file)
	b = binary.BigEndian.AppendUint32(b, p.size)
	return binary.BigEndian.AppendUint64(b, p.off)
}

func (r *reader) place() place {
	b := r.bytes(placeSize)
	if b == nil {
		return place{}
	}
	return place{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])}
}

// add takes over a record as the log has it.
func (t *trail) add(seq uint64, at time.Time, raw []byte) {
	t.buf = appendEntry(t.buf, seq-t.seq, at.UnixNano()-t.at, raw)
	t.seq, t.at = seq, at.UnixNano()
}

func appendEntry(b []byte, seq uint64, at int64, raw []byte) []byte {
	b = binary.AppendUvarint(b, seq)
	b = binary.AppendVarint(b, at)
	return append(b, raw...)
}

// entry is one record of a trail.
type entry struct {
	seq uint64
	at  int64
	raw []byte // the record with its length before it
}

// eachEntry gives those that are in b, in order. It returns fault.Damaged for what add did not write.
func eachEntry(b []byte, each func(entry) error) error {
	var e entry
	for r := (reader{b: b}); len(r.b) > 0; {
		e.seq += r.uvarint(numberMax)
		e.at += r.varint()
		start := r.b
		r.bytes(r.uvarint(frameMax))
		if r.bad {
			return fault.Damaged.New("run: trail: an entry is cut")
		}
		e.raw = start[:len(start)-len(r.b)]
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) varint() int64 {
	if r.bad {
		return 0
	}
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// split divides a trail: the entries up to a commit, and those after it.
func (t *trail) split(seq uint64) (before, after trail) {
	if t.seq <= seq {
		return *t, trail{}
	}
	err := eachEntry(t.buf, func(e entry) error {
		part := &before
		if e.seq > seq {
			part = &after
		}
		part.add(e.seq, time.Unix(0, e.at), e.raw)
		return nil
	})
	if err != nil {
		panic(err) // it is our own writing, and never left the memory
	}
	return before, after
}

// appendSegment writes what was gathered of a tree.
func appendSegment(b []byte, previous place, tree polity.RunID, entries []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, digestSize)...)
	b = appendPlace(b, previous)
	b = appendText(b, string(tree))
	b = append(b, entries...)
	sum := sha256.Sum256(b[start+digestSize:])
	copy(b[start:], sum[:digestSize])
	return b
}

// readSegment checks a segment and returns its entries and the place of the one before it. It returns fault.Damaged for what is not a whole
// segment of that tree.
func readSegment(b []byte, tree polity.RunID) (entries []byte, previous place, err error) {
	if len(b) < segmentHead {
		return nil, place{}, fault.Damaged.New("run: spool: a segment of %s is cut", tree)
	}
	if sum := sha256.Sum256(b[digestSize:]); !bytes.Equal(sum[:digestSize], b[:digestSize]) {
		return nil, place{}, fault.Damaged.New("run: spool: a segment of %s is not what was written", tree)
	}
	r := reader{b: b[digestSize:]}
	previous = r.place()
	if r.text() != string(tree) || r.bad {
		return nil, place{}, fault.Damaged.New("run: spool: a segment of another run is where one of %s should be", tree)
	}
	return r.b, previous, nil
}

// keep adds a record to the trail of its tree. It comes after the record was applied.
func (c *core) keep(rec *record, seq uint64, raw []byte) {
	if c.spool == nil || rec.besideRuns() {
		return
	}
	t := c.trees[rec.run.Root()]
	switch {
	case t == nil || t.log != nil:
		return
	case c.live:
		c.gather.touch(t)
	case t.over():
		c.release(t)
		c.depart(t)
		return
	}
	if t.trail == nil {
		t.trail = c.newTrail()
	}
	before := len(t.trail.buf)
	t.trail.add(seq, c.lastAt, raw)
	t.records++
	c.trailed += len(t.trail.buf) - before
	if bits.Len(uint(before/trailSoft)) != bits.Len(uint(len(t.trail.buf)/trailSoft)) { // if the spool takes nothing, not at each record
		c.spill(t)
	}
	if c.trailed > trailsSoft && c.spilt != c.seq {
		c.spilt = c.seq // not again before more is acknowledged
		for _, t := range c.roots {
			if !c.spill(t) {
				break
			}
		}
	}
}

// newTrail takes one that is no longer used, or makes one.
func (c *core) newTrail() *trail {
	n := len(c.trails) - 1
	if n < 0 {
		return new(trail)
	}
	t := c.trails[n]
	c.trails = c.trails[:n]
	return t
}

func (c *core) freeTrail(t *tree) {
	if t.trail == nil {
		return
	}
	c.trailed -= len(t.trail.buf)
	if len(c.trails) < trailPool && cap(t.trail.buf) <= trailReuse {
		*t.trail = trail{buf: t.trail.buf[:0]}
		c.trails = append(c.trails, t.trail)
	}
	t.trail = nil
}

// touch notes a tree that the pack tells of.
func (p *pack) touch(t *tree) {
	if n := len(p.trees); n == 0 || p.trees[n-1] != t {
		p.trees = append(p.trees, t)
	}
}

// spill brings what is acknowledged of a trail from memory to the spool. It returns false if the spool does not take it.
func (c *core) spill(t *tree) bool {
	if t.trail == nil {
		return true
	}
	done, rest := t.trail.split(c.seq)
	if len(done.buf) == 0 {
		return true
	}
	from, all := t.place, done.buf
	if t.links >= linksMin+t.records/linksPer {
		if whole, err := c.whole(t, done.buf); err == nil { // else it is told when the tree is woken
			from, all = place{}, whole
		}
	}
	if !c.store(t, from, all) {
		return false
	}
	t.reach = done.seq
	if len(rest.buf) == 0 {
		c.freeTrail(t)
		return true
	}
	c.trailed -= len(t.trail.buf) - len(rest.buf)
	*t.trail = rest
	return true
}

// store puts entries of a tree into the spool, behind those that are there or in place of them.
func (c *core) store(t *tree, behind place, entries []byte) bool {
	c.segment = appendSegment(c.segment[:0], behind, t.id, entries)
	at, err := c.spool.put(c.segment)
	if err != nil {
		return false // the spool said so, and nothing is lost
	}
	if behind.none() {
		c.spool.drop(t.stored)
		t.links, t.stored = 0, 0
	}
	t.place = at
	t.links++
	t.stored += at.size
	return true
}

// whole returns the entries of a tree that are in the spool, and more behind them, as one list.
func (c *core) whole(t *tree, more []byte) ([]byte, error) {
	parts, err := c.spooled(t)
	var all trail
	for _, part := range append(parts, more) {
		if err == nil {
			err = eachEntry(part, func(e entry) error {
				all.add(e.seq, time.Unix(0, e.at), e.raw)
				return nil
			})
		}
	}
	return all.buf, err
}

// spooled returns the entries of a tree that are in the spool, a list for each segment.
func (c *core) spooled(t *tree) ([][]byte, error) {
	parts := make([][]byte, 0, t.links)
	for at := t.place; !at.none(); {
		b, err := c.spool.get(at)
		if err != nil {
			return nil, err
		}
		part, previous, err := readSegment(b, t.id)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		at = previous
	}
	slices.Reverse(parts)
	return parts, nil
}

// release forgets the trail of a tree that has ended.
func (c *core) release(t *tree) {
	c.freeTrail(t)
	if t.stored > 0 {
		c.spool.drop(t.stored)
	}
	t.place, t.stored, t.links, t.records = place{}, 0, 0, 0
}
