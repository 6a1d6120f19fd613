package cli

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/environ"
	"polity.run/fault"
	"polity.run/manifest"
)

const replayTopicHelp = `Ask an organization about events that were published earlier, from a position or a time up to now.

It is what "polity watch" does for the manifest's entry of that topic under "on:", with its agent, condition, key and batches, or for
--topic. A run's ID derives from the event, so an event that was handled already is found, and not handled again: what was missed is made
up for. --again NAME handles every event once more, in runs of their own; the same NAME again finds those. Batches begin where the
replay begins, so those of another replay may be cut otherwise, and are new then.`

// replayFlags are what the command line of a replay says.
type replayFlags struct {
	watchFlags
	fromSeq  uint64
	fromTime string
	since    time.Time
	org      string
	again    string
	to       uint64 // the last position that is replayed
}

func (a *app) newTopicsReplay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use: "replay TOPIC --to-org MANIFEST", Short: "Ask an organization about events that were published earlier", Long: replayTopicHelp,
		Example: "  polity topics replay 'orders.*' --from-time 24h --to-org shipping.yaml\n  polity topics replay orders.placed --from-seq 1 --to-org shipping.yaml --again after-the-fix",
		Args:    args(cobra.ExactArgs(1)),
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.fromSeq, "from-seq", 0, "begin with this position")
	flags.StringVar(&f.fromTime, "from-time", "", "begin with this time, or so long ago, as in 1h")
	flags.StringVar(&f.org, "to-org", "", "manifest of the organization")
	flags.StringVar(&f.again, "again", "", "handle every event once more, under this name")
	flags.StringVar(&f.on.Agent, "agent", "", "agent that is asked, where the manifest says nothing of the topic (default the organization)")
	flags.StringVar(&f.on.Skill, "skill", "", "skill that is asked of it (default its only one)")
	flags.StringVar(&f.bounds, "bounds", "", "limits of each run, as in turns=100,usd=0.50,wall=5m")
	flags.IntVar(&f.atOnce, "at-once", atOnceDefault, "most runs at a time")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop after this time with exit code 7 (default no limit)")
	output := outputFlag(cmd, "text; json is a line for each event", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w, err := a.replayer(args[0], &f)
		if err != nil {
			return err
		}
		w.asJSON = output.value == "json"
		return w.toEnd(cmd.Context(), f.timeout)
	}
	return cmd
}

// replayer is a watcher of the events that were published earlier.
func (a *app) replayer(topic string, f *replayFlags) (*watcher, error) {
	var err error
	if f.since, err = sinceTime(f.fromTime, time.Now()); err != nil {
		return nil, err
	}
	switch {
	case f.org == "":
		return nil, usagef("say with --to-org which manifest is asked")
	case (f.fromSeq > 0) == (f.fromTime != ""):
		return nil, usagef("say with --from-seq or --from-time where to begin")
	}
	if f.again != "" {
		if err := polity.CheckReader(f.again); err != nil {
			return nil, usagef("--again: %s", err)
		}
	}
	f.topic, f.once = topic, true
	w, err := a.watcher(f.org, &f.watchFlags)
	if err != nil {
		return nil, err
	}
	on := &w.origins[len(w.origins)-1].On // of the flags
	for _, o := range w.manifest.On {
		if o.Topic == topic && f.on.Agent == "" {
			on = &o
		}
	}
	w.origins = nil
	dir, err := os.Getwd()
	if err != nil {
		return nil, fault.Unavailable.New("replay: %w", err)
	}
	if filepath.IsAbs(w.manifest.Path) {
		dir = filepath.Dir(w.manifest.Path)
	} else {
		dir = filepath.Join(dir, filepath.Dir(w.manifest.Path))
	}
	if err := w.add(*on, dir); err != nil {
		return nil, err
	}
	w.origins[0].source, err = w.replay(*on, f)
	return w, err
}

// replay is a source of the events that were published earlier.
func (w *watcher) replay(on manifest.On, f *replayFlags) (environ.Source, error) {
	t := w.topic(on)
	want := t.Want
	t.Want = func(e environ.Published) bool { return e.Seq <= f.to && (want == nil || want(e)) }
	t.Load = func() (uint64, bool, error) {
		if f.to > 0 {
			return 0, false, fault.Internal.New("replay: it began twice")
		}
		return w.replayFrom(on.Topic, f)
	}
	t.Keep = func(uint64) error { return nil }
	source, err := t.Open()
	if err != nil || f.again == "" {
		return source, err
	}
	return again{source, "replay " + f.again + ": "}, nil
}

// replayFrom is the position before the first event that is replayed. It notes the last one.
func (w *watcher) replayFrom(topic string, f *replayFlags) (at uint64, known bool, err error) {
	ctx := context.Background() // each look has its own limit
	tip, err := w.topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: topic, After: math.MaxInt64}})
	if err != nil {
		return 0, false, err
	}
	f.to = tip.Next
	if f.fromSeq > 0 {
		return f.fromSeq - 1, true, nil
	}
	first, err := w.topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: topic, Since: f.since, Most: 1}})
	if err != nil || len(first.Events) == 0 {
		return tip.Next, true, err
	}
	return first.Events[0].Seq - 1, true, nil
}

// again is a source whose observations are others than they were.
type again struct {
	environ.Source
	prefix string
}

func (a again) Once(ctx context.Context, emit environ.Emit) error {
	return a.Source.Once(ctx, func(ctx context.Context, o environ.Observation) error {
		o.ID = a.prefix + o.ID
		return emit(ctx, o)
	})
}
