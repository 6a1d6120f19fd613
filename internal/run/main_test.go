package run

import (
	"os"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats-server/v2/server/ats"
)

// TestMain starts the server's access-time clock outside of every bubble. It is one ticker for the whole
// process: begun inside a bubble it would be the bubble's, and its time would never move again.
func TestMain(m *testing.M) {
	ats.Register()
	os.Exit(m.Run())
}

// bubble runs a test in fake time, with a real JetStream inside. nats.go keeps its timers in a pool for the whole process, and
// a timer of one bubble is of no use in the next: two collections empty the pool.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	runtime.GC()
	runtime.GC()
	synctest.Test(t, f)
}
