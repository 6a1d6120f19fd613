package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run"
	"polity.run/tool"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "polity.yaml")
	l, err := ReadLock(path)
	if err != nil || len(l.Sources) != 0 {
		t.Fatalf("no lock: %+v %v", l, err)
	}
	source := tool.Source{Name: "fs", MCP: &tool.MCP{Command: []string{"x"}}}
	l.Sources["fs"] = Accepted{From: From(source), Tools: []tool.Spec{{Name: "fs.read", Version: "1", Description: "a <b>", Effect: polity.EffectNone, Remote: "read"}}}
	for range 2 { // over what is there
		if err := l.Write(path); err != nil {
			t.Fatal(err)
		}
	}
	back, err := ReadLock(path)
	if err != nil || back.Sources["fs"].Tools[0].Description != "a <b>" || back.Sources["fs"].From != From(source) {
		t.Errorf("got %+v %v", back, err)
	}
	source.Specs = back.Sources["fs"].Tools
	if From(source) != back.Sources["fs"].From {
		t.Error("what is accepted changes what declares it")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("files are left behind: %v %v", entries, err)
	}
	for _, text := range []string{"", "{}", `{"version":2}`, `{"version":1,"sources":{"a":{"from":"x","tools":[{"name":"a b"}]}}}`, `{"version":1,"other":1}`, `{"version":1} x`} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), LockName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLock(path); err == nil || !strings.Contains(err.Error(), "polity tools accept") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func FuzzLock(f *testing.F) {
	f.Add([]byte(`{"version":1,"sources":{"a":{"from":"x","tools":[{"name":"a.b","version":"1","effect":"none"}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLock(data)
		if err == nil && l.Sources == nil {
			t.Error("a lock without sources")
		}
	})
}
