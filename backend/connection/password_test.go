package connection_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func confidential(value string) connection.Secret { return connection.NewSecret(value) }

// usersWrite is what configures a connection of the password grant.
func usersWrite() connection.Change {
	return connection.Change{
		connection.GrantType: "password",
		connection.ClientID:  "id-o", connection.ClientSecret: confidential("fake-o1"),
		connection.Username: "user-a", connection.Password: confidential("fake-a1"),
		connection.PairedUsername: "user-b", connection.PairedPassword: confidential("fake-b1"),
	}
}

func users(t *testing.T) *connection.Connection {
	t.Helper()
	var none *connection.Connection
	c, err := none.Apply(usersWrite(), pairNow)
	require.NoError(t, err)
	return c
}

func TestPasswordGrantRequest(t *testing.T) {
	t.Parallel()
	c := users(t)
	want := connection.Request{Password: gbgauth.Password{
		TokenURL: connection.DefaultTokenURL,
		ClientID: "id-o", ClientSecret: confidential("fake-o1"),
		Username: "user-a", Password: confidential("fake-a1"),
	}}
	got := c.Request(c.Pair.Active())
	assert.True(t, want == got, "%+v", got)
	assert.Equal(t, "user-a", got.ID())
	assert.Empty(t, got.Scope(), "no scope by default")

	id, secret, ok := c.Revoker("user-b")
	assert.True(t, ok)
	assert.Equal(t, "id-o", id)
	assert.Equal(t, "fake-o1", secret.Reveal())
	_, _, ok = c.Revoker("id-o")
	assert.False(t, ok)

	old := time.Hour
	c.Settings.MaxSecretAge = old
	assert.Equal(t, []string{`the password of user "user-a" is older than max_secret_age (1h0m0s): rotate`}, c.Warnings(pairNow.Add(old)))
}

func TestPasswordGrantFields(t *testing.T) {
	t.Parallel()
	c := users(t)
	values := map[connection.Field]any{}
	for _, f := range connection.Fields() {
		if v, ok := f.Value(c); ok {
			values[f.Field] = v
		}
	}
	assert.Equal(t, "id-o", values[connection.ClientID])
	assert.Equal(t, "user-a", values[connection.Username])
	assert.Equal(t, "user-b", values[connection.PairedUsername])
	for _, field := range []connection.Field{
		connection.PairedClientID, connection.ClientSecret, connection.Password, connection.PairedPassword, connection.IDPParams,
	} {
		assert.NotContains(t, values, field)
	}
}

func TestPasswordGrantRefused(t *testing.T) {
	t.Parallel()
	const again = " must give client_secret and both passwords again, so that no stored secret is sent to a new address"
	for _, tc := range []struct {
		name  string
		write connection.Change
		want  string // without the field's name, the write is on no connection
	}{
		{"paired_client_id", connection.Change{connection.PairedClientID: "x"}, `paired_client_id has no use for grant_type "password": both users have the same client. The second user is paired_username`},
		{"paired_client_secret", connection.Change{connection.PairedClientSecret: confidential("x")}, `paired_client_secret has no use for grant_type "password": both users have the same client. The second user is paired_username`},
		{"client id, empty", connection.Change{connection.ClientID: " "}, "client_id is missing"},
		{"client id, new", connection.Change{connection.ClientID: "id-p"}, "client_secret is missing"},
		{"client id, odd", connection.Change{connection.ClientID: "a\x00"}, "client_id has control characters"},
		{"client secret, empty", connection.Change{connection.ClientSecret: confidential("\n")}, "client_secret is missing"},
		{"client secret, odd", connection.Change{connection.ClientSecret: confidential("a\x00")}, "client_secret has control characters"},
		{"username, empty", connection.Change{connection.Username: ""}, "username is empty: give a value or leave the field out"},
		{"username, new", connection.Change{connection.Username: "user-c"}, "password is missing"},
		{"username, odd", connection.Change{connection.Username: "a\x00"}, "username has control characters"},
		{"username, taken", connection.Change{connection.Username: "user-b"}, "paired_username is the same as username; a pair is two different users"},
		{"password, empty", connection.Change{connection.Password: confidential("")}, "password is empty: give a value or leave the field out"},
		{"paired password, empty", connection.Change{connection.PairedPassword: confidential("")}, "paired_password is empty: give a value or leave the field out"},
		{"paired password alone", connection.Change{connection.PairedUsername: "", connection.PairedPassword: confidential("x")}, "paired_password has no user: paired_username is empty"},
		{"grant type", connection.Change{connection.GrantType: "client_credentials"}, `grant_type cannot be changed from "password" to "client_credentials": delete the connection and write it again, or use another name`},
		{"idp_token_url", connection.Change{connection.IDPTokenURL: "https://idp.test"}, `idp_token_url is for grant_type "id_auth"; this connection's is "password"`},
		{"token URL", connection.Change{connection.TokenURL: "https://elsewhere.test"}, "client_secret is missing: a write that changes token_url" + again},
		{"token URL, client secret", connection.Change{
			connection.TokenURL: "https://elsewhere.test", connection.ClientSecret: confidential("fake-o1"),
		}, "password is missing: a write that changes token_url" + again},
		{"revoke URL, one password", connection.Change{
			connection.RevokeURL: "https://elsewhere.test", connection.ClientSecret: confidential("fake-o1"), connection.Password: confidential("fake-a1"),
		}, "paired_password is missing: a write that changes revoke_url" + again},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := users(t).Apply(tc.write, pairNow)
			requireInputError(t, err, tc.want)
		})
	}
}

// Users are for their own grant only. What is given but empty says nothing.
func TestPasswordGrantFieldsElsewhere(t *testing.T) {
	t.Parallel()
	for grant, write := range map[string]connection.Change{
		"client_credentials": {connection.ClientID: "id-a", connection.ClientSecret: confidential("fake-a1")},
		"id_auth":            {connection.GrantType: "id_auth"},
	} {
		for _, field := range []connection.Field{connection.Username, connection.Password, connection.PairedUsername, connection.PairedPassword} {
			for _, value := range []any{"", "x"} {
				if strings.HasSuffix(string(field), "password") {
					value = confidential(value.(string))
				}
				change := connection.Change{field: value}
				for k, v := range write {
					change[k] = v
				}
				var none *connection.Connection
				_, err := none.Apply(change, pairNow)
				if value == "" || value == confidential("") {
					assert.NoError(t, err, field)
					continue
				}
				requireInputError(t, err, string(field)+` is for grant_type "password"; this connection's is "`+grant+`"`)
			}
		}
	}
}

// A user who is written proves itself, and both do if the organization's client changes.
func TestPasswordGrantUsersToVerify(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		write connection.Change
		want  []string
	}{
		{connection.Change{connection.MaxSecretAge: time.Hour}, nil},
		{connection.Change{connection.Password: confidential("fake-a2")}, []string{"user-a"}},
		{connection.Change{connection.PairedPassword: confidential("fake-b2")}, []string{"user-b"}},
		{connection.Change{connection.ClientSecret: confidential("fake-o2")}, []string{"user-a", "user-b"}},
		{connection.Change{connection.ClientID: "id-p", connection.ClientSecret: confidential("fake-o1")}, []string{"user-a", "user-b"}},
		{connection.Change{connection.Scope: "x"}, []string{"user-a", "user-b"}},
		{connection.Change{connection.PairedUsername: ""}, nil},
	} {
		old := users(t)
		next, err := old.Apply(tc.write, pairNow)
		require.NoError(t, err)
		var got []string
		for _, client := range next.ClientsToVerify(old) {
			got = append(got, client.ID)
		}
		assert.Equal(t, tc.want, got, "%v", tc.write)
	}
}

// A token outlives the secrets that it was requested with.
func TestPasswordGrantSameToken(t *testing.T) {
	t.Parallel()
	for same, writes := range map[bool][]connection.Change{
		true:  {{connection.Password: confidential("fake-a2")}, {connection.ClientSecret: confidential("fake-o2")}},
		false: {{connection.Username: "user-c", connection.Password: confidential("x")}, {connection.ClientID: "id-p", connection.ClientSecret: confidential("x")}, {connection.Scope: "x"}},
	} {
		for _, write := range writes {
			next, err := users(t).Apply(write, pairNow)
			require.NoError(t, err)
			assert.Equal(t, same, users(t).SameToken(next), "%v", write)
		}
	}
}

func TestPasswordGrantStored(t *testing.T) {
	t.Parallel()
	c := users(t)
	stored, err := c.Encode()
	require.NoError(t, err)
	assert.Equal(t, `{"version":2,"grant_type":"password","client_id":"id-o","client_secret":"fake-o1",`+
		`"clients":[{"id":"user-a","secret":"fake-a1","secret_set_time":"`+pairNow.Format(time.RFC3339Nano)+`"},`+
		`{"id":"user-b","secret":"fake-b1","secret_set_time":"`+pairNow.Format(time.RFC3339Nano)+`"}],"active_slot":0}`, string(stored))
	read, err := connection.Decode("team-a", stored)
	require.NoError(t, err)
	assert.True(t, c.Equal(read))
	for _, lost := range []string{`"client_id":"id-o",`, `"client_secret":"fake-o1",`, `"secret":"fake-a1",`} {
		_, err := connection.Decode("team-a", []byte(strings.Replace(string(stored), lost, "", 1)))
		assert.EqualError(t, err, `connection "team-a": its storage entry is damaged: delete the connection and write it again`, lost)
	}
}
