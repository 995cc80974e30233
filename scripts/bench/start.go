package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/plugin"
)

const startRounds = 30

// measureStart times how long the plugin's process takes until it serves.
func (b *bench) measureStart(ctx context.Context) error {
	rounds := b.times(startRounds)
	progress("start: %d rounds", rounds)
	served := func(path string) func() (time.Duration, error) {
		return func() (time.Duration, error) { return startPlugin(ctx, path) }
	}
	ran := func() (time.Duration, error) {
		begun := time.Now()
		err := exec.CommandContext(ctx, b.paths.vault, "version").Run()
		return time.Since(begun), err
	}
	vault := &program{name: "vault version", path: b.paths.vault, start: ran}
	before := &program{name: "floor plugin", path: b.floor, start: served(b.floor)}
	own := &program{name: "the plugin", path: b.plugin, start: served(b.plugin)}
	after := &program{name: "floor plugin again", path: b.floor, start: served(b.floor)}
	programs := []*program{vault, before, own, after}
	order := slices.Clone(programs)
	for range rounds {
		for _, p := range order {
			took, err := p.start()
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			p.took = append(p.took, took.Seconds())
		}
		slices.Reverse(order)
	}

	b.section("Size and start", fmt.Sprintf("Rounds: %d, in turns. A plugin's time is from the start of its process to the line that tells Vault where it serves; what Vault does besides, such as the sum of the file, is not in it. vault version is a whole run of that command, for comparison.", rounds))
	rows := make([][]string, 0, len(programs))
	for _, p := range programs {
		file, err := os.Stat(p.path)
		if err != nil {
			return err
		}
		rows = append(rows, []string{p.name, megabytes(int(file.Size())), fmt.Sprintf("%.0f", 1000*median(p.took))})
	}
	b.table([]string{"program", "size, MB", "start, ms"}, rows...)
	b.table([]string{"start, pairwise in each round", "median", "range"},
		append([]string{"the plugin / floor"}, spread(pairwise(own.took, means(before.took, after.took)))...),
		append([]string{"the plugin / vault version"}, spread(pairwise(own.took, vault.took))...),
		append([]string{"floor again / floor: the noise"}, spread(pairwise(after.took, before.took))...),
	)
	return nil
}

// program is something that is started, round after round.
type program struct {
	name, path string
	start      func() (time.Duration, error)
	took       []float64 // seconds
}

// startPlugin starts a plugin as Vault does, and ends it when it serves.
func startPlugin(ctx context.Context, path string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = append(os.Environ(), pluginutil.PluginAutoMTLSEnv+"=true")
	client := goplugin.NewClient(&goplugin.ClientConfig{
		Cmd:              cmd,
		HandshakeConfig:  plugin.HandshakeConfig,
		VersionedPlugins: map[int]goplugin.PluginSet{5: {plugin.BackendPluginName: &plugin.GRPCBackendPlugin{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		Logger:           hclog.NewNullLogger(),
	})
	defer client.Kill()
	begun := time.Now()
	_, err := client.Start()
	return time.Since(begun), err
}
