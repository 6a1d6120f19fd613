package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"polity.run"
	"polity.run/manifest"
	"polity.run/tool"
)

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "board")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	write := func(tool string) {
		text := `polity: v1
name: board
agents:
  deps:
    model: quote
    instructions: Say what the code depends on.
    gather: [` + tool + `]
org:
  pattern: hub
  specialists: [deps]
`
		if err := os.WriteFile(filepath.Join(dir, "polity.yaml"), []byte(text), 0o600); err != nil {
			fmt.Println(err)
		}
	}
	env := manifest.Env{
		Models: []string{"quote"},
		Tools: map[string]tool.Spec{
			"code.dependencies": {Name: "code.dependencies", Version: "1", Effect: polity.EffectNone},
		},
	}

	write("code.dependancies")
	_, err = manifest.Load(dir, env)
	fmt.Println(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))

	write("code.dependencies")
	m, err := manifest.Load(dir, env)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Release.Main, m.Release.Agent("board").Org.Members)
	// Output:
	// polity.yaml:7:14: agents.deps.gather[0]: no tool named "code.dependancies"; did you mean "code.dependencies"?
	//     7 |     gather: [code.dependancies]
	//       |              ^
	// board [deps]
}
