package gbgsim

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/go-cleanhttp"
)

// keysTimeout is the timeout of a request for the keys of an issuer.
const keysTimeout = 5 * time.Second

// Reasons why a JWT is invalid, worded to follow "The id_token".
var (
	errUntrustedIssuer = errors.New("is of an issuer that is not trusted here")
	errUnverified      = errors.New("cannot be verified with the keys that its issuer publishes")
	errNoSubject       = errors.New("has no subject")
)

// signatureAlgorithms are the asymmetric algorithms of JWS.
var signatureAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

// jwtVerifier verifies the signature, issuer and expiry of JWTs of trusted issuers,
// but not the audience. It is safe for concurrent use.
type jwtVerifier struct {
	mu        sync.Mutex
	verifiers map[string]*oidc.IDTokenVerifier // by issuer
}

type trustRequest struct {
	Issuer  string `json:"issuer"`
	JWKSURL string `json:"jwks_url"`
}

// TrustIssuer makes [IdentityTokenPath] also accept JWTs of another issuer (iss) as
// id_tokens, if they are signed with a key of the JWK Set (RFC 7517) at jwksURL and
// have not expired. Their audience is not checked.
//
// The keys are fetched for the first token, and again for a token with an unknown
// key. The certificate of an https URL must be trusted by the system. If the issuer
// is already trusted, TrustIssuer replaces its URL. TrustIssuer returns an error if
// the issuer is empty or [IDPIssuer], or if jwksURL is not an http or https URL.
func (s *Simulator) TrustIssuer(issuer, jwksURL string) error {
	switch issuer {
	case "":
		return errors.New("issuer is missing")
	case IDPIssuer:
		return fmt.Errorf("issuer %q is the simulator's own", issuer)
	}
	parsed, err := url.Parse(jwksURL)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return fmt.Errorf("jwks_url %q is not a URL with http or https", jwksURL)
	}

	client := cleanhttp.DefaultClient()
	client.Timeout = keysTimeout
	s.verifier.add(issuer, oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), client), jwksURL))

	return nil
}

func (s *Simulator) portalTrust(r *http.Request) (int, any, error) {
	var request trustRequest
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}

	return http.StatusNoContent, nil, s.TrustIssuer(request.Issuer, request.JWKSURL)
}

// newJWTVerifier returns a verifier that trusts the simulator's own IdP.
func newJWTVerifier(own jose.JSONWebKey) *jwtVerifier {
	t := &jwtVerifier{verifiers: map[string]*oidc.IDTokenVerifier{}}
	t.add(IDPIssuer, &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{own.Public().Key}})

	return t
}

func (t *jwtVerifier) add(issuer string, keys oidc.KeySet) {
	config := &oidc.Config{
		SkipClientIDCheck: true,
		// The verifier accepts a token at exactly its exp, but it has expired then
		// (RFC 7519, section 4.1.4).
		Now: func() time.Time { return time.Now().Add(time.Nanosecond) },
	}
	for _, algorithm := range signatureAlgorithms {
		config.SupportedSigningAlgs = append(config.SupportedSigningAlgs, string(algorithm))
	}

	t.mu.Lock()
	defer t.mu.Unlock()

	t.verifiers[issuer] = oidc.NewVerifier(issuer, keys, config)
}

// verify returns the subject of a JWT. It returns [errUnknownToken] if idToken is
// not a JWT. Errors do not contain any part of the token.
func (t *jwtVerifier) verify(ctx context.Context, idToken string) (subject string, err error) {
	parsed, err := jwt.ParseSigned(idToken, signatureAlgorithms)
	if err != nil {
		return "", errUnknownToken
	}
	var unverified jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return "", errUnknownToken
	}
	verifier, ok := t.verifier(unverified.Issuer)
	if !ok {
		return "", errUntrustedIssuer
	}
	verified, err := verifier.Verify(ctx, idToken)
	var expired *oidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return "", errExpiredToken
	case err != nil:
		return "", errUnverified
	case verified.Subject == "":
		return "", errNoSubject
	}

	return verified.Subject, nil
}

func (t *jwtVerifier) verifier(issuer string) (*oidc.IDTokenVerifier, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()

	verifier, ok := t.verifiers[issuer]

	return verifier, ok
}
