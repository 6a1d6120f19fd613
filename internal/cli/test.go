package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"polity.run/fault"
	"polity.run/internal/scenario"
)

const testHelp = `Run scenarios: declared inputs, and what is expected of the organization.

PATH is a file of scenarios, or a folder: there the files named *.scenario.yaml and those in
folders named scenarios are meant. Each run has a state folder of its own, which is deleted.

A scenario with "replay" answers for all models but quote from a recording, which
"polity run --record" makes: no provider is asked, and nothing is paid. With "runs: k" it
passes if all k runs do (pass^k). "faults" lets tools, models and steps fail.

The exit code is 1 if a scenario fails, and 2 for a file that cannot be understood.`

const testExample = `  polity test examples/review-board
  polity test desk.scenario.yaml --run refund -o json
  polity test . -o junit > report.xml`

func (a *app) newTest() *cobra.Command {
	var only string
	var times int
	cmd := &cobra.Command{
		Use: "test PATH...", Short: "Test organizations by scenarios", Long: testHelp, Example: testExample, Args: args(cobra.MinimumNArgs(1)),
	}
	output := outputFlag(cmd, "text", "text", "json", "junit")
	cmd.Flags().StringVar(&only, "run", "", "only scenarios whose names match this regular expression (RE2)")
	cmd.Flags().IntVar(&times, "times", 0, "run each scenario so often (default what it says itself)")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		match, err := regexp.Compile(only)
		if err != nil {
			return usagef("--run: %w", err)
		}
		if times < 0 || times > scenario.RunsMax {
			return usagef("--times: want 1 to %d", scenario.RunsMax)
		}
		ctx, done := a.interruptible(cmd.Context())
		defer done()
		results, err := a.test(ctx, paths, match, times, output.value)
		if err != nil {
			return err
		}
		return a.verdict(results, output.value)
	}
	return cmd
}

// test runs what is meant. All files are read before anything is run.
func (a *app) test(ctx context.Context, paths []string, match *regexp.Regexp, times int, output string) ([]scenario.Result, error) {
	var files []*scenario.File
	for _, path := range paths {
		found, err := scenario.Find(path)
		if err != nil {
			return nil, err
		}
		for _, one := range found {
			f, err := scenario.Load(one)
			if err != nil {
				return nil, err
			}
			for i := range f.Scenarios {
				if times > 0 {
					f.Scenarios[i].Runs = times
				}
			}
			files = append(files, f)
		}
	}
	var results []scenario.Result
	for _, f := range files {
		err := scenario.Run(ctx, f, a.load, filepath.Join(filepath.Dir(f.Path), f.Manifest), match.MatchString, func(r scenario.Result) {
			results = append(results, r)
			if output == "json" || output == "junit" {
				a.screen.say("%s", strings.SplitN(cleanLines(r.Text()), "\n", 2)[0])
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if len(results) == 0 {
		return nil, fault.NotFound.New("no scenario is named like %q", match)
	}
	return results, nil
}

func (a *app) verdict(results []scenario.Result, output string) error {
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	var err error
	switch output {
	case "json":
		err = a.writeJSON(map[string]any{"passed": len(results) - failed, "failed": failed, "scenarios": results})
	case "junit":
		var data []byte
		if data, err = scenario.JUnit(results); err == nil {
			err = a.out(data)
		}
	default:
		for i := range results {
			err = a.outf("%s", cleanLines(results[i].Text()))
			if err != nil {
				return err
			}
		}
		err = a.outf("%d passed, %d failed\n", len(results)-failed, failed)
	}
	if err != nil || failed == 0 {
		return err
	}
	return fault.Failed.New("%s", count(failed, "scenario")+" failed")
}
