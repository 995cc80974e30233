package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// percentile gives the smallest of values that a share of them does not exceed.
func percentile[T cmp.Ordered](values []T, share float64) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// median gives the value in the middle, or between the two there.
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

// latencies are how long reads took.
func latencies(samples []sample) []time.Duration {
	all := make([]time.Duration, len(samples))
	for i, s := range samples {
		all[i] = s.took
	}
	return all
}

// eachLoad gives a figure of each of some loads.
func eachLoad[T any](loads []load, figure func(load) T) []T {
	all := make([]T, len(loads))
	for i, l := range loads {
		all[i] = figure(l)
	}
	return all
}

func rate(l load) float64      { return l.rate }
func busy(l load) float64      { return float64(l.busy) / float64(len(l.samples)) }
func p50(l load) time.Duration { return percentile(latencies(l.samples), 0.50) }
func p99(l load) time.Duration { return percentile(latencies(l.samples), 0.99) }

// pairwise divides figures that were taken side by side.
func pairwise(a, b []float64) []float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}

// means gives the mean of each two figures.
func means(a, b []float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = (a[i] + b[i]) / 2
	}
	return all
}

// spread is a row's end: the median of ratios and where they lie.
func spread(ratios []float64) []string {
	return []string{
		fmt.Sprintf("%.3f", median(ratios)),
		fmt.Sprintf("%.3f to %.3f", slices.Min(ratios), slices.Max(ratios)),
	}
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
}

// count is a number with its thousands set apart.
func count[T int | float64](n T) string {
	text := fmt.Sprintf("%.0f", float64(n))
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
