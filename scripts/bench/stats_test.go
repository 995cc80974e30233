package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStats(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	require.Equal(t, time.Duration(100), percentile(hundred, 0.99))
	require.Equal(t, time.Duration(51), percentile(hundred, 0.5))
	require.Zero(t, percentile([]time.Duration(nil), 0.5))
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
	require.Zero(t, median([]float64(nil)))
	require.Equal(t, []float64{0.5, 0.25, 2}, pairwise([]float64{1, 1, 4}, []float64{2, 4, 2}))
	require.Equal(t, []float64{1.5, 3}, means([]float64{1, 2}, []float64{2, 4}))
	require.Equal(t, []string{"creds / floor", "1.000", "0.500 to 2.000", "1"}, ratioRow("creds / floor", []float64{0.5, 1, 2}, "1"))
	require.Equal(t, []string{"0", "999", "1,000", "1,234,568"}, []string{count(0), count(999), count(1000), count(1234567.8)})
}

// The ranks are those of published tables of the sign test.
func TestMedianInterval(t *testing.T) {
	for n, rank := range map[int]int{1: 1, 5: 1, 6: 1, 8: 1, 9: 2, 10: 2, 12: 3, 15: 4, 20: 6, 25: 8, 30: 10, 50: 18, 100: 40} {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(n - i)
		}
		low, high := medianInterval(values)
		require.InDelta(t, rank, low, 0, "n = %d", n)
		require.InDelta(t, n+1-rank, high, 0, "n = %d", n)
	}
	low, high := medianInterval(nil)
	require.Zero(t, low+high)
}

// The interval contains the true median in at least 95 % of all experiments.
func TestMedianIntervalCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const experiments = 2000
	covered := 0
	for range experiments {
		values := make([]float64, 40)
		for i := range values {
			values[i] = random.ExpFloat64()
		}
		low, high := medianInterval(values)
		if median := math.Ln2; low <= median && median <= high {
			covered++
		}
	}
	require.Greater(t, covered, experiments*94/100)
	require.Less(t, covered, experiments*99/100)
}

func TestShuffledBlocks(t *testing.T) {
	blocks := shuffledBlocks(200, 4)
	require.Len(t, blocks, 200)
	first := map[int]int{}
	for _, order := range blocks {
		first[order[0]]++
		require.Equal(t, []int{0, 1, 2, 3}, slices.Sorted(slices.Values(order)))
	}
	require.Len(t, first, 4, "each is the first in some block")
}

func TestPerSecond(t *testing.T) {
	times := []time.Time{second(9.9), second(10), second(10.9), second(12), second(13)}
	require.Equal(t, []int{2, 0, 1}, perSecond(times, second(10), 3))
}
