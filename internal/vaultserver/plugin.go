package vaultserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/vault/api"
)

// PluginName is the name that the plugin is registered with, which is that of its
// executable.
const PluginName = "vault-plugin-secrets-gbg"

// SHA256 returns the SHA-256 checksum of a file in hexadecimal, as "vault plugin
// register" requires it.
func SHA256(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// Register registers the plugin in the server's plugin directory.
func (s *Server) Register(ctx context.Context) error {
	sum, err := SHA256(filepath.Join(s.options.PluginDir, PluginName))
	if err != nil {
		return err
	}
	client, err := s.Client("")
	if err != nil {
		return err
	}
	err = client.Sys().RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name: PluginName, Type: api.PluginTypeSecrets, Command: PluginName, SHA256: sum,
	})
	if err != nil {
		return fmt.Errorf("registering the plugin: %w", err)
	}
	return nil
}

// Enable enables the registered plugin at a path.
func (s *Server) Enable(ctx context.Context, path string) error {
	client, err := s.Client("")
	if err != nil {
		return err
	}
	return client.Sys().MountWithContext(ctx, path, &api.MountInput{Type: PluginName})
}
