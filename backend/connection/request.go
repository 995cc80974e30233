package connection

import (
	"cmp"
	"context"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// Request describes how to get a token for one client of a connection: in one step at
// GBG GO, or in one step at an identity provider and another at GBG Identity
// Solution. Equal values send the same requests.
type Request struct {
	// Clients is the step in which a client authenticates. Zero means that there is
	// none: a caller brings the token to exchange.
	Clients gbgauth.ClientCredentials
	// Password is the step in which a user authenticates, instead of Clients. Zero means
	// that there is none.
	Password gbgauth.Password
	// Exchange is the step at GBG Identity Solution, without the token to exchange.
	// Zero means that there is none.
	Exchange gbgauth.Exchange
}

// Request returns the request for a token of a client.
func (c *Connection) Request(client Client) Request {
	s := c.Settings.WithDefaults()
	if s.PairFields().Users() {
		return Request{Password: gbgauth.Password{
			TokenURL:     s.TokenURL,
			ClientID:     s.ClientID,
			ClientSecret: s.ClientSecret,
			Username:     client.ID,
			Password:     client.Secret,
			Scope:        s.Scope,
		}}
	}
	r := Request{Clients: gbgauth.ClientCredentials{
		TokenURL:     s.TokenURL,
		ClientID:     client.ID,
		ClientSecret: client.Secret,
		Scope:        s.Scope,
	}}
	if s.GrantType == GrantIDAuth {
		r.Clients.TokenURL, r.Clients.Scope, r.Clients.IdentityProvider = s.IDPTokenURL, s.IDPScope, true
		r.Clients.BasicAuth, r.Clients.Params = s.IDPAuthMethod == AuthSecretBasic, string(s.IDPParams)
		if s.UsesKeys() {
			r.Clients.Key, r.Clients.Audience = client.Key, s.IDPAudience
		}
		r.Exchange = c.Exchange(Secret{})
	}
	return r
}

// Exchange returns the request that exchanges a token at GBG Identity Solution.
func (c *Connection) Exchange(idToken Secret) gbgauth.Exchange {
	s := c.Settings.WithDefaults()
	return gbgauth.Exchange{
		TokenURL:     s.TokenURL,
		ClientID:     s.ExchangeClientID,
		ClientSecret: s.ExchangeClientSecret,
		IDToken:      idToken,
		Scope:        s.Scope,
	}
}

// Source returns the request without its secrets and the way they are sent. A token of
// one request is valid for any other with the same source: at GBG, tokens outlive the
// secret that they were requested with.
func (r Request) Source() Request {
	r.Clients.ClientSecret, r.Clients.BasicAuth = Secret{}, false
	r.Clients.Key, r.Clients.Audience = Key{}, ""
	r.Password.ClientSecret, r.Password.Password = Secret{}, Secret{}
	r.Exchange.ClientSecret, r.Exchange.IDToken = Secret{}, Secret{}
	return r
}

// Exchanges reports whether the last step is GBG Identity Solution's.
func (r Request) Exchanges() bool { return r.Exchange != gbgauth.Exchange{} }

// Scope returns the scope that the last step requests.
func (r Request) Scope() string {
	if r.Exchanges() {
		return r.Exchange.Scope
	}
	return cmp.Or(r.Password.Scope, r.Clients.Scope)
}

// PairFields returns the fields of the pair that the request is for.
func (r Request) PairFields() PairFields {
	if r.Password != (gbgauth.Password{}) {
		return userFields
	}
	return clientFields
}

// ID returns the id of the client or user that the request is for; of the exchange's
// client, if a caller brings the token to exchange.
func (r Request) ID() string {
	return cmp.Or(r.Password.Username, r.Clients.ClientID, r.Exchange.ClientID)
}

// HasClient reports whether a client or user authenticates in the first step; otherwise
// a caller brings the token to exchange.
func (r Request) HasClient() bool { return cmp.Or(r.Password.Username, r.Clients.ClientID) != "" }

// First returns the address of the first step and what makes the request there.
func (r Request) First() (address string, fetch func(context.Context, *gbgauth.Client) (*gbgauth.Token, error)) {
	if r.PairFields().Users() {
		return r.Password.TokenURL, r.Password.Fetch
	}
	return r.Clients.TokenURL, r.Clients.Fetch
}

// Revoker returns the credentials to revoke a token issued to a client of the
// connection (RFC 7009 section 2.1): the client's own or, if its identity provider's
// token was exchanged, those of the exchange; for a user, those of the organization's
// client. ok is false if the client is no longer part of the connection.
func (c *Connection) Revoker(clientID string) (id string, secret Secret, ok bool) {
	for _, client := range c.Pair.Clients {
		if client.ID == "" || client.ID != clientID {
			continue
		}
		switch r := c.Request(client); {
		case r.Exchanges():
			return r.Exchange.ClientID, r.Exchange.ClientSecret, true
		case r.PairFields().Users():
			return r.Password.ClientID, r.Password.ClientSecret, true
		}
		return client.ID, client.Secret, true
	}
	return "", Secret{}, false
}
