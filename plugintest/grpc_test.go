package plugintest

import (
	"context"
	"testing"

	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/vault/sdk/logical"
	sdkplugin "github.com/hashicorp/vault/sdk/plugin"
	"github.com/stretchr/testify/require"

	gbg "gbg.example/vault-plugin-secrets-gbg"
)

// newGRPCBackend runs the whole plugin behind the SDK's own gRPC services, in one
// process, and returns the client that Vault would have of it. Requests, storage,
// system view and events cross the protocol as they do for a plugin process: an
// error of the storage arrives as text. The backend is closed with the test.
func newGRPCBackend(tb testing.TB, options gbg.Options, config *logical.BackendConfig) logical.Backend {
	tb.Helper()
	client, server := plugin.TestPluginGRPCConn(tb, false, map[string]plugin.Plugin{
		sdkplugin.BackendPluginName: &sdkplugin.GRPCBackendPlugin{Factory: gbg.NewFactory(options), Logger: config.Logger},
	})
	dispensed, err := client.Dispense(sdkplugin.BackendPluginName)
	require.NoError(tb, err)
	b := dispensed.(logical.Backend)
	require.NoError(tb, b.Setup(tb.Context(), config))
	tb.Cleanup(func() {
		b.Cleanup(context.Background()) // also stops the server of the storage
		_ = client.Close()              // stops the plugin's server, whose answer may not come any more
		<-server.DoneCh
	})
	return b
}

// newGRPCMount makes a mount on the world's storage as Vault makes that of a plugin
// process, on a node that is as system says; nil is an active node.
func (w *world) newGRPCMount(system logical.SystemView) *mount {
	w.t.Helper()
	if system == nil {
		system = activeNode()
	}
	config := w.backendConfig()
	config.System = system
	b := newGRPCBackend(w.t, w.factoryOptions(gbg.Options{}), config)
	return &mount{world: w, backend: b}
}
