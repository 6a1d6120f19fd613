package run

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"time"

	"polity.run"
	"polity.run/fault"
)

// A base stands for the beginning of a log, so that this can be dropped: it is everything that the partition knew at a commit. It is what a checkpoint is, and
// complete: of a tree that has not ended it holds the trail itself, and it is no cache.
//
//	base  = line  as a checkpoint has it, but for its line, with (event* wait* trail*) behind a tree that has not ended
//	trail = block 'l'  a part of the tree's entries, as a segment of the spool has them
//
// It is cut into documents of at most pieceMax bytes. One more, its root, lists them:
//
//	root = line  previous:32  (document:32)*           previous: the root of the base before it; zeros for none
//
// The record based says that there is one. From then on what the log has up to a commit is not needed: of each tree that is told of there either the base has the
// trail, or the tree had ended and what it did is not to be kept here.
const (
	baseLine  = "polity base 1\n"
	rootLine  = "polity base root 1\n"
	pieceMax  = 1 << 20
	piecesMax = 1 << 16
	trailCut  = 32 << 10 // bytes of a trail in one block
)

const blockTrail = 'l'

// base is what the log tells of one.
//
//	based = commit:uvarint  hash:32  dropped:uvarint  hash:32  root:32
type base struct {
	seq     uint64 // the commit that it tells of
	head    hash   // its hash
	dropped uint64 // the last commit that is not needed any more
	prev    hash   // its hash
	root    Digest
}

func (b *base) appendTo(buf []byte) []byte {
	buf = binary.AppendUvarint(buf, b.seq)
	buf = append(buf, b.head[:]...)
	buf = binary.AppendUvarint(buf, b.dropped)
	buf = append(buf, b.prev[:]...)
	return append(buf, b.root[:]...)
}

func (r *reader) base() *base {
	b := &base{seq: r.uvarint(numberMax)}
	copy(b.head[:], r.bytes(sha256.Size))
	b.dropped = r.uvarint(numberMax)
	copy(b.prev[:], r.bytes(sha256.Size))
	b.root = r.digest()
	r.bad = r.bad || b.dropped == 0 || b.dropped > b.seq
	return b
}

// lacks says that the log need not have all of what is told of a tree.
func (b *base) lacks(first uint64) bool { return b != nil && first <= b.dropped }

// gone says that a tree had ended at a base, and that what it did is no longer to be had here.
func (b *base) gone(t *tree) bool {
	return b.lacks(t.first) && t.over() && t.log == nil && t.end <= b.seq
}

// based folds that there is a base. It counts once it is acknowledged.
func (c *core) based(rec *record) {
	b := rec.base
	if !c.live {
		c.base = b
		return
	}
	c.gather.answers = append(c.gather.answers, func(err error) {
		if err == nil {
			c.base = b
		}
	})
}

// --- writing

// documents keeps documents. *Blobs is one.
type documents interface {
	Put(data []byte) (Digest, error)
}

// baseWriter cuts a base into documents as it is written.
type baseWriter struct {
	to   documents
	root []byte
	buf  []byte
}

func newBaseWriter(to documents, previous Digest) *baseWriter {
	return &baseWriter{to: to, root: append([]byte(rootLine), previous[:]...)}
}

func (w *baseWriter) Write(data []byte) (int, error) {
	w.buf = append(w.buf, data...)
	for len(w.buf) >= pieceMax {
		if err := w.put(w.buf[:pieceMax]); err != nil {
			return 0, err
		}
		w.buf = append(w.buf[:0], w.buf[pieceMax:]...)
	}
	return len(data), nil
}

func (w *baseWriter) put(piece []byte) error {
	d, err := w.to.Put(piece)
	w.root = append(w.root, d[:]...)
	return err
}

// finish writes the rest and the root, and returns that.
func (w *baseWriter) finish() (Digest, error) {
	if len(w.buf) > 0 {
		if err := w.put(w.buf); err != nil {
			return Digest{}, err
		}
	}
	if n := (len(w.root) - len(rootLine)) / sha256.Size; n > piecesMax {
		return Digest{}, fault.Full.New("run: base: %d documents; the most is %d", n, piecesMax)
	}
	return w.to.Put(w.root)
}

// appendTrail adds the trail of a tree to a capture that is to be a base.
func (k *capture) appendTrail(b []byte, t *tree) []byte {
	entries, err := k.core.whole(t, nil)
	if err != nil {
		k.core.spool.lost(t.id, err)
		var all trail
		err = k.core.spool.reread(t.id, t.first, t.reach, func(at time.Time, seq uint64, rec *record) error {
			all.add(seq, at, appendRecord(nil, rec))
			return nil
		})
		entries = all.buf
	}
	if err != nil {
		k.err = err
	}
	for n := 0; len(entries) > 0; entries = entries[n:] {
		n = min(len(entries), trailCut)
		b = appendBlock(b, append(append(k.block[:0], blockTrail), entries[:n]...))
	}
	return b
}

// --- reading

// readRoot takes a root apart.
func readRoot(data []byte) (previous Digest, pieces []Digest, err error) {
	rest, ok := bytes.CutPrefix(data, []byte(rootLine))
	if n := len(rest) / sha256.Size; !ok || n < 2 || n > piecesMax+1 || len(rest)%sha256.Size != 0 {
		return Digest{}, nil, fault.Damaged.New("run: base: its list of documents does not make sense")
	}
	copy(previous[:], rest)
	for rest = rest[sha256.Size:]; len(rest) > 0; rest = rest[sha256.Size:] {
		pieces = append(pieces, Digest(rest[:sha256.Size]))
	}
	return previous, pieces, nil
}

// openBase returns what the documents of a base hold, one after the other. get reads one, and checks it.
func openBase(root Digest, get func(Digest) ([]byte, error)) (io.Reader, error) {
	data, err := get(root)
	if err != nil {
		return nil, fault.Of(err).Kind.New("run: base: %w", err)
	}
	_, pieces, err := readRoot(data)
	return &pieceReader{pieces: pieces, get: get}, err
}

type pieceReader struct {
	pieces []Digest
	get    func(Digest) ([]byte, error)
	rest   []byte
}

func (r *pieceReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if len(r.pieces) == 0 {
			return 0, io.EOF
		}
		data, err := r.get(r.pieces[0])
		if err != nil {
			return 0, err
		}
		r.rest, r.pieces = data, r.pieces[1:]
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// scanBase gives every tree of a base as it was then, with its trail if it had not ended, until each returns an error. Both are good until the next call. It does not
// look at anything else, and needs no keys.
func scanBase(from io.Reader, each func(t *tree, trail []byte) error) error {
	r := &blockReader{from: bufio.NewReaderSize(from, 1<<16), sum: sha256.New()}
	if line := r.bytes(len(baseLine)); r.err == nil && string(line) != baseLine {
		return fault.Invalid.New("run: base of an unknown format (%.30q); a newer version of this program wrote it?", line)
	}
	p := &checkpoint{agents: map[string]string{}}
	p.header(&reader{b: r.block()}, r)
	var t *tree
	var trail []byte
	give := func() error {
		if t == nil {
			return nil
		}
		one := t
		t = nil
		return each(one, trail)
	}
	for r.err == nil {
		block := r.block()
		if len(block) == 0 {
			break
		}
		switch block[0] {
		case blockTree:
			if err := give(); err != nil {
				return err
			}
			p.trees, p.index, p.told = p.trees[:0], map[polity.RunID]*tree{}, map[*tree]uint64{}
			if p.tree(&reader{b: block[1:]}, r); r.err == nil {
				t, trail = p.trees[0], trail[:0]
			}
		case blockTrail:
			trail = append(trail, block[1:]...)
		}
	}
	if r.err == nil {
		if err := give(); err != nil {
			return err
		}
		p.destroyed(r)
		r.bytes(8)
	}
	sum := r.sum.Sum(nil)
	if digest := r.bytes(sha256.Size); r.err == nil && !bytes.Equal(sum, digest) {
		r.fail(fault.Damaged.New("it is not what was written"))
	}
	if r.err != nil {
		return fault.Damaged.New("run: base: %w", r.err)
	}
	return nil
}

// eachRecord gives the records of a trail, each for the time of the call.
func eachRecord(id polity.RunID, trail []byte, each func(at time.Time, seq uint64, rec *record) error) error {
	var rec record
	return eachEntry(trail, func(e entry) error {
		body := reader{b: e.raw}
		body = reader{b: body.bytes(body.uvarint(frameMax))}
		rec = record{}
		if body.record(&rec); body.bad || rec.run.Root() != id {
			return fault.Damaged.New("run: an entry of the trail of %s does not make sense", id)
		}
		return each(timeAt(e.at), e.seq, &rec)
	})
}
