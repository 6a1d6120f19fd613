package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run/fault"
	"polity.run/schema"
)

// TestGoldenReleases wants releases that older versions stored to be read for ever, and nothing of them to be lost.
func TestGoldenReleases(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "releases", "*.json"))
	if err != nil || len(files) < 3 {
		t.Fatalf("only %v %v", files, err)
	}
	for _, file := range files {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc = bytes.TrimSpace(doc)
		r, err := ReadRelease(doc)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(doc, again) {
			t.Errorf("%s: read and written it is\n%s", file, again)
		}
	}
}

func TestReadReleaseRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		doc, says string
		want      error
	}{
		"a newer format":  {`{"format":2,"name":"x"}`, "version 2 is newer than what is read here, which is 1", fault.Invalid},
		"a newer field":   {`{"name":"x","agents":[{"name":"a","guard":true}]}`, `unknown field "guard"; a newer version of this program made it?`, fault.Invalid},
		"no JSON":         {`{"name":`, "release: ", fault.Damaged},
		"another type":    {`{"name":7}`, "release: ", fault.Damaged},
		"a format of yes": {`{"format":"yes"}`, "release: ", fault.Damaged},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadRelease([]byte(tt.doc)); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestNextFormatReadsThisOne reads a release of this version as the next one might.
func TestNextFormatReadsThisOne(t *testing.T) {
	titled := schema.Mapping{{Rename: "/name", To: "main"}, {Default: "/name", Value: json.RawMessage(`"none"`)}, {Drop: "/format"}}
	next := schema.Upcasts[json.RawMessage]{titled.Apply}
	r, err := readRelease([]byte(`{"name":"desk","agents":null}`), next)
	if err != nil || r.Main != "desk" || r.Name != "none" {
		t.Errorf("got %+v %v", r, err)
	}
}
