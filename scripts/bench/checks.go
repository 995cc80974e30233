package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot/plotter"
)

// checksTest runs many connections for days on a fake clock and prints how many standby
// checks GBG received in each hour, as an attribute.
const (
	checksTest      = "TestStandbyChecksOverDays"
	checksAttribute = "checks_per_hour"
)

// measureChecks shows how standby checks are spread over days, in a test with a fake clock.
func (b *bench) measureChecks(ctx context.Context) error {
	progress("checks: go test -run %s", checksTest)
	out, err := b.goTest(ctx, ".", "-count", "1", "-v", "-run", "^"+checksTest+"$", "./plugintest")
	if err != nil {
		return err
	}
	connections, err := testAttribute(out, "connections")
	if err != nil {
		return err
	}
	perHour, err := testAttribute(out, checksAttribute)
	if err != nil {
		return err
	}
	n := connections[0]
	b.section("Standby checks", fmt.Sprintf("With `standby_check` of a day (the default), counted by a test in memory on a fake clock, not on a real Vault: %s connections with a pair are configured in the same minute, which is the worst case, and run for %d days; nobody reads them. Each check comes after 0.9 to 1 days. Evenly spread, an hour would have %.1f %% of a day's checks.",
		count(n), len(perHour)/24, 100.0/24))
	var rows [][]string
	for day := range len(perHour) / 24 {
		hours := perHour[24*day : 24*day+24]
		total := 0
		for _, n := range hours {
			total += n
		}
		if day > 4 && day != 6 && day%7 != 6 {
			continue
		}
		rows = append(rows, []string{
			strconv.Itoa(day + 1), count(total), count(slices.Max(hours)), count(slices.Min(hours)),
			fmt.Sprintf("%.1f %%", 100*float64(slices.Max(hours))/float64(max(total, 1))),
		})
	}
	b.table([]string{"day", "checks", "busiest hour", "quietest hour", "busiest hour's share"}, rows...)
	return b.plot("checks", "Standby checks per hour, as a share of the connections", chart{
		x: "days since the connections were configured", y: "checks per hour, % of all",
		curves: []curve{{name: "this release", colour: curveColours[0], steps: true, points: hourly(perHour, n)}},
		line:   100.0 / 24, lineName: "evenly spread", xStep: 7,
	})
}

// hourly returns counts per hour as shares of n, over days.
func hourly(perHour []int, n int) plotter.XYs {
	points := histogram(perHour, time.Hour, 100/float64(n))
	for i := range points {
		points[i].X /= (24 * time.Hour).Seconds()
	}
	return points
}

// testAttribute returns the numbers of an attribute in the output of go test -v.
func testAttribute(out []byte, key string) (numbers []int, err error) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 5 || words[0] != "===" || words[1] != "ATTR" || words[3] != key {
			continue
		}
		for _, word := range words[4:] {
			n, err := strconv.Atoi(word)
			if err != nil {
				return nil, err
			}
			numbers = append(numbers, n)
		}
		return numbers, nil
	}
	return nil, errors.Join(lines.Err(), fmt.Errorf("the test printed no attribute %s", key))
}
