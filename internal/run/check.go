package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

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
}

// named says who needs a document.
type named struct {
	run     polity.RunID
	size    uint64 // as the log says; 0 for not said
	release bool
	log     bool // of a run that was imported
}

// NewChecker returns a checker for a log that the anchor's file, "" for none, vouches for. An anchor that cannot be read is a damage.
// progress, if not nil, is told of documents as they are read.
func NewChecker(anchorFile string, pinned Pinned, progress func(done, total int64)) *Checker {
	c := &Checker{pinned: pinned, progress: progress, live: map[polity.RunID]bool{}, named: map[Digest]named{}, told: map[polity.RunID]bool{}}
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
	case recClaim, recErased, recDeleted:
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
		c.name(r.release, named{run: root, release: true})
		c.name(r.data.blob, named{run: root, size: r.data.size, log: true})
		return
	case recFinished:
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
	if b := c.broken; b != nil {
		b.Runs, b.More = listRuns(c.told)
		c.damaged(*b)
	}
	if c.anchor.seq > 0 && !c.anchored {
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
		harm := polity.Damage{What: "document", Name: hex.EncodeToString(d[:]), Text: fault.Of(err).Text}
		if n.run != "" {
			harm.Runs = []polity.RunID{n.run}
		}
		c.damaged(harm)
	}
	c.progress(int64(len(c.order)), int64(len(c.order)))
}

func (c *Checker) document(d Digest, n named, get func(Digest) ([]byte, error)) error {
	data, err := get(d)
	switch {
	case err != nil:
		return err
	case n.size > 0 && n.size != uint64(len(data)):
		return fault.Damaged.New("it has %d bytes, and the log says %d", len(data), n.size)
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
				if r := &f.records[i]; r.data.size > 0 {
					c.name(r.data.blob, named{run: n.run, size: r.data.size})
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
