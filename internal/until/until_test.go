package until

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestContext(t *testing.T) {
	late := New(t.Context(), time.Now().Add(time.Hour))
	if at, ok := New(late, time.Now().Add(2*time.Hour)).Deadline(); !ok || !at.Equal(late.at) {
		t.Errorf("it ends after its parent: %s", at)
	}
	if err := late.Err(); err != nil {
		t.Error(err)
	}
	late.End()
	<-late.Done()
	if err := late.Err(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	unseen := New(t.Context(), time.Now().Add(time.Hour))
	unseen.End()
	if <-unseen.Done(); !errors.Is(unseen.Err(), context.Canceled) {
		t.Error(unseen.Err())
	}
	past := New(t.Context(), time.Now())
	defer past.End()
	if <-past.Done(); !errors.Is(past.Err(), context.DeadlineExceeded) {
		t.Error(past.Err())
	}
	parent, stop := context.WithCancel(t.Context())
	child := New(parent, time.Now().Add(time.Hour))
	defer child.End()
	below, end := context.WithCancel(child)
	defer end()
	stop()
	if <-below.Done(); !errors.Is(child.Err(), context.Canceled) {
		t.Error(child.Err())
	}
}
