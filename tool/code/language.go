package code

import (
	"path"
	"regexp"
	"strings"

	"polity.run/tool/files"
)

// language is what the heuristics know of a programming language.
type language struct {
	name    string
	comment string         // what begins a line comment
	tests   *regexp.Regexp // paths of tests by convention; nil where there is none but folders
	skips   *regexp.Regexp // lines that skip a test
	funcs   *regexp.Regexp // lines that begin a function; the first group that matched is its name
	indent  bool           // blocks are made by indentation, not braces
}

// Lines that begin functions, by family.
var (
	cLike        = regexp.MustCompile(`^\s*(?:[A-Za-z_][\w<>\[\],.:&*?@ ]*[\s&*])(~?[A-Za-z_]\w*)\s*\([^;]*$`)
	jsLike       = regexp.MustCompile(`^\s*(?:export\s+)?(?:default\s+)?(?:async\s+)?function\s*\*?\s*([\w$]+)|^\s*(?:export\s+)?(?:const|let|var)\s+([\w$]+)\s*(?::[^=]+)?=\s*(?:async\s*)?(?:function\b|\([^)]*\)[^=]*=>|[\w$]+\s*=>)|^\s+(?:(?:public|private|protected|static|async|get|set|readonly|override)\s+)*([\w$]+)\s*\([^;]*\)\s*(?::[^{;]+)?\{\s*$`)
	pyLike       = regexp.MustCompile(`^\s*(?:async\s+)?def\s+(\w+)`)
	rsLike       = regexp.MustCompile(`^\s*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+)?(?:async\s+)?(?:unsafe\s+)?(?:extern\s+"[^"]*"\s+)?fn\s+(\w+)`)
	ktLike       = regexp.MustCompile(`^\s*(?:[\w@]+\s+)*(?:fun|func|def)\s+(?:<[^>]*>\s*)?(?:[\w<>?]+\.)?(\w+)`)
	phpLike      = regexp.MustCompile(`^\s*(?:(?:public|private|protected|static|abstract|final)\s+)*function\s+&?(\w+)`)
	shLike       = regexp.MustCompile(`^\s*(?:function\s+([\w-]+)|([\w-]+)\s*\(\)\s*\{)`)
	notFunctions = map[string]bool{
		"if": true, "for": true, "while": true, "switch": true, "catch": true, "return": true, "else": true, "do": true,
		"new": true, "sizeof": true, "using": true, "lock": true, "foreach": true,
	}
)

// Lines that skip tests, by family.
var (
	jsSkips  = regexp.MustCompile(`^\s*(?:xit|xdescribe|xtest|(?:it|test|describe)\.(?:skip|todo))\s*[(.]`)
	pySkips  = regexp.MustCompile(`^\s*@(?:pytest\.mark\.(?:skip|xfail)|unittest\.(?:skip|expectedFailure))\b|^\s*(?:pytest|self)\.(?:skip|skipTest)\(`)
	jvmSkips = regexp.MustCompile(`^\s*@(?:Ignore|Disabled)\b`)
	csSkips  = regexp.MustCompile(`\[(?:Fact|Theory)\([^)]*Skip\s*=|^\s*\[Ignore\b`)
	rbSkips  = regexp.MustCompile(`^\s*(?:skip|pending|xit|xdescribe|xcontext)\b`)
	rsSkips  = regexp.MustCompile(`^\s*#\[ignore\b`)
	phpSkips = regexp.MustCompile(`markTest(?:Skipped|Incomplete)\(`)
	goSkips  = regexp.MustCompile(`\.(?:Skip|Skipf|SkipNow)\(`)
)

var jsTests = regexp.MustCompile(`\.(?:test|spec|cy|e2e)\.[cm]?[jt]sx?$|(?:^|/)__tests__/`)

var jvmTests = regexp.MustCompile(`(?:^|/)src/(?:\w*[tT]est\w*)/|Tests?\.\w+$|(?:Spec|IT)\.\w+$`)

// languages is what is known, by the extension of the files.
var languages = byExtension(map[string]language{
	".go":                    {name: "Go", comment: "//", tests: regexp.MustCompile(`_test\.go$`), skips: goSkips},
	".js .jsx .mjs .cjs":     {name: "JavaScript", comment: "//", tests: jsTests, skips: jsSkips, funcs: jsLike},
	".ts .tsx .mts .cts":     {name: "TypeScript", comment: "//", tests: jsTests, skips: jsSkips, funcs: jsLike},
	".vue .svelte":           {name: "JavaScript components", comment: "//", funcs: jsLike},
	".py":                    {name: "Python", comment: "#", tests: regexp.MustCompile(`(?:^|/)(?:test_[^/]*|[^/]*_test|conftest|tests)\.py$`), skips: pySkips, funcs: pyLike, indent: true},
	".rs":                    {name: "Rust", comment: "//", tests: regexp.MustCompile(`(?:^|/)tests?/.*\.rs$|(?:_test|/tests)\.rs$`), skips: rsSkips, funcs: rsLike},
	".java":                  {name: "Java", comment: "//", tests: jvmTests, skips: jvmSkips, funcs: cLike},
	".kt .kts":               {name: "Kotlin", comment: "//", tests: jvmTests, skips: jvmSkips, funcs: ktLike},
	".scala":                 {name: "Scala", comment: "//", tests: jvmTests, skips: jvmSkips, funcs: ktLike},
	".groovy":                {name: "Groovy", comment: "//", tests: jvmTests, skips: jvmSkips, funcs: cLike},
	".swift":                 {name: "Swift", comment: "//", tests: regexp.MustCompile(`Tests?\.swift$|(?:^|/)Tests/`), funcs: ktLike},
	".c .h":                  {name: "C", comment: "//", tests: regexp.MustCompile(`(?:^|/)test_[^/]*\.c$|_test\.c$`), funcs: cLike},
	".cc .cpp .cxx .hpp .hh": {name: "C++", comment: "//", tests: regexp.MustCompile(`(?:_test|_unittest|Tests?)\.(?:cc|cpp|cxx)$|(?:^|/)test_[^/]*\.cpp$`), funcs: cLike},
	".cs":                    {name: "C#", comment: "//", tests: regexp.MustCompile(`Tests?\.cs$|\.Tests?/`), skips: csSkips, funcs: cLike},
	".rb":                    {name: "Ruby", comment: "#", tests: regexp.MustCompile(`_(?:spec|test)\.rb$|(?:^|/)test_[^/]*\.rb$`), skips: rbSkips},
	".php":                   {name: "PHP", comment: "//", tests: regexp.MustCompile(`Test\.php$`), skips: phpSkips, funcs: phpLike},
	".dart":                  {name: "Dart", comment: "//", tests: regexp.MustCompile(`_test\.dart$`), funcs: cLike},
	".ex .exs":               {name: "Elixir", comment: "#", tests: regexp.MustCompile(`_test\.exs$`)},
	".sh .bash":              {name: "Shell", comment: "#", tests: regexp.MustCompile(`(?:^|/)test[_-][^/]*\.sh$|[_-]test\.sh$`), funcs: shLike},
})

func byExtension(table map[string]language) map[string]*language {
	m := map[string]*language{}
	for extensions, l := range table {
		for _, e := range strings.Fields(extensions) {
			m[e] = &l
		}
	}
	return m
}

// languageOf returns the language of a file by its extension, or nil.
func languageOf(name string) *language { return languages[path.Ext(name)] }

// isTest says whether a file is a test by its language's convention, or by its folder where the
// convention leaves the name free.
func (l *language) isTest(name string) bool {
	if l.tests != nil && l.tests.MatchString(name) {
		return true
	}
	return l.name != "Go" && l.name != "Shell" && testFolder.MatchString(name)
}

var testFolder = regexp.MustCompile(`(?:^|/)(?:tests?|specs?|e2e)/`)

// isComment says whether a line holds nothing but a comment. A line inside a block comment is found
// by its leading star only.
func (l *language) isComment(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, l.comment) || l.comment == "//" && (strings.HasPrefix(line, "/*") || strings.HasPrefix(line, "* ") || line == "*" || line == "*/")
}

// codeLines counts the lines that are neither blank nor only a comment.
func (l *language) codeLines(data []byte) int {
	n := 0
	for _, line := range files.Lines(data) {
		if strings.TrimSpace(line) != "" && !l.isComment(line) {
			n++
		}
	}
	return n
}
