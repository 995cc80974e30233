package consumers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	managerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"
)

// Envoy's own types take the configuration, unknown fields included in the check, and the
// secret that Agent writes is the one that the credential injector reads.
func TestEnvoy(t *testing.T) {
	source := requireEnvoyCredential(t)
	require.Equal(t, "/run/gbg/envoy-sds.json", source.GetSdsConfig().GetPathConfigSource().GetPath())

	w := newWorld(t, time.Hour)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "envoy-agent.hcl"),
		[]byte(strings.ReplaceAll(w.example("consumers/envoy-agent.hcl"), "/run/gbg", dir)), 0o600))
	for _, pair := range w.appRole() {
		name, value, _ := strings.Cut(pair, "=")
		file := map[string]string{"VAULT_ROLE_ID": "role-id", "VAULT_SECRET_ID": "secret-id"}[name]
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(value), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), suite.vault, "agent", "-config=envoy-agent.hcl")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "VAULT_ADDR=" + w.vault.Address()}
	start(t, cmd)
	var written []byte
	require.Eventually(t, func() (ok bool) {
		var err error
		written, err = os.ReadFile(filepath.Join(dir, "envoy-sds.json"))
		return err == nil
	}, time.Minute, 50*time.Millisecond)

	var answer discoveryv3.DiscoveryResponse
	require.NoError(t, protojson.Unmarshal(written, &answer))
	require.Len(t, answer.GetResources(), 1)
	var secret tlsv3.Secret
	require.NoError(t, answer.GetResources()[0].UnmarshalTo(&secret))
	require.NoError(t, secret.ValidateAll())
	assert.Equal(t, source.GetName(), secret.GetName())
	assert.Equal(t, "Bearer "+w.token(), secret.GetGenericSecret().GetSecret().GetInlineString())
}

// requireEnvoyCredential parses and validates envoy.yaml, and returns where its credential
// comes from.
func requireEnvoyCredential(t *testing.T) *tlsv3.SdsSecretConfig {
	t.Helper()
	content, err := yaml.YAMLToJSONStrict([]byte(readExample(t, "consumers/envoy.yaml")))
	require.NoError(t, err)
	var bootstrap bootstrapv3.Bootstrap
	require.NoError(t, protojson.Unmarshal(content, &bootstrap))
	require.NoError(t, bootstrap.ValidateAll())
	var manager managerv3.HttpConnectionManager
	require.NoError(t, bootstrap.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(&manager))
	require.NoError(t, manager.ValidateAll())
	var injector injectorv3.CredentialInjector
	require.NoError(t, manager.GetHttpFilters()[0].GetTypedConfig().UnmarshalTo(&injector))
	require.NoError(t, injector.ValidateAll())
	var generic genericv3.Generic
	require.NoError(t, injector.GetCredential().GetTypedConfig().UnmarshalTo(&generic))
	require.NoError(t, generic.ValidateAll())
	var tls tlsv3.UpstreamTlsContext
	require.NoError(t, bootstrap.GetStaticResources().GetClusters()[0].GetTransportSocket().GetTypedConfig().UnmarshalTo(&tls))
	require.NoError(t, tls.ValidateAll())
	return generic.GetCredential()
}
