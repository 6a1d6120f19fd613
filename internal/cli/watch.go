package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/environ"
	"polity.run/fault"
	"polity.run/manifest"
)

const (
	atOnceDefault = 4
	atOnceMax     = 1000
)

const watchHelp = `Watch what happens outside, and ask an organization about it.

What is watched stands in the manifest, under "on": new and changed files of a folder, times,
events on topics, lines of standard input. --folder, --every, --cron, --topic or --lines adds one more.

Each thing that is seen opens one run, whose ID derives from what was seen: a file by its name
and content, a time by itself. Seen again, by this process or by the next one, it is the same
run, so nothing is done twice and nothing is missed, whenever this process is killed. (Lines that
it had not read, or had just read, go with it.)

A line is printed for each run that is opened, resumed or has ended; other terminals list and
follow the runs meanwhile. At most --at-once of them are at work at a time, those that only wait
not counted; what is seen then waits.

Ctrl-C and SIGTERM stop watching and exit with 0. Runs that have not ended are left as they are:
the next "polity watch" of the same manifest goes on with them, and so does "polity runs resume".

--once does what there is to do now, waits for its runs and exits: with 5 if one of them failed.`

const watchExample = `  polity watch desk.yaml
  polity watch desk.yaml --folder inbox --files '*.eml' --agent clerk
  polity watch report.yaml --every 24h --catch-up one --input '{"question": "What is new?"}'
  polity watch report.yaml --cron '0 9 * * mon-fri' --zone Europe/Berlin --catch-up all
  polity watch shipping.yaml --topic 'orders.*'
  tail -f app.log | polity watch triage.yaml --lines -o json
  polity watch desk.yaml --once --timeout 10m`

// watchFlags are what the command line of watch says.
type watchFlags struct {
	folder  environ.Folder
	every   time.Duration
	cron    string
	zone    string
	catchUp choice
	topic   string
	lines   bool
	on      manifest.On // who is asked
	input   string
	bounds  string
	atOnce  int
	once    bool
	timeout time.Duration
}

func (a *app) newWatch() *cobra.Command {
	f := watchFlags{catchUp: choice{allowed: environ.CatchUps()}}
	cmd := &cobra.Command{
		Use: "watch MANIFEST", Short: "Watch folders, times, topics and lines, and ask an organization about each", Long: watchHelp,
		Example: watchExample, Args: args(cobra.ExactArgs(1)),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.folder.Path, "folder", "", "folder to watch")
	flags.StringVar(&f.folder.Files, "files", "", "which files of it, as in '*.eml' (default all)")
	flags.BoolVar(&f.folder.Deleted, "deleted", false, "files of it that are gone, too")
	flags.DurationVar(&f.every, "every", 0, "time between two requests, as in 1h")
	flags.StringVar(&f.cron, "cron", "", "calendar of five fields, as in '0 9 * * 1-5'")
	flags.StringVar(&f.zone, "zone", "", "time zone of --cron, as in Europe/Berlin (default UTC)")
	flags.Var(&f.catchUp, "catch-up", "what becomes of the times at which nobody watched (default none)")
	flags.StringVar(&f.topic, "topic", "", "topic whose events are watched, as in 'orders.*'")
	flags.BoolVar(&f.lines, "lines", false, "each line of standard input")
	flags.StringVar(&f.on.Agent, "agent", "", "agent that is asked about what these flags watch (default the manifest's organization)")
	flags.StringVar(&f.on.Skill, "skill", "", "skill that is asked of it (default its only one)")
	flags.StringVar(&f.on.In, "in", "", "folder that its runs may read (default the watched one)")
	flags.StringVar(&f.input, "input", "", "object that is asked with --every and --cron, and added to what is seen otherwise; or @FILE")
	flags.StringVar(&f.bounds, "bounds", "", "limits of each run, as in turns=100,usd=0.50,wall=5m")
	flags.IntVar(&f.atOnce, "at-once", atOnceDefault, "most runs at work at a time")
	flags.BoolVar(&f.once, "once", false, "do what there is to do now, and exit")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop after this time with exit code 7 (default no limit)")
	output := outputFlag(cmd, "text; json is a line for each event", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w, err := a.watcher(args[0], &f)
		if err != nil {
			return err
		}
		w.asJSON = output.value == "json"
		return w.toEnd(cmd.Context(), f.timeout)
	}
	return cmd
}

// watcher prepares what the command line asks for.
func (a *app) watcher(path string, f *watchFlags) (*watcher, error) {
	if f.atOnce < 1 || f.atOnce > atOnceMax {
		return nil, usagef("--at-once: want 1 to %d", atOnceMax)
	}
	if f.timeout < 0 {
		return nil, usagef("--timeout is negative")
	}
	bounds, err := parseBounds(f.bounds)
	if err != nil {
		return nil, err
	}
	m, err := a.load(path)
	if err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, fault.Unavailable.New("watch: %w", err)
	}
	dir := filepath.Dir(m.Path)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(here, dir)
	}
	w := newWatcher(a, m, f.atOnce)
	w.bounds, w.once = bounds, f.once
	for _, on := range m.On {
		if err := w.add(on, dir); err != nil {
			return nil, err
		}
	}
	switch on, err := a.flagged(f, m); {
	case err != nil:
		return nil, err
	case on != nil:
		if err := w.add(*on, here); err != nil {
			return nil, err
		}
	}
	if len(w.origins) == 0 && len(m.Release.Hooks) > 0 {
		return nil, usagef("there is nothing to watch: webhooks come to a server: polity up, and polity apply %s", m.Path)
	}
	if len(w.origins) == 0 {
		return nil, usagef("there is nothing to watch: %s has no \"on:\", and there is none of --folder, --every, --cron, --topic and --lines", m.Path)
	}
	return w, nil
}

// newWatcher watches nothing yet.
func newWatcher(a *app, m *manifest.Manifest, atOnce int) *watcher {
	return &watcher{app: a, manifest: m, slots: make(chan struct{}, atOnce), following: map[polity.RunID]bool{}}
}

// flagged is what the flags add to what the manifest watches, or nil.
func (a *app) flagged(f *watchFlags, m *manifest.Manifest) (*manifest.On, error) {
	on := f.on
	kinds := 0
	if f.folder.Path != "" {
		kinds++
		on.Folder = &f.folder
	}
	if f.every != 0 {
		kinds++
		on.Schedule = &environ.Schedule{Every: f.every, CatchUp: environ.CatchUp(f.catchUp.value)}
	}
	if f.cron != "" {
		kinds++
		on.Schedule = &environ.Schedule{Cron: f.cron, Zone: f.zone, CatchUp: environ.CatchUp(f.catchUp.value)}
	}
	if f.topic != "" {
		kinds++
		if err := polity.CheckPattern(f.topic); err != nil {
			return nil, usagef("--topic: %s", err)
		}
		on.Topic = f.topic
	}
	if f.lines {
		kinds++
		on.Lines = true
	}
	switch {
	case kinds > 1:
		return nil, usagef("give one of --folder, --every, --cron, --topic and --lines; more of them belong into the manifest, under \"on:\"")
	case on.Folder == nil && (f.folder.Files != "" || f.folder.Deleted):
		return nil, usagef("--files and --deleted go with --folder")
	case on.Schedule == nil && f.catchUp.value != "":
		return nil, usagef("--catch-up goes with --every and --cron")
	case f.cron == "" && f.zone != "":
		return nil, usagef("--zone goes with --cron")
	case kinds == 0 && on.Agent+on.Skill+on.In+f.input != "":
		return nil, usagef("--agent, --skill, --in and --input go with --folder, --every, --cron, --topic or --lines; the manifest says under \"on:\" who else is asked")
	case kinds == 0:
		return nil, nil
	}
	on.Agent = cmp.Or(on.Agent, m.Release.Main)
	if err := checkAsked(&m.Release, on.Agent, on.Skill); err != nil || f.input == "" {
		return &on, err
	}
	data, err := a.inputText(f.input)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return nil, fault.Invalid.New("--input is not a JSON object, as in {\"question\": \"What is new?\"}")
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, data); err != nil {
		return nil, fault.Invalid.New("--input: %w", err)
	}
	on.Input = plain.Bytes()
	return &on, nil
}

// origin is a source of requests.
type origin struct {
	manifest.On
	name   string // for people
	folder string // that its runs may read; "" for none
	source environ.Source
}

// add adds what is watched. Its folders are relative to the absolute path dir.
func (w *watcher) add(on manifest.On, dir string) error {
	under := on.Under(dir)
	o := &origin{On: under}
	note := func(text string) { w.screen.say("note: %s: %s", clean(o.name), clean(text)) }
	var err error
	switch {
	case on.Folder != nil:
		o.name = "folder " + on.Folder.Path
		under.Folder.Note = note
		o.source, err = under.Folder.Open()
		o.folder = under.Folder.Path
	case on.Schedule != nil:
		plan := *on.Schedule
		plan.Since = func(now time.Time) (time.Time, error) { return w.box.since(w.manifest.Release.Name, o.Key(), now) }
		o.source, err = plan.Open()
	case on.Topic != "":
		t := w.topic(on)
		t.Load = func() (uint64, bool, error) { return w.box.position(w.manifest.Release.Name, o.Key()) }
		t.Keep = func(at uint64) error { return w.box.keep(w.manifest.Release.Name, o.Key(), at) }
		o.source, err = t.Open()
	default:
		for _, other := range w.origins {
			if other.Lines {
				return usagef("the lines of standard input are watched already, by the manifest")
			}
		}
		o.source = environ.Lines{From: w.stdin, Note: note}.Open()
	}
	if err != nil {
		return err
	}
	o.name = cmp.Or(o.name, o.source.Name())
	if folder := cmp.Or(under.In, o.folder); folder != "" {
		if o.folder, err = realFolder(folder); err != nil {
			return err
		}
	}
	w.origins = append(w.origins, o)
	return nil
}

// topic is a topic that is watched, without where its position is kept.
func (w *watcher) topic(on manifest.On) environ.Topic {
	return environ.Topic{Pattern: on.Topic, Want: on.Wants(), Key: on.About, Batch: on.Batch, Within: on.Within, Read: w.published}
}

// request is the request about what was seen.
func (w *watcher) request(o *origin, seen environ.Observation) (client.Request, error) {
	input, err := o.Ask(seen)
	return client.Request{
		ID: o.RunID(w.manifest.Release.Name, seen), Release: &w.manifest.Release, Files: w.manifest.Blobs, Agent: o.Agent, Skill: o.Skill,
		Input: input, Folder: o.folder, Bounds: w.bounds, Conversation: o.Conversation(seen),
	}, err
}
