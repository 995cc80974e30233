package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const leaseBlocks = 20

// measureLeases compares a read of a shared token with one that gets a token of its own
// under a lease.
func (b *bench) measureLeases(ctx context.Context) (err error) {
	blocks := b.times(leaseBlocks)
	progress("leases: %d blocks", blocks)
	g, err := startGBG(time.Hour, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	var targets []*target
	for _, r := range b.releases() {
		shared, leased, err := b.leaseTargets(ctx, g, r)
		if err != nil {
			return err
		}
		targets = append(targets, shared, leased)
	}
	before, err := resident(targets[0].vault)
	if err != nil {
		return err
	}
	issued := g.Stats().TokenRequests.Issued
	if err := b.readSlices(ctx, blocks, targets); err != nil {
		return err
	}
	after, err := resident(targets[0].vault)
	if err != nil {
		return err
	}
	leases := g.Stats().TokenRequests.Issued - issued
	b.section("Leases", fmt.Sprintf("Blocks: %d, of %s for each row in random order, through %d connections. Each leased read is a request to GBG, which the simulator answers at once on the same machine; with a real GBG its time comes on top. Vault keeps the leases in memory here; on disk they cost more.", blocks, sliceTime, readers))
	var rows, ratios [][]string
	for i := 0; i < len(targets); i += 2 {
		shared, leased := targets[i], targets[i+1]
		rows = append(rows, shared.row(), leased.row())
		name := b.releases()[i/2].name
		ratios = append(ratios,
			ratioRow(name+", requests/s, leased / shared", pairwise(leased.each(rate), shared.each(rate))),
			ratioRow(name+", both processor times, leased / shared", pairwise(leased.each(totalTime), shared.each(totalTime))))
	}
	b.table(readHead(), rows...)
	b.table([]string{"ratio in each block", "median", "95 % interval"}, ratios...)
	b.paragraph("%s leases were held at the end; Vault's memory grew by %s MB, which is %.1f kB for each.",
		count(leases), megabytes(after-before), float64(after-before)/1000/float64(max(leases, 1)))
	return nil
}

// leaseTargets mounts a release with a shared and a leased connection.
func (b *bench) leaseTargets(ctx context.Context, g *gbg, r release) (shared, leased *target, err error) {
	m, err := b.mount(ctx, "lease-"+r.label, r.path)
	if err != nil {
		return nil, nil, err
	}
	for _, connection := range []string{"shared", "leased"} {
		if err := m.configure(ctx, g, connection); err != nil {
			return nil, nil, err
		}
	}
	if err := m.write(ctx, "config/leased", map[string]any{"lease": true}); err != nil {
		return nil, nil, err
	}
	// The process starts with the first request.
	if _, err := m.creds(ctx, "shared"); err != nil {
		return nil, nil, err
	}
	if shared, err = m.target("a shared token, "+r.name, "creds/shared"); err != nil {
		return nil, nil, err
	}
	leased, err = m.target("a separate token, leased, "+r.name, "creds/leased")
	return shared, leased, err
}
