// Package console is the web page on which a person sees and steers the organizations of a node.
//
// It exists so that whoever did not build an organization can follow it and decide for it. The page is files and nothing else: it holds no
// state and asks the node's API, as every other program does, with the session of the one who looks at it. There is no build step: what
// lies in assets is what the browser runs.
//
//	a browser -> index.html -> modules under assets/DIGEST/ -> /v1 of the same node
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Path is where the console is mounted: links and files name it.
const Path = "/console/"

//go:embed assets
var files embed.FS

// Handler serves the page at every path, so that each of its states can be linked to, and what the page is made of below /assets/. Path is to be
// stripped from a request's path, up to its last slash. What it answers is the same for everybody and tells nothing of the node.
func Handler() http.Handler { return newSite(files) }

// site is the page and its parts, compressed once.
type site struct {
	page   file
	policy string
	parts  map[string]file // by path, without the slash before it
}

// file is what is answered with.
type file struct {
	kind        string // its Content-Type
	plain, gzip []byte
	tag         string // its ETag
}

// inline finds the only script that stands in the page itself: where modules are found.
var inline = regexp.MustCompile(`(?s)<script type="importmap">(.*?)</script>`)

// newSite reads the files of a file system that has them under assets. They are part of the program: it panics if they are not there.
func newSite(from fs.FS) *site {
	s := &site{parts: map[string]file{}}
	contents := map[string][]byte{}
	sum := sha256.New()
	err := fs.WalkDir(from, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, name)
		contents[strings.TrimPrefix(name, "assets/")] = data
		fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
		return err
	})
	if err != nil {
		panic(fmt.Sprintf("console: read the files: %v", err))
	}
	root := "assets/" + hex.EncodeToString(sum.Sum(nil)[:8]) + "/"
	page := bytes.ReplaceAll(contents["index.html"], []byte("ASSETS/"), []byte(Path+root))
	delete(contents, "index.html")
	for name, data := range contents {
		s.parts[root+name] = newFile(name, data)
	}
	s.page = newFile("index.html", page)
	s.policy = policy(page)
	return s
}

// newFile compresses what is worth it.
func newFile(name string, data []byte) file {
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // the system's table may say otherwise
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".svg":
		kind = "image/svg+xml"
	case "", ".LICENSE":
		kind = "text/plain; charset=utf-8"
	}
	sum := sha256.Sum256(data)
	f := file{kind: kind, plain: data, tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a known one, and a buffer takes everything
	_, _ = w.Write(data)
	_ = w.Close()
	if b.Len() < len(data) {
		f.gzip = b.Bytes()
	}
	return f
}

// policy lets the page load its own files and speak with its own host, and nothing else: no code that stands in a document or is made of
// text, no frame, no other host. The one script in the page is named by its hash.
func policy(page []byte) string {
	script := "script-src 'self'"
	for _, found := range inline.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(found[1])
		script += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return strings.Join([]string{
		"default-src 'none'", script, "style-src 'self'", "img-src 'self'", "connect-src 'self'", "manifest-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
		"require-trusted-types-for 'script'", "trusted-types 'none'",
	}, "; ")
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the console is only read", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	name := strings.TrimPrefix(r.URL.Path, "/")
	if strings.HasPrefix(name, "assets/") {
		part, ok := s.parts[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h.Set("Cache-Control", "public, max-age=31536000, immutable") // its path changes with it
		part.serve(w, r)
		return
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", s.policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	s.page.serve(w, r)
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	body, tag := f.plain, f.tag
	if f.gzip != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body, tag = f.gzip, strings.TrimSuffix(f.tag, `"`)+`-gzip"`
	}
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // whoever has gone away needs no answer
	}
}
