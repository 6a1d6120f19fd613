package tooltest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/tooltest"
)

type shout struct {
	Text string `json:"text"`
}

var good = json.RawMessage(`{"text":"hello"}`)

func shouter(fn func(context.Context, tool.Call, shout) (shout, error)) (tool.Tool, error) {
	return tool.Func(tool.Spec{
		Name: "text.shout", Version: "1", Description: "Say it in capitals.", Effect: polity.EffectNone,
	}, fn)
}

func inCapitals(_ context.Context, _ tool.Call, in shout) (shout, error) {
	return shout{strings.ToUpper(in.Text)}, nil
}

func TestRunAcceptsAGoodTool(t *testing.T) {
	x, err := shouter(inCapitals)
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, x, good)
}

// faulty is a tool that a case spoils.
type faulty struct {
	tool.Tool
	spec func(tool.Spec) tool.Spec
	call func(context.Context, tool.Call) (json.RawMessage, error)
}

func (f faulty) Spec() tool.Spec {
	if f.spec == nil {
		return f.Tool.Spec()
	}
	return f.spec(f.Tool.Spec())
}

func (f faulty) Call(ctx context.Context, c tool.Call) (json.RawMessage, error) {
	if f.call == nil {
		return f.Tool.Call(ctx, c)
	}
	return f.call(ctx, c)
}

var calls atomic.Int64

// spoiled are tools that break one rule each, with the check that finds it.
var spoiled = map[string]struct {
	check string
	tool  func(tool.Tool) tool.Tool
}{
	"no description": {"spec", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, spec: func(s tool.Spec) tool.Spec { s.Description = ""; return s }}
	}},
	"changing spec": {"spec", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, spec: func(s tool.Spec) tool.Spec { s.Version += strings.Repeat("i", int(calls.Add(1))); return s }}
	}},
	"schema does not compile": {"output", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, spec: func(s tool.Spec) tool.Spec { s.Output = json.RawMessage(`{"type":7}`); return s }}
	}},
	"other output": {"output", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, call: func(context.Context, tool.Call) (json.RawMessage, error) { return json.RawMessage(`7`), nil }}
	}},
	"large output": {"output", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, spec: func(s tool.Spec) tool.Spec { s.OutputMax = 1; return s }}
	}},
	"failing": {"output", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, call: func(context.Context, tool.Call) (json.RawMessage, error) { return nil, fault.Failed }}
	}},
	"never the same": {"again", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, call: func(context.Context, tool.Call) (json.RawMessage, error) {
			return json.Marshal(shout{strings.Repeat("!", int(calls.Add(1)))})
		}}
	}},
	"takes anything": {"refusal", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, call: func(context.Context, tool.Call) (json.RawMessage, error) { return good, nil }}
	}},
	"declares nothing": {"refusal", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, spec: func(s tool.Spec) tool.Spec { s.Input = json.RawMessage(`true`); return s }}
	}},
	"does not look at its context": {"cancelled", func(x tool.Tool) tool.Tool {
		return faulty{Tool: x, call: func(_ context.Context, c tool.Call) (json.RawMessage, error) {
			return x.Call(context.Background(), c)
		}}
	}},
}

// spoiledEnv tells the test binary to run the suite on a spoiled tool, so that its failure is another process's.
const spoiledEnv = "TOOLTEST_SPOILED"

func TestRunRefusesBadTools(t *testing.T) {
	if name := os.Getenv(spoiledEnv); name != "" {
		x, err := shouter(inCapitals)
		if err != nil {
			t.Fatal(err)
		}
		tooltest.Run(t, spoiled[name].tool(x), good)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range spoiled {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestRunRefusesBadTools$")
			cmd.Env = append(os.Environ(), spoiledEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite accepts it:\n%s", out)
			}
			if want := "--- FAIL: TestRunRefusesBadTools/" + test.check; !strings.Contains(string(out), want) {
				t.Errorf("want %q in:\n%s", want, out)
			}
		})
	}
}
