package backend

import (
	"strings"
	"time"
)

// SettingsChange is what a configuration write says of the settings. Nil means
// unsaid; an empty text means the default again.
type SettingsChange struct {
	GrantType            *string
	TokenURL             *string
	Scope                *string
	IDPTokenURL          *string
	IDPScope             *string
	ExchangeClientID     *string
	ExchangeClientSecret *Secret
	RefreshBefore        *time.Duration
	RequestTimeout       *time.Duration
	CAPEM                *string
	Failover             *bool
	MaxSecretAge         *time.Duration
	Lease                *bool
	RevokeURL            *string
}

// change applies a configuration write. The errors are *InputError.
func (s Settings) change(c SettingsChange) (Settings, error) {
	if c.GrantType != nil {
		s.GrantType = *c.GrantType
		if s.GrantType != "" && s.GrantType != GrantClientCredentials && s.GrantType != GrantIDAuth {
			return s, invalid(GrantType, "must be %q (GBG GO) or %q (GBG Identity Solution)", GrantClientCredentials, GrantIDAuth)
		}
	}
	s, err := s.changeEndpoints(c)
	if err != nil {
		return s, err
	}
	if c.RefreshBefore != nil {
		s.RefreshBefore = *c.RefreshBefore
		if err := checkDuration(RefreshBefore, s.RefreshBefore, maxRefreshBefore); err != nil {
			return s, err
		}
	}
	if c.RequestTimeout != nil {
		s.RequestTimeout = *c.RequestTimeout
		if err := checkDuration(RequestTimeout, s.RequestTimeout, maxRequestTimeout); err != nil {
			return s, err
		}
	}
	if c.CAPEM != nil {
		if s.CAPEM, err = cleanCAPEM(*c.CAPEM); err != nil {
			return s, err
		}
	}
	if c.Failover != nil {
		s.NoFailover = !*c.Failover
	}
	if c.Lease != nil {
		s.Lease = *c.Lease
	}
	if c.MaxSecretAge != nil {
		s.MaxSecretAge = *c.MaxSecretAge
		if s.MaxSecretAge < 0 || s.MaxSecretAge > maxMaxSecretAge {
			return s, invalid(MaxSecretAge, "must be between 0 (off) and %s", maxMaxSecretAge)
		}
	}
	return s, nil
}

// changeEndpoints applies what a write says of where and how tokens are asked
// for.
func (s Settings) changeEndpoints(c SettingsChange) (Settings, error) {
	for _, u := range []struct {
		setting Setting
		given   *string
		to      *string
	}{{TokenURL, c.TokenURL, &s.TokenURL}, {IDPTokenURL, c.IDPTokenURL, &s.IDPTokenURL}, {RevokeURL, c.RevokeURL, &s.RevokeURL}} {
		if u.given == nil {
			continue
		}
		*u.to = trimText(*u.given)
		if err := checkURL(u.setting, *u.to); err != nil {
			return s, err
		}
	}
	for _, scope := range []struct {
		setting Setting
		given   *string
		to      *string
	}{{Scope, c.Scope, &s.Scope}, {IDPScope, c.IDPScope, &s.IDPScope}} {
		if scope.given == nil {
			continue
		}
		*scope.to = strings.Join(strings.Fields(trimText(*scope.given)), " ")
		if err := checkScope(scope.setting, *scope.to); err != nil {
			return s, err
		}
	}
	var err error
	if c.ExchangeClientID != nil {
		if s.ExchangeClientID, err = cleanID(ExchangeClientID, *c.ExchangeClientID); err != nil {
			return s, err
		}
	}
	if c.ExchangeClientSecret != nil {
		if s.ExchangeClientSecret, err = cleanSecret(ExchangeClientSecret, *c.ExchangeClientSecret); err != nil {
			return s, err
		}
	}
	return s, nil
}

// checkGrant refuses settings that the grant type has no use for.
func (s Settings) checkGrant() error {
	ofIDAuth := []struct {
		setting Setting
		given   bool
	}{
		{IDPTokenURL, s.IDPTokenURL != ""},
		{IDPScope, s.IDPScope != ""},
		{ExchangeClientID, s.ExchangeClientID != ""},
		{ExchangeClientSecret, !s.ExchangeClientSecret.IsEmpty()},
	}
	if s.GrantType != GrantIDAuth {
		for _, f := range ofIDAuth {
			if f.given {
				return invalid(f.setting, "is for grant_type %q; this connection's is %q", GrantIDAuth, s.withDefaults().GrantType)
			}
		}
	}
	if s.IDPScope != "" && s.IDPTokenURL == "" {
		return invalid(IDPScope, "needs idp_token_url: it is the scope to ask for there")
	}
	if s.Lease && !s.hasPair() {
		return invalid(LeaseTokens, "has no use without idp_token_url: an exchanged token is its caller's alone as it is")
	}
	return nil
}

// allows refuses changes that would make another connection of it.
func (s Settings) allows(next Settings) error {
	was, now := s.withDefaults().GrantType, next.withDefaults().GrantType
	switch {
	case was != now:
		return invalid(GrantType, "cannot be changed from %q to %q: delete the connection and write it anew, or use another name", was, now)
	case s.IDPTokenURL != "" && next.IDPTokenURL == "":
		return invalid(IDPTokenURL, "cannot be removed: delete the connection and write it anew, or use another name")
	}
	return nil
}
