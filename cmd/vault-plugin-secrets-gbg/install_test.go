package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The executable of these tests takes the plugin's place.
func TestInstall(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	want, err := os.ReadFile(self)
	require.NoError(t, err)

	dir := t.TempDir()
	for _, round := range []string{"into an empty directory", "over the same file"} {
		require.NoError(t, run([]string{"-install=" + dir}), round)
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, 1, round)
		assert.Equal(t, "vault-plugin-secrets-gbg_0.0.0-dev", files[0].Name())
		info, err := files[0].Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o755), info.Mode(), round)
		got, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, got), round)
	}
}

func TestInstallCreatesNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	require.ErrorIs(t, run([]string{"-install=" + dir}), os.ErrNotExist)
	assert.NoDirExists(t, dir)
}

// What is in the way stays, and no part of the copy is left beside it.
func TestInstallLeavesNothingAfterAFailure(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "vault-plugin-secrets-gbg_0.0.0-dev")
	require.NoError(t, os.MkdirAll(filepath.Join(inTheWay, "full"), 0o755))
	require.Error(t, run([]string{"-install=" + dir}))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1)
	assert.DirExists(t, filepath.Join(inTheWay, "full"))
}
