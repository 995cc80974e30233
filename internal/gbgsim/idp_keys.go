package gbgsim

import (
	"context"
	"crypto/sha1" //nolint:gosec // x5t is defined as a SHA-1 thumbprint
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/go-cleanhttp"
)

// IDPKeys are the public keys of a client of the IdP, of which one must sign each of
// its assertions (private_key_jwt). The zero value means that the client has a secret.
type IDPKeys struct {
	// JWKS are keys that are found by the kid of an assertion.
	JWKS jose.JSONWebKeySet `json:"jwks"`

	// Certificates are PEM certificates that are found by the x5t or x5t#S256 of an
	// assertion.
	Certificates []string `json:"certificates"`

	// JWKSURL is the URL of a JWK Set that is fetched for every kid that is not known
	// yet.
	JWKSURL string `json:"jwks_url"`
}

// SetIDPKeys replaces the keys of a client of the IdP. As long as it has keys, its
// secret is refused. It returns [ErrUnknownClient] if there is no such client, and an
// error if a key is not public or a certificate cannot be read.
func (s *Simulator) SetIDPKeys(clientID string, keys IDPKeys) error {
	registered := &registeredKeys{url: keys.JWKSURL, byKeyID: map[string]jose.JSONWebKey{}, byThumbprint: map[string]any{}}
	for _, key := range keys.JWKS.Keys {
		if !key.IsPublic() || key.KeyID == "" {
			return errors.New("a key of jwks is not a public key with a kid")
		}
		registered.byKeyID[key.KeyID] = key
	}
	for _, text := range keys.Certificates {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return errors.New("a certificate is not PEM")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("a certificate cannot be read: %w", err)
		}
		bySHA1, bySHA256 := sha1.Sum(block.Bytes), sha256.Sum256(block.Bytes) //nolint:gosec // as above
		registered.byThumbprint[base64.RawURLEncoding.EncodeToString(bySHA1[:])] = certificate.PublicKey
		registered.byThumbprint[base64.RawURLEncoding.EncodeToString(bySHA256[:])] = certificate.PublicKey
	}
	if len(registered.byKeyID) == 0 && len(registered.byThumbprint) == 0 && registered.url == "" {
		registered = nil
	}

	return s.idp.updateClient(clientID, func(client *Client) { s.assertions.register(client, registered) })
}

func (s *Simulator) portalSetIDPKeys(r *http.Request) (int, any, error) {
	var request IDPKeys
	if err := readJSON(r, &request); err != nil {
		return 0, nil, err
	}

	return http.StatusNoContent, nil, s.SetIDPKeys(r.PathValue("id"), request)
}

// registeredKeys are the keys of one client. It is safe for concurrent use.
type registeredKeys struct {
	url          string
	byThumbprint map[string]any

	mu      sync.Mutex
	byKeyID map[string]jose.JSONWebKey
}

// find returns the public key that a header names, and nil if there is none.
func (k *registeredKeys) find(ctx context.Context, header jose.Header) any {
	for _, name := range []jose.HeaderKey{"x5t#S256", "x5t"} {
		if thumbprint, ok := header.ExtraHeaders[name].(string); ok && k.byThumbprint[thumbprint] != nil {
			return k.byThumbprint[thumbprint]
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()

	key, ok := k.byKeyID[header.KeyID]
	if !ok && k.url != "" {
		for _, fetched := range fetchKeys(ctx, k.url).Keys {
			k.byKeyID[fetched.KeyID] = fetched
		}
		key, ok = k.byKeyID[header.KeyID]
	}
	if !ok || key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil
	}

	return key.Key
}

// fetchKeys returns the keys at a URL, and none if they cannot be fetched.
func fetchKeys(ctx context.Context, url string) (keys jose.JSONWebKeySet) {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return jose.JSONWebKeySet{}
	}
	response, err := cleanhttp.DefaultClient().Do(request)
	if err != nil {
		return jose.JSONWebKeySet{}
	}
	defer response.Body.Close()
	if json.NewDecoder(http.MaxBytesReader(nil, response.Body, maxBody)).Decode(&keys) != nil {
		return jose.JSONWebKeySet{}
	}

	return keys
}
