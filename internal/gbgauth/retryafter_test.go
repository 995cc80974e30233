package gbgauth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Retry-After is a number of seconds, or a date relative to the Date header; anything
// else is ignored.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"":                           0,
		"0":                          0,
		"30":                         30 * time.Second,
		"3600":                       time.Hour,
		"3601":                       time.Hour,
		"86400":                      time.Hour,
		"4294967296":                 time.Hour,
		"99999999999999999":          time.Hour,
		"99999999999999999999999999": time.Hour,
		"+30":                        0,
		"-1":                         0,
		"1.5":                        0,
		"soon":                       0,
		at(time.Minute):              time.Minute,
		at(0):                        0,
		at(-time.Hour):               0,
		at(48 * time.Hour):           time.Hour,
	} {
		failed := fetchError(t, clientCredentials(serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.Header().Set("Retry-After", value)
			respond(http.StatusServiceUnavailable, "text/plain", "")(w, r)
		})))
		require.Equal(t, want, failed.RetryAfter, "%q", value)
	}
}

// Without a Date header, a date is relative to now.
func TestRetryAfterWithoutADate(t *testing.T) {
	t.Parallel()
	failed := fetchError(t, clientCredentials(serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("Retry-After", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
		respond(http.StatusServiceUnavailable, "text/plain", "")(w, r)
	})))
	require.InDelta(t, 10*time.Minute, failed.RetryAfter, float64(time.Minute))
}
