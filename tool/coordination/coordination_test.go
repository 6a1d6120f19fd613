package coordination_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/coordinate"
	"polity.run/coordinate/coordinatetest"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/coordination"
	"polity.run/tool/tooltest"
)

func toolset(t *testing.T) map[string]tool.Tool {
	t.Helper()
	s := coordinate.Open(&coordinatetest.Shelf{})
	all, err := coordination.Tools(func(context.Context) (*coordinate.Store, error) { return s, nil })
	if err != nil {
		t.Fatal(err)
	}
	tools, names := map[string]tool.Tool{}, []string{}
	for _, x := range all {
		tools[x.Spec().Name] = x
		names = append(names, x.Spec().Name)
	}
	if diff := cmp.Diff(coordination.Names(), names); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	return tools
}

var when = regexp.MustCompile(`"until":"[^"]+"`)

// TestCalls has two agents call one after the other.
func TestCalls(t *testing.T) {
	tools := toolset(t)
	for _, c := range []struct{ agent, key, tool, input, want string }{
		{"ada", "1", "lock.acquire", `{"name":"door","ttl":"1m"}`, `{"held":true,"token":1,UNTIL,"holder":{"run":"0-r","agent":"ada"}}`},
		{"ada", "1", "lock.acquire", `{"name":"door","ttl":"1m"}`, `{"held":true,"token":1,UNTIL,"holder":{"run":"0-r","agent":"ada"}}`},
		{"bob", "2", "lock.acquire", `{"name":"door","ttl":"1m","wait":"0s"}`, `{"held":false,UNTIL,"holder":{"run":"0-r","agent":"ada"}}`},
		{"ada", "3", "lock.renew", `{"name":"door","token":1}`, `{"held":true,"token":1,UNTIL,"holder":{"run":"0-r","agent":"ada"}}`},
		{"ada", "4", "lock.release", `{"name":"door","token":1}`, `{"released":true}`},
		{"ada", "5", "lock.renew", `{"name":"door","token":1}`, `{"held":false}`},
		{"ada", "6", "leader.who", `{"name":"desk"}`, `{"mine":false}`},
		{"ada", "7", "leader.campaign", `{"name":"desk","ttl":"1m"}`, `{"leader":{"run":"0-r","agent":"ada"},"mine":true,"token":4,UNTIL}`},
		{"bob", "8", "leader.campaign", `{"name":"desk","ttl":"1m"}`, `{"leader":{"run":"0-r","agent":"ada"},"mine":false,"token":4,UNTIL}`},
		{"ada", "9", "leader.who", `{"name":"desk"}`, `{"leader":{"run":"0-r","agent":"ada"},"mine":true,"token":4,UNTIL}`},
		{"ada", "10", "counter.add", `{"name":"seats","by":3}`, `{"value":3}`},
		{"ada", "10", "counter.add", `{"name":"seats","by":3}`, `{"value":3}`},
		{"bob", "11", "counter.add", `{"name":"seats","by":-1}`, `{"value":2}`},
		{"bob", "12", "counter.get", `{"name":"seats"}`, `{"value":2}`},
		{"ada", "13", "value.agree", `{"name":"plan","value":{"a":[1]}}`, `{"value":{"a":[1]},"mine":true,"revision":1}`},
		{"bob", "14", "value.agree", `{"name":"plan","value":null}`, `{"value":{"a":[1]},"mine":false,"revision":1}`},
		{"bob", "15", "value.get", `{"name":"plan"}`, `{"value":{"a":[1]},"revision":1}`},
		{"bob", "16", "value.get", `{"name":"phase"}`, `{"revision":0}`},
		{"bob", "17", "value.swap", `{"name":"phase","value":"one","revision":0}`, `{"swapped":true,"value":"one","revision":1}`},
		{"ada", "18", "value.swap", `{"name":"phase","value":"two","revision":0}`, `{"swapped":false,"value":"one","revision":1}`},
	} {
		out, err := tools[c.tool].Call(t.Context(), tool.Call{Key: c.key, Run: "0-r", Agent: c.agent, Org: "o", Input: json.RawMessage(c.input)})
		if err != nil {
			t.Errorf("%s %s: %v", c.tool, c.input, err)
			continue
		}
		if diff := cmp.Diff(c.want, when.ReplaceAllString(string(out), "UNTIL")); diff != "" {
			t.Errorf("%s %s: %s (-want +got)\n%s", c.agent, c.tool, c.input, diff)
		}
	}
	for name, input := range map[string]string{
		"lock.acquire": `{"name":"door","ttl":"forever"}`, "counter.add": `{"name":"seats","by":0.5}`, "value.agree": `{"name":"plan"}`,
		"lock.release": `{"name":"door","token":-1}`, "leader.campaign": `{"name":"","ttl":"1m"}`,
	} {
		if _, err := tools[name].Call(t.Context(), tool.Call{Key: "x", Org: "o", Input: json.RawMessage(input)}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s %s: %v", name, input, err)
		}
	}
}

func TestConformance(t *testing.T) {
	inputs := map[string]string{
		"lock.acquire": `{"name":"x","ttl":"1m"}`, "lock.renew": `{"name":"never held","token":1}`, "lock.release": `{"name":"x","token":1}`,
		"leader.campaign": `{"name":"x","ttl":"1m"}`, "leader.who": `{"name":"x"}`, "counter.add": `{"name":"x","by":1}`,
		"counter.get": `{"name":"x"}`, "value.agree": `{"name":"x","value":1}`, "value.get": `{"name":"x"}`, "value.swap": `{"name":"y","value":1,"revision":0}`,
	}
	for name, x := range toolset(t) {
		t.Run(name, func(t *testing.T) { tooltest.Run(t, inOrg{x}, json.RawMessage(inputs[name])) })
	}
}

// inOrg calls a tool for an organization, as a node does.
type inOrg struct{ tool.Tool }

func (x inOrg) Call(ctx context.Context, c tool.Call) (json.RawMessage, error) {
	c.Org = "o"
	return x.Tool.Call(ctx, c)
}

func TestOutsideOfANode(t *testing.T) {
	all, err := coordination.Tools(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].Call(t.Context(), tool.Call{Input: json.RawMessage(`{"name":"x","ttl":"1m"}`)}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}
