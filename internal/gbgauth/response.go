package gbgauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxResponseBytes is the maximum size of a response body.
const maxResponseBytes = 1 << 20

// response is the response of an endpoint. The zero value means that there is none.
type response struct {
	status      int
	requestID   string // X-Request-Id
	contentType string
	retryAfter  time.Duration
	// date is the Date header; zero if there is none.
	date time.Time
	// body is longer than maxResponseBytes if the response is too large, and empty if
	// the response is a redirect.
	body []byte
	// fields are the members of the JSON object in body, by their exact names; nil if
	// body is not a JSON object.
	fields map[string]json.RawMessage
}

// readResponse reads a response. If the body ends early, it returns the rest of the
// response along with the error.
func readResponse(resp *http.Response) (response, error) {
	r := response{
		status:      resp.StatusCode,
		requestID:   resp.Header.Get("X-Request-Id"),
		contentType: resp.Header.Get("Content-Type"),
		retryAfter:  retryAfter(resp.Header, time.Now()),
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.date = date
	}
	if r.isRedirect() {
		return r, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	if err != nil {
		return r, fmt.Errorf("the answer ended early: %w", err)
	}
	r.body = body
	// RFC 8259 section 8.1 allows to ignore a byte order mark; encoding/json does not.
	if json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &r.fields) != nil {
		r.fields = nil
	}
	return r, nil
}

func (r *response) isRedirect() bool { return r.status >= 300 && r.status < 400 }

// text returns the value of a field that is a string, and "" for any other field.
func (r *response) text(name string) (value string) {
	if json.Unmarshal(r.fields[name], &value) != nil {
		return ""
	}
	return value
}
