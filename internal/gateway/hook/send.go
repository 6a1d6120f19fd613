package hook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"polity.run/fault"
	"polity.run/tool/dial"
)

const (
	sendMax   = 15 * time.Second // for one attempt
	answerMax = 64 << 10         // bytes of an answer that are read
)

// attemptWaits are how long a message waits between its attempts. After the last one it is dead.
var attemptWaits = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute}

// Sender sends signed messages.
type Sender struct {
	Waits []time.Duration // between attempts; default up to 30 minutes, in seven attempts
}

// errGone is the answer of a receiver that wants nothing more of this hook: it is dead at once.
var errGone = errors.New("the receiver answered 410 Gone")

// Send sends a message until it is accepted, which is any status of 200 to 299, or dead, and says what became of it. It returns an error only if ctx ends
// before.
func (s *Sender) Send(ctx context.Context, h Out, id string, body []byte) (Delivery, error) {
	waits := s.Waits
	if waits == nil {
		waits = attemptWaits
	}
	client := dial.Client(h.Private, nil)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer client.CloseIdleConnections()
	d := Delivery{ID: id}
	for {
		d.Attempts++
		d.At = time.Now().UTC()
		status, err := attempt(ctx, client, h, id, d.At, body)
		d.Answer, d.Problem = status, ""
		if err == nil {
			d.Status = Delivered
			return d, nil
		}
		if ctx.Err() != nil {
			return d, fault.Cancelled.New("hook: send: %w", context.Cause(ctx))
		}
		d.Problem = err.Error()
		if d.Attempts > len(waits) || errors.Is(err, errGone) {
			d.Status = Dead
			return d, nil
		}
		again := time.NewTimer(waits[d.Attempts-1])
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return d, fault.Cancelled.New("hook: send: %w", context.Cause(ctx))
		}
	}
}

// attempt sends once.
func attempt(ctx context.Context, client *http.Client, h Out, id string, at time.Time, body []byte) (status int, err error) {
	signature, err := Sign(h.Secret, id, at, body)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, sendMax)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return 0, fault.Invalid.New("hook: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(IDHeader, id)
	r.Header.Set(TimeHeader, strconv.FormatInt(at.Unix(), 10))
	r.Header.Set(SignatureHeader, signature)
	resp, err := client.Do(r)
	if err != nil {
		return 0, fault.Unavailable.New("hook: %w", err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, answerMax))
	switch {
	case resp.StatusCode == http.StatusGone:
		return resp.StatusCode, errGone
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return resp.StatusCode, fault.Failed.New("hook: the receiver answered %s", resp.Status)
	}
	return resp.StatusCode, err
}
