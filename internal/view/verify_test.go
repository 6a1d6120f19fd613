package view

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
)

// TestVerify harms a view and wants each damage to be found, named, and mended by a rebuild.
func TestVerify(t *testing.T) { each(t, checkVerify) }

func checkVerify(t *testing.T, dsn string) {
	p := openLog(t, t.TempDir())
	runs(t, p, 0, 7)
	office(t, p)
	word := "INSERT INTO words (rowid, text) VALUES (3, 'hippopotamus')"
	if dsn != "" {
		word = "UPDATE texts SET words = words || 'hippopotamus:1'::tsvector WHERE num = 3"
	}
	harms := map[string]struct{ statement, want string }{
		"nothing":         {"SELECT 1", ""},
		"a number":        {"UPDATE runs SET cost = cost + 1 WHERE num = 3", `runs: row num 3: cost is "1501", and by the log "1500"`},
		"a missing row":   {"DELETE FROM steps WHERE num = 5", "steps: row num 5: in its place is num 6"},
		"the last row":    {"DELETE FROM told WHERE num = (SELECT max(num) FROM told)", "told: row num 5 is missing"},
		"a row too many":  {"INSERT INTO ended VALUES (99999, 'zoo', 1, 1, 1)", `ended: row day 99999 is one too many`},
		"a pause":         {"UPDATE runs SET paused = NULL", "runs: row num "},
		"a finding":       {"UPDATE steps SET verdict = NULL", "steps: row num "},
		"a text":          {"UPDATE texts SET step = 'x' WHERE num = 2", `texts: row num 2: step is "x"`},
		"a deleted index": {"DROP INDEX runs_cost", "index runs_cost: it is not there"},
		"a deleted table": {"DROP TABLE used", "table used: it is not there"},
		"numbers":         {"UPDATE position SET runs = runs + 1", "position: row runs "},
		"words":           {word, ""},
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			v, stop := openView(t, dsn, dir, p)
			caughtUp(t, v, p)
			stop()
			change(t, dsn, dir, harm.statement)
			found := verified(t, dsn, dir, p)
			said := damages(found)
			if name == "words" && len(said) == 0 || harm.want != "" && !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, harm.want) }) || name == "nothing" && len(said) > 0 {
				t.Errorf("found %q", said)
			}
			v, stop = openView(t, dsn, dir, p)
			if err := v.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			caughtUp(t, v, p)
			stop()
			if said := damages(verified(t, dsn, dir, p)); len(said) > 0 {
				t.Errorf("after a rebuild: %q", said)
			}
		})
	}
}

func verified(t *testing.T, dsn, dir string, p *run.Partition) polity.ViewCheck {
	t.Helper()
	found, err := Verify(t.Context(), Config{Dir: dir, DSN: dsn, Log: p, Person: func(_ run.Digest, agent string) bool { return agent == "boss" }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "check-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return found
}

func damages(c polity.ViewCheck) []string {
	var all []string
	for _, d := range c.Damage {
		all = append(all, d.Name+": "+d.Text)
	}
	return all
}

// TestVerifyFile wants a file whose bytes changed to be found damaged, wherever that is, or to be equal all the same.
func TestVerifyFile(t *testing.T) {
	p := openLog(t, t.TempDir())
	runs(t, p, 0, 60)
	whole := t.TempDir()
	v, stop := openView(t, "", whole, p)
	caughtUp(t, v, p)
	stop()
	good, err := os.ReadFile(filepath.Join(whole, fileName))
	if err != nil {
		t.Fatal(err)
	}
	harmed := func(data []byte) []string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return damages(verified(t, "", dir, p))
	}
	if said := harmed(good); len(said) > 0 {
		t.Fatalf("whole: %q", said)
	}
	for _, keep := range []int{1, 100, len(good) / 3, len(good) - 4096} {
		if said := harmed(good[:keep]); len(said) == 0 {
			t.Errorf("the first %d bytes: nothing is said", keep)
		}
	}
	flipped, found := 0, 0
	for at := 40; at < len(good); at += len(good)/20 + 13 {
		bad := slices.Clone(good)
		bad[at] ^= 0x10
		flipped++
		if len(harmed(bad)) > 0 {
			found++
		}
	}
	if found < flipped/4 { // pages are half full
		t.Errorf("%d of %d flipped bits were found", found, flipped)
	}
	t.Logf("%d of %d flipped bits were found; the others changed no row, index or word", found, flipped)
	if _, err := Verify(t.Context(), Config{Dir: t.TempDir(), Log: p}, nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("no view: %v", err)
	}
	two := openLog(t, t.TempDir())
	runs(t, two, 0, 1)
	if said := damages(verified(t, "", whole, two)); len(said) != 1 || !strings.Contains(said[0], "was not made from this log") {
		t.Errorf("another log: %q", said)
	}
}
