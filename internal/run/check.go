package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Limits of what a check lists.
const (
	damageMax   = 1000 // damages; more are counted
	affectedMax = 100  // runs of one damage; more are counted
)

// Checker reads a partition's log from outside, commit by commit, and collects what is wrong with it: with the chain, the anchor, and the
// documents that the log names. It holds a little for each live run and each document, and nothing of the rest. Give it the commits in order,
// then call Finish.
type Checker struct {
	found    polity.Integrity
	anchor   anchor
	anchored bool // the anchor's commit was seen
	pinned   Pinned
	progress func(done, total int64)

	seq    uint64 // of the commit before
	prev   hash
	broken *polity.Damage        // the first break; runs are added as the log goes on
	told   map[polity.RunID]bool // that the log tells of after the break
	live   map[polity.RunID]bool
	named  map[Digest]named
	order  []Digest // of the documents, as they were named
	read   int      // of these
	frame  frame

	first  uint64                  // the commit that the log begins with; 0 for 1
	before hash                    // of the commit before it
	base   *base                   // the last that the log tells of; nil for none
	ended  map[polity.RunID]bool   // roots that ended, and were opened before first
	taken  map[polity.RunID]uint64 // roots that were imported, and the commit; some had been dropped
	scan   *baseScan               // while the base is read
}

// named says who needs a document.
type named struct {
	run     polity.RunID
	size    uint64 // as the log says; 0 for not said
	release bool
	log     bool // of a run that was imported
	root    bool // of a base
	piece   bool // likewise
	last    bool // piece of it
}

// NewChecker returns a checker for a log that the anchor's file, "" for none, vouches for. An anchor that cannot be read is a damage.
// progress, if not nil, is told of documents as they are read.
func NewChecker(anchorFile string, pinned Pinned, progress func(done, total int64)) *Checker {
	c := &Checker{pinned: pinned, progress: progress, live: map[polity.RunID]bool{}, named: map[Digest]named{}, told: map[polity.RunID]bool{}, ended: map[polity.RunID]bool{}, taken: map[polity.RunID]uint64{}}
	if progress == nil {
		c.progress = func(int64, int64) {}
	}
	known, err := readAnchor(anchorFile)
	if err != nil {
		c.damaged(polity.Damage{What: "anchor", Name: filepath.Base(anchorFile), Text: fault.Of(err).Text})
	}
	c.anchor = known
	return c
}

func (c *Checker) damaged(d polity.Damage) {
	if len(c.found.Damage) >= damageMax {
		c.found.More++
		return
	}
	c.found.Damage = append(c.found.Damage, d)
}

// Foresee is given the commits of a log whose first one is not the commit 1, before all of them are given to Commit: one of them may tell of a base that stands for
// what is not there.
func (c *Checker) Foresee(data []byte) {
	if c.frame.decode(data) != nil {
		return // which Commit says
	}
	for i := range c.frame.records {
		if b := c.frame.records[i].base; b != nil {
			c.base = b
		}
	}
}

// Foreseen begins with a commit if a base stands for those before it, and says whether it does.
func (c *Checker) Foreseen(first uint64) bool {
	stands := c.base != nil && c.base.dropped+1 >= first
	c.base = nil
	c.frame.at = time.Time{}
	if stands {
		c.Begin(first)
	}
	return stands
}

// Begin says with which commit the log begins, if that is not the first. Finish wants a base for what came before.
func (c *Checker) Begin(first uint64) { c.first, c.found.First = first, first }

// Chained says whether the commits so far are one chain.
func (c *Checker) Chained() bool { return c.broken == nil }

// Commit takes the commit at a position. damage says that its bytes are known to be wrong.
func (c *Checker) Commit(seq uint64, data []byte, damage error) {
	c.found.Commits++
	c.found.Bytes += uint64(len(data))
	switch err := c.follows(seq, data, damage); {
	case err != nil && c.broken == nil:
		c.broken = &polity.Damage{What: "commit", Name: fmt.Sprint(c.found.Sound + 1), Text: fault.Of(err).Text}
		for r := range c.live { // how they went on is not proved
			c.told[r] = true
		}
	case c.broken == nil:
		c.found.Sound, c.found.At = seq, c.frame.at
		id := sha256.Sum256(data)
		c.found.Head = hex.EncodeToString(id[:])
	}
	c.seq, c.prev = seq, sha256.Sum256(data)
	for i := range c.frame.records {
		c.record(&c.frame.records[i])
	}
}

// follows decodes a commit and says why it does not follow the one before.
func (c *Checker) follows(seq uint64, data []byte, damage error) error {
	before := c.frame.at
	c.frame.records = c.frame.records[:0]
	if damage != nil {
		return damage
	}
	if err := c.frame.decode(data); err != nil {
		c.frame.records = c.frame.records[:0]
		return err
	}
	if c.seq == 0 && seq == c.first {
		c.seq, c.prev = seq-1, c.frame.prev
		c.before = c.frame.prev
	}
	id := hash(sha256.Sum256(data))
	if seq == c.anchor.seq {
		c.anchored = id == c.anchor.head
	}
	switch {
	case seq != c.seq+1:
		return fault.Damaged.New("it is not there: commit %d is followed by commit %d", c.seq, seq)
	case c.frame.prev != c.prev:
		return fault.Damaged.New("it does not follow commit %d: the chain of hashes is broken there", c.seq)
	case c.frame.at.Before(before):
		return fault.Damaged.New("it is from before commit %d", c.seq)
	}
	return nil
}

func (c *Checker) record(r *record) {
	c.found.Events++
	root := r.run.Root()
	if c.broken != nil && root != "" {
		c.told[root] = true
	}
	top := r.run.Parent() == ""
	switch r.kind {
	case recClaim, recErased, recDeleted, recAudited:
		return
	case recBased:
		c.base = r.base
		return
	case recOpened:
		if top {
			c.found.Runs++
			c.live[root] = true
			c.name(r.release, named{run: root, release: true})
		}
	case recForked:
		c.found.Runs++
		c.live[root] = true
		c.name(r.release, named{run: root, release: true})
	case recImported:
		c.found.Runs++
		c.taken[root] = c.seq
		c.name(r.release, named{run: root, release: true})
		c.name(r.data.blob, named{run: root, size: r.data.size, log: true})
		return
	case recFinished:
		if top && c.first > 0 && !c.live[root] {
			c.ended[root] = true
		}
		if top {
			delete(c.live, root)
		}
	}
	if r.data.size > 0 {
		c.name(r.data.blob, named{run: root, size: r.data.size})
	}
}

// name remembers that a document is needed. Agents that are linked into a program have a release as well: it is a document like any other.
func (c *Checker) name(d Digest, n named) {
	if known, ok := c.named[d]; ok {
		n.release, n.log = n.release || known.release, n.log || known.log
		n.root, n.piece, n.last = n.root || known.root, n.piece || known.piece, n.last || known.last
		n.run, n.size = known.run, max(n.size, known.size)
	} else {
		c.order = append(c.order, d)
	}
	c.named[d] = n
}

// Finish checks the log's end and reads every document that it names, and those that these name: each once, in an order that the log alone
// decides. get reads one by its digest, and fails for what is not what the digest says.
func (c *Checker) Finish(get func(Digest) ([]byte, error)) {
	c.found.Live = len(c.live)
	c.begins()
	if b := c.broken; b != nil {
		b.Runs, b.More = listRuns(c.told)
		c.damaged(*b)
	}
	if c.anchor.seq >= max(c.first, 1) && !c.anchored {
		d := polity.Damage{What: "anchor", Name: fmt.Sprint("commit ", c.anchor.seq)}
		switch {
		case c.seq < c.anchor.seq:
			d.Text = fmt.Sprintf("the log ends with commit %d, and the anchor remembers commit %d: the end of the log is gone", c.seq, c.anchor.seq)
		case c.broken == nil:
			d.Text = "the commit is not the one that the anchor remembers: the log was replaced, or its end is gone and was written anew"
		}
		if d.Text != "" {
			d.Runs, d.More = listRuns(c.live)
			c.damaged(d)
		}
	}
	c.Documents(get)
}

// Name remembers that a release is needed though the log does not name it.
func (c *Checker) Name(release Digest) { c.name(release, named{release: true}) }

// Documents reads, as Finish does, the documents that were named since.
func (c *Checker) Documents(get func(Digest) ([]byte, error)) {
	for ; c.read < len(c.order); c.read++ { // it grows
		c.progress(int64(c.read), int64(len(c.order)))
		d := c.order[c.read]
		n := c.named[d]
		err := c.document(d, n, get)
		if err == nil {
			c.found.Documents++
			continue
		}
		if n.piece && c.scan != nil { // what comes after it cannot be read
			err = errors.Join(err, c.scan.to.CloseWithError(err))
			<-c.scan.done
			c.scan = nil
		}
		harm := polity.Damage{What: "document", Name: hex.EncodeToString(d[:]), Text: fault.Of(err).Text}
		if n.run != "" {
			harm.Runs = []polity.RunID{n.run}
		}
		c.damaged(harm)
	}
	c.progress(int64(len(c.order)), int64(len(c.order)))
}

// begins looks for what stands for the log's beginning.
func (c *Checker) begins() {
	switch b := c.base; {
	case b != nil && c.first > 0 && c.first == b.dropped+1 && b.prev != c.before:
		c.damaged(polity.Damage{What: "commit", Name: fmt.Sprint(c.first), Text: fmt.Sprintf("it does not follow commit %d as the base remembers that", b.dropped)})
	case b != nil && c.first <= b.dropped+1:
		c.found.First = b.dropped + 1 // what the files have of before is not looked at by a node
		c.name(b.root, named{root: true})
	case c.first > 0:
		c.damaged(polity.Damage{What: "commit", Name: fmt.Sprint(c.first - 1), Text: fmt.Sprintf("it is not there: the log begins with commit %d, and no base stands for what came before", c.first)})
	}
}

// baseScan reads a base while its documents come one by one.
type baseScan struct {
	to    *io.PipeWriter
	done  chan error
	runs  int
	live  map[polity.RunID]bool
	order []Digest
	named []named
}

func newBaseScan(first uint64, taken map[polity.RunID]uint64) *baseScan {
	from, to := io.Pipe()
	s := &baseScan{to: to, done: make(chan error, 1), live: map[polity.RunID]bool{}}
	go func() {
		err := scanBase(from, func(t *tree, trail []byte) error { return s.tree(t, trail, first, taken) })
		s.done <- errors.Join(err, from.CloseWithError(err))
	}()
	return s
}

// tree notes what is needed of a tree. One that was told of before first is told of by nothing else.
func (s *baseScan) tree(t *tree, trail []byte, first uint64, taken map[polity.RunID]uint64) error {
	if t.first < taken[t.id] { // it came back
		s.runs--
	}
	if t.first < first {
		s.runs++
		if len(trail) > 0 {
			s.live[t.id] = true
		}
	}
	if t.log != nil {
		s.name(t.log.blob, named{run: t.id, size: t.log.size, log: true})
	}
	return eachRecord(t.id, trail, func(_ time.Time, _ uint64, r *record) error {
		if r.kind == recForked || r.kind == recOpened && r.run.Parent() == "" {
			s.name(r.release, named{run: t.id, release: true})
		}
		if r.data.size > 0 {
			s.name(r.data.blob, named{run: t.id, size: r.data.size})
		}
		return nil
	})
}

func (s *baseScan) name(d Digest, n named) { s.order, s.named = append(s.order, d), append(s.named, n) }

// piece takes the next document of a base. With the last one it has seen all of it.
func (c *Checker) piece(data []byte, last bool) error {
	s := c.scan
	if s == nil {
		return nil // one before it was damaged
	}
	_, err := s.to.Write(data)
	if err == nil && !last {
		return nil
	}
	c.scan = nil
	if err := errors.Join(s.to.CloseWithError(err), <-s.done); err != nil {
		return err
	}
	c.found.Runs += s.runs
	for id := range s.live {
		if !c.ended[id] {
			c.found.Live++
		}
	}
	for i, d := range s.order {
		c.name(d, s.named[i])
	}
	return nil
}

func (c *Checker) document(d Digest, n named, get func(Digest) ([]byte, error)) error {
	data, err := get(d)
	switch {
	case err != nil:
		return err
	case n.size > 0 && n.size != uint64(len(data)):
		return fault.Damaged.New("it has %d bytes, and the log says %d", len(data), n.size)
	}
	if n.root {
		_, pieces, err := readRoot(data)
		if err != nil {
			return err
		}
		c.scan = newBaseScan(c.first, c.taken)
		for i, p := range pieces {
			c.name(p, named{piece: true, last: i == len(pieces)-1})
		}
	}
	if n.piece {
		if err := c.piece(data, n.last); err != nil {
			return err
		}
	}
	if n.release {
		files, err := c.pinned(data)
		if err != nil {
			return err
		}
		for _, f := range files {
			c.name(f, named{run: n.run})
		}
	}
	if n.log {
		return eachFrame(data, func(raw []byte) error {
			var f frame
			if err := f.decode(raw); err != nil {
				return err
			}
			for i := range f.records {
				r := &f.records[i]
				if r.data.size > 0 {
					c.name(r.data.blob, named{run: n.run, size: r.data.size})
				}
				if r.kind == recOpened && r.run.Parent() == "" {
					c.name(r.release, named{run: n.run, release: true})
				}
			}
			return nil
		})
	}
	return nil
}

func listRuns(set map[polity.RunID]bool) (list []polity.RunID, more int) {
	for r := range set {
		list = append(list, r)
	}
	slices.Sort(list)
	if len(list) > affectedMax {
		list, more = list[:affectedMax:affectedMax], len(list)-affectedMax
	}
	return list, more
}

// Unnamed counts the documents of a folder that the log does not name.
func (c *Checker) Unnamed(b *Blobs) error {
	return b.each(func(d Digest) {
		if _, ok := c.named[d]; !ok {
			c.found.Unnamed++
		}
	})
}

// Record tells of one record of a memory or a fact, or of what is wrong with it.
func (c *Checker) Record(stream string, damage error) {
	if damage == nil {
		c.found.Records++
		return
	}
	c.damaged(polity.Damage{What: "record", Name: stream, Text: fault.Of(damage).Text})
}

// Damaged adds what was found elsewhere.
func (c *Checker) Damaged(d polity.Damage) { c.damaged(d) }

// Found is what was found.
func (c *Checker) Found() polity.Integrity { return c.found }

// each gives the digest of every document in the folder.
func (b *Blobs) each(each func(Digest)) error {
	err := filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it went while we looked
			}
			return err
		}
		name := filepath.Base(filepath.Dir(path)) + e.Name()
		var d Digest
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			return nil
		}
		if n, err := hex.Decode(d[:], []byte(name)); err == nil && n == len(d) {
			each(d)
		}
		return nil
	})
	if err != nil {
		return fault.Denied.New("blobs: %w", err)
	}
	return nil
}
