// Package keyring keeps the keys by which what belongs to a person is enciphered, each in a file of its own that can be destroyed.
//
// It exists because a log that proves itself cannot lose a line, and a person's data has to go: what was written under a key stays where it
// is, and means nothing once the key is gone. The life of a key:
//
//	Key (made with a person's first run) -> Seal, Open -> Destroy
//
// The files, all of them for the owner alone:
//
//	master       the master key in hex, unless it comes from elsewhere: see Master
//	tag          the key by which persons are named, wrapped
//	KEY.key      a key of a person, wrapped
//
// Keys that several machines share lie on a Shelf, each under the tag of its person, and the master key never does.
//
// A key's ID begins with a tag, the HMAC of the person's ID: the keyring can be asked for a person, and does not tell who is in it.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"

	"polity.run/fault"
)

const (
	// SubjectMax is the longest ID of a person, in bytes.
	SubjectMax = 256

	keySize   = 32
	tagSize   = 16 // characters of a key's ID that name the person, 80 bits
	idSize    = 24 // and of the whole ID
	nonceSize = 12
	cacheMax  = 4096 // keys in memory; another is read from its file again
	suffix    = ".key"
	newSuffix = ".new"
	fileLimit = 4 << 10 // bytes of a file of the keyring
)

// Overhead is by how many bytes something is longer once it is sealed.
const Overhead = nonceSize + 16

var encoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Ring is an open keyring. It is safe for concurrent use; one process has it open at a time.
type Ring struct {
	place  place
	master *Master

	making sync.Mutex // held while files are written, which others need not wait for

	mu    sync.Mutex
	tag   []byte          // nil until there is a key
	gone  map[string]bool // keys that were destroyed since the keyring was opened
	cache map[string]*opened
}

// place is where wrapped keys lie, each under its ID, and the tag's under tagName. It is safe for concurrent use.
type place interface {
	// current is the ID of the key of the person with a tag, "" for none.
	current(tag string) (string, error)
	// get returns fault.NotFound for what is not there.
	get(name string) ([]byte, error)
	// create returns fault.Conflict if there is a key of that person, or tag, already.
	create(name string, data []byte) error
	replace(name string, data []byte) error
	// destroy writes over a key, and returns when that is safe; one that is not there is destroyed.
	destroy(name string) error
	// all are the names of all that is there.
	all() ([]string, error)
}

const tagName = "tag"

// opened is a key as it is used.
type opened struct {
	aead cipher.AEAD
	salt [sha256.Size]byte
}

// wrapped is a key as it is kept.
type wrapped struct {
	Master string `json:"master"` // the master key that it is wrapped by
	Key    []byte `json:"key"`    // nonce, key and proof
}

// Open opens the keyring in a folder, which need not be there yet. The master key is asked for when the first key is needed. It returns
// fault.Denied if the folder cannot be read.
func Open(dir string) (*Ring, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return newRing(f, &Master{dir: dir}), nil
}

func newRing(p place, m *Master) *Ring {
	return &Ring{place: p, master: m, gone: map[string]bool{}, cache: map[string]*opened{}}
}

// Key returns the ID of a person's key. It is made if there is none, and is on the disk when Key returns. It returns fault.Invalid for a bad
// subject or master key, fault.Full if there is no room, and fault.Denied if the folder cannot be written.
func (r *Ring) Key(subject string) (string, error) {
	if subject == "" || len(subject) > SubjectMax {
		return "", fault.Invalid.New("keyring: a subject of %d bytes; want 1 to %d", len(subject), SubjectMax)
	}
	id, err := r.Find(subject)
	if !errors.Is(err, fault.NotFound) {
		return id, err
	}
	r.making.Lock()
	defer r.making.Unlock()
	tag, err := r.tagOf(subject, true)
	if err != nil {
		return "", err
	}
	if id, err := r.place.current(tag); id != "" || err != nil { // made in the meantime
		return id, err
	}
	random := make([]byte, keySize+5)
	if _, err := rand.Read(random); err != nil {
		return "", fault.Internal.New("keyring: %w", err)
	}
	id = tag + encoding.EncodeToString(random[keySize:])
	err = r.put(id, random[:keySize])
	if errors.Is(err, fault.Conflict) { // another machine was first
		return r.place.current(tag)
	}
	if err != nil {
		return "", err
	}
	return id, nil
}

// Find returns the ID of a person's key, or fault.NotFound if they have none (any more).
func (r *Ring) Find(subject string) (string, error) {
	tag, err := r.tagOf(subject, false)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return "", err
	}
	if err == nil {
		if id, err := r.place.current(tag); id != "" || err != nil {
			return id, err
		}
	}
	return "", fault.NotFound.New("keyring: there is no key of that subject: nothing was enciphered for it, or it is erased already")
}

// tagOf names a person. make says that the key for it is made if there is none.
func (r *Ring) tagOf(subject string, make bool) (string, error) {
	r.mu.Lock()
	tag := r.tag
	r.mu.Unlock()
	if tag == nil {
		var err error
		tag, err = r.get(tagName)
		if errors.Is(err, fault.NotFound) && make {
			tag = newKey()
			err = r.put(tagName, tag)
			if errors.Is(err, fault.Conflict) { // another machine was first
				tag, err = r.get(tagName)
			}
		}
		if err != nil {
			return "", err
		}
		r.mu.Lock()
		r.tag = tag
		r.mu.Unlock()
	}
	mac := hmac.New(sha256.New, tag)
	mac.Write([]byte(subject))
	return encoding.EncodeToString(mac.Sum(nil)[:tagSize*5/8]), nil
}

func newKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key) // which never fails: see its documentation
	return key
}

// Seal enciphers with AES-256-GCM: a random nonce, and then the text with its proof. What it returns is the caller's, and so is what it is given. A key serves
// for 2^32 texts: then a nonce may come twice with a chance of 2^-32. It returns fault.NotFound if there is no such key.
func (r *Ring) Seal(id string, plain []byte) ([]byte, error) {
	k, err := r.key(id)
	if err != nil {
		return nil, err
	}
	out := make([]byte, nonceSize, nonceSize+len(plain)+16)
	rand.Read(out)
	return k.aead.Seal(out, out, plain, []byte(id)), nil
}

// Open deciphers what Seal made. It returns fault.NotFound if there is no such key, and fault.Damaged for what this key did not seal.
func (r *Ring) Open(id string, sealed []byte) ([]byte, error) {
	k, err := r.key(id)
	if err != nil {
		return nil, err
	}
	if len(sealed) < Overhead {
		return nil, fault.Damaged.New("keyring: %d bytes are too few for what was enciphered", len(sealed))
	}
	plain, err := k.aead.Open([]byte{}, sealed[:nonceSize], sealed[nonceSize:], []byte(id))
	if err != nil {
		return nil, fault.Damaged.New("keyring: it was not enciphered with key %s, or changed since", id)
	}
	return plain, nil
}

// Salt is what hashes of a person's data begin with: without the key nobody can try which data a hash is of. It returns fault.NotFound if there
// is no such key.
func (r *Ring) Salt(id string) ([sha256.Size]byte, error) {
	k, err := r.key(id)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return k.salt, nil
}

// Destroy overwrites a key and removes it, and returns when that is on the disk. A key that is not there is destroyed already.
func (r *Ring) Destroy(id string) error {
	if !validID(id) {
		return fault.Invalid.New("keyring: %.40q is not the ID of a key", id)
	}
	r.making.Lock()
	defer r.making.Unlock()
	r.mu.Lock()
	r.gone[id] = true
	delete(r.cache, id)
	r.mu.Unlock()
	if err := r.place.destroy(id); err != nil {
		return fault.Of(err).Kind.New("keyring: destroy key %s: %w", id, err)
	}
	return nil
}

func validID(id string) bool {
	_, err := encoding.DecodeString(id)
	return err == nil && len(id) == idSize
}

// key returns a key as it is used.
func (r *Ring) key(id string) (*opened, error) {
	if !validID(id) {
		return nil, fault.Damaged.New("keyring: %.40q is not the ID of a key", id)
	}
	r.mu.Lock()
	k := r.cache[id]
	r.mu.Unlock()
	if k != nil {
		return k, nil
	}
	raw, err := r.get(id)
	if err != nil {
		return nil, err
	}
	k = &opened{aead: aead(derive(raw, "polity payload"))}
	copy(k.salt[:], derive(raw, "polity hash"))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone[id] { // in the meantime
		return nil, fault.NotFound.New("keyring: there is no key %s", id)
	}
	if len(r.cache) >= cacheMax {
		for old := range r.cache { // any of them: it is only read again
			delete(r.cache, old)
			break
		}
	}
	r.cache[id] = k
	return k, nil
}

// derive makes a key for one purpose of a key.
func derive(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

// aead returns the cipher of a key of keySize bytes.
func aead(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("keyring: " + err.Error())
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic("keyring: " + err.Error())
	}
	return a
}

// get reads a key and unwraps it.
func (r *Ring) get(name string) ([]byte, error) {
	w, err := r.read(name)
	if err != nil {
		return nil, err
	}
	master, err := r.master.named(w.Master)
	if err != nil {
		return nil, err
	}
	return unwrap(master, name, w)
}

func (r *Ring) read(name string) (*wrapped, error) {
	data, err := r.place.get(name)
	if err != nil {
		return nil, err
	}
	var w wrapped
	if err := json.Unmarshal(data, &w); err != nil || len(data) > fileLimit {
		return nil, fault.Damaged.New("keyring: %s is not what was written", name)
	}
	return &w, nil
}

// proven is what the proof of a wrapped key is about beside the key.
func proven(name string) []byte {
	if name == tagName {
		return []byte(name)
	}
	return []byte(name + suffix)
}

func unwrap(master []byte, name string, w *wrapped) ([]byte, error) {
	if len(w.Key) != keySize+Overhead {
		return nil, fault.Damaged.New("keyring: %s is not what was written", name)
	}
	key, err := aead(master).Open(nil, w.Key[:nonceSize], w.Key[nonceSize:], proven(name))
	if err != nil {
		return nil, fault.Damaged.New("keyring: %s is not what was written", name)
	}
	return key, nil
}

// put wraps a key with the master key, and keeps it. It returns fault.Conflict if there is one.
func (r *Ring) put(name string, key []byte) error {
	master, err := r.master.get()
	if err != nil {
		return err
	}
	data, err := wrap(name, key, master)
	if err != nil {
		return err
	}
	return r.place.create(name, data)
}

func wrap(name string, key, master []byte) ([]byte, error) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	data, err := json.Marshal(wrapped{masterName(master), aead(master).Seal(nonce, nonce, key, proven(name))})
	if err != nil {
		return nil, fault.Internal.New("keyring: %w", err)
	}
	return append(data, '\n'), nil
}

// masterName tells master keys apart, and says nothing of them.
func masterName(master []byte) string {
	sum := sha256.Sum256(append([]byte("polity master"), master...))
	return hex.EncodeToString(sum[:8])
}
