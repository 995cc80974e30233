package gbgauth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Retry-After is seconds or a date, which counts from the answer's own; anything
// else says nothing.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"":                  0,
		"0":                 0,
		"30":                30 * time.Second,
		"86400":             24 * time.Hour,
		"86401":             24 * time.Hour,
		"99999999999999999": 0,
		"-1":                0,
		"1.5":               0,
		"soon":              0,
		at(time.Minute):     time.Minute,
		at(0):               0,
		at(-time.Hour):      0,
		at(48 * time.Hour):  24 * time.Hour,
	} {
		failed := fetchError(t, ask(serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.Header().Set("Retry-After", value)
			reply(http.StatusServiceUnavailable, "text/plain", "")(w, r)
		})))
		require.Equal(t, want, failed.RetryAfter, "%q", value)
	}
	failed := fetchError(t, ask(serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("Retry-After", at(time.Minute))
		reply(http.StatusServiceUnavailable, "text/plain", "")(w, r)
	})))
	require.Zero(t, failed.RetryAfter, "a date that counts from nothing")
}
