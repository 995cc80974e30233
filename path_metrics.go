package gbg

import (
	"context"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/internal/metrics"
)

func (d *handlers) metricsPath() *framework.Path {
	return &framework.Path{
		Pattern: "metrics",
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback: d.readMetrics,
				Summary:  "Get the metrics of this mount in the Prometheus text format.",
				Responses: map[int][]framework.Response{
					http.StatusOK: {{MediaType: metrics.ContentType, Description: "The metrics, as text."}},
				},
			},
		},
		DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "metrics", OperationVerb: "read"},
		HelpSynopsis:    "Get metrics for Prometheus.",
		HelpDescription: strings.TrimSpace(metricsHelp),
	}
}

func (d *handlers) readMetrics(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	connections, err := d.engine.Statuses(ctx)
	if err != nil {
		return d.errorResponse(req, "", err)
	}
	text, err := d.metrics.Text(connections)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{
		logical.HTTPContentType: metrics.ContentType,
		logical.HTTPRawBody:     text,
		logical.HTTPStatusCode:  http.StatusOK,
	}}, nil
}

const metricsHelp = `
Requests to GBG with their durations and results, reads by where their token
came from, when tokens and secrets end, which client is active, rotations and
failovers, failures in a row: of all connections of this mount, in the text
format that Prometheus reads. It holds no secret and no token.

The answer is text and not JSON, which "vault read" cannot show:

  $ curl -H "X-Vault-Token: $(vault print token)" $VAULT_ADDR/v1/gbg/metrics

Counters start at zero when the plugin starts, and count what happens on this
node. A node that forwards all reads returns those of the active node.
`
