package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfigReadsBackWithoutSecrets(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	data := m.read("config").Data
	for key, value := range data {
		assert.NotContains(t, fmt.Sprint(value), g.a.Secret, key)
		assert.NotContains(t, fmt.Sprint(value), g.b.Secret, key)
	}
	assert.Equal(t, []string{
		"active_client_id", "ca_pem", "client_id", "disable_automated_rotation", "failover", "grant_type", "lease", "max_secret_age",
		"paired_client_id", "refresh_before", "request_timeout", "revoke_url", "rotation_period", "rotation_schedule", "rotation_window",
		"scope", "standby_check", "token_url",
	}, sortedKeys(data))
	assert.Equal(t, "client-a", data["client_id"])
	assert.Equal(t, "client-b", data["paired_client_id"])
	assert.Equal(t, "client-a", data["active_client_id"])
	assert.Equal(t, "client_credentials", data["grant_type"])
	assert.Equal(t, "gbg.token", data["scope"])
	assert.Equal(t, g.tokenURL(), data["token_url"])
	assert.Equal(t, "300", number(t, data["refresh_before"]))
	assert.Equal(t, "10", number(t, data["request_timeout"]))
}

func TestConfigDefaultsAreGBGs(t *testing.T) {
	m := newMount(t, suite.server)
	m.write("config", map[string]any{"client_id": "someone", "client_secret": "fake", "verify_connection": false})
	data := m.read("config").Data
	assert.Equal(t, "https://api.auth.gbgplc.com/as/token.oauth2", data["token_url"])
	assert.Equal(t, "gbg.token", data["scope"])
	assert.Empty(t, data["paired_client_id"])
}

func TestConfigWritesArePartial(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	m.write("config", map[string]any{"token_url": g.tokenURL(), "client_id": g.a.ID, "client_secret": g.a.Secret})
	m.write("config", map[string]any{"refresh_before": "90s"})
	m.write("config", map[string]any{"paired_client_id": g.b.ID, "paired_client_secret": g.b.Secret})
	data := m.read("config").Data
	assert.Equal(t, "client-a", data["client_id"])
	assert.Equal(t, "client-b", data["paired_client_id"])
	assert.Equal(t, "90", number(t, data["refresh_before"]))
	m.write("config", map[string]any{"paired_client_id": ""})
	assert.Empty(t, m.read("config").Data["paired_client_id"])
}

func TestConfigTrimsIDsAndSecrets(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	m.write("config", map[string]any{"token_url": g.tokenURL(), "client_id": " client-a\n", "client_secret": g.a.Secret + "\r\n"})
	assert.Equal(t, "client-a", m.read("config").Data["client_id"])
}

// A declarative write can be repeated for ever: it neither asks GBG again nor
// moves the active side, also after a rotation.
func TestConfigRepeatedWriteChangesNothing(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	m.write("rotate", nil)
	before, asked := m.read("status").Data, g.Stats().TokenRequests.Total
	for range 3 {
		m.write("config", g.pair())
	}
	assert.Equal(t, before, m.read("status").Data)
	assert.Equal(t, asked, g.Stats().TokenRequests.Total)
	assert.Equal(t, "client-b", m.read("config").Data["active_client_id"])
}

func TestConfigVerification(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	before := m.read("config").Data

	status, text := m.refused("config", map[string]any{"client_secret": "fake-wrong-secret"})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, `GBG refused client "client-a": invalid_client`)
	assert.Contains(t, text, "Nothing has changed.")
	assert.NotContains(t, text, "fake-wrong-secret")

	status, text = m.refused("config", map[string]any{
		"token_url": nowhere, "request_timeout": "1s", "client_secret": g.a.Secret, "paired_client_secret": g.b.Secret,
	})
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, text, "connection refused")
	assert.Contains(t, text, "Nothing has changed.")
	assert.Equal(t, before, m.read("config").Data)

	m.write("config", map[string]any{"client_secret": "fake-wrong-secret", "verify_connection": false})
	asked := g.Stats().TokenRequests.Total
	m.write("config", map[string]any{"request_timeout": "5s"})
	assert.Equal(t, asked, g.Stats().TokenRequests.Total, "a write that changes no token request is not verified")
}

// Whoever may write config must not be able to have a stored secret sent to an
// address of theirs.
func TestConfigNewAddressWantsTheSecretsAgain(t *testing.T) {
	g, elsewhere := newGBG(t, time.Hour), newGBG(t, time.Hour)
	m := configured(t, g)
	for name, data := range map[string]map[string]any{
		"no secret":         {},
		"the first only":    {"client_secret": g.a.Secret},
		"the second only":   {"paired_client_secret": g.b.Secret},
		"without verifying": {"verify_connection": false},
		"back to GBG's":     {"token_url": ""},
	} {
		t.Run(name, func(t *testing.T) {
			write := map[string]any{"token_url": elsewhere.tokenURL()}
			maps.Copy(write, data)
			status, text := m.refused("config", write)
			assert.Equal(t, http.StatusBadRequest, status)
			assert.Contains(t, text, "a write that changes token_url must give the secrets of both clients again")
		})
	}
	assert.Zero(t, elsewhere.Stats().TokenRequests.Total)
	assert.Equal(t, g.tokenURL(), m.read("config").Data["token_url"])
}

func TestConfigRefusals(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	for name, test := range map[string]struct {
		change map[string]any
		want   string
	}{
		"no id":                {map[string]any{"client_id": ""}, "client_id is empty: give a value or leave the field out"},
		"no secret":            {map[string]any{"client_secret": ""}, "client_secret is empty: give a value or leave the field out"},
		"no second secret":     {map[string]any{"paired_client_secret": ""}, "paired_client_secret is empty: give a value or leave the field out"},
		"no second id":         {map[string]any{"paired_client_id": ""}, "paired_client_id is missing: a secret was given for it"},
		"equal ids":            {map[string]any{"paired_client_id": "client-a"}, "paired_client_id is the same as client_id"},
		"unknown grant":        {map[string]any{"grant_type": "implicit"}, `grant_type must be "client_credentials" (GBG GO), "password" (GBG GO with API users) or "id_auth" (GBG Identity Solution)`},
		"plain http":           {map[string]any{"token_url": "http://gbg.example/token"}, "token_url must begin with https:// (http:// is for a loopback address only)"},
		"other scheme":         {map[string]any{"token_url": "ftp://gbg.example/token"}, "token_url must begin with https://"},
		"user info":            {map[string]any{"token_url": "https://me:fake@gbg.example/token"}, "token_url must not hold a user name or password"},
		"fragment":             {map[string]any{"token_url": "https://gbg.example/token#x"}, "token_url must not have a fragment"},
		"no host":              {map[string]any{"token_url": "https:///token"}, "token_url has no host"},
		"control characters":   {map[string]any{"client_id": "client\x00a"}, "client_id has control characters"},
		"control in a secret":  {map[string]any{"client_secret": "fake\x07secret"}, "client_secret has control characters"},
		"scope characters":     {map[string]any{"scope": `gbg"token`}, "scope has a character that is not valid in a scope"},
		"long id":              {map[string]any{"client_id": strings.Repeat("x", 10_000)}, "client_id is longer than"},
		"long secret":          {map[string]any{"client_secret": strings.Repeat("x", 100_000)}, "client_secret is longer than"},
		"no certificate":       {map[string]any{"ca_pem": "not a certificate"}, "ca_pem holds no PEM certificate"},
		"timeout of zero":      {map[string]any{"request_timeout": 0}, "request_timeout must be between 1s and 1m0s"},
		"refresh of zero":      {map[string]any{"refresh_before": 0}, "refresh_before must be between 1s and 24h0m0s"},
		"a duration that none": {map[string]any{"refresh_before": "soon"}, "refresh_before must be a duration"},
		"a numeric id":         {map[string]any{"client_id": 1234567890123456789}, "client_id must be a string"},
		"a boolean id":         {map[string]any{"paired_client_id": true}, "paired_client_id must be a string"},
		"a list of scopes":     {map[string]any{"scope": []string{"gbg.token"}}, "scope must be a string"},
		"a zero-width space":   {map[string]any{"client_secret": g.a.Secret + "\u200b"}, "client_secret has an invisible character (U+200B)"},
		"a mark in the middle": {map[string]any{"client_id": "client\ufeff-a"}, "client_id has an invisible character (U+FEFF)"},
		"Latin-1":              {map[string]any{"client_secret": "fake-s\xe9cret"}, "client_secret has a replacement character (U+FFFD) in place of one that could not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			write := g.pair()
			maps.Copy(write, test.change)
			status, text := m.refused("config", write)
			assert.Equal(t, http.StatusBadRequest, status)
			assert.Contains(t, text, test.want)
			s, err := m.client.Logical().ReadWithContext(t.Context(), m.path+"/config")
			require.NoError(t, err)
			assert.Nil(t, s, "nothing is stored")
		})
	}
}

func TestConfigActiveClientCannotBeRemoved(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	m.write("rotate", nil)
	status, text := m.refused("config", map[string]any{"paired_client_id": ""})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, "paired_client_id cannot be removed: it is the active client")
}

func TestConfigNamesListsDeletes(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	for _, path := range []string{"config/default", "config/team-a", "config/team_b.eu"} {
		m.write(path, g.pair())
	}
	assert.Equal(t, m.read("config/default").Data, m.read("config").Data)
	list := func() any {
		s, err := m.client.Logical().ListWithContext(t.Context(), m.path+"/config")
		require.NoError(t, err)
		return s.Data["keys"]
	}
	assert.Equal(t, []any{"default", "team-a", "team_b.eu"}, list())
	_, err := m.client.Logical().DeleteWithContext(t.Context(), m.path+"/config/team-a")
	require.NoError(t, err)
	assert.Equal(t, []any{"default", "team_b.eu"}, list())
	status, text := m.refusedRead("creds/team-a")
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, `connection "team-a" is not configured; configure it with: vault write `+m.path+"/config/team-a client_id=")
}

// Vault's storage has no room for such a name, whatever is done with it.
func TestConfigRefusesNamesWithTwoDotsInARow(t *testing.T) {
	g := newGBG(t, time.Hour)
	m := newMount(t, suite.server)
	refused := func(err error) {
		t.Helper()
		status, text := failure(t, err)
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Contains(t, text, `name must not contain ".."`)
	}
	for _, path := range []string{"config/a..b", "rotate/a..b", "creds/a..b"} {
		_, err := m.client.Logical().WriteWithContext(t.Context(), m.path+"/"+path, g.pair())
		refused(err)
	}
	for _, path := range []string{"config/a..b", "status/a..b", "creds/a..b"} {
		_, err := m.client.Logical().ReadWithContext(t.Context(), m.path+"/"+path)
		refused(err)
	}
	_, err := m.client.Logical().DeleteWithContext(t.Context(), m.path+"/config/a..b")
	refused(err)
}
