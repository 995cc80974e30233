package gbgauth

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// AssertionType is the client_assertion_type of a JWT (RFC 7523 section 2.2).
	AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// AssertionLifetime is how long an assertion is valid.
	AssertionLifetime = time.Minute

	// minClockDifference is the clock difference that may be why an assertion was
	// refused.
	minClockDifference = 15 * time.Second
)

// assertion returns a new JWT by which a client authenticates at an endpoint (RFC 7523
// section 3). It has no nbf: iat says the same, and a server that knows it may allow for
// a difference between clocks.
func (k Key) assertion(clientID, audience string, now time.Time) (Secret, error) {
	private, err := k.signer()
	if err != nil {
		return Secret{}, err
	}
	public, err := k.Public()
	if err != nil {
		return Secret{}, err
	}
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", public.ID).
		WithHeader("x5t", public.X5T).WithHeader("x5t#S256", public.X5TS256)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: private}, options)
	if err != nil {
		return Secret{}, err
	}
	signed, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:   clientID,
		Subject:  clientID,
		Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(now),
		Expiry:   jwt.NewNumericDate(now.Add(AssertionLifetime)),
		ID:       rand.Text(),
	}).Serialize()
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(signed), nil
}

// clockNote returns a note on the difference between the endpoint's clock and now, by
// which an assertion was sent, and "" if it is no reason to refuse one.
func (r *response) clockNote(now time.Time) string {
	difference := r.date.Sub(now).Round(time.Second)
	if r.date.IsZero() || difference.Abs() < minClockDifference {
		return ""
	}
	direction := "ahead of"
	if difference < 0 {
		direction = "behind"
	}
	return fmt.Sprintf(" (the endpoint's clock is %s %s this host's: assertions are valid for %s)", difference.Abs(), direction, AssertionLifetime)
}
