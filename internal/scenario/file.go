// Package scenario tests organizations: it runs them on declared inputs and looks at what came out and at what was done on the way.
//
// It exists so that an organization is tested like code, without a provider, and that a failure says what was expected and what came.
//
//	file -> scenarios -> for each run: a fresh engine, watched models and tools -> what happened -> expectations -> a report
package scenario

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"polity.run"
	"polity.run/fault"
)

// Limits of a file of scenarios.
const (
	SizeMax      = 1 << 20 // bytes
	ScenariosMax = 1000
	RunsMax      = 100
)

// File is a file of scenarios.
type File struct {
	Path string `yaml:"-"`
	// Polity is the version of the format: v1.
	Polity string `yaml:"polity"`
	// Manifest and Replay are paths relative to the file. Without Replay models are asked themselves.
	Manifest string `yaml:"manifest"`
	// With are manifests of other organizations, relative to the file: what they watch under on: topic: opens runs of theirs. So does what Manifest watches then.
	With      []string   `yaml:"with"`
	Replay    string     `yaml:"replay"`
	Scenarios []Scenario `yaml:"scenarios"`
}

// Scenario is one input and what is expected of it.
type Scenario struct {
	Name     string         `yaml:"name"`
	Question string         `yaml:"question"`
	Input    any            `yaml:"input"`  // instead of a question
	Folder   string         `yaml:"folder"` // that the run may read, relative to the file
	Agent    string         `yaml:"agent"`
	Skill    string         `yaml:"skill"`
	Runs     int            `yaml:"runs"`    // how often; all must pass; default 1
	Answers  map[string]any `yaml:"answers"` // of people, by agent
	Told     []Told         `yaml:"told"`    // to the run, in this order, each once it is waited for
	Faults   []Fault        `yaml:"faults"`
	Expect   Expect         `yaml:"expect"`
	// Others is what is expected of the runs that events opened, by organization, in the order of opening: so many, and no more. With with, an
	// organization that is not named opens none.
	Others map[string][]Expect `yaml:"others"`
}

// Told is what happens while the run waits. Exactly one of Signal, Topic and Skip is set.
type Told struct {
	Signal string        `yaml:"signal"` // to the run that awaits it
	Topic  string        `yaml:"topic"`  // published once it is awaited or watched
	ID     string        `yaml:"id"`     // of the event or the signal; "" makes one
	Data   any           `yaml:"data"`
	Skip   time.Duration `yaml:"skip"` // how far the clock jumps, once the run waits for a time or an event
}

// check says what is wrong with t.
func (t *Told) check() error {
	kinds := 0
	for _, there := range []bool{t.Signal != "", t.Topic != "", t.Skip != 0} {
		if there {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fault.Invalid.New("want one of signal, topic and skip")
	case t.Signal != "":
		return polity.CheckSignal(t.Signal)
	case t.Topic != "":
		return polity.CheckTopic(t.Topic)
	case t.Skip != 0 && t.ID != "":
		return fault.Invalid.New("id: only a signal and an event have one")
	case t.Skip < 0:
		return fault.Invalid.New("skip %s: the clock does not go back", t.Skip)
	}
	return nil
}

// Fault is a failure that is injected. Exactly one of Tool, Model and At says where.
type Fault struct {
	Tool  string `yaml:"tool"`
	Model string `yaml:"model"`
	At    string `yaml:"at"`    // a step, as in think.2 or act.1.1
	Fault string `yaml:"fault"` // a kind, as in unavailable
	Times int    `yaml:"times"` // default 1; 0 is 1, -1 always
}

// Expect is what must hold. What is left out is not looked at.
type Expect struct {
	Status    string         `yaml:"status"` // default completed
	Fault     string         `yaml:"fault"`  // what its text contains
	Output    []Check        `yaml:"output"`
	Path      []string       `yaml:"path"`      // steps that have results in this order, others between them allowed
	Agents    []string       `yaml:"agents"`    // that are asked
	Tools     []string       `yaml:"tools"`     // that are called
	Never     []string       `yaml:"never"`     // tools and agents that are not reached
	Forbidden []string       `yaml:"forbidden"` // tools that no model even asks for
	AtMost    map[string]int `yaml:"at_most"`   // calls of a tool, thoughts of a model
	Asked     []Asked        `yaml:"asked"`     // what agents are asked
	Cost      *Cost          `yaml:"cost"`
}

// Check looks at a part of the output.
type Check struct {
	At       string `yaml:"at"` // JSON pointer (RFC 6901); "" is the whole output
	Equals   any    `yaml:"equals"`
	Contains string `yaml:"contains"` // of the text, or of the JSON
	Matches  string `yaml:"matches"`  // RE2
	Absent   bool   `yaml:"absent"`
}

// Asked looks at what an agent is asked.
type Asked struct {
	Agent    string `yaml:"agent"`
	Contains string `yaml:"contains"`
}

// Cost is the most that a run may use.
type Cost struct {
	USD    float64 `yaml:"usd"`
	Tokens int64   `yaml:"tokens"`
	Turns  int     `yaml:"turns"`
}

var unknownField = regexp.MustCompile(`line (\d+): field (\S+) not found in type scenario\.(\w+)`)

// Load reads a file of scenarios. It returns fault.NotFound if there is none, and fault.Invalid with the line for what is wrong.
func Load(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.NotFound.New("scenarios: %w", err)
	}
	if info.Size() > SizeMax {
		return nil, fault.Invalid.New("%s: more than %d bytes", path, SizeMax)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Denied.New("scenarios: %w", err)
	}
	f, err := parse(data)
	if err != nil {
		return nil, fault.Invalid.New("%s: %w", path, err)
	}
	f.Path = path
	return f, nil
}

func parse(data []byte) (*File, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var f File
	err := d.Decode(&f)
	if errors.Is(err, io.EOF) {
		return nil, fault.Invalid.New("the file is empty")
	}
	if err != nil {
		return nil, fault.Invalid.New("%s", explain(err))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fault.Invalid.New("more than one document")
	}
	return &f, f.check()
}

// explain words a decoder's error with what could be meant.
func explain(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimSpace(strings.TrimPrefix(text, "unmarshal errors:"))
	return unknownField.ReplaceAllStringFunc(text, func(m string) string {
		parts := unknownField.FindStringSubmatch(m)
		known := fieldsOf(parts[3])
		out := fmt.Sprintf("line %s: there is no field %q", parts[1], parts[2])
		if near := fault.Nearest(parts[2], known); near != "" {
			return out + fmt.Sprintf("; did you mean %q?", near)
		}
		return out + "; known: " + strings.Join(known, ", ")
	})
}

func fieldsOf(name string) []string {
	for _, t := range []reflect.Type{
		reflect.TypeFor[File](), reflect.TypeFor[Scenario](), reflect.TypeFor[Told](), reflect.TypeFor[Fault](), reflect.TypeFor[Expect](), reflect.TypeFor[Check](),
		reflect.TypeFor[Asked](), reflect.TypeFor[Cost](),
	} {
		if t.Name() != name {
			continue
		}
		var out []string
		for i := range t.NumField() {
			if tag := t.Field(i).Tag.Get("yaml"); tag != "-" {
				out = append(out, tag)
			}
		}
		return out
	}
	return nil
}

var statuses = []string{"completed", "exhausted", "failed", "cancelled"}

func (f *File) check() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fault.Invalid.New(format, args...)) }
	if f.Polity != "v1" {
		add("polity: %q is not v1", f.Polity)
	}
	if f.Manifest == "" {
		add("manifest: name the manifest, relative to this file")
	}
	if len(f.Scenarios) == 0 || len(f.Scenarios) > ScenariosMax {
		add("scenarios: there are %d; want 1 to %d", len(f.Scenarios), ScenariosMax)
	}
	names := map[string]bool{}
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		at := fmt.Sprintf("scenarios[%d]", i)
		if s.Name == "" || names[s.Name] {
			add("%s: name %q is missing or used twice", at, s.Name)
		}
		names[s.Name] = true
		if s.Runs == 0 {
			s.Runs = 1
		}
		if s.Runs < 0 || s.Runs > RunsMax {
			add("%s (%s): runs: want 1 to %d", at, s.Name, RunsMax)
		}
		if s.Question != "" && s.Input != nil {
			add("%s (%s): there are a question and an input; give one of them", at, s.Name)
		}
		expectation := func(field string, e *Expect) {
			if err := e.check(); err != nil {
				add("%s (%s): %s.%w", at, s.Name, field, err)
			}
		}
		expectation("expect", &s.Expect)
		if len(s.Others) > 0 && len(f.With) == 0 {
			add("%s (%s): others: there are none; name their manifests in with, at the top", at, s.Name)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Others)) {
			for j := range s.Others[name] {
				e := &s.Others[name][j]
				expectation(fmt.Sprintf("others.%s[%d]", name, j), e)
				if len(e.Tools)+len(e.Forbidden)+len(e.AtMost) > 0 {
					add("%s (%s): others.%s[%d]: tools, forbidden and at_most count all runs together; write them under expect", at, s.Name, name, j)
				}
			}
		}
		for j := range s.Told {
			if err := s.Told[j].check(); err != nil {
				add("%s (%s): told[%d]: %w", at, s.Name, j, err)
			}
		}
		for j := range s.Faults {
			x := &s.Faults[j]
			set := 0
			for _, where := range []string{x.Tool, x.Model, x.At} {
				if where != "" {
					set++
				}
			}
			if set != 1 {
				add("%s (%s): faults[%d]: set one of tool, model and at", at, s.Name, j)
			}
			if !slices.Contains(fault.Kinds(), fault.Kind(x.Fault)) {
				add("%s (%s): faults[%d]: there is no kind of fault %q", at, s.Name, j, x.Fault)
			}
			if x.Times == 0 {
				x.Times = 1
			}
		}
	}
	return errors.Join(problems...)
}

// check completes e, and says what is wrong with it, beginning with the field.
func (e *Expect) check() error {
	e.Status = cmp.Or(e.Status, "completed")
	if !slices.Contains(statuses, e.Status) {
		return fault.Invalid.New("status: %q is not one of %s", e.Status, strings.Join(statuses, ", "))
	}
	for j, c := range e.Output {
		if _, err := regexp.Compile(c.Matches); err != nil {
			return fault.Invalid.New("output[%d]: matches: %w", j, err)
		}
		if c.At != "" && c.At[0] != '/' {
			return fault.Invalid.New("output[%d]: at: %q is no JSON pointer; begin it with /", j, c.At)
		}
		if c.Equals == nil && c.Contains == "" && c.Matches == "" && !c.Absent {
			return fault.Invalid.New("output[%d]: set equals, contains, matches or absent", j)
		}
	}
	return nil
}

// input is the scenario's input as JSON.
func (s *Scenario) input() (json.RawMessage, error) {
	if s.Input == nil {
		return json.Marshal(map[string]string{"question": s.Question})
	}
	out, err := json.Marshal(s.Input)
	if err != nil {
		return nil, fault.Invalid.New("input: %w", err)
	}
	return out, nil
}

// Find returns the files of scenarios that a path means: itself, or below it those named *.scenario.yaml and those in folders named scenarios.
func Find(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.NotFound.New("scenarios: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var out []string
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() && p != path && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
			return filepath.SkipDir
		}
		inFolder := filepath.Base(filepath.Dir(p)) == "scenarios" && filepath.Ext(name) == ".yaml"
		if !e.IsDir() && (inFolder || strings.HasSuffix(name, ".scenario.yaml")) {
			out = append(out, p)
		}
		return nil
	})
	if err != nil {
		return nil, fault.Denied.New("scenarios: %w", err)
	}
	if len(out) == 0 {
		return nil, fault.NotFound.New("no scenarios below %s; they are files named *.scenario.yaml, or *.yaml in a folder scenarios", path)
	}
	return out, nil
}
