package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
)

func ExampleMain() {
	code := Main(context.Background(), []string{"runs", "lst"}, strings.NewReader(""), os.Stdout, os.Stdout)
	fmt.Println("exit code", code)
	// Output:
	// polity: there is no command "polity runs lst"; did you mean "list"?
	// See: polity runs --help
	// exit code 2
}

func TestExitCodesAreComplete(t *testing.T) {
	for _, k := range fault.Kinds() {
		code, ok := exitCodes[k]
		if !ok || code == exitOK || code == exitRunFailed {
			t.Errorf("fault %s has exit code %d", k, code)
		}
		if code > 0 && !strings.Contains(rootHelp, fmt.Sprintf("\n  %-5d", code)) {
			t.Errorf("exit code %d is not explained", code)
		}
	}
	for k := range exitCodes {
		if !slices.Contains(fault.Kinds(), k) {
			t.Errorf("exit code of %q, which is no kind", k)
		}
	}
}

func TestExitCode(t *testing.T) {
	tests := map[string]struct {
		err  error
		code int
		text string
	}{
		"nothing":         {nil, 0, ""},
		"fault":           {fault.Conflict.New("busy"), exitConflict, "busy"},
		"wrapped":         {fmt.Errorf("run: %w", fault.NotFound.New("none")), exitNotFound, "run: none"},
		"no kind":         {errors.New("odd"), exitFailure, "odd"},
		"usage":           {usagef("no %q", "x"), exitUsage, `no "x"`},
		"ended":           {ended{exitRunFailed, "it failed"}, exitRunFailed, "it failed"},
		"ended and close": {errors.Join(ended{exitRunFailed, "it failed"}, errors.New("close")), exitRunFailed, "it failed"},
		"silent":          {ended{code: exitUsage}, exitUsage, ""},
		"cleaned":         {fault.Invalid.New("a\x1b[2Jb\nc\r"), exitUsage, "a[2Jb\nc"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if code, text := exitCode(tt.err); code != tt.code || text != tt.text {
				t.Errorf("got %d %q, want %d %q", code, text, tt.code, tt.text)
			}
		})
	}
}

// Every command says what it does and shows how.
func TestCommandsAreExplained(t *testing.T) {
	a := &app{screen: newScreen(&bytes.Buffer{}), stdout: &bytes.Buffer{}}
	n := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		n++
		if c.Short == "" || c.Example == "" && (c.Parent() == nil || c.Parent().Name() != "completion") {
			t.Errorf("%s has no description or no example", c.CommandPath())
		}
		for _, below := range c.Commands() {
			visit(below)
		}
	}
	visit(a.root())
	if n < 12 {
		t.Errorf("only %d commands were looked at", n)
	}
}

func TestParseBounds(t *testing.T) {
	tests := map[string]struct {
		text string
		want polity.Bounds
		ok   bool
	}{
		"none": {"", polity.Bounds{}, true},
		"all": {
			"turns=1,tokens=2,usd=0.5,wall=90s,depth=3,fan_out=4, retries=5",
			polity.Bounds{Turns: 1, Tokens: 2, MicroUSD: 500_000, Wall: polity.Duration(90 * time.Second), Depth: 3, FanOut: 4, Retries: 5}, true,
		},
		"smallest amount":   {"usd=0.000001", polity.Bounds{MicroUSD: 1}, true},
		"too fine":          {"usd=0.0000001", polity.Bounds{}, false},
		"unknown":           {"turn=1", polity.Bounds{}, false},
		"twice":             {"turns=1,turns=2", polity.Bounds{}, false},
		"no value":          {"turns", polity.Bounds{}, false},
		"zero":              {"turns=0", polity.Bounds{}, false},
		"negative":          {"wall=-1s", polity.Bounds{}, false},
		"negative amount":   {"usd=-1", polity.Bounds{}, false},
		"too many":          {"depth=99999999999", polity.Bounds{}, false},
		"empty part":        {"turns=1,", polity.Bounds{}, false},
		"duration wanted":   {"wall=10", polity.Bounds{}, false},
		"not a number":      {"tokens=many", polity.Bounds{}, false},
		"amount of nothing": {"usd=.", polity.Bounds{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseBounds(tt.text)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v, want it right: %t", err, tt.ok)
			}
			var usage usageError
			if err != nil && !errors.As(err, &usage) {
				t.Errorf("%v is not wrong usage", err)
			}
			if diff := cmp.Diff(tt.want, got); tt.ok && diff != "" {
				t.Errorf("bounds (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever --bounds says, it is refused or is bounds that the engine takes.
func FuzzParseBounds(f *testing.F) {
	f.Add("turns=1,tokens=2,usd=0.5,wall=90s")
	f.Add("usd=9223372036854775807.9")
	f.Add("=,=")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBounds(text)
		if err == nil && b.Check() != nil {
			t.Errorf("%q gives %+v: %v", text, b, b.Check())
		}
	})
}

func TestFind(t *testing.T) {
	tests := map[string]struct {
		id, text polity.RunID
		want     bool
	}{
		"whole":             {"0-abc", "0-abc", true},
		"beginning":         {"0-abc", "0-a", true},
		"without partition": {"0-abc", "ab", true},
		"middle":            {"0-abc", "bc", false},
		"longer":            {"0-abc", "0-abcd", false},
		"nothing":           {"0-abc", "", false},
		"partition alone":   {"0-abc", "0", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := begins(tt.id, tt.text); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestShortID(t *testing.T) {
	tests := map[string]struct {
		id   polity.RunID
		all  []polity.RunID
		want string
	}{
		"alone":           {"0-abcdefgh", nil, "0-abcdef"},
		"itself":          {"0-abcdefgh", []polity.RunID{"0-abcdefgh"}, "0-abcdef"},
		"another":         {"0-abcdefgh", []polity.RunID{"0-zbcdefgh"}, "0-abcdef"},
		"begins alike":    {"0-abcdefgh", []polity.RunID{"0-abcdefgx", "0-abcdefxx", "0-abcdexxx"}, "0-abcdefgh"},
		"needs one more":  {"0-abcdefgh", []polity.RunID{"0-abcdefxx"}, "0-abcdefg"},
		"other partition": {"0-abcdefgh", []polity.RunID{"1-abcdefgh"}, "0-abcdef"},
		"short already":   {"0-abc", []polity.RunID{"0-abd"}, "0-abc"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			all := make([]polity.Summary, len(tt.all))
			for i, id := range tt.all {
				all[i].ID = id
			}
			if got := shortID(tt.id, all); got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}

func TestFolderDigest(t *testing.T) {
	limits := folderLimits{folderFilesMax, folderBytesMax}
	digest := func(t *testing.T, root string) string {
		t.Helper()
		d, err := folderDigest(t.Context(), root, filepath.Join(root, "state"), limits)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	build := func(t *testing.T) string {
		t.Helper()
		root := t.TempDir()
		write(t, root, "a/b.txt", "b")
		write(t, root, "c.txt", "c")
		write(t, root, ".git/HEAD", "ref: refs/heads/main\n")
		write(t, root, ".git/refs/heads/main", "1111\n")
		write(t, root, "state/lock", "1")
		if err := os.Symlink("c.txt", filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
		return root
	}
	same := digest(t, build(t))
	tests := map[string]struct {
		change func(t *testing.T, root string)
		equal  bool
	}{
		"nothing": {func(*testing.T, string) {}, true},
		"content": {func(t *testing.T, root string) { write(t, root, "c.txt", "d") }, false},
		"new":     {func(t *testing.T, root string) { write(t, root, "d.txt", "") }, false},
		"moved": {func(t *testing.T, root string) {
			check(t, os.Rename(filepath.Join(root, "c.txt"), filepath.Join(root, "a", "c.txt")))
		}, false},
		"empty folder": {func(t *testing.T, root string) { check(t, os.Mkdir(filepath.Join(root, "e"), 0o700)) }, false},
		"link": {func(t *testing.T, root string) {
			check(t, os.Remove(filepath.Join(root, "link")))
			check(t, os.Symlink("a/b.txt", filepath.Join(root, "link")))
		}, false},
		"commit":          {func(t *testing.T, root string) { write(t, root, ".git/refs/heads/main", "2222\n") }, false},
		"index":           {func(t *testing.T, root string) { write(t, root, ".git/index", "x") }, true},
		"state folder":    {func(t *testing.T, root string) { write(t, root, "state/anchor", "x") }, true},
		"time of a file":  {func(t *testing.T, root string) { touch(t, filepath.Join(root, "c.txt")) }, true},
		"contents traded": {func(t *testing.T, root string) { write(t, root, "c.txt", "b"); write(t, root, "a/b.txt", "c") }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := build(t)
			tt.change(t, root)
			if got := digest(t, root); (got == same) != tt.equal {
				t.Errorf("equal: %t, want %t", got == same, tt.equal)
			}
		})
	}
	for name, small := range map[string]folderLimits{"files": {3, folderBytesMax}, "bytes": {folderFilesMax, 1}} {
		t.Run("limit of "+name, func(t *testing.T) {
			if _, err := folderDigest(t.Context(), build(t), "", small); !errors.Is(err, fault.Full) || !strings.Contains(err.Error(), "--new") {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := folderDigest(ctx, build(t), "", limits); !errors.Is(err, fault.Cancelled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestHeadCommit(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"branch":         {map[string]string{"HEAD": "ref: refs/heads/main\n", "refs/heads/main": "1111\n"}, "1111"},
		"packed":         {map[string]string{"HEAD": "ref: refs/heads/main\n", "packed-refs": "# x\n2222 refs/heads/main\n3333 refs/tags/v\n"}, "2222"},
		"detached":       {map[string]string{"HEAD": "4444\n"}, "4444"},
		"nothing yet":    {map[string]string{"HEAD": "ref: refs/heads/main\n"}, "refs/heads/main"},
		"leads outside":  {map[string]string{"HEAD": "ref: ../../secret\n"}, "none"},
		"not repository": {nil, "none"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range tt.files {
				write(t, root, file, text)
			}
			if got := headCommit(root); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, []byte(text), 0o600))
}

func touch(t *testing.T, path string) {
	t.Helper()
	check(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestVersionOf(t *testing.T) {
	v := versionOf(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}, {Key: "vcs.time", Value: "now"}, {Key: "-race", Value: "true"},
	}})
	v.Go, v.Platform = "", ""
	if diff := cmp.Diff(version{Version: "v1.2.3", Revision: "abc", Time: "now", Modified: true}, v); diff != "" {
		t.Errorf("version (-want +got):\n%s", diff)
	}
}
