package plugintest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// oddCharacters are characters that do not show, or stand for one that was lost, by
// what is said of them after the field's name.
var oddCharacters = map[string]string{
	"\u00ad":     "has an invisible character (U+00AD)",
	"\u034f":     "has an invisible character (U+034F)",
	"\u061c":     "has an invisible character (U+061C)",
	"\u200b":     "has an invisible character (U+200B)",
	"\u200e":     "has an invisible character (U+200E)",
	"\u2028":     "has an invisible character (U+2028)",
	"\u202e":     "has an invisible character (U+202E)",
	"\u2060":     "has an invisible character (U+2060)",
	"\u3164":     "has an invisible character (U+3164)",
	"\ufe0f":     "has an invisible character (U+FE0F)",
	"\ufeff":     "has an invisible character (U+FEFF)",
	"\ufffe":     "has an invisible character (U+FFFE)",
	"\U000e0041": "has an invisible character (U+E0041)",
	"\u00a0":     "has a space that is not an ordinary one (U+00A0)",
	"\u3000":     "has a space that is not an ordinary one (U+3000)",
	"\ufffd":     "has a replacement character (U+FFFD) in place of one that could not be read: give it as UTF-8 text",
	"\xe9":       "is not UTF-8 text",
}

// A character that nobody sees makes an id or a secret another one. GBG would refuse
// it, and nobody could tell why.
func TestOddCharactersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair, m2m := w.pair(), w.m2m()
		w.write("config", pair)
		w.write("config/m2m", m2m)
		w.write("config/sso", w.exchangeOnly())
		content, asked := w.storage.content(t), w.asks()
		for _, target := range []struct {
			path, field, begin, end string
			spaces                  bool // are between words here
		}{
			{"config", "client_id", "a", "a", false},
			{"config", "client_secret", wrongSecret, "x", false},
			{"config", "paired_client_id", "b", "b", false},
			{"config", "paired_client_secret", wrongSecret, "x", false},
			{"config", "token_url", "https://gbg.example/", "token", false},
			{"config", "revoke_url", "https://gbg.example/", "revoke", false},
			{"config", "scope", "gbg", "token", true},
			{"config", "ca_pem", testCA + "\n", "\n" + testCA, false},
			{"config/m2m", "idp_token_url", "https://idp.example/", "token", false},
			{"config/m2m", "idp_scope", "a", "b", true},
			{"config/m2m", "exchange_client_id", "ro.", "client", false},
			{"config/m2m", "exchange_client_secret", wrongSecret, "x", false},
			{"config/new", "client_id", "a", "a", false},
			{"rotate", "client_id", "client", "-b", false},
			{"rotate", "client_secret", wrongSecret, "x", false},
			{"creds/sso", "id_token", "FAKE", "TOKEN", false},
			{"creds/m2m", "id_token", "FAKE", "TOKEN", false},
		} {
			for _, odd := range slices.Sorted(maps.Keys(oddCharacters)) {
				if target.spaces && strings.TrimSpace(odd) == "" {
					continue
				}
				for _, text := range []string{target.begin + odd + target.end, target.begin + target.end + odd} {
					if strings.TrimSpace(text) == target.begin+target.end {
						continue // a space at the end is trimmed
					}
					assert.Equal(t, target.field+" "+oddCharacters[odd],
						w.refused(w.try(logical.UpdateOperation, target.path, fields{target.field: text})), "%s %+q", target.path, odd)
				}
			}
		}
		assert.Equal(t, content, w.storage.content(t))
		assert.Equal(t, asked, w.asks())
	})
}

// Editors put a byte order mark at the beginning of a file. It is no part of what
// the file holds, and neither is the space around it.
func TestLeadingByteOrderMarkIsDropped(t *testing.T) {
	for _, mark := range []string{"\ufeff", "\ufeff \n", " \r\n\ufeff", "\t\ufeff \ufeff\n"} {
		t.Run(fmt.Sprintf("%+q", mark), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				marked := func(data fields) fields {
					for field, value := range data {
						if field != "grant_type" {
							data[field] = mark + value.(string)
						}
					}
					return data
				}
				pair := w.pair()
				w.write("config", marked(with(pair, fields{"scope": "gbg.token", "revoke_url": w.revokeURL()})))
				config := w.read("config")
				for field, want := range (fields{
					"client_id": clientA, "paired_client_id": clientB, "token_url": w.tokenURL(), "scope": "gbg.token", "revoke_url": w.revokeURL(),
				}) {
					assert.Equal(t, want, config[field], field)
				}
				// The same write without the marks changes nothing: what is stored is the same.
				content := w.storage.content(t)
				w.write("config", with(pair, fields{"scope": "gbg.token", "revoke_url": w.revokeURL()}))
				assert.Equal(t, content, w.storage.content(t))

				assert.Equal(t, clientB, w.rotate(marked(fields{"client_id": clientB, "client_secret": w.regenerate(clientB)})).Data["active_client_id"])
				assert.Equal(t, clientB, w.read("creds")["client_id"])

				m2m := w.m2m()
				w.write("config/m2m", marked(with(m2m, fields{"exchange_client_id": "ro.client", "exchange_client_secret": "secret", "idp_scope": "a b"})))
				assert.Equal(t, "a b", w.read("config/m2m")["idp_scope"])
				assert.Equal(t, idpA, w.read("creds/m2m")["client_id"])
				w.exchange("creds/m2m", mark+w.idToken(someone))

				w.write("config", fields{"ca_pem": mark + testCA + "\n", "verify_connection": false})
				assert.Equal(t, testCA+"\n", w.read("config")["ca_pem"])
			})
		})
	}
}

// A mark alone is nothing.
func TestByteOrderMarkAloneIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		w.write("config/sso", w.exchangeOnly())
		for _, c := range []struct {
			path, field, want string
		}{
			{"config", "client_id", "client_id is empty: give a value or leave the field out"},
			{"config", "client_secret", "client_secret is empty: give a value or leave the field out"},
			{"rotate", "client_id", "client_id is empty; leave it out to rotate to the standby"},
			{"rotate", "client_secret", "client_secret is empty; leave it out to rotate with the secret that is stored"},
			{"creds/sso", "id_token", "id_token is empty"},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, c.path, fields{c.field: "\ufeff\n"})))
		}
	})
}
