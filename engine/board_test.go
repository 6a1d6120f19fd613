package engine_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/engine"
	"polity.run/manifest"
	"polity.run/model/modeltest/wire"
	"polity.run/tool"
)

// board runs examples/review-board, with its model replaced if an address is given.
func board(t *testing.T, address string) polity.Outcome {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "examples", "review-board", "polity.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if address != "" {
		text = []byte(strings.Replace(strings.ReplaceAll(string(text), "model: quote", "model: writer"), "\nagents:\n",
			"\nmodels:\n  writer: {api: openai, url: \""+address+"/v1\", model: m, price: {input: 1, output: 4}}\nagents:\n", 1))
	}
	path := filepath.Join(t.TempDir(), "polity.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	tools, err := engine.Tools()
	if err != nil {
		t.Fatal(err)
	}
	env := manifest.Env{Tools: map[string]tool.Spec{}, Models: []string{"quote"}, Specs: engine.Specs}
	for _, b := range tools {
		env.Tools[b.Spec().Name] = b.Spec()
	}
	m, err := manifest.Load(path, env)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, t.TempDir())
	defer e.Close()
	digest, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs(filepath.Join("..", "examples", "review-board", "scenarios", "sample"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Run(t.Context(), engine.Request{Release: digest, Input: json.RawMessage(`{"question":"Is it ready?"}`), Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReviewBoardWithAModel has the board's specialists think with a provider's model: what it says stands in the report, and the claims, their
// verification and the verdict are the same as without it, since they are not the model's to make. Tokens and cost are in the result.
func TestReviewBoardWithAModel(t *testing.T) {
	const said = "Weighed and worded by a model."
	s := &wire.Server{Answer: func(s wire.Seen) wire.Reply {
		return wire.Reply{Text: `{"summary":"` + said + `"}`, Input: 200, Output: 10}
	}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	thought, quoted := board(t, server.URL), board(t, "")
	for _, seen := range s.Seen() {
		if seen.Problem != "" {
			t.Errorf("the protocol is broken: %s", seen.Problem)
		}
	}
	if thought.Status != polity.StatusCompleted || strings.Count(string(thought.Output), said) < 5 || strings.Contains(string(quoted.Output), said) {
		t.Errorf("the model's words are not in the report: %s %s", thought.Status, thought.Output)
	}
	if u := thought.Usage; u.InputTokens != 1000 || u.OutputTokens != 50 || u.MicroUSD != 1200 {
		t.Errorf("used %+v", u)
	}
	facts := func(o polity.Outcome) (verdict string, claims []string) {
		type finding struct {
			Text   string `json:"text"`
			Status string `json:"status"`
		}
		var out struct {
			Response struct {
				Verdict string    `json:"verdict"`
				For     []finding `json:"for"`
				Against []finding `json:"against"`
				Neutral []finding `json:"neutral"`
			} `json:"response"`
		}
		if err := json.Unmarshal(o.Output, &out); err != nil {
			t.Fatal(err)
		}
		r := out.Response
		for _, f := range slices.Concat(r.For, r.Against, r.Neutral) {
			claims = append(claims, f.Status+" "+f.Text)
		}
		return r.Verdict, claims
	}
	v1, c1 := facts(thought)
	v2, c2 := facts(quoted)
	if v1 == "" || v1 != v2 || len(c1) == 0 {
		t.Errorf("verdict %q, without a model %q; %d claims", v1, v2, len(c1))
	}
	if diff := cmp.Diff(c2, c1); diff != "" {
		t.Errorf("claims differ: %s", diff)
	}
}
