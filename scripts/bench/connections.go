package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	connectionRounds = 8
	// writers configure the many connections.
	writers = 16
)

// measureConnections compares a plugin with one connection with one that has
// many, each in a process of its own.
func (b *bench) measureConnections(ctx context.Context) (err error) {
	rounds := b.times(connectionRounds)
	progress("connections: configuring and reading %s, then %d rounds", count(b.connections), rounds)
	g, err := startGBG(time.Hour, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()

	one, err := b.newCrowd(ctx, g, "bench-1", 1)
	if err != nil {
		return err
	}
	many, err := b.newCrowd(ctx, g, "bench-n", b.connections)
	if err != nil {
		return err
	}
	targets := []*target{one.target, many.target}
	if err := b.interleave(ctx, rounds, readTime, targets); err != nil {
		return err
	}
	b.section("Many connections", fmt.Sprintf("One plugin process with 1 connection, another with %s, each of them configured and read once (tokens of an hour). Then one connection of each process is read, rounds: %d of %s, through %d connections to Vault. Memory is what the process holds (VmRSS), after its first connection was read and at the end.",
		count(b.connections), rounds, readTime, readers))
	rows := make([][]string, 0, 2)
	for _, c := range []*crowd{one, many} {
		after, err := resident(c.processes[0])
		if err != nil {
			return err
		}
		c.after = after
		rows = append(rows, append(c.row()[:5:5], megabytes(c.before), megabytes(c.after)))
	}
	b.table([]string{"connections", "requests/s", "p50, ms", "p99, ms", "plugin's processor time per read, µs", "memory after the first, MB", "memory at the end, MB"}, rows...)
	slower := pairwise(eachLoad(one.loads, rate), eachLoad(many.loads, rate))
	b.table([]string{"time of a read, in each round", "median", "range", "target"},
		append(append([]string{fmt.Sprintf("with %s / with 1", count(b.connections))}, spread(slower)...), "1.1 or less"))
	grown := (many.after - many.before) - (one.after - one.before)
	fmt.Fprintf(b.out, "\nThe process holds %.1f kB more for each connection, the room that Go keeps for garbage included. The state alone is under the next heading.\n",
		float64(grown)/1000/float64(max(b.connections-1, 1)))
	return b.unmount(ctx, "bench-1", "bench-n")
}

func megabytes(n int) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// crowd is a plugin process with a number of connections.
type crowd struct {
	*target
	// before and after are the process's memory with its first connection, and at
	// the end.
	before, after int
}

// newCrowd warms up a plugin with its first connection, then configures the
// others and reads each once.
func (b *bench) newCrowd(ctx context.Context, g *gbg, name string, n int) (*crowd, error) {
	m, err := b.mount(ctx, name, b.plugin)
	if err != nil {
		return nil, err
	}
	connection := func(i int) string { return fmt.Sprintf("%s-%05d", name, i) }
	if err := m.use(ctx, g, connection(0)); err != nil {
		return nil, err
	}
	url := m.url("creds/" + connection(0))
	if _, err := b.hit(ctx, url, 2*warmUp); err != nil {
		return nil, err
	}
	pid, err := m.process()
	if err != nil {
		return nil, err
	}
	c := &crowd{target: &target{name: count(n), url: url, processes: []int{pid}}}
	if c.before, err = resident(pid); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range next {
				if err := m.use(ctx, g, connection(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 1; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	return c, context.Cause(ctx)
}

// use configures a connection and reads it once.
func (m *mount) use(ctx context.Context, g *gbg, connection string) error {
	if err := m.configure(ctx, g, connection); err != nil {
		return err
	}
	_, err := m.creds(ctx, connection)
	return err
}
