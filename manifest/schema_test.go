package manifest_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/pattern"
	"polity.run/schema"
	"polity.run/tool"
)

const schemaFile = "../polity.schema.json"

func TestSchemaFileIsCurrent(t *testing.T) {
	raw, err := manifest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	got := string(raw) + "\n"
	if *update {
		if err := os.WriteFile(schemaFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run this test with -update (-file +types)\n%s", diff)
	}
}

// TestSchemaIsClosedAndDescribed looks at every object and field of the schema: none takes fields
// that it does not name, and each field says what it is for.
func TestSchemaIsClosedAndDescribed(t *testing.T) {
	raw, err := manifest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	objects, fields := 0, 0
	var visit func(path string, s map[string]any)
	visit = func(path string, s map[string]any) {
		properties, _ := s["properties"].(map[string]any)
		if s["type"] == "object" && properties != nil {
			objects++
			if s["additionalProperties"] != false {
				t.Errorf("%s takes any field", path)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			fields++
			p := properties[name].(map[string]any)
			if text, _ := p["description"].(string); s["type"] == "object" && !strings.HasSuffix(text, ".") {
				t.Errorf("%s.%s has no description", path, name)
			}
			visit(path+"."+name, p)
		}
		for _, in := range []string{"items", "additionalProperties"} {
			if p, ok := s[in].(map[string]any); ok {
				visit(path+"/"+in, p)
			}
		}
		if forms, ok := s["anyOf"].([]any); ok {
			for _, p := range forms {
				visit(path+"/anyOf", p.(map[string]any))
			}
		}
	}
	visit("", root)
	if objects < 10 || fields < 50 {
		t.Errorf("only %d objects with %d fields were looked at", objects, fields)
	}
}

// exampleEnv has what the example needs.
func exampleEnv() manifest.Env {
	e := manifest.Env{Models: []string{"quote"}, Tools: map[string]tool.Spec{}}
	for _, name := range []string{"code.dependencies", "code.docs", "code.hotspots", "code.risks", "code.tests"} {
		e.Tools[name] = tool.Spec{
			Name: name, Version: "1", Effect: polity.EffectNone,
			Input: json.RawMessage(`{"type":"object","additionalProperties":false}`),
		}
	}
	return e
}

func TestReviewBoard(t *testing.T) {
	m, err := manifest.Load("../examples/review-board", exampleEnv())
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Warnings) > 0 {
		t.Errorf("warnings: %v", m.Warnings)
	}
	data, err := os.ReadFile(filepath.Join("../examples/review-board", manifest.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := accepts(t, data); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
	board := m.Release.Agent(m.Release.Main)
	if board == nil || board.Kind != agent.KindOrg {
		t.Fatalf("main is %+v", board)
	}
	var hub pattern.Hub
	if err := json.Unmarshal(board.Org.Config, &hub); err != nil {
		t.Fatal(err)
	}
	if err := hub.Check(); err != nil {
		t.Error(err)
	}
	if len(hub.Plan.Steps) != len(hub.Specialists) || hub.Verdict[len(hub.Verdict)-1].When != nil {
		t.Errorf("not every specialist has a step, or no verdict is certain: %+v", hub)
	}
	for _, s := range hub.Plan.Steps {
		if len(s.DependsOn) > 0 || m.Release.Agent(string(s.Agent)) == nil {
			t.Errorf("step %s does not stand alone", s.ID)
		}
	}
}

func TestPinDigestTellsSpecsApart(t *testing.T) {
	spec := tool.Spec{Name: "a", Version: "1", Effect: polity.EffectNone, Input: json.RawMessage(`{"type": "object"}`)}
	same, other, junk := spec, spec, spec
	same.Input = json.RawMessage(`{"type":"object"}`)
	other.Version = "2"
	junk.Output = json.RawMessage(`{`)
	switch pin := spec.Digest(); {
	case len(pin) != 64:
		t.Errorf("digest is %q", pin)
	case pin != same.Digest():
		t.Error("white space in a schema changes the digest")
	case pin == other.Digest():
		t.Error("another version has the same digest")
	case junk.Digest() != "":
		t.Error("a spec that is not JSON has a digest")
	}
	e := env()
	e.Tools["junk"] = junk
	bad := spec
	bad.Input = json.RawMessage(`{"type":"strange"}`)
	e.Tools["bad"] = bad
	dir := t.TempDir()
	write(t, dir, head+"agents: {a: {model: quote, instructions: x, gather: [junk, bad]}}\n")
	_, err := manifest.Load(dir, e)
	if err == nil || strings.Count(err.Error(), "declares schemas that cannot be used") != 2 {
		t.Errorf("unusable tools: %v", err)
	}
}

func TestDigestRefusesWhatIsNotJSON(t *testing.T) {
	r := agent.Release{Name: "x", Agents: []agent.Definition{{Name: "a", Skills: []polity.Skill{{Name: "s", Input: json.RawMessage(`{`)}}}}}
	if _, _, err := manifest.Digest(&r); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

// TestOrderAndNumbersStayAsWritten holds for all that is JSON: a reader of a schema, be it a model,
// sees it in the order and with the figures of the manifest.
func TestOrderAndNumbersStayAsWritten(t *testing.T) {
	m, err := load(t, head+`agents:
  a:
    use: greeter
    skills:
      - name: s
        output: {zebra: 1.50, ant: [1e3, "<&>", ~, on, "é\n"], big: 123456789012345678901234567890}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"zebra":1.50,"ant":[1e3,"<&>",null,"on","é\n"],"big":123456789012345678901234567890}`
	if got := string(m.Release.Agents[0].Skills[0].Output); got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

// FuzzLoad feeds any text. Nothing panics or hangs; every problem has its place; what is loaded
// satisfies the schema of the format, and has the same digest the second time.
func FuzzLoad(f *testing.F) {
	for _, folder := range []string{"broken", "good"} {
		paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
		if err != nil || len(paths) == 0 {
			f.Fatal("no archives", err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			_, text, _ := strings.Cut(string(data), "-- polity.yaml --\n")
			text, _, _ = strings.Cut(text, "\n-- ")
			f.Add([]byte(text + "\n"))
		}
	}
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {a: [b]}\n: - x\n  - |\n   y\n# c\n...\n%TAG ! x\n---\n"))
	raw, err := manifest.Schema()
	if err != nil {
		f.Fatal(err)
	}
	format, err := schema.Compile(raw)
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), manifest.FileName)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Load(path, env())
		if err != nil {
			checkProblems(t, data, err)
			return
		}
		first, _, err := manifest.Digest(&m.Release)
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Load(path, env())
		if err != nil {
			t.Fatal(err)
		}
		if second, _, err := manifest.Digest(&again.Release); err != nil || second != first {
			t.Fatalf("the second load differs: %v", err)
		}
		if err := format.Check(asJSON(t, data)); err != nil {
			t.Fatalf("loaded, but the schema refuses it: %v", err)
		}
	})
}

// unprintable says whether a character could do something to a terminal.
func unprintable(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }

func checkProblems(t *testing.T, data []byte, err error) {
	t.Helper()
	var problems manifest.Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("not problems: %v", err)
	}
	lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
	for _, p := range problems {
		if p.Line < 0 || p.Line > lines || p.Line > 0 && p.Column < 1 || p.Text == "" || strings.ContainsFunc(p.String(), unprintable) {
			t.Errorf("a problem out of place: %+v", p)
		}
	}
}
