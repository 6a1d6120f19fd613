package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/trace"
)

// call asks once. A question of nil has no body, and an answer of nil is not read.
func (c *Client) call(ctx context.Context, method, path string, question, answer any) error {
	resp, err := c.send(ctx, method, path, question)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, AnswerMax+1))
	switch {
	case err != nil:
		return c.unreachable(ctx, err)
	case len(data) > AnswerMax:
		return fault.Invalid.New("client: the answer is larger than %d bytes", AnswerMax)
	case answer == nil || resp.StatusCode == http.StatusNoContent:
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fault.Damaged.New("client: the answer to %s cannot be read: %w", path, err)
	}
	return nil
}

// send asks, and returns an answer that is no error. Close its body.
func (c *Client) send(ctx context.Context, method, path string, question any) (*http.Response, error) {
	var body io.Reader
	if question != nil {
		b := &bytes.Buffer{}
		w := json.NewEncoder(b)
		w.SetEscapeHTML(false) // an input is to come as it was given: it is part of what a run is known by
		if err := w.Encode(question); err != nil {
			return nil, fault.Invalid.New("client: write the request: %w", err)
		}
		body = b
	}
	req, err := http.NewRequestWithContext(ctx, method, c.at.URL+path, body)
	if err != nil {
		return nil, fault.Invalid.New("client: %w", err)
	}
	trace.From(ctx).SetHeader(req.Header)
	req.Header.Set("Authorization", "Bearer "+c.at.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, AnswerMax))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return nil, parseFailure(resp.StatusCode, data)
}

// parseFailure reads an answer that is an error, as the fault that the node returned.
func parseFailure(status int, data []byte) error {
	var p Problem
	if err := json.Unmarshal(data, &p); err != nil || !slices.Contains(fault.Kinds(), p.Kind) {
		return fault.Internal.New("client: the node answered %d %s and named no fault", status, http.StatusText(status))
	}
	return &fault.Error{Kind: p.Kind, Text: p.Detail, Bound: p.Bound}
}

// stream asks for notices and hands them on until the stream ends.
func (c *Client) stream(ctx context.Context, path string, each func(polity.Notice) error) error {
	return c.lines(ctx, http.MethodGet, path, nil, func(l Line) error {
		if l.End {
			return nil
		}
		return each(l.Notice)
	})
}

// lines asks for a stream and hands on its lines, the last one too if it is no error.
func (c *Client) lines(ctx context.Context, method, path string, question any, each func(Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.send(ctx, method, path, question)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	silence := time.AfterFunc(idleMax, func() {
		cancel(fault.Unavailable.New("%s said nothing for %s", c.Name(), idleMax))
	})
	defer silence.Stop()
	ended, err := readStream(resp.Body, func(l Line) error {
		silence.Stop() // a slow reader is not the node's silence
		defer silence.Reset(idleMax)
		return each(l)
	}, func() { silence.Reset(idleMax) })
	if ended || err == nil {
		return err
	}
	return c.unreachable(ctx, err)
}

// readStream hands the lines of a stream to each, until its end. Empty lines say that the stream is
// alive, and are told to alive. It returns whether the stream ended as it should or by each's error, and why.
func readStream(r io.Reader, each func(Line) error, alive func()) (ended bool, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, AnswerMax)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			alive()
			continue
		}
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return true, fault.Damaged.New("client: a line of the stream cannot be read: %w", err)
		}
		switch {
		case l.End && l.Error != nil:
			return true, l.Error
		}
		if err := each(l); err != nil || l.End {
			return true, err
		}
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	return false, io.ErrUnexpectedEOF
}
