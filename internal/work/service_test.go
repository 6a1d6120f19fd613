package work_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/work"
)

// TestServiceIsAskedOnce has a service do what it is asked for and hang up, on a connection that was used before. What is external is not asked for
// again; of the other classes net/http may repeat it by itself.
func TestServiceIsAskedOnce(t *testing.T) {
	var times atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "first" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{}"))
			return
		}
		times.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	ask, err := work.NewService(&agent.HTTP{URL: s.URL, Private: true, Effect: polity.EffectExternal})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := ask(t.Context(), polity.Message{ID: "first", Body: json.RawMessage(`{}`)}); err != nil || string(out) != "{}" {
		t.Fatalf("%s %v", out, err)
	}
	_, err = ask(t.Context(), polity.Message{ID: "second", Body: json.RawMessage(`{}`)})
	checkFault(t, err, fault.Unknown, "nobody knows whether it was done")
	if got := times.Load(); got != 1 {
		t.Errorf("it was asked %d times, want once", got)
	}
}
