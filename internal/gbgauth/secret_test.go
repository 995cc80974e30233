package gbgauth_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// valuesWithSecret returns values that contain a secret and may be printed.
func valuesWithSecret() map[string]any {
	secret := gbgauth.NewSecret(fakeSecret)

	return map[string]any{
		"value":             secret,
		"pointer":           &secret,
		"slice":             []gbgauth.Secret{secret},
		"map":               map[string]gbgauth.Secret{"key": secret},
		"interface":         []any{secret},
		"request":           gbgauth.ClientCredentials{ClientID: fakeID, ClientSecret: secret},
		"pointer to one":    &gbgauth.ClientCredentials{ClientID: fakeID, ClientSecret: secret},
		"token":             gbgauth.Token{AccessToken: secret},
		"pointer to token":  &gbgauth.Token{AccessToken: secret},
		"anonymous, nested": struct{ Request gbgauth.ClientCredentials }{gbgauth.ClientCredentials{ClientSecret: secret}},
	}
}

// requireRedacted requires "[redacted]" in text, and the secret in no format.
func requireRedacted(t *testing.T, text string) {
	t.Helper()
	require.Contains(t, text, "[redacted]")
	for _, form := range []string{"%s", "%x", "%X", "% x", "%d"} {
		require.NotContains(t, text, fmt.Sprintf(form, []byte(fakeSecret)))
	}
}

func TestSecretIsNeverFormatted(t *testing.T) {
	t.Parallel()

	for name, holder := range valuesWithSecret() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range []string{
				"%v", "%+v", "%#v", "%s", "%q", "%#q", "%x", "%X", "% x", "%d", "%t", "%c", "%U", "%e", "%99v", "%.1s",
			} {
				if name == "pointer to one" || name == "pointer to token" {
					// fmt dereferences pointers only for some verbs, such as %v.
					require.NotContains(t, fmt.Sprintf(verb, holder), fakeSecret, verb)

					continue
				}
				requireRedacted(t, fmt.Sprintf(verb, holder))
			}
			requireRedacted(t, fmt.Sprint(holder))
			requireRedacted(t, fmt.Sprintln(holder))
			requireRedacted(t, fmt.Errorf("it was %v", holder).Error())
		})
	}
}

func TestSecretIsNeverEncoded(t *testing.T) {
	t.Parallel()

	for name, holder := range valuesWithSecret() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(holder)
			require.NoError(t, err)
			requireRedacted(t, string(text))
		})
	}

	text, err := xml.Marshal(gbgauth.Token{AccessToken: gbgauth.NewSecret(fakeSecret)})
	require.NoError(t, err)
	requireRedacted(t, string(text))
}

func TestSecretIsNeverLogged(t *testing.T) {
	t.Parallel()

	for name, holder := range valuesWithSecret() {
		for _, asJSON := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, JSON %t", name, asJSON), func(t *testing.T) {
				t.Parallel()
				var out bytes.Buffer
				logger := hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: asJSON})
				logger.Error("fake line", "held", holder, "formatted", hclog.Fmt("%v", holder))
				requireRedacted(t, out.String())
			})
		}
	}
}

func TestSecretReveal(t *testing.T) {
	t.Parallel()

	for _, value := range []string{"", fakeSecret, "[redacted]", "f\x00ä\xffke\n"} {
		secret := gbgauth.NewSecret(value)
		require.Equal(t, value, secret.Reveal())
		require.Equal(t, value == "", secret.IsEmpty())
		require.True(t, secret == gbgauth.NewSecret(value))
		require.False(t, secret == gbgauth.NewSecret(value+"x"))
		require.Equal(t, "[redacted]", secret.String(), "an empty secret prints the same")
	}
	var zero gbgauth.Secret
	require.True(t, zero.IsEmpty())
	require.True(t, zero == gbgauth.NewSecret(""))
	require.Equal(t, "[redacted]", fmt.Sprint(zero))
}

type unexported struct{ secret gbgauth.Secret }

func TestSecretInUnexportedField(t *testing.T) {
	held := unexported{gbgauth.NewSecret(fakeSecret)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb, held) + fmt.Sprintf(verb, &held)
		require.NotContains(t, text, fakeSecret, verb)
		require.NotContains(t, text, fmt.Sprintf("%x", fakeSecret), verb)
	}
	var out bytes.Buffer
	hclog.New(&hclog.LoggerOptions{Output: &out}).Error("fake line", "held", held)
	require.NotContains(t, out.String(), fakeSecret)
}

func TestSecretVerbsWithoutFormat(t *testing.T) {
	for _, verb := range []string{"%p", "%w"} {
		require.NotContains(t, fmt.Sprintf(verb, gbgauth.NewSecret(fakeSecret)), fakeSecret, verb)
	}
}
