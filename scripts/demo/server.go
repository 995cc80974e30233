package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// builtServer is the server that make builds.
const builtServer = "bin/vault"

// findServer returns the path of the server with a path or name. For an empty name it
// returns that of an installed server, or builtServer if none can be used. It reports
// installed servers that cannot be used.
func findServer(ctx context.Context, name string) (string, error) {
	if name != "" {
		b, err := vaultserver.FindBinary(ctx, name)
		return b.Path, err
	}
	b, unusable := vaultserver.InstalledBinary(ctx)
	for _, err := range unusable {
		fmt.Fprintln(os.Stderr, "Not used:", err)
	}
	if b.Path == "" {
		return builtServer, nil
	}
	return b.Path, nil
}

// unsetServerEnv removes the settings of a person's own Vault or OpenBao from the
// environment, such as an address, a namespace or an output format. The server, its
// command line and the API client of the demo would follow them.
func unsetServerEnv() error {
	for _, setting := range os.Environ() {
		name, _, _ := strings.Cut(setting, "=")
		if strings.HasPrefix(name, "VAULT_") || strings.HasPrefix(name, "BAO_") {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}
