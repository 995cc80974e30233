package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Somebody who types what docs/agent.md says, in order, gets what it promises.
func TestAgentPageAsWritten(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	someone, _, m := newReaderWithMount(t, newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": g.Simulator}))
	m.write("config/team-a", map[string]any{"client_id": g.a.ID, "client_secret": g.a.Secret})

	output := someone.follow("../docs/agent.md", nil)
	files := output["Write the token to a file"]
	assert.Equal(t, 2, strings.Count(files, "-rw------- "), files)
	assert.Contains(t, files, "valid until "+m.read("creds/team-a").Data["expire_time"].(string))

	token, err := os.ReadFile(filepath.Join(someone.dir, "job.token"))
	require.NoError(t, err)
	owner, live := g.TokenClient(string(token))
	assert.True(t, live)
	assert.Equal(t, g.a.ID, owner)

	require.Eventually(t, func() bool {
		log, err := os.ReadFile(filepath.Join(someone.dir, "app.log"))
		return err == nil && strings.Contains(string(log), "started with a token of ")
	}, time.Minute, 100*time.Millisecond, "Agent starts the program")
}
