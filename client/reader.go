package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/oauth2"
)

// maxRequestTime is the limit of one request, if vault's own timeout is not shorter.
const maxRequestTime = time.Minute

// errNotAToken is the error for an answer of another engine.
var errNotAToken = errors.New("the answer is not a token of the GBG secrets engine")

// reader reads tokens from Vault, one request at a time.
type reader struct {
	vault *api.Client // the caller's
	own   *api.Client // the same without retries
	path  string
}

// answer is the outcome of a request. The token is nil if it failed.
type answer struct {
	token      *token
	warnings   []string
	retryAfter time.Duration
}

func newReader(vault *api.Client, path string) (reader, error) {
	if strings.Trim(path, "/") == "" {
		return reader{}, errors.New(`client: the path is empty; an example is "gbg/creds"`)
	}
	own, err := vault.Clone()
	if err != nil {
		return reader{}, fmt.Errorf("client: copying the Vault client: %w", err)
	}
	own.SetMaxRetries(0)
	return reader{vault: vault, own: own, path: strings.Trim(path, "/")}, nil
}

// read reads the current token, or a newer one than newerThan if that is not nil.
func (r *reader) read(newerThan *token) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxRequestTime)
	defer cancel()
	var query map[string][]string
	if newerThan != nil && !newerThan.leased {
		query = map[string][]string{"newer_than": {newerThan.fetched}}
	}
	a, err := r.request(ctx, query)
	var refused *api.ResponseError
	if query != nil && errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest {
		// Every read of a leased connection is a new token, and newer_than is refused.
		a, err = r.request(ctx, nil)
	}
	if err != nil {
		return a, fmt.Errorf("client: reading %s from Vault: %w", r.path, err)
	}
	return a, nil
}

func (r *reader) request(ctx context.Context, query map[string][]string) (answer, error) {
	if err := r.configure(); err != nil {
		return answer{}, err
	}
	sent := time.Now()
	resp, err := r.own.Logical().ReadRawWithDataWithContext(ctx, r.path, query)
	if resp != nil {
		defer resp.Body.Close()
	}
	answered := time.Now()
	// Vault's clock may differ from this one. Its answer has the time in Date.
	date := answered
	if resp != nil {
		if d, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			date = d
		}
	}
	if err != nil {
		if resp == nil {
			// A connection on which Vault does not answer must not be used again.
			r.own.CloneConfig().HttpClient.CloseIdleConnections()
			return answer{}, err
		}
		return answer{retryAfter: retryAfter(resp.Header, date)}, err
	}
	secret, err := api.ParseSecret(resp.Body)
	if err != nil || secret == nil {
		return answer{}, errNotAToken
	}
	t, err := parse(secret, sent, answered, date)
	if err == nil && !t.valid(answered) {
		t, err = nil, errors.New("the token has expired already")
	}
	return answer{token: t, warnings: secret.Warnings}, err
}

// configure makes the next request use what the caller's client has now.
func (r *reader) configure() error {
	if address := r.vault.Address(); address != r.own.Address() {
		if err := r.own.SetAddress(address); err != nil {
			return err
		}
	}
	r.own.SetClientTimeout(r.vault.ClientTimeout())
	r.own.SetHeaders(r.vault.Headers())
	r.own.SetToken(r.vault.Token())
	return nil
}

// parse returns the token of an answer. It counts the time until the token expires
// from when the request was sent, and the time until there is a newer one from when the
// answer came: the errors are on the safe side.
func parse(secret *api.Secret, sent, answered, date time.Time) (*token, error) {
	plain, err := json.Marshal(secret.Data)
	if err != nil {
		return nil, errNotAToken
	}
	var data struct {
		AccessToken string    `json:"access_token"`
		TokenType   string    `json:"token_type"`
		ExpireTime  time.Time `json:"expire_time"`
		TTL         int64     `json:"ttl"` // seconds
		Fetched     string    `json:"last_vault_rotation"`
	}
	if err := json.Unmarshal(plain, &data); err != nil || data.AccessToken == "" || data.ExpireTime.IsZero() || data.TTL <= 0 {
		return nil, errNotAToken
	}
	expires := sent.Add(data.ExpireTime.Sub(date))
	oauth := &oauth2.Token{AccessToken: data.AccessToken, TokenType: data.TokenType, Expiry: expires.Round(0)}
	extra := map[string]any{}
	for _, key := range []string{"client_id", "scope", "connection"} {
		extra[key] = secret.Data[key]
	}
	return &token{
		oauth:   oauth.WithExtra(extra),
		fetched: data.Fetched,
		leased:  secret.LeaseID != "",
		next:    answered.Add(time.Duration(data.TTL) * time.Second),
		expires: expires,
	}, nil
}

// retryAfter returns what a Retry-After header asks for, given the time at the server;
// zero if there is none.
func retryAfter(header http.Header, date time.Time) time.Duration {
	value := header.Get("Retry-After")
	var pause time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		pause = time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second
	} else if moment, err := http.ParseTime(value); err == nil {
		pause = moment.Sub(date)
	}
	return min(max(pause, 0), maxRetryAfter)
}
