package gbgauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the maximum of Error.RetryAfter; a longer time counts as
// MaxRetryAfter.
const MaxRetryAfter = time.Hour

// retryAfter returns the time of a Retry-After header (RFC 9110 section 10.2.3), which
// is a number of seconds or a date. A date is relative to the response's Date header,
// so that the clocks need not agree, or to now if there is none. retryAfter returns
// zero if the header is missing or malformed.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if isDigits(value) {
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || seconds > uint64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return min(max(until.Sub(now), 0), MaxRetryAfter)
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
