package run

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"polity.run"
)

// simJournal is where owners copy what the log tells of who asked for something. It knows up to which commit it is copied, and takes nothing twice.
type simJournal struct {
	rng    *rand.Rand // of its own: what it does changes no other course of things
	lines  []string
	copied uint64
	asked  []*simAsked
}

// simAsked is one request, with what is to be written of it.
type simAsked struct {
	audit *Audit
	line  string
	acked bool // what was asked for is acknowledged
}

// simOwed is what an owner has to copy.
type simOwed struct {
	commit uint64
	lines  []string
}

// audits asks for something in the name of somebody, who withdraws what no commit took.
func (w *world) audits(o *owner, c *simClient, do func(opened func(error))) {
	j := &w.journal
	a := &simAsked{audit: NewAudit(), line: fmt.Sprintf("%d wants %s", len(j.asked), c.id)}
	j.asked = append(j.asked, a)
	a.audit.Offer([]byte(a.line))
	o.core.by(a.audit, func(*core) { do(func(err error) { a.acked = err == nil }) })
	a.audit.Withdraw()
}

// audited is the owner's Auditor.
func (o *owner) audited(commit uint64, _ time.Time, data [][]byte) {
	if commit <= o.w.journal.copied { // by another owner
		return
	}
	owed := simOwed{commit: commit}
	for _, line := range data {
		owed.lines = append(owed.lines, string(line))
	}
	o.owed = append(o.owed, owed)
	if o.w.journal.rng.IntN(5) == 0 {
		o.copyAudits(1)
	}
}

// copyAudits copies what some of the next commits have.
func (o *owner) copyAudits(most int) {
	j := &o.w.journal
	for _, owed := range o.owed[:min(most, len(o.owed))] {
		if owed.commit > j.copied {
			j.lines, j.copied = append(j.lines, owed.lines...), owed.commit
		}
	}
	o.owed = slices.Delete(o.owed, 0, min(most, len(o.owed)))
}

// keepAudits copies what a checkpoint or a base stands for.
func (w *world) keepAudits(c *core) {
	for _, o := range w.owners {
		if o.core == c {
			o.copyAudits(len(o.owed))
		}
	}
}

// checkAudits wants in the journal what the log has, in its order and once: of everything that was acknowledged and changed something who wanted it, before that and in
// the same commit, and nothing of what no commit took.
func (w *world) checkAudits() {
	w.keepAudits(w.newest().core)
	var f frame
	var log []string
	before := map[polity.RunID]bool{} // who opened a run is in its commit
	for i, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("commit %d: %v", i+1, err)
		}
		for n := range f.records {
			switch r := &f.records[n]; {
			case r.kind == recAudited:
				log = append(log, string(r.data.data))
				_, id, _ := strings.Cut(string(r.data.data), " wants ")
				before[polity.RunID(id)] = true
			case (r.kind == recOpened || r.kind == recForked) && r.run.Parent() == "" && w.journal.opens(r.run) && !before[r.run]:
				w.fail("commit %d opens %s, and does not tell who wanted it", i+1, r.run)
			}
		}
		clear(before)
	}
	if !slices.Equal(log, w.journal.lines) {
		w.fail("the journal has\n%q\nand the log\n%q", w.journal.lines, log)
	}
	for _, a := range w.journal.asked {
		n := 0
		for _, line := range log {
			if line == a.line {
				n++
			}
		}
		taken := a.audit.Withdraw()
		if n > 1 || n == 1 && !taken || n == 0 && taken && a.acked {
			w.fail("%q is %d times in the log; taken %t, acknowledged %t", a.line, n, taken, a.acked)
		}
		w.stats.audited += n
	}
}

// opens says that somebody asked for a run.
func (j *simJournal) opens(id polity.RunID) bool {
	return slices.ContainsFunc(j.asked, func(a *simAsked) bool { return strings.HasSuffix(a.line, " wants "+string(id)) })
}
