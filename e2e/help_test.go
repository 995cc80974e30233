package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHelpAtEveryPath(t *testing.T) {
	m := newMount(t, suite.server)
	for path, want := range map[string]string{
		"":              "vault read gbg/creds",
		"config":        "paired_client_id",
		"config/team-a": "Name of the connection",
		"creds":         "Get a short-lived GBG access token.",
		"creds/team-a":  "Read again when it has passed",
		"rotate":        "Make the standby client the active one",
		"rotate/team-a": "The standby's new secret",
		"status":        "no secret and no token",
		"status/team-a": "Name of the connection",
	} {
		help, err := m.client.HelpWithContext(t.Context(), m.path+"/"+path)
		require.NoError(t, err, path)
		assert.Contains(t, help.Help, want, path)
		assert.NotContains(t, help.Help, "<no ", path)
	}
}

// Vault's UI and the client generators read this document.
func TestOpenAPIDocumentNamesEveryPath(t *testing.T) {
	m := configured(t, newGBG(t, time.Hour))
	s, err := m.client.Logical().ReadWithContext(t.Context(), "sys/internal/specs/openapi")
	require.NoError(t, err)
	paths := s.Data["paths"].(map[string]any)
	for _, path := range []string{"config", "creds", "rotate", "status"} {
		assert.Contains(t, paths, "/"+m.path+"/"+path)
		assert.Contains(t, paths, "/"+m.path+"/"+path+"/{name}")
	}
}
