package connection_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// newKey makes a key quickly, whatever the algorithm is called.
func newKey(algorithm, clientID string) (connection.Key, error) {
	key, err := gbgauth.NewKey(gbgauth.ES256, clientID, pairNow)
	if algorithm != gbgauth.ES256 {
		key, err = rsaKey()
		key.Algorithm = algorithm
	}
	return key, err
}

// rsaKey is made once: it takes a while.
var rsaKey = sync.OnceValues(func() (connection.Key, error) { return gbgauth.NewKey(gbgauth.RS256, "id-a", pairNow) })

// keySettings are those of a connection whose clients have keys.
func keySettings(more connection.Change) connection.Change {
	change := connection.Change{
		connection.GrantType: "id_auth", connection.IDPTokenURL: "https://idp.test/token", connection.IDPAuthMethod: "private_key_jwt",
		connection.KeyAlgorithm: gbgauth.ES256,
	}
	for field, value := range more {
		change[field] = value
	}
	return change
}

// keyTarget is a connection with two clients that have keys.
func keyTarget(t *testing.T, more connection.Change) *target {
	t.Helper()
	m := newTarget(t)
	require.NoError(t, m.set(t, keySettings(more), pairWrite("client_id=id-a", "paired_client_id=id-b")))
	require.Equal(t, []string{"id-a", "id-b"}, m.conn.ClientsWithoutKey())
	require.NoError(t, m.conn.MakeMissingKeys(newKey, pairNow))
	require.Empty(t, m.conn.ClientsWithoutKey())
	return m
}

func TestKeysAreMadeOnce(t *testing.T) {
	t.Parallel()
	m := keyTarget(t, nil)
	clients := m.conn.Pair.Clients
	for _, client := range clients {
		assert.False(t, client.Key.IsZero())
		assert.True(t, client.Secret.IsEmpty())
		assert.True(t, client.SecretSetTime.Equal(pairNow))
		assert.True(t, client.VerifiedTime.IsZero())
	}
	assert.True(t, clients[0].Key != clients[1].Key)

	stored := m.stored(t)
	require.NoError(t, m.set(t, keySettings(nil), pairWrite("client_id=id-a", "paired_client_id=id-b")))
	assert.Empty(t, m.conn.ClientsWithoutKey())
	assert.Equal(t, stored, m.stored(t), "the same write changes nothing")

	// Another id needs another key, and ids that change places keep theirs.
	require.NoError(t, m.set(t, connection.Change{}, pairWrite("client_id=id-b", "paired_client_id=id-a")))
	assert.Empty(t, m.conn.ClientsWithoutKey())
	assert.True(t, m.conn.Pair.Clients == [2]connection.Client{clients[1], clients[0]})
	require.NoError(t, m.set(t, connection.Change{}, pairWrite("paired_client_id=id-c")))
	assert.Equal(t, []string{"id-c"}, m.conn.ClientsWithoutKey())

	secrets := newTarget(t)
	require.NoError(t, secrets.set(t, connection.Change{}, twoClients()))
	assert.Empty(t, secrets.conn.ClientsWithoutKey(), "clients with secrets need none")
}

func TestKeyOfTheStandby(t *testing.T) {
	t.Parallel()
	m := keyTarget(t, nil)
	m.conn.Pair = m.conn.Pair.Verified("id-b", pairNow)
	m.conn.Settings.KeyAlgorithm = gbgauth.PS256
	next, err := m.conn.WithStandbyKey(newKey, pairNow.Add(time.Hour))
	require.NoError(t, err)
	assert.True(t, m.conn.Pair.Clients[0] == next.Pair.Clients[0], "the active client keeps its key")
	standby := next.Pair.Clients[1]
	assert.True(t, standby.Key != m.conn.Pair.Clients[1].Key)
	assert.Equal(t, gbgauth.PS256, standby.Key.Algorithm)
	assert.Equal(t, gbgauth.ES256, next.Pair.Active().Key.Algorithm, "each key keeps its own")
	assert.True(t, standby.SecretSetTime.Equal(pairNow.Add(time.Hour)))
	assert.True(t, standby.VerifiedTime.IsZero())
	assert.True(t, next.SameToken(m.conn))
	assert.True(t, next.SameRequest(m.conn))
	assert.True(t, next.Request(standby) != m.conn.Request(m.conn.Pair.Clients[1]))

	failed := errors.New("no randomness")
	_, err = m.conn.WithStandbyKey(func(string, string) (connection.Key, error) { return connection.Key{}, failed }, pairNow)
	require.ErrorIs(t, err, failed)
	m.conn.Pair.Clients[1] = connection.Client{}
	_, err = m.conn.WithStandbyKey(newKey, pairNow)
	require.ErrorIs(t, err, connection.ErrNoPair)
}

func TestKeySettings(t *testing.T) {
	t.Parallel()
	m := keyTarget(t, connection.Change{connection.KeyAlgorithm: ""})
	s := m.read(t).Settings
	assert.Equal(t, []string{"private_key_jwt", "RS256", "https://idp.test/token"}, []string{s.IDPAuthMethod, s.KeyAlgorithm, s.IDPAudience})
	r := m.conn.Request(m.conn.Pair.Active())
	assert.Equal(t, "https://idp.test/token", r.Clients.Audience)
	assert.True(t, r.Clients.Key == m.conn.Pair.Active().Key)
	assert.True(t, r.Source().Clients.Key.IsZero())
	m = keyTarget(t, connection.Change{connection.IDPAudience: " https://idp.test \n"})
	assert.Equal(t, "https://idp.test", m.conn.Request(m.conn.Pair.Active()).Clients.Audience)
}

func TestKeySettingsAreRefused(t *testing.T) {
	t.Parallel()
	idp := connection.Change{connection.GrantType: "id_auth", connection.IDPTokenURL: "https://idp.test/token"}
	secret := connection.NewSecret("fake-a1")
	for name, c := range map[string]struct {
		change connection.Change
		want   string
	}{
		"an algorithm":              {keySettings(connection.Change{connection.KeyAlgorithm: "HS256"}), `key_algorithm must be "RS256", "PS256" or "ES256"`},
		"a secret":                  {keySettings(connection.Change{connection.ClientSecret: secret}), `client_secret has no use with idp_auth_method "private_key_jwt": the clients have keys that the engine makes`},
		"an empty secret":           {keySettings(connection.Change{connection.PairedClientSecret: connection.Secret{}}), `paired_client_secret is empty: give a value or leave the field out`},
		"a revocation URL":          {keySettings(connection.Change{connection.RevokeURL: "https://gbg.test/revoke"}), `revoke_url cannot be used with idp_auth_method "private_key_jwt"`},
		"an audience of a line":     {keySettings(connection.Change{connection.IDPAudience: "a\nb"}), `idp_audience has control characters`},
		"an audience of 3 KiB":      {keySettings(connection.Change{connection.IDPAudience: strings.Repeat("a", 3<<10)}), `idp_audience is longer than 2048 bytes`},
		"an audience without keys":  {merged(idp, connection.Change{connection.IDPAudience: "a"}), `idp_audience is for idp_auth_method "private_key_jwt"; this connection's is "client_secret_post"`},
		"an algorithm without keys": {merged(idp, connection.Change{connection.KeyAlgorithm: "RS256"}), `key_algorithm is for idp_auth_method "private_key_jwt"; this connection's is "client_secret_post"`},
		"an algorithm for GBG GO":   {connection.Change{connection.KeyAlgorithm: "RS256"}, `key_algorithm is for grant_type "id_auth"; this connection's is "client_credentials"`},
		"no identity provider":      {keySettings(connection.Change{connection.IDPTokenURL: ""}), `idp_auth_method needs idp_token_url: it is how the clients authenticate there`},
	} {
		m := newTarget(t)
		require.EqualError(t, m.set(t, c.change, pairWrite("client_id=id-a")), c.want, name)
	}
}

func merged(all ...connection.Change) connection.Change {
	change := connection.Change{}
	for _, more := range all {
		for field, value := range more {
			change[field] = value
		}
	}
	return change
}

// Assertions are for one address and audience, and clients keep the way in which they
// authenticate.
func TestKeySettingsAreImmutable(t *testing.T) {
	t.Parallel()
	const again = "; delete the connection and write it again, or use another name"
	for field, value := range map[connection.Field]string{
		connection.TokenURL:    "https://other.test/token",
		connection.IDPTokenURL: "https://other.test/token",
		connection.IDPAudience: "https://other.test",
	} {
		m := keyTarget(t, nil)
		require.EqualError(t, m.set(t, connection.Change{field: value}, connection.PairChange{}),
			string(field)+` cannot be changed with idp_auth_method "private_key_jwt": the keys are for one address and audience`+again)
	}
	m := keyTarget(t, nil)
	require.NoError(t, m.set(t, connection.Change{
		connection.IDPAudience: "https://idp.test/token", connection.TokenURL: connection.DefaultIdentityTokenURL,
	}, connection.PairChange{}), "the defaults written out are no change")
	require.EqualError(t, m.set(t, connection.Change{connection.IDPAuthMethod: "client_secret_basic"}, twoClients()),
		`idp_auth_method cannot be changed from "private_key_jwt" to "client_secret_basic": delete the connection and write it again, or use another name`)

	m = newTarget(t)
	require.NoError(t, m.set(t, connection.Change{connection.GrantType: "id_auth", connection.IDPTokenURL: "https://idp.test/token"}, twoClients()))
	require.EqualError(t, m.set(t, connection.Change{connection.IDPAuthMethod: "private_key_jwt"}, connection.PairChange{}),
		`idp_auth_method cannot be changed from "client_secret_post" to "private_key_jwt": delete the connection and write it again, or use another name`)
}

func TestEntryWithKeys(t *testing.T) {
	t.Parallel()
	m := keyTarget(t, nil)
	stored := m.stored(t)
	assert.Contains(t, stored, `{"version":2,`)
	assert.NotContains(t, stored, `"secret":`)
	got, err := connection.Decode("team-a", []byte(stored))
	require.NoError(t, err)
	for slot, client := range m.conn.Pair.Clients {
		assert.True(t, client.Key == got.Pair.Clients[slot].Key)
		assert.Contains(t, stored, base64.StdEncoding.EncodeToString([]byte(client.Key.Private.Reveal())))
	}
	assert.True(t, got.Equal(m.conn))

	for name, damage := range map[string]func(entry map[string]any){
		"a secret beside a key": func(e map[string]any) { e["clients"].([]any)[0].(map[string]any)["secret"] = "not-a-real-secret" },
		"no key":                func(e map[string]any) { delete(e["clients"].([]any)[1].(map[string]any), "key") },
		"a key without keys":    func(e map[string]any) { delete(e, "idp_auth_method") },
		"another certificate": func(e map[string]any) {
			clients := e["clients"].([]any)
			first, second := clients[0].(map[string]any)["key"].(map[string]any), clients[1].(map[string]any)["key"].(map[string]any)
			first["certificate"] = second["certificate"]
		},
		"a private key that cannot be read": func(e map[string]any) {
			e["clients"].([]any)[0].(map[string]any)["key"].(map[string]any)["private"] = "bm90IGEga2V5"
		},
	} {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(stored), &entry))
		damage(entry)
		damaged, err := json.Marshal(entry)
		require.NoError(t, err)
		_, err = connection.Decode("team-a", damaged)
		require.EqualError(t, err, `connection "team-a": its storage entry is damaged: delete the connection and write it again`, name)
	}
}

func TestKeysAreRedacted(t *testing.T) {
	t.Parallel()
	m := keyTarget(t, nil)
	private := m.conn.Pair.Active().Key.Private.Reveal()
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		for _, value := range []any{*m.conn, m.conn.Pair.Active(), m.conn.Request(m.conn.Pair.Active())} {
			assert.NotContains(t, fmt.Sprintf(verb, value), private)
		}
	}
}
