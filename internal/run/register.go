package run

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// A tree that has ended is only asked for: by the same request that comes again, and by who looks at it. So it leaves the memory for the register, a file of its
// own that this process alone writes and reads; what stays is where in it the tree is. The next owner makes another one from the checkpoint and the log.
//
//	entry = sum:4  size:4  before:8  beside:8  tree
//
// The tree is as a checkpoint tells of it (see tree.appendTo); sum is the CRC-32C of what comes after it. Two lists go through the file, from the newest entry to the oldest: by before those
// whose IDs have one fingerprint, by beside those whose keys have. The newest entry of a tree is the one that counts.
const (
	registerHead  = 24
	registerWrite = 1 << 20 // bytes that are gathered before they are written
	registerRead  = 256     // bytes that are read at once: most entries have fewer
	leftMin       = 1 << 10 // trees that have left, before the list of those that have not is made anew
	registerRetry = 1000    // commits before a file that could not be written is tried again
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// register holds trees that have ended. It belongs to the partition's loop.
type register struct {
	create  func() (registerFile, error)
	file    registerFile             // nil before it was needed
	print   func(text string) uint64 // its fingerprint
	index   map[uint64]uint64        // fingerprint of an ID to the newest entry
	keys    map[uint64]uint64        // likewise of a key
	buf     []byte                   // what is not yet written
	gather  int                      // bytes before they are written; registerWrite but for tests
	written uint64                   // bytes, with the first, which says nothing: zero is no place
	agents  map[string]string        // each name once
}

type registerFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

func newRegister(create func() (registerFile, error)) *register {
	seed := maphash.MakeSeed()
	print := func(text string) uint64 { return maphash.String(seed, text) }
	return &register{create: create, print: print, index: map[uint64]uint64{}, keys: map[uint64]uint64{}, gather: registerWrite, written: 1, agents: map[string]string{}}
}

// scratch makes a file in a folder that is removed when it is closed.
func scratch(dir string) func() (registerFile, error) {
	return func() (registerFile, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.CreateTemp(dir, newPrefix+"ended-*") // a start removes what a crash left behind
		return scratchFile{f}, err
	}
}

type scratchFile struct{ *os.File }

func (f scratchFile) Close() error {
	err := os.Remove(f.Name())
	if errors.Is(err, fs.ErrNotExist) { // another owner has taken the folder
		err = nil
	}
	return errors.Join(f.File.Close(), err)
}

// end is the place of the next entry.
func (g *register) end() uint64 { return g.written + uint64(len(g.buf)) }

// put adds a tree, in place of an earlier entry of it. If it cannot be written, nothing has changed.
func (g *register) put(t *tree) error {
	if g.file == nil {
		f, err := g.create()
		if err != nil {
			return fault.Unavailable.New("run: register of ended runs: %w", err)
		}
		g.file = f
	}
	if len(g.buf) > g.gather {
		if _, err := g.file.WriteAt(g.buf, int64(g.written)); err != nil {
			return fault.Unavailable.New("run: register of ended runs: %w", err)
		}
		g.written += uint64(len(g.buf))
		g.buf = g.buf[:0]
	}
	id, key, place, start := g.print(string(t.id)), g.print(t.key), g.end(), len(g.buf)
	g.buf = append(g.buf, make([]byte, 8)...)
	g.buf = binary.BigEndian.AppendUint64(g.buf, g.index[id])
	g.buf = binary.BigEndian.AppendUint64(g.buf, g.keys[key])
	g.buf = t.appendTo(g.buf, t.last, t.last)
	e := g.buf[start:]
	binary.BigEndian.PutUint32(e[4:], uint32(len(e)-registerHead))
	binary.BigEndian.PutUint32(e, crc32.Checksum(e[4:], castagnoli))
	g.index[id] = place
	if t.key != "" {
		g.keys[key] = place
	}
	return nil
}

// find returns a tree, which is the caller's, or nil if it is not there.
func (g *register) find(id polity.RunID) (*tree, error) {
	e, place, err := g.last(id)
	if err != nil || place == 0 {
		return nil, err
	}
	return g.decode(e)
}

// last returns the newest entry of a tree, and its place; zero for none.
func (g *register) last(id polity.RunID) (registered, uint64, error) {
	for place := g.index[g.print(string(id))]; place != 0; {
		e, err := g.entry(place)
		if err != nil || e.id == id {
			return e, place, err
		}
		place = e.before
	}
	return registered{}, 0, nil
}

// newest says that no entry of a tree came after the one at a place.
func (g *register) newest(id polity.RunID, place uint64) (bool, error) {
	if g.index[g.print(string(id))] == place {
		return true, nil
	}
	_, last, err := g.last(id)
	return last == place, err
}

// sealed gives the trees whose keys have the fingerprint of a key, the last one that ended first, until give returns false.
func (g *register) sealed(key string, give func(registered) bool) error {
	for place := g.keys[g.print(key)]; place != 0; {
		e, err := g.entry(place)
		if err != nil {
			return err
		}
		if newest, err := g.newest(e.id, place); err != nil || newest && !give(e) {
			return err
		}
		place = e.beside
	}
	return nil
}

// registered is an entry of the register.
type registered struct {
	id             polity.RunID
	block          []byte // the tree, as it is written
	before, beside uint64
}

func (g *register) entry(place uint64) (registered, error) {
	end := g.end()
	if place < g.written { // an entry is written as a whole
		end = g.written
	}
	b := make([]byte, min(registerRead, end-min(place, end)))
	if err := g.read(b, place); err != nil || len(b) < registerHead {
		return registered{}, cmp.Or(err, error(fault.Damaged.New("run: register of ended runs: there is nothing at %d", place)))
	}
	size := uint64(registerHead) + uint64(binary.BigEndian.Uint32(b[4:]))
	if size > registerHead+blockMax {
		return registered{}, fault.Damaged.New("run: register of ended runs: an entry of %d bytes at %d", size, place)
	}
	if have := uint64(len(b)); size > have {
		b = append(b, make([]byte, size-have)...)
		if err := g.read(b[have:], place+have); err != nil {
			return registered{}, err
		}
	}
	b = b[:size]
	if crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return registered{}, fault.Damaged.New("run: register of ended runs: the entry at %d is not what was written", place)
	}
	r := reader{b: b[registerHead:]}
	return registered{id: polity.RunID(r.text()), block: b[registerHead:], before: binary.BigEndian.Uint64(b[8:]), beside: binary.BigEndian.Uint64(b[16:])}, nil
}

// decode returns the tree of an entry, which is the caller's.
func (g *register) decode(e registered) (*tree, error) {
	p, r := checkpoint{seq: numberMax, agents: g.agents, index: map[polity.RunID]*tree{}}, blockReader{}
	if p.tree(&reader{b: e.block}, &r); r.err != nil {
		return nil, fault.Damaged.New("run: register of ended runs: %w", r.err)
	}
	p.trees[0].left = true
	return p.trees[0], nil
}

// read fills b with what begins at a place, all of which is in the file or none.
func (g *register) read(b []byte, place uint64) error {
	if place >= g.written {
		if n := place - g.written; n+uint64(len(b)) <= uint64(len(g.buf)) {
			copy(b, g.buf[n:])
			return nil
		}
		return fault.Damaged.New("run: register of ended runs: there is nothing at %d", place)
	}
	if _, err := g.file.ReadAt(b, int64(place)); err != nil {
		return fault.Unavailable.New("run: register of ended runs: %w", err)
	}
	return nil
}

// each gives the newest entry of every tree that is between two places, in the order in which they ended, until give returns false, and returns where to go on.
func (g *register) each(from, to uint64, give func(e registered) bool) (uint64, error) {
	for from = max(from, 1); from < to; {
		e, err := g.entry(from)
		if err != nil {
			return from, err
		}
		newest, err := g.newest(e.id, from)
		if err != nil {
			return from, err
		}
		ok := !newest || give(e)
		from += registerHead + uint64(len(e.block))
		if !ok {
			break
		}
	}
	return from, nil
}

func (g *register) close() error {
	if g.file == nil {
		return nil
	}
	return g.file.Close()
}

// --- the core's side

// tree returns a root run's tree, or nil if there is none. One that has ended may be a copy: see revive.
func (c *core) tree(id polity.RunID) *tree {
	if t := c.trees[id]; t != nil || c.register == nil || len(c.register.index) == 0 {
		return t
	}
	t, err := c.register.find(id)
	if err != nil && c.dead == nil { // the next owner makes it anew
		c.giveUp(err)
	}
	return t
}

// revive is tree for what is going to change: it is in memory again then, until what changes it is acknowledged.
func (c *core) revive(id polity.RunID) *tree {
	t := c.tree(id)
	if t == nil {
		return nil
	}
	if c.gather != nil {
		t.stays = c.gather.seq
	}
	if !t.left {
		return t
	}
	if c.doubles == nil {
		c.doubles = map[polity.RunID]bool{}
	}
	c.trees[id], c.doubles[id], t.left = t, true, false
	c.roots = append(c.roots, t)
	c.depart(t)
	return t
}

// depart notes that a tree has ended, and is to leave the memory.
func (c *core) depart(t *tree) {
	if c.register != nil && !t.leaving {
		t.leaving = true
		c.leaving = append(c.leaving, t)
	}
}

// retire brings trees that have ended to the register. It is not to be called while a checkpoint is being made or the spool is swept, as both go
// through the list of trees.
func (c *core) retire() {
	if len(c.leaving) == 0 || c.seq < c.retryAt || c.dead != nil {
		return
	}
	c.leaving = slices.DeleteFunc(c.leaving, func(t *tree) bool {
		if !t.retirable() {
			t.leaving = false // it stays, or is noted again
			return true
		}
		if c.seq < c.retryAt || t.last > c.seq || t.stays > c.seq || t.watched() || c.skips[t] != 0 {
			return false
		}
		if c.register.put(t) != nil { // it stays in memory
			c.retryAt = c.seq + registerRetry
			return false
		}
		t.leaving, t.left = false, true
		delete(c.trees, t.id)
		delete(c.doubles, t.id)
		c.left++
		return true
	})
	if c.left > max(leftMin, len(c.roots)/2) {
		c.roots, c.left = slices.DeleteFunc(c.roots, func(t *tree) bool { return t.left }), 0
	}
}

// retirable says that a tree has ended. What is held stays in memory, as it is in the way of an erasure, and what was deleted, which a checkpoint does not tell.
func (t *tree) retirable() bool {
	return t.over() && t.summary.Status.Final() && t.hold == nil && !t.deleted
}

func (t *tree) watched() bool {
	return slices.ContainsFunc(t.watch, func(w *watcher) bool { return !w.gone })
}

// all returns every tree, in the order of opening; those that one commit opened by their IDs. Of those that have ended it has copies.
func (c *core) all() ([]*tree, error) {
	return c.gathered(func(*tree) bool { return true }, func(give func(registered) bool) error {
		_, err := c.register.each(0, c.register.end(), give)
		return err
	})
}

// holders returns the trees that are enciphered with a key, likewise.
func (c *core) holders(key string) ([]*tree, error) {
	return c.gathered(func(t *tree) bool { return t.key == key }, func(give func(registered) bool) error {
		return c.register.sealed(key, give)
	})
}

// gathered returns the trees in memory that are wanted, and those that the register gives.
func (c *core) gathered(wanted func(*tree) bool, ended func(func(registered) bool) error) ([]*tree, error) {
	var all []*tree
	for _, t := range c.roots {
		if !t.left && wanted(t) {
			all = append(all, t)
		}
	}
	if c.register != nil {
		var damage error
		err := ended(func(e registered) bool {
			if c.trees[e.id] != nil {
				return true
			}
			var t *tree
			if t, damage = c.register.decode(e); damage == nil && wanted(t) {
				all = append(all, t)
			}
			return damage == nil
		})
		if err := cmp.Or(err, damage); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b *tree) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.id, b.id)) })
	return all, nil
}

// summaries returns those of trees.
func (c *core) summaries(trees []*tree) []polity.Summary {
	list := make([]polity.Summary, len(trees))
	for i, t := range trees {
		list[i] = c.current(t)
	}
	return list
}
