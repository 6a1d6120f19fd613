package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run/fault"
)

const (
	// KeyPrefix begins every API key, so that one that lies around is recognised.
	KeyPrefix = "polity_"

	keysMax     = 10_000
	sessionsMax = 10_000
	grantsMax   = 100
	nameMax     = 128              // bytes
	idBytes     = 8                // of a key's ID
	secretBytes = 32               // of a key's secret and of a session's: nobody guesses 256 random bits, so that a fast hash keeps them
	usedEvery   = 10 * time.Minute // a key's last use is written as often
	lifeMax     = 10 * 365 * 24 * time.Hour

	// SessionLife is how long a browser stays known.
	SessionLife = 12 * time.Hour
)

// Shelf keeps values by key, each whole or not at all. A bus.Bucket is one.
type Shelf interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Each(ctx context.Context, each func(key string, value []byte) error) error
}

// Key is an API key as it is kept: without its secret.
type Key struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Grants  []Grant   `json:"grants"`
	By      string    `json:"by"` // who made it
	Made    time.Time `json:"made"`
	Until   time.Time `json:"until,omitzero"` // zero for ever
	Used    time.Time `json:"used,omitzero"`  // to within ten minutes
	Revoked time.Time `json:"revoked,omitzero"`
}

// Who is who comes with the key.
func (k *Key) Who() Who {
	return Who{ID: "key:" + k.ID, Name: k.Name, Kind: ByKey, Grants: k.Grants, Until: k.Until}
}

type storedKey struct {
	Key
	Hash []byte `json:"hash"` // of the secret
}

type session struct {
	Who   Who       `json:"who"`
	Until time.Time `json:"until"`
}

// Book knows the API keys and the sessions of browsers. It is safe for concurrent use.
type Book struct {
	shelf Shelf
	now   func() time.Time

	mu       sync.Mutex
	keys     map[string]*storedKey
	sessions map[string]session // by the hash of what the browser holds
}

// Open reads a book. A nil now is time.Now. It returns fault.Damaged for what cannot be understood: a key that cannot be read might be one that is revoked.
func Open(ctx context.Context, shelf Shelf, now func() time.Time) (*Book, error) {
	if now == nil {
		now = time.Now
	}
	b := &Book{shelf: shelf, now: now, keys: map[string]*storedKey{}, sessions: map[string]session{}}
	err := shelf.Each(ctx, func(name string, value []byte) error {
		var err error
		switch kind, id, _ := strings.Cut(name, "."); kind {
		case "key":
			k := &storedKey{}
			err = json.Unmarshal(value, k)
			b.keys[id] = k
		case "session":
			var s session
			err = json.Unmarshal(value, &s)
			b.sessions[id] = s
		default:
			err = fault.Damaged.New("nobody knows what it is")
		}
		if err != nil {
			return fault.Damaged.New("access: entry %s: %w", name, err)
		}
		return nil
	})
	return b, err
}

// random returns so many random bytes.
func random(n int) []byte {
	data := make([]byte, n)
	rand.Read(data) // which never fails
	return data
}

func hashOf(kind, secret string) []byte {
	sum := sha256.Sum256([]byte("polity " + kind + " 1\n" + secret))
	return sum[:]
}

// Create makes a key that is good for so long, 0 for ever, and returns its secret, which is kept nowhere. It returns fault.Invalid for a name, grants or a
// life that cannot be, and fault.Full if there are too many keys.
func (b *Book) Create(ctx context.Context, by Who, name string, grants []Grant, life time.Duration) (Key, string, error) {
	switch {
	case strings.TrimSpace(name) == "" || len(name) > nameMax || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Key{}, "", fault.Invalid.New("access: the key's name: want 1 to %d characters, in one line", nameMax)
	case len(grants) == 0 || len(grants) > grantsMax:
		return Key{}, "", fault.Invalid.New("access: key %s: want 1 to %d roles", name, grantsMax)
	case life < 0 || life > lifeMax:
		return Key{}, "", fault.Invalid.New("access: key %s: it is good for %s: want more than 0 and at most %s", name, life, lifeMax)
	}
	for _, g := range grants {
		if err := g.Check(); err != nil {
			return Key{}, "", err
		}
		if err := by.Gives(g); err != nil {
			return Key{}, "", err
		}
	}
	now := b.now().UTC().Truncate(time.Second)
	secret := base64.RawURLEncoding.EncodeToString(random(secretBytes))
	k := &storedKey{Key: Key{ID: hex.EncodeToString(random(idBytes)), Name: name, Grants: grants, By: by.Name, Made: now}, Hash: hashOf("key", secret)}
	if life > 0 {
		k.Until = now.Add(life)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.keys) >= keysMax {
		return Key{}, "", fault.Full.New("access: there are %d keys, which is the most", keysMax)
	}
	if err := b.put(ctx, "key."+k.ID, k); err != nil {
		return Key{}, "", err
	}
	b.keys[k.ID] = k
	return k.Key, KeyPrefix + k.ID + "_" + secret, nil
}

func (b *Book) put(ctx context.Context, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fault.Internal.New("access: write %s: %w", name, err)
	}
	return b.shelf.Put(ctx, name, data)
}

// Keys returns all keys, in the order of making.
func (b *Book) Keys() []Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Key, 0, len(b.keys))
	for _, k := range b.keys {
		list = append(list, k.Key)
	}
	slices.SortFunc(list, func(a, b Key) int {
		if c := a.Made.Compare(b.Made); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Revoke ends a key, and the sessions that were begun with it. It stays on the list. Its ID may be shortened as long as it means one key alone.
func (b *Book) Revoke(ctx context.Context, id string) (Key, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found *storedKey
	for _, k := range b.keys {
		if id != "" && strings.HasPrefix(k.ID, id) {
			if found != nil {
				return Key{}, fault.Invalid.New("access: more than one key begins with %s; write more of it", id)
			}
			found = k
		}
	}
	if found == nil {
		return Key{}, fault.NotFound.New("access: there is no key %.40q; see: polity access list", id)
	}
	if found.Revoked.IsZero() {
		revoked := *found
		revoked.Revoked = b.now().UTC().Truncate(time.Second)
		if err := b.put(ctx, "key."+found.ID, &revoked); err != nil {
			return Key{}, err
		}
		*found = revoked
	}
	return found.Key, nil
}

// Key returns who comes with an API key. It returns fault.Unauthenticated for one that is not known, is revoked or has run out, without saying which to
// whoever does not know its secret.
func (b *Book) Key(ctx context.Context, token string) (Who, error) {
	id, secret, _ := strings.Cut(strings.TrimPrefix(token, KeyPrefix), "_")
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.keys[id]
	now := b.now()
	switch {
	case k == nil || subtle.ConstantTimeCompare(k.Hash, hashOf("key", secret)) != 1:
		return Who{}, fault.Unauthenticated.New("access: this key is not known")
	case !k.Revoked.IsZero():
		return Who{}, fault.Unauthenticated.New("access: key %s is revoked", k.ID)
	case !k.Until.IsZero() && !now.Before(k.Until):
		return Who{}, fault.Unauthenticated.New("access: key %s has run out", k.ID)
	}
	if now.Sub(k.Used) >= usedEvery {
		used := *k
		used.Used = now.UTC().Truncate(time.Second)
		if err := b.put(ctx, "key."+k.ID, &used); err != nil {
			return Who{}, err
		}
		*k = used
	}
	return k.Who(), nil
}

// Begin begins a session, and returns what the browser holds, and until when. A session ends with what it was begun with.
func (b *Book) Begin(ctx context.Context, who Who) (string, time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for id, s := range maps.Clone(b.sessions) {
		if !now.Before(s.Until) {
			if err := b.shelf.Delete(ctx, "session."+id); err != nil {
				return "", time.Time{}, err
			}
			delete(b.sessions, id)
		}
	}
	if len(b.sessions) >= sessionsMax {
		return "", time.Time{}, fault.Exhausted.New("access: there are %d sessions, which is the most", sessionsMax)
	}
	s := session{Who: who, Until: now.Add(SessionLife).UTC().Truncate(time.Second)}
	if !who.Until.IsZero() && who.Until.Before(s.Until) {
		s.Until = who.Until
	}
	secret := base64.RawURLEncoding.EncodeToString(random(secretBytes))
	id := hex.EncodeToString(hashOf("session", secret))
	if err := b.put(ctx, "session."+id, s); err != nil {
		return "", time.Time{}, err
	}
	b.sessions[id] = s
	return secret, s.Until, nil
}

// Session returns who a session is of, with the rights that they have now. It returns fault.Unauthenticated for one that is not known or has ended.
func (b *Book) Session(secret string) (Who, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sessions[hex.EncodeToString(hashOf("session", secret))]
	if !ok || !b.now().Before(s.Until) {
		return Who{}, fault.Unauthenticated.New("access: the session has ended; begin another one")
	}
	who := s.Who
	if id, ok := strings.CutPrefix(who.ID, "key:"); ok {
		k := b.keys[id]
		if k == nil || !k.Revoked.IsZero() {
			return Who{}, fault.Unauthenticated.New("access: the session's key is revoked")
		}
		who = k.Who()
	}
	who.Until = s.Until
	return who, nil
}

// End ends a session. One that is not known has ended already.
func (b *Book) End(ctx context.Context, secret string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := hex.EncodeToString(hashOf("session", secret))
	if _, ok := b.sessions[id]; !ok {
		return nil
	}
	if err := b.shelf.Delete(ctx, "session."+id); err != nil {
		return err
	}
	delete(b.sessions, id)
	return nil
}
