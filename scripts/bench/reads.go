package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"
)

const readBlocks = 120

// measureReads compares a read of creds with the same read of the last release, with the
// floor and with kv. There are two processes of the floor: how much they differ is the
// noise of the other ratios.
func (b *bench) measureReads(ctx context.Context) (err error) {
	blocks := b.times(readBlocks)
	progress("reads: %d blocks", blocks)
	g, err := startGBG(time.Hour, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	t, err := b.readTargets(ctx, g)
	if err != nil {
		return err
	}
	if err := b.readSlices(ctx, blocks, t.all()); err != nil {
		return err
	}
	if t.creds.size != t.floor1.size {
		return fmt.Errorf("the floor's answer has %d bytes, that of creds %d", t.floor1.size, t.creds.size)
	}
	b.section("Reads", fmt.Sprintf("Blocks: %d. In each block every row is read once for %s, in random order, through %d connections. Percentiles are those of all reads of a row; the other figures are medians over the blocks. Processor time is counted for the plugin's process and for Vault's separately. The floor is a plugin that returns a constant from memory, in two processes. The SDK's usual way to declare a path costs a call back to Vault in each request, which the floor does without.", blocks, sliceTime, readers))
	var rows [][]string
	for _, target := range t.all() {
		rows = append(rows, target.row())
	}
	b.table(readHead(), rows...)

	floor := func(figure func(load) float64) []float64 { return means(t.floor1.each(figure), t.floor2.each(figure)) }
	creds := t.creds.each
	table := [][]string{
		ratioRow("plugin's processor time, creds / floor", pairwise(creds(pluginTime), floor(pluginTime)), ""),
		ratioRow("plugin's processor time, floor 2 / floor 1: the noise", pairwise(t.floor2.each(pluginTime), t.floor1.each(pluginTime)), ""),
		ratioRow("both processor times, creds / floor", pairwise(creds(totalTime), floor(totalTime)), "1.02 or less"),
		ratioRow("both processor times, floor 2 / floor 1: the noise", pairwise(t.floor2.each(totalTime), t.floor1.each(totalTime)), ""),
		ratioRow("requests/s, creds / floor", pairwise(creds(rate), floor(rate)), "0.98 or more"),
		ratioRow("requests/s, floor 2 / floor 1: the noise", pairwise(t.floor2.each(rate), t.floor1.each(rate)), ""),
		ratioRow("requests/s, creds / kv", pairwise(creds(rate), t.kv.each(rate)), ""),
		ratioRow("requests/s, creds / a constant the usual way", pairwise(creds(rate), t.usual.each(rate)), ""),
	}
	if t.last != nil {
		table = append(table,
			ratioRow("plugin's processor time, creds / creds of "+b.lastVersion, pairwise(creds(pluginTime), t.last.each(pluginTime)), ""),
			ratioRow("requests/s, creds / creds of "+b.lastVersion, pairwise(creds(rate), t.last.each(rate)), ""))
	}
	b.table([]string{"ratio in each block", "median", "95 % interval", "target"}, table...)
	return b.unmount(ctx, t.mounts...)
}

// readTargets are what measureReads compares. last is nil without a last release.
type readTargets struct {
	kv, floor1, floor2, creds, last, usual *target
	mounts                                 []string
}

func (t readTargets) all() []*target {
	all := []*target{t.kv, t.floor1, t.floor2, t.usual, t.creds}
	if t.last != nil {
		all = append(all, t.last)
	}
	return all
}

// readTargets mounts the plugin, the last release, the floor and kv, all with the same
// answer.
func (b *bench) readTargets(ctx context.Context, g *gbg) (t readTargets, err error) {
	// The name of the mount's type is in the answer, so these have the same length.
	creds, err := b.mountPlugin(ctx, "reads-creds", b.plugin, g)
	if err != nil {
		return t, err
	}
	body, err := b.get(ctx, creds.url("creds"))
	if err != nil {
		return t, err
	}
	var answer struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return t, err
	}
	var floors [2]*mount
	for i := range floors {
		if floors[i], err = b.mount(ctx, fmt.Sprintf("reads-flor%d", i+1), b.floor); err != nil {
			return t, err
		}
		if err := floors[i].write(ctx, "constant", answer.Data); err != nil {
			return t, err
		}
	}
	if err := b.client.Sys().MountWithContext(ctx, "kv", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}); err != nil {
		return t, err
	}
	if _, err := b.client.Logical().WriteWithContext(ctx, "kv/constant", answer.Data); err != nil {
		return t, err
	}
	t = readTargets{
		kv:     &target{name: "kv v1, inside Vault", url: b.url("kv/constant")},
		mounts: []string{creds.name, floors[0].name, floors[1].name, "kv"},
	}
	if t.floor1, err = floors[0].target("floor 1", "constant"); err != nil {
		return t, err
	}
	if t.floor2, err = floors[1].target("floor 2", "constant"); err != nil {
		return t, err
	}
	if t.usual, err = floors[0].target("a constant the SDK's usual way", "usual"); err != nil {
		return t, err
	}
	if t.creds, err = creds.target("gbg/creds", "creds"); err != nil {
		return t, err
	}
	t.kv.vault = t.creds.vault
	if b.last == "" {
		return t, nil
	}
	last, err := b.mountPlugin(ctx, "reads-prior", b.last, g)
	if err != nil {
		return t, err
	}
	t.mounts = append(t.mounts, last.name)
	t.last, err = last.target("gbg/creds of "+b.lastVersion, "creds")
	return t, err
}

// mountPlugin mounts a release of the plugin with one connection and reads a token.
func (b *bench) mountPlugin(ctx context.Context, name, plugin string, g *gbg) (*mount, error) {
	m, err := b.mount(ctx, name, plugin)
	if err != nil {
		return nil, err
	}
	return m, m.use(ctx, g, "default")
}

// target returns a path of the mount to be read. The plugin must be running.
func (m *mount) target(name, path string) (*target, error) {
	plugin, err := m.process()
	if err != nil {
		return nil, err
	}
	vault, err := processStatus(plugin, "PPid")
	return &target{name: name, url: m.url(path), plugin: plugin, vault: vault}, err
}
