package kubernetes

import (
	"encoding/json"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// External Secrets Operator's code is not to be had as a Go module: its main
// module needs others that are not published. So here are its schema
// (TestExamplesFitTheSchemas) and what its documentation says that it does.
func TestExternalSecrets(t *testing.T) {
	w := newWorld(t, "")
	var generator, secret unstructured.Unstructured
	for _, document := range documents(t, "external-secrets.yaml") {
		var o unstructured.Unstructured
		require.NoError(t, json.Unmarshal(document, &o))
		switch o.GetKind() {
		case "VaultDynamicSecret":
			generator = o
		case "ExternalSecret":
			secret = o
		}
	}
	text := func(o unstructured.Unstructured, path ...string) string {
		t.Helper()
		value, found, err := unstructured.NestedString(o.Object, path...)
		require.NoError(t, err)
		require.True(t, found, path)
		return value
	}
	require.Equal(t, credsPath, text(generator, "spec", "path"))
	require.Equal(t, "GET", text(generator, "spec", "method"), "its default is GET too; a write is refused")
	references, _, err := unstructured.NestedSlice(secret.Object, "spec", "dataFrom")
	require.NoError(t, err)
	require.Equal(t, []any{map[string]any{"sourceRef": map[string]any{"generatorRef": map[string]any{
		"apiVersion": generator.GetAPIVersion(), "kind": generator.GetKind(), "name": generator.GetName(),
	}}}}, references)

	// It asks for the token this often; a token that was read before it was
	// replaced is good for refresh_before from then on.
	interval, err := time.ParseDuration(text(secret, "spec", "refreshInterval"))
	require.NoError(t, err)
	config, err := w.client.Logical().ReadWithContext(t.Context(), "gbg/config/team-a")
	require.NoError(t, err)
	overlap, err := config.Data["refresh_before"].(json.Number).Int64()
	require.NoError(t, err)
	const kubelet = 90 * time.Second // until a changed Secret is in the file, about
	require.Less(t, interval+kubelet, time.Duration(overlap)*time.Second)

	// What it puts into the Secret is the same for the same token.
	data, _, err := unstructured.NestedStringMap(secret.Object, "spec", "target", "template", "data")
	require.NoError(t, err)
	render := func() map[string]string {
		rendered := map[string]string{}
		for key, source := range data {
			var out strings.Builder
			parsed, err := template.New(key).Option("missingkey=error").Parse(source)
			require.NoError(t, err)
			require.NoError(t, parsed.Execute(&out, w.creds()))
			rendered[key] = out.String()
		}
		return rendered
	}
	first := render()
	require.Equal(t, map[string]string{"token": w.creds()["access_token"].(string)}, first)
	require.Equal(t, first, render())
}
