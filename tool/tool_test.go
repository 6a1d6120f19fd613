package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
)

type words struct {
	Text string `json:"text" jsonschema:"what to count"`
	Max  int    `json:"max,omitempty"`
}

type number struct {
	Words int `json:"words"`
}

func counter(fn func(context.Context, tool.Call, words) (number, error)) (tool.Tool, error) {
	return tool.Func(tool.Spec{
		Name: "text.count", Version: "1", Effect: polity.EffectNone, Description: "Count words.",
	}, fn)
}

func countWords(_ context.Context, _ tool.Call, in words) (number, error) {
	return number{len(strings.Fields(in.Text))}, nil
}

func ExampleFunc() {
	count, err := counter(countWords)
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := count.Call(context.Background(), tool.Call{Input: json.RawMessage(`{"text":"to be or not"}`)})
	fmt.Println(string(out), err)

	_, err = count.Call(context.Background(), tool.Call{Input: json.RawMessage(`{"txt":"to be"}`)})
	fmt.Println(errors.Is(err, fault.Invalid))
	// Output:
	// {"words":4} <nil>
	// true
}

func TestFuncRefusesAnIncompleteSpec(t *testing.T) {
	good := tool.Spec{Name: "a.b", Version: "1", Effect: polity.EffectNone}
	for name, change := range map[string]func(*tool.Spec){
		"no name":         func(s *tool.Spec) { s.Name = "" },
		"long name":       func(s *tool.Spec) { s.Name = strings.Repeat("x", tool.NameMax+1) },
		"space in name":   func(s *tool.Spec) { s.Name = "a b" },
		"empty part":      func(s *tool.Spec) { s.Name = "a..b" },
		"dot at the end":  func(s *tool.Spec) { s.Name = "a." },
		"no version":      func(s *tool.Spec) { s.Version = "" },
		"no effect":       func(s *tool.Spec) { s.Effect = "" },
		"unknown effect":  func(s *tool.Spec) { s.Effect = "nnone" },
		"negative time":   func(s *tool.Spec) { s.Timeout = -1 },
		"negative output": func(s *tool.Spec) { s.OutputMax = -1 },
		"broken input":    func(s *tool.Spec) { s.Input = json.RawMessage(`{"type":7}`) },
		"broken output":   func(s *tool.Spec) { s.Output = json.RawMessage(`{"type":`) },
	} {
		t.Run(name, func(t *testing.T) {
			spec := good
			change(&spec)
			if _, err := tool.Func(spec, countWords); !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v; want fault.Invalid", err)
			}
		})
	}
	if _, err := tool.Func(good, countWords); err != nil {
		t.Errorf("the good spec is refused: %v", err)
	}
}

func TestFuncRefusesNoFunctionAndNoSchema(t *testing.T) {
	spec := tool.Spec{Name: "a", Version: "1", Effect: polity.EffectNone}
	if _, err := tool.Func[words, number](spec, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("a nil function: got %v", err)
	}
	_, err := tool.Func(spec, func(context.Context, tool.Call, chan int) (number, error) { return number{}, nil })
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("a type without a schema: got %v", err)
	}
}

func TestFuncKeepsTheSchemaOfTheSpec(t *testing.T) {
	own := json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}},"additionalProperties":true}`)
	x, err := tool.Func(tool.Spec{Name: "a", Version: "1", Effect: polity.EffectNone, Input: own}, countWords)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(own), string(x.Spec().Input)); diff != "" {
		t.Error(diff)
	}
	out, err := x.Call(t.Context(), tool.Call{Input: json.RawMessage(`{"text":"a b","more":1}`)})
	if err != nil || string(out) != `{"words":2}` {
		t.Errorf("got %s, %v", out, err)
	}
}

func TestCallChecksItsInput(t *testing.T) {
	called := 0
	x, err := counter(func(ctx context.Context, c tool.Call, in words) (number, error) {
		called++
		return countWords(ctx, c, in)
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, input := range map[string]string{
		"not JSON":      `{`,
		"two values":    `{"text":""}{}`,
		"wrong type":    `{"text":1}`,
		"unknown field": `{"text":"","txet":""}`,
		"missing field": `{}`,
		"nothing":       ``,
		"too large int": `{"text":"","max":1e300}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := x.Call(t.Context(), tool.Call{Input: json.RawMessage(input)}); !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v; want fault.Invalid", err)
			}
		})
	}
	if called != 0 {
		t.Errorf("the function was called %d times with bad input", called)
	}
}

func TestCallGivesErrorsTheirKind(t *testing.T) {
	own := fault.Denied.New("door: closed: %w", context.Canceled)
	plain := errors.New("plain")
	for name, test := range map[string]struct{ gives, want error }{
		"cancelled":        {context.Canceled, fault.Cancelled},
		"deadline":         {fmt.Errorf("read: %w", context.DeadlineExceeded), fault.Timeout},
		"a fault":          {own, fault.Denied},
		"what is not ours": {plain, plain},
	} {
		t.Run(name, func(t *testing.T) {
			x, err := counter(func(context.Context, tool.Call, words) (number, error) { return number{}, test.gives })
			if err != nil {
				t.Fatal(err)
			}
			_, err = x.Call(t.Context(), tool.Call{Input: json.RawMessage(`{"text":""}`)})
			if !errors.Is(err, test.want) || !errors.Is(err, test.gives) {
				t.Errorf("got %v; want %v", err, test.want)
			}
		})
	}
}

func TestCallAfterItsContextEndedDoesNothing(t *testing.T) {
	x, err := counter(func(context.Context, tool.Call, words) (number, error) {
		t.Error("the function was called")
		return number{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Call(ctx, tool.Call{Input: json.RawMessage(`{"text":""}`)}); !errors.Is(err, fault.Cancelled) {
		t.Errorf("got %v; want fault.Cancelled", err)
	}
}

func TestOutputThatJSONCannotHoldIsInternal(t *testing.T) {
	x, err := tool.Func(tool.Spec{Name: "a", Version: "1", Effect: polity.EffectNone, Output: json.RawMessage(`{}`)},
		func(context.Context, tool.Call, struct{}) (any, error) { return make(chan int), nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Call(t.Context(), tool.Call{}); !errors.Is(err, fault.Internal) {
		t.Errorf("got %v; want fault.Internal", err)
	}
}

func FuzzCall(f *testing.F) {
	for _, seed := range []string{`{"text":"a b"}`, `{"text":1}`, `{`, ``, `null`, `[]`, `{"text":"","max":-0}`, `{"text":"\ud800"}`, `{"TEXT":"x"}`, "{\"text\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	x, err := counter(countWords)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		out, err := x.Call(t.Context(), tool.Call{Input: input})
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("input %q: %v is not Invalid", input, err)
			}
			return
		}
		var n number
		if err := json.Unmarshal(out, &n); err != nil || n.Words < 0 {
			t.Errorf("input %q: output %q: %v", input, out, err)
		}
	})
}
