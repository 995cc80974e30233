package gbg

import (
	"slices"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-gbg/backend"
)

// verifyField is the one field of config that is not stored.
const verifyField = "verify_connection"

// configFields are what a write may give.
func configFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		string(backend.ClientID): {
			Type:         framework.TypeString,
			Description:  "The first API client's id, as GBG's Account management portal shows it.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Client ID", Group: "Clients"},
		},
		string(backend.ClientSecret): {
			Type:         framework.TypeString,
			Description:  "The first client's secret. It is never shown again.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Client secret", Group: "Clients", Sensitive: true},
		},
		string(backend.PairedClientID): {
			Type:         framework.TypeString,
			Description:  "The second client's id. It may be added later; an empty text removes it.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Paired client ID", Group: "Clients"},
		},
		string(backend.PairedClientSecret): {
			Type:         framework.TypeString,
			Description:  "The second client's secret. It is never shown again.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Paired client secret", Group: "Clients", Sensitive: true},
		},
		string(backend.GrantType): {
			Type:          framework.TypeString,
			Description:   `How tokens are asked for: "client_credentials" (GBG GO), which is the default, or "id_auth" (GBG Identity Solution). It cannot be changed later.`,
			Default:       backend.GrantClientCredentials,
			AllowedValues: []any{backend.GrantClientCredentials, backend.GrantIDAuth},
			DisplayAttrs:  &framework.DisplayAttributes{Name: "Grant type", Group: "Endpoint"},
		},
		string(backend.TokenURL): {
			Type:         framework.TypeString,
			Description:  "GBG's token endpoint: https, or http to a loopback address. The default is GBG GO's or GBG Identity Solution's, by grant_type. A write that changes it must give the secrets again.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Token URL", Group: "Endpoint"},
		},
		string(backend.Scope): {
			Type:         framework.TypeString,
			Description:  `The scope to ask GBG for, space-separated. The default is "gbg.token", which GBG GO requires; none for "id_auth", where GBG then grants all that is allowed.`,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Scope", Group: "Endpoint"},
		},
		string(backend.IDPTokenURL): {
			Type:         framework.TypeString,
			Description:  `For "id_auth": the identity provider's token endpoint. The clients are then the identity provider's, and their tokens are exchanged at token_url. Without it there are no clients: callers bring the tokens to exchange. A write that changes it must give the secrets of both clients again.`,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Identity provider token URL", Group: "Identity Solution"},
		},
		string(backend.IDPScope): {
			Type:         framework.TypeString,
			Description:  `For "id_auth": the scope to ask the identity provider for, space-separated. The default is none.`,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Identity provider scope", Group: "Identity Solution"},
		},
		string(backend.ExchangeClientID): {
			Type:         framework.TypeString,
			Description:  `For "id_auth": the client id that an exchange sends. The default is "ro.client", as GBG documents it.`,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Exchange client ID", Group: "Identity Solution"},
		},
		string(backend.ExchangeClientSecret): {
			Type:         framework.TypeString,
			Description:  "For \"id_auth\": the client secret that an exchange sends. The default is the constant that GBG documents. It is never shown again.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Exchange client secret", Group: "Identity Solution", Sensitive: true},
		},
		string(backend.CAPEM): {
			Type:         framework.TypeString,
			Description:  "PEM certificates to trust for this connection instead of the system's.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "CA certificates", Group: "Endpoint", EditType: "textarea"},
		},
		string(backend.RefreshBefore): {
			Type:         framework.TypeDurationSecond,
			Description:  "How long before a token expires the next one is fetched; never more than a third of its lifetime.",
			Default:      seconds(backend.DefaultRefreshBefore),
			DisplayAttrs: &framework.DisplayAttributes{Name: "Refresh before", Group: "Timing"},
		},
		string(backend.RequestTimeout): {
			Type:         framework.TypeDurationSecond,
			Description:  "How long one request may wait for GBG, up to a minute.",
			Default:      seconds(backend.DefaultRequestTimeout),
			DisplayAttrs: &framework.DisplayAttributes{Name: "Request timeout", Group: "Timing"},
		},
		string(backend.Failover): {
			Type:         framework.TypeBool,
			Description:  "Whether the standby takes over by itself when GBG refuses the active client.",
			Default:      true,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Failover", Group: "Clients"},
		},
		string(backend.MaxSecretAge): {
			Type:         framework.TypeDurationSecond,
			Description:  "The age of the active client's secret from which on answers carry a warning. 0 is never.",
			Default:      0,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Greatest secret age", Group: "Clients"},
		},
		string(backend.LeaseTokens): {
			Type:         framework.TypeBool,
			Description:  "Give every reader a token of its own, under a Vault lease that ends with it. The default is one token for all, without a lease.",
			Default:      false,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Lease tokens", Group: "Leases"},
		},
		string(backend.RevokeURL): {
			Type:         framework.TypeString,
			Description:  "Where leased tokens are revoked when their lease ends (RFC 7009): https, or http to a loopback address. Without it they live on until they expire. A write that changes it must give the secrets of both clients again.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Revocation URL", Group: "Leases"},
		},
		verifyField: {
			Type:         framework.TypeBool,
			Description:  "Get a token with every client that this write sets or changes, before storing anything. Not stored itself.",
			Default:      true,
			DisplayAttrs: &framework.DisplayAttributes{Name: "Verify connection"},
		},
	}
}

// configAnswer is what a read gives: no secret, and nothing that has no use for
// the connection.
func configAnswer() map[string]*framework.FieldSchema {
	answer := configFields()
	delete(answer, string(backend.ClientSecret))
	delete(answer, string(backend.PairedClientSecret))
	delete(answer, string(backend.ExchangeClientSecret))
	delete(answer, verifyField)
	for field, schema := range answer {
		schema.Required = !slices.Contains([]backend.Setting{
			backend.ClientID, backend.PairedClientID, backend.IDPTokenURL, backend.IDPScope, backend.ExchangeClientID,
		}, backend.Setting(field))
	}
	answer["active_client_id"] = &framework.FieldSchema{
		Type:        framework.TypeString,
		Description: "Which of the two clients tokens are issued to. Only a rotation changes it. Left out if there are none.",
	}
	return answer
}
