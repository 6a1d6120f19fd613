package openai

import (
	"context"
	"encoding/json"
	"strings"

	api "github.com/sashabaranov/go-openai"

	"polity.run"
	"polity.run/fault"
	"polity.run/memory"
	"polity.run/model"
)

// TextsMax is the most texts of one request for embeddings.
const TextsMax = 256

// Embedder turns texts into vectors, by the embeddings endpoint that OpenAI and many others have. It is safe for concurrent use.
type Embedder struct {
	spec    model.Spec
	options map[string]json.RawMessage
}

var _ memory.Embedder = (*Embedder)(nil)

// NewEmbedder returns the embedder that a spec declares. It returns fault.Invalid for a spec that is wrong.
func NewEmbedder(spec model.Spec) (*Embedder, error) {
	c, err := New(spec)
	if err != nil {
		return nil, err
	}
	return &Embedder{c.spec, c.options}, nil
}

// Name is what the provider calls the model, with its options: they may change the vectors.
func (e *Embedder) Name() string {
	return strings.TrimSpace(e.spec.Model + " " + string(e.spec.Options))
}

// Embed implements memory.Embedder. It asks once. Usage is what the provider says, and a token for each byte where it says nothing.
func (e *Embedder) Embed(ctx context.Context, texts []string) ([][]float32, polity.Usage, error) {
	if len(texts) == 0 || len(texts) > TextsMax {
		return nil, polity.Usage{}, fault.Invalid.New("model %s: %d texts; want 1 to %d", e.spec.Name, len(texts), TextsMax)
	}
	key, err := model.Key(e.spec)
	if err != nil {
		return nil, polity.Usage{}, err
	}
	config := api.DefaultConfig(key)
	if e.spec.URL != "" {
		config.BaseURL = strings.TrimRight(e.spec.URL, "/")
	}
	w := &wire{name: e.spec.Name, options: e.options}
	config.HTTPClient = w
	answer, err := api.NewClientWithConfig(config).CreateEmbeddings(ctx, api.EmbeddingRequestStrings{Input: texts, Model: api.EmbeddingModel(e.spec.Model)})
	usage := polity.Usage{InputTokens: int64(answer.Usage.PromptTokens)}
	if err != nil {
		return nil, usage, w.fault(ctx, err)
	}
	if usage.InputTokens <= 0 {
		usage.InputTokens = w.sent
	}
	out := make([][]float32, len(texts))
	for _, d := range answer.Data {
		if d.Index < 0 || d.Index >= len(out) || out[d.Index] != nil || len(d.Embedding) == 0 {
			return nil, usage, fault.Invalid.New("model %s: the vectors do not belong to the texts", e.spec.Name)
		}
		out[d.Index] = d.Embedding
	}
	for _, v := range out {
		if len(v) == 0 || len(v) != len(out[0]) {
			return nil, usage, fault.Invalid.New("model %s: %d vectors for %d texts, or of several lengths", e.spec.Name, len(answer.Data), len(texts))
		}
	}
	return out, usage, nil
}
