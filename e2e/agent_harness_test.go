package e2e

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// agents is where Vault Agents run: a Vault of their own, with the plugin at
// gbg/ as the files in examples/agent have it, seen with all rights.
type agents struct {
	*mount
	server *vaultserver.Server
	audit  string // the audit log's file
}

// newAgents starts a server that can be restarted.
func newAgents(t *testing.T) *agents {
	t.Helper()
	server := newRaftServer(t, suite.pluginDir)
	client, err := server.Client("")
	require.NoError(t, err)
	w := &agents{
		mount:  &mount{t: t, path: "gbg", client: client},
		server: server, audit: filepath.Join(t.TempDir(), "audit.log"),
	}
	require.NoError(t, server.Enable(t.Context(), w.path))
	require.NoError(t, client.Sys().EnableAuditWithOptionsWithContext(t.Context(), "file",
		&api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": w.audit}}))
	require.NoError(t, client.Sys().EnableAuthWithOptionsWithContext(t.Context(), "approle", &api.EnableAuthOptions{Type: "approle"}))
	return w
}

// agent is a running Vault Agent with a folder of its own.
type agent struct {
	t          *testing.T
	connection string
	dir        string
	log        *vaultserver.Output
	files      *watchedFiles
	stop       func()
}

// agentOptions are what an Agent is started with, beside the files in examples.
type agentOptions struct {
	// config is which of them.
	config string
	// role replaces what the AppRole is created with: a token with a period.
	role map[string]any
	// jsonQuery is added to the path in the second template.
	jsonQuery string
	// env is added to Agent's environment.
	env []string
}

// start starts Agent with one of the examples, for a connection that is
// configured already. They name team-a: for another connection they are the same
// with its name in them.
func (w *agents) start(connection string, o agentOptions) *agent {
	w.t.Helper()
	a := &agent{t: w.t, connection: connection, dir: w.t.TempDir(), log: &vaultserver.Output{}}
	example := func(name string) string {
		content, err := os.ReadFile(filepath.Join("../examples", name))
		require.NoError(w.t, err)
		return strings.ReplaceAll(string(content), "team-a", connection)
	}
	a.write("role-id", w.role(connection, example("policies/team-reader.hcl"), o.role))
	a.write("secret-id", w.secretID(connection))
	a.write(o.config, example("agent/"+o.config))
	a.write("gbg.env.ctmpl", example("agent/gbg.env.ctmpl"))
	a.write("gbg.json.ctmpl", strings.Replace(example("agent/gbg.json.ctmpl"),
		"creds/"+connection, "creds/"+connection+o.jsonQuery, 1))
	program, err := os.Executable()
	require.NoError(w.t, err)
	require.NoError(w.t, os.Symlink(program, a.path("app")))
	a.files = watchFiles(w.t, a.dir)

	// The test's own context ends before its clean-up, which has a question.
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	cmd := exec.CommandContext(ctx, suite.vault, "agent", "-config="+o.config)
	stopGently(cmd)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), append(o.env, "HOME="+a.dir, "VAULT_ADDR="+w.server.Address(), "VAULT_TOKEN=")...)
	cmd.Stdout, cmd.Stderr = a.log, a.log
	require.NoError(w.t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	a.stop = sync.OnceFunc(func() {
		select {
		case <-ended:
			assert.Fail(w.t, "Agent has ended by itself", a.log)
		default:
		}
		cancel()
		<-ended
	})
	w.t.Cleanup(a.stop)
	return a
}

// role makes an AppRole of the connection's name, and gives its id.
func (w *agents) role(name, policy string, settings map[string]any) (id string) {
	w.t.Helper()
	require.NoError(w.t, w.client.Sys().PutPolicyWithContext(w.t.Context(), name, policy))
	role := map[string]any{"token_policies": name}
	if settings == nil {
		settings = map[string]any{"token_period": "1h"}
	}
	maps.Copy(role, settings)
	_, err := w.client.Logical().WriteWithContext(w.t.Context(), "auth/approle/role/"+name, role)
	require.NoError(w.t, err)
	s, err := w.client.Logical().ReadWithContext(w.t.Context(), "auth/approle/role/"+name+"/role-id")
	require.NoError(w.t, err)
	return s.Data["role_id"].(string)
}

func (w *agents) secretID(role string) string {
	w.t.Helper()
	s, err := w.client.Logical().WriteWithContext(w.t.Context(), "auth/approle/role/"+role+"/secret-id", nil)
	require.NoError(w.t, err)
	return s.Data["secret_id"].(string)
}

// reads gives what Vault answered an Agent's reads of its connection, by the
// audit log.
func (w *agents) reads(a *agent) (tokens, failures int) {
	w.t.Helper()
	log, err := os.ReadFile(w.audit)
	require.NoError(w.t, err)
	// The last line may be half written.
	complete := string(log[:strings.LastIndexByte(string(log), '\n')+1])
	for _, entry := range readsInAudit(w.t, complete, w.path+"/creds/"+a.connection) {
		switch {
		case entry["type"] != "response" || !byRole(entry, a.connection):
		case entry["error"] != nil:
			failures++
		default:
			tokens++
		}
	}
	return tokens, failures
}

// byRole says whether a request in the audit log came from a Vault token of an
// AppRole.
func byRole(entry map[string]any, role string) bool {
	auth, _ := entry["auth"].(map[string]any)
	metadata, _ := auth["metadata"].(map[string]any)
	return metadata["role_name"] == role
}

// said counts how often Agent has logged a text.
func (a *agent) said(text string) int { return strings.Count(a.log.String(), text) }

// logins counts how often Agent has logged in to Vault.
func (a *agent) logins() int { return a.said("authentication successful") }

func (a *agent) path(name string) string { return filepath.Join(a.dir, name) }

func (a *agent) write(name, content string) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(a.path(name), []byte(content), 0o600))
}

// watchedFiles notes what is put into a folder.
type watchedFiles struct {
	mu       sync.Mutex
	contents map[string][]string // of a file, each time that it was replaced
}

// watchFiles watches a folder until the test ends. Agent writes a file beside the
// one it replaces and renames it, which makes the name a new one each time.
func watchFiles(t *testing.T, dir string) *watchedFiles {
	t.Helper()
	watcher, err := fsnotify.NewBufferedWatcher(100)
	require.NoError(t, err)
	require.NoError(t, watcher.Add(dir))
	f := &watchedFiles{contents: map[string][]string{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watcher.Events {
			if !event.Has(fsnotify.Create) {
				continue
			}
			// What has gone already was on its way to another name.
			if content, err := os.ReadFile(event.Name); err == nil {
				f.note(filepath.Base(event.Name), string(content))
			}
		}
	}()
	go func() {
		for err := range watcher.Errors {
			assert.NoError(t, err)
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, watcher.Close())
		<-done
	})
	return f
}

func (f *watchedFiles) note(name, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.contents[name] = append(f.contents[name], content)
}

// of gives the contents that a file has had.
func (f *watchedFiles) of(name string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.contents[name]...)
}

// waitFor waits until a file has been written so many times.
func (a *agent) waitFor(file string, times int) {
	a.t.Helper()
	require.Eventually(a.t, func() bool { return len(a.files.of(file)) >= times },
		2*time.Minute, 50*time.Millisecond, "%s is written %d times\n%s", file, times, a.log)
}
