package gbgauth

import (
	"strings"
	"unicode"
)

const (
	// maxSanitizedRunes is the maximum length of a sanitized text: enough for a
	// sentence, too little to flood a log.
	maxSanitizedRunes = 300
	// maxSanitizeInput is how many bytes of a text sanitize reads.
	maxSanitizeInput = 16 << 10
)

// sanitize returns text from another party in a form that is safe to show: printable,
// without secrets, and truncated to maxSanitizedRunes.
func sanitize(text string, secrets ...Secret) string {
	cut := len(text) > maxSanitizeInput
	if cut {
		text = text[:maxSanitizeInput]
	}
	text = printable(text, secrets...)
	if cut {
		// The text may end with a part of a secret that is too short to be redacted.
		text = strings.ToValidUTF8(text[:max(len(text)-minFragment, 0)], "")
	}
	shown, complete := truncate(text, maxSanitizedRunes)
	if !complete || cut {
		shown += "…"
	}
	return shown
}

// truncate returns the first n characters of text, and reports whether they are all of
// it.
func truncate(text string, n int) (_ string, complete bool) {
	for i := range text {
		if n == 0 {
			return text[:i], false
		}
		n--
	}
	return text, true
}

// printable returns text as a single line without secrets, and without control and
// format characters, which could forge a log line or control a terminal.
func printable(text string, secrets ...Secret) string {
	return redact(oneLine(text), secrets...)
}

// oneLine returns text with one space in place of each sequence of spaces, invalid
// UTF-8 and characters that are not printable, and none at its start and end.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))
	return strings.Join(strings.Fields(text), " ")
}
