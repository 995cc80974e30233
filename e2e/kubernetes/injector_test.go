package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault-k8s/agent-inject/agent"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// The injector turns the example's annotations into an Agent's configuration,
// and an Agent with that configuration logs in and writes the token's file.
func TestAgentInjector(t *testing.T) {
	w := newWorld(t, "")
	deployment := object[*appsv1.Deployment](t, objects(t, newScheme(t), "agent-injector.yaml"))
	pod := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: deployment.Spec.Template.Spec}
	pod.Namespace = namespace

	wanted, err := agent.ShouldInject(pod)
	require.NoError(t, err)
	require.True(t, wanted)
	require.NoError(t, agent.Init(pod, agent.AgentConfig{
		Image: "hashicorp/vault:1.21.2", Address: w.vault.Address(), AuthType: "kubernetes", AuthPath: "auth/kubernetes",
		Namespace: namespace, UserID: "100", GroupID: "1000", SetSecurityContext: true, ExitOnRetryFailure: true,
		DefaultTemplate: "map", ResourceRequestCPU: "250m", ResourceRequestMem: "64Mi", ResourceLimitCPU: "500m", ResourceLimitMem: "128Mi",
	}))
	sidecar, err := agent.New(pod)
	require.NoError(t, err)
	require.NoError(t, sidecar.Validate())
	require.Len(t, sidecar.Secrets, 1)
	_, err = sidecar.Patch()
	require.NoError(t, err)

	application := deployment.Spec.Template.Spec.Containers[0]
	tokenFile := application.Env[0].Value
	ahead, beside := agentConfig(t, sidecar, true), agentConfig(t, sidecar, false)
	assert.True(t, ahead.ExitAfterAuth, "an init container writes the first token before the application starts")
	assert.False(t, beside.ExitAfterAuth)
	for _, config := range []agent.Config{ahead, beside} {
		require.Len(t, config.Templates, 1)
		assert.Equal(t, tokenFile, config.Templates[0].Destination, "where the application looks")
		assert.Equal(t, role, config.AutoAuth.Method.Config["role"])
	}

	// The same configuration outside a pod: other folders, all else as it is.
	dir := t.TempDir()
	identity, err := w.serviceAccountToken(namespace, deployment.Spec.Template.Spec.ServiceAccountName, projectedAudiences(t, pod))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "identity"), []byte(identity), 0o600))
	inPod := ahead.AutoAuth.Method.Config["token_path"].(string)
	require.Equal(t, agent.DefaultServiceAccountMount+"/token", inPod)
	ahead.AutoAuth.Method.Config["token_path"] = filepath.Join(dir, "identity")
	ahead.AutoAuth.Sinks[0].Config["path"] = filepath.Join(dir, "sink")
	ahead.PidFile = filepath.Join(dir, "pid")
	ahead.Templates[0].Destination = filepath.Join(dir, "gbg-token")
	content, err := json.Marshal(ahead)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "agent.json"), content, 0o600))
	cmd := exec.CommandContext(t.Context(), vaultBinary(t), "agent", "-config="+filepath.Join(dir, "agent.json"))
	cmd.Env = []string{"HOME=" + dir}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	token, err := os.ReadFile(filepath.Join(dir, "gbg-token"))
	require.NoError(t, err)
	assert.Equal(t, w.creds()["access_token"], string(token), "the token and nothing else, not even a newline")
	w.requireLive(string(token))
}

// agentConfig is the configuration of the injected init container or sidecar.
func agentConfig(t *testing.T, a *agent.Agent, init bool) (config agent.Config) {
	t.Helper()
	variables, err := a.ContainerEnvVars(init)
	require.NoError(t, err)
	for _, v := range variables {
		if v.Name == "VAULT_CONFIG" {
			plain, err := base64.StdEncoding.DecodeString(v.Value)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(plain, &config))
			return config
		}
	}
	t.Fatal("no configuration")
	return config
}

// projectedAudiences are those of the token that the pod has for Vault.
func projectedAudiences(t *testing.T, pod *corev1.Pod) (audiences []string) {
	t.Helper()
	for _, v := range pod.Spec.Volumes {
		if v.Projected != nil {
			for _, source := range v.Projected.Sources {
				audiences = append(audiences, source.ServiceAccountToken.Audience)
			}
		}
	}
	require.Equal(t, []string{audience}, audiences, strings.Join(audiences, ","))
	return audiences
}
