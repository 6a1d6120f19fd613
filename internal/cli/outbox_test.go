package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/environ"
	"polity.run/manifest"
)

func TestOutbox(t *testing.T) {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	for name, onDisk := range map[string]bool{"disk": true, "os": false} {
		t.Run(name, func(t *testing.T) {
			notes = nil
			b := outbox{dir: filepath.Join(t.TempDir(), "watch"), onDisk: onDisk}
			if list, err := b.list("post", note); err != nil || len(list) > 0 {
				t.Fatalf("before anything was seen: %v, %v", list, err)
			}
			one := awaited{"post", "lines", environ.Observation{ID: "n 1", Time: time.Unix(1, 0).UTC(), Input: json.RawMessage(`{"a":1}`)}}
			other := awaited{Organization: "desk", Seen: environ.Observation{Input: json.RawMessage(`{}`)}}
			for id, a := range map[string]awaited{"0-a": one, "0-b": one, "0-c": other} {
				if err := b.put(polity.RunID(id), a); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time there is nothing to drop
				if err := b.drop("0-b"); err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range map[string]string{"0-d.new": "{", "0-e": "{"} {
				if err := os.WriteFile(filepath.Join(b.dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			list, err := b.list("post", note)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]awaited{one}, list); diff != "" {
				t.Errorf("what is awaited (-want +got):\n%s", diff)
			}
			if len(notes) != 1 || !strings.Contains(notes[0], "0-e is left alone") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func TestAsk(t *testing.T) {
	seen := json.RawMessage(`{"file":"a","n":12345678901234567890}`)
	tests := map[string]struct {
		on   manifest.On
		want string
	}{
		"what was seen":     {manifest.On{Lines: true}, `{"file":"a","n":12345678901234567890}`},
		"with fields":       {manifest.On{Lines: true, Input: json.RawMessage(`{"question":"what?"}`)}, `{"file":"a","n":12345678901234567890,"question":"what?"}`},
		"seen comes first":  {manifest.On{Lines: true, Input: json.RawMessage(`{"file":"b"}`)}, `{"file":"a","n":12345678901234567890}`},
		"a time that comes": {manifest.On{Schedule: &environ.Schedule{}, Input: json.RawMessage(`{"question":"q"}`)}, `{"question":"q"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.on.Ask(environ.Observation{Input: seen})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSinceWhen remembers when a source was first watched, beside what was seen.
func TestSinceWhen(t *testing.T) {
	b := outbox{dir: filepath.Join(t.TempDir(), "watch"), onDisk: true}
	first := time.Date(2026, 11, 26, 9, 0, 0, 5, time.UTC)
	for i, origin := range []string{"cron", "cron", "other"} {
		want := first
		if i == 2 {
			want = first.Add(2 * time.Hour)
		}
		got, err := b.since("post", origin, first.Add(time.Duration(i)*time.Hour))
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %s %v, want %s", origin, got, err, want)
		}
	}
	list, err := b.list("post", func(format string, args ...any) { t.Errorf(format, args...) })
	if err != nil || len(list) > 0 {
		t.Errorf("got %v %v", list, err)
	}
}
