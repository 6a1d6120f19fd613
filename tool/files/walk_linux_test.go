package files_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
	"polity.run/tool/files"
)

func TestPipesAndStrangeNamesAreLeftAlone(t *testing.T) {
	dir := folder(t, map[string]string{"a\xffb.go": "package a\n", "sub\xfe/c.go": "package c\n", "good.go": "package a\n", "line\nbreak.go": "package a\n"})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, notes, _ := walk(t, dir, files.Limits{})
	if diff := cmp.Diff([]string{"good.go text", "line\nbreak.go text"}, got); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"2 names are not UTF-8 and were not looked at: a\uFFFDb.go, sub\uFFFD.", "1 entry is neither file nor folder and was not opened: pipe."} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in %q", want, notes)
		}
	}
	if _, err := ask[files.Page](t, tools(t)["files.read"], dir, files.Read{Path: "pipe"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("reading a pipe: got %v; want fault.Invalid", err)
	}
}
