package main

import (
	"slices"
	"time"
)

// interval is the time from one moment to another.
type interval struct{ begin, end time.Time }

// begins returns when intervals began.
func begins(all []interval) []time.Time {
	times := make([]time.Time, len(all))
	for i, r := range all {
		times[i] = r.begin
	}
	return times
}

// within returns the intervals that began in another one.
func within(all []interval, period interval) (found []interval) {
	for _, r := range all {
		if !r.begin.Before(period.begin) && r.begin.Before(period.end) {
			found = append(found, r)
		}
	}
	return found
}

// during returns the intervals that overlap another one.
func during(all []interval, period interval) (found []interval) {
	for _, r := range all {
		if r.begin.Before(period.end) && r.end.After(period.begin) {
			found = append(found, r)
		}
	}
	return found
}

// mostAtOnce returns the maximum number of intervals that overlap.
func mostAtOnce(all []interval) int {
	type change struct {
		at   time.Time
		step int
	}
	changes := make([]change, 0, 2*len(all))
	for _, r := range all {
		changes = append(changes, change{r.begin, 1}, change{r.end, -1})
	}
	slices.SortFunc(changes, func(a, b change) int {
		if order := a.at.Compare(b.at); order != 0 {
			return order
		}
		return a.step - b.step // one that ends when another begins does not overlap it
	})
	now, most := 0, 0
	for _, c := range changes {
		now += c.step
		most = max(most, now)
	}
	return most
}
