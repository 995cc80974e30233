package gbgauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswerBytes is how much of an answer is read.
	maxAnswerBytes = 1 << 20
	// AssumedLifetime stands in for a missing expires_in, which RFC 6749 section
	// 5.1 only recommends.
	AssumedLifetime = 5 * time.Minute
	// MaxLifetime is the longest lifetime believed.
	MaxLifetime = 24 * time.Hour
)

// answer is the http.RoundTripper of one request. It bounds and checks what comes
// back before golang.org/x/oauth2 reads it, and keeps what that
// library drops or is stricter about: expires_in as it stands, the status and
// the request id.
type answer struct {
	base http.RoundTripper
	// url is the token endpoint; secrets are what no error may show.
	url     string
	secrets []Secret
	// token says that a success must be a token.
	token     bool
	status    int
	requestID string
	// retryAfter is the answer's Retry-After.
	retryAfter time.Duration
	body       []byte
	expiresIn  json.RawMessage
}

// once gives a client like another for one request, whose answer it keeps.
func (a *answer) once(client *http.Client) *http.Client {
	a.base = client.Transport
	if a.base == nil {
		a.base = http.DefaultTransport
	}
	return &http.Client{Transport: a, CheckRedirect: client.CheckRedirect}
}

// answerError says why an answer cannot be a token.
type answerError string

func (e answerError) Error() string { return string(e) }

// RoundTrip implements http.RoundTripper.
func (a *answer) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("Accept", "application/json")
	resp, err := a.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a.status = resp.StatusCode
	a.requestID = resp.Header.Get("X-Request-Id")
	a.retryAfter = retryAfter(resp.Header)

	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, answerError("the endpoint answered with a redirect, which is never followed")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if len(body) > maxAnswerBytes {
		return nil, answerError("the answer is larger than 1 MiB")
	}
	a.body = body
	if resp.StatusCode < 300 && a.token {
		if body, err = a.takeExpiresIn(body); err != nil {
			return nil, err
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	// x/oauth2 chooses its parser by this header; RFC 6749 knows JSON only.
	resp.Header.Set("Content-Type", "application/json")
	return resp, nil
}

// retryAfter reads Retry-After: seconds, or a date, which counts from the
// answer's own so that clocks need not agree.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, MaxLifetime)
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	sent, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(until.Sub(sent), 0), MaxLifetime)
}

// takeExpiresIn moves expires_in out of a JSON object: x/oauth2 refuses a whole
// answer over a fraction or a number beyond 64 bits in it.
func (a *answer) takeExpiresIn(body []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return nil, answerError("the answer is not a JSON object")
	}
	a.expiresIn = fields["expires_in"]
	delete(fields, "expires_in")
	// Not json.Marshal: it makes \u003c of every <, and x/oauth2 reads 1 MiB.
	var rest bytes.Buffer
	encoder := json.NewEncoder(&rest)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(fields)
	return rest.Bytes(), err
}

// lifetime reads expires_in (RFC 6749 section 5.1: seconds). Missing or null is
// AssumedLifetime, and assumed is true; a numeric string counts as its number;
// more than MaxLifetime counts as that.
func (a *answer) lifetime() (lifetime time.Duration, assumed bool, err error) {
	text := strings.TrimSpace(string(a.expiresIn))
	if text == "" || text == "null" {
		return AssumedLifetime, true, nil
	}
	if text[0] == '"' {
		if err := json.Unmarshal(a.expiresIn, &text); err != nil {
			return 0, false, answerError("expires_in cannot be read")
		}
		text = strings.TrimSpace(text)
	}
	seconds, err := strconv.ParseFloat(text, 64)
	// ParseFloat takes "inf", "nan" and "0x1p4", too.
	if err != nil && !errors.Is(err, strconv.ErrRange) || !json.Valid([]byte(text)) {
		return 0, false, answerError("expires_in is not a number")
	}
	if seconds < 1 {
		return 0, false, answerError("expires_in is less than a second")
	}
	if seconds > MaxLifetime.Seconds() {
		return MaxLifetime, false, nil
	}
	return time.Duration(seconds * float64(time.Second)).Truncate(time.Second), false, nil
}
