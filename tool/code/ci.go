package code

import (
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
		if ev, ok := t.firstTest(name); ok {
			runs = append(runs, ev)
		}
	}
	if len(runs) > 0 {
		r.favour(polity.Medium, runs, "Continuous integration runs the tests (%s).", named(filesOf(runs)))
		return
	}
	r.remark(polity.Low, whole(found...), "Continuous integration is set up (%s), but no line of it is recognized as running tests.", named(found))
}

// firstTest is the first line of a file that runs tests.
func (t *tree) firstTest(name string) (polity.Evidence, bool) {
	data, ok := t.text(name)
	if !ok {
		return polity.Evidence{}, false
	}
	for n, line := range files.Lines(data) {
		if runsTests(line, ciShells) {
			return at(name, n, line), true
		}
	}
	return polity.Evidence{}, false
}

var (
	// ciMarks stand before a command: those of lists, recipes and quotes.
	ciMarks = regexp.MustCompile(`^(?:[-@\[{("']|\s)+`)
	// ciKey is a key of YAML, with its value or without one.
	ciKey   = regexp.MustCompile(`^(?:([\w.-]+)["']?:\s+(.*)|[\w ./-]+["']?:\s*(?:#.*)?)$`)
	ciLabel = regexp.MustCompile(`(?i)^(?:(?:display_?)?name|label|title|description|desc|id|key|stage|job|if|when|only|needs|uses|message|paths?)$`)
	// ciStage is what a Jenkinsfile labels.
	ciStage = regexp.MustCompile(`^(?:stage|parallel|step)\s*\(`)
	// ciFirst stands before the word that says what a command does.
	ciFirst = regexp.MustCompile(`^(?:(?:then|else|do|if|while|time|sudo|env|exec|command|!)\s+|\w+=\S*\s+)*`)
	ciShell = regexp.MustCompile(`^(?:(?:ba|da|z)?sh|bat|pwsh|powershell)(?:\s+-\w+)*[\s(]+["'](.*)$`)
	ciPrint = regexp.MustCompile(`(?i)^(?:echo|printf?|println|say|log|info|warn|notice|cat|e?grep|rg|write-(?:host|output))\b`)
)

// ciShells is how many shells within each other are looked into.
const ciShells = 2

// runsTests says whether a line is a command that runs tests, and not one that only prints, a comment or a label.
// It looks into as many shells.
func runsTests(line string, shells int) bool {
	line = ciMarks.ReplaceAllString(line, "")
	if strings.HasPrefix(line, "//") || ciStage.MatchString(line) {
		return false
	}
	if key := ciKey.FindStringSubmatch(line); key != nil {
		if ciLabel.MatchString(key[1]) {
			return false
		}
		line = ciMarks.ReplaceAllString(key[2], "")
	}
	for _, command := range commands(line) {
		command = strings.TrimSpace(command)
		command = command[len(ciFirst.FindString(command)):]
		if inner := ciShell.FindStringSubmatch(command); inner != nil {
			if shells > 0 && runsTests(inner[1], shells-1) {
				return true
			}
			continue
		}
		if !ciPrint.MatchString(command) && ciTests.MatchString(command) {
			return true
		}
	}
	return false
}

// commands splits a line of shell at its operators, as far as they are not quoted, and ends it at a comment.
func commands(line string) []string {
	var list []string
	from := 0
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && strings.IndexByte(line[i+1:], c) >= 0: // one without an end is YAML's
			quote = c
		case c == ';' || c == '&' || c == '|':
			list = append(list, line[from:i])
			from = i + 1
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return append(list, line[from:i])
		}
	}
	return append(list, line[from:])
}

func filesOf(ev []polity.Evidence) []string {
	var names []string
	for _, e := range ev {
		names = append(names, e.File)
	}
	return names
}
