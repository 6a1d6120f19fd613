package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }

// notices are those of a run with a step that ended, one that failed, and one that runs.
func notices() []polity.Notice {
	return []polity.Notice{
		{At: at(0), Kind: "opened", Run: "0-a", Agent: "board"},
		{At: at(0), Kind: "started", Run: "0-a", Name: "deps", Verb: "ask", To: "dependencies"},
		{At: at(10), Kind: "opened", Run: "0-a/deps", Agent: "dependencies"},
		{At: at(10), Kind: "started", Run: "0-a/deps", Name: "call.code", Verb: "call", To: "code.dependencies"},
		{At: at(120), Kind: "result", Run: "0-a/deps", Name: "call.code"},
		{At: at(130), Kind: "finished", Run: "0-a/deps", Status: "completed"},
		{At: at(140), Kind: "started", Run: "0-a", Name: "tests", To: "tests"},
		{At: at(200), Kind: "result", Run: "0-a", Name: "tests", Fault: fault.Of(fault.Timeout.New("no answer\x1b[2J"))},
		{At: at(210), Kind: "started", Run: "0-a", Name: "tests", Attempt: 2, To: "tests"},
	}
}

func TestTreeLines(t *testing.T) {
	tr := newTree("0-a")
	tr.live = true
	for _, n := range notices() {
		tr.apply(n)
		tr.apply(n) // it may come twice
	}
	tr.apply(polity.Notice{At: at(5), Kind: "started", Run: "0-a/deps", Name: "call.code", To: "code.dependencies"}) // or late
	want := []string{
		"⠋ 0-a (board)  1.00s",
		"├─ ✓ deps (dependencies)  0.13s",
		"│  └─ ✓ call.code (code.dependencies)  0.11s",
		"├─ ✗ tests  0.06s  timeout: no answer[2J",
		"└─ ⠋ tests~2 (tests)  0.79s",
	}
	if diff := cmp.Diff(want, tr.lines(picture{now: at(1000)})); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	tr.live = false
	want[0], want[4] = "· 0-a (board)", "└─ · tests~2 (tests)  not done"
	if diff := cmp.Diff(want, tr.lines(picture{now: at(1000)})); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	for _, line := range tr.lines(picture{now: at(1000), columns: 12}) {
		if width(line) > 12 {
			t.Errorf("%q is wider than 12 columns", line)
		}
	}
	if got := tr.undone(); len(got) != 1 || got[0].path() != "tests~2" {
		t.Errorf("undone: %v", got)
	}
	if tr.done() != 2 {
		t.Errorf("%d steps are done, want 2", tr.done())
	}
}

func TestTreeEvents(t *testing.T) {
	tr := newTree("0-a")
	var got []string
	all := append(notices(),
		polity.Notice{At: at(300), Kind: "cancel", Run: "0-a", Fault: fault.Of(fault.Cancelled.New("cancelled: enough"))},
		polity.Notice{At: at(400), Kind: "result", Run: "0-a", Name: "tests", Attempt: 2, Fault: fault.Of(fault.Cancelled.New("cancelled: enough"))},
		polity.Notice{At: at(500), Kind: "finished", Run: "0-a", Status: "cancelled", Fault: fault.Of(fault.Cancelled.New("cancelled: enough"))},
		polity.Notice{At: at(500), Kind: "whatever", Run: "0-a"},
	)
	for _, n := range all {
		s, changed := tr.apply(n)
		if changed == changeNone {
			continue
		}
		if line := tr.event(s, changed, n.At); line != "" {
			got = append(got, line)
		}
	}
	want := []string{
		"   0.00s  run               board                     started",
		"   0.00s  deps              dependencies              started",
		"   0.12s  deps              call.code                 done",
		"   0.13s  deps              dependencies              done",
		"   0.14s  tests                                       started",
		"   0.20s  tests                                       failed: timeout: no answer[2J",
		"   0.21s  tests~2           tests                     started",
		"   0.30s  run               board                     cancelling",
		"   0.40s  tests~2           tests                     cancelled: enough",
		"   0.50s  run               board                     cancelled: enough",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// On a terminal what is said stands above the picture, and the whole picture stays at the end.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out)
	if s.moves || s.styled {
		t.Fatal("a buffer is no terminal")
	}
	s.show(func(columns, rows, _ int) []string {
		if columns != widthElse || rows != heightElse {
			t.Errorf("size %d×%d", columns, rows)
		}
		return []string{"one", "two"}
	})
	s.say("hello %d", 1)
	s.hide()
	s.say("bye")
	want := "one\ntwo\n\x1b[2A\r\x1b[Jhello 1\none\ntwo\n"
	got := out.String()
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "one\ntwo\n\x1b[2A\r\x1b[Jbye\n") {
		t.Errorf("got %q", got)
	}
}

// A picture that is larger than the terminal shows its end.
func TestPictureFits(t *testing.T) {
	v := newView(newScreen(&bytes.Buffer{}), "0-a")
	v.lines = false
	for _, n := range notices() {
		check(t, v.put(n))
	}
	got := v.picture(80, 4, 0)
	if len(got) != 3 || got[0] != "… 3 lines above" || !strings.Contains(got[2], "tests~2") {
		t.Errorf("got %q", got)
	}
}

func TestStyled(t *testing.T) {
	tests := map[string]struct {
		no, force string
		want      bool
	}{
		"a buffer":       {"", "", false},
		"forced":         {"", "1", true},
		"forced by 0":    {"", "0", false},
		"NO_COLOR first": {"1", "1", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tt.no)
			t.Setenv("CLICOLOR_FORCE", tt.force)
			if got := styled(&bytes.Buffer{}); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestWidth(t *testing.T) {
	tests := map[string]struct {
		text    string
		columns int
	}{
		"ASCII": {"abc", 3}, "box": {"└─ ✓", 4}, "wide": {"日本", 4}, "combining": {"e\u0301", 1}, "none": {"", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := width(tt.text); got != tt.columns {
				t.Errorf("got %d, want %d", got, tt.columns)
			}
		})
	}
	if got := clip("日本語", 4); got != "日…" {
		t.Errorf("clip: %q", got)
	}
}
