package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/plugin"
)

const startRounds = 60

// measureStart times how long the plugin's process takes until it serves.
func (b *bench) measureStart(ctx context.Context) error {
	rounds := b.times(startRounds)
	progress("start: %d rounds", rounds)
	served := func(path string) func() (time.Duration, error) {
		return func() (time.Duration, error) { return startPlugin(ctx, path) }
	}
	ran := func() (time.Duration, error) {
		began := time.Now()
		err := exec.CommandContext(ctx, b.paths.vault, "version").Run()
		return time.Since(began), err
	}
	vault := &program{name: "vault version", path: b.paths.vault, start: ran}
	floor1 := &program{name: "floor plugin", path: b.floor, start: served(b.floor)}
	floor2 := &program{name: "floor plugin again", path: b.floor, start: served(b.floor)}
	programs := []*program{vault, floor1, floor2}
	var own []*program
	for _, r := range b.releases() {
		own = append(own, &program{name: r.name, path: r.path, start: served(r.path)})
	}
	programs = append(programs, own...)
	for _, order := range shuffledBlocks(rounds, len(programs)) {
		for _, i := range order {
			took, err := programs[i].start()
			if err != nil {
				return fmt.Errorf("%s: %w", programs[i].name, err)
			}
			programs[i].took = append(programs[i].took, took.Seconds())
		}
	}

	b.section("Size and start", fmt.Sprintf("Rounds: %d, in random order. A plugin's time is from the start of its process to the line that tells Vault where it serves; what Vault does besides, such as the checksum of the file, is not included. vault version is a whole run of that command, for comparison.", rounds))
	rows := make([][]string, 0, len(programs))
	for _, p := range programs {
		file, err := os.Stat(p.path)
		if err != nil {
			return err
		}
		rows = append(rows, []string{p.name, megabytes(int(file.Size())), fmt.Sprintf("%.0f", 1000*median(p.took))})
	}
	b.table([]string{"program", "size, MB", "start, ms"}, rows...)
	var ratios [][]string
	for _, p := range own {
		ratios = append(ratios, ratioRow(p.name+" / floor", pairwise(p.took, means(floor1.took, floor2.took))))
	}
	ratios = append(ratios,
		ratioRow("floor again / floor: the noise", pairwise(floor2.took, floor1.took)),
		ratioRow("this release / vault version", pairwise(own[0].took, vault.took)))
	b.table([]string{"start, in each round", "median", "95 % interval"}, ratios...)
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
	began := time.Now()
	_, err := client.Start()
	return time.Since(began), err
}
