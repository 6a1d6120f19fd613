package run

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"polity.run"
	"polity.run/fault"
)

// Keys enciphers what belongs to a person, under a key that can be destroyed: *keyring.Ring. Its methods are safe for concurrent use, and return
// fault.NotFound for a key that is not there.
type Keys interface {
	Seal(key string, plain []byte) ([]byte, error)
	Open(key string, sealed []byte) ([]byte, error)
	// Salt is what hashes of what is enciphered begin with.
	Salt(key string) ([sha256.Size]byte, error)
	// Destroy returns when the key is gone from the disk; one that is not there is gone.
	Destroy(key string) error
}

const (
	erasedMax  = 1 << 20 // keys that a checkpoint may tell to be destroyed
	liveListed = 3       // runs that a refused erasure names
	sealedMore = 256     // bytes that a receipt grows by at most when it is enciphered
)

// A tree whose opening names a key is sealed: its payloads and the texts of its faults are written enciphered, and its requests' hashes salted, so
// that nobody can try what they are of. What is in memory is plain, for as long as the tree has not ended. The log's chain goes over what is written, and
// needs no key.

// vault is the keys as a partition and all who fold its log use them. It knows which ones the log tells to be destroyed. It is safe for
// concurrent use.
type vault struct {
	keys Keys // nil: there are none

	mu     sync.Mutex
	erased map[string]uint64 // and the commit that tells it
}

func newVault(keys Keys) *vault { return &vault{keys: keys, erased: map[string]uint64{}} }

func (v *vault) isErased(key string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.erased[key] != 0
}

func (v *vault) erase(key string, seq uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.erased[key] == 0 {
		v.erased[key] = seq
	}
}

// erasures is how many keys were destroyed.
func (v *vault) erasures() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.erased)
}

// check returns fault.Erased if a key was destroyed, and fault.NotFound if there are no keys here at all.
func (v *vault) check(key string) error {
	switch {
	case v.isErased(key):
		return fault.Erased.New("erased")
	case v.keys == nil:
		return fault.NotFound.New("it is enciphered with key %s, and there are no keys here", key)
	default:
		return nil
	}
}

// missing explains why a key is not there.
func (v *vault) missing(key string, err error) error {
	if errors.Is(err, fault.NotFound) {
		if v.isErased(key) { // in this moment
			return fault.Erased.New("erased")
		}
		return fault.NotFound.New("it is enciphered with key %s, which is not in the keyring: keys are backed up by themselves, and this one has to be put back", key)
	}
	return err
}

func (v *vault) seal(key string, plain []byte) ([]byte, error) {
	if err := v.check(key); err != nil {
		return nil, err
	}
	out, err := v.keys.Seal(key, plain)
	if err != nil {
		return nil, v.missing(key, err)
	}
	return out, nil
}

func (v *vault) open(key string, sealed []byte) ([]byte, error) {
	if err := v.check(key); err != nil {
		return nil, err
	}
	out, err := v.keys.Open(key, sealed)
	if err != nil {
		return nil, v.missing(key, err)
	}
	return out, nil
}

// blind makes a hash one that nobody can make who does not have the key.
func (v *vault) blind(key string, h requestHash) (requestHash, error) {
	if key == "" {
		return h, nil
	}
	if err := v.check(key); err != nil {
		return requestHash{}, err
	}
	salt, err := v.keys.Salt(key)
	if err != nil {
		return requestHash{}, v.missing(key, err)
	}
	return salted(&salt, h), nil
}

func salted(salt *[sha256.Size]byte, h requestHash) requestHash {
	sum := sha256.Sum256(append(salt[:], h[:]...))
	return requestHash(sum[:requestSize])
}

// ready returns nil if something can be sealed with a key now; "" is always ready.
func (v *vault) ready(key string) error {
	_, err := v.blind(key, requestHash{})
	return err
}

// unlock makes a new tree a sealed one, if its opening names a key.
func (c *core) unlock(t *tree) error {
	if t.key == "" {
		return nil
	}
	if err := c.vault.check(t.key); err != nil {
		return err
	}
	salt, err := c.vault.keys.Salt(t.key)
	if err != nil {
		return c.vault.missing(t.key, err)
	}
	t.salt = &salt
	return nil
}

// requestOf is what the log knows a command of a tree by.
func (t *tree) requestOf(cmd *polity.Command) requestHash {
	h := hashRequest(cmd)
	if t.salt == nil {
		return h
	}
	return salted(t.salt, h)
}

// keyOf is the key that a record is written with; "" for none. What a fork takes over is sealed as it was in its origin, and what is imported as it
// came. Every other record of a sealed tree is sealed, so that none of a later version is forgotten.
func (c *core) keyOf(rec *record) string {
	switch {
	case rec.kind == recForked || rec.kind == recImported:
		return ""
	case rec.kind == recPublished, rec.kind == recOpened && rec.run.Parent() == "":
		return rec.data.key
	}
	if t := c.tree(rec.run.Root()); t != nil {
		return t.key
	}
	return ""
}

// sealed returns a record as it is written, and marks it as one that is plain.
func (c *core) sealed(rec *record) (*record, error) {
	key := c.keyOf(rec)
	if key == "" {
		return rec, nil
	}
	out := *rec
	if rec.data.data != nil {
		data, err := c.vault.seal(key, rec.data.data)
		if err != nil {
			return nil, err
		}
		out.data = payload{key: key, data: data}
		rec.data.key, rec.data.plain = key, true
	}
	if rec.fault != nil {
		text, err := c.vault.seal(key, []byte(rec.fault.Text))
		if err != nil {
			return nil, err
		}
		out.faultText = payload{key: key, data: text}
	}
	if len(rec.receipt) > 0 {
		receipt, err := c.vault.seal(key, rec.receipt)
		if err != nil {
			return nil, err
		}
		out.sealedReceipt = payload{key: key, data: receipt}
	}
	return &out, nil
}

// sealed says that something of a record, as it is written, is enciphered.
func (r *record) sealed() bool {
	return r.data.key != "" || r.faultText.key != "" || r.sealedReceipt.key != ""
}

// appendSealedFault writes a fault whose text is enciphered. Its kind and its bound are words of the program.
func appendSealedFault(b []byte, f *fault.Error, text payload) []byte {
	data := appendText(nil, string(f.Kind))
	data = appendText(data, f.Bound)
	return appendPayload(b, payload{key: text.key, data: append(data, text.data...)})
}

// sealedFault reads it; the text stays enciphered.
func (r *reader) sealedFault(p payload) (*fault.Error, payload) {
	body := reader{b: p.data}
	f := &fault.Error{Kind: fault.Kind(body.text()), Bound: body.text()}
	if body.bad {
		r.bad = true
		return nil, payload{}
	}
	return f, payload{key: p.key, data: body.b}
}

// faultOf returns a record's fault with its text.
func (v *vault) faultOf(r *record) (*fault.Error, error) {
	if r.faultText.key == "" {
		return r.fault, nil
	}
	text, err := v.open(r.faultText.key, r.faultText.data)
	if err != nil {
		return nil, err
	}
	return &fault.Error{Kind: r.fault.Kind, Text: string(text), Bound: r.fault.Bound}, nil
}

// shownFault is faultOf for those who only look: if the text cannot be had, it says why.
func (v *vault) shownFault(r *record) *fault.Error {
	f, err := v.faultOf(r)
	if err != nil {
		return &fault.Error{Kind: r.fault.Kind, Text: fault.Of(err).Text, Bound: r.fault.Bound}
	}
	return f
}

// A receipt is JSON, which never begins with a zero: an enciphered one does.

// appendReceipt writes a record's receipt.
func appendReceipt(b []byte, r *record) []byte {
	if r.sealedReceipt.key == "" {
		return appendText(b, string(r.receipt))
	}
	sealed := appendText([]byte{0}, r.sealedReceipt.key)
	return appendText(b, string(append(sealed, r.sealedReceipt.data...)))
}

// receipt reads it.
func (r *reader) receipt(rec *record) {
	b := r.bytes(r.uvarint(polity.ReceiptMax + sealedMore))
	switch {
	case len(b) == 0:
	case b[0] == 0:
		body := reader{b: b[1:]}
		rec.sealedReceipt = payload{key: body.text(), data: body.b}
		r.bad = r.bad || body.bad || rec.sealedReceipt.key == ""
	default:
		rec.receipt = json.RawMessage(b)
		r.bad = r.bad || len(b) > polity.ReceiptMax || !json.Valid(b)
	}
}

// shownReceipt is a record's receipt for those who look at it; nil if it cannot be had.
func (v *vault) shownReceipt(r *record) json.RawMessage {
	if r.sealedReceipt.key == "" {
		return r.receipt
	}
	receipt, err := v.open(r.sealedReceipt.key, r.sealedReceipt.data)
	if err != nil {
		return nil
	}
	return receipt
}

// show puts what is enciphered beside a record's data into a notice of it.
func (v *vault) show(n *polity.Notice, r *record) {
	n.Fault = v.shownFault(r)
	if n.Finding != nil {
		n.Finding.Receipt = v.shownReceipt(r)
		return
	}
	n.Receipt = v.shownReceipt(r)
}

// erased folds the end of a key. No tree goes on with it: who asks for this has seen to it that they have ended.
func (c *core) erased(key string, seq uint64) {
	c.vault.erase(key, seq)
	for _, t := range c.roots {
		if t.key != key {
			continue
		}
		t.salt = nil
		if !t.over() {
			c.stop(t, fault.Of(fault.Erased.New("run %s cannot go on: its payloads were erased", t.id)))
			t.asleep = false
		}
	}
}

// eraseKey writes that a key is destroyed. It returns fault.Conflict while a run that uses it has not ended. answer is called when it is durable.
func (c *core) eraseKey(key, reason string, answer func(error)) {
	if c.dead != nil {
		answer(c.dead)
		return
	}
	if !c.vault.isErased(key) {
		var live, held []string
		for _, t := range c.roots {
			switch {
			case t.key != key:
			case t.hold != nil:
				held = append(held, fmt.Sprintf("%s (%s)", t.id, *t.hold))
			case !t.over() && t.stopped == nil:
				live = append(live, string(t.id))
			}
		}
		if n := len(held); n > 0 {
			answer(fault.Conflict.New("erase: %d of its runs must not be erased, as %s: release them first, with: polity runs release ID", n, strings.Join(held[:min(n, holdsMax)], ", ")))
			return
		}
		if n := len(live); n > 0 {
			more := ""
			if n > liveListed {
				live, more = live[:liveListed], fmt.Sprintf(" and %d more", n-liveListed)
			}
			answer(fault.Conflict.New("erase: run %s%s has not ended: cancel it first, or say --cancel", strings.Join(live, ", "), more))
			return
		}
		c.write(&record{kind: recErased, name: key, reason: reason})
	}
	c.answer(answer)
}

// Holders returns the root runs that are sealed with a key, in the order of opening.
func (p *Partition) Holders(ctx context.Context, key string) ([]polity.Summary, error) {
	return ask(ctx, p, func(c *core, reply func([]polity.Summary, error)) {
		trees, damage := c.holders(key)
		all := c.summaries(trees)
		c.answer(func(err error) { reply(all, cmp.Or(err, damage)) })
	})
}

// Erase destroys a key: from then on the payloads of all runs that it was used for read as fault.Erased. The log keeps that it was done, when and
// why; its chain stays whole. It returns when key and record are on the disk, fault.Conflict if a run that uses the key has not
// ended, and can be repeated after any fault. A crash in between is made good by the next Open.
func (p *Partition) Erase(ctx context.Context, key, reason string) error {
	if p.vault.keys == nil {
		return fault.Invalid.New("run: erase: there are no keys here")
	}
	if len(reason) > textMax {
		return fault.Invalid.New("run: erase: a reason of %d bytes; the most is %d", len(reason), textMax)
	}
	if err := p.call(ctx, func(c *core, done func(error)) { c.eraseKey(key, reason, done) }); err != nil {
		return err
	}
	return p.vault.keys.Destroy(key)
}

// destroyed returns the keys that the log tells to be destroyed, up to a commit.
func (v *vault) destroyed(upTo uint64) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var keys []string
	for key, seq := range v.erased {
		if seq <= upTo {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// destroyErased destroys what the log tells to be destroyed: it may have come between, or an old copy of the keys was put back.
func (v *vault) destroyErased() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key := range v.erased {
		if v.keys == nil {
			return nil
		}
		if err := v.keys.Destroy(key); err != nil {
			return err
		}
	}
	return nil
}

// reveal returns what a payload holds.
func (v *vault) reveal(p payload, data []byte) (json.RawMessage, error) {
	if p.key == "" || p.plain || data == nil {
		return data, nil
	}
	return v.open(p.key, data)
}
