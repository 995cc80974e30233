package plugintest

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// Another organization's client is a replaced id, as another user is.
func TestPasswordGrantReplacedOrganization(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", w.users())
		secret := w.client("other")
		assert.Equal(t, "client_secret is missing", w.refused(w.try(logical.UpdateOperation, "config", fields{"client_id": "other"})))
		assert.Equal(t, []string{`client_id was "organization" and is now "other": the secret of client "organization" is no longer stored`},
			w.write("config", fields{"client_id": "other", "client_secret": secret}))
		assert.Equal(t, "other", w.read("creds")["client_id"])
		assert.Empty(t, w.write("config", fields{"client_id": "other", "client_secret": secret}))
	})
}
