package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/engine"
)

// TestLoadsOfSleepers has runs wait until no state of them is in memory, also after a new start: they count as runs that wait, until they end.
func TestLoadsOfSleepers(t *testing.T) {
	cfg := engine.Config{State: t.TempDir(), Sync: engine.SyncOS, View: true, Telemetry: true}
	e := waitingNode(t, cfg)
	var ids []polity.RunID
	for i := range 3 {
		id, err := e.Start(t.Context(), engine.Request{Agent: "waits", Input: json.RawMessage(`"signal"`), Seed: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	waits := func(n int) {
		t.Helper()
		want := []polity.Load{{Org: "go", Agent: "waits", Waiting: n}}
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			got, err := e.Loads(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			d := cmp.Diff(want, got)
			if d == "" && asleep(t, e, n) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d runs wait: -want +got\n%s", n, d)
			}
		}
	}
	waits(3)
	stop(t, e)
	e = waitingNode(t, cfg)
	waits(3)
	if err := e.Signal(t.Context(), ids[0], "on", "first", 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Wait(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	waits(2)
	stop(t, e)
}

// asleep says whether n root runs are in no memory.
func asleep(t *testing.T, e *engine.Engine, n int) bool {
	t.Helper()
	metrics, err := e.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	metrics.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	_, rest, found := strings.Cut(w.Body.String(), "\npolity_runs_asleep")
	if !found {
		t.Fatalf("no metric says how many runs sleep:\n%s", w.Body)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.HasSuffix(line, " "+string(rune('0'+n)))
}
