package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/internal/view"
)

// ViewConfig says what is measured of the view.
type ViewConfig struct {
	Dir      string // folder on the disk to measure; "" for the temporary folder
	DSN      string // of a PostgreSQL database; "" for a file
	Runs     int
	Rounds   int // how often each question is asked
	Progress func(text string)
}

// ViewResult is how a view of many runs does.
type ViewResult struct {
	Runs      int           `json:"runs"`
	Facts     int           `json:"facts"` // that the log tells of them
	Took      time.Duration `json:"took"`  // to make the view
	Rate      float64       `json:"facts_per_second"`
	Bytes     int64         `json:"bytes"`
	PerRun    float64       `json:"bytes_per_run"`
	Questions []Answered    `json:"questions"`
}

// Answered is how long answers to one question took, in milliseconds.
type Answered struct {
	Question string  `json:"question"`
	Rows     int     `json:"rows"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
}

// View makes a view of runs that were never done, as a log would tell of them, and asks it questions.
func View(ctx context.Context, cfg ViewConfig) (out ViewResult, err error) {
	dir, err := os.MkdirTemp(cfg.Dir, "polity-bench-")
	if err != nil {
		return out, fault.Denied.New("bench: %w", err)
	}
	defer func() { err = first(err, os.RemoveAll(dir)) }()
	log := &tale{runs: cfg.Runs, began: time.Now().Add(-30 * 24 * time.Hour)}
	v, err := view.Open(view.Config{Dir: filepath.Join(dir, "view"), DSN: cfg.DSN, Log: log})
	if err != nil {
		return out, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); v.Run(running) }()
	defer func() {
		stop()
		<-ended
		err = first(err, v.Close())
	}()
	began := time.Now()
	for done := false; !done; {
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		done = v.WaitFor(wait, log.Tip()) == nil
		cancel()
		if ctx.Err() != nil {
			return out, fault.Cancelled.New("bench: %w", ctx.Err())
		}
		if s := v.State(); !done && s.Problem != "" {
			return out, fault.Unavailable.New("bench: the view does not go on: %s", s.Problem)
		} else if !done {
			cfg.Progress(fmt.Sprintf("view: %d of %d runs", int(s.Position)*taleRuns, cfg.Runs))
		}
	}
	out = ViewResult{Runs: cfg.Runs, Facts: cfg.Runs * taleFacts, Took: time.Since(began), Bytes: v.State().Bytes}
	out.Rate = float64(out.Facts) / out.Took.Seconds()
	out.PerRun = float64(out.Bytes) / float64(out.Runs)
	for _, q := range questions {
		cfg.Progress("view: " + q.name)
		a, err := answered(ctx, v, q.name, q.lookup, cfg.Rounds)
		if err != nil {
			return out, err
		}
		out.Questions = append(out.Questions, a)
	}
	return out, nil
}

// questions are what people ask of their runs. The first page, and those after it, count alike.
var questions = []struct {
	name   string
	lookup polity.Lookup
}{
	{"newest", polity.Lookup{Of: polity.LookupRuns}},
	{"status:failed", polity.Lookup{Of: polity.LookupRuns, Filter: "status:failed"}},
	{"status:failed,exhausted", polity.Lookup{Of: polity.LookupRuns, Filter: "status:failed,exhausted"}},
	{"-status:completed", polity.Lookup{Of: polity.LookupRuns, Filter: "-status:completed"}},
	{"agent:desk-7", polity.Lookup{Of: polity.LookupRuns, Filter: "agent:desk-7"}},
	{"agent:desk-7 status:failed started>-1d", polity.Lookup{Of: polity.LookupRuns, Filter: "agent:desk-7 status:failed started>-1d"}},
	{"agent:desk-7 status:cancelled cost>0.19", polity.Lookup{Of: polity.LookupRuns, Filter: "agent:desk-7 status:cancelled cost>0.19"}},
	{"cost>0.5 (none)", polity.Lookup{Of: polity.LookupRuns, Filter: "cost>0.5"}},
	{"cost>0.19 tokens>=1000", polity.Lookup{Of: polity.LookupRuns, Filter: "cost>0.19 tokens>=1000"}},
	{"team:desk-7 status:failed", polity.Lookup{Of: polity.LookupRuns, Filter: "team:desk-7 status:failed"}},
	{"started<-15d (from the middle)", polity.Lookup{Of: polity.LookupRuns, Filter: "started<-15d"}},
	{"paused:yes (none)", polity.Lookup{Of: polity.LookupRuns, Filter: "paused:yes"}},
	{"conversation:ada (none)", polity.Lookup{Of: polity.LookupRuns, Filter: "conversation:ada"}},
	{"steps open:yes (none)", polity.Lookup{Of: polity.LookupSteps, Filter: "open:yes"}},
	{"started>-1h", polity.Lookup{Of: polity.LookupRuns, Filter: "started>-1h"}},
	{"dearest", polity.Lookup{Of: polity.LookupRuns, Sort: "-cost"}},
	{"dearest of agent:desk-7", polity.Lookup{Of: polity.LookupRuns, Filter: "agent:desk-7", Sort: "-cost"}},
	{"slowest status:failed", polity.Lookup{Of: polity.LookupRuns, Filter: "status:failed", Sort: "-took"}},
	{"most tokens started>-1d", polity.Lookup{Of: polity.LookupRuns, Filter: "started>-1d", Sort: "-tokens"}},
	{"word in 1 of 10,000 runs", polity.Lookup{Of: polity.LookupRuns, Filter: "zebra"}},
	{"word in 1 of 100 runs, status:failed", polity.Lookup{Of: polity.LookupRuns, Filter: "refund status:failed"}},
	{"tool:tool-3 status:failed", polity.Lookup{Of: polity.LookupRuns, Filter: "tool:tool-3 status:failed"}},
	{"search, word in 1 of 100 runs", polity.Lookup{Of: polity.LookupTexts, Filter: "refund"}},
	{"steps status:failed", polity.Lookup{Of: polity.LookupSteps, Filter: "status:failed"}},
	{"costs by model", polity.Lookup{Of: polity.LookupCosts, By: "model"}},
	{"costs by day", polity.Lookup{Of: polity.LookupCosts, By: "day"}},
	{"agents", polity.Lookup{Of: polity.LookupAgents}},
}

// answered asks a question again and again, each time for the page after the one before, and from the beginning where there is none.
func answered(ctx context.Context, v *view.View, name string, q polity.Lookup, rounds int) (Answered, error) {
	out := Answered{Question: name}
	var took []float64
	for range rounds {
		began := time.Now()
		found, err := v.Lookup(ctx, q, view.Live{})
		if err != nil {
			return out, fault.Of(err).Kind.New("bench: %s: %w", name, err)
		}
		took = append(took, float64(time.Since(began).Microseconds())/1e3)
		out.Rows = max(out.Rows, len(found.Runs)+len(found.Steps)+len(found.Texts)+len(found.Costs)+len(found.Agents))
		q.After = found.Next
	}
	slices.Sort(took)
	out.P50, out.P95 = took[len(took)/2], took[len(took)*95/100]
	return out, nil
}

const (
	taleRuns  = 50 // in a commit
	taleSteps = 3
	taleFacts = taleSteps + 2 // of a run
)

// tale is a log of runs that were never done: opened, three steps, ended. The same number gives the same run.
type tale struct {
	runs  int
	began time.Time
}

func (t *tale) Tip() uint64 { return uint64((t.runs + taleRuns - 1) / taleRuns) }

func (t *tale) Feed(ctx context.Context, from uint64, each func(*run.Commit) error) error {
	for seq := from; seq <= t.Tip(); seq++ {
		c, err := t.Commit(ctx, seq)
		if err == nil {
			err = each(c)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	<-ctx.Done()
	return fault.Cancelled.New("bench: %w", ctx.Err())
}

func (t *tale) Commit(_ context.Context, seq uint64) (*run.Commit, error) {
	c := &run.Commit{Seq: seq, Head: fmt.Sprint(seq)}
	for i := int(seq-1) * taleRuns; i < int(seq)*taleRuns && i < t.runs; i++ {
		c.Facts = append(c.Facts, t.facts(i, seq)...)
		c.At = c.Facts[len(c.Facts)-1].At
	}
	return c, nil
}

var talePlot = []string{"failed", "failed", "exhausted", "cancelled"}

func (t *tale) facts(i int, seq uint64) []run.Fact {
	n := mix(i)
	id := polity.NewRunID(0, fmt.Appendf(nil, "tale %d", i))
	at := t.began.Add(time.Duration(float64(30*24*time.Hour) * float64(i) / float64(t.runs)))
	fact := func(kind string, after int) run.Fact {
		f := run.Fact{}
		f.Kind, f.Run, f.Commit, f.At = kind, id, seq, at.Add(time.Duration(after*int(n%997))*time.Millisecond)
		return f
	}
	opened := fact("opened", 0)
	opened.Agent, opened.Skill = fmt.Sprintf("desk-%d", min(n%20, n>>8%20)), "answer"
	all := []run.Fact{opened}
	var sum polity.Usage
	for s := range taleSteps {
		f := fact("result", s+1)
		f.Name, f.Attempt = fmt.Sprintf("step.%d", s), 1
		f.Usage = polity.Usage{Turns: 1}
		f.Effect = &polity.EffectNotice{Class: polity.EffectNone, Verb: "call", To: fmt.Sprintf("tool-%d", n>>16%12), Since: f.At.Add(-time.Duration(n%97) * time.Millisecond)}
		if s != 1 {
			f.Effect.Verb, f.Effect.To = "think", fmt.Sprintf("model-%d", n>>20%4)
			f.Usage.InputTokens, f.Usage.OutputTokens, f.Usage.MicroUSD = int64(n>>4%5000), int64(n>>12%700), int64(n>>6%100_000)
		} else if n%50 == 0 {
			f.Fault = fault.Of(fault.Timeout.New("no answer within 30s"))
		}
		sum = sum.Plus(f.Usage)
		all = append(all, f)
	}
	end := fact("finished", taleSteps+2)
	end.Usage, end.Status = sum, "completed"
	if n>>9%10 == 0 {
		end.Status = talePlot[n>>24%4]
		end.Fault = fault.Of(fault.Failed.New("it could not be done"))
	}
	return append(all, end)
}

// mix spreads numbers.
func mix(i int) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, i)
	return h.Sum64()
}

// Data is a text of some ten words.
func (t *tale) Data(f *run.Fact) (json.RawMessage, error) {
	h := fnv.New64a()
	h.Write([]byte(f.Run))
	h.Write([]byte(f.Name))
	h.Write([]byte(f.Kind))
	n := h.Sum64()
	text := fmt.Appendf(nil, `{"text":"please look at word%d and word%d of customer %d`, n%5000, n>>13%500, n>>20%100_000)
	if n>>30%500 == 0 {
		text = append(text, " about a refund"...)
	}
	if n>>40%50_000 == 0 {
		text = append(text, " for a zebra"...)
	}
	return append(text, `"}`...), nil
}

// Beside is what following the log costs a node under load.
type Beside struct {
	Sync    engine.Sync `json:"sync"`
	At      int         `json:"at_once"`
	Without float64     `json:"runs_per_second_without"`
	With    float64     `json:"runs_per_second_with"`
	Ratio   float64     `json:"ratio"` // median of the rounds'
	// Follow is how many facts the view took in a second, during the load and until it had caught up; Made how many the kernel made meanwhile.
	Made   float64 `json:"facts_per_second_made"`
	Follow float64 `json:"facts_per_second_followed"`
	Lag    float64 `json:"seconds_to_catch_up"` // after a turn, median
}

const runFacts = stepsPerRun + 2 // what a run of five steps makes

// ViewBeside measures five-step runs on two nodes in turns, one of which follows its log with a view.
func ViewBeside(ctx context.Context, cfg Config, sync engine.Sync, at int) (out Beside, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return out, err
	}
	defer func() { err = first(err, remove()) }()
	var nodes [2]*engineSystem
	for i, name := range []string{"without", "with"} {
		if nodes[i], err = openNode(ctx, filepath.Join(dir, name), sync, i == 1); err != nil {
			return out, err
		}
		defer func() { err = first(err, nodes[i].Close()) }()
	}
	var without, with, ratio, made, follow, lag []float64
	for range cfg.Rounds {
		plain, err := measure(ctx, nodes[0], at, stepsPerRun, cfg.Window)
		if err != nil {
			return out, err
		}
		viewed, err := measure(ctx, nodes[1], at, stepsPerRun, cfg.Window)
		if err != nil {
			return out, err
		}
		began := time.Now()
		for behind := true; behind; { // else it would still be at it in the next turn of the other
			found, err := nodes[1].e.Lookup(ctx, polity.Lookup{Of: polity.LookupView, Wait: polity.LookupWaitMax})
			if err != nil {
				return out, err
			}
			behind = found.View.Behind > 0
		}
		late := time.Since(began).Seconds()
		facts := viewed.rate * cfg.Window.Seconds() * runFacts
		without, with, ratio = append(without, plain.rate), append(with, viewed.rate), append(ratio, viewed.rate/plain.rate)
		made, follow, lag = append(made, viewed.rate*runFacts), append(follow, facts/(cfg.Window.Seconds()+late)), append(lag, late)
	}
	return Beside{sync, at, median(without), median(with), median(ratio), median(made), median(follow), median(lag)}, nil
}
