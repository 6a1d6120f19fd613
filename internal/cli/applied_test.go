package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestManifestsOf finds manifests, and nothing that looks like one.
func TestManifestsOf(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"polity.yaml":          "name: broken\n", // by its name it means to be one
		"other.yaml":           "# a comment\n\npolity: v1\nname: other\n",
		"deep/polity.yml":      "polity: v1\nname: deep\n",
		"deep/more/third.yaml": "polity: v1\nname: too deep\n",
		"deep/expected.yaml":   "polity: v1\nmanifest: ../other.yaml\nscenarios:\n  - name: one\n",
		"compose.yaml":         "services: {}\npolity: v1\n",
		".hidden.yaml":         "polity: v1\n",
		"notes.txt":            "polity: v1\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := manifestsOf(dir)
	slices.Sort(list)
	want := []string{filepath.Join(dir, "deep", "polity.yml"), filepath.Join(dir, "other.yaml"), filepath.Join(dir, "polity.yaml")}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%q, %v; want %q", list, err, want)
	}
}
