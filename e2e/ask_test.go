package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"
)

// answer is what Vault said to one request.
type answer struct {
	status int
	data   map[string]any
	text   string // its errors, one a line
}

// methods are the HTTP methods of Vault's operations.
var methods = map[string]string{
	"create": http.MethodPut,
	"read":   http.MethodGet,
	"update": http.MethodPut,
	"patch":  http.MethodPatch,
	"delete": http.MethodDelete,
	"list":   "LIST",
}

// ask sends one request with the path exactly as given. Vault's client would
// take a slash at the end away.
func (m *mount) ask(operation, path string, body map[string]any) answer {
	m.t.Helper()
	content, err := json.Marshal(body)
	require.NoError(m.t, err)
	req, err := http.NewRequestWithContext(m.t.Context(), methods[operation],
		m.client.Address()+"/v1/"+m.path+"/"+path, bytes.NewReader(content))
	require.NoError(m.t, err)
	req.Header.Set("X-Vault-Token", m.client.Token())
	if operation == "patch" {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(m.t, err)
	defer resp.Body.Close()
	content, err = io.ReadAll(resp.Body)
	require.NoError(m.t, err)
	got := answer{status: resp.StatusCode, text: string(content)}
	var decoded struct {
		Data   map[string]any `json:"data"`
		Errors []string       `json:"errors"`
	}
	if json.Unmarshal(content, &decoded) == nil { // else Vault's HTTP server has answered
		got.data, got.text = decoded.Data, strings.Join(decoded.Errors, "\n")
	}
	return got
}

// delete deletes what is at a path.
func (m *mount) delete(path string) {
	m.t.Helper()
	_, err := m.client.Logical().DeleteWithContext(m.t.Context(), m.path+"/"+path)
	require.NoError(m.t, err)
}
