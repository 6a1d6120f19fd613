package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// Group is how some readers share the events of topics: each event goes to one of them, and again to one of them until it was done.
type Group struct {
	Name    string
	Pattern string        // topics
	From    uint64        // the first position; 0 is what is published from now on, unless Since is set
	Since   time.Time     // the first time
	Tries   int           // an event is given out so often before it is a dead letter
	Within  time.Duration // an event that is not settled for so long is given out again
	Retry   time.Duration // the wait before the second try; it doubles up to RetryMax
}

// RetryMax is the longest wait before an event is given out again.
const RetryMax = 10 * time.Minute

// Work is an event that was given out. It is settled by its Token.
type Work struct {
	Event
	Token string
	Try   int // from 1
}

// GroupState is how far a group is.
type GroupState struct {
	Group
	Done    uint64 // every event up to this position is settled
	Pending uint64 // events that were not given out yet
	Out     int    // given out and not settled, or waiting for another try
}

const groupPrefix = "group_"

const (
	metaPattern = "pattern"
	metaTries   = "tries"
	metaRetry   = "retry"
)

// Join makes a group if it is not there. One that is there stays as it is; if it has another pattern, that is fault.Conflict. More than GroupsMax are
// fault.Full.
func (t *Topics) Join(ctx context.Context, g Group) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	c, err := t.stream.Consumer(ctx, groupPrefix+g.Name)
	if err == nil {
		if has := c.CachedInfo().Config.Metadata[metaPattern]; has != g.Pattern {
			return fault.Conflict.New("group %s reads %s, not %s: name another group, or drop this one", g.Name, has, g.Pattern)
		}
		return nil
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fault.Unavailable.New("bus: group %s: %w", g.Name, err)
	}
	all, err := t.Groups(ctx)
	if err != nil {
		return err
	}
	if len(all) >= GroupsMax {
		return fault.Full.New("there are %d groups, which is the most: drop one that is not needed", GroupsMax)
	}
	cfg := jetstream.ConsumerConfig{
		Durable: groupPrefix + g.Name, FilterSubjects: []string{topicPrefix + g.Pattern, redoPrefix + g.Name + "." + g.Pattern},
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: g.Within, MaxDeliver: -1, DeliverPolicy: jetstream.DeliverNewPolicy,
		Metadata: map[string]string{metaPattern: g.Pattern, metaTries: strconv.Itoa(g.Tries), metaRetry: g.Retry.String()},
	}
	switch {
	case !g.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &g.Since
	case g.From > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, g.From
	}
	if _, err := t.stream.CreateConsumer(ctx, cfg); err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
		return fault.Unavailable.New("bus: group %s: %w", g.Name, err)
	}
	return nil
}

// Drop removes a group, with how far it was. Its dead letters stay.
func (t *Topics) Drop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	return ofGroup(name, t.stream.DeleteConsumer(ctx, groupPrefix+name))
}

func ofGroup(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return fault.NotFound.New("no group %q; see: polity topics list", name)
	default:
		return fault.Unavailable.New("bus: group %s: %w", name, err)
	}
}

// Groups returns all groups, sorted as the server has them.
func (t *Topics) Groups(ctx context.Context) ([]GroupState, error) {
	var list []GroupState
	all := t.stream.ListConsumers(ctx)
	for info := range all.Info() {
		if !strings.HasPrefix(info.Name, groupPrefix) {
			continue // the partition's
		}
		g := groupOf(info.Config)
		list = append(list, GroupState{Group: g, Done: info.AckFloor.Stream, Pending: info.NumPending, Out: info.NumAckPending})
	}
	if err := all.Err(); err != nil {
		return nil, fault.Unavailable.New("bus: groups: %w", err)
	}
	return list, nil
}

func groupOf(cfg jetstream.ConsumerConfig) Group {
	g := Group{Name: strings.TrimPrefix(cfg.Durable, groupPrefix), Pattern: cfg.Metadata[metaPattern], Within: cfg.AckWait}
	g.Tries, _ = strconv.Atoi(cfg.Metadata[metaTries]) // Join wrote them
	g.Retry, _ = time.ParseDuration(cfg.Metadata[metaRetry])
	return g
}

// Take gives out up to most events, and waits for the first of them for so long. One that was given out too often becomes a dead letter instead.
func (t *Topics) Take(ctx context.Context, group string, most int, wait time.Duration) ([]Work, error) {
	c, err := t.stream.Consumer(ctx, groupPrefix+group)
	if err != nil {
		return nil, ofGroup(group, err)
	}
	g := groupOf(c.CachedInfo().Config)
	batch, err := c.Fetch(most, jetstream.FetchMaxWait(wait))
	if err != nil {
		return nil, fault.Unavailable.New("bus: group %s: %w", group, err)
	}
	var list []Work
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, fault.Internal.New("bus: group %s: %w", group, err)
		}
		e := eventOf(m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
		try := int(meta.NumDelivered)
		if try > g.Tries {
			if err := t.bury(ctx, group, e, g.Tries, "it was taken and never settled", m.Reply()); err != nil {
				return list, err
			}
			continue
		}
		token, err := tokenOf(group, m.Reply())
		if err != nil {
			return list, err
		}
		list = append(list, Work{Event: e, Token: token, Try: try})
	}
	if err := batch.Error(); err != nil && ctx.Err() == nil && !errors.Is(err, nats.ErrTimeout) {
		return list, fault.Unavailable.New("bus: group %s: %w", group, err)
	}
	return list, nil
}

// Settle says what became of an event: done if failed is "", else it is given out again after a while, and after its last try is a dead letter. It
// returns when that is safe.
func (t *Topics) Settle(ctx context.Context, group, token, failed string) error {
	reply, seq, try, err := replyOf(group, token)
	if err != nil {
		return err
	}
	if failed == "" {
		return t.ack(ctx, reply, "+ACK")
	}
	c, err := t.stream.Consumer(ctx, groupPrefix+group)
	if err != nil {
		return ofGroup(group, err)
	}
	g := groupOf(c.CachedInfo().Config)
	if try < g.Tries {
		delay := min(g.Retry<<min(try-1, 20), RetryMax)
		return t.ack(ctx, reply, `-NAK {"delay": `+strconv.FormatInt(int64(delay), 10)+`}`)
	}
	e, err := t.Get(ctx, seq)
	if errors.Is(err, fault.NotFound) { // it was too old meanwhile
		return t.ack(ctx, reply, "+TERM")
	}
	if err != nil {
		return err
	}
	return t.bury(ctx, group, e, try, failed, reply)
}

func (t *Topics) ack(ctx context.Context, reply, what string) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	if _, err := t.b.nc.RequestWithContext(ctx, reply, []byte(what)); err != nil {
		return fault.Unavailable.New("bus: settle: %w", err)
	}
	return nil
}

// bury makes an event a dead letter. A crash between the two halves does it again, and the letter is one by its ID.
func (t *Topics) bury(ctx context.Context, group string, e Event, tries int, reason, reply string) error {
	if err := t.Bury(ctx, group, e, tries, reason); err != nil {
		return err
	}
	return t.ack(ctx, reply, "+TERM")
}

// Bury makes an event a dead letter of a group, or of another reader, and returns when that is safe. Within two minutes the same is one letter.
func (t *Topics) Bury(ctx context.Context, group string, e Event, tries int, reason string) error {
	m := newMessage(deadPrefix+group+"."+e.Topic, e)
	m.Header.Set(headGroup, group)
	m.Header.Set(headReason, oneLine(reason))
	m.Header.Set(headTries, strconv.Itoa(tries))
	m.Header.Set(headOrigin, strconv.FormatUint(e.Seq, 10))
	within, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	if _, err := t.b.js.PublishMsg(within, m, jetstream.WithMsgID(group+" "+strconv.FormatUint(e.Seq, 10))); err != nil {
		return fault.Unavailable.New("bus: dead letter of %s: %w", group, err)
	}
	return nil
}

const reasonMax = 500

// oneLine makes a text one that a header holds.
func oneLine(text string) string {
	if len(text) > reasonMax {
		text = text[:reasonMax]
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
}

// Letter is a dead letter.
type Letter struct {
	Event  // Seq is the letter's own
	Group  string
	Reason string
	Tries  int
	Origin uint64 // the position that the event had
}

// Dead returns up to most dead letters of a group, or of all if it is "", from a position on.
func (t *Topics) Dead(ctx context.Context, group string, from uint64, most int) ([]Letter, error) {
	subject := deadPrefix + ">"
	if group != "" {
		subject = deadPrefix + group + ".>"
	}
	var list []Letter
	err := t.b.batch(ctx, deadStream, subject, from, time.Time{}, most, func(m *nats.Msg, seq uint64, at time.Time) error {
		l := Letter{Event: eventOf(m.Header, m.Data, seq, at), Group: m.Header.Get(headGroup), Reason: m.Header.Get(headReason)}
		l.Tries, _ = strconv.Atoi(m.Header.Get(headTries)) // bury wrote them
		l.Origin, _ = strconv.ParseUint(m.Header.Get(headOrigin), 10, 64)
		list = append(list, l)
		return nil
	})
	return list, err
}

// Redo gives a dead letter to its group again, as news to it alone. A crash may do it twice, within the window of IDs once.
func (t *Topics) Redo(ctx context.Context, l Letter) error {
	within, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	m := newMessage(redoPrefix+l.Group+"."+l.Topic, l.Event)
	if _, err := t.b.js.PublishMsg(within, m, jetstream.WithMsgID("redo "+strconv.FormatUint(l.Seq, 10))); err != nil {
		return fault.Unavailable.New("bus: redo letter %d: %w", l.Seq, err)
	}
	return t.Forget(ctx, l.Seq)
}

// Forget removes a dead letter.
func (t *Topics) Forget(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	err := t.dead.DeleteMsg(ctx, seq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fault.Unavailable.New("bus: drop letter %d: %w", seq, err)
	}
	return nil
}

// A reply subject is $JS.ACK.<domain>.<account>.<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>], or without the
// domain and the account. A token is its part from <tries> on, and whether it has those two: what a client sends can settle nothing but an
// event of the group that it names.
func tokenOf(group, reply string) (string, error) {
	head, tail, ok := strings.Cut(reply, "."+TopicsStream+"."+groupPrefix+group+".")
	if !ok || !strings.HasPrefix(head, "$JS.ACK") {
		return "", fault.Internal.New("bus: reply subject %q is none of group %s", reply, group)
	}
	return strings.TrimPrefix(strings.TrimPrefix(head, "$JS.ACK"), ".") + "/" + tail, nil
}

func replyOf(group, token string) (reply string, seq uint64, try int, err error) {
	head, tail, ok := strings.Cut(token, "/")
	bad := fault.Invalid.New("token %.80q is none of group %s", token, group)
	fields := strings.Split(tail, ".")
	if !ok || len(fields) < 5 || len(token) > 300 || strings.ContainsAny(token, " \t\r\n*>$") {
		return "", 0, 0, bad
	}
	try, err1 := strconv.Atoi(fields[0])
	seq, err2 := strconv.ParseUint(fields[1], 10, 64)
	if err1 != nil || err2 != nil || try < 1 || head != "" && strings.Count(head, ".") != 1 {
		return "", 0, 0, bad
	}
	if head != "" {
		head += "."
	}
	return "$JS.ACK." + head + TopicsStream + "." + groupPrefix + group + "." + tail, seq, try, nil
}
