package gbgauth

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// maxForeignText is how much of somebody else's text, in runes, goes into an
// error: enough for a sentence, too little to flood a log.
const maxForeignText = 300

// clean is printable, cut to maxForeignText.
func clean(text string, secrets ...Secret) string {
	text = printable(text, secrets...)
	if runes := []rune(text); len(runes) > maxForeignText {
		text = string(runes[:maxForeignText]) + "…"
	}
	return text
}

// printable makes text that another party wrote safe to show: no secret of the
// request, no control or formatting character that could forge a log line or
// drive a terminal.
func printable(text string, secrets ...Secret) string {
	var pairs []string
	for _, s := range secrets {
		for _, form := range forms(s.Reveal()) {
			pairs = append(pairs, form, redacted)
		}
	}
	return strings.NewReplacer(pairs...).Replace(oneLine(text))
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

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

// forms are the ways a secret comes back in one line: as it is, and URL- or
// HTML-encoded. The first that fits is the one replaced.
func forms(secret string) []string {
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	all := []string{
		query, percent.ReplaceAllStringFunc(query, strings.ToLower),
		path, percent.ReplaceAllStringFunc(path, strings.ToLower),
		oneLine(html.EscapeString(secret)), oneLine(secret),
	}
	return slices.DeleteFunc(all, func(form string) bool { return form == "" })
}
