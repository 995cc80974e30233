package gbgauth

import (
	"context"
	"net/url"
	"strings"

	"golang.org/x/oauth2/clientcredentials"
)

// GrantIDAuth is the grant_type of GBG Identity Solution's token endpoint.
const GrantIDAuth = "id_auth"

// DefaultExchangeClientID and DefaultExchangeClientSecret are what GBG documents
// for everybody to send, so the second is no secret.
const (
	DefaultExchangeClientID     = "ro.client"
	DefaultExchangeClientSecret = "secret"
)

// Exchange is a request for a GBG token in exchange for an identity provider's,
// as GBG Identity Solution documents it. Two requests that compare equal ask the
// same thing.
type Exchange struct {
	// TokenURL is the endpoint.
	TokenURL string
	// ClientID and ClientSecret are sent in the form body. GBG documents constants:
	// DefaultExchangeClientID and DefaultExchangeClientSecret.
	ClientID     string
	ClientSecret Secret
	// IDToken is the identity provider's token: a person's id_token, or the access
	// token of a machine.
	IDToken Secret
	// Scope is a space-separated list. Empty sends no scope at all: GBG then grants
	// all that is allowed.
	Scope string
}

// Fetch asks for a token, once. Its errors are those of [ClientCredentials.Fetch].
func (r Exchange) Fetch(ctx context.Context, client *Client) (*Token, error) {
	return fetch(ctx, client, clientcredentials.Config{
		ClientID:     r.ClientID,
		ClientSecret: r.ClientSecret.Reveal(),
		TokenURL:     r.TokenURL,
		Scopes:       strings.Fields(r.Scope),
		EndpointParams: url.Values{
			"grant_type": {GrantIDAuth},
			"id_token":   {r.IDToken.Reveal()},
		},
	}, &answer{secrets: r.secrets()})
}

// secrets are what no error may show.
func (r Exchange) secrets() []Secret {
	if r.ClientSecret.Reveal() == DefaultExchangeClientSecret {
		return []Secret{r.IDToken}
	}
	return []Secret{r.IDToken, r.ClientSecret}
}
