package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
)

var known = []string{"listen", "host", "at_once", "log_level"}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "polity.toml")
	text := "# where\nlisten = \"127.0.0.1:0\"\n\nat_once = 3\nhost = [\n  \"a\",\n  \"b\",\n]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path, known)
	want := map[string]Setting{"listen": {[]string{"127.0.0.1:0"}, 2}, "at_once": {[]string{"3"}, 4}, "host": {[]string{"a", "b"}, 5}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := Read(path+".no", known); !errors.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

func TestWrong(t *testing.T) {
	for text, want := range map[string]string{
		"listen = 1\nhots = \"a\"\nlog-level = \"info\"\n": "f:2: there is no setting hots; did you mean host?\nf:3: there is no setting log-level; did you mean log_level?",
		"listen = ":                      "f:1:",
		"listen = \"a\"\nlisten = \"b\"": "f:",
		"[server]\nlisten = \"a\"":       "f:1: there is no setting server",
		"host = [1]":                     "f:1: host: want a text, a number, true or false, or a list of texts",
		"listen = 2020-01-01":            "f:1: listen: want a text, a number, true or false, or a list of texts",
	} {
		if _, err := parse("f", text, known); !errors.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// Whatever stands in a file, it is settings that are known, or refused as Invalid.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "listen = \"a\"", "host = [\"a\", \"b\"]", "a.b = 1", "[listen]\nx = 1", "\"listen\" = true", "listen", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parse("f", text, known)
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Fatalf("%q: %v is not Invalid", text, err)
		}
		for name, s := range all {
			if err == nil && (!strings.Contains(strings.Join(known, " "), name) || s.Values == nil) {
				t.Fatalf("%q: %s is %+v", text, name, s)
			}
		}
	})
}
