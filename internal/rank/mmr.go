package rank

import (
	"math"
	"slices"
)

// MMR picks up to n of the items with a positive score, best first, so that each says something
// that those before it did not: the maximal marginal relevance of Carbonell and Goldstein, "The Use
// of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries", SIGIR 1998.
//
// It returns indexes into scores. The similarity sim(i, j) lies between 0 and 1; lambda weighs
// relevance (1) against novelty (0). Scores are divided by the best, so that both have one scale.
// An item with similarity 1 to a picked one is never picked. Of equals the first wins.
func MMR(scores []float64, sim func(i, j int) float64, lambda float64, n int) []int {
	best := 0.0
	for _, s := range scores {
		if s > best {
			best = s
		}
	}
	closest := make([]float64, len(scores)) // to what is picked
	var picked []int
	for len(picked) < n {
		next, most := -1, math.Inf(-1)
		for i, s := range scores {
			if !(s > 0) || closest[i] >= 1 || slices.Contains(picked, i) {
				continue
			}
			gain := float64(lambda*float64(s/best)) - float64((1-lambda)*closest[i])
			if gain > most {
				next, most = i, gain
			}
		}
		if next < 0 {
			break
		}
		picked = append(picked, next)
		for i := range scores {
			if scores[i] > 0 {
				closest[i] = math.Max(closest[i], sim(i, next))
			}
		}
	}
	return picked
}
