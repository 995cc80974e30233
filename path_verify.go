package gbg

import (
	"context"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

func (d *handlers) verifyPaths() []*framework.Path {
	return withOptionalName("verify", func(fields map[string]*framework.FieldSchema) *framework.Path {
		return &framework.Path{
			Fields: fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: &framework.PathOperation{
					Callback: d.verify,
					Summary:  "Get a token with every client of the pair, and change nothing.",
					Responses: map[int][]framework.Response{
						http.StatusOK: {{Description: "The result for each client, also if GBG refused one.", Fields: verifyAnswer()}},
					},
					ForwardPerformanceStandby:   true,
					ForwardPerformanceSecondary: true,
				},
			},
			DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "clients", OperationVerb: "verify"},
			HelpSynopsis:    "Check that GBG accepts both clients, without changing anything.",
			HelpDescription: strings.TrimSpace(verifyHelp),
		}
	})
}

func verifyAnswer() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"connection": {Type: framework.TypeString, Required: true, Description: "Name of the connection."},
		"clients": {
			Type: framework.TypeSlice, Required: true,
			Description: "For each client, the active one first: client_id (and username, in the password grant), active, result (ok, refused or unreachable), error, scope, lifetime in seconds, and warnings.",
		},
	}
}

func (d *handlers) verify(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := connectionName(data)
	report, err := d.engine.Verify(ctx, name)
	if err != nil {
		return d.errorResponse(req, name, err)
	}
	resp := &logical.Response{}
	clients := make([]any, 0, len(report.Clients))
	for _, c := range report.Clients {
		client := verifiedClient(c)
		putText(client, string(connection.ClientID), report.Organization)
		client[report.Fields.IDKey()] = c.ID
		clients = append(clients, client)
		resp.Warnings = append(resp.Warnings, c.Warnings...)
	}
	resp.Data = map[string]any{"connection": name, "clients": clients}
	return resp, nil
}

// verifiedClient is one client in an answer.
func verifiedClient(c backend.ClientVerification) map[string]any {
	client := map[string]any{"active": c.Active, "result": string(c.Result)}
	putText(client, "error", c.Error)
	if c.Result == backend.ProofOK {
		client["scope"] = c.Scope
		client["lifetime"] = seconds(c.Lifetime)
	}
	if len(c.Warnings) > 0 {
		client["warnings"] = c.Warnings
	}
	return client
}

const verifyHelp = `
Gets a token from GBG with every client of the pair, and reports the results. Do
this before and after each rotation, and whenever the standby's secret may have
changed at GBG:

  $ vault write -f -format=json gbg/verify

The tokens are discarded, and revoked if the connection has a revoke_url. Nothing
changes: neither which client is active nor what readers get. gbg/status shows the
outcome afterwards. The answer is 200 also if GBG refuses a client:

  result           ok, refused by GBG, or unreachable for any other reason
  error            why there was no token
  scope, lifetime  those of the token
`
