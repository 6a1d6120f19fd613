package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

const (
	swapsMax   = 3 // times that a change without an acknowledgement is sent
	markHeader = "Polity-Mark"
)

// Get returns a key's value and its revision, as the stream's leader has them; a revision of 0 says that there is none. Revisions
// grow over all keys of a bucket, and none is given twice, also after Remove and after a restart.
func (k *Bucket) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	m, err := k.last(ctx, key)
	if err != nil || m == nil {
		return nil, 0, err
	}
	return m.Data, m.Sequence, nil
}

func (k *Bucket) last(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	m, err := k.stream.GetLastMsgForSubject(ctx, k.prefix+key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, fault.Unavailable.New("bus: get %s: %w", key, err)
	default:
		return m, nil
	}
}

// Swap sets a key's value on condition that its revision is still the given one, 0 for a key that is not there, and returns
// the new revision. If somebody was first it writes nothing and returns fault.Conflict. An acknowledgement that is
// lost is made up for: the same change is sent again, and read back by its mark. Where that cannot tell, as others have changed the key since,
// it returns fault.Unknown, and fault.Unavailable where the stream does not answer: the change may have been made, or be made yet.
func (k *Bucket) Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return k.swap(ctx, key, value, revision, func(ctx context.Context, m *nats.Msg) (uint64, error) {
		ack, err := k.b.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(revision))
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	})
}

// swap is Swap with the sending given, which a test disturbs.
func (k *Bucket) swap(ctx context.Context, key string, value []byte, revision uint64, send func(context.Context, *nats.Msg) (uint64, error)) (uint64, error) {
	if len(value) > ValueMax {
		return 0, fault.Invalid.New("bus: a value of %d bytes; the most is %d", len(value), ValueMax)
	}
	mark := rand.Text()
	for try := 1; ; try++ {
		m := nats.NewMsg(k.prefix + key)
		m.Data = value
		m.Header.Set(markHeader, mark)
		at, err := k.sendOnce(ctx, m, send)
		refused, answered := errors.AsType[*jetstream.APIError](err)
		switch {
		case err == nil:
			return at, nil
		case answered && notLast(refused) && try == 1:
			return 0, fault.Conflict.New("bus: swap %s: revision %d is not the last: %w", key, revision, err)
		case answered && notLast(refused):
			return k.whose(ctx, key, mark)
		case answered || try == swapsMax || ctx.Err() != nil:
			return 0, fault.Unavailable.New("bus: swap %s: %w", key, err)
		}
	}
}

// notLast says whether a change was refused because another message is the last of its subject; streams with replicas have a code of
// their own for it.
func notLast(e *jetstream.APIError) bool {
	return e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

func (k *Bucket) sendOnce(ctx context.Context, m *nats.Msg, send func(context.Context, *nats.Msg) (uint64, error)) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	return send(ctx, m)
}

// whose says whether a change of which an acknowledgement was lost is the one that stands.
func (k *Bucket) whose(ctx context.Context, key, mark string) (uint64, error) {
	m, err := k.last(ctx, key)
	switch {
	case err != nil:
		return 0, err
	case m != nil && m.Header.Get(markHeader) == mark:
		return m.Sequence, nil
	default:
		return 0, fault.Unknown.New("bus: swap %s: no acknowledgement came, and others have changed it since", key)
	}
}

// Remove removes a key on condition that its revision is still the given one; otherwise it stays, and nothing is said: Get tells.
func (k *Bucket) Remove(ctx context.Context, key string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	if err := k.stream.Purge(ctx, jetstream.WithPurgeSubject(k.prefix+key), jetstream.WithPurgeSequence(revision+1)); err != nil {
		return fault.Unavailable.New("bus: remove %s: %w", key, err)
	}
	return nil
}

// Keys returns the keys that begin with the prefix, which is whole tokens with a dot behind them, in the order of their text; "" means all.
func (k *Bucket) Keys(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	info, err := k.stream.Info(ctx, jetstream.WithSubjectFilter(k.prefix+prefix+">"))
	if err != nil {
		return nil, fault.Unavailable.New("bus: keys of %s: %w", prefix, err)
	}
	keys := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		keys = append(keys, subject[len(k.prefix):])
	}
	slices.Sort(keys)
	return keys, nil
}
