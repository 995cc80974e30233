package backend

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// issued is a token that was requested at testNow.
func issued(lifetime time.Duration, s connection.Settings) *token {
	r := connection.Request{Clients: gbgauth.ClientCredentials{TokenURL: "https://gbg.test/token", ClientID: "id-a", Scope: "gbg.token other"}}
	return exact().newToken(r, &issuedToken{Token: &gbgauth.Token{Lifetime: lifetime, Scope: "gbg.token"}, sent: testNow}, s)
}

func TestTokenTimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                    string
		lifetime, refreshBefore time.Duration
		overlap, lead, rotation time.Duration
	}{
		{"default", time.Hour, 0, 5 * time.Minute, 5 * time.Second, 55 * time.Minute},
		{"as configured", time.Hour, 10 * time.Minute, 10 * time.Minute, 5 * time.Second, 50 * time.Minute},
		{"a third at most", 6 * time.Minute, 0, 2 * time.Minute, 5 * time.Second, 4 * time.Minute},
		{"a lead of a tenth at most", 90 * time.Second, 0, 30 * time.Second, 3 * time.Second, time.Minute},
		{"a second at least", time.Second, 0, time.Second / 3, time.Second / 30, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			token := issued(tc.lifetime, connection.Settings{RefreshBefore: tc.refreshBefore})
			assert.Equal(t, tc.lifetime, token.lifetime())
			assert.Equal(t, tc.overlap, token.overlap)
			assert.InDelta(t, tc.lead, token.lead, 1)
			assert.Equal(t, tc.rotation, token.rotationPeriod())
			assert.Equal(t, testNow.Add(tc.lifetime-tc.overlap), token.refreshTime())
			assert.Equal(t, token.refreshTime().Add(-token.lead), token.refreshStart())
		})
	}
}

func TestTokenLeft(t *testing.T) {
	t.Parallel()
	assert.Zero(t, (*token)(nil).left(testNow))
	token := issued(time.Hour, connection.Settings{})
	assert.Equal(t, time.Hour, token.left(testNow))
	assert.Equal(t, time.Minute, token.left(testNow.Add(59*time.Minute)))
	assert.Zero(t, token.left(testNow.Add(time.Hour)))
	assert.Equal(t, -time.Second, token.left(testNow.Add(time.Hour+time.Second)))
}

func TestTokenScopes(t *testing.T) {
	t.Parallel()
	token := issued(time.Hour, connection.Settings{})
	assert.Equal(t, "gbg.token", token.scope)
	assert.Equal(t, []string{`GBG granted client "id-a" less than was asked for: "other" is missing (granted: "gbg.token")`}, token.warnings())

	for _, tc := range []struct{ asked, granted, missing string }{
		{"", "", ""},
		{"", "a b", ""},
		{"a", "a", ""},
		{"a b", "b a", ""},
		{"a b", "b", "a"},
		{"a b c", "x", "a b c"},
		{"a", "aa", "a"},
	} {
		assert.Equal(t, tc.missing, missingScopes(tc.asked, tc.granted), "%q of %q", tc.granted, tc.asked)
	}
}
