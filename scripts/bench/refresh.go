package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	refreshRounds = 4
	// refreshTime is two token lifetimes and more, so that refreshes fall into it.
	refreshTime     = 12 * time.Second
	refreshLifetime = 9 * time.Second
	refreshDelay    = 1500 * time.Millisecond
	// refreshMargin is added after a refresh, for what follows GBG's answer: the
	// write to storage, the change of tokens, the garbage. A little is added before
	// it too: when hey's clock started is known only to within so much.
	refreshMargin     = 250 * time.Millisecond
	refreshLeadMargin = 50 * time.Millisecond
	// slowRead is how much more than usual no read may take.
	slowRead = 100 * time.Millisecond
)

// measureRefresh reads a token of short life through many refreshes by a slow
// GBG, and tells the reads during a refresh from the others.
func (b *bench) measureRefresh(ctx context.Context) (err error) {
	rounds := b.times(refreshRounds)
	progress("refresh: %d rounds of %s", rounds, refreshTime)
	g, err := startGBG(refreshLifetime, refreshDelay)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	m, err := b.mount(ctx, "bench-refresh", b.plugin)
	if err != nil {
		return err
	}
	if err := m.configure(ctx, g, "default"); err != nil {
		return err
	}
	first, err := m.creds(ctx, "default")
	if err != nil {
		return err
	}
	warm, err := b.hit(ctx, m.url("creds"), warmUp)
	if err != nil {
		return err
	}
	var loads []load
	for range rounds {
		l, err := b.hitFor(ctx, m.url("creds"), refreshTime, warm.rate)
		if err != nil {
			return err
		}
		loads = append(loads, l)
	}
	requests := g.answered()
	if err := b.unmount(ctx, m.name); err != nil {
		return err
	}

	b.section("Reads while tokens are refreshed", fmt.Sprintf("Rounds: %d of %s, through %d connections. Tokens live %s, GBG answers after %s. A read counts as during a refresh if it overlaps the time from a token request to %s after its answer.",
		rounds, refreshTime, readers, refreshLifetime, refreshDelay, refreshMargin))
	if err := b.printRefresh(loads, requests); err != nil {
		return err
	}
	b.section("Requests to GBG", fmt.Sprintf("During the same reads. So that a token is there when it is promised, it is asked for a little before rotation_period has passed: here 0.15 to 0.3 s of %d s before, with tokens of an hour 2.5 to 5 s of 3,300 s. That is what is above 1.", first.Data.RotationPeriod))
	return b.printRequests(requests, time.Duration(first.Data.RotationPeriod)*time.Second)
}

func (b *bench) printRefresh(loads []load, requests []interval) error {
	var quiet, during []sample
	var ratios []float64
	for _, l := range loads {
		q, d := split(l.samples, requests)
		quiet, during = append(quiet, q...), append(during, d...)
		if len(q) > 0 && len(d) > 0 {
			ratios = append(ratios, float64(p99(load{samples: d}))/float64(p99(load{samples: q})))
		}
	}
	if len(ratios) == 0 {
		return errors.New("no refresh fell into the reads")
	}
	usual := p50(load{samples: quiet})
	row := func(name string, samples []sample) []string {
		took := latencies(samples)
		slow := 0
		for _, d := range took {
			if d > usual+slowRead {
				slow++
			}
		}
		return []string{
			name, count(len(took)), milliseconds(percentile(took, 0.5)), milliseconds(percentile(took, 0.99)),
			milliseconds(slices.Max(took)), count(slow),
		}
	}
	b.table([]string{"reads", "number", "p50, ms", "p99, ms", "slowest, ms", "over 100 ms slower than the quiet p50"},
		row("quiet", quiet), row("during a refresh", during))
	b.table([]string{"p99, in each round", "median", "range", "target"},
		append(append([]string{"during a refresh / quiet"}, spread(ratios)...), "1.1 or less"))
	return nil
}

// split tells the samples that overlap a refresh from the others.
func split(samples []sample, requests []interval) (quiet, during []sample) {
	for _, s := range samples {
		overlaps := slices.ContainsFunc(requests, func(r interval) bool {
			return s.overlaps(r.begin.Add(-refreshLeadMargin), r.end.Add(refreshMargin))
		})
		if overlaps {
			during = append(during, s)
		} else {
			quiet = append(quiet, s)
		}
	}
	return quiet, during
}

// printRequests compares the token requests with the time between the first and
// the last of them.
func (b *bench) printRequests(requests []interval, period time.Duration) error {
	if len(requests) < 2 {
		return errors.New("fewer than two token requests")
	}
	took := requests[len(requests)-1].begin.Sub(requests[0].begin)
	between := took / time.Duration(len(requests)-1)
	b.table([]string{"token requests", "in", "one every", "rotation_period", "requests per rotation period", "target"},
		[]string{
			strconv.Itoa(len(requests)), fmt.Sprintf("%.1f s", took.Seconds()), fmt.Sprintf("%.2f s", between.Seconds()),
			period.String(), fmt.Sprintf("%.2f", period.Seconds()/between.Seconds()), "1",
		})
	return nil
}
