package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// Bucket keeps values by key: the newest value of each key, in a stream with a subject for each. It is safe for concurrent use.
type Bucket struct {
	b      *Bus
	stream jetstream.Stream
	prefix string
}

// BucketPrefix begins the name of the stream that holds a bucket.
const BucketPrefix = "BUCKET_"

// ValueMax is the largest value of a bucket, in bytes.
const ValueMax = FrameMax

// Bucket opens the named bucket, and creates it if it is not there.
func (b *Bus) Bucket(ctx context.Context, name string) (*Bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	stream, err := b.stream(ctx, bucketConfig(name))
	if err != nil {
		return nil, fault.Of(err).Kind.New("bus: open bucket %s: %w", name, err)
	}
	return &Bucket{b: b, stream: stream, prefix: "bucket." + name + "."}, nil
}

func bucketConfig(name string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: BucketPrefix + name, Subjects: []string{"bucket." + name + ".>"}, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, // a limit that an owner sets is told, and costs nothing that is there
		Duplicates: dupWindow, AllowDirect: false,
	}
}

// HasBucket says whether the named bucket is there.
func (b *Bus) HasBucket(ctx context.Context, name string) (bool, error) {
	return b.has(ctx, BucketPrefix+name)
}

// has says whether a stream is there.
func (b *Bus) has(ctx context.Context, stream string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	_, err := b.js.Stream(ctx, stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return false, nil
	case err != nil:
		return false, fault.Unavailable.New("bus: look for stream %s: %w", stream, err)
	default:
		return true, nil
	}
}

// Put sets a key's value and returns when it is safe. A key is one or more tokens of a subject. After a fault it may be set or not: putting it again is
// safe.
func (k *Bucket) Put(ctx context.Context, key string, value []byte) error {
	if len(value) > ValueMax {
		return fault.Invalid.New("bus: a value of %d bytes; the most is %d", len(value), ValueMax)
	}
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	if _, err := k.b.js.Publish(ctx, k.prefix+key, value); err != nil {
		kind := fault.Unavailable
		if refused, ok := errors.AsType[*jetstream.APIError](err); ok && slices.Contains(full, refused.ErrorCode) {
			kind = fault.Full
		}
		return kind.New("bus: put %s: %w", key, err)
	}
	return nil
}

// full are the server's codes for a message that there is no room for.
var full = []jetstream.ErrorCode{10002, 10023, 10047, 10077}

// needMax is how long Need asks again: a cluster that has just lost a server needs some seconds to agree on another one.
const needMax = 20 * time.Second

// Need returns a key's value for somebody who cannot go on without it: while the stream does not answer it is asked again, for needMax. It returns
// fault.NotFound for a key that is not there, and fault.Unavailable if no answer came.
func (k *Bucket) Need(key string) ([]byte, error) {
	for end := time.Now().Add(needMax); ; time.Sleep(redialEvery) {
		value, revision, err := k.Get(context.Background(), key)
		switch {
		case err == nil && revision == 0:
			return nil, fault.NotFound.New("bus: there is no %s", key)
		case err == nil, k.b.nc.IsClosed(), time.Now().After(end):
			return value, err
		}
	}
}

// Delete removes a key, and writes over its value on the disk. (A purge would leave the value in its block until that is compacted.)
func (k *Bucket) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	m, err := k.stream.GetLastMsgForSubject(ctx, k.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err == nil {
		err = k.stream.SecureDeleteMsg(ctx, m.Sequence)
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fault.Unavailable.New("bus: delete %s: %w", key, err)
	}
	return nil
}

// Each gives all keys with their values, in the order of putting, and ends early with each's error.
func (k *Bucket) Each(ctx context.Context, each func(key string, value []byte) error) error {
	info, err := k.stream.Info(ctx)
	if err != nil {
		return fault.Unavailable.New("bus: read bucket: %w", err)
	}
	if info.State.Msgs == 0 {
		return nil
	}
	consumer, err := k.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return fault.Unavailable.New("bus: read bucket: %w", err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fault.Unavailable.New("bus: read bucket: %w", err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(requestMax))
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("nothing came for %s", time.Duration(requestMax))
			}
			return fault.Damaged.New("bus: read bucket: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fault.Internal.New("bus: read bucket: %w", err)
		}
		if err := each(m.Subject()[len(k.prefix):], m.Data()); err != nil {
			return err
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
}
