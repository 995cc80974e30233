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

// coldStart is the outcome of readers that all asked at once for the first token.
type coldStart struct {
	requests, tokens int
	slowest          time.Duration
}

// measureColdStart has many readers ask at once for the token of a connection that has
// none yet.
func (b *bench) measureColdStart(ctx context.Context) (err error) {
	starts := b.times(coldStarts)
	progress("cold: %d starts for each release", starts)
	g, err := startGBG(time.Hour, coldDelay)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	var rows [][]string
	for _, r := range b.releases() {
		m, err := b.mount(ctx, "cold-"+r.label, r.path)
		if err != nil {
			return err
		}
		var most coldStart
		for i := range starts {
			name := fmt.Sprintf("cold-%d", i)
			if err := m.configure(ctx, g, name); err != nil {
				return err
			}
			before := g.Stats().TokenRequests.Total
			c, err := m.startCold(ctx, name)
			if err != nil {
				return err
			}
			most.requests = max(most.requests, g.Stats().TokenRequests.Total-before)
			most.tokens, most.slowest = max(most.tokens, c.tokens), max(most.slowest, c.slowest)
		}
		rows = append(rows, []string{
			r.name, strconv.Itoa(starts), strconv.Itoa(coldReaders), strconv.Itoa(most.requests), strconv.Itoa(most.tokens),
			fmt.Sprintf("%.2f s", most.slowest.Seconds()),
		})
		if err := b.unmount(ctx, m.name); err != nil {
			return err
		}
	}
	b.section("Cold start", fmt.Sprintf("%d readers ask at once for the first token of a connection, GBG answers after %s. No read failed. Each row has the maximum of its starts. Target: 1 request.", coldReaders, coldDelay))
	b.table([]string{"release", "starts", "readers", "token requests", "different tokens served", "slowest read"}, rows...)
	return nil
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
			began := time.Now()
			answer, err := m.creds(ctx, connection)
			took := time.Since(began)
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
