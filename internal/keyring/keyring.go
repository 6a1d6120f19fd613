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
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

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
	dir    string
	master *Master

	making sync.Mutex // held while files are written, which others need not wait for

	mu      sync.Mutex
	tag     []byte            // nil until there is a key
	ids     map[string]bool   // of all keys
	current map[string]string // tag of a person -> their key
	cache   map[string]*opened
}

// opened is a key as it is used.
type opened struct {
	aead cipher.AEAD
	salt [sha256.Size]byte
}

// wrapped is a key as it lies in its file.
type wrapped struct {
	Master string `json:"master"` // the master key that it is wrapped by
	Key    []byte `json:"key"`    // nonce, key and proof
}

// Open opens the keyring in a folder, which need not be there yet. The master key is asked for when the first key is needed. It returns
// fault.Denied if the folder cannot be read.
func Open(dir string) (*Ring, error) {
	r := &Ring{dir: dir, master: &Master{dir: dir}, ids: map[string]bool{}, current: map[string]string{}, cache: map[string]*opened{}}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Denied.New("keyring: %w", err)
	}
	for _, f := range files {
		if id, ok := strings.CutSuffix(f.Name(), suffix); ok && len(id) == idSize {
			r.ids[id], r.current[id[:tagSize]] = true, id
		}
		if strings.HasSuffix(f.Name(), newSuffix) && f.Name() != masterFile+newSuffix { // a write that was not finished
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return nil, fault.Denied.New("keyring: %w", err)
			}
		}
	}
	return r, nil
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
	if id := r.currentOf(tag); id != "" { // made in the meantime
		return id, nil
	}
	random := make([]byte, keySize+5)
	if _, err := rand.Read(random); err != nil {
		return "", fault.Internal.New("keyring: %w", err)
	}
	id = tag + encoding.EncodeToString(random[keySize:])
	if err := r.put(id+suffix, random[:keySize]); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[id], r.current[tag] = true, id
	return id, nil
}

func (r *Ring) currentOf(tag string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current[tag]
}

// Find returns the ID of a person's key, or fault.NotFound if they have none (any more).
func (r *Ring) Find(subject string) (string, error) {
	tag, err := r.tagOf(subject, false)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return "", err
	}
	if id := r.currentOf(tag); id != "" {
		return id, nil
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
		tag, err = r.get("tag")
		if errors.Is(err, fault.NotFound) && make {
			tag = newKey()
			err = r.put("tag", tag)
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
	if err := r.shred(id + suffix); err != nil {
		kind := fault.Denied
		if errors.Is(err, syscall.ENOSPC) {
			kind = fault.Full
		}
		return kind.New("keyring: destroy key %s: %w", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.cache, id)
	delete(r.ids, id)
	if tag := id[:tagSize]; r.current[tag] == id {
		delete(r.current, tag)
		for other := range r.ids { // an old key was put back beside a new one
			if other[:tagSize] == tag {
				r.current[tag] = other
			}
		}
	}
	return nil
}

// shred writes over a file before it removes it.
func (r *Ring) shred(name string) error {
	path := filepath.Join(r.dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		noise := make([]byte, info.Size())
		rand.Read(noise)
		_, err = f.WriteAt(noise, 0)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return err
	}
	return syncDir(r.dir)
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
	raw, err := r.get(id + suffix)
	if err != nil {
		return nil, err
	}
	k = &opened{aead: aead(derive(raw, "polity payload"))}
	copy(k.salt[:], derive(raw, "polity hash"))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ids[id] { // destroyed in the meantime
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

// get reads a file and unwraps the key in it.
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
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("keyring: there is no %s in %s", name, r.dir)
	}
	if err != nil {
		return nil, fault.Denied.New("keyring: %w", err)
	}
	var w wrapped
	if err := json.Unmarshal(data, &w); err != nil || len(data) > fileLimit {
		return nil, fault.Damaged.New("keyring: %s is not what was written", filepath.Join(r.dir, name))
	}
	return &w, nil
}

func unwrap(master []byte, name string, w *wrapped) ([]byte, error) {
	if len(w.Key) != keySize+Overhead {
		return nil, fault.Damaged.New("keyring: %s is not what was written", name)
	}
	key, err := aead(master).Open(nil, w.Key[:nonceSize], w.Key[nonceSize:], []byte(name))
	if err != nil {
		return nil, fault.Damaged.New("keyring: %s is not what was written", name)
	}
	return key, nil
}

// put wraps a key with the master key, and writes it.
func (r *Ring) put(name string, key []byte) error {
	master, err := r.master.get()
	if err != nil {
		return err
	}
	return r.write(name, key, master)
}

func (r *Ring) write(name string, key, master []byte) error {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	data, err := json.Marshal(wrapped{masterName(master), aead(master).Seal(nonce, nonce, key, []byte(name))})
	if err != nil {
		return fault.Internal.New("keyring: %w", err)
	}
	return writeFile(r.dir, name, append(data, '\n'))
}

// writeFile puts a file in the place of an old one, and returns when that is on the disk.
func writeFile(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	err := makeDir(dir)
	if err == nil {
		err = writeSynced(path+newSuffix, data)
	}
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err == nil {
		return nil
	}
	kind := fault.Denied
	if errors.Is(err, syscall.ENOSPC) {
		kind = fault.Full
	}
	return kind.New("keyring: %w", err)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// makeDir makes a folder if it is not there, whose name then survives a power cut.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a folder survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// masterName tells master keys apart, and says nothing of them.
func masterName(master []byte) string {
	sum := sha256.Sum256(append([]byte("polity master"), master...))
	return hex.EncodeToString(sum[:8])
}
