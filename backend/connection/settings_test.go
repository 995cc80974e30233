package connection_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// target is a connection that writes are applied to; none at first.
type target struct{ conn *connection.Connection }

func newTarget(*testing.T) *target { return &target{} }

// set is a configuration write.
func (m *target) set(t *testing.T, settings connection.Change, pair connection.PairChange) error {
	t.Helper()
	change := maps.Clone(settings)
	for slot, fields := range [2][2]connection.Field{
		{connection.ClientID, connection.ClientSecret}, {connection.PairedClientID, connection.PairedClientSecret},
	} {
		if id := pair.IDs[slot]; id != nil {
			change[fields[0]] = *id
		}
		if secret := pair.Secrets[slot]; secret != nil {
			change[fields[1]] = *secret
		}
	}
	next, err := m.conn.Apply(change, pairNow)
	if err == nil {
		m.conn = next
	}
	return err
}

// read returns the connection with its defaults.
func (m *target) read(*testing.T) connection.Connection {
	conn := *m.conn
	conn.Settings = conn.Settings.WithDefaults()
	return conn
}

// stored is the connection's stored form, empty if there is none.
func (m *target) stored(t *testing.T) string {
	t.Helper()
	if m.conn == nil {
		return ""
	}
	stored, err := m.conn.Encode()
	require.NoError(t, err)
	return string(stored)
}

// oneClient and twoClients return what a connection needs besides its settings.
func oneClient() connection.PairChange { return pairWrite("client_id=id-a", "client_secret=fake-a1") }

func twoClients() connection.PairChange {
	return pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=id-b", "paired_client_secret=fake-b1")
}

var defaultSettings = connection.Settings{
	GrantType:      "client_credentials",
	TokenURL:       "https://api.auth.gbgplc.com/as/token.oauth2",
	Scope:          "gbg.token",
	RefreshBefore:  5 * time.Minute,
	RequestTimeout: 10 * time.Second,
	StandbyCheck:   24 * time.Hour,
}

func TestSettingsDefaults(t *testing.T) {
	t.Parallel()
	m := newTarget(t)
	require.NoError(t, m.set(t, connection.Change{}, oneClient()))
	assert.Equal(t, defaultSettings, m.read(t).Settings)
	for _, setting := range []string{"grant_type", "token_url", "scope", "refresh_before", "request_timeout", "ca_pem"} {
		assert.NotContains(t, m.stored(t), setting, "a default is not stored: a later release may have another")
	}
}

func TestSettingsAccepted(t *testing.T) {
	t.Parallel()
	cert := fakeCertificate(t)
	longURL := "https://gbg.test/" + strings.Repeat("x", 2048-len("https://gbg.test/"))
	for _, tc := range []struct {
		name   string
		change connection.Change
		want   func(*connection.Settings)
	}{
		{"grant type", connection.Change{connection.GrantType: "client_credentials"}, func(*connection.Settings) {}},
		{"grant type, empty", connection.Change{connection.GrantType: ""}, func(*connection.Settings) {}},

		{"url, https", tokenURL("https://gbg.test/as/token.oauth2"), wantURL("https://gbg.test/as/token.oauth2")},
		{"url, https with port", tokenURL("https://gbg.test:8443/token"), wantURL("https://gbg.test:8443/token")},
		{"url, https with the last port", tokenURL("https://gbg.test:65535/token"), wantURL("https://gbg.test:65535/token")},
		{"url, https without path", tokenURL("https://gbg.test"), wantURL("https://gbg.test")},
		{"url, https to an address", tokenURL("https://192.0.2.1/token"), wantURL("https://192.0.2.1/token")},
		{"url, https to an IPv6 address", tokenURL("https://[2001:db8::1]:8443/token"), wantURL("https://[2001:db8::1]:8443/token")},
		{"url, HTTPS", tokenURL("HTTPS://gbg.test/token"), wantURL("HTTPS://gbg.test/token")},
		{"url, http to 127.0.0.1", tokenURL("http://127.0.0.1:8080/token"), wantURL("http://127.0.0.1:8080/token")},
		{"url, http to 127.9.9.9", tokenURL("http://127.9.9.9/token"), wantURL("http://127.9.9.9/token")},
		{"url, http to ::1", tokenURL("http://[::1]:8080/token"), wantURL("http://[::1]:8080/token")},
		{"url, http to ::1 without port", tokenURL("http://[::1]/token"), wantURL("http://[::1]/token")},
		{"url, http to localhost", tokenURL("http://localhost:8080/token"), wantURL("http://localhost:8080/token")},
		{"url, http to LocalHost", tokenURL("http://LocalHost/token"), wantURL("http://LocalHost/token")},
		{"url, as long as may be", tokenURL(longURL), wantURL(longURL)},
		{"url, trimmed", tokenURL(" \t" + longURL + "\r\n"), wantURL(longURL)},
		{"url, empty", tokenURL(""), func(*connection.Settings) {}},
		{"url, blank", tokenURL(" \n"), func(*connection.Settings) {}},

		{"scope", scopeChange("other"), wantScope("other")},
		{"scopes", scopeChange("gbg.token other:read"), wantScope("gbg.token other:read")},
		{"scope, spaces and newlines", scopeChange("  gbg.token \t other\r\nthird\n"), wantScope("gbg.token other third")},
		{"scope, every character", scopeChange(everyScopeCharacter()), wantScope(everyScopeCharacter())},
		{"scope, as long as may be", scopeChange(strings.Repeat("x", 4096)), wantScope(strings.Repeat("x", 4096))},
		{"scope, long before it was trimmed", scopeChange("a" + strings.Repeat(" ", 5000) + "b"), wantScope("a b")},
		{"scope, empty", scopeChange(""), func(*connection.Settings) {}},
		{"scope, blank", scopeChange(" \n\t"), func(*connection.Settings) {}},

		{"refresh_before, least", refreshBefore(time.Second), wantRefreshBefore(time.Second)},
		{"refresh_before, most", refreshBefore(24 * time.Hour), wantRefreshBefore(24 * time.Hour)},
		{"request_timeout, least", requestTimeout(time.Second), wantRequestTimeout(time.Second)},
		{"request_timeout, most", requestTimeout(time.Minute), wantRequestTimeout(time.Minute)},

		{"standby_check, least", standbyCheck(10 * time.Second), wantStandbyCheck(10 * time.Second)},
		{"standby_check, off", standbyCheck(0), wantStandbyCheck(-1)},

		{"ca_pem", caPEM(cert), wantCA(cert)},
		{"ca_pem, two", caPEM(cert + "\n" + cert), wantCA(cert + "\n" + cert)},
		{"ca_pem, space before it", caPEM("\n " + cert + "\n\n"), wantCA(cert + "\n\n")},
		{"ca_pem, as long as may be", caPEM(padded(cert, 256<<10)), wantCA(padded(cert, 256<<10))},
		{"ca_pem, empty", caPEM(""), func(*connection.Settings) {}},
		{"ca_pem, blank", caPEM("\n"), func(*connection.Settings) {}},

		{
			"everything",
			connection.Change{
				connection.GrantType: "client_credentials", connection.TokenURL: "https://gbg.test/token", connection.Scope: "other",
				connection.RefreshBefore: time.Minute, connection.RequestTimeout: 20 * time.Second, connection.CAPEM: cert,
			},
			func(s *connection.Settings) {
				*s = connection.Settings{
					GrantType: "client_credentials", TokenURL: "https://gbg.test/token", Scope: "other",
					RefreshBefore: time.Minute, RequestTimeout: 20 * time.Second, CAPEM: cert,
					StandbyCheck: 24 * time.Hour,
				}
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := defaultSettings
			tc.want(&want)
			m := newTarget(t)
			require.NoError(t, m.set(t, tc.change, twoClients()), "on the first write")
			assert.Equal(t, want, m.read(t).Settings)

			require.NoError(t, m.set(t, connection.Change{}, connection.PairChange{}))
			assert.Equal(t, want, m.read(t).Settings, "a field that is missing keeps its value")

			m = newTarget(t)
			require.NoError(t, m.set(t, connection.Change{}, twoClients()))
			require.NoError(t, m.set(t, tc.change, twoClients()), "on a later write")
			assert.Equal(t, want, m.read(t).Settings)
			again, err := connection.Decode("team-a", []byte(m.stored(t)))
			require.NoError(t, err)
			assert.Equal(t, want, again.Settings.WithDefaults(), "as another node reads it")
		})
	}
}

func TestSettingsRefused(t *testing.T) {
	t.Parallel()
	cert := fakeCertificate(t)
	const (
		wantHTTPS   = "token_url must begin with https://"
		noPlainHTTP = "token_url must begin with https:// (http:// is for a loopback address only)"
		noUser      = "token_url must not hold a user name or password"
		noFragment  = "token_url must not have a fragment (#...)"
		noURL       = "token_url is not a URL"
		noHost      = "token_url has no host"
		noPort      = "token_url has a port that is not between 1 and 65535"
		noControl   = "token_url has control characters"
		noScope     = "scope has a character that is not valid in a scope"
		noRefresh   = "refresh_before must be between 1s and 24h0m0s"
		noTimeout   = "request_timeout must be between 1s and 1m0s"
	)
	for _, tc := range []struct {
		name   string
		change connection.Change
		want   string
	}{
		{"grant type, unknown", grantType("implicit"), `grant_type must be "client_credentials" (GBG GO), "password" (GBG GO with API users) or "id_auth" (GBG Identity Solution)`},
		{"grant type, other case", grantType("Client_Credentials"), `grant_type must be "client_credentials" (GBG GO), "password" (GBG GO with API users) or "id_auth" (GBG Identity Solution)`},
		{"grant type, control character", grantType("client_credentials\x00"), `grant_type must be "client_credentials" (GBG GO), "password" (GBG GO with API users) or "id_auth" (GBG Identity Solution)`},

		{"url, http", tokenURL("http://gbg.test/token"), noPlainHTTP},
		{"url, http to an address", tokenURL("http://192.0.2.1/token"), noPlainHTTP},
		{"url, http to a private address", tokenURL("http://10.0.0.1/token"), noPlainHTTP},
		{"url, http to every address", tokenURL("http://0.0.0.0/token"), noPlainHTTP},
		{"url, http to every IPv6 address", tokenURL("http://[::]/token"), noPlainHTTP},
		{"url, http to 128.0.0.1", tokenURL("http://128.0.0.1/token"), noPlainHTTP},
		{"url, http to a name that begins with localhost", tokenURL("http://localhost.gbg.test/token"), noPlainHTTP},
		{"url, http to a name that ends in localhost", tokenURL("http://notlocalhost/token"), noPlainHTTP},
		{"url, http to a name that begins with 127.0.0.1", tokenURL("http://127.0.0.1.gbg.test/token"), noPlainHTTP},
		{"url, http to a short address", tokenURL("http://127.1/token"), noPlainHTTP},
		{"url, http to an address as a number", tokenURL("http://2130706433/token"), noPlainHTTP},
		{"url, ftp", tokenURL("ftp://gbg.test/token"), wantHTTPS},
		{"url, ftp to loopback", tokenURL("ftp://127.0.0.1/token"), wantHTTPS},
		{"url, file", tokenURL("file:///etc/passwd"), wantHTTPS},
		{"url, httpsx", tokenURL("httpsx://gbg.test/token"), wantHTTPS},
		{"url, no scheme", tokenURL("gbg.test/token"), wantHTTPS},
		{"url, no scheme but a port", tokenURL("gbg.test:443/token"), wantHTTPS},
		{"url, no scheme, an address and a port", tokenURL("127.0.0.1:8080/token"), noURL},
		{"url, two slashes only", tokenURL("//gbg.test/token"), wantHTTPS},
		{"url, empty scheme", tokenURL("://gbg.test/token"), noURL},
		{"url, a word", tokenURL("x"), wantHTTPS},
		{"url, user and password", tokenURL("https://user:fake-pass@gbg.test/token"), noUser},
		{"url, user", tokenURL("https://user@gbg.test/token"), noUser},
		{"url, empty user", tokenURL("https://@gbg.test/token"), noUser},
		{"url, loopback as user", tokenURL("http://127.0.0.1@gbg.test/token"), noUser},
		{"url, fragment", tokenURL("https://gbg.test/token#part"), noFragment},
		{"url, empty fragment", tokenURL("https://gbg.test/token#"), noFragment},
		{"url, fragment instead of a path", tokenURL("https://gbg.test#"), noFragment},
		{"url, no host", tokenURL("https:///token"), noHost},
		{"url, nothing but a scheme", tokenURL("https://"), noHost},
		{"url, nothing but a port", tokenURL("https://:443/token"), noHost},
		{"url, http without host", tokenURL("http:///token"), noHost},
		{"url, no slashes", tokenURL("https:gbg.test/token"), noHost},
		{"url, port that is a word", tokenURL("https://gbg.test:port/token"), noURL},
		{"url, port below zero", tokenURL("https://gbg.test:-1/token"), noURL},
		{"url, port 0", tokenURL("https://gbg.test:0/token"), noPort},
		{"url, port 65536", tokenURL("https://gbg.test:65536/token"), noPort},
		{"url, port beyond numbers", tokenURL("https://gbg.test:99999999999999999999/token"), noPort},
		{"url, two ports", tokenURL("https://gbg.test:1:2/token"), noURL},
		{"url, IPv6 without brackets", tokenURL("https://2001:db8::x/token"), noURL},
		{"url, bad escape", tokenURL("https://gbg.test/%zz"), noURL},
		{"url, space in the host", tokenURL("https://gbg test/token"), noURL},
		{"url, backslash", tokenURL(`https://gbg.test\@127.0.0.1/token`), noURL},
		{"url, newline", tokenURL("https://gbg.test/to\nken"), noControl},
		{"url, tab", tokenURL("https://gbg.test/to\tken"), noControl},
		{"url, NUL", tokenURL("https://gbg.test/token\x00"), noControl},
		{"url, DEL", tokenURL("https://gbg.test/to\x7fken"), noControl},
		{"url, C1", tokenURL("https://gbg.test/to\u009bken"), noControl},
		{"url, too long", tokenURL("https://gbg.test/" + strings.Repeat("x", 2049-len("https://gbg.test/"))), "token_url is longer than 2048 bytes"},

		{"scope, quote", scopeChange(`gbg."token`), noScope},
		{"scope, backslash", scopeChange(`gbg\token`), noScope},
		{"scope, NUL", scopeChange("gbg.token\x00"), noScope},
		{"scope, ESC", scopeChange("gbg.token\x1b[2J"), noScope},
		{"scope, DEL", scopeChange("gbg\x7ftoken"), noScope},
		{"scope, beyond ASCII", scopeChange("gbg.tökén"), noScope},
		{"scope, no UTF-8", scopeChange("gbg\xfftoken"), "scope is not UTF-8 text"},
		{"scope, too long", scopeChange(strings.Repeat("x", 4097)), "scope is longer than 4096 bytes"},

		{"refresh_before, zero", refreshBefore(0), noRefresh},
		{"refresh_before, negative", refreshBefore(-time.Minute), noRefresh},
		{"refresh_before, too short", refreshBefore(time.Second - 1), noRefresh},
		{"refresh_before, too long", refreshBefore(24*time.Hour + 1), noRefresh},
		{"request_timeout, zero", requestTimeout(0), noTimeout},
		{"request_timeout, negative", requestTimeout(-time.Second), noTimeout},
		{"request_timeout, too short", requestTimeout(time.Second - 1), noTimeout},
		{"request_timeout, too long", requestTimeout(time.Minute + 1), noTimeout},

		{"standby_check, too short", standbyCheck(10*time.Second - 1), "standby_check must be between 10s and 87600h0m0s, or 0 (off)"},
		{"standby_check, negative", standbyCheck(-1), "standby_check must be between 10s and 87600h0m0s, or 0 (off)"},

		{"ca_pem, no PEM", caPEM("not a certificate"), "ca_pem holds no PEM certificate"},
		{"ca_pem, cut off", caPEM(cert[:len(cert)-30]), "ca_pem holds no PEM certificate"},
		{
			"ca_pem, a key", caPEM("-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n-----END PRIVATE KEY-----"),
			`ca_pem holds a PEM block "PRIVATE KEY"; only CERTIFICATE is allowed`,
		},
		{
			"ca_pem, a certificate and a key", caPEM(cert + "\n-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n-----END PRIVATE KEY-----"),
			`ca_pem holds a PEM block "PRIVATE KEY"; only CERTIFICATE is allowed`,
		},
		{
			"ca_pem, a certificate that is none", caPEM("-----BEGIN CERTIFICATE-----\nZmFrZQ==\n-----END CERTIFICATE-----"),
			"ca_pem certificate 1 cannot be read: x509: malformed certificate",
		},
		{
			"ca_pem, a second certificate that is none", caPEM(cert + "\n-----BEGIN CERTIFICATE-----\nZmFrZQ==\n-----END CERTIFICATE-----"),
			"ca_pem certificate 2 cannot be read: x509: malformed certificate",
		},
		{"ca_pem, too long", caPEM(padded(cert, 256<<10+1)), "ca_pem is longer than 262144 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := newTarget(t)
			requireInputError(t, m.set(t, tc.change, twoClients()), tc.want)
			assert.Empty(t, m.stored(t), "on the first write")

			require.NoError(t, m.set(t, connection.Change{}, oneClient()))
			before := m.stored(t)
			requireInputError(t, m.set(t, tc.change, twoClients()), tc.want)
			assert.Equal(t, before, m.stored(t), "on a later write, the pair's part included")
			assert.Empty(t, m.read(t).Pair.Clients[connection.Paired])
			assert.Equal(t, defaultSettings, m.read(t).Settings)
		})
	}
}

func TestSettingsEmptyMeansDefaultAgain(t *testing.T) {
	t.Parallel()
	cert := fakeCertificate(t)
	custom := connection.Change{
		connection.GrantType: "client_credentials", connection.TokenURL: "https://gbg.test/token", connection.Scope: "other",
		connection.RefreshBefore: time.Minute, connection.RequestTimeout: 20 * time.Second, connection.CAPEM: cert,
	}
	for _, empty := range []string{"", " \n"} {
		m := newTarget(t)
		require.NoError(t, m.set(t, custom, twoClients()))
		change := connection.Change{connection.TokenURL: empty, connection.Scope: empty, connection.CAPEM: empty}
		if empty == "" {
			change[connection.GrantType] = empty
		}
		require.NoError(t, m.set(t, change, twoClients()))
		want := defaultSettings
		want.RefreshBefore, want.RequestTimeout = time.Minute, 20*time.Second
		assert.Equal(t, want, m.read(t).Settings)
		for _, setting := range []string{"token_url", "scope", "ca_pem"} {
			assert.NotContains(t, m.stored(t), setting)
		}
	}
}

func TestSettingsPartialWrites(t *testing.T) {
	t.Parallel()
	m := newTarget(t)
	require.NoError(t, m.set(t, tokenURL("https://gbg.test/token"), twoClients()))
	require.NoError(t, m.set(t, scopeChange("other"), connection.PairChange{}))
	require.NoError(t, m.set(t, refreshBefore(time.Minute), connection.PairChange{}))
	require.NoError(t, m.set(t, connection.Change{}, pairWrite("client_secret=fake-a2")))
	want := defaultSettings
	want.TokenURL, want.Scope, want.RefreshBefore = "https://gbg.test/token", "other", time.Minute
	conn := m.read(t)
	assert.Equal(t, want, conn.Settings)
	assert.Equal(t, "fake-a2", conn.Pair.Clients[connection.First].Secret.Reveal())
	assert.Equal(t, "fake-b1", conn.Pair.Clients[connection.Paired].Secret.Reveal())
}

// Only those who know the secrets may change where they are sent.
func TestSettingsNewTokenURLWantsSecrets(t *testing.T) {
	t.Parallel()
	const (
		noFirst  = "client_secret is missing: a write that changes token_url must give the secrets of both clients again, so that no stored secret is sent to a new address"
		noPaired = "paired_client_secret is missing: a write that changes token_url must give the secrets of both clients again, so that no stored secret is sent to a new address"
		custom   = "https://gbg.test/token"
	)
	secrets := pairWrite("client_secret=fake-a1", "paired_client_secret=fake-b1")
	for _, tc := range []struct {
		name     string
		was, url string
		has, add connection.PairChange
		want     string
	}{
		{"set for the first time, no secret", "", custom, twoClients(), pairWrite(), noFirst},
		{"set for the first time, first's secret", "", custom, twoClients(), pairWrite("client_secret=fake-a1"), noPaired},
		{"set for the first time, paired's secret", "", custom, twoClients(), pairWrite("paired_client_secret=fake-b1"), noFirst},
		{"set for the first time, both", "", custom, twoClients(), secrets, ""},
		{"set for the first time, both new", "", custom, twoClients(), pairWrite("client_secret=fake-a2", "paired_client_secret=fake-b2"), ""},
		{"changed", custom, custom + "/2", twoClients(), pairWrite(), noFirst},
		{"changed in case only", custom, "https://gbg.test/Token", twoClients(), pairWrite(), noFirst},
		{"changed, both", custom, custom + "/2", twoClients(), secrets, ""},
		{"default again", custom, "", twoClients(), pairWrite(), noFirst},
		{"default again, both", custom, "", twoClients(), secrets, ""},
		{"default by name again", custom, connection.DefaultTokenURL, twoClients(), pairWrite(), noFirst},
		{"no pair, no secret", "", custom, oneClient(), pairWrite(), noFirst},
		{"no pair, its secret", "", custom, oneClient(), pairWrite("client_secret=fake-a1"), ""},
		{"pair added", "", custom, oneClient(), pairWrite("paired_client_id=id-b", "paired_client_secret=fake-b1"), noFirst},
		{"pair added, both", "", custom, oneClient(), twoClients(), ""},
		{"pair removed", "", custom, twoClients(), pairWrite("paired_client_id="), noFirst},
		{"pair removed, the other's secret", "", custom, twoClients(), pairWrite("paired_client_id=", "client_secret=fake-a1"), ""},
		{"swapped", "", custom, twoClients(), pairWrite("client_id=id-b", "paired_client_id=id-a"), noFirst},
		{"swapped, one", "", custom, twoClients(), pairWrite("client_id=id-b", "client_secret=fake-b1", "paired_client_id=id-a"), noPaired},
		{
			"replaced by new clients", "", custom, twoClients(),
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-d", "paired_client_secret=fake-d1"), "",
		},
		{"replaced by one new client", "", custom, twoClients(), pairWrite("client_id=id-c", "client_secret=fake-c1"), noPaired},
		{"the same", custom, custom, twoClients(), pairWrite(), ""},
		{"the same with spaces", custom, custom + "\n", twoClients(), pairWrite(), ""},
		{"still the default", "", "", twoClients(), pairWrite(), ""},
		{"the default by name", "", connection.DefaultTokenURL, twoClients(), pairWrite(), ""},
		{"the default, no longer by name", connection.DefaultTokenURL, "", twoClients(), pairWrite(), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := newTarget(t)
			require.NoError(t, m.set(t, tokenURL(tc.was), tc.has))
			before := m.stored(t)
			err := m.set(t, tokenURL(tc.url), tc.add)
			if tc.want != "" {
				requireInputError(t, err, tc.want)
				assert.Equal(t, before, m.stored(t))
				return
			}
			require.NoError(t, err)
			want := strings.TrimSpace(tc.url)
			if want == "" {
				want = connection.DefaultTokenURL
			}
			assert.Equal(t, want, m.read(t).Settings.TokenURL)
		})
	}
}

func TestSettingsClientTexts(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		name     string
		field    connection.Field
		given    string
		want     string
		problem  string
		asSecret bool
	}{
		{field: connection.ClientID, name: "trimmed", given: " \tid-c\r\n", want: "id-c"},
		{field: connection.ClientID, name: "space inside", given: "id c", want: "id c"},
		{field: connection.ClientID, name: "as long as may be", given: long(512) + "\n", want: long(512)},
		{field: connection.ClientID, name: "too long", given: long(513), problem: "is longer than 512 bytes"},
		{field: connection.ClientID, name: "newline inside", given: "id\nc", problem: "has control characters"},
		{field: connection.ClientID, name: "NUL", given: "id-c\x00", problem: "has control characters"},
		{field: connection.ClientID, name: "DEL", given: "id\x7fc", problem: "has control characters"},
		{field: connection.ClientID, name: "C1", given: "id\u009bc", problem: "has control characters"},
		{field: connection.ClientID, name: "blank", given: " \n", problem: "is empty: give a value or leave the field out"},

		{field: connection.PairedClientID, name: "trimmed", given: "\n id-c ", want: "id-c"},
		{field: connection.PairedClientID, name: "as long as may be", given: long(512), want: long(512)},
		{field: connection.PairedClientID, name: "too long", given: long(513), problem: "is longer than 512 bytes"},
		{field: connection.PairedClientID, name: "newline inside", given: "id\nc", problem: "has control characters"},
		{field: connection.PairedClientID, name: "equal once trimmed", given: "id-a\n", problem: "is the same as client_id; a pair is two different clients"},
		{field: connection.PairedClientID, name: "blank", given: " \n", problem: ""},

		{field: connection.ClientSecret, name: "trimmed", given: "fake-c1\n", want: "fake-c1", asSecret: true},
		{field: connection.ClientSecret, name: "space inside", given: "fake c1", want: "fake c1", asSecret: true},
		{field: connection.ClientSecret, name: "beyond ASCII", given: "fake-é", want: "fake-é", asSecret: true},
		{field: connection.ClientSecret, name: "as long as may be", given: long(8192) + "\n", want: long(8192), asSecret: true},
		{field: connection.ClientSecret, name: "too long", given: long(8193), problem: "is longer than 8192 bytes"},
		{field: connection.ClientSecret, name: "newline inside", given: "fake\nc1", problem: "has control characters"},
		{field: connection.ClientSecret, name: "tab inside", given: "fake\tc1", problem: "has control characters"},
		{field: connection.ClientSecret, name: "NUL", given: "fake-c1\x00", problem: "has control characters"},
		{field: connection.ClientSecret, name: "blank", given: " \n", problem: "is empty: give a value or leave the field out"},

		{field: connection.PairedClientSecret, name: "trimmed", given: "\tfake-c1\r\n", want: "fake-c1", asSecret: true},
		{field: connection.PairedClientSecret, name: "as long as may be", given: long(8192), want: long(8192), asSecret: true},
		{field: connection.PairedClientSecret, name: "too long", given: long(8193), problem: "is longer than 8192 bytes"},
		{field: connection.PairedClientSecret, name: "newline inside", given: "fake\nc1", problem: "has control characters"},
		{field: connection.PairedClientSecret, name: "blank", given: " \n", problem: "is empty: give a value or leave the field out"},
	} {
		t.Run(string(tc.field)+", "+tc.name, func(t *testing.T) {
			t.Parallel()
			m := newTarget(t)
			require.NoError(t, m.set(t, connection.Change{}, twoClients()))
			before := m.stored(t)

			fields := []string{string(tc.field) + "=" + tc.given}
			switch tc.field { // a new id brings a secret
			case connection.ClientID:
				fields = append(fields, "client_secret=fake-c1")
			case connection.PairedClientID:
				if strings.TrimSpace(tc.given) != "" {
					fields = append(fields, "paired_client_secret=fake-c1")
				}
			}
			err := m.set(t, connection.Change{}, pairWrite(fields...))
			if tc.problem != "" {
				requireInputError(t, err, string(tc.field)+" "+tc.problem)
				assert.NotContains(t, err.Error(), "fake")
				assert.Equal(t, before, m.stored(t))
				return
			}
			require.NoError(t, err)
			slot := connection.First
			if strings.HasPrefix(string(tc.field), "paired_") {
				slot = connection.Paired
			}
			got := m.read(t).Pair.Clients[slot]
			if tc.asSecret {
				assert.Equal(t, tc.want, got.Secret.Reveal())
			} else {
				assert.Equal(t, tc.want, got.ID)
			}
		})
	}
}

// What a caller gives stays the caller's: trimming does not reach it.
func TestSettingsChangeStaysTheCallers(t *testing.T) {
	t.Parallel()
	m := newTarget(t)
	change, scope := pairWrite("client_id= id-a\n", "client_secret= fake-a1\n"), " gbg.token\n"
	require.NoError(t, m.set(t, scopeChange(scope), change))
	assert.Equal(t, pairWrite("client_id= id-a\n", "client_secret= fake-a1\n"), change)

	*change.IDs[connection.First], *change.Secrets[connection.First] = "id-x", connection.NewSecret("fake-x")
	conn := m.read(t)
	assert.Equal(t, "id-a", conn.Pair.Active().ID)
	assert.Equal(t, "fake-a1", conn.Pair.Active().Secret.Reveal())
	conn.Pair.Clients[connection.First].ID, conn.Settings.Scope = "id-x", "x"
	assert.Equal(t, "id-a", m.read(t).Pair.Active().ID)
	assert.Equal(t, "gbg.token", m.read(t).Settings.Scope)
}

func grantType(v string) connection.Change { return connection.Change{connection.GrantType: v} }
func tokenURL(v string) connection.Change  { return connection.Change{connection.TokenURL: v} }
func scopeChange(v string) connection.Change {
	return connection.Change{connection.Scope: v}
}
func caPEM(v string) connection.Change { return connection.Change{connection.CAPEM: v} }
func refreshBefore(v time.Duration) connection.Change {
	return connection.Change{connection.RefreshBefore: v}
}

func requestTimeout(v time.Duration) connection.Change {
	return connection.Change{connection.RequestTimeout: v}
}

func wantURL(v string) func(*connection.Settings) {
	return func(s *connection.Settings) { s.TokenURL = v }
}

func wantScope(v string) func(*connection.Settings) {
	return func(s *connection.Settings) { s.Scope = v }
}

func wantRefreshBefore(v time.Duration) func(*connection.Settings) {
	return func(s *connection.Settings) { s.RefreshBefore = v }
}

func standbyCheck(v time.Duration) connection.Change {
	return connection.Change{connection.StandbyCheck: v}
}

func wantStandbyCheck(v time.Duration) func(*connection.Settings) {
	return func(s *connection.Settings) { s.StandbyCheck = v }
}

func wantRequestTimeout(v time.Duration) func(*connection.Settings) {
	return func(s *connection.Settings) { s.RequestTimeout = v }
}

func wantCA(v string) func(*connection.Settings) {
	return func(s *connection.Settings) { s.CAPEM = v }
}

// everyScopeCharacter is RFC 6749's NQCHAR: %x21, %x23-5B, %x5D-7E.
func everyScopeCharacter() string {
	var b strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		if c != '"' && c != '\\' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// padded puts text before a certificate, as bundles have it, up to a size.
func padded(cert string, size int) string {
	return strings.Repeat("#", size-len(cert)-1) + "\n" + cert
}

// fakeCertificate is a self-signed certificate, as PEM without a newline at its
// end.
func fakeCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}
