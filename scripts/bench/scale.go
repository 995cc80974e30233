package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	scaleLifetime = 2 * time.Minute
	// scalePeriod and hourPeriod are about how long after a token of scaleLifetime, and of
	// an hour, the next one is requested.
	scalePeriod = 74 * time.Second
	hourPeriod  = 3280 * time.Second
	scaleDelay  = 50 * time.Millisecond
	// scaleTime is how long all connections are in use before one of them is read in
	// slices as well.
	scaleTime   = 160 * time.Second
	scaleBlocks = 60
	listRounds  = 15
	// idleTime is how long the processes are left alone.
	idleTime = 4 * time.Minute
	restarts = 3
	// tokenRequestLimit is the maximum number of concurrent requests to one host.
	tokenRequestLimit = 16
)

// scale is a release with many connections, and beside it a process with one.
type scale struct {
	release   release
	gbg       *gbg
	many, one *crowd
	// inUse is the time in which all connections were in use, idle the time in which none
	// was. inUseTime and idleTimes are processor times: the latter of many and one.
	inUse, idle  interval
	inUseTime    time.Duration
	idleTimes    [2]time.Duration
	idleRequests int
	answers      []*answer
	restarts     []restart
}

// measureScale compares a process with many connections in use with one that has a single
// connection, for both releases at the same time.
func (b *bench) measureScale(ctx context.Context) (err error) {
	var all []*scale
	for _, r := range b.releases() {
		s := &scale{release: r}
		if s.gbg, err = startGBG(scaleLifetime, scaleDelay); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.gbg.stop()) }()
		all = append(all, s)
	}
	progress("scale: configuring and reading %s connections of each release", count(b.connections))
	if err := atOnce(ctx, all, func(ctx context.Context, s *scale) error { return b.newScale(ctx, s) }); err != nil {
		return err
	}
	if err := b.useAll(ctx, all); err != nil {
		return err
	}
	idle := b.scaled(idleTime, 30*time.Second)
	progress("scale: waiting %s until no token is refreshed, then %s of idling", scaleLifetime, idle)
	if err := b.idle(ctx, all, idle); err != nil {
		return err
	}
	progress("scale: %d restarts of each plugin", b.times(restarts))
	for range b.times(restarts) {
		for _, s := range all {
			r, err := b.restart(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.release.name, err)
			}
			s.restarts = append(s.restarts, r)
		}
	}
	if err := b.reportScale(all); err != nil {
		return err
	}
	for _, s := range all {
		if err := b.unmount(ctx, s.many.name, s.one.name); err != nil {
			return err
		}
	}
	return nil
}

// newScale configures a release's connections.
func (b *bench) newScale(ctx context.Context, s *scale) (err error) {
	if s.one, err = b.newCrowd(ctx, s.gbg, "scale-"+s.release.label+"-1", s.release.path, 1); err != nil {
		return err
	}
	if s.many, err = b.newCrowd(ctx, s.gbg, "scale-"+s.release.label+"-n", s.release.path, b.connections); err != nil {
		return err
	}
	s.answers = s.listAnswers()
	return nil
}

// useAll keeps all connections in use, and measures meanwhile.
func (b *bench) useAll(ctx context.Context, all []*scale) error {
	sweeping, stop := context.WithCancel(ctx)
	defer stop()
	var sweeps sync.WaitGroup
	for _, s := range all {
		s.inUse.begin = time.Now()
		var err error
		if s.inUseTime, err = processorTime(s.many.target.plugin); err != nil {
			return err
		}
		sweeps.Go(func() { s.many.sweep(sweeping) })
	}
	took := b.scaled(scaleTime, 80*time.Second)
	progress("scale: all in use for %s", took)
	err := wait(ctx, took)
	for _, s := range all {
		now, timeErr := processorTime(s.many.target.plugin)
		err = errors.Join(err, timeErr)
		s.inUse.end, s.inUseTime = time.Now(), now-s.inUseTime
	}
	if err == nil {
		progress("scale: reading one connection of each process in %d blocks", b.times(scaleBlocks))
		var targets []*target
		for _, s := range all {
			targets = append(targets, s.one.target, s.many.target)
		}
		err = b.readSlices(ctx, b.times(scaleBlocks), targets)
	}
	for _, s := range all {
		err = errors.Join(err, s.many.measureMemory(&s.many.after), s.one.measureMemory(&s.one.after))
	}
	if err == nil {
		progress("scale: lists and metrics, %d rounds", b.times(listRounds))
		err = b.readAnswers(ctx, all)
	}
	for _, s := range all {
		err = errors.Join(err, s.many.measureMemory(&s.many.last), s.one.measureMemory(&s.one.last))
	}
	stop()
	sweeps.Wait()
	return err
}

// idle waits until unused tokens are no longer refreshed, then measures the processor time
// of processes that nobody uses.
func (b *bench) idle(ctx context.Context, all []*scale, took time.Duration) error {
	if err := wait(ctx, scaleLifetime); err != nil { // a used token is refreshed once more
		return err
	}
	measure := func(s *scale) (times [2]time.Duration, err error) {
		for i, c := range []*crowd{s.many, s.one} {
			if times[i], err = processorTime(c.target.plugin); err != nil {
				return times, err
			}
		}
		return times, nil
	}
	var err error
	for _, s := range all {
		s.idle.begin, s.idleRequests = time.Now(), s.gbg.Stats().TokenRequests.Total
		if s.idleTimes, err = measure(s); err != nil {
			return err
		}
	}
	if err := wait(ctx, took); err != nil {
		return err
	}
	for _, s := range all {
		now, err := measure(s)
		if err != nil {
			return err
		}
		for i := range now {
			s.idleTimes[i] = now[i] - s.idleTimes[i]
		}
		s.idle.end, s.idleRequests = time.Now(), s.gbg.Stats().TokenRequests.Total-s.idleRequests
	}
	return nil
}

// wait waits, or returns the context's error.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// atOnce calls a function for each of some things, concurrently.
func atOnce[T any](ctx context.Context, all []T, f func(context.Context, T) error) error {
	errs := make(chan error, len(all))
	for _, one := range all {
		go func() { errs <- f(ctx, one) }()
	}
	var err error
	for range all {
		err = errors.Join(err, <-errs)
	}
	return err
}

// answer is an answer about all connections.
type answer struct {
	name, method, path string
	size               int
	took               []float64 // seconds
	used               []float64 // processor time of the plugin, in seconds
}

func (s *scale) listAnswers() []*answer {
	all := []*answer{
		{name: "list of `status`", method: "LIST", path: "status"},
		{name: "`metrics`", method: "GET", path: "metrics"},
	}
	if s.release.label == "this" {
		all = append(all, &answer{name: "`metrics?summary=true`", method: "GET", path: "metrics?summary=true"})
	}
	return all
}

// readAnswers reads the lists and metrics of all releases, in random order.
func (b *bench) readAnswers(ctx context.Context, all []*scale) error {
	for range b.times(listRounds) {
		for _, i := range shuffledBlocks(1, len(all))[0] {
			s := all[i]
			for _, j := range shuffledBlocks(1, len(s.answers))[0] {
				if err := s.many.ask(ctx, s.answers[j]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ask requests an answer once.
func (c *crowd) ask(ctx context.Context, a *answer) error {
	before, err := processorTime(c.target.plugin)
	if err != nil {
		return err
	}
	began := time.Now()
	body, err := c.w.request(ctx, a.method, c.url(a.path))
	took := time.Since(began)
	if err != nil {
		return err
	}
	after, err := processorTime(c.target.plugin)
	a.size = len(body)
	a.took, a.used = append(a.took, took.Seconds()), append(a.used, (after-before).Seconds())
	return err
}

// restart is a restart of a plugin's process with many connections in storage.
type restart struct {
	// ready is the time of the reload, first that of the first read, both in seconds. list
	// is that of the first list, and all that of one read of each connection.
	ready, first, list, all float64
	// used is the processor time until the first list.
	used     float64
	memory   int
	requests int
}

// restart reloads a plugin and uses all connections again.
func (b *bench) restart(ctx context.Context, s *scale) (r restart, err error) {
	c := s.many
	seconds := func(f func() error) float64 {
		if err != nil {
			return 0
		}
		began := time.Now()
		err = f()
		return time.Since(began).Seconds()
	}
	// All have a token that is valid for the whole measurement.
	if err := c.readAll(ctx); err != nil {
		return r, err
	}
	before := s.gbg.Stats().TokenRequests.Total
	r.ready = seconds(func() error { return c.reload(ctx) })
	r.first = seconds(func() error { _, err := c.creds(ctx, c.connection(0)); return err })
	r.list = seconds(func() error { _, err := c.w.request(ctx, "LIST", c.url("status")); return err })
	if err != nil {
		return r, err
	}
	if c.target.plugin, err = c.runningProcess(ctx); err != nil {
		return r, err
	}
	used, err := processorTime(c.target.plugin)
	if err != nil {
		return r, err
	}
	r.used = used.Seconds()
	r.all = seconds(func() error { return c.readAll(ctx) })
	r.requests = s.gbg.Stats().TokenRequests.Total - before
	if err != nil {
		return r, err
	}
	r.memory, err = resident(c.target.plugin)
	return r, err
}

// runningProcess is process after a restart, while the old process may still be ending.
func (m *mount) runningProcess(ctx context.Context) (pid int, err error) {
	for range 100 {
		if pid, err = m.process(); err == nil || !strings.Contains(err.Error(), "more than once") {
			return pid, err
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, err
}
