package code

import (
	"path"
	"regexp"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

var (
	ciFile = regexp.MustCompile(`^(?:\.github/workflows/[^/]+\.ya?ml|\.gitlab-ci\.ya?ml|Jenkinsfile|\.circleci/config\.ya?ml|\.?azure-pipelines[\w.-]*\.ya?ml|` +
		`\.travis\.ya?ml|\.drone\.ya?ml|\.woodpecker(?:\.ya?ml|/.+\.ya?ml)|\.buildkite/[^/]+\.ya?ml|bitbucket-pipelines\.yml|appveyor\.ya?ml|\.appveyor\.yml|\.cirrus\.yml|` +
		`\.builds/[^/]+\.ya?ml|\.ci/.+|\.teamcity/.+|cloudbuild\.ya?ml|\.forgejo/workflows/[^/]+\.ya?ml|\.gitea/workflows/[^/]+\.ya?ml)$`)
	ciLooked = []string{".github/workflows/*.y*ml", ".gitlab-ci.y*ml", "Jenkinsfile", ".circleci/config.yml", "azure-pipelines.yml",
		".travis.yml", ".buildkite/*.y*ml", ".drone.yml", ".ci"}
	ciTests = regexp.MustCompile(`(?i)\b(?:go test|gotestsum|npm (?:run )?test|npm t\b|yarn (?:run )?test|pnpm (?:run )?test|bun test|vitest|jest|pytest|tox|nox|unittest|cargo (?:nextest|test)|` +
		`mvnw? .*(?:test|verify|install)|gradlew? .*(?:test|check|build)|rspec|rake (?:test|spec)|phpunit|dotnet test|ctest|make (?:\S+ )*(?:test|check|ci)\S*|swift test|mix test|flutter test|bazel test|just test|task test)`)
	buildFile = regexp.MustCompile(`^(?:(?i:makefile|gnumakefile)|justfile|Taskfile\.ya?ml|[\w.-]*Dockerfile[\w.-]*|Containerfile|docker-compose[\w.-]*\.ya?ml|compose\.ya?ml|` +
		`go\.mod|package\.json|pyproject\.toml|setup\.py|setup\.cfg|tox\.ini|noxfile\.py|Cargo\.toml|pom\.xml|build\.gradle(?:\.kts)?|build\.sbt|CMakeLists\.txt|` +
		`meson\.build|configure\.ac|BUILD\.bazel|MODULE\.bazel|WORKSPACE|Rakefile|composer\.json|mix\.exs|Package\.swift|[\w.-]+\.sln|[\w.-]+\.csproj|\.goreleaser\.ya?ml|magefile\.go|flake\.nix)$`)
)

// judgeCI says whether every change is built and tested by a machine.
func (t *tree) judgeCI(r *report, s *census) {
	found := t.find(ciFile)
	if len(found) == 0 {
		w := polity.Medium
		if !s.hasCode() {
			w = polity.Low
		}
		r.against(w, missing(ciLooked...), "No continuous integration is set up in the folder, so nothing in it shows that changes are tested.")
		return
	}
	var runs []polity.Evidence
	for _, name := range found {
		if ev, ok := t.firstMatch(name, ciTests); ok {
			runs = append(runs, ev)
		}
	}
	if len(runs) > 0 {
		r.favour(polity.Medium, runs, "Continuous integration runs the tests (%s).", named(filesOf(runs)))
		return
	}
	r.remark(polity.Low, whole(found...), "Continuous integration is set up (%s), but no line of it is recognized as running tests.", named(found))
}

// firstMatch is the first line of a file that matches and is no comment.
func (t *tree) firstMatch(name string, re *regexp.Regexp) (polity.Evidence, bool) {
	data, ok := t.text(name)
	if !ok {
		return polity.Evidence{}, false
	}
	for n, line := range files.Lines(data) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") && re.MatchString(line) {
			return at(name, n, line), true
		}
	}
	return polity.Evidence{}, false
}

func filesOf(ev []polity.Evidence) []string {
	var names []string
	for _, e := range ev {
		names = append(names, e.File)
	}
	return names
}

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
