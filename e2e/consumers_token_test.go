package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// tokenScript runs examples/consumers/gbg-token.sh.
type tokenScript struct {
	t   *testing.T
	env []string
}

// newTokenScript makes it read a path of a Vault, with the cache in a separate directory.
func newTokenScript(t *testing.T, vault, path string, env ...string) *tokenScript {
	t.Helper()
	needs(t, "bash", "curl", "jq", "flock")
	return &tokenScript{t: t, env: append(env,
		"PATH="+os.Getenv("PATH"), "XDG_RUNTIME_DIR="+t.TempDir(), "VAULT_ADDR="+vault, "GBG_CREDS_PATH="+path)}
}

// run returns what the script prints, and what it prints about failures.
func (s *tokenScript) run() (token, messages string, err error) {
	cmd := exec.CommandContext(s.t.Context(), "../examples/consumers/gbg-token.sh")
	cmd.Env = s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return strings.TrimSuffix(stdout.String(), "\n"), stderr.String(), err
}

// Scripts that run again and again, ten at a time, read Vault once a token. Its failure
// changes nothing while the token is valid.
func TestTokenScript(t *testing.T) {
	t.Parallel()
	const lifetime, tokens = 20 * time.Second, 3
	server := newDevServer(t)
	audit := enableAudit(t, server)
	g := newGBG(t, lifetime)
	m := newMount(t, server)
	m.write("config", g.pair())
	require.NoError(t, m.client.Sys().PutPolicyWithContext(t.Context(), m.path, `path "`+m.path+`/creds" { capabilities = ["read"] }`))
	vault := newShakyVault(t, server, 2)
	script := newTokenScript(t, vault.url, m.path+"/creds", "VAULT_TOKEN="+m.as(m.path).client.Token())

	var mu sync.Mutex
	seen, runs, kept := map[string]bool{}, 0, 0
	for end := time.Now().Add(2 * time.Minute); len(seen) < tokens && time.Now().Before(end); {
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				token, messages, err := script.run()
				if !assert.NoError(t, err, messages) {
					return
				}
				accepted, err := g.call(t.Context(), token)
				assert.NoError(t, err)
				assert.True(t, accepted)
				mu.Lock()
				defer mu.Unlock()
				seen[token] = true
				runs++
				kept += strings.Count(messages, "keeping the old token")
			})
		}
		group.Wait()
		time.Sleep(callPause)
	}
	reads := audit.reads(t, m.path+"/creds")
	t.Logf("%d runs, %d tokens, %d reads", runs, len(seen), reads)
	assert.Len(t, seen, tokens)
	assert.Equal(t, 1, kept, "the read that failed")
	assert.GreaterOrEqual(t, reads, tokens)
	assert.LessOrEqual(t, reads, tokens+1)
}

func TestTokenScriptWithoutToken(t *testing.T) {
	t.Parallel()
	server := newDevServer(t)
	m := newMount(t, server)
	script := newTokenScript(t, server.Address(), m.path+"/creds", "VAULT_TOKEN=fake-token")
	token, messages, err := script.run()
	require.Error(t, err)
	assert.Empty(t, token)
	assert.Contains(t, messages, "gbg-token: no token")
	assert.NotContains(t, messages, "fake-token")
}

// Other users can see neither the cache nor, on a command line, a token.
func TestTokenScriptKeepsTokensToItself(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	m := configured(t, g)
	dir := t.TempDir()
	curl, err := exec.LookPath("curl")
	require.NoError(t, err)
	// A curl that notes its command line.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "curl"), []byte("#!/bin/sh\necho \"$@\" >"+dir+"/arguments\nexec "+curl+" \"$@\"\n"), 0o700))
	script := newTokenScript(t, suite.server.Address(), m.path+"/creds", "VAULT_TOKEN="+suite.server.Token(), "GBG_TOKEN_CACHE="+filepath.Join(dir, "cache"))
	for i := range script.env {
		script.env[i] = strings.Replace(script.env[i], "PATH=/", "PATH="+dir+":/", 1)
	}
	token, messages, err := script.run()
	require.NoError(t, err, messages)
	assert.True(t, strings.HasPrefix(token, gbgsim.TokenPrefix))
	arguments, err := os.ReadFile(filepath.Join(dir, "arguments"))
	require.NoError(t, err)
	assert.NotContains(t, string(arguments), suite.server.Token())
	for _, name := range []string{"cache", "cache.lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode(), name)
	}
}
