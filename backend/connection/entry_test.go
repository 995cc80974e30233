// This test is inside the package: the stored form has no public face, and an
// entry of an older or newer release cannot be written through one.

package connection

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entrySecret is what the secrets in these entries begin with. No error may
// show it.
const entrySecret = "not-a-real-secret"

// The golden entries are what version 1 of the stored form looks like in the
// storage of those who run it. Never edit them: a form that no longer reads and
// writes them is another version.
const (
	goldenFull = `{"version":1,"grant_type":"client_credentials","token_url":"https://gbg.test/as/token.oauth2","scope":"gbg.token other",` +
		`"refresh_before":120000000000,"request_timeout":15000000000,"ca_pem":"-----BEGIN CERTIFICATE-----\nZmFrZQ==\n-----END CERTIFICATE-----",` +
		`"clients":[` +
		`{"id":"id-a","secret":"not-a-real-secret-a\u003c\u0026\"\\é","secret_set_time":"2026-01-02T03:04:05.123456789Z","verified_time":"2026-01-02T03:04:06Z","secret_served":true},` +
		`{"id":"id-b","secret":"not-a-real-secret-b","secret_set_time":"2026-01-03T03:04:05Z","verified_time":"2026-01-03T03:04:06+02:00","secret_served":true}],` +
		`"active_slot":1,"rotation_time":"2026-01-04T00:00:00.5Z","rotation_cause":"rotate","regenerate_after":"2026-01-04T01:00:00Z","token_lifetime":3600000000000}`

	goldenMinimal = `{"version":1,"clients":[{"id":"id-a","secret":"not-a-real-secret-a"}],"active_slot":0}`
)

func goldenFullConnection() *Connection {
	return &Connection{
		Settings: Settings{
			GrantType:      "client_credentials",
			TokenURL:       "https://gbg.test/as/token.oauth2",
			Scope:          "gbg.token other",
			RefreshBefore:  2 * time.Minute,
			RequestTimeout: 15 * time.Second,
			CAPEM:          "-----BEGIN CERTIFICATE-----\nZmFrZQ==\n-----END CERTIFICATE-----",
		},
		Pair: Pair{
			Clients: [2]Client{
				{
					ID: "id-a", Secret: NewSecret(entrySecret + `-a<&"\é`),
					SecretSetTime: time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC),
					VerifiedTime:  time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
					SecretServed:  true,
				},
				{
					ID: "id-b", Secret: NewSecret(entrySecret + "-b"),
					SecretSetTime: time.Date(2026, 1, 3, 3, 4, 5, 0, time.UTC),
					VerifiedTime:  time.Date(2026, 1, 3, 3, 4, 6, 0, time.FixedZone("", 2*60*60)),
					SecretServed:  true,
				},
			},
			ActiveSlot: Paired,
		},
		Rotation: RotationRecord{
			Time:            time.Date(2026, 1, 4, 0, 0, 0, 5e8, time.UTC),
			Cause:           CauseRotate,
			RegenerateAfter: time.Date(2026, 1, 4, 1, 0, 0, 0, time.UTC),
		},
		TokenLifetime: time.Hour,
	}
}

func goldenMinimalConnection() *Connection {
	return &Connection{Pair: Pair{Clients: [2]Client{{ID: "id-a", Secret: NewSecret(entrySecret + "-a")}}}}
}

// fullConnection has something in every field: the golden one, and what came
// after it.
func fullConnection() *Connection {
	c := goldenFullConnection()
	c.Settings.GrantType = GrantIDAuth
	c.Settings.ClientID = "id-o"
	c.Settings.ClientSecret = NewSecret(entrySecret + "-o")
	c.Settings.IDPTokenURL = "https://idp.test/token"
	c.Settings.IDPScope = "gbg/.default"
	c.Settings.IDPAuthMethod = AuthSecretBasic
	c.Settings.IDPParams = "audience=https%3A%2F%2Fgbg.test"
	c.Settings.IDPAudience = "https://idp.test"
	c.Settings.KeyAlgorithm = "ES256"
	c.Settings.ExchangeClientID = "id-x"
	c.Settings.ExchangeClientSecret = NewSecret(entrySecret + "-x")
	c.Settings.Lease = true
	c.Settings.RevokeURL = "https://gbg.test/as/revoke_token.oauth2"
	c.Settings.NoFailover = true
	c.Settings.MaxSecretAge = 90 * 24 * time.Hour
	c.Settings.StandbyCheck = -1
	for slot := range c.Pair.Clients {
		c.Pair.Clients[slot].Claims = `{"roles":"ZGlnZXN0"}`
		c.Pair.Clients[slot].Refusal = Refusal{
			Error: "GBG refused the client", Result: "client_refused", AtExchange: true, OfOrganization: true,
			Time: time.Date(2026, 1, 5, slot, 0, 0, 0, time.UTC),
		}
	}
	c.Settings.RotationSchedule = "0 3 * * *"
	c.Settings.RotationPeriod = time.Hour
	c.Settings.RotationWindow = 2 * time.Hour
	c.Settings.DisableAutomatedRotation = true
	c.Schedule = ScheduleRecord{SetTime: time.Date(2026, 1, 5, 0, 0, 0, 5e8, time.UTC), MetTime: time.Date(2026, 1, 6, 3, 0, 0, 0, time.UTC)}
	return c
}

// inUTC returns a copy with times in UTC, so that it can be compared with ==.
func inUTC(c *Connection) Connection {
	u := *c
	u.Rotation.Time, u.Rotation.RegenerateAfter = u.Rotation.Time.UTC(), u.Rotation.RegenerateAfter.UTC()
	u.Schedule = ScheduleRecord{SetTime: u.Schedule.SetTime.UTC(), MetTime: u.Schedule.MetTime.UTC()}
	for slot := range u.Pair.Clients {
		client := &u.Pair.Clients[slot]
		client.SecretSetTime, client.VerifiedTime = client.SecretSetTime.UTC(), client.VerifiedTime.UTC()
		client.Refusal.Time = client.Refusal.Time.UTC()
	}
	return u
}

func TestEntryGolden(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, stored string
		want         *Connection
	}{
		{"full", goldenFull, goldenFullConnection()},
		{"minimal", goldenMinimal, goldenMinimalConnection()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := Decode("team-a", []byte(tc.stored))
			require.NoError(t, err)
			assert.True(t, inUTC(tc.want) == inUTC(got), "want %+v\ngot  %+v", inUTC(tc.want), inUTC(got))
			for slot := range got.Pair.Clients {
				assert.Equal(t, tc.want.Pair.Clients[slot].Secret.Reveal(), got.Pair.Clients[slot].Secret.Reveal())
			}
			again, err := got.Encode()
			require.NoError(t, err)
			assert.Equal(t, tc.stored, string(again), "an entry that was read is written back as it was")
			fresh, err := tc.want.Encode()
			require.NoError(t, err)
			assert.Equal(t, tc.stored, string(fresh))
		})
	}
}

func TestEntryRoundTrip(t *testing.T) {
	t.Parallel()
	full := fullConnection()
	requireFilled(t, "Connection", reflect.ValueOf(*full))
	for name, secret := range map[string]string{
		"first active":   entrySecret,
		"markup":         entrySecret + `</script>&amp;`,
		"quotes":         entrySecret + `"'\/` + "`",
		"beyond ASCII":   entrySecret + "é\u2028\u2029\uFFFD\U0001F511",
		"spaces inside":  entrySecret + " \u00a0 x",
		"looks like one": `","secret":"` + entrySecret,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, conn := range []*Connection{full, goldenMinimalConnection()} {
				want := *conn
				want.Pair.ActiveSlot = First
				want.Pair.Clients[First].Secret = NewSecret(secret)
				stored, err := want.Encode()
				require.NoError(t, err)
				got, err := Decode("team-a", stored)
				require.NoError(t, err)
				assert.Equal(t, secret, got.Pair.Clients[First].Secret.Reveal())
				assert.True(t, inUTC(&want) == inUTC(got), "want %+v\ngot  %+v", want, *got)
			}
		})
	}
}

// requireFilled checks that no part of the full connection is empty: an empty field
// would not be tested.
func requireFilled(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	if v.Type() == reflect.TypeFor[Key]() {
		return // a client has a secret or a key: see TestEntryWithKeys
	}
	require.False(t, v.IsZero(), "%s is empty: fill it in fullConnection", path)
	if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[Secret]() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			requireFilled(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			requireFilled(t, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	}
}

// A connection for callers' own tokens has no clients, and any other has.
func TestEntryWithoutClients(t *testing.T) {
	t.Parallel()
	const secret = `,"clients":[{"id":"id-a","secret":"not-a-real-secret"}]`
	for stored, whole := range map[string]bool{
		`{"version":1,"grant_type":"id_auth","active_slot":0}`:                                                        true,
		`{"version":1,"grant_type":"id_auth","active_slot":1}`:                                                        false,
		`{"version":1,"grant_type":"id_auth"` + secret + `,"active_slot":0}`:                                          false,
		`{"version":1,"grant_type":"id_auth","idp_token_url":"https://idp.test/token","active_slot":0}`:               false,
		`{"version":1,"grant_type":"id_auth","idp_token_url":"https://idp.test/token"` + secret + `,"active_slot":0}`: true,
		`{"version":1,"active_slot":0}`:                                                                               false,
		`{"version":1,"grant_type":"client_credentials","active_slot":0}`:                                             false,
	} {
		conn, err := Decode("team-a", []byte(stored))
		if !whole {
			require.EqualError(t, err, `connection "team-a": its storage entry is damaged: delete the connection and write it again`, stored)
			continue
		}
		require.NoError(t, err, stored)
		again, err := conn.Encode()
		require.NoError(t, err)
		assert.JSONEq(t, stored, strings.Replace(string(again), `,"secret_set_time":"0001-01-01T00:00:00Z"`, "", 1))
	}
}

// An entry has the first version as long as the first release would do what it says, and
// would keep all of it.
func TestEntryVersion(t *testing.T) {
	t.Parallel()
	for version, conns := range map[string][]*Connection{
		`"version":1`: {goldenFullConnection(), goldenMinimalConnection(), idpConnection(AuthSecretPost, ""), withSettings(Settings{StandbyCheck: DefaultStandbyCheck})},
		`"version":2`: {
			idpConnection(AuthSecretBasic, ""), idpConnection("", "audience=a"), idpConnection(AuthPrivateKey, ""),
			withSettings(Settings{GrantType: GrantPassword}), withSettings(Settings{StandbyCheck: time.Hour}), withSettings(Settings{StandbyCheck: -1}),
			withSettings(Settings{RotationSchedule: "0 3 * * *"}), withSettings(Settings{RotationPeriod: time.Hour}),
			withSettings(Settings{RotationWindow: time.Hour}), withSettings(Settings{DisableAutomatedRotation: true}),
		},
	} {
		for _, c := range conns {
			stored, err := c.Encode()
			require.NoError(t, err)
			assert.Contains(t, string(stored), version)
		}
	}
}

// withSettings returns a connection with these settings.
func withSettings(s Settings) *Connection {
	c := goldenMinimalConnection()
	c.Settings = s
	return c
}

// idpConnection returns a connection with clients of an identity provider.
func idpConnection(authMethod string, params Params) *Connection {
	c := goldenMinimalConnection()
	c.Settings = Settings{GrantType: GrantIDAuth, IDPTokenURL: "https://idp.test/token", IDPAuthMethod: authMethod, IDPParams: params}
	return c
}

func TestEntryEqualConnectionsEncodeEqual(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func() *Connection{"full": fullConnection, "minimal": goldenMinimalConnection} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := build(), build()
			first, err := a.Encode()
			require.NoError(t, err)
			second, err := b.Encode()
			require.NoError(t, err)
			assert.Equal(t, string(first), string(second))
			assert.True(t, a.Equal(b))

			b.Pair.Clients[First].Secret = NewSecret(entrySecret + "-other")
			other, err := b.Encode()
			require.NoError(t, err)
			assert.NotEqual(t, string(first), string(other))
			assert.False(t, a.Equal(b))
		})
	}
	// A moment that the clock gave and the same one read back from storage.
	now := time.Now().UTC()
	a, b := goldenMinimalConnection(), goldenMinimalConnection()
	a.Pair.Clients[First].SecretSetTime, b.Pair.Clients[First].SecretSetTime = now, now.Round(0)
	assert.True(t, a.Equal(b), "the monotonic clock's reading is not stored")
	assert.False(t, (*Connection)(nil).Equal(a))
}

func TestEntryNewerVersion(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]string{
		"same shape":                 strings.Replace(goldenFull, `"version":1`, `"version":3`, 1),
		"more fields":                strings.Replace(goldenFull, `"version":1`, `"version":3,"tenant":{"id":7}`, 1),
		"no clients":                 `{"version":3,"pairs":[{"secret":"not-a-real-secret"}]}`,
		"a field of another kind":    `{"version":3,"clients":{"first":{"id":"id-a","secret":"not-a-real-secret"}},"active_slot":"first"}`,
		"a time of another form":     `{"version":3,"clients":[{"id":"id-a","secret":"not-a-real-secret","secret_set_time":1767225600}],"active_slot":0}`,
		"version after another kind": `{"clients":"not-a-real-secret","version":3}`,
		"a time before the version":  `{"rotation_time":"not-a-real-secret","version":3}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Decode("team-a", []byte(stored))
			require.EqualError(t, err, `connection "team-a": its storage entry has version 3, this release of the plugin reads up to version 2: run the release that wrote it, or a newer one`)
			assert.Nil(t, c)
		})
	}
	_, err := Decode("team-a", []byte(strings.Replace(goldenMinimal, `"version":1`, `"version":1234`, 1)))
	assert.ErrorContains(t, err, "version 1234")
}

// damagedEntries are by what is wrong with them.
func damagedEntries() map[string]string {
	const a, b = `{"id":"id-a","secret":"not-a-real-secret"}`, `{"id":"id-b","secret":"not-a-real-secret-b"}`
	entry := func(clients, activeSlot string) string {
		return `{"version":1,"clients":` + clients + `,"active_slot":` + activeSlot + `}`
	}
	return map[string]string{
		"empty":                        "",
		"null":                         "null",
		"not JSON":                     "not-a-real-secret",
		"not an object, text":          `"not-a-real-secret"`,
		"not an object, list":          `["not-a-real-secret"]`,
		"an object with nothing in it": "{}",
		"more after it":                goldenMinimal + "not-a-real-secret",
		"twice":                        goldenMinimal + goldenMinimal,
		"binary":                       "\x00\xff\xfenot-a-real-secret",

		"no clients":                     `{"version":1,"active_slot":0,"secret":"not-a-real-secret"}`,
		"null clients":                   entry("null", "0"),
		"empty clients":                  entry("[]", "0"),
		"three clients":                  entry("["+a+","+b+`,{"id":"id-c","secret":"not-a-real-secret-c"}]`, "0"),
		"clients of another kind":        entry(a, "0"),
		"client that is text":            entry(`["not-a-real-secret"]`, "0"),
		"client that is null":            entry("[null]", "0"),
		"client that is empty":           entry("[{}]", "0"),
		"client without id":              entry(`[{"secret":"not-a-real-secret"}]`, "0"),
		"client with empty id":           entry(`[{"id":"","secret":"not-a-real-secret"}]`, "0"),
		"client without secret":          entry(`[{"id":"id-a"}]`, "0"),
		"client with empty secret":       entry(`[{"id":"id-a","secret":""}]`, "0"),
		"paired client without id":       entry("["+a+`,{"secret":"not-a-real-secret"}]`, "0"),
		"paired client without secret":   entry("["+a+`,{"id":"id-b"}]`, "0"),
		"first of two without id":        entry(`[{"secret":"not-a-real-secret"},`+b+"]", "1"),
		"first of two without secret":    entry(`[{"id":"id-a"},`+b+"]", "1"),
		"two clients with one id":        entry("["+a+","+a+"]", "0"),
		"secret of another kind, number": entry(`[{"id":"id-a","secret":1234567890}]`, "0"),
		"secret of another kind, list":   entry(`[{"id":"id-a","secret":["not-a-real-secret"]}]`, "0"),
		"secret where a time should be":  entry(`[{"id":"id-a","secret":"x","secret_set_time":"not-a-real-secret"}]`, "0"),

		"active slot negative":                 entry("["+a+","+b+"]", "-1"),
		"active slot 1 of one":                 entry("["+a+"]", "1"),
		"active slot 2 of two":                 entry("["+a+","+b+"]", "2"),
		"active slot far out":                  entry("["+a+","+b+"]", "9223372036854775807"),
		"active slot beyond numbers":           entry("["+a+","+b+"]", "9223372036854775808"),
		"active slot between":                  entry("["+a+","+b+"]", "0.5"),
		"active slot text":                     entry("["+a+","+b+"]", `"not-a-real-secret"`),
		"version 0":                            strings.Replace(goldenFull, `"version":1`, `"version":0`, 1),
		"version missing":                      strings.Replace(goldenFull, `"version":1,`, "", 1),
		"version negative":                     strings.Replace(goldenFull, `"version":1`, `"version":-1`, 1),
		"version null":                         strings.Replace(goldenFull, `"version":1`, `"version":null`, 1),
		"version text":                         strings.Replace(goldenFull, `"version":1`, `"version":"not-a-real-secret"`, 1),
		"version between":                      strings.Replace(goldenFull, `"version":1`, `"version":1.5`, 1),
		"duration text":                        strings.Replace(goldenFull, "120000000000", `"not-a-real-secret"`, 1),
		"duration beyond numbers":              strings.Replace(goldenFull, "120000000000", "1e300", 1),
		"rotation time that is none":           strings.Replace(goldenFull, "2026-01-04T00:00:00.5Z", "not-a-real-secret", 1),
		"url of another kind":                  strings.Replace(goldenFull, `"https://gbg.test/as/token.oauth2"`, "{}", 1),
		"a control character inside of a text": strings.Replace(goldenMinimal, "real", "re\nal", 1),
	}
}

func TestEntryDamaged(t *testing.T) {
	t.Parallel()
	for name, stored := range damagedEntries() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireDamaged(t, stored)
		})
	}
	t.Run("cut off anywhere", func(t *testing.T) {
		t.Parallel()
		for end := range len(goldenFull) {
			requireDamaged(t, goldenFull[:end])
		}
	})
}

func requireDamaged(t *testing.T, stored string) {
	t.Helper()
	c, err := Decode("team-a", []byte(stored))
	require.EqualError(t, err, `connection "team-a": its storage entry is damaged: delete the connection and write it again`, "%s", stored)
	require.Nil(t, c)
}

// FuzzDecode: no entry makes the plugin panic, an error never shows a secret,
// and what can be read is a whole connection that survives being written.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(goldenFull))
	f.Add([]byte(goldenMinimal))
	damaged := damagedEntries()
	for _, name := range slices.Sorted(maps.Keys(damaged)) {
		f.Add([]byte(damaged[name]))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		c, err := Decode("team-a", stored)
		if err != nil {
			require.Nil(t, c)
			require.NotContains(t, err.Error(), entrySecret)
			return
		}
		require.NotEmpty(t, c.Pair.Active().ID)
		require.NotEmpty(t, c.Pair.Clients[First].ID)
		for _, client := range c.Pair.Clients {
			require.Equal(t, client.ID == "", client.Secret.IsEmpty())
		}

		encoded, err := c.Encode()
		require.NoError(t, err)
		again, err := Decode("team-a", encoded)
		require.NoError(t, err, "written as %s", encoded)
		require.True(t, inUTC(c) == inUTC(again), "read %+v\nthen %+v", *c, *again)
		encodedAgain, err := again.Encode()
		require.NoError(t, err)
		require.True(t, bytes.Equal(encoded, encodedAgain), "written as %s\nthen    as %s", encoded, encodedAgain)
	})
}

// A newer release may add a field without another version. This one reads past it,
// and writes what it knows: docs/upgrading.md says so.
func TestEntryWithAFieldOfANewerRelease(t *testing.T) {
	t.Parallel()
	conn, err := Decode("team-a", []byte(strings.Replace(goldenMinimal, "{", `{"newer":[{"secret":"`+entrySecret+`"}],`, 1)))
	require.NoError(t, err)
	stored, err := conn.Encode()
	require.NoError(t, err)
	assert.JSONEq(t, goldenMinimal, string(stored))
}
