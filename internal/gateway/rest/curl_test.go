package rest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const asCurl = "POLITY_TEST_AS_CURL"

func TestMain(m *testing.M) {
	if os.Getenv(asCurl) != "" {
		if err := curl(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "curl:", err)
			os.Exit(22)
		}
		return
	}
	os.Exit(m.Run())
}

// curl does what curl does, as far as the guide uses it: where there is none the examples run all the same.
func curl(args []string, out io.Writer) error {
	method, body, target, fails, get := http.MethodGet, "", "", false, false
	header, query := http.Header{}, url.Values{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		value := func() string {
			v := args[0]
			args = args[1:]
			return v
		}
		switch arg {
		case "-sS", "-N":
		case "-f":
			fails = true
		case "-G":
			get = true
		case "-X":
			method = value()
		case "-H":
			name, text, _ := strings.Cut(value(), ": ")
			header.Set(name, text)
		case "--json":
			method, body = http.MethodPost, value()
			header.Set("Content-Type", "application/json")
		case "--data-urlencode":
			name, text, _ := strings.Cut(value(), "=")
			query.Set(name, text)
		default:
			if strings.HasPrefix(arg, "-") {
				return fmt.Errorf("%s is not known here", arg)
			}
			target = arg
		}
	}
	if get {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if fails && resp.StatusCode >= 400 {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}

var blocks = regexp.MustCompile("(?s)```(sh|json)\n(.*?)```")

// The examples of the guide run, and answer as it says.
func TestGuide(t *testing.T) {
	page, err := os.ReadFile("../../../docs/guide/rest.md")
	if err != nil {
		t.Fatal(err)
	}
	found := blocks.FindAllStringSubmatch(string(page), -1)
	own := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "curl"), []byte("#!/bin/sh\n"+asCurl+"=1 exec '"+self+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Run("own curl", func(t *testing.T) { guide(t, found, own+":"+os.Getenv("PATH")) })
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("curl is not installed here: the examples ran with this program in its place only")
		return
	}
	t.Run("curl", func(t *testing.T) { guide(t, found, os.Getenv("PATH")) })
}

// guide runs the blocks in one shell, each with its output in a file of its own, and compares those that are shown.
func guide(t *testing.T, found [][]string, path string) {
	w := trips(t)
	dir := t.TempDir()
	script, shown := "set -e\n", map[int]string{}
	n := 0
	for _, m := range found {
		if m[1] == "json" {
			shown[n] = m[2]
			continue
		}
		n++
		script += fmt.Sprintf("{\n%s\n} > %s/%d\n", m[2], dir, n)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = append(os.Environ(), "POLITY="+w.at.URL, "TOKEN="+w.at.Token, "PATH="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n < 10 || len(shown) < 8 {
		t.Errorf("only %d examples and %d answers were found", n, len(shown))
	}
	for i, want := range shown {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		var w, g any
		if err := json.Unmarshal([]byte(want), &w); err != nil {
			t.Fatalf("example %d: %v", i, err)
		}
		if err := json.Unmarshal(got, &g); err != nil || !alike(w, g) {
			t.Errorf("example %d answers %s, and the guide shows %s (%v)", i, got, want, err)
		}
	}
}

// alike says whether an answer has what is shown: numbers may be others, and "…" is any text.
func alike(shown, got any) bool {
	switch shown := shown.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		for name, v := range shown {
			if !ok || !alike(v, object[name]) {
				return false
			}
		}
		return ok
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) < len(shown) {
			return false
		}
		for i := range shown {
			if !alike(shown[i], list[i]) {
				return false
			}
		}
		return true
	case float64:
		_, ok := got.(float64)
		return ok
	case string:
		text, ok := got.(string)
		return ok && (shown == "…" || text == shown)
	default:
		return shown == got
	}
}
