package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// percentile returns the smallest value that a share of the values does not exceed.
func percentile[T cmp.Ordered](values []T, share float64) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// median returns the middle value, or the mean of the two middle values.
func median[T time.Duration | float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// medianInterval returns a confidence interval of the median of at least 95 %, from two
// of the sorted values. It assumes nothing about the distribution: the number of values
// below the true median is binomial. Fewer than six values have no such interval; then
// it is the range.
func medianInterval(values []float64) (low, high float64) {
	if len(values) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	below := distuv.Binomial{N: float64(n), P: 0.5}
	// The interval from the k-th smallest to the k-th largest value misses the median if
	// fewer than k values are on one side of it.
	k := 1
	for k < n/2 && 2*below.CDF(float64(k)) <= 0.05 {
		k++
	}
	return sorted[k-1], sorted[n-k]
}

// pairwise divides figures of the same block.
func pairwise(a, b []float64) []float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}

// means returns the mean of each two figures.
func means(a, b []float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = (a[i] + b[i]) / 2
	}
	return all
}

// ratioRow is a table row: a name, the median of ratios, its interval and further cells.
func ratioRow(name string, ratios []float64, more ...string) []string {
	low, high := medianInterval(ratios)
	return append([]string{name, fmt.Sprintf("%.3f", median(ratios)), fmt.Sprintf("%.3f to %.3f", low, high)}, more...)
}

// shuffledBlocks returns orders of n things: in each block every thing once, in random
// order.
func shuffledBlocks(blocks, n int) [][]int {
	all := make([][]int, blocks)
	for i := range all {
		all[i] = rand.Perm(n) //nolint:gosec // the order is no secret
	}
	return all
}

// perSecond counts times in seconds from a start. Times outside are left out.
func perSecond(times []time.Time, start time.Time, seconds int) []int {
	counts := make([]int, seconds)
	for _, t := range times {
		if since := t.Sub(start); since >= 0 && since < time.Duration(seconds)*time.Second {
			counts[since/time.Second]++
		}
	}
	return counts
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
}

func megabytes(n int) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// count formats a number with commas between thousands.
func count[T int | float64](n T) string {
	text := fmt.Sprintf("%.0f", float64(n))
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
