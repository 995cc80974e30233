package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/oauth2"
)

// After an answer to a request for a newer token, the source makes no other such
// request for minRenewPause. The pause doubles while GBG refuses the newer tokens too,
// because then tokens are not the problem.
const (
	minRenewPause = time.Minute
	maxRenewPause = time.Hour
)

// errNoNewerToken is returned if asking Vault for a newer token has just been tried.
var errNoNewerToken = errors.New("client: GBG refused the token, and Vault was asked for a newer one a short time ago")

// TokenSource is an [oauth2.TokenSource] that reads from the GBG secrets engine. It has
// at most one request to Vault under way, for all callers, and sends none that no
// caller is there for: it needs no closing. It is safe for concurrent use.
type TokenSource struct {
	reader reader
	log    *slog.Logger

	mu      sync.Mutex
	current *token  // nil before the first one
	read    *read   // the request under way; nil if there is none
	backoff backoff // after failed requests
	renewal renewal
}

// renewal is about the requests for newer tokens than refused ones.
type renewal struct {
	last  time.Time // when Vault answered the last one
	pause time.Duration
}

// blocked reports whether no such request may be sent yet.
func (r renewal) blocked(now time.Time) bool {
	return !reached(r.last.Add(max(r.pause, minRenewPause)), now)
}

// An Option changes a TokenSource.
type Option func(*TokenSource)

// WithLogger makes the source log failed requests to Vault and the warnings in its
// answers. The default is not to log: callers see an error only when there is no valid
// token.
func WithLogger(log *slog.Logger) Option {
	return func(s *TokenSource) { s.log = log }
}

// New returns a source that reads from path, for example "gbg/creds" or
// "gbg/creds/team-a". It sends no request yet.
//
// Requests use vault's address, token, namespace, headers and timeout as they are at
// that moment, so vault can be logged in again at any time. They are not repeated by
// vault's own settings, but by the source, with growing pauses.
func New(vault *api.Client, path string, options ...Option) (*TokenSource, error) {
	s := &TokenSource{log: slog.New(slog.DiscardHandler)}
	var err error
	if s.reader, err = newReader(vault, path); err != nil {
		return nil, err
	}
	for _, option := range options {
		option(s)
	}
	return s, nil
}

// Token returns the current token. It is TokenContext without a context.
func (s *TokenSource) Token() (*oauth2.Token, error) {
	return s.TokenContext(context.Background())
}

// TokenContext returns the current token, at once if it is valid. Otherwise it waits
// for one request to Vault, or until ctx ends; that does not cancel the request for
// other callers. After a failed request there is a pause, in which callers without a
// valid token get the error of that request. An error of Vault can be examined as an
// [api.ResponseError].
//
// The token must not be modified. Its Extra has client_id, scope and connection. Its
// Expiry is by the clock of this machine.
func (s *TokenSource) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	s.mu.Lock()
	now := time.Now()
	valid := s.current.valid(now)
	if s.read == nil && (!valid || s.current.due(now)) && !s.backoff.blocked(now) {
		s.startLocked(false)
	}
	current, read, err := s.current, s.read, s.backoff.err
	s.mu.Unlock()
	switch {
	case valid:
		return current.oauth, nil
	case read == nil:
		return nil, err
	}
	if err := read.wait(ctx); err != nil {
		return nil, err
	}
	if read.err != nil {
		return nil, read.err
	}
	return read.token.oauth, nil
}

// Renew returns a newer token than one that GBG's API has refused, or an error if there
// is none. If the refused token is still the current one, Vault is asked for a newer
// one, once for all callers: at most once a minute, and less often while GBG refuses the
// newer tokens too. [Transport] calls Renew by itself.
func (s *TokenSource) Renew(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	for {
		s.mu.Lock()
		now := time.Now()
		if s.current == nil || s.current.oauth.AccessToken != refused.AccessToken {
			s.mu.Unlock()
			return s.TokenContext(ctx)
		}
		var err error
		switch {
		case s.read != nil:
		case s.backoff.blocked(now):
			err = s.backoff.err
		case s.renewal.blocked(now):
			err = errNoNewerToken
		default:
			s.startLocked(true)
		}
		read := s.read
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if err := read.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// read is a request to Vault, for all callers.
type read struct {
	done  chan struct{}
	token *token // token and err are set before done is closed
	err   error
}

// wait waits until the request has ended. The error is only ctx's.
func (r *read) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("client: waiting for a token: %w", context.Cause(ctx))
	}
}

// startLocked starts a request for a token, or for a newer one than the current one.
func (s *TokenSource) startLocked(newer bool) {
	r := &read{done: make(chan struct{})}
	s.read = r
	var newerThan *token
	if newer {
		newerThan = s.current
	}
	go func() {
		defer close(r.done)
		answer, err := s.reader.read(newerThan)
		r.token, r.err = answer.token, err
		s.finish(answer, err, newer)
	}()
}

// finish stores the outcome of the request under way, and logs it.
func (s *TokenSource) finish(a answer, err error, newer bool) {
	s.mu.Lock()
	now := time.Now()
	left := max(s.current.left(now), 0)
	s.read = nil
	var pause time.Duration
	if err != nil {
		pause = s.backoff.add(now, err, a.retryAfter, left)
	} else {
		s.storeLocked(a.token, now, newer)
	}
	s.mu.Unlock()

	if err != nil {
		s.log.Warn("reading a GBG token from Vault failed", "path", s.reader.path, "error", err, "next_try", pause, "token_valid", left)
	}
	for _, warning := range a.warnings {
		s.log.Warn("a GBG token came from Vault with a warning", "path", s.reader.path, "warning", warning)
	}
}

func (s *TokenSource) storeLocked(t *token, now time.Time, newer bool) {
	switch {
	case newer:
		s.renewal.last = now
		s.renewal.pause = min(max(2*s.renewal.pause, minRenewPause), maxRenewPause)
	case s.current != nil && s.current.oauth.AccessToken != t.oauth.AccessToken:
		s.renewal.pause = 0 // the next token in time, not in place of a refused one
	}
	s.current = t
	s.backoff = backoff{}
}
