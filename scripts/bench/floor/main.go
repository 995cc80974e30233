// Command floor is the least that an external Vault plugin can do: a secrets
// engine on the same SDK that answers every read of "constant" with what was
// last written there, from memory. It is what the engine's reads are measured
// against.
//
// "usual" answers the same, but its path is declared as paths of plugins usually
// are, with Operations. For these the SDK asks Vault for its replication state
// in every request, one call from the plugin back to Vault, which "constant"
// does without.
package main

import (
	"context"
	"os"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		hclog.New(&hclog.LoggerOptions{}).Error("plugin stopped", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	meta := &api.PluginAPIClientMeta{}
	if err := meta.FlagSet().Parse(args); err != nil {
		return err
	}
	return plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: factory,
		TLSProviderFunc:    api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	})
}

func factory(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
	c := &constant{}
	b := &framework.Backend{
		BackendType: logical.TypeLogical,
		Paths: []*framework.Path{
			{
				Pattern:             "constant",
				TakesArbitraryInput: true,
				Callbacks: map[logical.Operation]framework.OperationFunc{
					logical.UpdateOperation: c.write,
					logical.ReadOperation:   c.read,
				},
			},
			{
				Pattern: "usual",
				Operations: map[logical.Operation]framework.OperationHandler{
					logical.ReadOperation: &framework.PathOperation{Callback: c.read},
				},
			},
		},
	}
	return b, b.Setup(ctx, config)
}

// constant is the answer to every read.
type constant struct {
	answer atomic.Pointer[map[string]any]
}

func (c *constant) write(_ context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	c.answer.Store(&req.Data)
	return nil, nil
}

func (c *constant) read(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
	answer := c.answer.Load()
	if answer == nil {
		return logical.ErrorResponse("nothing was written yet"), nil
	}
	return &logical.Response{Data: *answer}, nil
}
