package outside

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// The limits of credentials.
const (
	LifeDefault = time.Hour
	LifeMin     = time.Minute
	LifeMax     = 30 * 24 * time.Hour
	keysMax     = 16 // of one agent at once
)

// key is a key that an agent may connect with.
type key struct {
	Public string           `json:"key"`
	Org    string           `json:"org"`
	Agent  polity.AgentName `json:"agent"` // "" for an operator
	Life   polity.Duration  `json:"life"`  // each renewal gives it so long
	Issued time.Time        `json:"issued"`
	Until  time.Time        `json:"until"`
}

// book keeps on the disk whom the door lets in, and no secret: the private halves of keys are their holders'.
type book struct {
	bucket  *bus.Bucket
	writing sync.Mutex // held while the disk is written

	mu   sync.RWMutex    // of what follows, which is changed with writing held as well
	keys map[string]*key // by public key; a key does not change
	at   string          // where the door was; "" for nowhere yet
}

const (
	// Bucket holds whom the door lets in.
	Bucket    = "outside"
	keyPrefix = "key."
	atKey     = "at"
)

func openBook(ctx context.Context, b *bus.Bus, now time.Time) (*book, error) {
	bucket, err := b.Bucket(ctx, Bucket)
	if err != nil {
		return nil, err
	}
	k := &book{bucket: bucket, keys: map[string]*key{}}
	var ended []string
	err = bucket.Each(ctx, func(name string, value []byte) error {
		var err error
		switch {
		case strings.HasPrefix(name, keyPrefix):
			var read key
			if err = json.Unmarshal(value, &read); now.Before(read.Until) {
				k.keys[read.Public] = &read
			} else {
				ended = append(ended, name)
			}
		case name == atKey:
			err = json.Unmarshal(value, &k.at)
		}
		if err != nil {
			return fault.Damaged.New("outside: %s: %w", name, err)
		}
		return nil
	})
	for _, name := range ended {
		if err == nil {
			err = bucket.Delete(ctx, name)
		}
	}
	return k, err
}

func (k *book) put(ctx context.Context, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fault.Internal.New("outside: %w", err)
	}
	return k.bucket.Put(ctx, name, data)
}

// add gives a key time, as a new one of the agent or for longer.
func (k *book) add(ctx context.Context, n key) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	has := k.of(n.Org, n.Agent)
	if len(has) >= keysMax && !slices.ContainsFunc(has, func(o *key) bool { return o.Public == n.Public }) {
		oldest := has[0] // it makes room for a newer one: an agent that is restarted often is not locked out
		if err := k.drop(ctx, oldest); err != nil {
			return err
		}
	}
	if err := k.put(ctx, keyPrefix+n.Public, n); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[n.Public] = &n
	return nil
}

// revoke ends all keys of an agent, and returns how many there were.
func (k *book) revoke(ctx context.Context, org string, agent polity.AgentName) (int, error) {
	k.writing.Lock()
	defer k.writing.Unlock()
	all := k.of(org, agent)
	for i, o := range all {
		if err := k.drop(ctx, o); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

// opened notes where the door is: an agent finds it there again.
func (k *book) opened(ctx context.Context, at string) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	if k.at == at {
		return nil
	}
	k.at = at
	return k.put(ctx, atKey, at)
}

func (k *book) find(public string) *key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[public]
}

func (k *book) drop(ctx context.Context, old *key) error {
	if err := k.bucket.Delete(ctx, keyPrefix+old.Public); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, old.Public)
	return nil
}

// of are the keys of an agent, the first to end first.
func (k *book) of(org string, agent polity.AgentName) []*key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []*key
	for _, o := range k.keys {
		if o.Org == org && o.Agent == agent {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *key) int { return cmp.Or(a.Until.Compare(b.Until), strings.Compare(a.Public, b.Public)) })
	return out
}
