package gbgauth

import "strings"

// minFragment is the length, in bytes, from which on a piece of a secret is redacted
// as the whole is: servers cut what they quote, and each part of a JWT is as
// telling as all of it. Shorter ones tell little, and are words of other texts.
const minFragment = 16

// redact puts "[redacted]" wherever a secret stands in a text, in any of its forms,
// and wherever minPiece bytes of one do. Of secrets that overlap nothing is left. The
// table of pieces is as large as the text, not as the secrets.
func redact(text string, secrets ...Secret) string {
	fragments, short := map[string]bool{}, []string{} // of the text, if true of a secret
	for i := 0; i+minFragment <= len(text); i++ {
		fragments[text[i:i+minFragment]] = false
	}
	found := false
	for _, s := range secrets {
		if beginning := s.Reveal(); len(text) < minFragment && len(oneLine(beginning[:min(len(beginning), 64)])) >= minFragment {
			continue // no piece of it fits into the text
		}
		for _, form := range encodings(s.Reveal()) {
			if len(form) < minFragment {
				short = append(short, form)
				continue
			}
			for i := 0; i+minFragment <= len(form); i++ {
				if marked, ok := fragments[form[i:i+minFragment]]; ok && !marked {
					fragments[form[i:i+minFragment]], found = true, true
				}
			}
		}
	}
	if !found && len(short) == 0 {
		return text
	}
	// matchLen is how long the secret is that begins a text; 0 if none does.
	matchLen := func(text string) (n int) {
		for _, form := range short {
			if strings.HasPrefix(text, form) {
				n = max(n, len(form))
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
	// Pieces are bytes: one may have begun or ended inside of a character.
	return strings.ToValidUTF8(b.String(), "")
}
