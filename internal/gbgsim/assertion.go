package gbgsim

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// assertionType is the client_assertion_type of a JWT (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	// maxAssertionLifetime is how far ahead the exp of an assertion may be.
	maxAssertionLifetime = 5 * time.Minute

	// assertionClockSkew is how far ahead the clock of a client may be.
	assertionClockSkew = 15 * time.Second
)

// assertionAlgorithms are those that the IdP accepts.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// Reasons why an assertion is refused, worded to follow "The client_assertion".
var (
	errMalformedAssertion = errors.New("is not a JWT of type " + assertionType)
	errUnregisteredKey    = errors.New("is not signed with a key that is registered for the client")
	errOtherClient        = errors.New("is not that of the client in iss, sub and client_id")
	errOtherAudience      = errors.New("is for another audience")
	errExpiredAssertion   = errors.New("has expired")
	errEarlyAssertion     = errors.New("was issued in the future, or has an exp too far ahead")
	errNoAssertionID      = errors.New("has no jti")
	errReplayedAssertion  = errors.New("has been used before")
)

// assertions verifies client assertions (RFC 7523, section 3). It is safe for
// concurrent use.
type assertions struct {
	mu   sync.Mutex
	keys map[*Client]*registeredKeys
	used map[string]map[string]time.Time // exp, by client id and jti
}

func newAssertions() *assertions {
	return &assertions{keys: map[*Client]*registeredKeys{}, used: map[string]map[string]time.Time{}}
}

// register replaces the keys of a client. Nil removes them.
func (a *assertions) register(client *Client, keys *registeredKeys) {
	a.mu.Lock()
	defer a.mu.Unlock()

	if keys == nil {
		delete(a.keys, client)

		return
	}
	a.keys[client] = keys
}

// keysOf returns the keys of a client, which may be nil, or nil if it has none.
func (a *assertions) keysOf(client *Client) *registeredKeys {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.keys[client]
}

// check refuses a request whose assertion is not valid. keys are those of the client,
// or nil if it has none.
func (a *assertions) check(ctx context.Context, keys *registeredKeys, request tokenRequest) *oauthError {
	if err := a.verify(ctx, keys, request); err != nil {
		refused := invalidClient()
		refused.Description = "The client_assertion " + err.Error() + "."

		return refused
	}

	return nil
}

func (a *assertions) verify(ctx context.Context, keys *registeredKeys, request tokenRequest) error {
	parsed, err := jwt.ParseSigned(request.form.Get("client_assertion"), assertionAlgorithms)
	if err != nil || request.form.Get("client_assertion_type") != assertionType {
		return errMalformedAssertion
	}
	if keys == nil {
		return errUnregisteredKey
	}
	key := keys.find(ctx, parsed.Headers[0])
	var claims jwt.Claims
	if key == nil || parsed.Claims(key, &claims) != nil {
		return errUnregisteredKey
	}
	now := time.Now()
	switch {
	case claims.Issuer != request.clientID, claims.Subject != request.clientID:
		return errOtherClient
	case !slices.Contains(claims.Audience, request.url) && !slices.Contains(claims.Audience, IDPIssuer):
		return errOtherAudience
	case claims.Expiry == nil, !now.Before(claims.Expiry.Time()):
		return errExpiredAssertion
	case claims.Expiry.Time().After(now.Add(maxAssertionLifetime)), claims.IssuedAt != nil && claims.IssuedAt.Time().After(now.Add(assertionClockSkew)):
		return errEarlyAssertion
	case claims.ID == "":
		return errNoAssertionID
	}

	return a.use(request.clientID, claims, now)
}

// use remembers an assertion until it expires.
func (a *assertions) use(clientID string, claims jwt.Claims, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	used := a.used[clientID]
	if used == nil {
		used = map[string]time.Time{}
		a.used[clientID] = used
	}
	for id, expires := range used {
		if !now.Before(expires) {
			delete(used, id)
		}
	}
	if _, replayed := used[claims.ID]; replayed {
		return errReplayedAssertion
	}
	used[claims.ID] = claims.Expiry.Time()

	return nil
}
