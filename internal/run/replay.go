package run

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// The limits of what is said of a difference.
const (
	excerptMax = 120 // bytes of an input or output that is quoted
	waitingMax = 8   // pending commands that are named
)

// Replay folds everything that the log tells of a run and of the runs below it again, beside the live state and without
// touching it. With a zero release the code of the run's own release is held against the log. With another one that
// release's code is asked too, and each of its commands held against the command that the run's own code decides there: so a difference is
// seen where it is decided, and not only where the log has a result of it. If the run's own code is not to be had any more, the other is held
// against the log alone. It returns fault.NotFound if there is no such run.
func (p *Partition) Replay(ctx context.Context, id polity.RunID, release Digest) (polity.Replay, error) {
	s, err := p.Find(ctx, id)
	if err != nil {
		return polity.Replay{}, err
	}
	r := replay{now: p.newShadow(Digest{})}
	defer r.now.forget()
	err = p.events(ctx, id, r.event)
	if release != (Digest{}) && (err == nil || err == errDiffers) {
		own := p.newShadow(Digest{})
		defer own.forget()
		if err != nil {
			own = nil // what its commands were nobody can say
		}
		r = replay{own: own, now: p.newShadow(release)}
		defer r.now.forget()
		r.out.Release = hex.EncodeToString(release[:])
		err = p.events(ctx, id, r.event)
	}
	if errors.Is(err, fault.Erased) {
		err = fault.Erased.New("run %s cannot be replayed: its payloads were erased", id)
	}
	if err != nil && err != errDiffers {
		return polity.Replay{}, err
	}
	r.out.Run, r.out.Status = id, s.Status
	return r.out, nil
}

// spanSingles is how many commits of a run are read one by one, which costs less than a subscription.
const spanSingles = 32

// events gives every record that the log has of a run and the runs below it, in order. A record is given for the
// time of the call; what its payload holds may be kept.
func (p *Partition) events(ctx context.Context, id polity.RunID, each func(at time.Time, seq uint64, rec *record) error) error {
	at, err := p.span(ctx, id)
	if err != nil {
		return err
	}
	return p.read(ctx, id, at, each)
}

// read is events for a part of the log. What was imported is read from a log of its own, whose commits are counted from 1.
func (p *Partition) read(ctx context.Context, id polity.RunID, at span, each func(at time.Time, seq uint64, rec *record) error) error {
	give := func(when time.Time, seq uint64, rec *record) error { // what a fork took over is read in its place
		if rec.kind == recForked {
			return p.core.unfold(rec, func(f *frame, r *record) error { return each(f.at, seq, r) })
		}
		return each(when, seq, rec)
	}
	if at.log == nil && at.base.lacks(at.first) {
		if at.gone {
			return p.dropped(id, at.summary, at.base)
		}
		next, err := at.base.carried(id, p.document, give)
		if err != nil {
			return err
		}
		if at.first = max(next, at.base.dropped+1); at.first > at.last {
			return nil
		}
	}
	err := p.readLog(ctx, id, at, give)
	if at.log == nil && at.first < p.first.Load() && errors.Is(err, fault.Damaged) {
		return fault.Unavailable.New("run %s: the beginning of the log was dropped while it was read: ask again", id)
	}
	return err
}

// readLog gives what commits tell of a tree.
func (p *Partition) readLog(ctx context.Context, id polity.RunID, at span, each func(at time.Time, seq uint64, rec *record) error) error {
	var f frame
	one := func(seq uint64, data []byte) error {
		if err := f.decode(data); err != nil {
			return err
		}
		for i := range f.records {
			rec := &f.records[i]
			if rec.run.Root() != id || rec.besideRuns() {
				continue
			}
			if err := each(f.at, seq, rec); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case at.log == nil && at.last-at.first < spanSingles:
		for seq := at.first; seq <= at.last; seq++ {
			e, err := p.log.Get(ctx, seq)
			if err == nil && e.Seq != seq {
				err = fault.Damaged.New("run: commit %d is missing", seq)
			}
			if err == nil {
				err = one(e.Seq, e.Data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case at.log == nil:
		return p.log.Read(ctx, at.first, at.last, func(e bus.Entry) error { return one(e.Seq, e.Data) })
	}
	log, err := p.core.read(*at.log)
	if err != nil {
		return err
	}
	var seq uint64
	return eachFrame(log, func(data []byte) error {
		seq++
		return one(seq, data)
	})
}

// errDiffers ends the reading of a log in which a difference was found.
var errDiffers = fault.Diverged.New("run: the code decides otherwise")

// replay folds one tree with the code that is asked, and with its own beside it if that is another.
type replay struct {
	own *shadow // whose commands those of now are held against; nil for the log alone
	now *shadow
	out polity.Replay
}

// event folds the next record, and returns errDiffers if it is where the first difference is.
func (r *replay) event(at time.Time, seq uint64, rec *record) error {
	r.out.Events++
	waiting := r.now.apply(at, seq, *rec)
	if f := r.now.fault(); f != nil && f.Kind == fault.Erased {
		return f
	} else if f != nil {
		return r.differs(at, &polity.Difference{Run: decides(rec), Log: recordText(rec), Now: f.Text + waitingText(waiting)})
	}
	if r.own != nil {
		r.own.apply(at, seq, *rec)
		if d := compare(r.own.decided, r.now.decided); d != nil {
			return r.differs(at, d)
		}
	}
	r.out.Commands += len(r.now.decided)
	return nil
}

func (r *replay) differs(at time.Time, d *polity.Difference) error {
	d.Event, d.At = r.out.Events, at
	r.out.Difference = d
	return errDiffers
}

// decides is the run whose commands a record answers.
func decides(rec *record) polity.RunID {
	if rec.kind == recOpened && rec.run.Parent() != "" {
		return rec.run.Parent()
	}
	return rec.run
}

// compare returns the first difference of what was decided at an event, or nil.
func compare(own, other []decision) *polity.Difference {
	for i := range max(len(own), len(other)) {
		switch {
		case i >= len(other):
			return &polity.Difference{Run: own[i].run, Log: commandText(&own[i].command, 0), Now: "nothing more at this event"}
		case i >= len(own):
			return &polity.Difference{Run: other[i].run, Log: "nothing more at this event", Now: commandText(&other[i].command, 0)}
		}
		a, b := &own[i].command, &other[i].command
		if own[i].run != other[i].run || a.Key() != b.Key() || a.Reserve != b.Reserve || a.Bounds != b.Bounds || hashRequest(a) != hashRequest(b) {
			at := firstDifference(a.Input, b.Input)
			return &polity.Difference{Run: own[i].run, Log: commandText(a, at), Now: commandText(b, at)}
		}
	}
	return nil
}

// firstDifference is where two texts are no longer the same; 0 if they are.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) == len(b) {
		return 0
	}
	return min(len(a), len(b))
}

// decision is a command, and who decided it.
type decision struct {
	run     polity.RunID
	command polity.Command
}

// shadow folds one tree of a log with a kernel of its own, which does nothing but decide.
type shadow struct {
	core    *core
	release Digest // in place of the tree's own; zero for none
	blob    func(Digest) (json.RawMessage, error)
	decided []decision // at the last event
	tree    *tree
}

func (p *Partition) newShadow(release Digest) *shadow {
	s := &shadow{blob: p.load, release: release}
	s.core = newCore(s, p.cfg.Catalog, [8]byte{})
	s.core.vault = p.vault
	s.core.decided = func(r polity.RunID, c *polity.Command) { s.decided = append(s.decided, decision{r, *c}) }
	return s
}

// apply folds one record, and returns what its run was waiting for before.
func (s *shadow) apply(at time.Time, seq uint64, rec record) []*pending {
	s.decided = s.decided[:0]
	if rec.kind == recOpened && s.release != (Digest{}) {
		rec.release = s.release
	}
	var waiting []*pending
	if r := s.core.runs[decides(&rec)]; r != nil {
		waiting = slices.Clone(r.pending)
	}
	s.core.now, s.core.seq = at, seq
	s.core.apply(&rec, seq)
	s.core.used = nil // what was waited for is still looked at
	s.tree = s.core.trees[rec.run.Root()]
	return waiting
}

// fault is why the tree could not be folded any further, or nil.
func (s *shadow) fault() *fault.Error {
	if s.core.dead != nil {
		return fault.Of(s.core.dead)
	}
	return s.tree.stopped
}

// forget tells the deciders that they will not be asked again.
func (s *shadow) forget() {
	for _, r := range s.core.runs {
		r.forget()
	}
}

// The host of a shadow has nothing to do: a kernel that folds sends nothing and starts nothing.

func (s *shadow) append(*pack, uint64)                   {}
func (s *shadow) readHead(uint64, int)                   {}
func (s *shadow) start(*pending)                         {}
func (s *shadow) hold(uint64)                            {}
func (s *shadow) stop(*pending)                          {}
func (s *shadow) down(error)                             {}
func (s *shadow) acknowledged()                          {}
func (s *shadow) load(d Digest) (json.RawMessage, error) { return s.blob(d) }

// recordText says what a record tells.
func recordText(r *record) string {
	switch r.kind {
	case recOpened:
		return fmt.Sprintf("%s of %s is opened", r.run, r.agent)
	case recBegan:
		return fmt.Sprintf("%s began", polity.CommandKey(r.name, r.attempt))
	case recResult:
		if r.fault != nil {
			return fmt.Sprintf("%s ended: %s", polity.CommandKey(r.name, r.attempt), excerpt([]byte(r.fault.Text), 0))
		}
		return fmt.Sprintf("the result of %s: %s", polity.CommandKey(r.name, r.attempt), excerpt(r.data.data, 0))
	case recFinished:
		return fmt.Sprintf("%s ended: %s", r.run, r.status)
	default:
		return fmt.Sprintf("%s: %s", r.run, kindText[r.kind])
	}
}

// commandText says what a command asks for, with what its input has at an offset.
func commandText(c *polity.Command, at int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.Do, c.Key())
	if c.To != "" {
		fmt.Fprintf(&b, " to %s", c.To)
	}
	if c.Skill != "" {
		fmt.Fprintf(&b, " (%s)", c.Skill)
	}
	if c.After > 0 {
		fmt.Fprintf(&b, " after %s", c.After)
	}
	if c.Reserve != (polity.Usage{}) {
		fmt.Fprintf(&b, " reserving %d tokens and $%.6f", c.Reserve.Tokens(), float64(c.Reserve.MicroUSD)/1e6)
	}
	if c.Bounds != (polity.Bounds{}) {
		fmt.Fprintf(&b, " within %+v", c.Bounds)
	}
	if c.Fault != nil {
		fmt.Fprintf(&b, ": %s", excerpt([]byte(c.Fault.Text), 0))
	}
	if len(c.Input) > 0 {
		fmt.Fprintf(&b, ": %s", excerpt(c.Input, at))
	}
	return b.String()
}

// excerpt quotes a text around an offset.
func excerpt(text []byte, at int) string {
	if text == nil {
		return "(stored apart)"
	}
	from := max(0, min(at, len(text))-excerptMax/3)
	to := min(len(text), from+excerptMax)
	for from > 0 && from < len(text) && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to--
	}
	quoted := string(text[from:to])
	if from > 0 {
		quoted = fmt.Sprintf("…(byte %d) %s", from, quoted)
	}
	if to < len(text) {
		quoted += "…"
	}
	return quoted
}

// waitingText says what a run was waiting for.
func waitingText(list []*pending) string {
	var b strings.Builder
	for i, p := range list {
		switch {
		case i == waitingMax:
			fmt.Fprintf(&b, "; and %d more", len(list)-i)
			return b.String()
		case i == 0:
			b.WriteString("; it waits for: ")
		default:
			b.WriteString("; ")
		}
		b.WriteString(commandText(&p.cmd, 0))
	}
	return b.String()
}
