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

// appendTo writes some of the events that are known.
func (k *known) appendTo(b []byte, seen []noted) []byte {
	block := []byte{blockKnown}
	for i, n := range seen {
		block = appendText(block, n.id)
		hash := k.said[n.id].hash
		block = append(block, hash[:]...)
		if len(block) >= blockSoft || i == len(seen)-1 {
			b = appendBlock(b, block)
			block = block[:1]
		}
	}
	return b
}

func (p *checkpoint) readKnown(b *reader, r *blockReader) {
	for len(b.b) > 0 && !b.bad {
		n := noted{id: b.text(), seq: p.seq, taken: p.taken}
		p.known.note(n, b.hash(), eventIDsMax, p.seq)
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
			b = appendBlock(b, appendPayload(k.block, payload{data: w.got.data}))
		}
	}
	block := append(k.block[:0], blockWait, flags)
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
	return appendBlock(b, block)
}

func (p *checkpoint) event(b *reader, r *blockReader) {
	e := &event{name: b.text(), id: b.text()}
	e.data = bytes.Clone(b.payload().data)
	if b.bad || len(b.b) > 0 {
		r.fail(fault.Damaged.New("event %d does not make sense", len(p.events)+1))
		return
	}
	p.events = append(p.events, e)
}

func (p *checkpoint) wait(b *reader, r *blockReader) {
	bad := fault.Damaged.New("wait %d does not make sense", len(p.waits)+1)
	flags := b.byte()
	if len(p.trees) == 0 || flags >= waitFlagsEnd {
		r.fail(bad)
		return
	}
	t := p.trees[len(p.trees)-1]
	w := &wait{run: t.id}
	if below := b.text(); below != "" {
		w.run += polity.RunID(below)
	}
	w.name, w.attempt, w.request = b.text(), int(b.number()), b.hash()
	w.on = p.awaits(flags&waitTopic != 0, b.text(), b.bytes(b.uvarint(polity.MatchMax)))
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
		w.got = p.events[n-1]
	}
	w.key = string(b.b)
	if b.bad || !t.asleep || w.from == 0 || w.from > max(p.seq, p.told[t]) || w.got != nil && w.closed != 0 {
		r.fail(bad)
		return
	}
	t.hold(w)
	p.waits = append(p.waits, w)
}

// awaits returns what is awaited, one for all who await it while there are not too many.
func (p *checkpoint) awaits(topic bool, name string, match []byte) *polity.Awaited {
	one := polity.Awaited{Signal: name}
	if topic {
		one = polity.Awaited{Topic: name}
	}
	if len(match) > 0 {
		one.Match = slices.Clone(match)
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
