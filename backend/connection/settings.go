package connection

import (
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

const (
	// GrantClientCredentials is GBG GO's grant (RFC 6749 section 4.4).
	GrantClientCredentials = "client_credentials"
	// GrantPassword is GBG GO's grant for accounts with API users (RFC 6749 section
	// 4.3).
	GrantPassword = gbgauth.GrantPassword
	// GrantIDAuth is the grant of GBG Identity Solution: it exchanges an identity
	// provider's token for GBG's.
	GrantIDAuth = gbgauth.GrantIDAuth
)

// How a client authenticates at an identity provider, by the names of OpenID Connect
// Core section 9.
const (
	// AuthSecretPost sends the secret in the form.
	AuthSecretPost = "client_secret_post"
	// AuthSecretBasic sends the secret in a Basic header.
	AuthSecretBasic = "client_secret_basic"
	// AuthPrivateKey signs an assertion with a key that the engine has made.
	AuthPrivateKey = "private_key_jwt"
)

const (
	// DefaultTokenURL is GBG GO's token endpoint.
	DefaultTokenURL = "https://api.auth.gbgplc.com/as/token.oauth2"
	// DefaultIdentityTokenURL is the token endpoint of GBG Identity Solution.
	DefaultIdentityTokenURL = "https://api.gbgplc.com/authenticate/v1/connect/token"
	// DefaultScope is the scope that GBG GO requires. GBG Identity Solution grants
	// all allowed scopes if none is requested.
	DefaultScope = "gbg.token"
	// DefaultRefreshBefore is how long before expiry the next token is fetched.
	DefaultRefreshBefore = 5 * time.Minute
	// DefaultRequestTimeout is the time limit for answering a reader.
	DefaultRequestTimeout = 10 * time.Second
	// DefaultStandbyCheck is how often a standby is checked.
	DefaultStandbyCheck = 24 * time.Hour
)

// minStandbyCheck is the shortest period of standby checks.
const minStandbyCheck = 10 * time.Second

// The settings of a connection. Each is declared in fields.
const (
	ClientID             Field = "client_id"
	ClientSecret         Field = "client_secret"
	PairedClientID       Field = "paired_client_id"
	PairedClientSecret   Field = "paired_client_secret"
	Username             Field = "username"
	Password             Field = "password"
	PairedUsername       Field = "paired_username"
	PairedPassword       Field = "paired_password"
	GrantType            Field = "grant_type"
	TokenURL             Field = "token_url"
	Scope                Field = "scope"
	IDPTokenURL          Field = "idp_token_url"
	IDPScope             Field = "idp_scope"
	IDPAuthMethod        Field = "idp_auth_method"
	IDPParams            Field = "idp_params"
	IDPAudience          Field = "idp_audience"
	KeyAlgorithm         Field = "key_algorithm"
	ExchangeClientID     Field = "exchange_client_id"
	ExchangeClientSecret Field = "exchange_client_secret"
	RefreshBefore        Field = "refresh_before"
	RequestTimeout       Field = "request_timeout"
	CAPEM                Field = "ca_pem"
	Failover             Field = "failover"
	StandbyCheck         Field = "standby_check"
	MaxSecretAge         Field = "max_secret_age"
	LeaseTokens          Field = "lease"
	RevokeURL            Field = "revoke_url"

	RotationSchedule         Field = "rotation_schedule"
	RotationWindow           Field = "rotation_window"
	RotationPeriod           Field = "rotation_period"
	DisableAutomatedRotation Field = "disable_automated_rotation"
)

// Settings are the settings of a connection, without the client pair. Zero values
// mean the defaults, which are not stored: a later release may have different ones.
// The JSON tags define the stored form.
type Settings struct {
	GrantType string `json:"grant_type,omitempty"`
	// ClientID and ClientSecret are the organization's client in the password grant,
	// where the pair is two users. They are empty for other grants.
	ClientID     string `json:"client_id,omitempty"`
	ClientSecret Secret `json:"-"` // stored by entry
	TokenURL     string `json:"token_url,omitempty"`
	// Scope is space-separated, like all scopes.
	Scope string `json:"scope,omitempty"`
	// IDPTokenURL is where the pair gets the tokens to exchange. Empty means that there
	// is no pair: callers bring their own tokens.
	IDPTokenURL string `json:"idp_token_url,omitempty"`
	IDPScope    string `json:"idp_scope,omitempty"`
	// IDPAuthMethod is how the clients authenticate at the identity provider.
	IDPAuthMethod string `json:"idp_auth_method,omitempty"`
	// IDPParams are additional form fields of the request to the identity provider.
	IDPParams Params `json:"idp_params,omitempty"`
	// IDPAudience is the audience of client assertions.
	IDPAudience string `json:"idp_audience,omitempty"`
	// KeyAlgorithm is the algorithm of the next key.
	KeyAlgorithm string `json:"key_algorithm,omitempty"`
	// ExchangeClientID and ExchangeClientSecret authenticate the exchange.
	ExchangeClientID     string        `json:"exchange_client_id,omitempty"`
	ExchangeClientSecret Secret        `json:"-"` // stored by entry
	RefreshBefore        time.Duration `json:"refresh_before,omitempty"`
	RequestTimeout       time.Duration `json:"request_timeout,omitempty"`
	// CAPEM holds the only roots trusted for this connection.
	CAPEM string `json:"ca_pem,omitempty"`
	// NoFailover disables the failover to the standby when GBG refuses the active client.
	NoFailover bool `json:"no_failover,omitempty"`
	// StandbyCheck is how often the standby is checked. Negative means never.
	StandbyCheck time.Duration `json:"standby_check,omitempty"`
	// MaxSecretAge is the age of the active client's secret at which warnings start.
	// Zero means never.
	MaxSecretAge time.Duration `json:"max_secret_age,omitempty"`
	// Lease means that every reader gets a separate token under a Vault lease.
	Lease bool `json:"lease,omitempty"`
	// RevokeURL is where leased tokens are revoked (RFC 7009). Empty means that they
	// stay valid until they expire.
	RevokeURL string `json:"revoke_url,omitempty"`
	// RotationSchedule says in cron form, and RotationPeriod in time from one to the
	// next, when rotations are due. Both are zero if none are scheduled.
	RotationSchedule string        `json:"rotation_schedule,omitempty"`
	RotationPeriod   time.Duration `json:"rotation_period,omitempty"`
	// RotationWindow is how long after a time of RotationSchedule the rotation may be
	// made; zero means until the next time.
	RotationWindow time.Duration `json:"rotation_window,omitempty"`
	// DisableAutomatedRotation turns the schedule off.
	DisableAutomatedRotation bool `json:"disable_automated_rotation,omitempty"`
}

// Fields returns the declarations of all settings.
func Fields() []FieldSchema { return fields }

var fields = []FieldSchema{
	{
		Field: ClientID, Title: "Client ID", Group: "Clients", pairType: Text,
		Description: `The first API client's id, as GBG's Account management portal shows it. For "password" it is the organization's, and there is no second one.`,
	},
	{
		Field: ClientSecret, Title: "Client secret", Group: "Clients", pairType: Confidential,
		Description: `The first client's secret or, for "password", the organization's. It is never shown again.`,
	},
	{
		Field: PairedClientID, Title: "Paired client ID", Group: "Clients", pairType: Text,
		Description: "The second client's id. It may be added later; an empty text removes it.",
	},
	{
		Field: PairedClientSecret, Title: "Paired client secret", Group: "Clients", pairType: Confidential,
		Description: "The second client's secret. It is never shown again.",
	},
	{
		Field: Username, Title: "Username", Group: "Users", pairType: Text, GrantType: GrantPassword,
		Description: `For "password": the first API user's name.`,
	},
	{
		Field: Password, Title: "Password", Group: "Users", pairType: Confidential, GrantType: GrantPassword,
		Description: `For "password": the first user's password. It is never shown again.`,
	},
	{
		Field: PairedUsername, Title: "Paired username", Group: "Users", pairType: Text, GrantType: GrantPassword,
		Description: `For "password": the second API user's name. It may be added later; an empty text removes it.`,
	},
	{
		Field: PairedPassword, Title: "Paired password", Group: "Users", pairType: Confidential, GrantType: GrantPassword,
		Description: `For "password": the second user's password. It is never shown again.`,
	},
	{
		Field: GrantType, Title: "Grant type", Group: "Endpoint",
		Description: `How tokens are requested: "client_credentials" (GBG GO), which is the default, "password" (GBG GO, for accounts with API users), or "id_auth" (GBG Identity Solution). It cannot be changed later.`,
		Default:     GrantClientCredentials, AllowedValues: []any{GrantClientCredentials, GrantPassword, GrantIDAuth},
		value: choiceSetting(func(s *Settings) *string { return &s.GrantType },
			option{GrantClientCredentials, "GBG GO"}, option{GrantPassword, "GBG GO with API users"}, option{GrantIDAuth, "GBG Identity Solution"}),
	},
	{
		Field: TokenURL, Title: "Token URL", Group: "Endpoint",
		Description: "GBG's token endpoint: https, or http to a loopback address. The default is GBG GO's or GBG Identity Solution's, by grant_type. A write that changes it must give the secrets again.",
		value: urlSetting(func(s *Settings) *string { return &s.TokenURL }).withDefaultFor(map[string]string{
			GrantClientCredentials: DefaultTokenURL, GrantPassword: DefaultTokenURL, GrantIDAuth: DefaultIdentityTokenURL,
		}),
	},
	{
		Field: Scope, Title: "Scope", Group: "Endpoint",
		Description: `The scope to request from GBG, space-separated. The default is "gbg.token", which GBG GO requires; none for "password", and none for "id_auth", where GBG then grants all allowed scopes.`,
		value: scopeSetting(func(s *Settings) *string { return &s.Scope }).withDefaultFor(map[string]string{
			GrantClientCredentials: DefaultScope,
		}),
	},
	{
		Field: IDPTokenURL, Title: "Identity provider token URL", Group: "Identity Solution", GrantType: GrantIDAuth,
		Description: `For "id_auth": the identity provider's token endpoint. The clients are then the identity provider's, and their tokens are exchanged at token_url. Without it there are no clients: callers bring the tokens to exchange. A write that changes it must give the secrets of both clients again.`,
		value:       urlSetting(func(s *Settings) *string { return &s.IDPTokenURL }),
	},
	{
		Field: IDPScope, Title: "Identity provider scope", Group: "Identity Solution", GrantType: GrantIDAuth,
		Description: `For "id_auth": the scope to request from the identity provider, space-separated. The default is none.`,
		value:       scopeSetting(func(s *Settings) *string { return &s.IDPScope }),
	},
	{
		Field: IDPAuthMethod, Title: "Identity provider authentication method", Group: "Identity Solution", GrantType: GrantIDAuth, since: entryVersion2,
		Description: `For "id_auth": how the clients authenticate at the identity provider: "client_secret_post" (in the form), which is the default, "client_secret_basic" (in a Basic header), or "private_key_jwt" (with keys that the engine makes; see gbg/keys). It cannot be changed to or from "private_key_jwt" later.`,
		// The default is not in Default: it is for one grant type only.
		AllowedValues: []any{AuthSecretPost, AuthSecretBasic, AuthPrivateKey},
		value: choiceSetting(func(s *Settings) *string { return &s.IDPAuthMethod },
			option{AuthSecretPost, "in the form"}, option{AuthSecretBasic, "in a Basic header"}, option{AuthPrivateKey, "with keys"}).withDefaultFor(map[string]string{
			GrantIDAuth: AuthSecretPost,
		}),
	},
	{
		Field: IDPAudience, Title: "Identity provider audience", Group: "Keys", GrantType: GrantIDAuth, AuthMethod: AuthPrivateKey, since: entryVersion2,
		Description: `For "private_key_jwt": the audience of the assertions by which the clients authenticate. The default is idp_token_url. It cannot be changed later.`,
		value: setting[string]{of: Text, at: func(s *Settings) *string { return &s.IDPAudience }, normalize: normalizedAudience, fallback: func(s Settings) string {
			if s.UsesKeys() {
				return s.IDPTokenURL
			}
			return ""
		}},
	},
	{
		Field: KeyAlgorithm, Title: "Key algorithm", Group: "Keys", GrantType: GrantIDAuth, AuthMethod: AuthPrivateKey, since: entryVersion2,
		Description: `For "private_key_jwt": the algorithm of the next key: "RS256", which is the default, "PS256" (both RSA with 2048 bits) or "ES256" (P-256). A key that was made keeps its own.`,
		// The default is not in Default: it is for one way to authenticate only.
		AllowedValues: []any{gbgauth.RS256, gbgauth.PS256, gbgauth.ES256},
		value:         keyAlgorithmSetting(),
	},
	{
		Field: IDPParams, Title: "Identity provider parameters", Group: "Identity Solution", GrantType: GrantIDAuth, since: entryVersion2,
		Description: `For "id_auth": further form fields of the request to the identity provider, such as audience or resource. They are shown by a read, so they must not hold a secret. A write replaces all of them; {} removes them.`,
		value:       paramsSetting(func(s *Settings) *Params { return &s.IDPParams }),
	},
	{
		Field: ExchangeClientID, Title: "Exchange client ID", Group: "Identity Solution", GrantType: GrantIDAuth,
		Description: `For "id_auth": the client id that an exchange sends. The default is "ro.client", as GBG documents it.`,
		value: idSetting(func(s *Settings) *string { return &s.ExchangeClientID }).withDefaultFor(map[string]string{
			GrantIDAuth: gbgauth.DefaultExchangeClientID,
		}),
	},
	{
		Field: ExchangeClientSecret, Title: "Exchange client secret", Group: "Identity Solution", GrantType: GrantIDAuth,
		Description: `For "id_auth": the client secret that an exchange sends. The default is the constant that GBG documents. It is never shown again.`,
		value: secretSetting(func(s *Settings) *Secret { return &s.ExchangeClientSecret }).withDefaultFor(map[string]Secret{
			GrantIDAuth: gbgauth.NewSecret(gbgauth.DefaultExchangeClientSecret),
		}),
	},
	{
		Field: CAPEM, Title: "CA certificates", Group: "Endpoint", Multiline: true,
		Description: "PEM certificates to trust for this connection instead of the system's.",
		value:       setting[string]{of: Text, at: func(s *Settings) *string { return &s.CAPEM }, normalize: normalizedCAPEM},
	},
	{
		Field: RefreshBefore, Title: "Refresh before", Group: "Timing",
		Description: "How long before a token expires the next one is fetched; never more than a third of its lifetime. The default is 5m.",
		Default:     int64(DefaultRefreshBefore / time.Second),
		value:       durationSetting(func(s *Settings) *time.Duration { return &s.RefreshBefore }, time.Second, 24*time.Hour).withDefault(DefaultRefreshBefore),
	},
	{
		Field: RequestTimeout, Title: "Request timeout", Group: "Timing",
		Description: "How long one request may wait for GBG, up to a minute. The default is 10s.",
		Default:     int64(DefaultRequestTimeout / time.Second),
		value:       durationSetting(func(s *Settings) *time.Duration { return &s.RequestTimeout }, time.Second, time.Minute).withDefault(DefaultRequestTimeout),
	},
	{
		Field: Failover, Title: "Failover", Group: "Clients",
		Description: "Whether the standby takes over by itself when GBG refuses the active client. The default is true.",
		Default:     true,
		value:       invertedFlag{flagSetting(func(s *Settings) *bool { return &s.NoFailover })},
	},
	{
		Field: StandbyCheck, Title: "Standby check", Group: "Clients", since: entryVersion2,
		Description: "How often the engine gets a token with the standby, to notice in time that GBG refuses it: at least 10s. 0 means never. The default is 24h.",
		Default:     int64(DefaultStandbyCheck / time.Second),
		value: optionalDuration{durationSetting(func(s *Settings) *time.Duration { return &s.StandbyCheck }, minStandbyCheck, 10*365*24*time.Hour).
			withDefault(DefaultStandbyCheck)},
	},
	{
		Field: MaxSecretAge, Title: "Maximum secret age", Group: "Clients",
		Description: "The age of the active client's secret at which answers start to carry a warning. 0, the default, means never.",
		Default:     0,
		value:       durationSetting(func(s *Settings) *time.Duration { return &s.MaxSecretAge }, 0, 10*365*24*time.Hour),
	},
	{
		Field: LeaseTokens, Title: "Lease tokens", Group: "Leases",
		Description: "Give every reader a separate token, under a Vault lease that ends with it. The default is one shared token without a lease.",
		Default:     false,
		value:       flagSetting(func(s *Settings) *bool { return &s.Lease }),
	},
	{
		Field: RevokeURL, Title: "Revocation URL", Group: "Leases",
		Description: "Where leased tokens are revoked when their lease ends (RFC 7009): https, or http to a loopback address. Without it they stay valid until they expire. A write that changes it must give the secrets of both clients again.",
		value:       urlSetting(func(s *Settings) *string { return &s.RevokeURL }),
	},
	{
		Field: RotationSchedule, Title: "Rotation schedule", Group: "Automated rotation", since: entryVersion2,
		Description: "When the standby becomes active if its secret is new: minute, hour, day of the month, month and day of the week in cron form, in UTC. Empty is never.",
		value:       setting[string]{of: Text, at: func(s *Settings) *string { return &s.RotationSchedule }, normalize: normalizedSchedule},
	},
	{
		Field: RotationWindow, Title: "Rotation window", Group: "Automated rotation", since: entryVersion2,
		Description: "How long after a time of rotation_schedule the rotation may be made, at least an hour. The default, 0, is until the next time.",
		Default:     0,
		value:       setting[time.Duration]{of: Duration, at: func(s *Settings) *time.Duration { return &s.RotationWindow }, normalize: normalizedWindow},
	},
	{
		Field: RotationPeriod, Title: "Rotation period", Group: "Automated rotation", since: entryVersion2,
		Description: "The time from one rotation to the next in place of rotation_schedule, at least 10 seconds, counted from when it was set. The default, 0, is never. It has nothing to do with the rotation_period of a token.",
		Default:     0,
		value:       setting[time.Duration]{of: Duration, at: func(s *Settings) *time.Duration { return &s.RotationPeriod }, normalize: normalizedPeriod},
	},
	{
		Field: DisableAutomatedRotation, Title: "Disable automated rotation", Group: "Automated rotation", since: entryVersion2,
		Description: "Turns the schedule off without removing it. The default is false.",
		Default:     false,
		value:       flagSetting(func(s *Settings) *bool { return &s.DisableAutomatedRotation }),
	},
}

// WithDefaults returns the settings with the defaults in place of zero values.
func (s Settings) WithDefaults() Settings {
	// The grant type comes first: other defaults depend on it.
	for _, f := range fields {
		if f.value != nil {
			f.value.fill(&s)
		}
	}
	return s
}

// HasPair reports whether the connection has clients. For GBG Identity Solution, that
// depends on IDPTokenURL.
func (s Settings) HasPair() bool { return s.GrantType != GrantIDAuth || s.IDPTokenURL != "" }

// change returns the settings after a configuration write. The errors are *InputError.
func (s Settings) change(c Change) (Settings, error) {
	for _, f := range fields {
		given, ok := c[f.Field]
		if f.value == nil || !ok {
			continue
		}
		if err := f.value.set(&s, f.Field, given); err != nil {
			return s, err
		}
	}
	return s, nil
}

// check returns an error if a setting has no effect in combination with the others.
func (s Settings) check() error {
	grantType := s.WithDefaults().GrantType
	for _, f := range fields {
		switch {
		case f.value == nil, f.value.isZero(&s):
		case f.GrantType != "" && f.GrantType != grantType:
			return Invalid(f.Field, "is for grant_type %q; this connection's is %q", f.GrantType, grantType)
		case !f.isFor(s):
			return Invalid(f.Field, "is for idp_auth_method %q; this connection's is %q", f.AuthMethod, s.WithDefaults().IDPAuthMethod)
		}
	}
	switch atIDP := s.IDPTokenURL != ""; {
	case atIDP:
	case s.IDPScope != "":
		return Invalid(IDPScope, "needs idp_token_url: it is the scope to request there")
	case s.IDPAuthMethod != "" && s.IDPAuthMethod != AuthSecretPost:
		return Invalid(IDPAuthMethod, "needs idp_token_url: it is how the clients authenticate there")
	case s.IDPParams != "":
		return Invalid(IDPParams, "needs idp_token_url: they are sent there")
	}
	if s.UsesKeys() && s.RevokeURL != "" {
		return Invalid(RevokeURL, "cannot be used with idp_auth_method %q", AuthPrivateKey)
	}
	if s.Lease && !s.HasPair() {
		return Invalid(LeaseTokens, "has no use without idp_token_url: an exchanged token is never shared")
	}
	return s.checkSchedule()
}

// checkImmutable returns an error if next changes a setting that cannot be changed.
func (s Settings) checkImmutable(next Settings) error {
	was, now := s.WithDefaults().GrantType, next.WithDefaults().GrantType
	switch {
	case was != now:
		return Invalid(GrantType, "cannot be changed from %q to %q: delete the connection and write it again, or use another name", was, now)
	case s.IDPTokenURL != "" && next.IDPTokenURL == "":
		return Invalid(IDPTokenURL, "cannot be removed: delete the connection and write it again, or use another name")
	}
	return s.checkImmutableKeys(next)
}
