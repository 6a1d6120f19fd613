package store

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run/fault"
	"polity.run/schema"
)

// TestGoldenItems reads what version 1 kept, as this version and as a next one that calls a memory otherwise.
func TestGoldenItems(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "items-v1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	next := schema.Upcasts[json.RawMessage]{schema.Mapping{{Drop: "/memory"}, {Default: "/memory", Value: json.RawMessage(`"moved"`)}}.Apply}
	read := 0
	for line := range strings.Lines(string(data)) {
		i, err := readItem([]byte(line), itemUpcasts)
		if err != nil {
			t.Fatal(err)
		}
		i.Version = 0
		again, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != strings.TrimSpace(line) {
			t.Errorf("read and written it is\n%s\nand was\n%s", again, line)
		}
		later, err := readItem([]byte(line), next)
		if err != nil || later.Memory != "moved" || (later.Record == nil) != (i.Record == nil) {
			t.Errorf("got %+v %v", later, err)
		}
		read++
	}
	if read < 2 {
		t.Errorf("read %d items", read)
	}
	if _, err := readItem([]byte(`{"version":2}`), itemUpcasts); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}
