package gbgauth

import (
	"context"
	"encoding/base64"
	"net/url"
	"strings"
)

// ClientCredentials is a token request of the client credentials grant (RFC 6749
// section 4.4). Equal values are equal requests.
type ClientCredentials struct {
	// TokenURL is the URL of the token endpoint.
	TokenURL string
	// ClientID and ClientSecret are sent in the form body, as GBG GO documents it, or
	// in a Basic header if BasicAuth is set.
	ClientID     string
	ClientSecret Secret
	BasicAuth    bool
	// Key, unless it is zero, authenticates the client in place of a secret, by an
	// assertion for Audience (private_key_jwt; RFC 7523 section 2.2).
	Key      Key
	Audience string
	// Scope is a space-separated list of scopes. Empty means that no scope is sent.
	Scope string
	// Params are additional form fields, encoded by [EncodeParams]. They never replace
	// the fields that the request has without them.
	Params string
	// IdentityProvider is set if the endpoint is that of a customer's identity
	// provider. Status 401 with access_denied then refuses the client (Auth0).
	IdentityProvider bool
}

// Fetch requests a token, once. The error is an *Error, except that it is the cause of
// ctx if ctx was canceled. A deadline that has passed, or that is the cause of the
// cancellation, is an *Error.
func (c ClientCredentials) Fetch(ctx context.Context, client *Client) (*Token, error) {
	r := request{
		client:           client,
		url:              c.TokenURL,
		form:             tokenForm("client_credentials", c.ClientID, c.ClientSecret, c.Scope),
		secrets:          []Secret{c.ClientSecret},
		identityProvider: c.IdentityProvider,
	}
	for name, value := range DecodeParams(c.Params) {
		if !r.form.Has(name) {
			r.form.Set(name, value)
		}
	}
	if c.BasicAuth {
		r.form.Del("client_id")
		r.form.Del("client_secret")
		credentials := basicCredentials(c.ClientID, c.ClientSecret)
		r.authorization = "Basic " + credentials.Reveal()
		r.secrets = append(r.secrets, credentials)
	}
	if !c.Key.IsZero() {
		if err := r.authenticate(c.Key, c.ClientID, c.Audience); err != nil {
			return nil, err
		}
	}
	if err := r.send(ctx); err != nil {
		return nil, err
	}
	return r.token()
}

// authenticate puts a new assertion in the place of the client secret.
func (r *request) authenticate(key Key, clientID, audience string) error {
	r.asserted = r.client.now()
	assertion, err := key.assertion(clientID, audience, r.asserted)
	if err != nil {
		return r.error(NotSent, "", "the client assertion could not be signed: "+err.Error(), nil)
	}
	r.form.Del("client_secret")
	r.form.Set("client_assertion_type", AssertionType)
	r.form.Set("client_assertion", assertion.Reveal())
	r.secrets = append(r.secrets, assertion)
	return nil
}

// tokenForm returns the form fields that all token requests have.
func tokenForm(grantType, clientID string, clientSecret Secret, scope string) url.Values {
	form := url.Values{
		"grant_type":    {grantType},
		"client_id":     {clientID},
		"client_secret": {clientSecret.Reveal()},
	}
	if scopes := strings.Fields(scope); len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	return form
}

// basicCredentials returns the credentials of a Basic header: the id and the secret,
// each form-encoded first (RFC 6749 section 2.3.1).
func basicCredentials(clientID string, clientSecret Secret) Secret {
	pair := url.QueryEscape(clientID) + ":" + url.QueryEscape(clientSecret.Reveal())
	return NewSecret(base64.StdEncoding.EncodeToString([]byte(pair)))
}

// EncodeParams returns additional form fields as a text. Equal fields have equal
// texts, and no fields the empty one.
func EncodeParams(params map[string]string) string {
	form := url.Values{}
	for name, value := range params {
		form.Set(name, value)
	}
	return form.Encode()
}

// DecodeParams returns the fields of a text of [EncodeParams].
func DecodeParams(encoded string) map[string]string {
	form, _ := url.ParseQuery(encoded) // never fails for a text of EncodeParams
	params := make(map[string]string, len(form))
	for name := range form {
		params[name] = form.Get(name)
	}
	return params
}
