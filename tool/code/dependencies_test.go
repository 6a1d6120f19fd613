package code_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
)

// mit is the text of the MIT licence.
const mit = `MIT License

Copyright (c) 2024 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
`

const (
	noLicence   = "against high: The folder has no licence file, so nobody but its owner has a right to use the code."
	hasMIT      = "for low: The folder is licensed under MIT (LICENSE)."
	licenceNote = "The licences of the dependencies are not in the folder"
)

func TestGoModule(t *testing.T) {
	dir := folder(t, map[string]string{
		"LICENSE": mit,
		"go.sum":  "example.com/a v1.0.0 h1:x\n",
		"go.mod": `module example.com/m

go 1.26

require (
	example.com/a v1.0.0
	example.com/b v0.3.0
	example.com/c v0.0.0-20240101000000-0123456789ab
	example.com/d v0.1.0 // indirect
)

replace example.com/a => ../a

replace example.com/b => ./inside

replace example.com/c => example.com/fork v1.0.0
`,
	})
	r := report(t, "code.dependencies", dir)
	want := []string{
		"against high: go.mod takes 1 dependency from a folder outside of this one, so it builds only where that folder lies: example.com/a.",
		"for medium: Each of the 4 dependencies in go.mod is pinned to one version, and go.sum holds the checksums.",
		"against low: 1 of 3 direct dependencies in go.mod is a commit that was never released: example.com/c.",
		"against low: 1 of 3 direct dependencies in go.mod is before version 1.0 and promises no compatibility: example.com/b.",
		hasMIT,
		"neutral info: go.mod takes 1 dependency from this folder itself: example.com/b.",
	}
	if diff := cmp.Diff(want, said(r)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]polity.Evidence{{File: "go.mod", Line: 12, Text: "replace example.com/a => ../a"}}, r.Claims[0].Evidence); diff != "" {
		t.Error(diff)
	}
	wantNote(t, r, licenceNote)
}

func TestNodePackage(t *testing.T) {
	manifest := `{
  "name": "x",
  "license": "MIT",
  "dependencies": {
    "exact": "1.2.3",
    "caret": "^1.2.3",
    "any": "*",
    "git": "git+https://someone:hunter2isLong9@github.com/x/y.git",
    "commit": "github:x/z#0123456789012345678901234567890123456789",
    "next-door": "file:../next",
    "own": "workspace:*",
    "alias": "npm:other@~2.0.0"
  },
  "peerDependencies": {"peer": ">=1"},
  "devDependencies": {"dev": "^29.0.0", "exact": "2.0.0"},
  "scripts": {"x": "^1"}
}
`
	dir := folder(t, map[string]string{"package.json": manifest, "examples/package.json": manifest, "node_modules/a/package.json": manifest})
	r := report(t, "code.dependencies", dir)
	want := []string{
		"against high: package.json takes 1 dependency from a folder outside of this one, so it builds only where that folder lies: next-door.",
		"against medium: 4 of 6 dependencies in package.json are not pinned to one version and no lock file fixes them, so two builds may differ: caret, any, alias, dev.",
		"against medium: package.json takes 1 dependency from a repository or address without naming a commit, so the code may change unnoticed: git.",
		"against medium: package.json names a licence, but the folder does not hold its text.",
		"against low: package.json declares exact twice with different versions.",
		"neutral info: package.json takes 1 dependency from this folder itself: own.",
	}
	if diff := cmp.Diff(want, said(r)); diff != "" {
		t.Error(diff)
	}
	wantNote(t, r, "1 manifest in folders of tests and examples was not judged.")
	for _, c := range r.Claims {
		for _, e := range c.Evidence {
			if strings.Contains(e.Text, "hunter2") {
				t.Errorf("the evidence repeats a password: %+v", e)
			}
		}
	}

	put(t, dir, "package-lock.json", `{
  "lockfileVersion": 3,
  "packages": {
    "": {"license": "MIT"},
    "node_modules/a": {
      "license": "MIT"
    },
    "node_modules/b": {
      "license": "GPL-3.0"
    }
  }
}
`)
	r = report(t, "code.dependencies", dir)
	wantSaid(t, r, []string{
		"for medium: Each of the 6 dependencies in package.json is fixed by package-lock.json.",
		"against low: 1 dependency in package.json accepts any version, so the next update may break the build: any.",
		"against medium: 1 dependency is under GPL-3.0, whose terms bind those who distribute or host the code: b.",
		"for low: Of 2 dependencies with a licence in the folder, 1 is MIT.",
	}, "no lock file")
}

func TestPythonManifests(t *testing.T) {
	dir := folder(t, map[string]string{
		"COPYING": mit,
		"requirements.txt": `# comment
--index-url https://example.com/simple
bare
exact==1.0  # why
extra[x]==2.0 ; python_version > "3"
least>=3
wild==1.*
hashed==1.0 \
    --hash=sha256:0123
-r other.txt
-e ./sub
-e git+https://tok:Abcdef123456ghijk@github.com/x/y.git@main#egg=y
direct @ https://example.com/direct.zip
`,
		"lib/pyproject.toml": `[project]
name = "x"
dependencies = [
  "a>=1",
  "b==2.0",
]

[project.optional-dependencies]
dev = ["c"]

[tool.poetry.dependencies]
python = "^3.11"
d = "1.0"
e = { git = "https://example.com/e.git", rev = "0123456789" }
`,
		"lib/poetry.lock": "# generated\n",
		"old/Pipfile":     "[packages]\nf = \"*\"\n",
	})
	r := report(t, "code.dependencies", dir)
	want := []string{
		"against medium: The only dependency in old/Pipfile is not pinned to one version and no lock file fixes it, so two builds may differ: f.",
		"against medium: 3 of 6 dependencies in requirements.txt are not pinned to one version and nothing else fixes them, so two builds may differ: bare, least, wild.",
		"against medium: requirements.txt takes 2 dependencies from a repository or address without naming a commit, so the code may change unnoticed: git+https://github.com/x/y.git@main#egg=y, direct.",
		"for medium: Each of the 4 dependencies in lib/pyproject.toml is fixed by lib/poetry.lock.",
		"against low: 1 dependency in lib/pyproject.toml accepts any version, so the next update may break the build: c.",
		"against low: lib/pyproject.toml takes 1 dependency straight from a repository or address instead of a registry: e.",
		"for low: The folder is licensed under MIT (COPYING).",
		"neutral info: requirements.txt takes 1 dependency from this folder itself: ./sub.",
	}
	if diff := cmp.Diff(want, said(r)); diff != "" {
		t.Error(diff)
	}
}

func TestOtherEcosystems(t *testing.T) {
	for name, test := range map[string]struct {
		content map[string]string
		want    []string
	}{
		"cargo": {map[string]string{"Cargo.toml": `[dependencies]
serde = "1"
exact = "=1.0.0"
own = { path = "own" }
early = { version = "0.3" }
shared = { workspace = true }

[dependencies.table]
git = "https://example.com/t.git"
`}, []string{
			"against medium: 2 of 3 dependencies in Cargo.toml are not pinned to one version and no lock file fixes them, so two builds may differ: early, serde.",
			"against medium: Cargo.toml takes 1 dependency from a repository or address without naming a commit, so the code may change unnoticed: table.",
			"against low: 1 of 3 direct dependencies in Cargo.toml is before version 1.0 and promises no compatibility: early.",
			"neutral info: Cargo.toml takes 1 dependency from this folder itself: own.",
		}},
		"cargo, locked above": {map[string]string{"sub/Cargo.toml": "[dependencies]\nserde = \"1\"\n", "Cargo.lock": "x\n"},
			[]string{"for medium: The only dependency in sub/Cargo.toml is fixed by Cargo.lock."}},
		"maven": {map[string]string{"pom.xml": `<project>
  <dependencyManagement><dependencies><dependency>
    <groupId>g</groupId><artifactId>bom</artifactId><version>1.0</version></dependency></dependencies></dependencyManagement>
  <dependencies>
    <dependency><groupId>g</groupId><artifactId>a</artifactId>
      <version>[1.0,2.0)</version>
    </dependency>
    <dependency><groupId>g</groupId><artifactId>b</artifactId><version>1-SNAPSHOT</version></dependency>
    <dependency><groupId>g</groupId><artifactId>managed</artifactId></dependency>
  </dependencies>
</project>
`}, []string{"against medium: 2 of 3 dependencies in pom.xml are not pinned to one version and nothing else fixes them, so two builds may differ: g:a, g:b."}},
		"gradle": {map[string]string{"build.gradle.kts": "dependencies {\n  implementation(\"g:a:1.0\")\n  testImplementation(\"g:b:2.+\")\n  implementation(libs.c)\n}\n"},
			[]string{"against low: 1 of 2 dependencies in build.gradle.kts is not pinned to one version and no lock file fixes it, so two builds may differ: g:b."}},
		"gradle, pinned": {map[string]string{"build.gradle": "dependencies {\n  implementation 'g:a:1.0'\n  api 'g:b:2.0'\n}\n"},
			[]string{"for low: Each of the 2 dependencies in build.gradle is pinned to one version."}},
		"bundler": {map[string]string{"Gemfile": "source 'https://rubygems.org'\ngem 'rails', '~> 7.0'\ngem 'rake'\ngem 'pg', '1.5.4'\ngem 'own', path: 'own'\ngem 'fork', git: 'https://example.com/f.git'\n"},
			[]string{
				"against medium: 2 of 3 dependencies in Gemfile are not pinned to one version and no lock file fixes them, so two builds may differ: rails, rake.",
				"against medium: Gemfile takes 1 dependency from a repository or address without naming a commit, so the code may change unnoticed: fork.",
				"neutral info: Gemfile takes 1 dependency from this folder itself: own.",
			}},
		"composer": {map[string]string{"composer.json": "{\"require\": {\"php\": \">=8\", \"ext-json\": \"*\", \"a/b\": \"^1.0\", \"c/d\": \"dev-master\"}}\n"},
			[]string{"against medium: 2 of 2 dependencies in composer.json are not pinned to one version and no lock file fixes them, so two builds may differ: a/b, c/d."}},
		"go without dependencies": {map[string]string{"go.mod": "module x\n"}, []string{"for low: go.mod requires no other module: the standard library is its only dependency."}},
		"go without go.sum": {map[string]string{"sub/go.mod": "module x\n\nrequire a.b/c v1.0.0\n"},
			[]string{"against high: sub/go.mod requires 1 module but there is no go.sum, so nothing proves that a build uses the same code."}},
		"broken": {map[string]string{"Cargo.toml": "[dependencies\n"}, []string{"against medium: Cargo.toml cannot be read as a manifest of Cargo: toml: expected ']' to close table name."}},
		"far too long": {map[string]string{"Cargo.toml": "[dependencies]\n" + strings.Repeat("# long\n", 20_000)},
			[]string{"against medium: Cargo.toml cannot be read as a manifest of Cargo: it is longer than 131072 bytes."}},
		"none": {map[string]string{"a.go": "package a\n"}, []string{"neutral info: No manifest of a known ecosystem declares dependencies."}},
	} {
		t.Run(name, func(t *testing.T) {
			test.content["LICENSE"] = mit
			got := said(report(t, "code.dependencies", folder(t, test.content)))
			var rest []string
			for _, g := range got {
				if g != hasMIT {
					rest = append(rest, g)
				}
			}
			if diff := cmp.Diff(test.want, rest); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLicences(t *testing.T) {
	for name, test := range map[string]struct {
		content map[string]string
		want    string
		never   string
	}{
		"none":           {nil, noLicence, ""},
		"in code only":   {map[string]string{"license.go": "package license\n", "sub/LICENSE": mit}, noLicence, ""},
		"MIT":            {map[string]string{"LICENSE": mit}, hasMIT, "no licence"},
		"other name":     {map[string]string{"license.md": mit}, "for low: The folder is licensed under MIT (license.md).", "no licence"},
		"own words":      {map[string]string{"LICENSE": "You may look at it but not use it, ever, for anything.\n"}, "against medium: LICENSE is not the text of a licence that is recognized (0% of it matches one); its terms need to be read.", ""},
		"no text":        {map[string]string{"LICENSE": "\x00"}, "against medium: LICENSE holds no text, so the terms of use are not known.", ""},
		"vendored":       {map[string]string{"LICENSE": mit, "vendor/a.b/c/LICENSE": mit, "vendor/a.b/d/LICENSE.txt": mit}, "for low: Of 2 dependencies with a licence in the folder, 2 are MIT.", licenceNote},
		"vendored, odd":  {map[string]string{"LICENSE": mit, "vendor/a.b/c/COPYING": "Mine.\n"}, "against medium: The licence of 1 dependency is not recognized: a.b/c.", ""},
		"composer locks": {map[string]string{"composer.json": `{"require":{"a/b":"1.0.0"}}`, "composer.lock": "{\"packages\": [\n{\n\"name\": \"a/b\",\n\"license\": [\"AGPL-3.0\"]}]}\n"}, "against medium: 1 dependency is under AGPL-3.0, whose terms bind those who distribute or host the code: a/b.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := report(t, "code.dependencies", folder(t, test.content))
			wantSaid(t, r, []string{test.want})
			if test.never != "" {
				wantSaid(t, r, nil, test.never)
			}
		})
	}
}
