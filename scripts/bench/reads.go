package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	readRounds = 14
	readTime   = 1500 * time.Millisecond
)

// target is something that is read, round after round.
type target struct {
	name, url string
	// processes do the work; their processor time is counted.
	processes []int
	loads     []load
	// size is an answer's length in bytes.
	size int
}

// row is a target's row in a table of reads.
func (t *target) row() []string {
	return []string{
		t.name,
		count(median(eachLoad(t.loads, rate))),
		milliseconds(median(eachLoad(t.loads, p50))),
		milliseconds(median(eachLoad(t.loads, p99))),
		fmt.Sprintf("%.0f", median(eachLoad(t.loads, busy))/float64(time.Microsecond)),
		count(t.size),
	}
}

func readHead() []string {
	return []string{"read", "requests/s", "p50, ms", "p99, ms", "processor time per read, µs", "answer, bytes"}
}

// interleave reads targets in turn, every other round from the last to the
// first, so that what slows the machine slows them all.
func (b *bench) interleave(ctx context.Context, rounds int, d time.Duration, targets []*target) error {
	rates := map[string]float64{}
	for _, t := range targets {
		body, err := b.get(ctx, t.url)
		if err != nil {
			return err
		}
		t.size = len(body)
		if rates[t.url] > 0 {
			continue
		}
		warm, err := b.hit(ctx, t.url, warmUp)
		if err != nil {
			return err
		}
		rates[t.url] = warm.rate
	}
	order := slices.Clone(targets)
	for range rounds {
		for _, t := range order {
			before, err := processorTime(t.processes...)
			if err != nil {
				return err
			}
			l, err := b.hitFor(ctx, t.url, d, rates[t.url])
			if err != nil {
				return err
			}
			after, err := processorTime(t.processes...)
			if err != nil {
				return err
			}
			l.busy = after - before
			t.loads = append(t.loads, l)
		}
		slices.Reverse(order)
	}
	return nil
}

// measureReads compares a read of creds with the floor and with kv. The floor
// is read on both sides of creds in each round: the two against each other say
// how far the figures can be trusted.
func (b *bench) measureReads(ctx context.Context) (err error) {
	rounds := b.times(readRounds)
	progress("reads: %d rounds", rounds)
	g, err := startGBG(time.Hour, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	targets, err := b.readTargets(ctx, g)
	if err != nil {
		return err
	}
	if err := b.interleave(ctx, rounds, readTime, targets); err != nil {
		return err
	}
	kv, before, creds, after, usual := targets[0], targets[1], targets[2], targets[3], targets[4]
	if creds.size != before.size {
		return fmt.Errorf("the floor's answer has %d bytes, that of creds %d", before.size, creds.size)
	}
	b.section("Reads", fmt.Sprintf("Rounds: %d, of %s for each row, through %d connections. Medians over the rounds; processor time is that of Vault and the plugin together. The floor is a plugin that answers a constant from memory. The SDK's usual way to declare a path costs a call back to Vault in each request, which the floor does without.", rounds, readTime, readers))
	b.table(readHead(), kv.row(), before.row(), creds.row(), after.row(), usual.row())

	ratio := func(name string, ratios []float64, target string) []string {
		return append(append([]string{name}, spread(ratios)...), target)
	}
	floorRates := means(eachLoad(before.loads, rate), eachLoad(after.loads, rate))
	floorBusy := means(eachLoad(before.loads, busy), eachLoad(after.loads, busy))
	b.table([]string{"pairwise in each round", "median", "range", "target"},
		ratio("requests/s, creds / floor", pairwise(eachLoad(creds.loads, rate), floorRates), "0.98 or more"),
		ratio("requests/s, creds / kv", pairwise(eachLoad(creds.loads, rate), eachLoad(kv.loads, rate)), ""),
		ratio("requests/s, creds / a constant the usual way", pairwise(eachLoad(creds.loads, rate), eachLoad(usual.loads, rate)), ""),
		ratio("requests/s, floor again / floor: the noise", pairwise(eachLoad(after.loads, rate), eachLoad(before.loads, rate)), ""),
		ratio("processor time, creds / floor", pairwise(eachLoad(creds.loads, busy), floorBusy), ""),
		ratio("processor time, floor again / floor: the noise", pairwise(eachLoad(after.loads, busy), eachLoad(before.loads, busy)), ""),
	)
	return b.unmount(ctx, "bench-creds", "bench-floor", "kv")
}

// readTargets mounts the plugin, the floor and kv, all with the same answer.
func (b *bench) readTargets(ctx context.Context, g *gbg) ([]*target, error) {
	// The name of the mount's type is in the answer, so these are of one length.
	creds, err := b.mount(ctx, "bench-creds", b.plugin)
	if err != nil {
		return nil, err
	}
	floor, err := b.mount(ctx, "bench-floor", b.floor)
	if err != nil {
		return nil, err
	}
	if err := b.client.Sys().MountWithContext(ctx, "kv", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}); err != nil {
		return nil, err
	}
	if err := creds.configure(ctx, g, "default"); err != nil {
		return nil, err
	}
	body, err := b.get(ctx, creds.url("creds"))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if err := floor.write(ctx, "constant", answer.Data); err != nil {
		return nil, err
	}
	if _, err := b.client.Logical().WriteWithContext(ctx, "kv/constant", answer.Data); err != nil {
		return nil, err
	}
	credsPID, err := creds.process()
	if err != nil {
		return nil, err
	}
	floorPID, err := floor.process()
	if err != nil {
		return nil, err
	}
	vaultPID, err := processStatus(credsPID, "PPid")
	if err != nil {
		return nil, err
	}
	return []*target{
		{name: "kv v1, inside Vault", url: b.url("kv/constant"), processes: []int{vaultPID}},
		{name: "floor plugin", url: floor.url("constant"), processes: []int{vaultPID, floorPID}},
		{name: "gbg/creds", url: creds.url("creds"), processes: []int{vaultPID, credsPID}},
		{name: "floor plugin again", url: floor.url("constant"), processes: []int{vaultPID, floorPID}},
		{name: "a constant the SDK's usual way", url: floor.url("usual"), processes: []int{vaultPID, floorPID}},
	}, nil
}
