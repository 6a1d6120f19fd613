package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"polity.run/client"
	"polity.run/fault"
)

// statusClientClosed is what others answer too if the one who asked has gone away.
const statusClientClosed = 499

// statuses maps every kind of fault to the status of an answer.
var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusBadRequest,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.Denied:          http.StatusForbidden,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Exhausted:       http.StatusTooManyRequests,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.Cancelled:       statusClientClosed,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Unknown:         http.StatusBadGateway,
	fault.Full:            http.StatusInsufficientStorage,
	fault.Fenced:          http.StatusMisdirectedRequest,
	fault.Damaged:         http.StatusInternalServerError,
	fault.Erased:          http.StatusGone,
	fault.Diverged:        http.StatusConflict,
	fault.Failed:          http.StatusInternalServerError,
	fault.Internal:        http.StatusInternalServerError,
}

// Status is the HTTP status of a kind of fault.
func Status(k fault.Kind) int { return statuses[k] }

// Refuse answers with a fault.
func (d *Door) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.Of(err)
	if f.Kind == fault.Internal {
		d.log.Error("door: internal fault", "error", f.Text)
	}
	var busy tooMany
	switch {
	case errors.As(err, &busy):
		w.Header().Set("Retry-After", strconv.Itoa(int((busy.after+time.Second-1)/time.Second)))
	case f.Kind == fault.Unauthenticated:
		w.Header().Set("WWW-Authenticate", `Bearer realm="polity"`)
	}
	p := client.ProblemOf(err, statuses[f.Kind])
	if r != nil {
		p.Instance = r.URL.EscapedPath()
	}
	w.Header().Set("Content-Type", "application/problem+json")
	d.Answer(w, p.Status, p)
}

// Answer answers with JSON.
func (d *Door) Answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		d.log.Error("door: write an answer", "error", err)
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	if status != http.StatusUnauthorized { // who is not known learns nothing of the node
		w.Header().Set(client.PositionHeader, strconv.FormatUint(d.engine.Position(), 10))
	}
	w.WriteHeader(status)
	if _, err := w.Write(append(data, '\n')); err != nil {
		d.log.Debug("door: the one who asked has gone away", "error", err)
	}
}

// tooMany is the refusal of somebody who asks too often.
type tooMany struct {
	error
	after time.Duration
}

func (t tooMany) Unwrap() error { return t.error }

func busy(who string, after time.Duration) error {
	return tooMany{fault.Exhausted.New("door: %s asks too often; ask again in %s", who, fmt.Sprint(after.Round(time.Millisecond))), after}
}
