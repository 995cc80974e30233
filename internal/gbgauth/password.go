package gbgauth

import "context"

// GrantPassword is the grant_type of the resource owner password credentials grant.
const GrantPassword = "password"

// Password is a token request of the resource owner password credentials grant (RFC
// 6749 section 4.3), as GBG GO documents it for accounts with an API user. Equal values
// are equal requests.
type Password struct {
	// TokenURL is the URL of the token endpoint.
	TokenURL string
	// ClientID and ClientSecret are the organization's. They are sent in the form body.
	ClientID     string
	ClientSecret Secret
	// Username and Password are the user's.
	Username string
	Password Secret
	// Scope is a space-separated list of scopes. Empty means that no scope is sent.
	Scope string
}

// Fetch requests a token, once. Its errors are those of [ClientCredentials.Fetch].
// invalid_grant refuses the user (RefusedUser).
func (p Password) Fetch(ctx context.Context, client *Client) (*Token, error) {
	r := request{
		client:  client,
		url:     p.TokenURL,
		form:    tokenForm(GrantPassword, p.ClientID, p.ClientSecret, p.Scope),
		secrets: []Secret{p.ClientSecret, p.Password},
		user:    true,
	}
	r.form.Set("username", p.Username)
	r.form.Set("password", p.Password.Reveal())
	if err := r.send(ctx); err != nil {
		return nil, err
	}
	return r.token()
}
