package run

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"polity.run"
)

// endsAtOnce answers as soon as it is asked.
type endsAtOnce struct{}

func (endsAtOnce) Decide(_ any, e polity.Event) (any, []polity.Command) {
	return nil, []polity.Command{polity.Finish(e.Data)}
}

// BenchmarkEnded measures what a kernel keeps in memory of each run that has ended, without and with a register, and how long a request takes that comes again for one of them.
func BenchmarkEnded(b *testing.B) {
	for _, registered := range []bool{false, true} {
		for _, runs := range []int{100_000, 1_000_000} {
			b.Run(fmt.Sprintf("registered=%t/%d", registered, runs), func(b *testing.B) { benchEnded(b, registered, runs) })
		}
	}
}

func benchEnded(b *testing.B, registered bool, runs int) {
	m := newMemory(b, programs{deciders: map[string]polity.Decider{"quick": endsAtOnce{}}})
	m.core.spool, m.core.decided = &simSpool{}, nil
	if registered {
		m.core.register = newRegister(scratch(b.TempDir()))
		defer func() {
			if err := m.core.register.close(); err != nil {
				b.Error(err)
			}
		}()
	}
	ask := func(i int) {
		q := &request{id: rootID(i), agent: "quick", input: json.RawMessage(`{"n":1}`), bounds: polity.DefaultBounds()}
		m.core.open(q, func(err error) {
			if err != nil {
				b.Fatal(err)
			}
		}, nil)
	}
	before := inUse()
	for i := range runs {
		ask(i)
		m.core.settle()
		for len(m.appends) > 0 { // and nothing is kept of the log
			a := m.appends[0]
			m.appends = m.appends[1:]
			m.core.appended(a.token, a.pack.seq)
			m.core.settle()
		}
		m.core.retire()
	}
	after := inUse()
	b.ResetTimer()
	for i := range b.N {
		ask(i * 7919 % runs)
	}
	b.ReportMetric(float64(after-min(before, after))/float64(runs), "heap-B/run")
	b.StopTimer()
	began := time.Now()
	k, _ := m.core.newCapture(1)
	for !k.done() {
		if _, err := k.more(nil, captureStep); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(runs), "checkpoint-ns/run")
	if registered {
		b.ReportMetric(float64(m.core.register.end())/float64(runs), "disk-B/run")
	}
	runtime.KeepAlive(m)
}
