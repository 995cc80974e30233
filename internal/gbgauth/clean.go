package gbgauth

import (
	"net/url"
	"strings"
	"unicode"
)

// maxForeignText is how much of somebody else's text, in runes, goes into an
// error: enough for a sentence, too little to flood a log.
const maxForeignText = 300

// clean makes text that another party wrote safe to show: no secret of the
// request, no control or formatting character that could forge a log line or
// drive a terminal, and a bounded length.
func clean(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if s.IsEmpty() {
			continue
		}
		text = strings.ReplaceAll(text, s.Reveal(), redacted)
		text = strings.ReplaceAll(text, url.QueryEscape(s.Reveal()), redacted)
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxForeignText {
		text = string(runes[:maxForeignText]) + "…"
	}
	return text
}
