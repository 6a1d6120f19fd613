package console_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"polity.run/internal/gateway/console"
)

// The most that the browser has to load, compressed.
const (
	shellMax  = 60 << 10  // before anything is shown
	screenMax = 150 << 10 // for a screen, with the shell
)

// mounted is the console where it is served.
var mounted = sync.OnceValue(func() http.Handler { return http.StripPrefix("/console", console.Handler()) })

// get asks the mounted console for a path, compressed or not.
func get(t *testing.T, target, encoding string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	mounted().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

var (
	sources = regexp.MustCompile(`(?:href|src)="(/console/[^"]+)"`)
	mapped  = regexp.MustCompile(`"([^"]+)": "(/console/assets/[^"]+)"`)
	imports = regexp.MustCompile(`(?m)(?:\bfrom ?|^import )"([^"]+)"`)
	lazy    = regexp.MustCompile(`import\("([^"]+)"\)`)
)

// site is what a browser loads, beginning with the page.
type site struct {
	t     *testing.T
	names map[string]string // what modules are called, to where they are
}

// needs lists a module and everything that it imports.
func (s site) needs(module string, found []string) []string {
	s.t.Helper()
	if slices.Contains(found, module) {
		return found
	}
	res, text := get(s.t, module, "")
	if res.StatusCode != http.StatusOK {
		s.t.Errorf("%s: %s", module, res.Status)
		return found
	}
	found = append(found, module)
	for _, m := range imports.FindAllStringSubmatch(text, -1) {
		found = s.needs(s.at(module, m[1]), found)
	}
	return found
}

// at is where a module finds another one.
func (s site) at(module, name string) string {
	if strings.HasPrefix(name, ".") {
		return path.Join(path.Dir(module), name)
	}
	if s.names[name] == "" {
		s.t.Errorf("%s imports %q, which is not in the page's import map", module, name)
	}
	return s.names[name]
}

func (s site) weigh(files []string) int {
	n := 0
	for _, f := range files {
		_, body := get(s.t, f, "gzip")
		n += len(body)
	}
	return n
}

func TestSizes(t *testing.T) {
	_, page := get(t, "/console/", "")
	s := site{t, map[string]string{}}
	for _, m := range mapped.FindAllStringSubmatch(page, -1) {
		s.names[m[1]] = m[2]
	}
	shell := []string{"/console/"}
	main := ""
	for _, m := range sources.FindAllStringSubmatch(page, -1) {
		if path.Base(m[1]) == "main.js" {
			main = m[1]
		} else if !slices.Contains(shell, m[1]) {
			shell = append(shell, m[1])
		}
	}
	shell = s.needs(main, shell)
	if n := s.weigh(shell); n > shellMax {
		t.Errorf("the shell has %d bytes, more than %d", n, shellMax)
	} else {
		t.Logf("shell: %d bytes in %d files", n, len(shell))
	}
	_, text := get(t, main, "")
	screens := lazy.FindAllStringSubmatch(text, -1)
	if len(screens) < 6 {
		t.Errorf("only %d screens were found", len(screens))
	}
	for _, m := range screens {
		n := s.weigh(s.needs(s.at(main, m[1]), slices.Clone(shell)))
		if n > screenMax {
			t.Errorf("%s has %d bytes with the shell, more than %d", m[1], n, screenMax)
		}
		t.Logf("%s: %d bytes with the shell", m[1], n)
	}
}

func TestPolicy(t *testing.T) {
	for _, target := range []string{"/console/", "/console/runs/0-a%2Fb?step=x", "/console/nowhere"} {
		res, page := get(t, target, "")
		policy := res.Header.Get("Content-Security-Policy")
		inline := regexp.MustCompile(`(?s)<script type="importmap">(.*?)</script>`).FindStringSubmatch(page)
		if res.StatusCode != http.StatusOK || inline == nil {
			t.Fatalf("%s: %s\n%s", target, res.Status, page)
		}
		sum := sha256.Sum256([]byte(inline[1]))
		if want := "script-src 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; !strings.Contains(policy, want) {
			t.Errorf("%s: the policy does not name the page's script\n%s\nwant %s", target, policy, want)
		}
		for _, word := range []string{"unsafe", "http:", "https:", "data:", "*"} {
			if strings.Contains(policy, word) {
				t.Errorf("%s: the policy allows %q: %s", target, word, policy)
			}
		}
		if !strings.HasPrefix(policy, "default-src 'none';") {
			t.Errorf("%s: the policy is %s", target, policy)
		}
	}
}

// What is our own takes nothing from elsewhere, and makes no markup or code of text.
func TestFiles(t *testing.T) {
	forbidden := regexp.MustCompile(`dangerouslySetInnerHTML|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://`)
	seen := 0
	err := filepath.WalkDir("assets", func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "assets/vendor/") {
			return err
		}
		data, err := os.ReadFile(name)
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		for _, found := range forbidden.FindAllString(text, -1) {
			t.Errorf("%s has %s", name, found)
		}
		seen++
		return err
	})
	if err != nil || seen < 15 {
		t.Errorf("%d files were looked at: %v", seen, err)
	}
}

// The libraries are those that vendor.sh fetched, and each stands beside its licence.
func TestLibraries(t *testing.T) {
	f, err := os.Open("assets/vendor/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string]bool{"SHA256SUMS": true}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		want, name, _ := strings.Cut(lines.Text(), "  ")
		data, err := os.ReadFile(filepath.Join("assets/vendor", name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is not as it was fetched", name)
		}
		known[name] = true
	}
	all, err := os.ReadDir("assets/vendor")
	if err != nil {
		t.Fatal(err)
	}
	licence := map[string]string{"hooks.js": "preact", "signals-core.js": "signals"} // of the package that each is a part of
	for _, d := range all {
		base, js := strings.CutSuffix(d.Name(), ".js")
		if other := licence[d.Name()]; other != "" {
			base = other
		}
		if !known[d.Name()] || js && !known[base+".LICENSE"] {
			t.Errorf("assets/vendor/%s: it has no sum, or no licence", d.Name())
		}
	}
}

func TestCaching(t *testing.T) {
	page, text := get(t, "/console/", "gzip")
	style := regexp.MustCompile(`/console/assets/[0-9a-f]{16}/console\.css`)
	_, plain := get(t, "/console/", "")
	file, _ := get(t, style.FindString(plain), "gzip")
	if got := file.Header.Get("Cache-Control"); file.StatusCode != http.StatusOK || !strings.Contains(got, "immutable") {
		t.Errorf("a file is answered with %s, %q", file.Status, got)
	}
	if got := page.Header.Get("Cache-Control"); got != "no-cache" || page.Header.Get("Content-Encoding") != "gzip" || len(text) >= len(plain) {
		t.Errorf("the page is answered with %q, %q, %d of %d bytes", got, page.Header.Get("Content-Encoding"), len(text), len(plain))
	}
	r := httptest.NewRequest(http.MethodGet, "/console/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	r.Header.Set("If-None-Match", page.Header.Get("ETag"))
	w := httptest.NewRecorder()
	mounted().ServeHTTP(w, r)
	if w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("the same page again: %d, %d bytes", w.Code, w.Body.Len())
	}
	for target, want := range map[string]int{"/console/assets/0000000000000000/main.js": 404, "/console/assets/": 404} {
		if res, _ := get(t, target, ""); res.StatusCode != want {
			t.Errorf("%s: %s", target, res.Status)
		}
	}
	w = httptest.NewRecorder()
	mounted().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/console/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered with %d", w.Code)
	}
}
