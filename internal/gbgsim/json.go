package gbgsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// readJSON decodes a body, which must be a single JSON value without unknown
// members.
func readJSON(r *http.Request, value any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return fmt.Errorf("the body is not the JSON expected here: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body has more than one JSON value")
	}

	return nil
}

// writeJSON writes a value, which must be encodable, as a JSON response.
func writeJSON(w http.ResponseWriter, status int, value any) {
	write(w, status, "application/json", encodeJSON(value))
}

func encodeJSON(value any) []byte {
	var body bytes.Buffer
	// This fails only for a value that cannot be encoded.
	_ = json.NewEncoder(&body).Encode(value)

	return body.Bytes()
}

// write writes a response. No response may be cached: most contain credentials (RFC
// 6749, section 5.1) or change often. An empty contentType means detect it from
// the body.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Cache-Control", "no-store")
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.WriteHeader(status)
	// This fails only if the client has disconnected.
	_, _ = w.Write(body)
}
