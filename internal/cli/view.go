package cli

import (
	"sync"
	"time"

	"polity.run"
)

// view shows how a run goes: as a picture on a terminal, and else as a line for each event.
type view struct {
	mu     sync.Mutex
	screen *screen
	tree   *tree
	lines  bool // a line for each event
	silent bool // what is told is already known
}

// newView begins to show a run. End it with close.
func newView(s *screen, id polity.RunID) *view {
	v := &view{screen: s, tree: newTree(id), lines: !s.moves}
	v.tree.live = true
	return v
}

// begin draws the picture.
func (v *view) begin() {
	if !v.lines {
		v.screen.show(v.picture)
	}
}

// put takes a notice.
func (v *view) put(n polity.Notice) error {
	v.mu.Lock()
	s, changed := v.tree.apply(n)
	line := ""
	if v.lines && !v.silent && changed != changeNone {
		line = v.tree.event(s, changed, n.At)
	}
	v.mu.Unlock()
	if line != "" {
		v.screen.say("%s", line)
	}
	return nil
}

// picture draws what fits: if that is not everything, the end of it, where what runs stands.
func (v *view) picture(columns, rows, frame int) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.tree.lines(picture{now: time.Now(), columns: columns - 1, frame: frame, styled: v.screen.styled})
	if room := max(rows-1, 2); len(all) > room {
		return append([]string{clip("… "+count(len(all)-room+1, "line")+" above", columns-1)}, all[len(all)-room+1:]...)
	}
	return all
}

// close ends the picture, and leaves the whole tree as it is now.
func (v *view) close() {
	if v.lines {
		return
	}
	v.screen.hide()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tree.live = false
	columns, _ := v.screen.size()
	for _, line := range v.tree.lines(picture{now: time.Now(), columns: columns - 1, styled: v.screen.styled}) {
		v.screen.say("%s", line)
	}
}
