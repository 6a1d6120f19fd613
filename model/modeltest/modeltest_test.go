package modeltest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
)

// script is a model that answers as its function says.
type script struct {
	name   func() string
	answer func(ctx context.Context, r model.Request) (model.Response, error)
}

func (s script) Name() string { return s.name() }

func (s script) Answer(ctx context.Context, r model.Request) (model.Response, error) {
	return s.answer(ctx, r)
}

// good keeps every promise.
func good() script {
	return script{
		name: func() string { return "good" },
		answer: func(ctx context.Context, r model.Request) (model.Response, error) {
			if ctx.Err() != nil {
				return model.Response{}, fault.Cancelled.New("good: %w", ctx.Err())
			}
			if len(r.Messages) == 0 || string(r.Schema) == `{"type":"nonsense"}` {
				return model.Response{}, fault.Invalid.New("good: not a request")
			}
			out := model.Response{Output: json.RawMessage(`"It allows use."`)}
			if len(r.Schema) > 0 {
				out.Output = json.RawMessage(`{"summary":"It allows use.","reasons":[]}`)
			}
			return out, nil
		},
	}
}

// with returns the good model with its responses changed.
func with(change func(r model.Request, out *model.Response)) script {
	m := good()
	inner := m.answer
	m.answer = func(ctx context.Context, r model.Request) (model.Response, error) {
		out, err := inner(ctx, r)
		if err == nil {
			change(r, &out)
		}
		return out, err
	}
	return m
}

// always returns a model that answers every request in the same way.
func always(err error) script {
	m := good()
	m.answer = func(context.Context, model.Request) (model.Response, error) {
		return model.Response{Output: json.RawMessage(`"x"`)}, err
	}
	return m
}

func TestGoodModelPasses(t *testing.T) {
	Run(t, func() model.Model { return good() })
}

// TestBrokenPromiseIsFound has, for each promise, models that break it.
func TestBrokenPromiseIsFound(t *testing.T) {
	calls := 0
	tests := map[string]map[string]model.Model{
		"has one name": {
			"empty":   script{name: func() string { return "" }},
			"changes": script{name: func() string { calls++; return string(rune('a' + calls)) }},
		},
		"answers text with a JSON string": {
			"no string": with(func(_ model.Request, out *model.Response) { out.Output = json.RawMessage(`{}`) }),
			"no JSON":   with(func(_ model.Request, out *model.Response) { out.Output = json.RawMessage(`yes`) }),
			"negative":  with(func(_ model.Request, out *model.Response) { out.Usage = polity.Usage{MicroUSD: -1} }),
			"too much":  with(func(_ model.Request, out *model.Response) { out.Usage = polity.Usage{OutputTokens: 1001} }),
			"fails":     always(fault.Unavailable.New("away")),
		},
		"answers within the schema": {
			"unknown field": with(func(_ model.Request, out *model.Response) {
				out.Output = json.RawMessage(`{"summary":"","reasons":[],"more":1}`)
			}),
		},
		"answers many at once": {
			"text": with(func(_ model.Request, out *model.Response) { out.Output = json.RawMessage(`"x"`) }),
		},
		"leaves the request as it was": {
			"role": with(func(r model.Request, _ *model.Response) { r.Messages[0].Role = model.User }),
		},
		"quotes only what is in the request": {
			"made up": with(func(_ model.Request, out *model.Response) {
				out.Sources = []model.Quote{{Field: "/summary", Source: "LICENSE", Text: "It allows use."}}
			}),
			"wrong source": with(func(_ model.Request, out *model.Response) {
				out.Sources = []model.Quote{{Field: "/summary", Source: "README.md", Text: "year: 2026"}}
			}),
			"without a source": with(func(_ model.Request, out *model.Response) { out.Extractive = "quoted" }),
			"list without a source": with(func(_ model.Request, out *model.Response) {
				out.Extractive, out.Output = "quoted", json.RawMessage(`{"summary":"","reasons":["because"]}`)
			}),
		},
		"ends with its context": {
			"answers anyway": always(nil),
			"bare error":     always(context.Canceled),
		},
		"refuses a broken schema":            {"answers": always(nil), "other kind": always(fault.Failed.New("x"))},
		"refuses a request without messages": {"answers": always(nil)},
	}
	want, got := slices.Sorted(maps.Keys(promises)), slices.Sorted(maps.Keys(tests))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("promises and their breakers differ: %s", diff)
	}
	for promise, breakers := range tests {
		for name, m := range breakers {
			t.Run(promise+"/"+name, func(t *testing.T) {
				if promises[promise](m) == nil {
					t.Error("the suite did not notice")
				}
			})
		}
	}
}
