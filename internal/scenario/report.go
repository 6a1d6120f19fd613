package scenario

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"polity.run/fault"
	"polity.run/manifest"
)

// Result is what became of one scenario.
type Result struct {
	File   string `json:"file"`
	Name   string `json:"name"`
	Passed bool   `json:"passed"` // all runs passed: pass^k with k runs
	Runs   int    `json:"runs"`
	Good   int    `json:"good"` // runs that passed
	// Wrong is what did not hold, of the first run that failed.
	Wrong    []string `json:"wrong,omitempty"`
	Seconds  float64  `json:"seconds"`
	MicroUSD int64    `json:"micro_usd"` // of all runs together
	Tokens   int64    `json:"tokens"`
}

// Run does the scenarios of a file that chosen says, and tells each as it ends. load reads the manifest. It returns an error if the file cannot
// be tested at all, and fault.Cancelled when ctx ends.
func Run(ctx context.Context, f *File, load func(path string) (*manifest.Manifest, error), m string, chosen func(name string) bool, each func(Result)) error {
	made, err := load(m)
	if err != nil {
		return err
	}
	var with []*manifest.Manifest
	for _, path := range f.With {
		one, err := load(filepath.Join(filepath.Dir(f.Path), path))
		if err != nil {
			return err
		}
		with = append(with, one)
	}
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		if !chosen(s.Name) {
			continue
		}
		r := Result{File: f.Path, Name: s.Name}
		began := time.Now()
		for r.Runs < s.Runs {
			h, o, err := one(ctx, f, s, made, with)
			if ctx.Err() != nil {
				return fault.Cancelled.New("scenario %s: %w", s.Name, context.Cause(ctx))
			}
			r.Runs++
			var wrong []string
			if err != nil {
				wrong = []string{"run\n  - expected: that it can be done\n  + came:     " + shown(err.Error())}
			} else {
				wrong = slices.Concat(look(&s.Expect, h), o.expected(s.Others), s.untold(h))
				r.MicroUSD += h.outcome.Usage.MicroUSD
				r.Tokens += h.outcome.Usage.Tokens()
			}
			if len(wrong) == 0 {
				r.Good++
			} else if r.Wrong == nil {
				r.Wrong = wrong
			}
		}
		r.Passed, r.Seconds = r.Good == r.Runs, time.Since(began).Seconds()
		each(r)
	}
	return nil
}

// Text words a result for a person.
func (r *Result) Text() string {
	var b strings.Builder
	word := "ok  "
	if !r.Passed {
		word = "FAIL"
	}
	fmt.Fprintf(&b, "%s  %s: %s", word, r.File, r.Name)
	if r.Runs > 1 {
		fmt.Fprintf(&b, " (%d of %d runs)", r.Good, r.Runs)
	}
	fmt.Fprintf(&b, "  %.2fs", r.Seconds)
	if r.Tokens > 0 {
		fmt.Fprintf(&b, ", %d tokens, $%.4f", r.Tokens, float64(r.MicroUSD)/1e6)
	}
	b.WriteByte('\n')
	for _, w := range r.Wrong {
		b.WriteString("      " + strings.ReplaceAll(w, "\n", "\n      ") + "\n")
	}
	return b.String()
}

type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes results as JUnit's XML, which CI systems read.
func JUnit(results []Result) ([]byte, error) {
	var out junitSuites
	at := map[string]int{}
	total := map[string]float64{}
	for _, r := range results {
		i, known := at[r.File]
		if !known {
			i = len(out.Suites)
			at[r.File] = i
			out.Suites = append(out.Suites, junitSuite{Name: r.File})
		}
		s := &out.Suites[i]
		c := junitCase{Name: r.Name, Class: r.File, Time: fmt.Sprintf("%.3f", r.Seconds)}
		s.Tests++
		if !r.Passed {
			s.Failures++
			c.Failure = &junitFailure{fmt.Sprintf("%d of %d runs passed", r.Good, r.Runs), clean(strings.Join(r.Wrong, "\n"))}
		}
		total[r.File] += r.Seconds
		s.Time = fmt.Sprintf("%.3f", total[r.File])
		s.Cases = append(s.Cases, c)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if err := errors.Join(e.Encode(out), e.Close()); err != nil {
		return nil, fault.Internal.New("scenario: JUnit: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// clean takes out what XML cannot hold.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return '\uFFFD'
		}
		return r
	}, text)
}
