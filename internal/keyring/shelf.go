package keyring

import (
	"errors"
	"slices"

	"polity.run/fault"
)

// Shelf keeps values by key where several machines reach them, so that one of them can go on with the keys of another. It is safe for concurrent use.
type Shelf interface {
	// Get returns fault.NotFound for a key that is not there.
	Get(key string) ([]byte, error)
	// Create returns fault.Conflict for a key that is there.
	Create(key string, value []byte) error
	Replace(key string, value []byte) error
	// Delete writes over the value where it lies, and returns when that is done. A key that is not there is deleted.
	Delete(key string) error
	// Keys are those of all values.
	Keys() ([]string, error)
}

// OpenShared opens the keyring on a shelf. What lies there is wrapped by a master key that does not: so the master key comes from the environment, and one
// is made nowhere. Keys in the folder dir, of before there was a shelf, are put on the shelf and destroyed there; a master key in it is used as long as the
// environment has none. It returns fault.Conflict if the folder has two keys of one person, and what the shelf does.
func OpenShared(s Shelf, dir string) (*Ring, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	p := &shared{s}
	if err := f.move(p); err != nil {
		return nil, err
	}
	return newRing(p, &Master{dir: dir, given: true}), nil
}

// move puts all keys of a folder elsewhere. It can be cut off anywhere, and done again.
func (f *folder) move(to *shared) error {
	names, err := f.all()
	if err != nil {
		return err
	}
	if len(names) <= len(f.ids) {
		return fault.Conflict.New("keyring: %s has two keys of one person: one was put back from an old copy, which has to go", f.dir)
	}
	for _, name := range names {
		data, err := f.get(name)
		if errors.Is(err, fault.NotFound) && name == tagName {
			return nil
		}
		if err == nil {
			err = to.create(name, data)
		}
		if errors.Is(err, fault.Conflict) { // it is there from the last time, or another machine's
			if _, there := to.get(name); there != nil || name == tagName && !f.sameTag(to) {
				return fault.Conflict.New("keyring: the keys in %s are not those of this log: move the folder away", f.dir)
			}
			err = nil
		}
		if err != nil {
			return err
		}
	}
	slices.Reverse(names) // the tag last: without it nothing is looked for
	for _, name := range names {
		if err := f.shred(fileOf(name)); err != nil {
			return fault.Denied.New("keyring: %w", err)
		}
	}
	return nil
}

func (f *folder) sameTag(to *shared) bool {
	here, err := f.get(tagName)
	there, bad := to.get(tagName)
	return err == nil && bad == nil && string(here) == string(there)
}

// shared has each key under the tag of its person, behind its ID: two machines that make a key of one person at once make one.
type shared struct{ Shelf }

var _ place = (*shared)(nil)

func keyOf(name string) string {
	if name == tagName {
		return name
	}
	return name[:tagSize]
}

func valueOf(name string, data []byte) []byte {
	if name == tagName {
		return data
	}
	return append([]byte(name), data...)
}

func (p *shared) current(tag string) (string, error) {
	value, err := p.Get(tag)
	if errors.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if len(value) < idSize {
		return "", fault.Damaged.New("keyring: %s is not what was written", tag)
	}
	return string(value[:idSize]), nil
}

func (p *shared) get(name string) ([]byte, error) {
	value, err := p.Get(keyOf(name))
	if err != nil || name == tagName {
		return value, err
	}
	if len(value) < idSize || string(value[:idSize]) != name { // a later one of the same person
		return nil, fault.NotFound.New("keyring: there is no key %s", name)
	}
	return value[idSize:], nil
}

func (p *shared) create(name string, data []byte) error {
	return p.Create(keyOf(name), valueOf(name, data))
}

func (p *shared) replace(name string, data []byte) error {
	return p.Replace(keyOf(name), valueOf(name, data))
}

func (p *shared) destroy(id string) error {
	if _, err := p.get(id); errors.Is(err, fault.NotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return p.Delete(keyOf(id))
}

func (p *shared) all() ([]string, error) {
	keys, err := p.Keys()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, key := range keys {
		name := key
		if key != tagName {
			if name, err = p.current(key); err != nil {
				return nil, err
			}
		}
		if name != "" { // else it was destroyed meanwhile
			names = append(names, name)
		}
	}
	return names, nil
}
