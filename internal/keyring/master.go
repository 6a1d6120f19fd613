package keyring

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"polity.run/fault"
)

// The environment in which a master key may be: itself, as 64 characters of hex, or the name of a file that holds these.
const (
	MasterVariable     = "POLITY_MASTER_KEY"
	MasterFileVariable = "POLITY_MASTER_KEY_FILE"
)

const masterFile = "master"

// Master finds the master key, which wraps all others: in the environment, or in a file that it names, or else in the keyring's own folder,
// where it is made when it is first needed. It is safe for concurrent use.
type Master struct {
	dir   string
	given bool // none is made

	mu  sync.Mutex
	key []byte
}

// get returns the master key of now.
func (m *Master) get() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.key != nil {
		return m.key, nil
	}
	key, err := Given()
	if key == nil && err == nil {
		key, err = readMaster(filepath.Join(m.dir, masterFile))
		if errors.Is(err, fault.NotFound) { // perhaps a rotation was cut off before its last step
			key, err = readMaster(filepath.Join(m.dir, masterFile+newSuffix))
		}
		if errors.Is(err, fault.NotFound) && m.given {
			return nil, fault.Invalid.New("keyring: data of a person needs a master key, which must not lie where the log does: make one with: openssl rand -hex %d > FILE, "+
				"and set %s=FILE on each machine that the node may run on", keySize, MasterFileVariable)
		}
		if errors.Is(err, fault.NotFound) {
			key = newKey()
			err = writeFile(m.dir, masterFile, masterText(key))
		}
	}
	if err != nil {
		return nil, err
	}
	m.key = key
	return key, nil
}

// Given returns the master key that the environment has or names; nil for none. It returns fault.Invalid for one that is none, and fault.NotFound or
// fault.Denied for a file that cannot be read.
func Given() ([]byte, error) {
	if text := os.Getenv(MasterVariable); text != "" {
		return parseMaster(text, MasterVariable)
	}
	if file := os.Getenv(MasterFileVariable); file != "" {
		return readMaster(file)
	}
	return nil, nil
}

// named returns the master key with a name: that of now, or the one that a rotation that was not finished goes to.
func (m *Master) named(name string) ([]byte, error) {
	key, err := m.get()
	if err != nil {
		return nil, err
	}
	if masterName(key) == name {
		return key, nil
	}
	if next, err := readMaster(filepath.Join(m.dir, masterFile+newSuffix)); err == nil && masterName(next) == name {
		return next, nil
	}
	return nil, fault.Denied.New("keyring: the keys are wrapped by master key %s, and %s is given: set %s to the file with that one, "+
		"or finish the rotation with: polity keys rotate", name, masterName(key), MasterFileVariable)
}

func masterText(key []byte) []byte { return append([]byte(hex.EncodeToString(key)), '\n') }

func readMaster(path string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Clean(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.NotFound.New("master key: there is no file %s", path)
	case err != nil:
		return nil, fault.Denied.New("master key: %w", err)
	}
	return parseMaster(string(data), path)
}

func parseMaster(text, from string) ([]byte, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return nil, fault.Invalid.New("master key: %s does not hold %d characters of hex: make one with: openssl rand -hex %d", from, 2*keySize, keySize)
	}
	return key, nil
}

// Rotate wraps all keys by another master key and returns how many there are: the one in the file to, or a new one in the keyring's own folder if
// to is "". One that was cut off is finished by doing it again. The old master key opens nothing of the keyring any more, so that a key which
// was destroyed cannot be read by it from an old copy of its file if the old master key is destroyed too. The keyring must not be in use.
func Rotate(dir, to string) (int, error) {
	f, err := openFolder(dir)
	if err != nil {
		return 0, err
	}
	r := newRing(f, &Master{dir: dir})
	old, err := r.old()
	if err != nil {
		return 0, err
	}
	next, own := []byte(nil), to == ""
	if own {
		if outside, err := Given(); err != nil || outside != nil {
			return 0, errors.Join(fault.Invalid.New("keyring: the master key comes from the environment: name the file with the new one with --to"), err)
		}
		next, err = f.nextMaster()
	} else {
		next, err = readMaster(to)
	}
	if err != nil {
		return 0, err
	}
	n, err := r.rewrap(old, next)
	if err != nil || !own {
		return n, err
	}
	if err := f.shred(masterFile); err != nil {
		return n, fault.Denied.New("keyring: %w", err)
	}
	if err := os.Rename(filepath.Join(dir, masterFile+newSuffix), filepath.Join(dir, masterFile)); err != nil {
		return n, fault.Denied.New("keyring: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return n, fault.Denied.New("keyring: %w", err)
	}
	return n, nil
}

// RotateShared is Rotate for keys on a shelf: all are wrapped by the master key in the file to. No machine may use the keyring meanwhile.
func RotateShared(s Shelf, dir, to string) (int, error) {
	if to == "" {
		return 0, fault.Invalid.New("keyring: the keys lie on the NATS server, and the master key does not: name the file with the new one with --to")
	}
	r, err := OpenShared(s, dir)
	if err != nil {
		return 0, err
	}
	old, err := r.old()
	if err != nil {
		return 0, err
	}
	next, err := readMaster(to)
	if err != nil {
		return 0, err
	}
	return r.rewrap(old, next)
}

// old is the master key that a rotation begins with. It returns fault.NotFound if there is no key yet.
func (r *Ring) old() ([]byte, error) {
	if _, err := r.read(tagName); err != nil { // it comes before the first key
		return nil, fault.Of(err).Kind.New("keyring: there is no key yet: %w", err)
	}
	return r.master.get()
}

// nextMaster returns the master key of a rotation that was cut off, or makes one.
func (f *folder) nextMaster() ([]byte, error) {
	next, err := readMaster(filepath.Join(f.dir, masterFile+newSuffix))
	if !errors.Is(err, fault.NotFound) {
		return next, err
	}
	next = newKey()
	err = writeSynced(filepath.Join(f.dir, masterFile+newSuffix), masterText(next))
	if err == nil {
		err = syncDir(f.dir)
	}
	if err != nil {
		return nil, fault.Denied.New("keyring: %w", err)
	}
	return next, nil
}

// rewrap wraps every key by next that is not yet, and returns how many keys there are.
func (r *Ring) rewrap(old, next []byte) (int, error) {
	names, err := r.place.all()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		w, err := r.read(name)
		if err != nil {
			return 0, err
		}
		if w.Master == masterName(next) {
			continue
		}
		if w.Master != masterName(old) {
			return 0, fault.Denied.New("keyring: %s is wrapped by master key %s, which is neither the old one nor the new one", name, w.Master)
		}
		key, err := unwrap(old, name, w)
		if err != nil {
			return 0, err
		}
		data, err := wrap(name, key, next)
		if err == nil {
			err = r.place.replace(name, data)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(names) - 1, nil // without the tag's
}
