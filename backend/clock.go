package backend

import "time"

// A time that the clock gives carries two readings: the wall clock's, which can be
// set, and the monotonic clock's, which cannot, but stands still while the machine
// sleeps. time.Time compares the monotonic ones where both times have one. So:
//
//   - What a connection keeps (when a secret was set, when a client got a token, when
//     it rotated) has the wall clock's alone, like all that comes from storage: an age
//     counts the time that the machine slept.
//   - A token's times have both. It is served until the earlier end; regenerate_after
//     goes by the monotonic clock, which can make it late and never early.
//   - Pauses and timeouts have both, and go by the monotonic clock: setting the wall
//     clock neither ends nor lengthens them.

// wallTime returns a time without its monotonic reading.
func wallTime(t time.Time) time.Time { return t.Round(0) }

// withMonotonic returns a time that comes from storage with the monotonic reading
// that it has on this machine, so that setting the wall clock from now on does not
// move it. now is what the clock gives.
func withMonotonic(stored, now time.Time) time.Time {
	here := now.Add(stored.Sub(now))
	if !here.Equal(stored) { // too far away for a Duration
		return stored
	}
	return here // not in stored's location: time.Time.In drops the monotonic reading
}
