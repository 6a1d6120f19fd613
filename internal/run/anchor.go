package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"polity.run/fault"
)

// anchor is a position of the log and the hash of the commit there, kept outside of the log: that its end was cut
// off can be seen in no other way.
type anchor struct {
	seq  uint64
	head hash
}

// readAnchor returns the zero anchor if there is no file.
func readAnchor(path string) (anchor, error) {
	if path == "" {
		return anchor{}, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return anchor{}, nil
	}
	if err != nil {
		return anchor{}, fault.Unavailable.New("run: anchor: %w", err)
	}
	var a anchor
	var head string
	if _, err := fmt.Sscanf(string(text), "polity anchor 1\ncommit %d\nhash %64s\n", &a.seq, &head); err != nil {
		return anchor{}, fault.Damaged.New("run: anchor %s: not an anchor: %w", path, err)
	}
	if n, err := hex.Decode(a.head[:], []byte(head)); err != nil || n != len(a.head) {
		return anchor{}, fault.Damaged.New("run: anchor %s: not a hash: %q", path, head)
	}
	return a, nil
}

// acknowledged remembers the log's acknowledged end for the next writing, and nudges those who read the log.
func (p *Partition) acknowledged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tip = anchor{p.core.seq, p.core.head}
	for _, news := range p.feeds {
		select {
		case news <- struct{}{}:
		default: // it was nudged already
		}
	}
}

func (p *Partition) keepAnchor() {
	defer p.busy.Done()
	for p.sleep(anchorEvery) {
		if err := p.writeAnchor(); err != nil {
			p.cfg.Log.Error("write anchor", "error", err)
		}
	}
}

func (p *Partition) writeAnchor() error {
	p.mu.Lock()
	a := p.tip
	p.mu.Unlock()
	p.anchoring.Lock()
	defer p.anchoring.Unlock()
	if a == p.anchored || a.seq == 0 {
		return nil
	}
	if err := a.write(p.cfg.Anchor); err != nil {
		return err
	}
	p.anchored = a
	return nil
}

// write replaces the anchor's file.
func (a anchor) write(path string) error {
	text := fmt.Sprintf("polity anchor 1\ncommit %d\nhash %x\n", a.seq, a.head)
	// It is synced before it takes the old one's place: a power cut would leave an empty file otherwise, and a log that nobody vouches for.
	if err := writeFile(path, []byte(text), true); err != nil {
		kind := fault.Unavailable
		if errors.Is(err, syscall.ENOSPC) {
			kind = fault.Full
		}
		return kind.New("run: anchor: %w", err)
	}
	return nil
}

// WriteAnchor writes an anchor's file for a log that was made anew: head is the hex hash of its last commit. A log without a commit has none.
func WriteAnchor(path string, commit uint64, head string) error {
	if commit == 0 {
		return nil
	}
	a := anchor{seq: commit}
	if n, err := hex.Decode(a.head[:], []byte(head)); err != nil || n != len(a.head) {
		return fault.Invalid.New("run: anchor: not a hash: %q", head)
	}
	return a.write(path)
}

// CommitID is the name by which the log knows a commit.
func CommitID(data []byte) string { return hash(sha256.Sum256(data)).id() }

// spaceCheck remembers for a moment how much room the disk has.
type spaceCheck struct {
	sync.Mutex
	at  time.Time
	err error
}

// room returns fault.Full if there is too little room to admit a new run.
func (p *Partition) room() error {
	if p.cfg.Free == nil {
		return nil
	}
	p.space.Lock()
	defer p.space.Unlock()
	if now := time.Now(); now.Sub(p.space.at) >= time.Second {
		p.space.at, p.space.err = now, nil
		if free, err := p.cfg.Free(); err != nil {
			p.space.err = fault.Unavailable.New("run: free space: %w", err)
		} else if free < freeMin {
			p.space.err = fault.Full.New("run: open: only %d bytes are free for the store and no new run is admitted below %d: free some space", free, freeMin)
		}
	}
	return p.space.err
}
