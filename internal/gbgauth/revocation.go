package gbgauth

import (
	"context"
	"net/url"
)

// Revocation is a request to revoke an access token before it expires (RFC 7009).
type Revocation struct {
	// URL is the URL of the revocation endpoint.
	URL string
	// ClientID and ClientSecret are those of the client that the token was issued to.
	// They are sent in the form body.
	ClientID     string
	ClientSecret Secret
	// Token is the access token.
	Token Secret
}

// Send sends the request, once. A token that the endpoint does not know is revoked
// (RFC 7009 section 2.2). Its errors are those of [ClientCredentials.Fetch].
func (v Revocation) Send(ctx context.Context, client *Client) error {
	r := request{
		client: client,
		url:    v.URL,
		form: url.Values{
			"token":           {v.Token.Reveal()},
			"token_type_hint": {"access_token"},
			"client_id":       {v.ClientID},
			"client_secret":   {v.ClientSecret.Reveal()},
		},
		secrets: []Secret{v.ClientSecret, v.Token},
	}
	return r.send(ctx)
}
