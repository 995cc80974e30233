package backend

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// The first state that applies is the connection's, whatever else is wrong.
func TestConnectionStateIsTheWorst(t *testing.T) {
	t.Parallel()
	var got []ConnectionState
	// Everything is wrong, and then mended in the order in which states are told.
	s := Status{Time: testNow, LastFailure: errors.New("out of order"), SecretDueTime: testNow, RotationDue: testNow, StandbyRefused: true}
	s.Standby = ClientStatus{ID: "id-b", Refusal: connection.Refusal{Error: "refused", Time: testNow}}
	for _, mend := range []func(){
		func() {},
		func() { s.GrantType = connection.GrantClientCredentials },
		func() { s.TokenExpireTime = testNow.Add(time.Hour) },
		func() { s.LastFailure = nil },
		func() { s.Standby.Refusal, s.StandbyRefused = connection.Refusal{}, false },
		func() { s.SecretDueTime = testNow.Add(time.Nanosecond) },
		func() { s.RotationDue = time.Time{} },
		func() { s.Standby.VerifiedTime = testNow },
	} {
		mend()
		got = append(got, s.state())
	}
	assert.Equal(t, ConnectionStates(), got)
}

// What has no token, no standby and no due time is well: nothing has failed.
func TestConnectionStateOfLittle(t *testing.T) {
	t.Parallel()
	s := Status{Time: testNow, GrantType: connection.GrantIDAuth}
	assert.Equal(t, StateOK, s.state())
}

// A token from before a secret was set does not verify the secret, wherever the client
// has moved; what it needs for regenerate_after stays.
func TestStateReplacedForgetsTheVerificationOfAnotherSecret(t *testing.T) {
	t.Parallel()
	st := serving()
	renewed := changed(st.conn, func(c *connection.Connection) {
		c.Pair.Clients[0], c.Pair.Clients[1] = c.Pair.Clients[1], c.Pair.Clients[0]
		c.Pair.Clients[1].Secret = connection.NewSecret("fake-c")
	})
	assert.Equal(t, clientActivity{tokensUntil: testNow.Add(time.Hour)}, st.replacedBy(renewed, nil, testNow).activity["id-a"])
	assert.Equal(t, testNow, st.activity["id-a"].verified, "the state before is not changed")
	same := changed(st.conn, func(c *connection.Connection) { c.Pair.Clients[1].Secret = connection.NewSecret("fake-c") })
	assert.Equal(t, testNow, st.replacedBy(same, nil, testNow).activity["id-a"].verified)
}
