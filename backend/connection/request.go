package connection

import "vault-plugin-secrets-gbg/internal/gbgauth"

// Request is what gets a token for one client of a connection: one step at GBG GO, or
// one at an identity provider and one at GBG Identity Solution. Equal values make the
// same requests.
type Request struct {
	// Clients is the step in which a client proves itself. Its zero value means that
	// there is none: a caller brings the token to exchange.
	Clients gbgauth.ClientCredentials
	// Exchange is the step at GBG Identity Solution, without the token that it
	// exchanges; its zero value means that there is none.
	Exchange gbgauth.Exchange
}

// Request returns the request for a token of a client.
func (c *Connection) Request(client Client) Request {
	s := c.Settings.WithDefaults()
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
// one request is as good for another with the same source: GBG lets tokens outlive the
// secret they were requested with.
func (r Request) Source() Request {
	r.Clients.ClientSecret, r.Clients.BasicAuth = Secret{}, false
	r.Clients.Key, r.Clients.Audience = Key{}, ""
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
	return r.Clients.Scope
}

// Revoker returns the credentials that may revoke a token issued to a client of the
// connection (RFC 7009 section 2.1): the client's own or, if its identity provider's
// token was exchanged, those of the exchange. ok is false if the connection has no such
// client any more.
func (c *Connection) Revoker(clientID string) (id string, secret Secret, ok bool) {
	for _, client := range c.Pair.Clients {
		if client.ID == "" || client.ID != clientID {
			continue
		}
		if r := c.Request(client); r.Exchanges() {
			return r.Exchange.ClientID, r.Exchange.ClientSecret, true
		}
		return client.ID, client.Secret, true
	}
	return "", Secret{}, false
}
