package consumers

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// No file has a key twice, or a tab.
func TestYAML(t *testing.T) {
	for _, pattern := range []string{"consumers/*.y*ml", "helm/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(repository, "examples", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			for document := range bytes.SplitSeq(content, []byte("\n---\n")) {
				var value any
				assert.NoError(t, yaml.UnmarshalStrict(document, &value), file)
			}
		}
	}
}

// The Deployment is one of Kubernetes' own type, and mounts what the SecretProviderClass
// makes where the application looks for it.
func TestCSI(t *testing.T) {
	documents := bytes.Split([]byte(readExample(t, "consumers/csi.yaml")), []byte("\n---\n"))
	require.Len(t, documents, 2)
	var class struct {
		Metadata struct{ Name string }
		Spec     struct {
			Provider   string
			Parameters map[string]string
		}
	}
	require.NoError(t, yaml.Unmarshal(documents[0], &class))
	var objects []struct{ ObjectName, SecretPath, SecretKey string }
	require.NoError(t, yaml.UnmarshalStrict([]byte(class.Spec.Parameters["objects"]), &objects))
	require.Len(t, objects, 1)
	assert.Equal(t, credsPath, objects[0].SecretPath)
	assert.Equal(t, "access_token", objects[0].SecretKey)

	var deployment appsv1.Deployment
	require.NoError(t, yaml.UnmarshalStrict(documents[1], &deployment))
	pod := deployment.Spec.Template.Spec
	assert.Equal(t, class.Metadata.Name, pod.Volumes[0].CSI.VolumeAttributes["secretProviderClass"])
	assert.Equal(t, pod.Volumes[0].Name, pod.Containers[0].VolumeMounts[0].Name)
	assert.Equal(t, []corev1.EnvVar{{Name: "GBG_TOKEN_FILE", Value: pod.Containers[0].VolumeMounts[0].MountPath + "/" + objects[0].ObjectName}}, pod.Containers[0].Env)
}
