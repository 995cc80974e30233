package plugintest

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// Within the minute after a forced request, min_ttl may still fetch a token, which is then
// newer than the one that was refused: there is nothing to warn of.
func TestNewerThanAndMinTTLWithinTheMinute(t *testing.T) {
	inBubble(t, worldOptions{lifetime: time.Minute}, func(w *world) {
		w.write("config", w.pair())
		first := w.read("creds")
		w.pass(time.Second)
		second := w.creds(fields{"newer_than": first["last_vault_rotation"]})
		w.pass(19 * time.Second) // 41s of its life are left
		read := func(minTTL string) *logical.Response {
			return w.creds(fields{"newer_than": second.Data["last_vault_rotation"], "min_ttl": minTTL})
		}
		same := read("40s")
		assert.Equal(t, second.Data["access_token"], same.Data["access_token"])
		assert.Len(t, same.Warnings, 1)
		w.pass(2 * time.Second)
		newer := read("40s")
		assert.NotEqual(t, second.Data["access_token"], newer.Data["access_token"])
		assert.Empty(t, newer.Warnings)
	})
}
