package gbgauth

import (
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxSanitizedRunes is how much of somebody else's text, in runes, goes into an
// error: enough for a sentence, too little to flood a log.
const maxSanitizedRunes = 300

// maxSanitizeInput is how much of somebody else's text, in bytes, is looked at for that.
const maxSanitizeInput = 16 << 10

// sanitize returns text that another party wrote as it may be shown: printable, and
// cut to maxForeignText.
func sanitize(text string, secrets ...Secret) string {
	cut := len(text) > maxSanitizeInput
	if cut {
		text = text[:maxSanitizeInput]
	}
	text = printable(text, secrets...)
	if cut {
		// It may end in the beginning of a secret, too short to be known as one.
		text = strings.ToValidUTF8(text[:max(len(text)-minFragment, 0)], "")
	}
	shown, complete := truncate(text, maxSanitizedRunes)
	if !complete || cut {
		shown += "…"
	}
	return shown
}

// truncate returns the first n characters of a text, and whether that is all of it.
func truncate(text string, n int) (_ string, all bool) {
	for i := range text {
		if n == 0 {
			return text[:i], false
		}
		n--
	}
	return text, true
}

// printable makes text that another party wrote safe to show: no secret of the
// request, no control or formatting character that could forge a log line or
// drive a terminal.
func printable(text string, secrets ...Secret) string {
	return redact(oneLine(text), secrets...)
}

func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))
	return strings.Join(strings.Fields(text), " ")
}

// unreserved are the characters that no encoding changes, those of a JWT among them.
const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// encodings returns the ways a secret comes back in one line: as it is, URL- or
// HTML-encoded, or with the escapes of JSON or Go, whose net/http quotes what it
// cannot read.
func encodings(secret string) []string {
	if strings.Trim(secret, unreserved) == "" {
		return slices.DeleteFunc([]string{secret}, func(form string) bool { return form == "" })
	}
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	asJSON, _ := json.Marshal(secret) // no text fails
	encoded := []string{
		oneLine(secret),
		query, lowerEscapes(query),
		path, lowerEscapes(path),
		oneLine(html.EscapeString(secret)),
		trimQuotes(string(asJSON)), trimQuotes(strconv.Quote(secret)),
	}
	slices.Sort(encoded)
	return slices.DeleteFunc(slices.Compact(encoded), func(form string) bool { return form == "" })
}

// lowerEscapes returns a URL-encoded text with %2F as %2f.
func lowerEscapes(encoded string) string {
	if !strings.Contains(encoded, "%") {
		return encoded
	}
	text := []byte(encoded)
	for i := 0; i+2 < len(text); i++ {
		if text[i] == '%' {
			text[i+1] |= 'a' - 'A' // which leaves digits as they are
			text[i+2] |= 'a' - 'A'
			i += 2
		}
	}
	return string(text)
}

// trimQuotes returns a text without the quotes around it, its escapes left as they are.
func trimQuotes(quoted string) string { return oneLine(quoted[1 : len(quoted)-1]) }
