package connection

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A refusal is stored with its client, in a form that a release without it ignores, and
// an entry of such a release has none.
func TestRefusalStoredForm(t *testing.T) {
	t.Parallel()
	const without = `{"version":1,"clients":[{"id":"id-a","secret":"fake-a"},{"id":"id-b","secret":"fake-b"}],"active_slot":1}`
	const with = `{"version":1,"clients":[{"id":"id-a","secret":"fake-a","refusal":{"error":"GBG refused it","result":"client_refused","time":"2026-01-02T03:04:05Z"}},{"id":"id-b","secret":"fake-b"}],"active_slot":1}`
	c, err := Decode("team-a", []byte(without))
	require.NoError(t, err)
	assert.Zero(t, c.Pair.Clients[First].Refusal)
	refusal := Refusal{Error: "GBG refused it", Result: "client_refused", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	c.Pair = c.Pair.Refused("id-a", refusal)
	stored, err := c.Encode()
	require.NoError(t, err)
	assert.JSONEq(t, with, string(stored))
	again, err := Decode("team-a", stored)
	require.NoError(t, err)
	assert.Equal(t, refusal, again.Pair.Clients[First].Refusal)
}

// A refusal ends with the client's next token, a new secret, or its turn to be active.
func TestRefusalEnds(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pair := Pair{ActiveSlot: Paired, Clients: [2]Client{{ID: "id-a", Secret: NewSecret("fake-a")}, {ID: "id-b", Secret: NewSecret("fake-b")}}}
	pair = pair.Refused("id-a", Refusal{Error: "GBG refused it", Time: now})
	assert.Zero(t, pair.Verified("id-a", now).Clients[First].Refusal)
	assert.NotZero(t, pair.Verified("id-b", now).Clients[First].Refusal)

	renewed, err := pair.WithStandbySecret(NewSecret("fake-c"), now)
	require.NoError(t, err)
	assert.Zero(t, renewed.Clients[First].Refusal)
	same, err := pair.WithStandbySecret(NewSecret("fake-a"), now)
	require.NoError(t, err)
	assert.NotZero(t, same.Clients[First].Refusal, "the same secret is not a new one")

	other, moved, secret := "id-c", "id-a", NewSecret("fake-c")
	active, err := pair.Change(PairChange{IDs: [2]*string{&other, &moved}, Secrets: [2]*Secret{&secret}}, now)
	require.NoError(t, err)
	assert.Equal(t, "id-a", active.Active().ID)
	assert.Zero(t, active.Active().Refusal, "it is the active client's errors that are told")
}
