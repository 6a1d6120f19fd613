package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/trace"
)

// feedChunk is how many commits are read with one subscription.
const feedChunk = 4096

// feedAgain is how long a reading waits that the store did not answer while it was stuck.
const feedAgain = 200 * time.Millisecond

// feedSingles is up to how many commits are read one by one, which needs no subscription.
const feedSingles = 4

// Commit is one acknowledged commit, as those see it who read the log.
type Commit struct {
	Seq   uint64
	At    time.Time // when it was accepted
	Head  string    // its hash: the log that has it here has the same before it
	Facts []Fact
}

// Fact is one record of a commit. What a fork took over, and what the log of an imported run tells, are facts too, after the one that
// says so. Their Commit is the one that brought them, and their At is when they happened.
type Fact struct {
	// Notice has no Data. Beside the kinds of a history there are "imported" (Status, Usage, Opened, Ended), "forked" (Fork), "audited" (its
	// data is what an Audit says) and "claim", of which nothing else is known than that an owner took the log. Kinds that a newer version added come with their text.
	polity.Notice
	// Taken marks what happened to another run or on another node: it was not done, nor paid for, here.
	Taken bool
	// Sealed says that on the disk its data, the text of its fault and its receipt are enciphered with a person's key. Whoever keeps or
	// sends any of that keeps what cannot be erased.
	Sealed  bool
	Release Digest         // opened, forked, imported
	Skill   string         // opened: what is asked for
	From    string         // opened: the agent that asks, or the sender of a message; "" at any other root; settled: who says so
	Folder  string         // opened, at a root
	Opened  time.Time      // imported
	Ended   time.Time      // imported
	Fork    *polity.ForkOf // forked
	Caller  trace.Context  // opened, at a root: where in a trace it was asked for; zero for nowhere
	ID      string         // signalled, published: the sender's
	Place   uint64         // published: in the stream of topics
	// Conversation is the key of what an opened root is part of; "" for none.
	Conversation string
	Gently       bool  // cancel: the run may undo first what it did
	Mail         *Mail // opened: of a message

	payload payload
}

// Feed gives every acknowledged commit from a position on, in order, and then each as it is acknowledged, until ctx ends, the partition
// goes down, or each returns an error, which is the error that comes back. A commit and its facts are given for the time of the
// call; texts in them may be kept. It may be called any number of times at once, and costs the partition nothing but a nudge per commit: what is told is read
// from the log. It returns fault.Damaged if a commit is not in the log or cannot be read.
//
// If the log's beginning was dropped, a position before it begins with what its base has of the root runs that were told of there: in commits with the number 0, but
// for the last one, which has no facts and the number and hash of the last commit that was dropped. Of a run that had not ended these are its facts up to there; of one
// that had there is one fact of the kind "dropped", with Status, Usage, Opened and Ended.
func (p *Partition) Feed(ctx context.Context, from uint64, each func(*Commit) error) error {
	news := p.listen()
	defer p.deafen(news)
	next := max(from, 1)
	if first := p.first.Load(); next < first {
		if err := p.tellBase(ctx, first, each); err != nil {
			return err
		}
		next = first
	}
	for {
		to := min(p.Tip(), next+feedChunk-1)
		if to >= next {
			stalls, was := p.stall()
			var stop error
			err := p.commits(ctx, next, to, func(c *Commit) error {
				if stop = each(c); stop == nil {
					next = c.Seq + 1
				}
				return stop
			})
			switch now, why := p.stall(); {
			case err == nil:
			case stop == nil && next < p.first.Load():
				return fault.Unavailable.New("run: feed: the beginning of the log was dropped while it was read: ask again")
			case stop == nil && (was != nil || why != nil || now != stalls) && p.sleep(feedAgain): // the store is, or was, started anew
			default:
				return err
			}
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return contextFault(ctx, "run: feed")
		case <-p.ended:
			return p.gone()
		}
	}
}

// Tip is the position of the last acknowledged commit. Whoever was answered finds what they did at or before it.
func (p *Partition) Tip() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tip.seq
}

// Commit reads one acknowledged commit again. Of the last one that was dropped with the log's beginning it knows the hash. It returns fault.NotFound if there is
// none at the position, or none any more.
func (p *Partition) Commit(ctx context.Context, seq uint64) (*Commit, error) {
	if first := p.first.Load(); seq > 0 && seq+1 == first {
		head, at, err := p.before(ctx, first)
		return &Commit{Seq: seq, At: at, Head: head}, err
	}
	if seq == 0 || seq > p.Tip() || seq < p.first.Load() {
		return nil, fault.NotFound.New("run: no commit %d", seq)
	}
	e, err := p.log.Get(ctx, seq)
	if err != nil {
		return nil, err
	}
	var f frame
	c := &Commit{}
	return c, p.tell(c, &f, e)
}

// Data returns a fact's input or output, from its blob if it has one; nil if it has none. It returns fault.NotFound if the blob is gone, and fault.Erased if
// what it held was erased.
func (p *Partition) Data(f *Fact) (json.RawMessage, error) { return p.core.read(f.payload) }

// Kept is a fact's fault as it may be kept or sent: what is enciphered of it is left out.
func (f *Fact) Kept() *fault.Error {
	if f.Fault == nil || !f.Sealed {
		return f.Fault
	}
	return &fault.Error{Kind: f.Fault.Kind, Text: "enciphered", Bound: f.Fault.Bound}
}

// DataSize is the size in bytes of a fact's input or output.
func (f *Fact) DataSize() uint64 { return max(f.payload.size, uint64(len(f.payload.data))) }

// listen returns a channel that is nudged after each acknowledgement.
func (p *Partition) listen() chan struct{} {
	news := make(chan struct{}, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feeds = append(p.feeds, news)
	return news
}

func (p *Partition) deafen(news chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feeds = slices.DeleteFunc(p.feeds, func(c chan struct{}) bool { return c == news })
}

// commits reads a part of the log.
func (p *Partition) commits(ctx context.Context, from, to uint64, each func(*Commit) error) error {
	var f frame
	var c Commit
	one := func(e bus.Entry) error {
		if err := p.tell(&c, &f, e); err != nil {
			return err
		}
		return each(&c)
	}
	if to-from >= feedSingles {
		return p.log.Read(ctx, from, to, one)
	}
	for seq := from; seq <= to; seq++ {
		e, err := p.log.Get(ctx, seq)
		if err == nil && e.Seq != seq {
			err = fault.Damaged.New("run: feed: commit %d is missing", seq)
		}
		if err == nil {
			err = one(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tell makes a commit of a message of the log.
func (p *Partition) tell(c *Commit, f *frame, e bus.Entry) error {
	if err := f.decode(e.Data); err != nil {
		return fault.Of(err).Kind.New("run: feed: commit %d: %w", e.Seq, err)
	}
	sum := sha256.Sum256(e.Data)
	c.Seq, c.At, c.Head, c.Facts = e.Seq, f.at, hex.EncodeToString(sum[:]), c.Facts[:0]
	for i := range f.records {
		r := &f.records[i]
		c.Facts = append(c.Facts, p.factOf(r, f.at, e.Seq))
		if r.kind == recForked || r.kind == recImported {
			p.taken(c, r)
		}
	}
	return nil
}

// taken adds what a fork took over, or what an imported log tells. If that cannot be read the fact says why, and nothing more is told of
// it: the log itself is whole.
func (p *Partition) taken(c *Commit, r *record) {
	first := len(c.Facts)
	add := func(f *frame, r *record) error {
		fact := p.factOf(r, f.at, c.Seq)
		fact.Taken = true
		c.Facts = append(c.Facts, fact)
		return nil
	}
	var err error
	if r.kind == recForked {
		err = p.core.unfold(r, add)
	} else {
		err = p.core.imports(r, add)
	}
	if err != nil {
		c.Facts = c.Facts[:first]
		c.Facts[first-1].Fault = fault.Of(err)
	}
	c.Facts[first-1].payload = payload{} // a log, which is no run's input
}

// imports gives what the log of an imported run tells. Such a log may hold a fork.
func (c *core) imports(rec *record, each func(f *frame, r *record) error) error {
	log, err := c.read(rec.data)
	if err != nil {
		return err
	}
	var f frame
	return eachFrame(log, func(data []byte) error {
		if err := f.decode(data); err != nil {
			return err
		}
		for i := range f.records {
			r := &f.records[i]
			if r.kind == recForked {
				err = c.unfold(r, each)
			} else {
				err = each(&f, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *Partition) factOf(r *record, at time.Time, seq uint64) Fact {
	f := Fact{
		Notice: noticeOf(r, at, seq), Release: r.release, Skill: r.skill, From: r.from, Folder: r.folder,
		Opened: r.opened, Ended: r.ended, Caller: r.caller, ID: r.id, Place: r.place, Conversation: r.conversation, Gently: r.gently,
		Mail: r.mail, Sealed: r.sealed(), payload: r.data,
	}
	p.vault.show(&f.Notice, r)
	switch r.kind {
	case recClaim:
		f.Kind = "claim"
	case recImported:
		f.Kind, f.Status = "imported", r.status.String()
	case recForked:
		f.Kind, f.Fork = "forked", &polity.ForkOf{Run: r.origin, Event: r.event}
	case recErased:
		f.Name = r.name
	case recCancel:
		f.Fault = cancelFault(r.reason)
	case recSettled:
		f.From = r.by
	}
	return f
}

// Stopped returns the root runs that are stopped, which the log does not tell.
func (p *Partition) Stopped(ctx context.Context) ([]polity.RunID, error) {
	return ask(ctx, p, func(c *core, reply func([]polity.RunID, error)) {
		reply(slices.Sorted(maps.Keys(c.halted)), nil)
	})
}

// Current returns the summaries of those of the root runs that there are.
func (p *Partition) Current(ctx context.Context, ids []polity.RunID) (map[polity.RunID]polity.Summary, error) {
	return ask(ctx, p, func(c *core, reply func(map[polity.RunID]polity.Summary, error)) {
		found := map[polity.RunID]polity.Summary{}
		for _, id := range ids {
			if t := c.tree(id); t != nil {
				found[id] = c.current(t)
			}
		}
		c.answer(func(err error) { reply(found, err) })
	})
}
