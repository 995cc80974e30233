package plugintest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The organization's client revokes a leased token also if its user is no longer one of
// the pair.
func TestPasswordGrantLeaseOfARemovedUser(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", with(w.users(), fields{"lease": true, "revoke_url": w.revokeURL()}))
		w.rotate(fields{"username": userB})
		lease := w.lease("creds")
		assert.Equal(t, userB, lease.Data["username"])
		w.rotate(fields{"username": userA})
		w.write("config", fields{"paired_username": ""})
		require.True(t, w.accepted(lease))
		require.NoError(t, w.revoke(lease))
		assert.False(t, w.accepted(lease))
	})
}

// So does the client of the exchange for one of the identity provider's clients.
func TestIdentityLeaseOfARemovedClient(t *testing.T) {
	inBubble(t, worldOptions{}, func(w *world) {
		w.write("config", with(w.m2m(), fields{"lease": true, "revoke_url": w.revokeURL()}))
		w.rotate(fields{"client_id": idpB})
		lease := w.lease("creds")
		w.rotate(fields{"client_id": idpA})
		w.write("config", fields{"paired_client_id": ""})
		require.True(t, w.accepted(lease))
		require.NoError(t, w.revoke(lease))
		assert.False(t, w.accepted(lease))
	})
}
