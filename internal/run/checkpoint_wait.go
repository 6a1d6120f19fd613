package run

import (
	"bytes"
	"encoding/binary"
	"slices"

	"polity.run"
	"polity.run/fault"
)

const (
	waitTopic = 1 << iota // else a signal
	waitShut
	waitCame
	waitFlagsEnd
)

// awaitedKept is how many things that are awaited are kept once for all who await them while a checkpoint is read.
const awaitedKept = 10_000

// What a person's key enciphers in the log it enciphers here: what is awaited in a sealed tree, what an event says, and what could tell that, its hash.

// appendTo writes some of the events that are known. The hash of what was erased meanwhile is none.
func (k *known) appendTo(b []byte, seen []noted, v *vault) []byte {
	block := []byte{blockKnown}
	for i, n := range seen {
		block = appendText(block, n.id)
		block = appendText(block, n.key)
		hash := k.said[n.id].hash
		switch sealed, err := v.sealWith(n.key, hash[:]); {
		case n.key == "":
			block = append(block, hash[:]...)
		case err != nil:
			block = appendText(block, "")
		default:
			block = appendText(block, string(sealed))
		}
		if len(block) >= blockSoft || i == len(seen)-1 {
			b = appendBlock(b, block)
			block = block[:1]
		}
	}
	return b
}

// sealWith enciphers with a key as long as it is there: that it is to be destroyed may not be acknowledged. With "" it does nothing.
func (v *vault) sealWith(key string, plain []byte) ([]byte, error) {
	switch {
	case key == "":
		return plain, nil
	case v.keys == nil:
		return nil, v.check(key)
	}
	return v.keys.Seal(key, plain)
}

func (p *checkpoint) readKnown(b *reader, r *blockReader) {
	for len(b.b) > 0 && !b.bad {
		n := noted{id: b.text(), seq: p.seq, taken: p.taken, key: b.text()}
		var hash requestHash
		if n.key == "" {
			hash = b.hash()
		} else if plain, err := p.vault.open(n.key, b.bytes(b.uvarint(textMax))); err == nil {
			copy(hash[:], plain)
		}
		p.known.note(n, hash, eventIDsMax, p.seq)
	}
	if b.bad || len(p.trees) > 0 {
		r.fail(fault.Damaged.New("its events do not make sense"))
	}
}

// waits writes what a tree waits for at the last acknowledged commit.
func (k *capture) waits(b []byte, t *tree) []byte {
	for _, w := range t.waits {
		b = k.wait(b, w)
	}
	if t.last <= k.core.seq {
		return b
	}
	for _, p := range [...]*pack{k.core.flight, k.core.gather} {
		for i := 0; p != nil && i < len(p.gone); i++ { // that they are gone is not acknowledged
			if w := p.gone[i]; w.tree == t {
				b = k.wait(b, w)
			}
		}
	}
	return b
}

func (k *capture) wait(b []byte, w *wait) []byte {
	seq := k.core.seq
	if w.from > seq {
		return b
	}
	on, flags := w.on.Signal, byte(0)
	if w.on.Topic != "" {
		on, flags = w.on.Topic, waitTopic
	}
	if w.closed != 0 && w.closed <= seq {
		flags |= waitShut
	}
	if w.got != nil && w.gotIn <= seq {
		flags |= waitCame
		if k.events[w.got] == 0 {
			k.events[w.got] = uint64(len(k.events) + 1)
			k.block = appendText(append(k.block[:0], blockEvent), w.got.name)
			k.block = appendText(k.block, w.got.id)
			k.block = binary.AppendUvarint(k.block, uint64(w.got.version))
			data, err := k.core.vault.sealWith(w.got.key, w.got.data)
			if err != nil {
				k.err = err
				return b
			}
			b = appendBlock(b, appendPayload(k.block, payload{key: w.got.key, data: data}))
		}
	}
	block := append(k.block[:0], flags)
	block = appendText(block, string(w.run[len(w.tree.id):]))
	block = appendText(block, w.name)
	block = binary.AppendUvarint(block, uint64(w.attempt))
	block = append(block, w.request[:]...)
	block = appendText(block, on)
	block = appendText(block, string(w.on.Match))
	block = binary.BigEndian.AppendUint64(block, uint64(w.since))
	block = binary.BigEndian.AppendUint64(block, uint64(w.due))
	block = binary.AppendUvarint(block, w.from)
	if flags&waitShut != 0 {
		block = binary.AppendUvarint(block, w.closed)
	}
	if flags&waitCame != 0 {
		block = binary.AppendUvarint(block, k.events[w.got])
		block = binary.AppendUvarint(block, w.gotIn)
	}
	if flags == waitTopic {
		key := w.key
		if !w.open() { // it was, by then
			key = new(shelf).place(w)
		}
		block = append(block, key...)
	}
	k.block = block
	if block, k.err = k.core.vault.sealWith(w.tree.key, block); k.err != nil {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(block)+1))
	return append(append(b, blockWait), block...)
}

func (p *checkpoint) event(b *reader, r *blockReader) {
	e := &event{name: b.text(), id: b.text(), version: int(b.number())}
	data := b.payload()
	if b.bad || len(b.b) > 0 {
		r.fail(fault.Damaged.New("event %d does not make sense", len(p.events)+1))
		return
	}
	if e.key, e.data = data.key, bytes.Clone(data.data); e.key != "" {
		var err error
		if e.data, err = p.vault.open(e.key, data.data); err != nil {
			e = nil // it was erased, so it came to nobody
		}
	}
	p.events = append(p.events, e)
}

func (p *checkpoint) wait(b *reader, r *blockReader) {
	bad := fault.Damaged.New("wait %d does not make sense", len(p.waits)+1)
	if len(p.trees) == 0 {
		r.fail(bad)
		return
	}
	t := p.trees[len(p.trees)-1]
	if t.key != "" {
		plain, err := p.vault.open(t.key, b.b)
		if err != nil {
			return // the tree cannot go on, which it says when it is woken
		}
		b.b = plain
	}
	flags := b.byte()
	if flags >= waitFlagsEnd {
		r.fail(bad)
		return
	}
	w := &wait{run: t.id}
	if below := b.text(); below != "" {
		w.run += polity.RunID(below)
	}
	w.name, w.attempt, w.request = b.text(), int(b.number()), b.hash()
	w.on = p.awaits(t.key == "", flags&waitTopic != 0, b.text(), b.bytes(b.uvarint(polity.MatchMax)))
	w.since, w.due, w.from = int64(b.uint64()), int64(b.uint64()), b.uvarint(numberMax)
	if flags&waitShut != 0 {
		w.closed = b.uvarint(numberMax)
	}
	if flags&waitCame != 0 {
		n := b.uvarint(uint64(len(p.events)))
		w.gotIn = b.uvarint(numberMax)
		if b.bad || n == 0 {
			r.fail(bad)
			return
		}
		if w.got = p.events[n-1]; w.got == nil {
			w.gotIn = 0
		}
	}
	w.key = string(b.b)
	if b.bad || !t.asleep || w.from == 0 || w.from > max(p.seq, p.told[t]) || w.got != nil && w.closed != 0 {
		r.fail(bad)
		return
	}
	t.expect(w)
	p.waits = append(p.waits, w)
}

// awaits returns what is awaited, if it may be shared one for all who await it while there are not too many.
func (p *checkpoint) awaits(shared, topic bool, name string, match []byte) *polity.Awaited {
	one := polity.Awaited{Signal: name}
	if topic {
		one = polity.Awaited{Topic: name}
	}
	if len(match) > 0 {
		one.Match = slices.Clone(match)
	}
	if !shared {
		return &one
	}
	key := one.String()
	if known := p.awaited[key]; known != nil {
		return known
	}
	if len(p.awaited) < awaitedKept {
		p.awaited[key] = &one
	}
	return &one
}
