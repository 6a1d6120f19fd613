package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

// powerEvery is the bytes of log between two checkpoints: so few that one is always being written.
const powerEvery = 4 << 10

// powerRuns is what the runs of the node wait for: the last token of their ID says which.
var powerRuns = map[string]polity.Command{
	"event":  polity.Await("w", polity.Awaited{Topic: "power.all"}, 0),
	"match":  polity.Await("w", polity.Awaited{Topic: "power.*", Match: json.RawMessage(`{"last":true}`)}, 0),
	"signal": polity.Await("w", polity.Awaited{Signal: "on"}, 0),
	"time":   polity.Sleep("w", time.Hour),
}

// waitsFor is a decider that waits for what its input names.
type waitsFor struct{}

func (waitsFor) Decide(state any, e polity.Event) (any, []polity.Command) {
	var what string
	switch {
	case e.Fault != nil:
		return 1, []polity.Command{polity.Fail(e.Fault)}
	case state != nil:
		return 1, []polity.Command{polity.Finish(e.Data)}
	}
	if err := json.Unmarshal(e.Data, &what); err != nil {
		return 1, []polity.Command{polity.Fail(fault.Of(fault.Invalid.New("%w", err)))}
	}
	return 1, []polity.Command{powerRuns[what]}
}

func waitingNode(t *testing.T, cfg engine.Config) *engine.Engine {
	t.Helper()
	cfg.Agents = []*agent.Agent{{
		Name: "waits", Version: "1", Skills: []polity.Skill{{Name: "wait", Arrival: polity.ArrivalQueue}}, Decider: waitsFor{},
		Signals: map[string]json.RawMessage{"on": nil, "early": nil},
	}}
	cfg.CheckpointEvery = powerEvery
	e, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestPowerCutOfCheckpoints cuts the power under a node that writes one checkpoint after the other while runs wait for events, signals, times and each other. What a node
// knows that starts with what is left of checkpoint and spool is what one knows that reads the log, and what was acknowledged is there.
func TestPowerCutOfCheckpoints(t *testing.T) {
	if *powerDir == "" {
		t.Skip("needs -power.dir and root, to mount file systems: .ci/run gives both")
	}
	rng := rand.New(rand.NewPCG(*powerSeed, 6))
	with, runs := 0, 0
	for i := range *powerCuts {
		acked, lost := powerCut(t, engine.SyncDisk, time.Duration(500+rng.IntN(2500))*time.Millisecond, func(t *testing.T, state string, a acknowledged) []polity.RunID {
			used, lost := compareStarts(t, state, a)
			if used {
				with++
			}
			return lost
		}, powerWaits+"=1")
		runs += len(acked.opened)
		if len(lost) > 0 {
			t.Fatalf("cut %d (seed %d): %d of %d acknowledged runs are lost, as %s", i+1, *powerSeed, len(lost), len(acked.opened), lost[0])
		}
	}
	t.Logf("%d power cuts, %d runs; %d starts with a checkpoint were as those with the log", *powerCuts, runs, with)
	if with == 0 {
		t.Error("no start used a checkpoint: this test shows nothing")
	}
}

// waitForPower opens runs that wait, tells some of them something, and says what was acknowledged, until its power is cut.
func waitForPower(t *testing.T, state string) {
	e := waitingNode(t, engine.Config{State: state})
	var say sync.Mutex
	var wait sync.WaitGroup
	for w := range powerWriters {
		wait.Go(func() {
			for i := 0; ; i++ {
				what := []string{"event", "match", "signal", "time"}[(w+i)%4]
				q := engine.Request{Agent: "waits", ID: polity.NewRunID(0, fmt.Appendf(nil, "%d %d", w, i)), Input: json.RawMessage(fmt.Sprintf("%q", what))}
				q.Bounds.Wall = polity.Duration(30 * 24 * time.Hour)
				if what == "time" && i%8 < 4 {
					q.Conversation = fmt.Sprint("talk ", w)
				}
				id, err := e.Start(t.Context(), q)
				if err != nil {
					return
				}
				tell(&say, "opened %s\n", id)
				said := json.RawMessage(fmt.Sprintf(`{"i":%d}`, i))
				switch {
				case what == "signal" && i%2 == 0:
					err = e.Signal(t.Context(), id, "on", "1", 0, said)
				case what == "signal":
					err = e.Signal(t.Context(), id, "early", "1", 0, said)
				case what == "event" && i%16 == 0:
					err = e.Publish(t.Context(), "power.all", fmt.Sprintf("%d %d", w, i), 0, said)
				case what == "match" && i%16 == 1:
					err = e.Pause(t.Context(), id, "the test wants it")
				}
				if err != nil {
					return
				}
			}
		})
	}
	wait.Wait()
}

// compareStarts opens a node on what is left, and one that reads the log on a copy, and says whether the first used a checkpoint. It returns the runs that were acknowledged and are not
// there.
func compareStarts(t *testing.T, state string, a acknowledged) (used bool, lost []polity.RunID) {
	t.Helper()
	twin := filepath.Join(t.TempDir(), "state")
	shell(t, "cp", "-r", state, twin)
	points, err := filepath.Glob(filepath.Join(state, "dormant", "checkpoint-*"))
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	part := waitingNode(t, engine.Config{State: state, Log: slog.New(slog.NewTextHandler(&said, nil))})
	defer stop(t, part)
	whole := waitingNode(t, engine.Config{State: twin, Whole: true})
	defer stop(t, whole)
	got, want := summaries(t, part), summaries(t, whole)
	for id, s := range want {
		if got[id] != s {
			t.Fatalf("with the checkpoint %s is\n%s\nwith the log\n%s\n%s", id, got[id], s, said.String())
		}
	}
	if len(got) != len(want) {
		t.Fatalf("with the checkpoint there are %d runs, with the log %d", len(got), len(want))
	}
	for id := range a.opened {
		if _, ok := got[id]; !ok {
			lost = append(lost, id)
		}
	}
	if len(points) > 0 && strings.Count(said.String(), "a checkpoint is not used") < len(points) {
		used = true
	}
	reach(t, part, want)
	return used, lost
}

// summaries tells of all runs as a text each.
func summaries(t *testing.T, e *engine.Engine) map[polity.RunID]string {
	t.Helper()
	list, err := e.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[polity.RunID]string{}
	for _, s := range list {
		all[s.ID] = fmt.Sprintf("%+v", s)
	}
	return all
}

// reach has an event reach every run that waits for one.
func reach(t *testing.T, e *engine.Engine, runs map[polity.RunID]string) {
	t.Helper()
	const last = `{"last":true}`
	if err := e.Publish(t.Context(), "power.all", "the last one", 0, json.RawMessage(last)); err != nil {
		t.Fatal(err)
	}
	for id, text := range runs {
		if !strings.Contains(text, "For:topic ") || !strings.Contains(text, "Paused:0001") {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		o, err := e.Wait(ctx, id)
		cancel()
		if err != nil || string(o.Output) != last {
			t.Fatalf("%s, which waited for an event, got %s: %v\nit was %s", id, o.Output, errors.Join(err), text)
		}
	}
}
