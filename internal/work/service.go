package work

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/dial"
)

const serviceErrorMax = 500 // bytes of a service's error that go into a fault

// NewService returns what asks an agent of kind http: the input is posted as JSON with the effect's key as Idempotency-Key,
// the caller as Polity-From and the run as Polity-Run, and the body of the answer is the output. It returns fault.Invalid for
// an address that is none. A service that could not be reached is fault.Unavailable; one whose answer was lost is that only
// where the effect may be repeated, and else fault.Unknown.
func NewService(def *agent.HTTP) (Handle, error) {
	u, err := url.Parse(def.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fault.Invalid.New("service %q: want an address as in https://example.com/ask, without a user in it", def.URL)
	}
	client := dial.Client(def.Private, []string{u.Host})
	return func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
		if def.Effect == polity.EffectExternal {
			ctx = dial.Once(ctx)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, def.URL, bytes.NewReader(m.Body))
		if err != nil {
			return nil, fault.Invalid.New("service %s: %w", u.Host, err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json")
		r.Header.Set("Idempotency-Key", m.ID)
		r.Header.Set("Polity-From", string(m.From))
		r.Header.Set("Polity-Run", m.Correlation)
		if m.Skill != "" {
			r.Header.Set("Polity-Skill", m.Skill)
		}
		for name, value := range def.Headers {
			text, err := dial.Expand(value)
			if err != nil {
				return nil, fault.Denied.New("service %s: header %s: %w", u.Host, name, err)
			}
			r.Header.Set(name, text)
		}
		answer, err := client.Do(r)
		if err != nil {
			return nil, lost(def, u.Host, err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(io.LimitReader(answer.Body, tool.OutputMaxDefault+1))
		if err != nil {
			return nil, lost(def, u.Host, err)
		}
		return body, status(u.Host, answer, body)
	}, nil
}

// lost is the fault of a request whose answer did not come.
func lost(def *agent.HTTP, host string, err error) error {
	var known *fault.Error
	var slow interface{ Timeout() bool }
	var network *net.OpError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return fault.Cancelled.New("service %s: %w", host, err)
	case errors.As(err, &network) && network.Op == "dial": // it never got there
		return fault.Unavailable.New("service %s: %w", host, err)
	case def.Effect == polity.EffectExternal:
		return fault.Unknown.New("service %s: nobody knows whether it was done: %w", host, err)
	case errors.As(err, &slow) && slow.Timeout():
		return fault.Timeout.New("service %s: %w", host, err)
	default:
		return fault.Unavailable.New("service %s: %w", host, err)
	}
}

// status maps an answer that is none.
func status(host string, r *http.Response, body []byte) error {
	if r.StatusCode >= 200 && r.StatusCode < 300 {
		return nil
	}
	text := strings.ToValidUTF8(string(body[:min(len(body), serviceErrorMax)]), "\uFFFD")
	return dial.Kind(r.StatusCode).New("service %s: %s: %s", host, r.Status, strings.Join(strings.Fields(text), " "))
}
