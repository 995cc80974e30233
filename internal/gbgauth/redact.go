package gbgauth

import (
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// minFragment is the minimum length, in bytes, of a part of a secret that is redacted
// like the whole. Servers quote secrets in part, and a part of a JWT is as sensitive as
// the whole. Shorter parts disclose little and occur in other text.
const minFragment = 16

// redact returns text with "[redacted]" in place of each secret, in all of its
// encodings, and of each part of one that has at least minFragment bytes. Secrets that
// overlap are replaced together. The memory it uses depends on the size of text, not on
// that of the secrets.
func redact(text string, secrets ...Secret) string {
	// fragments are those of text; the value is true for a fragment of a secret.
	fragments := map[string]bool{}
	for i := 0; i+minFragment <= len(text); i++ {
		fragments[text[i:i+minFragment]] = false
	}
	var short []string // encoded secrets shorter than minFragment
	found := false
	for _, s := range secrets {
		if start := s.Reveal(); len(text) < minFragment && len(oneLine(start[:min(len(start), 64)])) >= minFragment {
			continue // text is shorter than any fragment
		}
		for _, encoded := range encodings(s.Reveal()) {
			if len(encoded) < minFragment {
				short = append(short, encoded)
				continue
			}
			for i := 0; i+minFragment <= len(encoded); i++ {
				if marked, ok := fragments[encoded[i:i+minFragment]]; ok && !marked {
					fragments[encoded[i:i+minFragment]], found = true, true
				}
			}
		}
	}
	if !found && len(short) == 0 {
		return text
	}
	// matchLen returns the length of the secret or fragment at the start of text.
	matchLen := func(text string) (n int) {
		for _, encoded := range short {
			if strings.HasPrefix(text, encoded) {
				n = max(n, len(encoded))
			}
		}
		if len(text) >= minFragment && fragments[text[:minFragment]] {
			n = minFragment
		}
		return n
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		end := i + matchLen(text[i:])
		if end == i {
			b.WriteByte(text[i])
			i++
			continue
		}
		for j := i + 1; j < end; j++ {
			end = max(end, j+matchLen(text[j:]))
		}
		b.WriteString(redacted)
		i = end
	}
	// A fragment may start or end within a UTF-8 sequence.
	return strings.ToValidUTF8(b.String(), "")
}

// unreserved are the characters that URL encoding leaves as they are (RFC 3986 section
// 2.3). A JWT has no others.
const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// encodings returns a secret as it may occur in a single line of text: unchanged, URL-
// or HTML-encoded, or with the escapes of a JSON or Go string (net/http quotes what it
// cannot parse as a Go string).
func encodings(secret string) []string {
	if secret == "" {
		return nil
	}
	if strings.Trim(secret, unreserved) == "" {
		return []string{secret}
	}
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	asJSON, _ := json.Marshal(secret) // never fails for a string
	encoded := []string{
		oneLine(secret),
		query, lowerEscapes(query),
		path, lowerEscapes(path),
		oneLine(html.EscapeString(secret)),
		trimQuotes(string(asJSON)), trimQuotes(strconv.Quote(secret)),
	}
	slices.Sort(encoded)
	return slices.DeleteFunc(slices.Compact(encoded), func(s string) bool { return s == "" })
}

// lowerEscapes returns a URL-encoded text with lower-case escapes, such as %2f for %2F.
func lowerEscapes(encoded string) string {
	if !strings.Contains(encoded, "%") {
		return encoded
	}
	text := []byte(encoded)
	for i := 0; i+2 < len(text); i++ {
		if text[i] == '%' {
			text[i+1] |= 'a' - 'A' // does not change digits
			text[i+2] |= 'a' - 'A'
			i += 2
		}
	}
	return string(text)
}

// trimQuotes returns a quoted string as a single line without the quotes around it.
func trimQuotes(quoted string) string { return oneLine(quoted[1 : len(quoted)-1]) }
