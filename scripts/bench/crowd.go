package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// writers is the number of concurrent requests that configure and read connections.
	writers = 32
	// sweepTime is the time in which each connection is read once. It is shorter than the
	// time in which a token of scaleLifetime must be read to be refreshed.
	sweepTime = time.Minute
)

// crowd is a mount with a number of connections, in a process of its own.
type crowd struct {
	*mount
	size   int
	target *target
	// before and after are the process's memory with its first connection, and when all
	// were in use. last is that after the lists and the metrics.
	before, after, last int
	// reads are those of sweep.
	reads, failedReads atomic.Int64
}

func (c *crowd) connection(i int) string { return fmt.Sprintf("c-%05d", i) }

// newCrowd warms up a plugin with its first connection, then configures the others and
// reads each once.
func (b *bench) newCrowd(ctx context.Context, g *gbg, name, plugin string, n int) (*crowd, error) {
	m, err := b.mount(ctx, name, plugin)
	if err != nil {
		return nil, err
	}
	c := &crowd{mount: m, size: n}
	if err := c.use(ctx, g, c.connection(0)); err != nil {
		return nil, err
	}
	path := "creds/" + c.connection(0)
	if _, err := b.hit(ctx, c.url(path), 2*warmUp); err != nil {
		return nil, err
	}
	if c.target, err = c.mount.target(count(n), path); err != nil {
		return nil, err
	}
	if err := c.measureMemory(&c.before); err != nil {
		return nil, err
	}
	return c, c.forEach(ctx, 1, func(ctx context.Context, connection string) error { return c.use(ctx, g, connection) })
}

// measureMemory stores the process's resident memory.
func (c *crowd) measureMemory(size *int) (err error) {
	*size, err = resident(c.target.plugin)
	return err
}

// readAll reads each connection once.
func (c *crowd) readAll(ctx context.Context) error {
	return c.forEach(ctx, 0, func(ctx context.Context, connection string) error {
		_, err := c.creds(ctx, connection)
		return err
	})
}

// forEach calls a function for all connections from one on, several at a time.
func (c *crowd) forEach(ctx context.Context, from int, f func(context.Context, string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := atomic.Int64{}
	next.Store(int64(from))
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= c.size {
					return
				}
				if err := f(ctx, c.connection(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// sweep reads all connections in turn, evenly over sweepTime, until ctx ends. It counts
// reads that fail in failedReads and goes on.
func (c *crowd) sweep(ctx context.Context) {
	jobs := make(chan int)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range jobs {
				// A read that has begun is not cancelled: it would look like a failure.
				if _, err := c.creds(context.WithoutCancel(ctx), c.connection(i)); err != nil {
					c.failedReads.Add(1)
				}
				c.reads.Add(1)
			}
		})
	}
	defer func() {
		close(jobs)
		group.Wait()
	}()
	pause := sweepTime / time.Duration(c.size)
	for i, began := 0, time.Now(); ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(time.Duration(i) * pause))):
		}
		select {
		case <-ctx.Done():
			return
		case jobs <- i % c.size:
		}
	}
}
