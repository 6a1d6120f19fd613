package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"polity.run/fault"
	"polity.run/trace"
)

// This file is what adapters of providers have in common.

// HTTP is how adapters reach providers. Times are bounded by the request's context, whose place in a trace goes with it.
var HTTP = &http.Client{Transport: trace.Transport{Next: &http.Transport{
	Proxy:               http.ProxyFromEnvironment,
	DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	MaxIdleConnsPerHost: AtOnceDefault, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
}}}

// Key returns the provider's key from the environment: "" if the spec names none, fault.Denied if it is not there.
func Key(s Spec) (string, error) {
	if s.KeyEnv == "" {
		return "", nil
	}
	key := strings.TrimSpace(os.Getenv(s.KeyEnv))
	if key == "" {
		return "", fault.Denied.New("model %s: the environment has no %s; set it to the provider's key and start again", s.Name, s.KeyEnv)
	}
	return key, nil
}

const wireNameMax = 64 // bytes of a tool's name on the wire

// WireName writes a name with what providers allow: letters, digits, '_' and '-'.
func WireName(name string) string {
	out := []byte(name[:min(len(name), wireNameMax)])
	for i, c := range out {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			out[i] = '_'
		}
	}
	if len(out) == 0 {
		return "_"
	}
	return string(out)
}

// WireNames returns how the offers' names are written on the wire, and back. Two never share one.
func WireNames(offers []Offer) (wire, back map[string]string) {
	wire, back = map[string]string{}, map[string]string{}
	for _, o := range offers {
		name := WireName(o.Name)
		for n := 2; back[name] != ""; n++ {
			tail := "_" + strconv.Itoa(n)
			name = WireName(o.Name)
			name = name[:min(len(name), wireNameMax-len(tail))] + tail
		}
		wire[o.Name], back[name] = name, o.Name
	}
	return wire, back
}

// Passage writes what was gathered for a model, as data with its source: it is not the model's to obey.
func Passage(m Message) string {
	source := strings.NewReplacer("\"", "'", "<", "", ">", "", "\n", " ").Replace(m.Source)
	text := strings.ReplaceAll(strings.ToValidUTF8(m.Text, "\uFFFD"), "</data>", "</ data>")
	return fmt.Sprintf("<data source=\"%s\">\n%s\n</data>", source, text)
}

// CallInput is a call's input as Call.Input holds it.
func CallInput(text string) json.RawMessage {
	if strings.TrimSpace(text) == "" {
		return json.RawMessage("{}")
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return quoted(text)
}

// Output is a model's text as Response.Output holds it: the JSON in it if JSON is wanted, else a JSON string. A fence around the JSON is
// taken off.
func Output(text string, wantsJSON bool) json.RawMessage {
	if wantsJSON {
		bare := strings.TrimSpace(text)
		if inner, ok := strings.CutPrefix(bare, "```"); ok {
			inner = strings.TrimPrefix(inner, "json")
			bare = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(inner), "```"))
		}
		if json.Valid([]byte(bare)) {
			return json.RawMessage(bare)
		}
	}
	return quoted(text)
}

func quoted(text string) json.RawMessage {
	out, err := json.Marshal(strings.ToValidUTF8(text, "\uFFFD"))
	if err != nil {
		panic("model: a string that is no JSON: " + err.Error())
	}
	return out
}

// Ended is the fault of a context that ended.
func Ended(ctx context.Context, name string) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Timeout.New("model %s: no answer in time", name)
	}
	return fault.Cancelled.New("model %s: %w", name, context.Canceled)
}

// Later is the cause of a fault whose provider said when to ask again.
type Later struct{ After time.Duration }

// Error says when.
func (l *Later) Error() string { return "ask again in " + l.After.String() }

const reasonMax = 500 // bytes of a provider's words that go into a fault

// Refused maps an HTTP status and the provider's words to a fault; after is the header Retry-After.
func Refused(name string, status int, code, text, after string) error {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	text = strings.ToValidUTF8(text[:min(len(text), reasonMax)], "")
	words := strings.ToLower(code + " " + text)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(words, p) {
				return true
			}
		}
		return false
	}
	kind := fault.Invalid
	switch {
	case status == http.StatusRequestEntityTooLarge,
		status == http.StatusBadRequest && has("context_length", "context length", "context window", "prompt is too long", "too many tokens", "maximum context"):
		return fault.Exceeded(BoundContext, "model %s: the request is longer than its context: %s", name, text)
	case has("content_filter", "content_policy", "responsibleai"), status == http.StatusUnauthorized, status == http.StatusForbidden:
		kind = fault.Denied
	case status == http.StatusPaymentRequired, has("insufficient_quota"):
		kind = fault.Denied
	case status == http.StatusNotFound:
		kind = fault.NotFound
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooManyRequests, status == 425, status >= 500:
		kind = fault.Unavailable
	case status >= 200 && status < 400:
		kind = fault.Unavailable
	}
	if d, ok := retryAfter(after, time.Now()); ok && kind == fault.Unavailable {
		return kind.New("model %s: HTTP %d: %s: %w", name, status, text, &Later{d})
	}
	return kind.New("model %s: HTTP %d: %s", name, status, text)
}

// retryAfter reads the header Retry-After (RFC 9110, 10.2.3): seconds, or a date.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if s, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && s >= 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second)), true
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(t.Sub(now), 0), true
	}
	return 0, false
}
