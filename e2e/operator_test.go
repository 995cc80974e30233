package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// What Vault Secrets Operator needs to see a static credential and to leave the
// Secret alone while the token is the same. make test-kubernetes asks the
// operator's own code.
func TestAnswerIsAStaticCredential(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	server := newRaftServer(t, suite.pluginDir)
	m := newMount(t, server)
	m.write("config", g.pair())

	s := m.read("creds")
	assert.Empty(t, s.LeaseID)
	assert.False(t, s.Renewable)
	_, err := time.Parse(time.RFC3339Nano, s.Data["last_vault_rotation"].(string))
	require.NoError(t, err)
	for _, key := range []string{"rotation_period", "ttl"} {
		n, err := s.Data[key].(json.Number).Int64()
		require.NoError(t, err, "%s is an integer", key)
		assert.Positive(t, n, key)
	}
	assert.NotContains(t, s.Data, "rotation_schedule")

	first := compared(s.Data)
	assert.Contains(t, first, "access_token")
	for name, event := range map[string]func(){
		"nothing": func() {},
		"reload": func() {
			_, err := m.client.Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
			require.NoError(t, err)
		},
		"restart": func() { require.NoError(t, server.Restart(t.Context())) },
	} {
		event()
		assert.Equal(t, first, compared(m.read("creds").Data), name)
	}
}

// compared are the keys that the operator takes an HMAC of.
func compared(data map[string]any) map[string]any {
	rest := map[string]any{}
	for key, value := range data {
		ignored := strings.HasPrefix(key, "ttl") || strings.HasSuffix(key, "_raw")
		for _, part := range []string{"rotation_period", "rotation_schedule", "last_vault_rotation"} {
			ignored = ignored || strings.Contains(key, part)
		}
		if !ignored {
			rest[key] = value
		}
	}
	return rest
}
