package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadCSV(t *testing.T) {
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const head = "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset\n"

	l, err := readCSV(strings.NewReader(head+
		"0.0045,0.0002,0.0000,0.0000,0.0043,0.0000,200,0.0100\n"+
		"0.0020,0.0000,0.0000,0.0000,0.0020,0.0000,200,0.5080\n"), begun)
	require.NoError(t, err)
	require.Equal(t, []sample{
		{begin: begun.Add(10 * time.Millisecond), took: 4500 * time.Microsecond},
		{begin: begun.Add(508 * time.Millisecond), took: 2 * time.Millisecond},
	}, l.samples)
	require.InDelta(t, 4, l.rate, 1e-9, "two reads in half a second")

	_, err = readCSV(strings.NewReader(head+"0.0045,0,0,0,0,0,503,0.01\n"), begun)
	require.ErrorContains(t, err, "status 503")
	_, err = readCSV(strings.NewReader("a,b\n1,2\n"), begun)
	require.ErrorContains(t, err, "columns")
	_, err = readCSV(strings.NewReader(""), begun)
	require.Error(t, err)
}

func TestFigures(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	require.Equal(t, time.Duration(100), percentile(hundred, 0.99))
	require.Equal(t, time.Duration(51), percentile(hundred, 0.5))
	require.Zero(t, percentile([]time.Duration(nil), 0.5))
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
	require.Equal(t, []string{"0.500", "0.250 to 2.000"}, spread(pairwise([]float64{1, 1, 4}, []float64{2, 4, 2})))
	require.Equal(t, []string{"0", "999", "1,000", "1,234,568"}, []string{count(0), count(999), count(1000), count(1234567.8)})
}

func TestSplit(t *testing.T) {
	second := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	requests := []interval{{second(10), second(11.5)}, {second(20), second(21.5)}}
	at := func(s float64) sample { return sample{begin: second(s), took: 100 * time.Millisecond} }

	quiet, during := split([]sample{at(9), at(9.9), at(10.5), at(11.7), at(11.8), at(20)}, requests)
	require.Equal(t, []sample{at(9), at(11.8)}, quiet)
	require.Equal(t, []sample{at(9.9), at(10.5), at(11.7), at(20)}, during)
}

func TestParseBenchmarks(t *testing.T) {
	names, figures, err := parseBenchmarks([]byte(`goos: linux
BenchmarkRead-2     	  300000	      3864 ns/op	    1784 B/op	      23 allocs/op
BenchmarkMemory     	       1	 554242161 ns/op	      2237 B/connection
BenchmarkRead-2     	  300000	      3866.5 ns/op	    1784 B/op	      23 allocs/op
PASS
`))
	require.NoError(t, err)
	require.Equal(t, []string{"Read", "Memory"}, names)
	require.Equal(t, []float64{3864, 3866.5}, figures["Read"]["ns/op"])
	require.Equal(t, []float64{2237}, figures["Memory"]["B/connection"])
}
