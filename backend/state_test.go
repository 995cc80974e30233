package backend

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// testConnection is a connection with two clients, of which id-a is active.
func testConnection() *connection.Connection {
	return &connection.Connection{
		Settings: connection.Settings{TokenURL: "https://gbg.test/token", Scope: "gbg.token other"},
		Pair: connection.Pair{Clients: [2]connection.Client{
			{ID: "id-a", Secret: connection.NewSecret("fake-a")}, {ID: "id-b", Secret: connection.NewSecret("fake-b")},
		}},
	}
}

// changed returns a copy of a connection with a change.
func changed(c *connection.Connection, change func(*connection.Connection)) *connection.Connection {
	next := *c
	change(&next)
	return &next
}

// serving is the state of a connection whose active client has a token, with failures
// and a warning.
func serving() *state {
	st := &state{conn: testConnection(), revision: 7, counters: &counters{}}
	st = st.withToken(issued(time.Hour, connection.Settings{}))
	st.backoff = (*backoff)(nil).next(errors.New("out of order"), testNow, exact().delay)
	st.warning = &pendingWarning{}
	return st
}

func TestStateWithToken(t *testing.T) {
	t.Parallel()
	st := serving()
	token := issued(2*time.Hour, connection.Settings{})
	next := st.withToken(token)
	assert.Same(t, token, next.token)
	assert.Nil(t, next.backoff, "a token ends the failures")
	assert.Equal(t, 2*time.Hour, next.knownLifetime())
	assert.Equal(t, clientActivity{verified: testNow, tokensUntil: testNow.Add(2 * time.Hour)}, next.activity["id-a"])
	assert.NotSame(t, token, st.token, "the state before is not changed")
	assert.Equal(t, testNow.Add(time.Hour), st.activity["id-a"].tokensUntil)

	shorter := next.withToken(issued(time.Minute, connection.Settings{}))
	assert.Equal(t, testNow.Add(2*time.Hour), shorter.activity["id-a"].tokensUntil, "the last of all tokens to expire")

	other := issued(time.Minute, connection.Settings{})
	other.clientID = "id-b"
	proved := st.withToken(other)
	assert.Same(t, st.token, proved.token, "the standby's token is nobody's current one")
	assert.NotNil(t, proved.backoff)
	assert.Equal(t, testNow, proved.activity["id-b"].verified)

	leasing := &state{conn: changed(st.conn, func(c *connection.Connection) { c.Settings.Lease = true })}
	leased := leasing.withToken(token)
	assert.Nil(t, leased.token, "a leased token is one reader's")
	assert.Equal(t, 2*time.Hour, leased.knownLifetime())
}

func TestStateReplaced(t *testing.T) {
	t.Parallel()
	st := serving()
	for _, tc := range []struct {
		name            string
		change          func(*connection.Connection)
		revision, token bool // stay
	}{
		{"nothing", func(*connection.Connection) {}, true, true},
		{"timing", func(c *connection.Connection) { c.Settings.RefreshBefore = time.Minute }, true, true},
		{"the standby's secret", func(c *connection.Connection) { c.Pair.Clients[1].Secret = connection.NewSecret("fake-c") }, true, true},
		{"the active client's secret", func(c *connection.Connection) { c.Pair.Clients[0].Secret = connection.NewSecret("fake-c") }, false, true},
		{"roots", func(c *connection.Connection) { c.Settings.CAPEM = "roots" }, false, true},
		{"scope", func(c *connection.Connection) { c.Settings.Scope = "another" }, false, false},
		{"token_url", func(c *connection.Connection) { c.Settings.TokenURL = "https://gbg.test/another" }, false, false},
		{"the active client", func(c *connection.Connection) { c.Pair.ActiveSlot = connection.Paired }, false, false},
		{"leases", func(c *connection.Connection) { c.Settings.Lease = true }, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			next := st.replacedBy(changed(st.conn, tc.change), nil, testNow)
			assert.Equal(t, tc.revision, next.revision == st.revision)
			assert.Equal(t, tc.token, next.token == st.token)
			assert.Same(t, st.counters, next.counters)
			assert.Equal(t, 1, next.backoff.count, "the failures stay")
			assert.False(t, next.backoff.blocked(testNow), "their pause ends")
		})
	}
	fresh := (*state)(nil).replacedBy(st.conn, nil, testNow)
	assert.Equal(t, &state{conn: st.conn}, fresh)
}

func TestStateStoredAs(t *testing.T) {
	t.Parallel()
	st := serving()
	stored, err := st.conn.Encode()
	assert.NoError(t, err)
	assert.True(t, st.storedAs(stored))
	assert.False(t, st.storedAs(append(stored, ' ')))
	assert.False(t, st.storedAs(nil))
	assert.True(t, (*state)(nil).storedAs(nil))
	assert.False(t, (*state)(nil).storedAs(stored))
	assert.True(t, st.sameConnection(st.withToken(st.token)))
	assert.False(t, st.sameConnection(nil))
	assert.True(t, (*state)(nil).sameConnection(nil))
}
