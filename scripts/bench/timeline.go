package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gonum.org/v1/plot/plotter"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// A round of the timeline: reads without a pause, a refresh of a token by a slow GBG, an
// outage of GBG in which the next refresh falls, and a rotation.
const (
	timelineRounds   = 4
	timelineTime     = 32 * time.Second
	timelineLifetime = 15 * time.Second // refreshed after 9 to 9.5 s
	timelineDelay    = time.Second
	outageBegin      = 15500 * time.Millisecond
	outageEnd        = 20 * time.Second
	rotationBegin    = 25 * time.Second
	// timelineWidth is the width of a point of the plot.
	timelineWidth = 250 * time.Millisecond

	// eventMargin is added after a refresh and a rotation, for what follows GBG's answer:
	// the write to storage, the change of tokens, the garbage. A little is added before,
	// too, because the start of hey's clock is not known exactly.
	eventMargin     = 250 * time.Millisecond
	eventLeadMargin = 50 * time.Millisecond
	// slowRead is how much slower than usual no read should be.
	slowRead = 100 * time.Millisecond
)

// The events of a timeline.
const (
	refreshEvent  = "refresh"
	outageEvent   = "outage"
	rotationEvent = "rotation"
)

// timeline is a round: reads, and what happened meanwhile.
type timeline struct {
	began  time.Time
	load   load
	events []timelineEvent
}

type timelineEvent struct {
	name string
	interval
}

// measureTimeline reads without a pause through refreshes, outages and rotations.
func (b *bench) measureTimeline(ctx context.Context) (err error) {
	rounds := b.times(timelineRounds)
	releases := b.releases()
	progress("timeline: %d rounds of %s for each release", rounds, timelineTime)
	lines := make([][]timeline, len(releases))
	for round, order := range shuffledBlocks(rounds, len(releases)) {
		for _, i := range order {
			line, err := b.runTimeline(ctx, releases[i], round)
			if err != nil {
				return fmt.Errorf("%s: %w", releases[i].name, err)
			}
			lines[i] = append(lines[i], line)
		}
	}
	b.section("Reads during a refresh, an outage and a rotation", fmt.Sprintf("Rounds: %d of %s for each release, in random order, each with a new process. hey reads through %d connections without a pause. Tokens live %s and GBG answers after %s. A read counts as during a refresh or a rotation if it overlaps the time from the request to %s after its end, and as during the outage if it overlaps the time in which GBG answers 503, or the refresh that ends it.",
		rounds, timelineTime, readers, timelineLifetime, timelineDelay, eventMargin))
	var rows, ratios [][]string
	for i, r := range releases {
		timelineRows, ratioRows, err := timelineTables(r.name, lines[i])
		if err != nil {
			return err
		}
		rows, ratios = append(rows, timelineRows...), append(ratios, ratioRows...)
	}
	b.table([]string{"release", "reads", "number", "p50, ms", "p99, ms", "slowest, ms", "over 100 ms slower than the quiet p50"}, rows...)
	b.table([]string{"p99 in each round, with the range", "median", "range", "target"}, ratios...)
	return b.plotTimeline(releases, lines)
}

// runTimeline reads one connection of a new process for a round.
func (b *bench) runTimeline(ctx context.Context, r release, round int) (line timeline, err error) {
	g, err := startGBG(timelineLifetime, timelineDelay)
	if err != nil {
		return line, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	m, err := b.mountPlugin(ctx, fmt.Sprintf("time-%s-%d", r.label, round), r.path, g)
	if err != nil {
		return line, err
	}
	warm, err := b.hit(ctx, m.url("creds"), warmUp)
	if err != nil {
		return line, err
	}
	if err := g.waitForRefresh(ctx); err != nil {
		return line, err
	}

	line.began = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	disturbed := make(chan error, 1)
	go func() {
		events, err := m.disturb(ctx, g, line.began)
		line.events = events
		disturbed <- err
	}()
	line.load, err = b.hitUntil(ctx, m.url("creds"), line.began.Add(timelineTime), warm.rate)
	if err != nil {
		cancel()
	}
	err = errors.Join(err, <-disturbed)
	line.addRefreshes(g.answered())
	return line, errors.Join(err, b.unmount(ctx, m.name))
}

// waitForRefresh waits until the first token has been replaced, so that all rounds begin
// at the same age of a token.
func (g *gbg) waitForRefresh(ctx context.Context) error {
	for len(g.answered()) < 2 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// disturb makes the outage and the rotation of a round.
func (m *mount) disturb(ctx context.Context, g *gbg, began time.Time) (events []timelineEvent, err error) {
	until := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(began.Add(d))):
			return nil
		}
	}
	if err := until(outageBegin); err != nil {
		return nil, err
	}
	outage := timelineEvent{name: outageEvent}
	outage.begin = time.Now()
	if err := g.SetFault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: 503}); err != nil {
		return nil, err
	}
	err = until(outageEnd)
	g.ClearFaults()
	outage.end = time.Now()
	if err == nil {
		err = until(rotationBegin)
	}
	if err != nil {
		return nil, err
	}
	rotation := timelineEvent{name: rotationEvent}
	rotation.begin = time.Now()
	err = m.write(ctx, "rotate", nil)
	rotation.end = time.Now()
	return []timelineEvent{outage, rotation}, err
}

// addRefreshes adds the token requests that are not part of another event. The requests
// that overlap the outage extend it.
func (t *timeline) addRefreshes(requests []interval) {
	for _, r := range requests {
		i := slices.IndexFunc(t.events, func(e timelineEvent) bool {
			return r.begin.Before(e.end.Add(2*time.Second)) && r.end.After(e.begin) && (e.name == outageEvent || !r.begin.After(e.end))
		})
		switch {
		case i >= 0:
			t.events[i].end = later(t.events[i].end, r.end)
		case r.end.After(t.began):
			t.events = append(t.events, timelineEvent{refreshEvent, r})
		}
	}
	slices.SortFunc(t.events, func(a, b timelineEvent) int { return a.begin.Compare(b.begin) })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// split divides the reads by the event during which they were made; quiet ones have an
// empty name.
func (t *timeline) split() map[string][]sample {
	all := map[string][]sample{}
	for _, s := range t.load.samples {
		name := ""
		for _, e := range t.events {
			if s.overlaps(e.begin.Add(-eventLeadMargin), e.end.Add(eventMargin)) {
				name = e.name
			}
		}
		all[name] = append(all[name], s)
	}
	return all
}

// timelineTables returns the rows of a release: one for each kind of event, and its p99
// beside the quiet one.
func timelineTables(release string, lines []timeline) (rows, ratios [][]string, err error) {
	all, shares := map[string][]sample{}, map[string][]float64{}
	for _, line := range lines {
		parts := line.split()
		quiet := percentile(latencies(parts[""]), 0.99)
		for name, samples := range parts {
			all[name] = append(all[name], samples...)
			shares[name] = append(shares[name], float64(percentile(latencies(samples), 0.99))/float64(quiet))
		}
	}
	usual := percentile(latencies(all[""]), 0.5)
	for _, name := range []string{"", refreshEvent, outageEvent, rotationEvent} {
		took := latencies(all[name])
		if len(took) == 0 {
			return nil, nil, fmt.Errorf("no read was made during a %s", name)
		}
		slow := 0
		for _, d := range took {
			if d > usual+slowRead {
				slow++
			}
		}
		label := "quiet"
		if name != "" {
			label = "during a " + name
			if name == outageEvent {
				label = "during an " + name
			}
			ratios = append(ratios, []string{
				fmt.Sprintf("%s, %s / quiet", release, label), fmt.Sprintf("%.3f", median(shares[name])),
				fmt.Sprintf("%.3f to %.3f", slices.Min(shares[name]), slices.Max(shares[name])), "1.1 or less",
			})
		}
		rows = append(rows, []string{
			release, label, count(len(took)), milliseconds(percentile(took, 0.5)), milliseconds(percentile(took, 0.99)),
			milliseconds(slices.Max(took)), count(slow),
		})
	}
	return rows, ratios, nil
}

// plotTimeline draws the first round of each release.
func (b *bench) plotTimeline(releases []release, lines [][]timeline) error {
	c := chart{x: "seconds", y: "time of a read, ms"}
	for i, r := range releases {
		line := lines[i][0]
		c.curves = append(c.curves,
			curve{name: "p99, " + r.name, points: line.points(0.99), colour: curveColours[i]},
			curve{name: "p50, " + r.name, points: line.points(0.50), colour: curveColours[i], dashed: true})
		if i > 0 {
			continue
		}
		for _, e := range line.events {
			c.events = append(c.events, event{e.name, max(e.begin.Sub(line.began).Seconds(), 0), e.end.Sub(line.began).Seconds()})
		}
	}
	return b.plot("timeline", "Times of reads during a refresh, an outage and a rotation", c)
}

// points returns a percentile of the reads that began in each bin.
func (t *timeline) points(share float64) (points plotter.XYs) {
	bins := map[int][]time.Duration{}
	for _, s := range t.load.samples {
		if since := s.begin.Sub(t.began); since >= 0 {
			bins[int(since/timelineWidth)] = append(bins[int(since/timelineWidth)], s.took)
		}
	}
	for bin := range int(timelineTime / timelineWidth) {
		if len(bins[bin]) > 0 {
			points = append(points, plotter.XY{
				X: (float64(bin) + 0.5) * timelineWidth.Seconds(),
				Y: float64(percentile(bins[bin], share)) / float64(time.Millisecond),
			})
		}
	}
	return points
}
