package schema

import "sync"

// The same schemas are compiled again and again: by a tool and by who calls it, by every node of a process.
const (
	keptMax     = 1024     // schemas; then all are forgotten
	keptTextMax = 16 << 10 // bytes of the text of one that is kept
)

var remembered kept

// kept remembers what schemas were compiled to, by their text. It is safe for concurrent use.
type kept struct {
	mu  sync.RWMutex
	all map[string]*Schema
}

func (k *kept) find(text []byte) *Schema {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.all[string(text)]
}

func (k *kept) keep(text []byte, s *Schema) {
	if len(text) > keptTextMax {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) == keptMax {
		k.all = map[string]*Schema{}
	}
	k.all[string(text)] = s
}
