// Package kubernetes tests examples/kubernetes with the code of those who read
// them in a cluster: the operators' published schemas, Vault Secrets Operator's
// own reconciler, and the Agent Injector's own webhook logic. There is no cluster
// here: the API server is played by controller-runtime's fake. Vault and the
// plugin are real.
//
// It is a module of its own so that the plugin's dependencies stay few.
package kubernetes

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
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-logr/logr"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
	ctrl "sigs.k8s.io/controller-runtime"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// What the examples say.
const (
	namespace = "team-a"
	account   = "app"
	role      = "gbg-team-a"
	audience  = "vault"
	credsPath = "gbg/creds/team-a"
)

// repository is the plugin's root folder, seen from here.
const repository = "../.."

// world is a Vault with the engine at gbg/ and a connection team-a, a simulated
// GBG, and service accounts that may log in.
type world struct {
	t      *testing.T
	vault  *vaultserver.Server
	client *api.Client
	gbg    *gbgsim.Simulator
	key    *ecdsa.PrivateKey // signs the service accounts' tokens
}

// newWorld starts one whose GBG tokens live an hour. With a dataDir its Vault can
// be restarted.
func newWorld(t *testing.T, dataDir string) *world {
	t.Helper()
	ctx := t.Context()
	log := &vaultserver.Output{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	vault, err := vaultserver.Start(ctx, vaultserver.Options{
		Binary: vaultBinary(t), PluginDir: builtPlugin(t), DataDir: dataDir, Log: log, Env: []string{"HOME=" + t.TempDir()},
	})
	require.NoError(t, err, log)
	t.Cleanup(func() { require.NoError(t, vault.Stop()) })
	require.NoError(t, vault.Register(ctx))
	require.NoError(t, vault.Enable(ctx, "gbg"))
	client, err := vault.Client("")
	require.NoError(t, err)
	w := &world{t: t, vault: vault, client: client, gbg: gbgsim.New(gbgsim.Options{TokenLifetime: time.Hour})}

	server := httptest.NewServer(w.gbg)
	t.Cleanup(server.Close)
	config := map[string]any{"token_url": server.URL + gbgsim.TokenPath}
	for _, place := range []string{"", "paired_"} {
		c, err := w.gbg.CreateClient(gbgsim.NewClient{ID: place + "client", Department: "e2e", Roles: []string{gbgsim.RoleGoAPIAccess}})
		require.NoError(t, err)
		config[place+"client_id"], config[place+"client_secret"] = c.ID, c.Secret
	}
	w.write("gbg/config/team-a", config)
	w.letServiceAccountsIn()
	return w
}

// letServiceAccountsIn mounts, where the examples expect the kubernetes auth
// method, the jwt auth method, which takes the same login. The kubernetes method
// would ask a cluster about each token.
func (w *world) letServiceAccountsIn() {
	w.t.Helper()
	var err error
	w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	public, err := x509.MarshalPKIXPublicKey(&w.key.PublicKey)
	require.NoError(w.t, err)
	require.NoError(w.t, w.client.Sys().PutPolicyWithContext(w.t.Context(), role, `path "`+credsPath+`" { capabilities = ["read"] }`))
	require.NoError(w.t, w.client.Sys().EnableAuthWithOptionsWithContext(w.t.Context(), "kubernetes", &api.EnableAuthOptions{Type: "jwt"}))
	w.write("auth/kubernetes/config", map[string]any{
		"jwt_validation_pubkeys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	})
	w.write("auth/kubernetes/role/"+role, map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": audience, "token_policies": role,
		"bound_subject": "system:serviceaccount:" + namespace + ":" + account,
	})
}

// serviceAccountToken is a token as a cluster issues it.
func (w *world) serviceAccountToken(namespace, account string, audiences []string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: w.key}, nil)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:   "https://kubernetes.default.svc",
		Subject:  "system:serviceaccount:" + namespace + ":" + account,
		Audience: audiences,
		IssuedAt: jwt.NewNumericDate(time.Now()),
		Expiry:   jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).Serialize()
}

func (w *world) write(path string, data map[string]any) *api.Secret {
	w.t.Helper()
	s, err := w.client.Logical().WriteWithContext(w.t.Context(), path, data)
	require.NoError(w.t, err)
	return s
}

// creds is the engine's current answer.
func (w *world) creds() map[string]any {
	w.t.Helper()
	s, err := w.client.Logical().ReadWithContext(w.t.Context(), credsPath)
	require.NoError(w.t, err)
	return s.Data
}

// requireLive checks that GBG accepts a token.
func (w *world) requireLive(token string) {
	w.t.Helper()
	_, live := w.gbg.TokenClient(token)
	require.True(w.t, live, "not a token that GBG accepts")
}

// vaultBinary is the vault executable: VAULT, or what make vault built.
func vaultBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("VAULT")
	if path == "" {
		path = filepath.Join(repository, "bin", "vault")
	}
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	_, err = os.Stat(path)
	require.NoError(t, err, "no Vault server to test on (run: make vault)")
	return path
}

// pluginBuild builds the plugin once for all tests.
var pluginBuild struct {
	once sync.Once
	dir  string
	err  error
}

// builtPlugin is a folder with the plugin.
func builtPlugin(t *testing.T) string {
	t.Helper()
	pluginBuild.once.Do(func() {
		pluginBuild.dir, pluginBuild.err = os.MkdirTemp("", "gbg-kubernetes-")
		if pluginBuild.err != nil {
			return
		}
		if pluginBuild.dir, pluginBuild.err = filepath.EvalSymlinks(pluginBuild.dir); pluginBuild.err != nil {
			return
		}
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "build", "-o", pluginBuild.dir, "./cmd/vault-plugin-secrets-gbg")
		cmd.Dir = repository
		if out, err := cmd.CombinedOutput(); err != nil {
			pluginBuild.err = fmt.Errorf("building the plugin: %w\n%s", err, out)
		}
	})
	require.NoError(t, pluginBuild.err)
	return pluginBuild.dir
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := m.Run()
	_ = os.RemoveAll(pluginBuild.dir)
	os.Exit(code)
}

// gbgIsDown has GBG close every connection without an answer.
func (w *world) gbgIsDown() {
	w.t.Helper()
	require.NoError(w.t, w.gbg.SetFault(gbgsim.Fault{Kind: gbgsim.FaultClose}))
}

// gbgIsUp ends that.
func (w *world) gbgIsUp() { w.gbg.ClearFaults() }
