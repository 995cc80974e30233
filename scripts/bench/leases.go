package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	leaseRounds = 6
	// leaseTime is short: what is leased stays in Vault's memory.
	leaseTime = time.Second
)

// measureLeases compares a read of a shared token with one that gets a token of
// its own under a lease.
func (b *bench) measureLeases(ctx context.Context) (err error) {
	rounds := b.times(leaseRounds)
	progress("leases: %d rounds", rounds)
	g, err := startGBG(time.Hour, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	m, err := b.mount(ctx, "bench-leases", b.plugin)
	if err != nil {
		return err
	}
	for _, connection := range []string{"shared", "leased"} {
		if err := m.configure(ctx, g, connection); err != nil {
			return err
		}
	}
	if err := m.write(ctx, "config/leased", map[string]any{"lease": true}); err != nil {
		return err
	}
	// The process starts with the first request.
	if _, err := b.get(ctx, m.url("creds/shared")); err != nil {
		return err
	}
	plugin, err := m.process()
	if err != nil {
		return err
	}
	vault, err := processStatus(plugin, "PPid")
	if err != nil {
		return err
	}
	before, err := resident(vault)
	if err != nil {
		return err
	}
	shared := &target{name: "a shared token", url: m.url("creds/shared"), processes: []int{vault, plugin}}
	leased := &target{name: "a token of one's own, leased", url: m.url("creds/leased"), processes: []int{vault, plugin}}
	if err := b.interleave(ctx, rounds, leaseTime, []*target{shared, leased}); err != nil {
		return err
	}
	after, err := resident(vault)
	if err != nil {
		return err
	}
	leases := g.Stats().ByClient["leased"].Issued
	b.section("Leases", fmt.Sprintf("Rounds: %d, of %s for each row, through %d connections. Each leased read is a request to GBG, which the simulator answers at once on the same machine; with a real GBG its answer's time comes on top. Vault keeps the leases in memory here; on disk they cost more.", rounds, leaseTime, readers))
	b.table(readHead(), shared.row(), leased.row())
	b.table([]string{"pairwise in each round", "median", "range"},
		append([]string{"requests/s, leased / shared"}, spread(pairwise(eachLoad(leased.loads, rate), eachLoad(shared.loads, rate)))...),
		append([]string{"processor time, leased / shared"}, spread(pairwise(eachLoad(leased.loads, busy), eachLoad(shared.loads, busy)))...))
	fmt.Fprintf(b.out, "\n%s leases were held at the end; Vault's memory grew by %s MB, which is %.1f kB for each.\n",
		count(leases), megabytes(after-before), float64(after-before)/1000/float64(max(leases, 1)))
	return nil
}
