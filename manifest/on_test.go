package manifest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run/environ"
	"polity.run/manifest"
)

func TestOn(t *testing.T) {
	dir := t.TempDir()
	text := `polity: v1
name: post
agents:
  clerk: {use: greeter}
on:
  - {folder: inbox, files: "*.eml", deleted: true, size_max: 1KiB, input: {question: "What now?"}, in: ../all}
  - {every: 90m, catch_up: one, agent: clerk, skill: clerk}
  - {lines: true}
`
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Load(dir, env())
	if err != nil {
		t.Fatal(err)
	}
	want := []manifest.On{
		{
			Agent: "clerk", Input: json.RawMessage(`{"question":"What now?"}`), In: "../all",
			Folder: &environ.Folder{Path: "inbox", Files: "*.eml", Deleted: true, SizeMax: 1024},
		},
		{Agent: "clerk", Skill: "clerk", Schedule: &environ.Schedule{Every: 90 * time.Minute, CatchUp: environ.CatchUpOne}},
		{Agent: "clerk", Lines: true},
	}
	note := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Note" }, cmp.Ignore())
	if diff := cmp.Diff(want, m.On, note); diff != "" {
		t.Errorf("on (-want +got):\n%s", diff)
	}
	keys := map[string]bool{}
	for _, o := range m.On {
		keys[o.Key()], keys[o.Under("/srv/post").Key()] = true, true
	}
	if len(keys) != 4 { // only a folder is another one elsewhere
		t.Errorf("%d keys of 3 sources in two places: %v", len(keys), keys)
	}
	if got := m.On[0].Under("/srv/post"); got.Folder.Path != "/srv/post/inbox" || got.In != "/srv/all" || m.On[0].Folder.Path != "inbox" {
		t.Errorf("under /srv/post: %q and %q", got.Folder.Path, got.In)
	}
}
