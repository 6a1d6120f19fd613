package code

import (
	"path"
	"regexp"
	"strings"

	"polity.run"
)

var buildFile = regexp.MustCompile(`^(?:(?i:makefile|gnumakefile)|justfile|Taskfile\.ya?ml|[\w.-]*Dockerfile[\w.-]*|Containerfile|docker-compose[\w.-]*\.ya?ml|compose\.ya?ml|` +
	`go\.mod|package\.json|pyproject\.toml|setup\.py|setup\.cfg|tox\.ini|noxfile\.py|Cargo\.toml|pom\.xml|build\.gradle(?:\.kts)?|build\.sbt|CMakeLists\.txt|` +
	`meson\.build|configure\.ac|BUILD\.bazel|MODULE\.bazel|WORKSPACE|Rakefile|composer\.json|mix\.exs|Package\.swift|[\w.-]+\.sln|[\w.-]+\.csproj|\.goreleaser\.ya?ml|magefile\.go|flake\.nix)$`)

// judgeBuild says how the folder is built, by the files at its top.
func (t *tree) judgeBuild(r *report, s *census) {
	var found []string
	for _, f := range t.files {
		if !strings.Contains(f.Path, "/") && buildFile.MatchString(path.Base(f.Path)) {
			found = append(found, f.Path)
		}
	}
	switch {
	case len(found) > 0:
		r.favour(polity.Low, whole(found...), "The build is set up in %s.", named(found))
	case s.hasCode():
		r.against(polity.Medium, missing("Makefile", "Dockerfile", "go.mod", "package.json", "pyproject.toml", "Cargo.toml", "pom.xml", "CMakeLists.txt"),
			"No build set-up of a known kind is at the top of the folder.")
	}
}

func (s *census) hasCode() bool {
	for _, l := range s.langs {
		if l.codeLines > 0 {
			return true
		}
	}
	return false
}
