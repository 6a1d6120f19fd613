package rank_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/internal/rank"
)

func Example() {
	passages := []string{
		"The release needs a licence file.",
		"A licence file is needed for the release.",
		"Tests cover the parser.",
		"The licence of a dependency forbids selling.",
	}
	index := rank.New(passages)
	scores := index.Score("Which licences forbid a release?")
	for _, i := range rank.MMR(scores, index.Similarity, 0.5, 2) {
		fmt.Println(passages[i])
	}
	// Output:
	// The licence of a dependency forbids selling.
	// The release needs a licence file.
}

func TestScoreIsBM25(t *testing.T) {
	// Three passages of 2, 1 and 3 terms, on average 2. "cat" stands in two of them.
	index := rank.New([]string{"cat dog", "bird", "cat cat fish"})
	idf := math.Log(1 + (3-2+0.5)/(2+0.5))
	want := []float64{
		idf * 1 * 2.2 / (1 + 1.2*(0.25+0.75*2/2)),
		0,
		idf * 2 * 2.2 / (2 + 1.2*(0.25+0.75*3.0/2)),
	}
	got := index.Score("cat Cats CAT")
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Errorf("passage %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestScoreNeverPunishesACommonWord(t *testing.T) {
	for i, s := range rank.New([]string{"cat", "cat dog", "cat bird"}).Score("cat") {
		if s <= 0 {
			t.Errorf("passage %d: a word that stands everywhere scores %v", i, s)
		}
	}
}

func TestScoreOfNothing(t *testing.T) {
	tests := map[string]struct {
		passages []string
		query    string
		want     []float64
	}{
		"no passages":    {nil, "cat", []float64{}},
		"empty passages": {[]string{"", "..."}, "cat", []float64{0, 0}},
		"empty query":    {[]string{"cat"}, "", []float64{0}},
		"only stopwords": {[]string{"the cat"}, "what is the", []float64{0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, rank.New(tt.passages).Score(tt.query)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTerms(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"case and signs":  {"Go-routines, e.g. Größe_2!", "go routin e g größ 2"},
		"stop words":      {"what is the licence of it", "licenc"},
		"plural":          {"licences policies classes boxes caches pass status analysis", "licenc policy class box cach pass status analysis"},
		"same word":       {"cache caches cached caching", "cach cach cach cach"},
		"endings":         {"planned planning plan tests tested testing", "plan plan plan test test test"},
		"kept":            {"red string bring need calls falling", "red string bring need call fall"},
		"too long a word": {strings.Repeat("a", 65) + " b", "b"},
		"other scripts":   {"Привет мир 世界", "привет мир 世界"},
		"broken text":     {"a\xffcat", "cat"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, strings.Join(rank.Terms(tt.text), " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMMR(t *testing.T) {
	// Items 0 and 1 say nearly the same, 3 says something else.
	alike := func(i, j int) float64 {
		switch {
		case i == j:
			return 1
		case i+j == 1:
			return 0.9
		default:
			return 0
		}
	}
	never := func(int, int) float64 { return 0 }
	tests := map[string]struct {
		scores []float64
		sim    func(i, j int) float64
		lambda float64
		n      int
		want   []int
	}{
		"relevance alone":    {[]float64{3, 2.9, 0, 1}, alike, 1, 3, []int{0, 1, 3}},
		"relevance, novelty": {[]float64{3, 2.9, 0, 1}, alike, 0.5, 3, []int{0, 3, 1}},
		"zero is no match":   {[]float64{0, 0}, never, 0.5, 2, nil},
		"ties by order":      {[]float64{1, 1, 1}, never, 0.5, 2, []int{0, 1}},
		"fewer than wanted":  {[]float64{1}, never, 0.5, 9, []int{0}},
		"none wanted":        {[]float64{1}, never, 0.5, 0, nil},
		"the same once":      {[]float64{1, 1, 0.1}, func(i, j int) float64 { return map[bool]float64{true: 1}[i < 2 && j < 2] }, 1, 3, []int{0, 2}},
		"not a number":       {[]float64{math.NaN(), 1}, never, 0.5, 2, []int{1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, rank.MMR(tt.scores, tt.sim, tt.lambda, tt.n)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSimilarity(t *testing.T) {
	tests := map[string]struct {
		a, b string
		want float64
	}{
		"the same words": {"No tests cover pay.go", "pay.go: tests cover no", 1},
		"half":           {"cat dog fish", "cat dog bird", 0.5},
		"nothing":        {"cat", "dog", 0},
		"both empty":     {"", "...", 1},
		"one empty":      {"", "cat", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rank.Similarity(tt.a, tt.b); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := rank.Similarity(tt.b, tt.a); got != tt.want {
				t.Errorf("the other way round: got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSameInputSameScores(t *testing.T) {
	var passages []string
	for i := range 200 {
		passages = append(passages, fmt.Sprintf("passage %d about cats, dogs and number %d", i, i%7))
	}
	query := "which cats and dogs have number 3 or 5?"
	want := rank.New(passages).Score(query)
	for range 20 {
		if diff := cmp.Diff(want, rank.New(passages).Score(query)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func FuzzRank(f *testing.F) {
	f.Add("The cats\nA dog", "cat")
	f.Add("\xff\n\x00ing\neds", "ies s ed")
	f.Fuzz(func(t *testing.T, text, query string) {
		passages := strings.Split(text, "\n")
		index := rank.New(passages)
		scores := index.Score(query)
		if len(scores) != len(passages) {
			t.Fatalf("%d scores for %d passages", len(scores), len(passages))
		}
		for i, s := range scores {
			if !(s >= 0) || math.IsInf(s, 0) {
				t.Errorf("passage %d scores %v", i, s)
			}
		}
		seen := map[int]bool{}
		for _, i := range rank.MMR(scores, index.Similarity, 0.7, 5) {
			if seen[i] || scores[i] <= 0 {
				t.Errorf("picked %d, seen %v, score %v", i, seen[i], scores[i])
			}
			seen[i] = true
		}
	})
}
