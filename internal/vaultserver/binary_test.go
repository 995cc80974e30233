package vaultserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// program writes an executable that prints a line for the argument "version".
func program(t *testing.T, dir, name, line string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	script := "#!/bin/sh\ntest \"$*\" = version && echo '" + line + "'\n"
	require.NoError(t, os.WriteFile(path, []byte(script), 0o755))
	return path
}

func TestFindBinary(t *testing.T) {
	for _, tc := range []struct{ line, product, version, err string }{
		{line: "Vault v1.21.2, built 2025-11-26T22:33:32Z", product: "Vault", version: "v1.21.2"},
		{line: "Vault v1.21.2 (0123abc), built 2025-11-26T22:33:32Z", product: "Vault", version: "v1.21.2"},
		{line: "Vault v1.19.0+ent.hsm (0123abc)", product: "Vault", version: "v1.19.0+ent.hsm"},
		{line: "Vault v2.0.1", product: "Vault", version: "v2.0.1"},
		{line: "OpenBao v2.4.0 (0123abc), built 2025-11-26T22:33:32Z", product: "OpenBao", version: "v2.4.0"},
		{line: "Vault v1.18.9 (0123abc)", err: "Vault v1.18.9 (PATH) is too old: v1.19.0 or later is needed"},
		{line: "Vault v1.19.0-rc1", err: "Vault v1.19.0-rc1 (PATH) is too old: v1.19.0 or later is needed"},
		{line: "OpenBao v2.3.2", err: "OpenBao v2.3.2 (PATH) is too old: v2.4.0 or later is needed"},
		{line: "Vault vNext", err: "Vault vNext (PATH): Malformed version: vNext"},
		{line: "ansible-vault [core 2.14.18]", err: `PATH is neither HashiCorp Vault nor OpenBao: "server version" does not print a version of either`},
		{line: "", err: `PATH is neither HashiCorp Vault nor OpenBao: "server version" does not print a version of either`},
	} {
		path := program(t, t.TempDir(), "server", tc.line)
		b, err := vaultserver.FindBinary(t.Context(), path)
		if tc.err != "" {
			assert.EqualError(t, err, strings.ReplaceAll(tc.err, "PATH", path), tc.line)
			continue
		}
		require.NoError(t, err, tc.line)
		assert.Equal(t, vaultserver.Binary{Path: path, Product: tc.product, Version: tc.version}, b)
	}
}

func TestFindBinaryByName(t *testing.T) {
	dir := t.TempDir()
	path := program(t, dir, "vault", "Vault v1.21.2")
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	b, err := vaultserver.FindBinary(t.Context(), "vault")
	require.NoError(t, err)
	assert.Equal(t, "Vault v1.21.2 ("+path+")", b.String())

	_, err = vaultserver.FindBinary(t.Context(), "no-such-server")
	require.EqualError(t, err, `exec: "no-such-server": executable file not found in $PATH`)
	_, err = vaultserver.FindBinary(t.Context(), filepath.Join(dir, "missing"))
	require.ErrorContains(t, err, filepath.Join(dir, "missing"))

	t.Chdir(dir)
	b, err = vaultserver.FindBinary(t.Context(), "./vault")
	require.NoError(t, err)
	assert.Equal(t, path, b.Path)
}

func TestInstalledBinary(t *testing.T) {
	const (
		usable = "Vault v1.21.2"
		old    = "Vault v1.9.0"
		other  = "My Vault 3"
		bao    = "OpenBao v2.6.2"
	)
	for _, tc := range []struct {
		vault, bao, want string
		unusable         int
	}{
		{vault: usable, want: "Vault"},
		{vault: usable, bao: bao, want: "Vault"},
		{bao: bao, want: "OpenBao"},
		{vault: old, bao: bao, want: "OpenBao", unusable: 1},
		{vault: other, bao: "OpenBao v2.0.0", unusable: 2},
		{vault: bao, want: "OpenBao"},
		{},
	} {
		dir := t.TempDir()
		for name, line := range map[string]string{"vault": tc.vault, "bao": tc.bao} {
			if line != "" {
				program(t, dir, name, line)
			}
		}
		t.Setenv("PATH", dir)
		b, unusable := vaultserver.InstalledBinary(t.Context())
		assert.Equal(t, tc.want, b.Product, "%+v", tc)
		assert.Len(t, unusable, tc.unusable, "%+v", tc)
	}
}
