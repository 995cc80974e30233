package gbgauth

import "context"

// GrantIDAuth is the grant_type of GBG Identity Solution's token endpoint.
const GrantIDAuth = "id_auth"

// DefaultExchangeClientID and DefaultExchangeClientSecret are the client credentials
// that GBG Identity Solution documents for every customer. The second one is therefore
// not a secret.
const (
	DefaultExchangeClientID     = "ro.client"
	DefaultExchangeClientSecret = "secret"
)

// Exchange is a token request to GBG Identity Solution, which exchanges the token of
// an identity provider for one of its own. Equal values are equal requests.
type Exchange struct {
	// TokenURL is the URL of the token endpoint.
	TokenURL string
	// ClientID and ClientSecret are sent in the form body. GBG documents the constants
	// DefaultExchangeClientID and DefaultExchangeClientSecret.
	ClientID     string
	ClientSecret Secret
	// IDToken is the identity provider's token: the id_token of a person, or the
	// access token of a machine.
	IDToken Secret
	// Scope is a space-separated list of scopes. Empty means that no scope is sent;
	// GBG then grants all scopes that are allowed.
	Scope string
}

// Fetch requests a token, once. Its errors are those of [ClientCredentials.Fetch].
func (e Exchange) Fetch(ctx context.Context, client *Client) (*Token, error) {
	r := request{
		client:  client,
		url:     e.TokenURL,
		form:    tokenForm(GrantIDAuth, e.ClientID, e.ClientSecret, e.Scope),
		secrets: []Secret{e.IDToken},
	}
	r.form.Set("id_token", e.IDToken.Reveal())
	if e.ClientSecret.Reveal() != DefaultExchangeClientSecret {
		r.secrets = append(r.secrets, e.ClientSecret)
	}
	if err := r.send(ctx); err != nil {
		return nil, err
	}
	return r.token()
}
