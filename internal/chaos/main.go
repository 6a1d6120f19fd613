// Chaos runs the real binary, asks much of it, and does to it what happens to processes and machines: it is killed, stopped, loses its power
// and its disk's room, while the world outside answers late, twice or not at all. Then it compares what was acknowledged, what a destination in a
// process of its own has counted, and what the node tells.
//
// It exists because the promises of ARCHITECTURE.md are about processes, not about functions. It knows the node only by its binary, its
// door and its commands. The life of a round:
//
//	state folder, destination, node -> ask and disturb -> let everything end -> leave, begin again, compare
//
// Everything that is asked and injected is drawn from the seed; only when it happens is not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	roundMax        = 45 * time.Second // of asking, in one round
	violationsShown = 10               // in full; -json has more
)

// config is what the command line says.
type config struct {
	seed   uint64
	kinds  []string // of faults
	polity string   // the binary
	self   string
	sync   string // --sync of the node
	keep   bool
}

// ownDisk says whether a fault needs a file system of its own.
func (c config) ownDisk() bool {
	return slices.ContainsFunc(diskFaults, func(k string) bool { return slices.Contains(c.kinds, k) })
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "destination" {
		exit(serveDestination(os.Args[2]))
	}
	if len(os.Args) == 4 && os.Args[1] == "effect" {
		exit(doEffect(os.Args[2], os.Args[3]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	broken, err := run(ctx, os.Args[1:])
	if err == nil && broken {
		os.Exit(1)
	}
	exit(err)
}

func exit(err error) {
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

const usage = `Usage: go run ./internal/chaos [flags]

Disturbs a node for a while and says which of its promises were not kept. The exit code is 1 if there is one, and 2 if nothing could be said.

  go run ./internal/chaos -for 15m
  go run ./internal/chaos -seed 7 -round 3        # again what a violation was found in
  go run ./internal/chaos -faults kill,between    # only these

`

// run does what the command line says, and reports whether a promise was broken.
func run(ctx context.Context, args []string) (bool, error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage); flags.PrintDefaults() }
	seed := flags.Uint64("seed", 0, "what all is drawn from (default: a new one, which is printed)")
	length := flags.Duration("for", 3*time.Minute, "how long, roughly; it ends with whole rounds")
	round := flags.Int("round", -1, "only this round (default all)")
	kinds := flags.String("faults", strings.Join(everyFault, ","), "which faults")
	polity := flags.String("polity", "", "the binary (default: it is built)")
	sync := flags.String("sync", "disk", "--sync of the node; with os, power cuts must lose something")
	keep := flags.Bool("keep", false, "keep the folders of rounds without a violation, too")
	asJSON := flags.Bool("json", false, "print the sum as JSON")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if flags.NArg() > 0 || *length <= 0 {
		return false, fmt.Errorf("want flags alone, and a length above 0; see -help")
	}
	cfg := config{seed: *seed, polity: *polity, sync: *sync, keep: *keep}
	if cfg.seed == 0 {
		cfg.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	var err error
	if cfg.kinds, err = parseFaults(*kinds); err != nil {
		return false, err
	}
	if why := canMount(); cfg.ownDisk() && why != nil {
		fmt.Printf("DID NOT RUN: power cuts and full disks: %v\n", why)
		cfg.kinds = slices.DeleteFunc(cfg.kinds, func(k string) bool { return slices.Contains(diskFaults, k) })
	}
	dir, err := os.MkdirTemp("", "polity-chaos-")
	if err != nil {
		return false, err
	}
	if cfg.self, err = os.Executable(); err != nil {
		return false, err
	}
	if cfg.polity == "" {
		cfg.polity = filepath.Join(dir, "polity")
		if err := build(cfg.polity); err != nil {
			return false, err
		}
	}
	fmt.Printf("seed %d, for %s, faults %s\n", cfg.seed, *length, strings.Join(cfg.kinds, ","))
	began := time.Now()
	sum := total{Ended: map[string]int{}, Faults: map[string]int{}}
	err = rounds(ctx, cfg, dir, *round, *length, &sum)
	report(cfg, sum, time.Since(began), dir, *asJSON)
	switch {
	case err != nil:
		err = fmt.Errorf("%w; what there is lies in %s", err, dir)
	case len(sum.Violations) == 0 && !cfg.keep:
		err = os.RemoveAll(dir)
	}
	return len(sum.Violations) > 0, err
}

// rounds runs one round after the other, or only one.
func rounds(ctx context.Context, cfg config, dir string, only int, length time.Duration, sum *total) error {
	if only >= 0 {
		return oneRound(ctx, cfg, dir, only, min(length, roundMax), sum)
	}
	end := time.Now().Add(length)
	for round := 0; ; round++ {
		left := time.Until(end)
		if left < 5*time.Second && round > 0 || ctx.Err() != nil {
			return nil
		}
		if err := oneRound(ctx, cfg, dir, round, min(left, roundMax), sum); err != nil {
			return err
		}
	}
}

func oneRound(ctx context.Context, cfg config, dir string, round int, load time.Duration, sum *total) error {
	own := filepath.Join(dir, fmt.Sprintf("round-%d", round))
	if err := os.Mkdir(own, 0o755); err != nil {
		return err
	}
	before := len(sum.Violations)
	if err := runRound(ctx, cfg, round, own, load, sum); err != nil {
		return fmt.Errorf("round %d: %w", round, err)
	}
	if len(sum.Violations) == before && !cfg.keep {
		return os.RemoveAll(own)
	}
	return nil
}

// report prints what was done and found.
func report(cfg config, t total, took time.Duration, dir string, asJSON bool) {
	if asJSON {
		data, err := json.MarshalIndent(struct {
			Seed uint64 `json:"seed"`
			Took string `json:"took"`
			total
		}{cfg.seed, took.Round(time.Second).String(), t}, "", "  ")
		if err != nil {
			panic(err) // numbers and texts
		}
		fmt.Println(string(data))
		return
	}
	fmt.Printf("\nseed %d, %s\n", cfg.seed, took.Round(time.Second))
	fmt.Printf("faults injected   %s (%d times killed by the destination)\n", words(t.Faults), t.Between)
	fmt.Printf("acknowledged      %d requests; ended: %s\n", t.Acknowledged, words(t.Ended))
	fmt.Printf("effects           %d done, asked for %d times\n", t.Effects, t.Asked)
	fmt.Printf("checked           %d runs folded again, %d exported and verified; %d had steps without room on the disk\n", t.Replayed, t.Verified, t.NoRoom)
	fmt.Printf("violations        %d\n", len(t.Violations)+t.More)
	for _, v := range t.Violations[:min(len(t.Violations), violationsShown)] {
		fmt.Printf("\n  run       %s\n  expected  %s\n  found     %s\n  again     go run ./internal/chaos -seed %d -round %d -faults %s\n  state     %s\n",
			v.Run, v.Expected, v.Found, cfg.seed, v.Round, strings.Join(cfg.kinds, ","), filepath.Join(dir, fmt.Sprintf("round-%d", v.Round)))
	}
}

// build makes the binary, from the module that this is part of: polity, with a script linked in.
func build(to string) error {
	if out, err := exec.Command("go", "build", "-o", to, "polity.run/internal/chaos/polity").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return nil
}
