package wire

import (
	"encoding/json"
	"hash/fnv"
	"strings"
)

const dimensions = 64 // of a vector

// readEmbeddings reads a request for embeddings.
func readEmbeddings(raw []byte) (texts []string, wrong string) {
	var q struct {
		Model string   `json:"model"`
		Input []string `json:"input"`
	}
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, problem("input: want a list of texts: %v", err)
	}
	if q.Model == "" || len(q.Input) == 0 {
		return nil, problem("model and input are needed")
	}
	for i, text := range q.Input {
		if text == "" {
			return nil, problem("input[%d] is empty", i)
		}
	}
	return q.Input, ""
}

// embeddings answers with a vector for each text: near each other where texts share words, by the first four letters of each.
func embeddings(texts []string, r Reply) map[string]any {
	var data []map[string]any
	for i, text := range texts {
		vector := make([]float32, dimensions)
		for _, word := range strings.Fields(strings.ToLower(text)) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(word[:min(len(word), 4)])) // a hash does not fail
			vector[h.Sum32()%dimensions]++
		}
		data = append(data, map[string]any{"object": "embedding", "index": i, "embedding": vector})
	}
	out := map[string]any{"object": "list", "data": data, "model": "test"}
	if !r.NoUsage {
		out["usage"] = map[string]int64{"prompt_tokens": max(r.Input, int64(len(texts))), "total_tokens": max(r.Input, int64(len(texts)))}
	}
	return out
}
