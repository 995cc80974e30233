package consumers

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// vaultChart is HashiCorp's chart, which the module proxy has.
const (
	vaultChart    = "github.com/hashicorp/vault-helm@v0.34.1"
	vaultChartSum = "h1:2uoVkbS+64x13G/92mbAPDPSvH6APcV7+jrQbhH+NqU="
)

// The chart takes the values, by its own schema, and what it makes of them has the plugin
// where Vault looks for it. The init container's command installs a plugin that Vault can
// register and run.
func TestHelmVault(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", vaultChart).Output()
	require.NoError(t, err, "%s", out)
	var module struct{ Dir, Sum string }
	require.NoError(t, json.Unmarshal(out, &module))
	require.Equal(t, vaultChartSum, module.Sum)
	dir := requireInstalls(t, renderChart(t, module.Dir, "helm/vault.yaml"), "vault")
	requireRegisters(t, dir)
}

// The same with OpenBao's chart. OPENBAO_CHART is its folder.
func TestHelmOpenBao(t *testing.T) {
	chart := os.Getenv("OPENBAO_CHART")
	if chart == "" {
		t.Skip("OPENBAO_CHART is not set")
	}
	requireInstalls(t, renderChart(t, chart, "helm/openbao.yaml"), "openbao")
}

// rendered are the objects that hold a server's pods and its configuration.
type rendered struct {
	server appsv1.StatefulSet
	config corev1.ConfigMap
}

// renderChart does what helm template does with the values of an example.
func renderChart(t *testing.T, dir, values string) rendered {
	t.Helper()
	chart, err := loader.Load(dir)
	require.NoError(t, err)
	require.NotEmpty(t, chart.Schema)
	own, err := chartutil.ReadValues([]byte(readExample(t, values)))
	require.NoError(t, err)
	requireKnown(t, "", own, chart.Values)
	all, err := chartutil.ToRenderValues(chart, own, chartutil.ReleaseOptions{Name: chart.Name(), Namespace: "vault", IsInstall: true, Revision: 1}, nil)
	require.NoError(t, err, "the chart's schema")
	files, err := engine.Render(chart, all)
	require.NoError(t, err)
	var r rendered
	for name, content := range files {
		switch filepath.Base(name) {
		case "server-statefulset.yaml":
			require.NoError(t, yaml.UnmarshalStrict([]byte(content), &r.server))
		case "server-config-configmap.yaml":
			require.NoError(t, yaml.UnmarshalStrict([]byte(content), &r.config))
		}
	}
	return r
}

// requireKnown asserts that the chart has every value that is set: it would ignore a
// misspelt one.
func requireKnown(t *testing.T, place string, own, chart map[string]any) {
	t.Helper()
	for key, value := range own {
		default_, found := chart[key]
		require.True(t, found, "the chart has no value %s%s", place, key)
		ownMap, isMap := value.(map[string]any)
		chartMap, hasKeys := default_.(map[string]any)
		if isMap && hasKeys && len(chartMap) > 0 {
			requireKnown(t, place+key+".", ownMap, chartMap)
		}
	}
}

// requireInstalls asserts that the plugin directory of a server is a volume that its init
// containers write and the server can only read. It runs them, and returns what the
// plugin directory is then.
func requireInstalls(t *testing.T, r rendered, server string) (dir string) {
	t.Helper()
	pod := r.server.Spec.Template.Spec
	i := indexOf(pod.Containers, server)
	require.GreaterOrEqual(t, i, 0)
	require.Len(t, pod.InitContainers, 1)
	install := pod.InitContainers[0]
	require.Len(t, install.VolumeMounts, 1)
	volume, mountPath := install.VolumeMounts[0].Name, install.VolumeMounts[0].MountPath
	assert.Contains(t, pod.Containers[i].VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: mountPath, ReadOnly: true})
	assert.Contains(t, pod.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	config := strings.Join(strings.Fields(r.config.Data["extraconfig-from-values.hcl"]), " ")
	assert.Contains(t, config, `plugin_directory = "`+mountPath+`"`)

	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	var args []string
	for _, arg := range install.Args {
		args = append(args, strings.ReplaceAll(arg, mountPath, dir))
	}
	out, err := exec.CommandContext(t.Context(), suite.plugin, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	sum, err := vaultserver.SHA256(suite.plugin)
	require.NoError(t, err)
	file := filepath.Join(dir, "vault-plugin-secrets-gbg_"+strings.TrimPrefix(pluginVersion, "v"))
	assert.Equal(t, sum+"  "+file+"\n", string(out))
	return dir
}

func indexOf(containers []corev1.Container, name string) int {
	for i, c := range containers {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// requireRegisters follows examples/helm/README.md: it registers the plugin in a plugin
// directory and mounts it.
func requireRegisters(t *testing.T, pluginDir string) {
	t.Helper()
	log := &vaultserver.Output{}
	server, err := vaultserver.Start(t.Context(), vaultserver.Options{Binary: suite.vault, PluginDir: pluginDir, Log: log, Env: []string{"HOME=" + suite.dir}})
	require.NoError(t, err, log)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	_, script, found := strings.Cut(readExample(t, "helm/README.md"), "    vault plugin register")
	require.True(t, found)
	script, _, found = strings.Cut("vault plugin register"+script, "\n\n")
	require.True(t, found)
	sum, err := vaultserver.SHA256(suite.plugin)
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(suite.vault, filepath.Join(bin, "vault")))
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", script)
	cmd.Env = []string{"HOME=" + suite.dir, "PATH=" + bin + ":" + os.Getenv("PATH"), "VAULT_ADDR=" + server.Address(), "VAULT_TOKEN=" + server.Token(), "SHA256=" + sum}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	client, err := server.Client("")
	require.NoError(t, err)
	mount, err := client.Logical().ReadWithContext(t.Context(), "sys/mounts/gbg")
	require.NoError(t, err)
	assert.Equal(t, pluginVersion, mount.Data["running_plugin_version"])
}
