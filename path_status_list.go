package gbg

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
)

// statusListPath is separate because Vault adds a slash to the path of every list.
func (d *handlers) statusListPath() *framework.Path {
	return &framework.Path{
		Pattern: "status/",
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: &framework.PathOperation{
				Callback: d.listStatus,
				Summary:  "Read the status of all connections.",
				Responses: map[int][]framework.Response{
					http.StatusOK: {{Description: "The names, with a short status of each.", Fields: map[string]*framework.FieldSchema{
						"keys":     {Type: framework.TypeStringSlice, Description: "Names of the connections, those in the worst state first."},
						"key_info": {Type: framework.TypeMap, Description: "By name: state, active, secret_age, token_ttl, error."},
					}}},
				},
				ForwardPerformanceStandby: true, // as for the status of one
			},
		},
		DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "list", OperationSuffix: "statuses"},
		HelpSynopsis:    "Read the status of all connections, one line each.",
		HelpDescription: strings.TrimSpace(statusListHelp),
	}
}

func (d *handlers) listStatus(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	connections, err := d.engine.Statuses(ctx)
	if err != nil {
		return d.errorResponse(req, "", err)
	}
	rank := map[backend.ConnectionState]int{}
	for i, state := range backend.ConnectionStates() {
		rank[state] = i
	}
	slices.SortStableFunc(connections, func(a, b backend.Status) int { return cmp.Compare(rank[a.State], rank[b.State]) })
	names := make([]string, 0, len(connections))
	entries := make(map[string]any, len(connections))
	for i := range connections {
		s := &connections[i]
		names = append(names, s.Connection)
		entries[s.Connection] = listEntry(s)
	}
	return logical.ListResponseWithInfo(names, entries), nil
}

// listEntry returns a line of the list. Every line has all columns, or Vault's table
// would leave out those that no line has.
func listEntry(s *backend.Status) map[string]any {
	entry := map[string]any{
		"state":      string(s.State),
		"active":     cmp.Or(s.Active.ID, "-"),
		"secret_age": int64(0),
		"token_ttl":  int64(0),
		"error":      cmp.Or(s.LastErrorResult, s.Standby.Refusal.Result, "-"),
	}
	if !s.Active.SecretSetTime.IsZero() {
		entry["secret_age"] = seconds(max(s.Time.Sub(s.Active.SecretSetTime), 0))
	}
	if !s.TokenExpireTime.IsZero() {
		entry["token_ttl"] = seconds(s.TokenExpireTime.Sub(s.Time))
	}
	return entry
}

const statusListHelp = `
A line for each connection of this mount, those in the worst state first. The
table is there with -detailed:

  $ vault list -detailed gbg/status

  state       ok, or what is wrong, in one word
  active      the client that tokens are requested with
  secret_age  age of the active client's secret, in seconds
  token_ttl   how long the current token is still valid, in seconds
  error       how the last token request failed, or the standby was refused

"vault read gbg/status/NAME" shows more. As everywhere in Vault, anyone who may
list sees all names.
`
