package run

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"polity.run"
	"polity.run/fault"
)

// simKeys are the keys of a simulated world: on no disk, and with nonces that a seed chooses.
type simKeys struct {
	w         *world
	destroyed map[string]bool
	erasures  int
	refused   int // because a run had not ended
}

var _ Keys = (*simKeys)(nil)

func (k *simKeys) gone(key string) bool { return k != nil && k.destroyed[key] }

func (k *simKeys) aead(key string) (cipher.AEAD, error) {
	if k.destroyed[key] {
		return nil, fault.NotFound.New("no key %s", key)
	}
	sum := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (k *simKeys) Seal(key string, plain []byte) ([]byte, error) {
	a, err := k.aead(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, a.NonceSize())
	for i := range nonce {
		nonce[i] = byte(k.w.rng.Uint32())
	}
	return a.Seal(nonce, nonce, plain, nil), nil
}

func (k *simKeys) Open(key string, sealed []byte) ([]byte, error) {
	a, err := k.aead(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < a.NonceSize() {
		return nil, fault.Damaged.New("what was sealed is cut")
	}
	return a.Open(nil, sealed[:a.NonceSize()], sealed[a.NonceSize():], nil)
}

func (k *simKeys) Salt(key string) ([sha256.Size]byte, error) {
	if k.destroyed[key] {
		return [sha256.Size]byte{}, fault.NotFound.New("no key %s", key)
	}
	return sha256.Sum256([]byte("salt " + key)), nil
}

func (k *simKeys) Destroy(key string) error {
	k.destroyed[key] = true
	return nil
}

func (w *world) vault() *vault {
	if w.keys == nil {
		return newVault(nil)
	}
	return newVault(w.keys)
}

// plain is what a payload of the log holds; nil if that is erased.
func (w *world) plain(p payload) json.RawMessage {
	if p.key == "" || w.keys.gone(p.key) {
		return p.data
	}
	if p.size > 0 {
		p.data = w.blobs[p.blob]
	}
	data, err := w.vault().reveal(p, p.data)
	if err != nil {
		w.fail("a payload under key %s: %v", p.key, err)
	}
	return data
}

// receipt is what a record of the log has as proof.
func (w *world) receipt(r *record) json.RawMessage {
	if w.keys.gone(r.sealedReceipt.key) {
		return json.RawMessage(`"done"`) // as nobody can tell any more
	}
	return w.vault().shownReceipt(r)
}

// mayRefuse says that a client whose key is destroyed, or about to be, has to live with what it was told.
func (w *world) mayRefuse(c *simClient, err error) bool {
	if c.key == "" || !errors.Is(err, fault.Erased) && !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.NotFound) {
		return false
	}
	c.asked = nil
	if w.keys.gone(c.key) {
		c.outcome = &polity.Outcome{Status: polity.StatusCompleted} // there is nothing more to be known
	}
	return true
}

// eraseSome now and then asks the newest owner to destroy a key.
func (w *world) eraseSome() {
	o := w.newest()
	if w.keys == nil || !o.alive || w.rng.IntN(60) > 0 {
		return
	}
	key := w.clients[w.rng.IntN(len(w.clients))].key
	if key == "" {
		return
	}
	o.core.now = w.now
	o.core.eraseKey(key, "asked for", func(err error) {
		switch {
		case err == nil && w.rng.IntN(3) > 0: // else the owner died in between
			w.keys.erasures++
			if err := o.core.vault.keys.Destroy(key); err != nil {
				w.fail("%v", err)
			}
		case errors.Is(err, fault.Conflict):
			w.keys.refused++
		}
	})
	o.step()
}

// TestSimulatedErasure is the simulated kernel with runs that are sealed, and keys that are destroyed under crashes, takeovers and lost letters: the
// log stays one chain that folds again, no payload of a sealed run is ever written plain, and what is not erased comes back as it was.
func TestSimulatedErasure(t *testing.T) {
	var erasures, refused int
	for i := range *simSeeds / 4 {
		seed := uint64(i)
		w := newWorld(t, seed, *simSeed == seed && *simSeed > 0, simCatalog)
		w.keys = &simKeys{w: w, destroyed: map[string]bool{}}
		w.answers = func(e *simEffect) json.RawMessage {
			if w.rng.IntN(11) == 0 {
				return json.RawMessage(`"` + strings.Repeat("mark", inlineMax/4+100) + `"`)
			}
			return json.RawMessage(fmt.Sprintf(`{"mark":%q}`, e.p.cmd.Name))
		}
		w.opens("branch", 6)
		for i, c := range w.clients {
			if i%3 > 0 {
				c.key = fmt.Sprint("key-", i%3)
			}
		}
		w.live()
		erasures += w.keys.erasures
		refused += w.keys.refused
		w.checkSealed()
	}
	t.Logf("%d seeds, %d erasures, %d refused because a run had not ended", *simSeeds/4, erasures, refused)
	if erasures == 0 || refused == 0 {
		t.Errorf("%d erasures, %d refused", erasures, refused)
	}
}

// TestSimulatedErasureOfWaiting is the same for runs that wait: for signals, which may lie in a mailbox, for events that sealed runs published, and for
// their turn in a conversation; paused, forked and imported.
func TestSimulatedErasureOfWaiting(t *testing.T) {
	var sum waitStats
	erasures := 0
	for i := range *simSeeds / 4 {
		seed := uint64(i) + 1
		w := waiting{world: newWorld(t, seed, *simSeed == seed, waitCatalog), sum: &sum}
		w.keys = &simKeys{w: w.world, destroyed: map[string]bool{}}
		w.answers = func(e *simEffect) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"mark":%q}`, e.p.cmd.Name)) }
		w.opens("waiter", 8)
		for i, c := range w.clients {
			if i%3 > 0 {
				c.key = fmt.Sprint("key-", i%3)
			}
			if i >= 3 {
				c.conversation = fmt.Sprint("talk", i%2)
				c.skill = string(polity.Arrivals()[w.rng.IntN(4)])
			}
		}
		w.extra = w.something
		w.live()
		erasures += w.keys.erasures
		w.checkSealed()
		w.checkStream()
		w.checkPauses()
	}
	t.Logf("%d seeds, %d erasures: %+v", *simSeeds/4, erasures, sum)
	if erasures == 0 || sum.streamed == 0 || sum.forked == 0 || sum.paused == 0 {
		t.Errorf("%d erasures: %+v", erasures, sum)
	}
}

// checkSealed wants what is written of sealed runs to be enciphered.
func (w *world) checkSealed() {
	var f frame
	keys := map[polity.RunID]string{}
	for _, c := range w.clients {
		keys[c.id] = c.key
	}
	for _, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for i := range f.records {
			r := &f.records[i]
			key := keys[r.run.Root()]
			if key == "" || r.kind == recErased || r.kind == recDeleted {
				continue
			}
			data := r.data.data
			if r.data.size > 0 {
				data = w.blobs[r.data.blob]
			}
			if data != nil && r.data.key != key && r.kind != recForked || bytes.Contains(data, []byte("mark")) || r.fault != nil && r.faultText.key != key || r.receipt != nil {
				w.fail("%s of %s is not enciphered: %.100s", kindText[r.kind], r.run, data)
			}
		}
	}
}

func sealedRecords() frame {
	return frame{records: []record{
		{kind: recErased, name: "k", reason: "asked for"},
		{kind: recHeld, run: "0-r", reason: "dispute"},
		{kind: recReleased, run: "0-r"},
		{kind: recDeleted, run: "0-r", name: "k", reason: "too old"},
		{
			kind: recResult, run: "0-r", name: "think", attempt: 1, data: payload{key: "k", data: json.RawMessage("cipher")},
			fault: &fault.Error{Kind: fault.Exhausted, Bound: "turns", Text: "never written"}, faultText: payload{key: "k", data: json.RawMessage("text")},
		},
	}}
}

func TestSealedRecordsAreRead(t *testing.T) {
	want := sealedRecords()
	data := want.pack(hash{})
	if bytes.Contains(data, []byte("never written")) {
		t.Error("the fault's text is written")
	}
	var got frame
	if err := got.decode(data); err != nil {
		t.Fatal(err)
	}
	r := got.records[4]
	if h := got.records[1]; h.kind != recHeld || h.reason != "dispute" {
		t.Errorf("%+v", h)
	}
	if d := got.records[3]; d.run != "0-r" || d.name != "k" || d.reason != "too old" {
		t.Errorf("%+v", d)
	}
	if e := got.records[0]; e.name != "k" || e.reason != "asked for" {
		t.Errorf("%+v", e)
	}
	if r.fault.Kind != fault.Exhausted || r.fault.Bound != "turns" || r.fault.Text != "" || string(r.faultText.data) != "text" || string(r.data.data) != "cipher" {
		t.Errorf("%+v %+v", r, r.fault)
	}
}

// TestCheckpointOfSealedAndHeld reads what a checkpoint tells of keys that are destroyed, of sealed trees and of held ones. What is cut or changed of it is
// damaged, and read in no more time and room than it has.
func TestCheckpointOfSealedAndHeld(t *testing.T) {
	m := newMemory(t, napCatalog)
	m.core.spool = &simSpool{}
	for i := range 3 {
		m.begin(i, "napper", polity.Bounds{})
	}
	m.core.settle()
	m.acknowledge()
	why := "dispute 17"
	m.core.roots[0].key, m.core.roots[1].hold = "key-0", &why
	const keys = 2*erasedBlock + 7
	for i := range keys {
		m.core.vault.erase(fmt.Sprintf("key-%019d", i), 1)
	}
	m.core.vault.erase("not acknowledged", m.core.seq+1)
	k, b := m.core.newCapture(1)
	b, err := k.more(b, 100)
	if err != nil {
		t.Fatal(err)
	}
	b = k.end(b)
	p, err := readCheckpoint(bytes.NewReader(withSum(b)), newVault(nil))
	if err != nil {
		t.Fatal(err)
	}
	again := newCore(m, napCatalog, [8]byte{})
	again.restore(p)
	if len(p.erased) != keys || !again.vault.isErased("key-0000000000000000003") || again.vault.isErased("not acknowledged") {
		t.Errorf("%d keys are destroyed, want %d", len(p.erased), keys)
	}
	if r := again.roots; r[0].key != "key-0" || r[1].hold == nil || *r[1].hold != why || r[2].key != "" || r[2].hold != nil {
		t.Errorf("%+v %+v %+v", r[0], r[1], r[2])
	}
	for at := len(b) - 8 - keys*24; at < len(b)-8; at += 97 { // within the keys
		bad := bytes.Clone(b)
		bad[at] ^= 0x80
		if p, err := readCheckpoint(bytes.NewReader(withSum(bad)), newVault(nil)); err == nil && len(p.erased) > keys || err != nil && !errors.Is(err, fault.Damaged) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}
