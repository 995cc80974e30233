package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

const (
	coldReaders = 200
	coldStarts  = 5
	coldDelay   = 1500 * time.Millisecond
)

// coldStart is what came of readers who all asked at once for the first token.
type coldStart struct {
	requests, tokens int
	slowest          time.Duration
}

// measureColdStart lets many readers ask at once for the token of a connection
// of which there is none yet.
func (b *bench) measureColdStart(ctx context.Context) (err error) {
	times := b.times(coldStarts)
	progress("cold: %d starts", times)
	g, err := startGBG(time.Hour, coldDelay)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	m, err := b.mount(ctx, "bench-cold", b.plugin)
	if err != nil {
		return err
	}
	var rows [][]string
	for i := range times {
		name := fmt.Sprintf("cold-%d", i)
		if err := m.configure(ctx, g, name); err != nil {
			return err
		}
		before := g.Stats().TokenRequests.Total
		c, err := m.startCold(ctx, name)
		if err != nil {
			return err
		}
		c.requests = g.Stats().TokenRequests.Total - before
		rows = append(rows, []string{
			strconv.Itoa(i + 1), strconv.Itoa(coldReaders), strconv.Itoa(c.requests), strconv.Itoa(c.tokens),
			fmt.Sprintf("%.2f s", c.slowest.Seconds()),
		})
	}
	b.section("Cold start", fmt.Sprintf("%d readers ask at once for the first token of a connection, GBG answers after %s. No read failed. Target: 1 request.", coldReaders, coldDelay))
	b.table([]string{"start", "readers", "token requests", "different tokens served", "slowest read"}, rows...)
	return b.unmount(ctx, m.name)
}

// startCold reads a connection from many goroutines. A read that fails is an
// error.
func (m *mount) startCold(ctx context.Context, connection string) (coldStart, error) {
	var (
		c      coldStart
		mu     sync.Mutex
		failed error
		tokens = map[string]bool{}
		all    sync.WaitGroup
		start  = make(chan struct{})
	)
	for range coldReaders {
		all.Go(func() {
			<-start
			begun := time.Now()
			answer, err := m.creds(ctx, connection)
			took := time.Since(begun)
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			tokens[answer.Data.AccessToken] = true
			c.slowest = max(c.slowest, took)
		})
	}
	close(start)
	all.Wait()
	c.tokens = len(tokens)
	return c, failed
}
