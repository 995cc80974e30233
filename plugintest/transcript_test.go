package plugintest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// transcript is everything that a test hears from the plugin.
type transcript struct {
	mu   sync.Mutex
	said []string
	log  lockedBuffer
	// marked are secrets that do not begin like the simulator's.
	marked []string
}

// mark makes a text one that must not be heard.
func (h *transcript) mark(secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marked = append(h.marked, secret)
}

// note keeps every text of an answer, the one place aside where a token belongs.
func (h *transcript) note(a answer) {
	var said []string
	if a.err != nil {
		for err := a.err; err != nil; err = errors.Unwrap(err) {
			said = append(said, fmt.Sprintf("%v %+v", err, err))
		}
	}
	if a.resp != nil {
		said = append(said, a.resp.Warnings...)
		said = append(said, fmt.Sprint(without(a.resp.Data, "access_token"), a.resp.Headers))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, said...)
}

// hear keeps texts that came from the plugin in another way.
func (h *transcript) hear(said ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, said...)
}

func (h *transcript) mustHoldNoSecret(t *testing.T) {
	t.Helper()
	require.Empty(t, h.secrets(), "a secret got out")
}

// secrets gives what was heard that holds one.
func (h *transcript) secrets() (said []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sought []string
	for _, marked := range append([]string{gbgsim.SecretPrefix, gbgsim.TokenPrefix, gbgsim.IDPTokenPrefix}, h.marked...) {
		sought = append(sought, writtenForms(marked)...)
	}
	for _, text := range append(slices.Clone(h.said), h.log.String()) {
		if slices.ContainsFunc(sought, func(form string) bool { return strings.Contains(text, form) }) {
			said = append(said, text)
		}
	}
	return said
}

// writtenForms are the ways a text is written by what prints or encodes it, also
// as the beginning of a longer one or in the middle.
func writtenForms(text string) []string {
	forms := []string{
		text, url.QueryEscape(text), fmt.Sprintf("%x", text), fmt.Sprintf("%X", text),
		strings.Trim(fmt.Sprintf("%d", []byte(text)), "[]"), strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(text)), "[]byte"), "{}"),
	}
	// Three bytes make four letters of base64: it looks different by where the text
	// begins, and the letters at its edges belong to its neighbours too.
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte("xx"[:before] + text))
		forms = append(forms, encoded[[]int{0, 2, 3}[before]:len(encoded)-1])
	}
	return forms
}

// lockedBuffer is a buffer for many goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// Reset empties the buffer.
func (b *lockedBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buffer.Reset()
}
