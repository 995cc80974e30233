package backend

import "vault-plugin-secrets-gbg/internal/gbgauth"

// request is what is asked to get a token for one client of a connection: one
// step at GBG GO, or one at an identity provider and one at GBG Identity
// Solution. Two requests that compare equal ask the same thing.
type request struct {
	// clients is the step that a client proves itself in. Its zero value says that
	// there is none: a caller brings the token to exchange.
	clients gbgauth.ClientCredentials
	// exchange is the step at GBG Identity Solution, without the token that it
	// exchanges; its zero value says that there is none.
	exchange gbgauth.Exchange
}

// request is what is asked for a client of this connection.
func (c *Connection) request(client Client) request {
	s := c.Settings.withDefaults()
	r := request{clients: gbgauth.ClientCredentials{
		TokenURL:     s.TokenURL,
		ClientID:     client.ID,
		ClientSecret: client.Secret,
		Scope:        s.Scope,
	}}
	if s.GrantType == GrantIDAuth {
		r.clients.TokenURL, r.clients.Scope, r.clients.IdentityProvider = s.IDPTokenURL, s.IDPScope, true
		r.exchange = c.exchange(Secret{})
	}
	return r
}

// exchange is what is asked of GBG Identity Solution for a token.
func (c *Connection) exchange(idToken Secret) gbgauth.Exchange {
	s := c.Settings.withDefaults()
	return gbgauth.Exchange{
		TokenURL:     s.TokenURL,
		ClientID:     s.ExchangeClientID,
		ClientSecret: s.ExchangeClientSecret,
		IDToken:      idToken,
		Scope:        s.Scope,
	}
}

// source is the request without its secrets. A token of one request is as good
// for another with the same source: GBG lets tokens outlive the secret they were
// got with.
func (r request) source() request {
	r.clients.ClientSecret = Secret{}
	r.exchange.ClientSecret, r.exchange.IDToken = Secret{}, Secret{}
	return r
}

// exchanges says that the last step is GBG Identity Solution's.
func (r request) exchanges() bool { return r.exchange != gbgauth.Exchange{} }

// scope is what is asked for in the last step.
func (r request) scope() string {
	if r.exchanges() {
		return r.exchange.Scope
	}
	return r.clients.Scope
}
