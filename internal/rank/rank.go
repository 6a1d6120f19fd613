// Package rank orders passages of text by what they have to do with a query.
//
// It exists so that an answer can be put together from quotations without a language model: pure
// arithmetic over words, the same on every machine, with ties in the order of the input.
//
//	New(passages) -> *Index -> Score(query) -> MMR -> the few that say most and differ
package rank

import (
	"math"
	"slices"
)

// The parameters of BM25, as Robertson and Zaragoza recommend where nothing was tuned.
const (
	k1 = 1.2  // how soon repeating a word stops counting
	b  = 0.75 // how much a passage's length is held against it
)

// Index holds passages ready to be scored. It is safe for concurrent use and does not change.
type Index struct {
	terms    map[string]int // a term's number, by first appearance
	postings [][]posting    // by term number: the passages with the term, in order
	words    [][]int        // by passage: its distinct term numbers, sorted
	lengths  []int          // by passage: how many terms
	average  float64        // of lengths
}

// posting says how often a term stands in a passage.
type posting struct {
	passage int
	count   int
}

// New indexes passages. It keeps nothing of the slice.
func New(passages []string) *Index {
	x := &Index{
		terms: map[string]int{}, words: make([][]int, len(passages)), lengths: make([]int, len(passages)),
	}
	total := 0
	for i, p := range passages {
		terms := Terms(p)
		x.lengths[i] = len(terms)
		total += len(terms)
		for _, t := range terms {
			x.add(i, t)
		}
		slices.Sort(x.words[i])
	}
	if len(passages) > 0 {
		x.average = float64(total) / float64(len(passages))
	}
	return x
}

func (x *Index) add(passage int, term string) {
	n, ok := x.terms[term]
	if !ok {
		n = len(x.postings)
		x.terms[term], x.postings = n, append(x.postings, nil)
	}
	list := x.postings[n]
	if last := len(list) - 1; last >= 0 && list[last].passage == passage {
		list[last].count++
		return
	}
	x.postings[n] = append(list, posting{passage, 1})
	x.words[passage] = append(x.words[passage], n)
}

// Score returns each passage's BM25 score for the query, in the order of the passages. A score is
// never negative, and 0 exactly where a passage shares no term with the query. A word counts once however often
// the query repeats it.
//
// The formula is that of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
// Beyond", 2009, section 3.4; 1 is added inside the logarithm, so that a word in more than half of
// the passages counts little instead of counting against them.
func (x *Index) Score(query string) []float64 {
	scores := make([]float64, len(x.lengths))
	seen := map[int]bool{}
	for _, t := range Terms(query) {
		n, ok := x.terms[t]
		if !ok || seen[n] {
			continue
		}
		seen[n] = true
		rarity := x.rarity(n)
		for _, p := range x.postings[n] {
			count := float64(p.count)
			// The conversions forbid fused operations, which round differently on some machines.
			length := float64(b * float64(float64(x.lengths[p.passage])/x.average))
			weight := float64(count*(k1+1)) / (count + float64(k1*float64(1-b+length)))
			scores[p.passage] += float64(rarity * weight)
		}
	}
	return scores
}

// rarity is the inverse document frequency of a term.
func (x *Index) rarity(term int) float64 {
	with := float64(len(x.postings[term]))
	return math.Log(1 + (float64(len(x.lengths))-with+0.5)/(with+0.5))
}

// Similarity returns how much two passages of the index have in common, as the function
// [Similarity] does.
func (x *Index) Similarity(i, j int) float64 { return jaccard(x.words[i], x.words[j]) }

// Similarity returns the part of the distinct words of a and b together that both have: 0 for
// nothing in common, 1 for the same words (Jaccard's index). Two texts without words are alike.
func Similarity(a, b string) float64 {
	return New([]string{a, b}).Similarity(0, 1)
}

func jaccard(a, b []int) float64 {
	both, i, j := 0, 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			both, i, j = both+1, i+1, j+1
		case a[i] < b[j]:
			i++
		default:
			j++
		}
	}
	if len(a)+len(b) == 0 {
		return 1
	}
	return float64(both) / float64(len(a)+len(b)-both)
}
