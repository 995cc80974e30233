package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func second(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }

func span(begin, end float64) interval { return interval{second(begin), second(end)} }

func TestReadCSV(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const head = "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset\n"

	l, err := readCSV(strings.NewReader(head+
		"0.0045,0.0002,0.0000,0.0000,0.0043,0.0000,200,0.0100\n"+
		"0.0020,0.0000,0.0000,0.0000,0.0020,0.0000,200,0.5080\n"), began)
	require.NoError(t, err)
	require.Equal(t, []sample{
		{begin: began.Add(10 * time.Millisecond), took: 4500 * time.Microsecond},
		{begin: began.Add(508 * time.Millisecond), took: 2 * time.Millisecond},
	}, l.samples)
	require.InDelta(t, 4, l.rate, 1e-9, "two reads in half a second")

	_, err = readCSV(strings.NewReader(head+"0.0045,0,0,0,0,0,503,0.01\n"), began)
	require.ErrorContains(t, err, "status 503")
	_, err = readCSV(strings.NewReader("a,b\n1,2\n"), began)
	require.ErrorContains(t, err, "columns")
	_, err = readCSV(strings.NewReader(""), began)
	require.Error(t, err)
}

func TestTimelineEvents(t *testing.T) {
	line := timeline{began: second(0), events: []timelineEvent{
		{outageEvent, span(17, 22)},
		{rotationEvent, span(27, 29)},
	}}
	line.addRefreshes([]interval{
		span(-9, -8),                                                     // before the round
		span(9, 10),                                                      // a refresh
		span(19, 20), span(20.5, 21.5), span(21.9, 22.9), span(23.5, 24), // those of the outage
		span(27.1, 28.1), span(28.1, 29.1), // those of the rotation
	})
	require.Equal(t, []timelineEvent{
		{refreshEvent, span(9, 10)},
		{outageEvent, span(17, 24)},
		{rotationEvent, span(27, 29.1)},
	}, line.events)

	at := func(s float64) sample { return sample{begin: second(s), took: 100 * time.Millisecond} }
	line.load.samples = []sample{at(8), at(8.9), at(9.5), at(10.2), at(10.3), at(18), at(24.3), at(29)}
	require.Equal(t, map[string][]sample{
		"":            {at(8), at(10.3), at(24.3)},
		refreshEvent:  {at(8.9), at(9.5), at(10.2)},
		outageEvent:   {at(18)},
		rotationEvent: {at(29)},
	}, line.split())

	rows, ratios, err := timelineTables("0.1.0", []timeline{line})
	require.NoError(t, err)
	require.Equal(t, []string{"0.1.0", "quiet", "3", "100.0", "100.0", "100.0", "0"}, rows[0])
	require.Equal(t, []string{"0.1.0, during an outage / quiet", "1.000", "1.000 to 1.000", "1.1 or less"}, ratios[1])

	line.load.samples = line.load.samples[:1]
	_, _, err = timelineTables("0.1.0", []timeline{line})
	require.ErrorContains(t, err, "no read was made during a refresh")
}

func TestMostAtOnce(t *testing.T) {
	require.Zero(t, mostAtOnce(nil))
	require.Equal(t, 1, mostAtOnce([]interval{span(0, 1), span(1, 2)}), "one ends when the next begins")
	require.Equal(t, 2, mostAtOnce([]interval{span(0, 2), span(1, 3), span(2, 4)}))
	all := []interval{span(0, 2), span(1, 3), span(2, 4)}
	require.Equal(t, all[1:2], within(all, span(1, 2)))
	require.Equal(t, all[:2], during(all, span(1, 2)))
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

	r := benchmarks{figures: figures}
	require.Equal(t, "3,865", r.figure("Read", "ns/op", 1))
	require.Equal(t, "-", r.figure("Write", "ns/op", 1), "an older release may not have it")
}

func TestTestAttribute(t *testing.T) {
	out := []byte("=== RUN   TestA\n=== ATTR  TestA connections 300\n=== ATTR  TestA checks_per_hour 0 12 3\n--- PASS: TestA\n")
	numbers, err := testAttribute(out, "checks_per_hour")
	require.NoError(t, err)
	require.Equal(t, []int{0, 12, 3}, numbers)
	_, err = testAttribute(out, "hours")
	require.ErrorContains(t, err, "no attribute hours")
}

func TestRequestRow(t *testing.T) {
	row, err := requestRow("0.1.0", []interval{span(0, 1), span(38, 39), span(76, 77)}, 40*time.Second)
	require.NoError(t, err)
	require.Equal(t, []string{"0.1.0", "3", "76.0 s", "38.00 s", "1.05", "1"}, row)
	_, err = requestRow("0.1.0", []interval{span(0, 1)}, time.Minute)
	require.Error(t, err)
}
