package code

import (
	"strings"
	"testing"
)

func TestRunsTests(t *testing.T) {
	for line, want := range map[string]bool{
		"go test ./...":                                  true,
		"  CGO_ENABLED=1 go test -race ./...":            true,
		"run: go test -race ./...":                       true,
		"- run: make test":                               true,
		"- run: make lint test-all":                      true,
		"\t@make check":                                  true,
		"run: make image":                                false,
		`- run: "npm ci && npm test"`:                    true,
		`script: ["npm test"]`:                           true,
		"- go vet ./... && go test ./...":                true,
		"- echo testing; go test ./...":                  true,
		`  - echo "go test ./..."`:                       false,
		`say "go test ./..."`:                            false,
		"printf 'go test\\n'":                            false,
		`echo "a; go test ./..."`:                        false,
		`else echo "DID NOT RUN: go test -race"; exit 1`: false,
		`run: echo go test`:                              false,
		"@echo go test":                                  false,
		"Write-Host 'dotnet test'":                       false,
		"# go test ./...":                                false,
		"  - make build # then go test":                  false,
		"// sh 'mvn verify'":                             false,
		"- name: go test":                                false,
		"name: Run pytest":                               false,
		"displayName: npm test":                          false,
		`"name": "go test"`:                              false,
		"unittest:":                                      false,
		"go test:":                                       false,
		"go test: # all of them":                         false,
		"if: matrix.task == 'go test'":                   false,
		"stage('unittest') {":                            false,
		"sh 'mvn -B verify'":                             true,
		`sh "echo go test"`:                              false,
		"bash -c 'echo go && go test ./...'":             true,
		"bash -c 'echo go; echo go test'":                false,
		`sh -c "bash -c 'go test ./...'"`:                true,
		"if ! go test ./...; then exit 1; fi":            true,
		"sudo env X=1 pytest -q":                         true,
		"python -m pytest":                               true,
		"grep 'go test' Makefile":                        false,
		"script: cargo test --all | tee log":             true,
		"echo foo: go test":                              false,
		"":                                               false,
		"-":                                              false,
		"key: ":                                          false,
	} {
		if got := runsTests(line, ciShells); got != want {
			t.Errorf("%q: got %t", line, got)
		}
	}
}

// Whatever a line is, looking at it ends, and what only prints a text is never taken for what the text says.
func FuzzRunsTests(f *testing.F) {
	for _, seed := range []string{"", "go test", "- run: 'x", `sh -c "sh -c 'go test'"`, "echo 'a' # b", "\"'\"'", "a: b: c", "&&;;||"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		runsTests(line, ciShells)
		if text := strings.NewReplacer("'", "", "\n", "").Replace(line); runsTests("echo '"+text+"'", ciShells) {
			t.Errorf("to print %q is taken for running it", text)
		}
	})
}
