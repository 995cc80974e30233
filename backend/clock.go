package backend

import "time"

// The clock's times carry two readings: the wall clock's, which can be set, and the
// monotonic clock's, which cannot, but stops while the machine sleeps. time.Time
// compares the monotonic readings if both times have one. Therefore:
//
//   - The times in a connection (when a secret was set, when a client got a token, when
//     it rotated) have only the wall clock reading, like all times from storage: an age
//     includes the time that the machine slept.
//   - A token's times have both. It is served until the earlier end; regenerate_after
//     follows the monotonic clock, which can make it late but never early.
//   - Pauses and timeouts have both and follow the monotonic clock: setting the wall
//     clock neither ends nor lengthens them.

// wallTime returns a time without its monotonic reading.
func wallTime(t time.Time) time.Time { return t.Round(0) }

// withMonotonic adds to a time from storage the monotonic reading that it has on this
// machine, so that setting the wall clock later does not move it. now is the current
// time.
func withMonotonic(stored, now time.Time) time.Time {
	here := now.Add(stored.Sub(now))
	if !here.Equal(stored) { // too far away for a Duration
		return stored
	}
	return here // not in stored's location: time.Time.In drops the monotonic reading
}
