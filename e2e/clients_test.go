package e2e

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// exampleClients returns how to start each of examples/clients.
func exampleClients(t *testing.T) map[string][]string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "go-client")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../examples/clients/go").CombinedOutput()
	require.NoError(t, err, "%s", out)

	return map[string][]string{
		"shell":  {"bash", "../examples/clients/shell/gbg-client.sh"},
		"go":     {binary},
		"python": {"python3", "../examples/clients/python/gbg_client.py"},
		"node":   {"node", "../examples/clients/node/gbg-client.mjs"},
	}
}

// Each of examples/clients keeps its token over some lifetimes: GBG's API refuses
// no call, and Vault is read once a token, as its audit log says. The second read
// meets a Vault that cannot answer.
func TestExampleClients(t *testing.T) {
	t.Parallel()
	const lifetime, tokens = 15 * time.Second, 4
	server := newDevServer(t)
	audit := enableAudit(t, server)
	for name, command := range exampleClients(t) {
		t.Run(name, func(t *testing.T) {
			needs(t, command[0])
			if name == "shell" {
				needs(t, "curl", "jq")
			}
			t.Parallel()
			g := newGBG(t, lifetime)
			m := newMount(t, server)
			m.write("config", g.pair())
			require.NoError(t, m.client.Sys().PutPolicyWithContext(t.Context(), m.path, `path "`+m.path+`/creds" { capabilities = ["read"] }`))
			vault := newShakyVault(t, server, 2)
			asked := g.Stats().TokenRequests.Total - 1 // the token that config's verification got is the first

			client := startClient(t, command,
				"VAULT_ADDR="+vault.url, "VAULT_TOKEN="+m.as(m.path).client.Token(), "GBG_CREDS_PATH="+m.path+"/creds", "GBG_API="+g.url+gbgsim.APIPath)
			require.Eventually(t, func() bool { return g.Stats().TokenRequests.Total-asked >= tokens }, 5*time.Minute, 100*time.Millisecond,
				"%d tokens", tokens)
			calls := g.Stats().APICalls
			fetched := g.Stats().TokenRequests.Total - asked
			client.stop()

			assert.Zero(t, calls.Refused)
			assert.Greater(t, calls.Accepted, tokens, "more calls than tokens")
			assert.Equal(t, int32(1), vault.failed.Load(), "the trouble that it was to meet")
			reads := audit.reads(t, m.path+"/creds")
			t.Logf("%d calls, %d tokens, %d reads", calls.Accepted, fetched, reads)
			assert.GreaterOrEqual(t, reads, tokens-1)
			assert.LessOrEqual(t, reads, fetched+1, "one read a token")
			assert.NotContains(t, client.output.String(), gbgsim.TokenPrefix, "what it prints holds no token")
		})
	}
}

// A client whose token GBG's API has refused gets a newer one at once. If GBG refuses
// every token, it asks for no more than one newer one, and goes on with its calls.
func TestExampleClientsWithARefusedToken(t *testing.T) {
	t.Parallel()
	server := newDevServer(t)
	audit := enableAudit(t, server)
	for name, command := range exampleClients(t) {
		t.Run(name, func(t *testing.T) {
			needs(t, command[0])
			if name == "shell" {
				needs(t, "curl", "jq")
			}
			t.Parallel()
			g := newGBG(t, time.Hour)
			m := newMount(t, server)
			pair := g.pair()
			m.write("config", pair)
			require.NoError(t, m.client.Sys().PutPolicyWithContext(t.Context(), m.path, `path "`+m.path+`/creds" { capabilities = ["read"] }`))
			client := startClient(t, command,
				"VAULT_ADDR="+server.Address(), "VAULT_TOKEN="+m.as(m.path).client.Token(), "GBG_CREDS_PATH="+m.path+"/creds", "GBG_API="+g.url+gbgsim.APIPath)
			accepted := func(n int) {
				t.Helper()
				require.Eventually(t, func() bool { return g.Stats().APICalls.Accepted >= n }, time.Minute, 50*time.Millisecond)
			}
			accepted(2)
			id := pair["client_id"].(string)
			require.NoError(t, g.RevokeTokens(id))
			accepted(g.Stats().APICalls.Accepted + 2)
			assert.Equal(t, 1, g.Stats().APICalls.Refused, "the call that found out")
			require.NoError(t, g.RevokeTokens(id))
			require.Eventually(t, func() bool { return g.Stats().APICalls.Refused >= 4 }, time.Minute, 50*time.Millisecond)
			client.stop()
			assert.Equal(t, 2, audit.reads(t, m.path+"/creds"), "the first one, and one newer one")
			assert.NotContains(t, client.output.String(), gbgsim.TokenPrefix, "what it prints holds no token")
		})
	}
}

// needs skips a test on a machine without the programs it runs. CI has them.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("CI must have %s: see .ci/run", program)
			}
			t.Skipf("no %s on this machine", program)
		}
	}
}

// clientProcess is a running example.
type clientProcess struct {
	cmd    *exec.Cmd
	output *vaultserver.Output
}

func startClient(t *testing.T, command []string, env ...string) *clientProcess {
	t.Helper()
	c := &clientProcess{cmd: exec.CommandContext(t.Context(), command[0], command[1:]...), output: &vaultserver.Output{}}
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + suite.dir}
	c.cmd.Env = append(c.cmd.Env, env...)
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	// A group of its own, so that what it has started ends with it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, c.cmd.Start())
	t.Cleanup(c.stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.output)
		}
	})
	return c
}

// stop ends it. Stopping twice is no error.
func (c *clientProcess) stop() {
	if c.cmd.ProcessState == nil {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM)
		_ = c.cmd.Wait() // ended by a signal is no success
	}
}

// shakyVault leads to a Vault, but for one request.
type shakyVault struct {
	url    string
	seen   atomic.Int32
	failed atomic.Int32
}

// newShakyVault answers the request of that number with 503; 1 is the first.
func newShakyVault(t *testing.T, server *vaultserver.Server, bad int32) *shakyVault {
	t.Helper()
	target, err := url.Parse(server.Address())
	require.NoError(t, err)
	v := &shakyVault{}
	forward := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.seen.Add(1) == bad {
			v.failed.Add(1)
			http.Error(w, `{"errors":["not now"]}`, http.StatusServiceUnavailable)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	v.url = front.URL
	return v
}

// auditLog is a Vault's, in a file.
type auditLog struct{ file string }

func enableAudit(t *testing.T, server *vaultserver.Server) auditLog {
	t.Helper()
	log := auditLog{file: filepath.Join(t.TempDir(), "audit.log")}
	client, err := server.Client("")
	require.NoError(t, err)
	require.NoError(t, client.Sys().EnableAuditWithOptionsWithContext(t.Context(), "file",
		&api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": log.file}}))
	return log
}

// reads counts the requests that read a path.
func (l auditLog) reads(t *testing.T, path string) (count int) {
	t.Helper()
	file, err := os.Open(l.file)
	require.NoError(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if !strings.Contains(lines.Text(), path) {
			continue
		}
		var entry struct {
			Type    string
			Request struct{ Operation, Path string }
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &entry))
		if entry.Type == "request" && entry.Request.Operation == "read" && entry.Request.Path == path {
			count++
		}
	}
	return count
}
