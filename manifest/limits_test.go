package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"polity.run/fault"
	"polity.run/manifest"
)

const head = "polity: v1\nname: x\n"

// TestHostileTextIsRefused feeds texts that would cost much if anything in them were expanded,
// followed or repeated. Each ends in problems, and never in more of them than may be listed.
func TestHostileTextIsRefused(t *testing.T) {
	room := manifest.SizeMax - 1000
	fill := func(part string) string { return strings.Repeat(part, room/len(part)) }
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 100; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	var circle, orgs, unknown strings.Builder
	for i := range 900 {
		fmt.Fprintf(&circle, "  o%d: {pattern: hub, specialists: [o%d]}\n", i, (i+1)%900)
	}
	long := strings.Repeat("d", 1000)
	for i := range 400 {
		fmt.Fprintf(&orgs, "  w%d: {use: greeter, description: %s}\n", i, long)
	}
	for i := range 200 {
		fmt.Fprintf(&orgs, "  t%d: {pattern: hub, specialists: [%s]}\n", i, names("w", 400))
	}
	for i := range 900 {
		fmt.Fprintf(&unknown, "  u%d: {model: quote, instructions: x, gather: [%s]}\n", i, names("tolo", 40))
	}
	tests := map[string]struct{ text, want string }{
		"alias bomb":         {bomb, "aliases are not allowed"},
		"many aliases":       {"a: &a x\nb: [" + fill("*a,") + "]\n", "aliases are not allowed"},
		"open lists":         {head + "agents: " + fill("["), "this is not YAML"},
		"open mappings":      {head + "agents: " + fill("{"), "this is not YAML"},
		"deep lists":         {head + "agents: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "more than 32 deep"},
		"deep blocks":        {head + "agents:\n" + deep(1200), "more than 32 deep"},
		"many values":        {head + "agents: [" + fill("1,") + "]\n", "more than 100000 values"},
		"duplicate keys":     {head + "agents:\n" + strings.Repeat("  a: 1\n", 30_000), "already set in line 4"},
		"long key":           {head + strings.Repeat("k", 1000) + ": 1\n", "longer than 256 bytes"},
		"longer key":         {head + strings.Repeat("k", room) + ": 1\n", "could not find expected ':'"},
		"long explicit key":  {head + "? " + strings.Repeat("k", room) + "\n: 1\n", "longer than 256 bytes"},
		"long text":          {"polity: " + strings.Repeat("v", room) + "\n" + "name: x\n", "is not one of v1"},
		"comments":           {head + fill("#x\n"), "this field is missing"},
		"empty lines":        {head + fill("\n"), "this field is missing"},
		"wrong indentation":  {head + "agents:\n  a:\n" + strings.Repeat("    k: 1\n", 20_000) + "   b: 1\n", "did not find expected key"},
		"circle of orgs":     {head + "agents:\n" + circle.String() + "org: {pattern: hub, specialists: [o0]}\n", "contains itself"},
		"orgs of everything": {head + "agents:\n" + orgs.String() + "org: {pattern: hub, specialists: [t0]}\n", "more than 8 MiB"},
		"unknown tools":      {head + "agents:\n" + unknown.String() + "org: {pattern: hub, specialists: [u0]}\n", "there are more problems"},
		"many agents":        {head + "agents:\n" + agents(1001), "1001 agents are more than 1000"},
		"many steps": {head + "agents: {a: {use: greeter}}\norg:\n  pattern: hub\n  specialists: [a]\n  plan:\n" +
			strings.Repeat("    - {id: s, agent: a}\n", 501), "501 steps are more than 500"},
		"many documents": {head + "agents: {a: {use: greeter}}\n" + strings.Repeat("---\na: 1\n", 50_000), "second document"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if len(test.text) > manifest.SizeMax {
				t.Fatalf("the test's text of %d bytes is refused for its size alone", len(test.text))
			}
			_, err := load(t, test.text)
			var problems manifest.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("want problems, got %v", err)
			}
			if len(problems) > manifest.ProblemsMax+1 {
				t.Errorf("%d problems are listed", len(problems))
			}
			if text := err.Error(); !strings.Contains(text, test.want) || len(text) > 100_000 {
				t.Errorf("want %q, got %d bytes: %.500s", test.want, len(text), text)
			}
		})
	}
}

func names(prefix string, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s%d", prefix, i))
	}
	return strings.Join(all, ", ")
}

func agents(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  a%d: {use: greeter}\n", i)
	}
	return b.String()
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	return b.String()
}

func TestLargeFileIsRefusedUnread(t *testing.T) {
	path := filepath.Join(t.TempDir(), manifest.FileName)
	sparse(t, path, 100<<20)
	_, err := manifest.Load(path, env())
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "104857600 bytes; at most 1048576") {
		t.Fatal(err)
	}
	// What is refused by its size is not read: the whole call allocates far less than the file.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = manifest.Load(path, env())
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > manifest.SizeMax {
		t.Errorf("%d bytes were allocated", got)
	}
}

// sparse makes a file of a size that takes no room.
func sparse(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestPinnedFilesAreLimited(t *testing.T) {
	dir := t.TempDir()
	sparse(t, filepath.Join(dir, "huge"), manifest.FileMax+1)
	for i := range 5 {
		sparse(t, filepath.Join(dir, fmt.Sprintf("large%d", i)), manifest.FileMax)
	}
	write(t, dir, head+"agents: {a: {command: [cat], files: [huge, large0, large1, large2, large3, large4]}}\n")
	_, err := manifest.Load(dir, env())
	if err == nil {
		t.Fatal("too much was pinned")
	}
	for _, want := range []string{
		"agents.a.files[0]: the file has 16777217 bytes; at most 16777216 are allowed",
		"agents.a.files[5]: up to here the pinned files have more than 64 MiB",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// The same file counts once, however many agents pin it.
	var many strings.Builder
	for i := range 20 {
		fmt.Fprintf(&many, "  a%d: {command: [cat], files: [large0, ./large0]}\n", i)
	}
	write(t, dir, head+"agents:\n"+many.String()+"org: {pattern: hub, specialists: ["+names("a", 20)+"]}\n")
	m, err := manifest.Load(dir, env())
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Blobs) != 1 {
		t.Errorf("%d blobs", len(m.Blobs))
	}
}

func write(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFilesStayInTheFolder(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte(`{}`), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	links := map[string]string{"out": filepath.Join(outside, "secret"), "dir": outside, "in": "there", "round": "round"}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "there"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ agent, want string }{
		"link out":        {"{command: [./out]}", `file "out": path escapes from parent`},
		"linked folder":   {"{command: [./dir/secret]}", `file "dir/secret": path escapes from parent`},
		"listed":          {"{command: [cat], files: [out]}", `file "out": path escapes from parent`},
		"instructions":    {"{model: quote, instructions_file: out}", `file "out": path escapes from parent`},
		"schema":          {"{use: greeter, skills: [{name: s, input: dir/secret}]}", `file "dir/secret": path escapes from parent`},
		"link to itself":  {"{command: [./round]}", `file "round": `},
		"back and forth":  {"{command: [./sub/../../x]}", `"../x" leaves the manifest's folder`},
		"pipe":            {"{command: [cat], files: [pipe]}", `"pipe" is not a regular file`},
		"backslash":       {`{command: ['./..\x']}`, "is not a file's name"},
		"link that stays": {"{command: [./in]}", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			write(t, dir, head+"agents: {a: "+test.agent+"}\n")
			m, err := manifest.Load(dir, env())
			switch {
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("want %q, got %v", test.want, err)
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "" && len(m.Blobs) != 1:
				t.Errorf("%d blobs", len(m.Blobs))
			}
		})
	}
}

func TestNoManifest(t *testing.T) {
	dir := t.TempDir()
	_, err := manifest.Load(dir, env())
	if !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "there is no file "+filepath.Join(dir, manifest.FileName)) {
		t.Errorf("folder without one: %v", err)
	}
	if _, err := manifest.Load(filepath.Join(dir, "none.yaml"), env()); !errors.Is(err, fault.NotFound) {
		t.Errorf("no file: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, manifest.FileName), fs.ModePerm); err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.Load(dir, env()); !errors.Is(err, fault.Invalid) {
		t.Errorf("a folder of that name: %v", err)
	}
	if _, err := manifest.Load(os.DevNull, env()); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a device: %v", err)
	}
}

func TestSameFilesSameRelease(t *testing.T) {
	var digest string
	var first []byte
	for i := range 100 {
		m, err := manifest.Load("../examples/review-board", exampleEnv())
		if err != nil {
			t.Fatal(err)
		}
		d, data, err := manifest.Digest(&m.Release)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			digest, first = d, data
		}
		if d != digest || !bytes.Equal(data, first) {
			t.Fatalf("load %d differs", i)
		}
	}
}
