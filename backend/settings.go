package backend

import (
	"time"

	"vault-plugin-secrets-gbg/internal/gbgauth"
)

// Setting names one setting of a connection. The names of OAuth's own
// parameters are those of RFC 6749.
type Setting string

// The settings of a connection.
const (
	ClientID           Setting = "client_id"
	ClientSecret       Setting = "client_secret"
	PairedClientID     Setting = "paired_client_id"
	PairedClientSecret Setting = "paired_client_secret"
	GrantType          Setting = "grant_type"
	TokenURL           Setting = "token_url"
	Scope              Setting = "scope"
	RefreshBefore      Setting = "refresh_before"
	RequestTimeout     Setting = "request_timeout"
	CAPEM              Setting = "ca_pem"
	Failover           Setting = "failover"
	MaxSecretAge       Setting = "max_secret_age"
	LeaseTokens        Setting = "lease"
	RevokeURL          Setting = "revoke_url"
	// These are GBG Identity Solution's.
	IDPTokenURL          Setting = "idp_token_url"
	IDPScope             Setting = "idp_scope"
	ExchangeClientID     Setting = "exchange_client_id"
	ExchangeClientSecret Setting = "exchange_client_secret"
	// MinTTL and IDToken are a caller's, not a connection's.
	MinTTL  Setting = "min_ttl"
	IDToken Setting = "id_token"
)

const (
	// GrantClientCredentials is GBG GO's grant (RFC 6749 section 4.4).
	GrantClientCredentials = "client_credentials"
	// GrantIDAuth is GBG Identity Solution's: an identity provider's token is
	// exchanged for GBG's.
	GrantIDAuth = gbgauth.GrantIDAuth
)

const (
	// DefaultTokenURL is GBG GO's token endpoint.
	DefaultTokenURL = "https://api.auth.gbgplc.com/as/token.oauth2"
	// DefaultIdentityTokenURL is GBG Identity Solution's.
	DefaultIdentityTokenURL = "https://api.gbgplc.com/authenticate/v1/connect/token"
	// DefaultScope is the scope that GBG GO requires. GBG Identity Solution grants
	// all that is allowed if none is asked for.
	DefaultScope = "gbg.token"
	// DefaultRefreshBefore is how long before expiry the next token is fetched.
	DefaultRefreshBefore = 5 * time.Minute
	// DefaultRequestTimeout bounds one answer to a reader.
	DefaultRequestTimeout = 10 * time.Second
)

// Settings are what a configuration write sets, the client pair aside. Empty
// and zero mean the default.
type Settings struct {
	GrantType string
	TokenURL  string
	// Scope is space-separated, as all scopes are.
	Scope string
	// IDPTokenURL is where the pair gets the tokens that are exchanged. Empty says
	// that there is no pair: callers bring tokens of their own.
	IDPTokenURL, IDPScope string
	// ExchangeClientID and ExchangeClientSecret are what an exchange sends for
	// itself.
	ExchangeClientID     string
	ExchangeClientSecret Secret
	RefreshBefore        time.Duration
	RequestTimeout       time.Duration
	// CAPEM holds the only roots trusted for this connection.
	CAPEM string
	// NoFailover keeps the standby from taking over by itself when GBG refuses the
	// active client.
	NoFailover bool
	// MaxSecretAge is the age of the active client's secret from which on people
	// are warned. Zero is never.
	MaxSecretAge time.Duration
	// Lease gives every reader a token of its own under a Vault lease.
	Lease bool
	// RevokeURL is where leased tokens are revoked (RFC 7009). Empty says that they
	// live on until they expire.
	RevokeURL string
}

// withDefaults fills what is empty.
func (s Settings) withDefaults() Settings {
	s.GrantType = orDefault(s.GrantType, GrantClientCredentials)
	if s.GrantType == GrantIDAuth {
		s.TokenURL = orDefault(s.TokenURL, DefaultIdentityTokenURL)
		s.ExchangeClientID = orDefault(s.ExchangeClientID, gbgauth.DefaultExchangeClientID)
		s.ExchangeClientSecret = orDefault(s.ExchangeClientSecret, gbgauth.NewSecret(gbgauth.DefaultExchangeClientSecret))
	} else {
		s.TokenURL = orDefault(s.TokenURL, DefaultTokenURL)
		s.Scope = orDefault(s.Scope, DefaultScope)
	}
	s.RefreshBefore = orDefault(s.RefreshBefore, DefaultRefreshBefore)
	s.RequestTimeout = orDefault(s.RequestTimeout, DefaultRequestTimeout)
	return s
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// hasPair says that the connection has clients of its own. Without an identity
// provider's address, GBG Identity Solution knows none.
func (s Settings) hasPair() bool { return s.GrantType != GrantIDAuth || s.IDPTokenURL != "" }
