package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	comeBackReaders  = 1000
	comeBackTime     = 150 * time.Second
	comeBackLifetime = time.Minute
	// comeBackStart is the time over which the readers begin.
	comeBackStart = 10 * time.Second
	comeBackDelay = 200 * time.Millisecond
)

// comeBack is a connection with readers that come back when ttl says so.
type comeBack struct {
	release release
	gbg     *gbg
	mount   *mount
	period  time.Duration

	mu     sync.Mutex
	reads  []time.Time
	failed error
}

// measureComeBack has readers follow ttl, as Vault Agent does, and records when they read.
func (b *bench) measureComeBack(ctx context.Context) (err error) {
	took := b.scaled(comeBackTime, comeBackTime/2)
	progress("comeback: %s", took)
	var all []*comeBack
	for _, r := range b.releases() {
		c := &comeBack{release: r}
		if c.gbg, err = startGBG(comeBackLifetime, comeBackDelay); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.gbg.stop()) }()
		if c.mount, err = b.mountPlugin(ctx, "back-"+r.label, r.path, c.gbg); err != nil {
			return err
		}
		all = append(all, c)
	}
	began := time.Now()
	var group sync.WaitGroup
	for _, c := range all {
		for range comeBackReaders {
			group.Go(func() { c.follow(ctx, began.Add(took)) })
		}
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.reportComeBack(ctx, all, began, took)
}

// follow is one reader until end.
func (c *comeBack) follow(ctx context.Context, end time.Time) {
	pause := time.Duration(rand.Int64N(int64(comeBackStart))) //nolint:gosec // no secret
	for time.Now().Add(pause).Before(end) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		at := time.Now()
		answer, err := c.mount.creds(ctx, "default")
		c.mu.Lock()
		c.reads = append(c.reads, at)
		if err != nil {
			c.failed = err
		} else {
			c.period = time.Duration(answer.Data.RotationPeriod) * time.Second
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
		pause = max(time.Duration(answer.Data.TTL)*time.Second, time.Second)
	}
}

func (b *bench) reportComeBack(ctx context.Context, all []*comeBack, began time.Time, took time.Duration) error {
	seconds := int(took / time.Second)
	c := chart{x: "seconds", y: "reads per second"}
	var rows, requests [][]string
	for i, one := range all {
		if one.failed != nil {
			return fmt.Errorf("%s: %w", one.release.name, one.failed)
		}
		counts := perSecond(one.reads, began, seconds)
		c.curves = append(c.curves, curve{name: one.release.name, points: histogram(counts, time.Second, 1), colour: curveColours[i], steps: true})
		rows = append(rows, []string{
			one.release.name, count(len(one.reads)), fmt.Sprint(one.period),
			count(slices.Max(counts[comeBackStart/time.Second:])),
		})
		row, err := requestRow(one.release.name, one.gbg.answered(), one.period)
		if err != nil {
			return err
		}
		requests = append(requests, row)
		if err := b.unmount(ctx, one.mount.name); err != nil {
			return err
		}
	}
	b.section("Readers that come back", fmt.Sprintf("%s readers of one connection begin within %s and come back each time when `ttl` has passed, as Vault Agent does, for %s, with both releases at the same time. Tokens live %s, GBG answers after %s. No read failed. `ttl` has a random share of up to a quarter of the overlap of two tokens (here 5 s, with tokens of an hour 75 s).",
		count(comeBackReaders), comeBackStart, took, comeBackLifetime, comeBackDelay))
	b.table([]string{"release", "reads", "rotation_period", "reads in the busiest second after the start"}, rows...)
	if err := b.plot("comeback", "Reads per second of a thousand readers that follow ttl", c); err != nil {
		return err
	}
	b.paragraph("The same run as GBG sees it. So that a token is there when it is promised, this release requests it before rotation_period has passed: here 2 to 4 s of 40 s before, with tokens of an hour 5 to 35 s of 3,300 s. That is what is above 1.")
	b.table([]string{"release", "token requests", "in", "one every", "requests per rotation period", "target"}, requests...)
	return nil
}

// requestRow compares token requests with the time between the first and the last.
func requestRow(release string, requests []interval, period time.Duration) ([]string, error) {
	if len(requests) < 2 {
		return nil, errors.New("fewer than two token requests")
	}
	took := requests[len(requests)-1].begin.Sub(requests[0].begin)
	between := took / time.Duration(len(requests)-1)
	return []string{
		release, strconv.Itoa(len(requests)), fmt.Sprintf("%.1f s", took.Seconds()), fmt.Sprintf("%.2f s", between.Seconds()),
		fmt.Sprintf("%.2f", period.Seconds()/between.Seconds()), "1",
	}, nil
}
