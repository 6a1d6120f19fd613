package code

import (
	"strings"
	"testing"

	"polity.run/tool/files"
)

// FuzzManifests: no manifest makes a parser panic, and every line it gives is a line of the manifest.
func FuzzManifests(f *testing.F) {
	for _, seed := range []string{
		"module m\n\nrequire a.b/c v1.0.0 // indirect\n\nreplace a.b/c => ../x\n",
		`{"dependencies": {"a": "^1", "b": 1, "c": "npm:x@"}, "require": {"a/b": "*"}}`, `{"dependencies": [{"a": {}}], "packages": null}`,
		"a==1.0\n-e git+https://x@y/z#egg=a\n\\\n", "[project]\ndependencies = [\"a>=1\", 7]\n[tool.poetry.dependencies]\nx = {git = 1}\n",
		"[dependencies]\na = \"1\"\n[dependencies.b]\npath = \"x\"\n[target.'cfg(x)'.dependencies]\nc = \"*\"\n[workspace]\n",
		"<project><dependencies><dependency><groupId>g</groupId><version>\n1</version></dependency></dependencies></project>", "<dependencies><dependency>",
		"implementation 'a:b:1.0'\n", "gem 'a', '~> 1', path: 'x'\n", "", "\xff\x00", "[packages]\n\"a.b\" = \"*\"\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := linesOf(data)
		for _, eco := range ecosystems {
			deps, err := eco.parse(data)
			if err != nil {
				continue
			}
			for _, d := range deps {
				if d.line < 0 || d.line > len(lines) {
					t.Fatalf("%s: %q is on line %d of %d", eco.name, d.name, d.line, len(lines))
				}
				if d.line > 0 && !strings.HasPrefix(files.Quote(lines[d.line-1]), files.Quote(d.text)) {
					t.Errorf("%s: line %d is %q, not %q", eco.name, d.line, lines[d.line-1], d.text)
				}
			}
		}
	})
}

func FuzzLockedLicences(f *testing.F) {
	for _, seed := range []string{
		`{"packages": {"": {}, "node_modules/a": {"license": "MIT"}, "node_modules/b": {"license": {"type": "X"}}}}`,
		`{"packages": [{"name": "a/b", "license": ["MIT", "X"]}]}`, `{"packages": 7}`, `{`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := readLockedLicences(data)
		if err != nil {
			return
		}
		for _, d := range found {
			if d.name == "" && d.licence == "" || d.evidence.Line > len(linesOf(data)) {
				t.Errorf("%+v", d)
			}
		}
	})
}

func FuzzLog(f *testing.F) {
	for _, seed := range []string{
		"\x011700000000\x01a@b\n\n3\t1\ta.go\n-\t-\tb.bin\n\x011600000000\x01c@d\n1\t0\ta.go\n",
		"1\t2\ta\n", "\x01x\x01y\n1\t1\t\"q\"\n", "\x01\n", "\x011\x01\n99999999999\t-1\tx\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := parseLog(data)
		if h.first > h.last || len(h.authors) > h.commits {
			t.Errorf("%+v", h)
		}
		for name, c := range h.files {
			if c.commits < 1 || c.lines < 0 || h.commits == 0 {
				t.Errorf("%q: %+v", name, c)
			}
		}
	})
}

// FuzzFunctions: no source makes the heuristics panic, and every function lies within its file.
func FuzzFunctions(f *testing.F) {
	for _, seed := range []string{
		"package a\n\nfunc (t *T[K]) F() { if x && y {} }\n", "def f(x,\n  y):\n  '''if\n  '''\n  return 1\n", "void f(int x) {\n if (a) { '}' }\n}\n",
		"fn f<'a>() { }", "const f = () => {\n}\n", "f() {\n}\n", "/* {\n*/ int g(void)\n{ /* } */ }", "\"\\", "'''", "def f(:\n)", "}}}{{{", "\xff{",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := linesOf([]byte(text))
		for _, ext := range []string{".go", ".js", ".py", ".rs", ".java", ".kt", ".php", ".c", ".sh", ".swift"} {
			src := source{File: &files.File{Path: "a" + ext}, lang: languageOf("a" + ext), data: []byte(text)}
			found, _ := functions(src)
			for _, fn := range found {
				if fn.line < 1 || fn.line+fn.lines-1 > len(lines) || fn.branches < 1 || fn.name == "" {
					t.Errorf("%s: %+v of %d lines", ext, fn, len(lines))
				}
			}
			src.lang.codeLines(src.data)
		}
	})
}

func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{
		"# A\n\ntext [a](b \"c\") <d>\n\n```\n[x](y)\n```\n", "A\n===\n\n> quote\n", "[a]: ./b%zz\n[c](d(e))\n", "~~~~\n```\n~~~~\n[a](b#c?d)", "\xff[\xfe](\xfd)", "![i](j)",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := readDocument("a.md", data)
		if len(d.first) > summaryMax {
			t.Errorf("a summary of %d bytes", len(d.first))
		}
		for _, l := range linksOf(data) {
			if l.target == "" || l.line < 1 || l.line > len(d.lines) {
				t.Errorf("%+v", l)
			}
		}
		image := readDockerfile("Dockerfile", d.lines)
		if image.name != "" && image.user.File == "" {
			t.Errorf("%+v", image)
		}
	})
}

// FuzzSecrets: what may be shown of a line is its beginning, and shows no further secret.
func FuzzSecrets(f *testing.F) {
	for _, seed := range []string{
		`token = "a1b2c3d4e5f6g7h8i9"`, "AKIA" + "QWERTYUIOPASDFGH", "https://user:Passw0rdX@host/", "x=-----BEGIN RSA PRIVATE KEY-----\\nMII", "password: hunter2!x # c",
		"é token=\"\xff1a2b3c4d5e6f\"", strings.Repeat("password='a1!b2@c3#' ", 300), "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		shown := beforeSecret(line)
		if !strings.HasPrefix(line, shown) {
			t.Fatalf("%q does not begin with %q", line, shown)
		}
		if found, _ := leaks(shown, true); len(found) > 0 && len(shown) <= secretLineMax {
			t.Errorf("%q still shows %s", shown, found[0].what)
		}
		if e := entropy(line); e < 0 || e > 8 {
			t.Errorf("entropy %f", e)
		}
	})
}
