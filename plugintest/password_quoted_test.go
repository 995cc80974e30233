package plugintest

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// A secret in quotes is probably a JSON string. The hint is about the secret that was
// refused: the user's password or the organization's.
func TestPasswordGrantQuotedSecrets(t *testing.T) {
	const hint = "begins and ends with a double quote"
	inBubble(t, worldOptions{}, func(w *world) {
		users := w.users()
		quoted := func(field string) string { return `"` + users[field].(string) + `"` }
		refused := func(changed fields) string {
			return w.refused(w.try(logical.UpdateOperation, "config", with(users, changed)))
		}
		text := refused(fields{"password": quoted("password")})
		assert.Contains(t, text, `GBG refused user "user-a": invalid_grant`)
		assert.Contains(t, text, "and the password "+hint+": if it was copied from JSON, write it without the quotes")
		text = refused(fields{"client_secret": quoted("client_secret")})
		assert.Contains(t, text, `GBG refused the organization's client "organization": invalid_client`)
		assert.Contains(t, text, "and the secret "+hint)
		assert.NotContains(t, refused(fields{"client_secret": quoted("client_secret")[1:], "password": quoted("password")}), hint)
		assert.NotContains(t, refused(fields{"client_secret": quoted("client_secret"), "username": "nobody"}), "password "+hint)
	})
}
