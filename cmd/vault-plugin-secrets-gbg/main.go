// Command vault-plugin-secrets-gbg is the plugin that Vault starts.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/plugin"

	gbg "gbg.example/vault-plugin-secrets-gbg"
)

// version is stamped by the linker. Vault wants "v" and a semantic version.
var version = "v0.0.0-dev"

func main() {
	// net/http writes there what a server sends unasked, secrets that it quotes
	// included. The plugin's own lines go through Vault's logger.
	log.SetOutput(io.Discard)
	if err := run(os.Args[1:]); err != nil {
		hclog.New(&hclog.LoggerOptions{}).Error("plugin stopped", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	meta := &api.PluginAPIClientMeta{}
	flags := meta.FlagSet()
	flags.Init("vault-plugin-secrets-gbg", flag.ContinueOnError)
	showVersion := flags.Bool("version", false, "print the version and exit")
	installDir := flags.String("install", "", "copy this executable to a plugin `directory` and exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		_, err := fmt.Println("vault-plugin-secrets-gbg", version)
		return err
	}
	if *installDir != "" {
		return install(*installDir)
	}
	return plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: gbg.NewFactory(gbg.Options{Version: version}),
		// Vault ignores it with auto-mTLS and needs it on servers without.
		TLSProviderFunc: api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	})
}
