package provider

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"polity.run/fault"
	"polity.run/memory"
	"polity.run/model"
	"polity.run/model/modeltest/wire"
)

func embeds(t *testing.T, s *wire.Server, change func(*model.Spec)) memory.Embedder {
	t.Helper()
	http := httptest.NewServer(s)
	t.Cleanup(http.Close)
	spec := model.Spec{Name: "embedder", API: model.OpenAI, URL: http.URL + "/v1", Model: "small", Attempts: 1, Price: model.Price{Input: 20_000}}
	if change != nil {
		change(&spec)
	}
	e, err := NewEmbedder(spec, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEmbeddings(t *testing.T) {
	ctx := context.Background()
	e := embeds(t, wire.New(), nil)
	vectors, usage, err := e.Embed(ctx, []string{"a red door", "a red window", "debts"})
	if err != nil || len(vectors) != 3 || len(vectors[0]) != len(vectors[2]) {
		t.Fatal(vectors, err)
	}
	near := func(i, j int) (sum float32) {
		for k := range vectors[i] {
			sum += vectors[i][k] * vectors[j][k]
		}
		return sum
	}
	if near(0, 1) <= near(0, 2) {
		t.Errorf("doors and windows are %f apart, doors and debts %f", near(0, 1), near(0, 2))
	}
	if usage.InputTokens != 3 || usage.MicroUSD != 60 {
		t.Errorf("usage %+v", usage)
	}
	if e.Name() != "small" {
		t.Errorf("name %q", e.Name())
	}
	silent := wire.New()
	silent.Embeddings.NoUsage = true
	if _, usage, err = embeds(t, silent, nil).Embed(ctx, []string{"a"}); err != nil || usage.InputTokens < 10 {
		t.Errorf("a provider that tells no usage: %+v %v", usage, err)
	}
	if _, _, err = e.Embed(ctx, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("no text: %v", err)
	}
	if _, _, err = e.Embed(ctx, []string{""}); !errors.Is(err, fault.Invalid) {
		t.Errorf("what the provider refuses: %v", err)
	}
}

func TestEmbeddingsThatFail(t *testing.T) {
	tests := map[string]struct {
		reply wire.Reply
		want  fault.Kind
	}{
		"busy":      {wire.Reply{Status: 429, Text: "slow down"}, fault.Unavailable},
		"broken":    {wire.Reply{Status: 500}, fault.Unavailable},
		"not known": {wire.Reply{Status: 404, Text: "no such model"}, fault.NotFound},
		"nonsense":  {wire.Reply{Raw: `{"data":[{"index":7,"embedding":[1]}]}`}, fault.Invalid},
		"missing":   {wire.Reply{Raw: `{"data":[]}`}, fault.Invalid},
		"no JSON":   {wire.Reply{Raw: `<html>`}, fault.Unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := wire.New()
			s.Embeddings = tt.reply
			if _, _, err := embeds(t, s, nil).Embed(context.Background(), []string{"a"}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if n := len(s.Seen()); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
	s := wire.New()
	s.Embeddings = wire.Reply{Status: 503, Header: map[string]string{"Retry-After": "0"}}
	if _, _, err := embeds(t, s, func(m *model.Spec) { m.Attempts = 2 }).Embed(context.Background(), []string{"a"}); !errors.Is(err, fault.Unavailable) || len(s.Seen()) != 2 {
		t.Errorf("got %v after %d attempts", err, len(s.Seen()))
	}
	if _, err := NewEmbedder(model.Spec{Name: "e", API: model.Anthropic, Model: "m"}, NewShared()); !errors.Is(err, fault.Invalid) {
		t.Errorf("a protocol without: %v", err)
	}
}
