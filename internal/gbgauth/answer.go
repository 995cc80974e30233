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
	// MaxRetryAfter is the longest Retry-After believed.
	MaxRetryAfter = time.Hour
	// maxScopeBytes is the longest scope believed; a longer one is taken for unknown.
	maxScopeBytes = 16 << 10
)

// answer is the http.RoundTripper of one request. It bounds and reads what comes
// back, once; golang.org/x/oauth2 gets to see only what was read here.
type answer struct {
	client *Client
	// url is the token endpoint; secrets are what no error may show.
	url     string
	secrets []Secret
	// token is set if a success must be a token.
	token bool
	// identityProvider is set if the endpoint is one, with words of its own for a
	// refused client.
	identityProvider bool

	status      int
	requestID   string
	contentType string
	// retryAfter is the answer's Retry-After.
	retryAfter time.Duration
	// fields are those of the answer's JSON object, by their exact names; nil if it is
	// none.
	fields map[string]json.RawMessage
}

// do returns a client for one request, whose answer a keeps.
func (a *answer) do(c *Client) *http.Client {
	a.client = c
	return &http.Client{
		Transport:     a,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answerError is why an answer cannot be a token.
type answerError string

func (e answerError) Error() string { return string(e) }

// RoundTrip implements http.RoundTripper.
func (a *answer) RoundTrip(req *http.Request) (*http.Response, error) {
	through := a.client.to(req.URL)
	resp, err := a.roundTrip(through, req)
	var ofAnswer answerError
	a.client.done(req.URL, through, err == nil || errors.As(err, &ofAnswer))
	return resp, err
}

func (a *answer) roundTrip(through transport, req *http.Request) (*http.Response, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", a.client.userAgent)
	resp, err := through.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a.status = resp.StatusCode
	a.requestID = resp.Header.Get("X-Request-Id")
	a.contentType = resp.Header.Get("Content-Type")
	a.retryAfter = retryAfter(resp.Header, time.Now())

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
	// encoding/json refuses a byte order mark, which RFC 8259 section 8.1 lets a
	// reader ignore.
	isObject := json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &a.fields) == nil && a.fields != nil
	if resp.StatusCode < 300 && a.token && !isObject {
		return nil, answerError("the answer is not a JSON object")
	}
	known, err := a.known()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(known))
	resp.ContentLength = int64(len(known))
	// x/oauth2 chooses its parser by this header; RFC 6749 knows JSON only.
	resp.Header.Set("Content-Type", "application/json")
	return resp, nil
}

// known returns the answer as x/oauth2 gets to see it: what it needs, by the exact
// names of RFC 6749. It would match names in any case, and refuses an answer over a
// number beyond 64 bits or an error that is none.
func (a *answer) known() ([]byte, error) {
	fields := map[string]json.RawMessage{}
	for _, name := range []string{"access_token", "token_type"} {
		if value, ok := a.fields[name]; ok {
			fields[name] = value
		}
	}
	if code := errorCode(a.text("error"), "_"); code != "" {
		fields["error"] = json.RawMessage(strconv.Quote(code))
	}
	// Not json.Marshal: it makes \u003c of every <, and x/oauth2 reads 1 MiB.
	var known bytes.Buffer
	encoder := json.NewEncoder(&known)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(fields)
	return known.Bytes(), err
}

// text returns a field that is a string, and "" if it is anything else.
func (a *answer) text(name string) (text string) {
	if json.Unmarshal(a.fields[name], &text) != nil {
		return ""
	}
	return text
}

// scope returns the scope granted: a string, or a list of strings as some servers
// send it; "" if it is anything else.
func (a *answer) scope() string {
	var scopes []string
	scope := a.text("scope")
	if scope == "" && json.Unmarshal(a.fields["scope"], &scopes) == nil {
		scope = strings.Join(scopes, " ")
	}
	if len(scope) > maxScopeBytes {
		return ""
	}
	return scope
}

// retryAfter reads Retry-After: seconds, or a date, which counts from the answer's
// own so that clocks need not agree; from now if the answer has none. Zero means that
// the header says nothing that can be read.
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
	if sent, err := http.ParseTime(header.Get("Date")); err == nil {
		now = sent
	}
	return min(max(until.Sub(now), 0), MaxRetryAfter)
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// errorCode returns a code if it has the form of one: small letters and the other
// characters, at most 64; else "". Anything else might be a secret, or a page.
func errorCode(code, others string) string {
	if len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz"+others) != "" {
		return ""
	}
	return code
}

// lifetime reads expires_in (RFC 6749 section 5.1: seconds). Missing or null is
// AssumedLifetime, and assumed is true; a numeric string counts as its number;
// more than MaxLifetime counts as that.
func (a *answer) lifetime() (lifetime time.Duration, assumed bool, err error) {
	expiresIn := a.fields["expires_in"]
	text := strings.TrimSpace(string(expiresIn))
	if text == "" || text == "null" {
		return AssumedLifetime, true, nil
	}
	if text[0] == '"' {
		if err := json.Unmarshal(expiresIn, &text); err != nil {
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
