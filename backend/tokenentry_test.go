// This test is inside the package, as entry_test.go is and for its reason.

package backend

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// entrySecret is what the secrets in these entries begin with. No error may show it.
const entrySecret = "not-a-real-secret"

const (
	goldenToken = `{"version":1,"access_token":"not-a-real-secret-token","type":"Bearer","client_id":"id-a","token_url":"https://gbg.test/token",` +
		`"asked":"gbg.token other","scope":"gbg.token","fetched":"2026-01-02T03:04:05.123456789Z","expires":"2026-01-02T04:04:05.123456789Z",` +
		`"overlap":300000000000,"lifetime_assumed":true,"tokens_until":"2026-01-02T05:04:05.123456789Z"}`

	goldenRevocation = `{"version":1,"connection":"team-a","client_id":"id-a","access_token":"not-a-real-secret-token","expires":"2026-01-02T04:04:05Z"}`
)

// goldenTokenConnection is the connection that goldenToken is of.
func goldenTokenConnection() *connection.Connection {
	return &connection.Connection{
		Settings: connection.Settings{TokenURL: "https://gbg.test/token", Scope: "gbg.token other"},
		Pair:     connection.Pair{Clients: [2]connection.Client{{ID: "id-a", Secret: connection.NewSecret(entrySecret + "-a")}}},
	}
}

// fuzzedEngine is an engine on a storage, and what it logs.
type fuzzedEngine struct {
	*Engine

	log bytes.Buffer
}

func newFuzzedEngine(tb testing.TB) *fuzzedEngine {
	tb.Helper()
	e := &fuzzedEngine{}
	engine := New(Options{
		Storage: &logical.InmemStorage{},
		Now:     func() time.Time { return time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC) },
		Logger:  hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &e.log}),
	})
	tb.Cleanup(engine.Close)
	e.Engine = engine
	return e
}

// stored returns what is stored under a key.
func (e *fuzzedEngine) stored(t *testing.T, key string) string {
	t.Helper()
	entry, err := e.storage.Get(t.Context(), key)
	require.NoError(t, err)
	return string(entry.Value)
}

// store stores a value and discards the log.
func (e *fuzzedEngine) store(t *testing.T, key string, value []byte) {
	t.Helper()
	require.NoError(t, e.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: value}))
	e.log.Reset()
}

// damagedForms are a stored form without each of its fields in turn, as another
// version, cut off, and with other things in it.
func damagedForms(golden string, optional ...string) []string {
	fields := strings.Split(strings.Trim(golden, "{}"), ",")
	forms := []string{
		"", "null", "{}", "[]", entrySecret, golden + golden, golden[:len(golden)/2], golden + entrySecret,
		strings.Replace(golden, `"version":1`, `"version":2`, 1),
		strings.Replace(golden, `"version":1`, `"version":"`+entrySecret+`"`, 1),
		strings.Replace(golden, "2026-01-02T04:04:05", entrySecret, 1),
	}
	for i, field := range fields {
		name := strings.Trim(strings.SplitN(field, ":", 2)[0], `"`)
		required := true
		for _, o := range optional {
			required = required && o != name
		}
		if required {
			rest := append(append([]string{}, fields[:i]...), fields[i+1:]...)
			forms = append(forms, "{"+strings.Join(rest, ",")+"}")
		}
	}
	return forms
}

func TestStoredTokenIsReadWholeOrNotAtAll(t *testing.T) {
	e, conn := newFuzzedEngine(t), goldenTokenConnection()
	e.store(t, TokenPrefix+"team-a", []byte(goldenToken))
	got, until := e.loadToken(t.Context(), "team-a", conn)
	require.NotNil(t, got)
	require.NoError(t, e.putToken(t.Context(), "team-a", got, until))
	require.JSONEq(t, goldenToken, e.stored(t, TokenPrefix+"team-a"))

	// Those that may be left out are empty, false or none.
	damaged := append(damagedForms(goldenToken, "scope", "lifetime_assumed", "overlap"),
		strings.Replace(goldenToken, "2026-01-02T04", "0001-01-01T00", 1),
		strings.Replace(goldenToken, "2026-01-02T04", "9999-12-31T23", 1),
		strings.Replace(goldenToken, "2026-01-02T05", "2026-01-02T04:04:04", 1),
		strings.Replace(goldenToken, `"overlap":`, `"overlap":-`, 1),
		strings.Replace(goldenToken, `"overlap":`, `"overlap":999`, 1))
	for _, stored := range damaged {
		e.store(t, TokenPrefix+"team-a", []byte(stored))
		got, until = e.loadToken(t.Context(), "team-a", conn)
		require.Nil(t, got, stored)
		require.Zero(t, until)
		require.NotContains(t, e.log.String(), entrySecret)
	}
}

func TestStoredRevocationIsReadWholeOrNotAtAll(t *testing.T) {
	e := newFuzzedEngine(t)
	e.store(t, RevocationPrefix+"x", []byte(goldenRevocation))
	got, err := e.loadRevocation(t.Context(), RevocationPrefix+"x")
	require.NoError(t, err)
	require.NoError(t, e.storeRevocation(t.Context(), got))
	require.JSONEq(t, goldenRevocation, e.stored(t, revocationKey(got)))

	for _, stored := range damagedForms(goldenRevocation) {
		e.store(t, RevocationPrefix+"x", []byte(stored))
		got, err = e.loadRevocation(t.Context(), RevocationPrefix+"x")
		require.NoError(t, err)
		require.Zero(t, got, stored)
	}
}

// FuzzStoredToken: a stored token is one that can be served as it was, or is
// passed over, and no line of the log quotes it.
func FuzzStoredToken(f *testing.F) {
	f.Add([]byte(goldenToken))
	for _, stored := range damagedForms(goldenToken) {
		f.Add([]byte(stored))
	}
	e, conn := newFuzzedEngine(f), goldenTokenConnection()
	f.Fuzz(func(t *testing.T, stored []byte) {
		e.store(t, TokenPrefix+"team-a", stored)
		got, until := e.loadToken(t.Context(), "team-a", conn)
		require.NotContains(t, e.log.String(), entrySecret)
		if got == nil {
			require.Zero(t, until)
			return
		}
		require.False(t, got.access.IsEmpty())
		require.NotEmpty(t, got.typ)
		require.Equal(t, "id-a", got.clientID)
		require.False(t, until.Before(got.expires), "regenerate_after would be before the token's end")
		require.Positive(t, got.lifetime())
		require.GreaterOrEqual(t, got.rotationPeriod(), time.Second)
		c := got.credential("team-a")

		require.NoError(t, e.putToken(t.Context(), "team-a", got, until))
		again, untilAgain := e.loadToken(t.Context(), "team-a", conn)
		require.NotNil(t, again, "written as %s", e.stored(t, TokenPrefix+"team-a"))
		require.True(t, untilAgain.Equal(until))
		require.Equal(t, c, again.credential("team-a"))
	})
}

// FuzzStoredRevocation: a stored revocation is one that can be sent, or nothing,
// and whatever it is it is not in the way of others.
func FuzzStoredRevocation(f *testing.F) {
	f.Add([]byte(goldenRevocation))
	for _, stored := range damagedForms(goldenRevocation) {
		f.Add([]byte(stored))
	}
	e := newFuzzedEngine(f)
	f.Fuzz(func(t *testing.T, stored []byte) {
		e.store(t, RevocationPrefix+"x", stored)
		got, err := e.loadRevocation(t.Context(), RevocationPrefix+"x")
		require.NoError(t, err)
		if got != (LeasedToken{}) {
			require.NotEmpty(t, got.Connection)
			require.NotEmpty(t, got.ClientID)
			require.False(t, got.AccessToken.IsEmpty())
			require.False(t, got.Expires.IsZero())
		}
		// Of no connection that there is.
		require.NoError(t, e.RetryRevocations(t.Context()))
		keys, err := e.storage.List(t.Context(), RevocationPrefix)
		require.NoError(t, err)
		require.Empty(t, keys)
		if !strings.Contains(got.Connection+got.ClientID, entrySecret) {
			require.NotContains(t, e.log.String(), entrySecret)
		}
	})
}
