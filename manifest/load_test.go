package manifest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/schema"
	"polity.run/tool"
)

var update = flag.Bool("update", false, "rewrite the wanted texts of testdata")

// env is what the manifests of the tests may name.
func env() manifest.Env {
	e := manifest.Env{
		Models: []string{"quote", "large"},
		Go:     map[string]string{"greeter": "3"},
		Tools:  map[string]tool.Spec{},
		Specs:  engine.Specs,
	}
	add := func(name, input string) {
		e.Tools[name] = tool.Spec{Name: name, Version: "1", Effect: polity.EffectNone, Input: json.RawMessage(input)}
	}
	nothing := `{"type":"object","additionalProperties":false}`
	for _, name := range []string{"code.dependencies", "code.docs", "code.risks", "code.tests"} {
		add(name, nothing)
	}
	add("code.hotspots", `{"type":"object","properties":{"max":{"type":"integer"}},"additionalProperties":false}`)
	add("need.query", `{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}`)
	return e
}

// folder writes the files of an archive but the wanted text, and returns the folder.
func folder(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range a.Files {
		if f.Name == "want" {
			continue
		}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(f.Name, ".sh") {
			mode = 0o755
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// compare compares with the archive's file "want", or rewrites it.
func compare(t *testing.T, path string, a *txtar.Archive, got string) {
	t.Helper()
	last := len(a.Files) - 1
	if *update {
		if a.Files[last].Name != "want" {
			a.Files = append(a.Files, txtar.File{Name: "want"})
			last++
		}
		a.Files[last].Data = []byte(got)
		if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if a.Files[last].Name != "want" {
		t.Fatal("the archive has no wanted text; run with -update and read it")
	}
	if diff := cmp.Diff(string(a.Files[last].Data), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// archives reads all archives of a folder and calls fn with each of them.
func archives(t *testing.T, folder string, fn func(t *testing.T, path string, a *txtar.Archive)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fn(t, path, a)
		})
	}
}

// accepts asks the format's schema, the way an editor would.
func accepts(t *testing.T, data []byte) error {
	t.Helper()
	raw, err := manifest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s.Check(asJSON(t, data))
}

// asJSON converts YAML the way an editor does. Of duplicate keys it takes the last.
func asJSON(t *testing.T, data []byte) json.RawMessage {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(plain(&node))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return plain(n.Content[0])
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plain(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := []any{}
		for _, item := range n.Content {
			l = append(l, plain(item))
		}
		return l
	}
	var v any
	if n.ShortTag() == "!!timestamp" || n.Decode(&v) != nil {
		return n.Value
	}
	return v
}

func TestBrokenManifests(t *testing.T) {
	archives(t, "broken", broken)
}

func broken(t *testing.T, path string, a *txtar.Archive) {
	dir := folder(t, a)
	m, err := manifest.Load(dir, env())
	if err == nil || m != nil {
		t.Fatal("a broken manifest was loaded")
	}
	var problems manifest.Problems
	if !errors.As(err, &problems) || !errors.Is(err, fault.Invalid) || fault.Of(err).Kind != fault.Invalid {
		t.Fatalf("not an Invalid fault: %v", err)
	}
	compare(t, path, a, strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")+"\n")
	for _, p := range problems {
		if p.Line < 1 || p.Column < 1 || p.Path == "" && p.Line != 1 {
			t.Errorf("a problem without a place: %+v", p)
		}
	}
	_, says, ok := strings.Cut(string(a.Comment), "schema: ")
	if says = strings.TrimSpace(says); !ok || says != "accepts" && says != "refuses" {
		t.Fatalf("the archive's comment does not say whether the schema accepts or refuses it")
	}
	if err := accepts(t, a.Files[0].Data); (err == nil) != (says == "accepts") {
		t.Errorf("schema: want %s, got %v", says, err)
	}
}

func TestGoodManifests(t *testing.T) {
	archives(t, "good", func(t *testing.T, path string, a *txtar.Archive) {
		dir := folder(t, a)
		m, err := manifest.Load(dir, env())
		if err != nil {
			t.Fatal(err)
		}
		if m.Path != filepath.Join(dir, manifest.FileName) {
			t.Errorf("path is %s", m.Path)
		}
		_, data, err := manifest.Digest(&m.Release)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, w := range m.Warnings {
			got.WriteString(strings.ReplaceAll(w.String(), dir+string(filepath.Separator), "") + "\n")
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		shown, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got.Write(shown)
		compare(t, path, a, got.String()+"\n")
		if err := accepts(t, a.Files[0].Data); err != nil {
			t.Errorf("the schema refuses it: %v", err)
		}
		for _, d := range m.Release.Agents {
			if err := d.Name.Check(); err != nil {
				t.Error(err)
			}
		}
	})
}
