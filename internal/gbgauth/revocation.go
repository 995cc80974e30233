package gbgauth

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Revocation is a request to end an access token before its time (RFC 7009).
type Revocation struct {
	// URL is the revocation endpoint.
	URL string
	// ClientID and ClientSecret are those of the client that got the token; they are
	// sent in the form body.
	ClientID     string
	ClientSecret Secret
	// Token is the access token.
	Token Secret
}

// Send asks, once. A token that the endpoint does not know counts as revoked (RFC
// 7009 section 2.2). The errors are those of [ClientCredentials.Fetch].
func (r Revocation) Send(ctx context.Context, client *Client) error {
	form := url.Values{
		"token":           {r.Token.Reveal()},
		"token_type_hint": {"access_token"},
		"client_id":       {r.ClientID},
		"client_secret":   {r.ClientSecret.Reveal()},
	}
	got := &answer{client: client, url: r.URL, secrets: []Secret{r.ClientSecret, r.Token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return got.explain(ctx, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := got.do(client).Do(req)
	if err != nil {
		return got.explain(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return got.refusal()
	}
	return nil
}
