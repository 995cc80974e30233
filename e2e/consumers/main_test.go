// Package consumers tests examples/consumers and examples/helm with the programs that read
// them, or with their code. Vault and the plugin are real, GBG is simulated.
//
// It is a separate module, so that the plugin has none of their dependencies.
package consumers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// What the examples say.
const (
	credsPath    = "gbg/creds/team-a"
	role         = "gbg-team-a"
	vaultAddress = "https://vault.example.com:8200"
)

const (
	repository    = "../.."
	pluginVersion = "v0.2.0"
)

// suite is what all tests share.
var suite struct {
	dir, vault, plugin string
}

func TestMain(m *testing.M) {
	code := 1
	err := setUp()
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(suite.dir)
	os.Exit(code)
}

// setUp finds Vault and builds the plugin.
func setUp() (err error) {
	suite.vault = os.Getenv("VAULT")
	if suite.vault == "" {
		suite.vault = filepath.Join(repository, "bin", "vault")
	}
	if suite.vault, err = filepath.Abs(suite.vault); err != nil {
		return err
	}
	if _, err = os.Stat(suite.vault); err != nil {
		return fmt.Errorf("no Vault server to test on (run: make vault): %w", err)
	}
	dir, err := os.MkdirTemp("", "gbg-consumers-")
	if err != nil {
		return err
	}
	if suite.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	suite.plugin = filepath.Join(suite.dir, "plugins", vaultserver.PluginName)
	build := exec.CommandContext(context.Background(), "go", "build", "-ldflags", "-X main.version="+pluginVersion,
		"-o", suite.plugin, "./cmd/vault-plugin-secrets-gbg")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the plugin: %w\n%s", err, out)
	}
	return nil
}

// world is a Vault with the engine at gbg/ and a connection team-a, and a simulated GBG.
type world struct {
	t      *testing.T
	vault  *vaultserver.Server
	client *api.Client
	gbg    *gbgsim.Simulator
	url    string // of the simulated GBG
	audit  string // a file
}

func newWorld(t *testing.T, lifetime time.Duration) *world {
	t.Helper()
	log := &vaultserver.Output{}
	vault, err := vaultserver.Start(t.Context(), vaultserver.Options{
		Binary: suite.vault, PluginDir: filepath.Dir(suite.plugin), Log: log, Env: []string{"HOME=" + suite.dir},
	})
	require.NoError(t, err, log)
	t.Cleanup(func() { require.NoError(t, vault.Stop()) })
	require.NoError(t, vault.Register(t.Context()))
	require.NoError(t, vault.Enable(t.Context(), "gbg"))
	client, err := vault.Client("")
	require.NoError(t, err)
	w := &world{
		t: t, vault: vault, client: client, audit: filepath.Join(t.TempDir(), "audit.log"),
		gbg: gbgsim.New(gbgsim.Options{TokenLifetime: lifetime}),
	}
	require.NoError(t, client.Sys().EnableAuditWithOptionsWithContext(t.Context(), "file",
		&api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": w.audit}}))

	server := httptest.NewServer(w.gbg)
	t.Cleanup(server.Close)
	w.url = server.URL
	config := map[string]any{"token_url": server.URL + gbgsim.TokenPath}
	for _, place := range []string{"", "paired_"} {
		c, err := w.gbg.CreateClient(gbgsim.NewClient{ID: place + "client", Department: "e2e", Roles: []string{gbgsim.RoleGoAPIAccess}})
		require.NoError(t, err)
		config[place+"client_id"], config[place+"client_secret"] = c.ID, c.Secret
	}
	w.write("gbg/config/team-a", config)
	policy, err := os.ReadFile(filepath.Join(repository, "examples/policies/team-reader.hcl"))
	require.NoError(t, err)
	require.NoError(t, client.Sys().PutPolicyWithContext(t.Context(), role, string(policy)))
	return w
}

func (w *world) write(path string, data map[string]any) *api.Secret {
	w.t.Helper()
	s, err := w.client.Logical().WriteWithContext(w.t.Context(), path, data)
	require.NoError(w.t, err)
	return s
}

// token returns the engine's current token. It is read with the root token.
func (w *world) token() string {
	w.t.Helper()
	s, err := w.client.Logical().ReadWithContext(w.t.Context(), credsPath)
	require.NoError(w.t, err)
	return s.Data["access_token"].(string)
}

// reader returns a Vault token that may read the team's path, and nothing else.
func (w *world) reader() string {
	w.t.Helper()
	s, err := w.client.Auth().Token().CreateWithContext(w.t.Context(), &api.TokenCreateRequest{Policies: []string{role}, Period: "1h"})
	require.NoError(w.t, err)
	return s.Auth.ClientToken
}

// reads counts the reads of the team's path by readers in the audit log.
func (w *world) reads() int {
	w.t.Helper()
	log, err := os.ReadFile(w.audit)
	require.NoError(w.t, err)
	count := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"type":"response"`) && strings.Contains(line, `"path":"`+credsPath+`"`) && strings.Contains(line, `"`+role+`"`) {
			count++
		}
	}
	return count
}

// letJobsIn enables the jwt auth method, and returns a login token as a CI system makes it
// for a job.
func (w *world) letJobsIn() string {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(w.t, err)
	require.NoError(w.t, w.client.Sys().EnableAuthWithOptionsWithContext(w.t.Context(), "jwt", &api.EnableAuthOptions{Type: "jwt"}))
	w.write("auth/jwt/config", map[string]any{
		"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	})
	w.write("auth/jwt/role/"+role, map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": vaultAddress, "token_policies": role, "bound_subject": "main",
	})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	require.NoError(w.t, err)
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: "main", Audience: jwt.Audience{vaultAddress}, IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).Serialize()
	require.NoError(w.t, err)
	return token
}

// example returns an example, with this Vault's address in place of the one in it.
func (w *world) example(name string) string {
	w.t.Helper()
	return strings.ReplaceAll(readExample(w.t, name), vaultAddress, w.vault.Address())
}

func readExample(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, "examples", name))
	require.NoError(t, err)
	return string(content)
}

// buildTool builds a tool of this module.
func buildTool(t *testing.T, pkg string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), filepath.Base(pkg))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// start runs a program until the test ends.
func start(t *testing.T, cmd *exec.Cmd) *vaultserver.Output {
	t.Helper()
	log := &vaultserver.Output{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // ended by a signal is no success
		if t.Failed() {
			t.Log(log)
		}
	})
	return log
}
