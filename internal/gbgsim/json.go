package gbgsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// readJSON reads a body that must be one JSON value with known members only.
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

// writeJSON answers with a value that can be encoded.
func writeJSON(w http.ResponseWriter, status int, value any) {
	write(w, status, "application/json", encodeJSON(value))
}

func encodeJSON(value any) []byte {
	var body bytes.Buffer
	// Fails only for a value that cannot be encoded.
	_ = json.NewEncoder(&body).Encode(value)

	return body.Bytes()
}

// write answers. Nothing the simulator says may be cached: most of it is a
// credential (RFC 6749, section 5.1) or out of date soon. An empty contentType
// is a guess from the body.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Cache-Control", "no-store")
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.WriteHeader(status)
	// Fails only if the reader has gone, and then there is no one to tell.
	_, _ = w.Write(body)
}
