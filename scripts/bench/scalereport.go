package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// reportScale writes the section about many connections.
func (b *bench) reportScale(all []*scale) error {
	n := count(b.connections)
	b.section("Many connections", fmt.Sprintf("Each release has a process with 1 connection and one with %s, all with a pair of clients and tokens of %s, configured one after the other as fast as Vault and GBG allow. GBG answers after %s. Both releases run at the same time, each with its own GBG. Then each connection is read once in %s, so that every token is in use and refreshed. Then one connection of each process is read in slices of %s through %d connections to Vault, in random order, while the other reads and the refreshes go on.",
		n, scaleLifetime, scaleDelay, sweepTime, sliceTime, readers))

	b.requestsAtScale(all)
	if err := b.plotScale(all); err != nil {
		return err
	}
	b.readsAtScale(all)
	b.processorTimeAtScale(all)
	b.answersAtScale(all)
	b.restartsAtScale(all)
	return nil
}

// requestsAtScale writes how requests to GBG were spread.
func (b *bench) requestsAtScale(all []*scale) {
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		answered := s.gbg.answered()
		setUp := within(answered, interval{end: s.inUse.begin})
		inUse := within(answered, s.inUse)
		seconds := perSecond(begins(inUse), s.inUse.begin, int(s.inUse.end.Sub(s.inUse.begin)/time.Second))
		rows = append(rows, []string{
			s.release.name, count(len(setUp)), strconv.Itoa(mostAtOnce(setUp)),
			count(len(inUse)), strconv.Itoa(mostAtOnce(during(answered, s.inUse))),
			count(float64(len(inUse)) / s.inUse.end.Sub(s.inUse.begin).Seconds()),
			count(slices.Max(seconds)), strconv.Itoa(tokenRequestLimit),
			fmt.Sprintf("%s of %s", count(float64(s.many.failedReads.Load())), count(float64(s.many.reads.Load()))),
		})
	}
	b.table([]string{"release", "requests while configuring", "maximum in flight", "requests in use", "maximum in flight", "requests/s on average", "in the busiest second", "in flight, target", "failed reads"}, rows...)
	b.paragraph("%d requests at once are %.0f requests/s if GBG answers after %s; %s connections with such tokens need %.0f/s. Where GBG or the machine is slower, tokens are late and reads fail. With tokens of an hour %s connections need %.0f/s.",
		tokenRequestLimit, tokenRequestLimit/scaleDelay.Seconds(), scaleDelay, count(b.connections),
		float64(b.connections)/scalePeriod.Seconds(), count(b.connections), float64(b.connections)/hourPeriod.Seconds())
}

// plotScale draws the requests to GBG, and how many were in flight.
func (b *bench) plotScale(all []*scale) error {
	rates := chart{x: "seconds since the first request", y: "requests per second"}
	flights := chart{x: rates.x, y: "requests in flight", line: tokenRequestLimit, lineName: "16"}
	for i, s := range all {
		answered := s.gbg.answered()
		start := slices.MinFunc(answered, func(a, b interval) int { return a.begin.Compare(b.begin) }).begin
		seconds := int(s.inUse.end.Sub(start) / time.Second)
		rates.curves = append(rates.curves, curve{
			name: s.release.name, colour: curveColours[i], steps: true,
			points: histogram(perSecond(begins(answered), start, seconds), time.Second, 1),
		})
		most := make([]int, seconds)
		for second := range most {
			from := start.Add(time.Duration(second) * time.Second)
			most[second] = mostAtOnce(during(answered, interval{from, from.Add(time.Second)}))
		}
		flights.curves = append(flights.curves, curve{name: s.release.name, colour: curveColours[i], steps: true, points: histogram(most, time.Second, 1)})
		if i == 0 {
			configured := event{"configured and read once", 0, s.inUse.begin.Sub(start).Seconds()}
			rates.events, flights.events = []event{configured}, []event{configured}
		}
	}
	if err := b.plot("requests", "Token requests per second of very many connections", rates); err != nil {
		return err
	}
	return b.plot("inflight", "Token requests in flight at the same time", flights)
}

// readsAtScale writes how reads of one connection compare, and the memory.
func (b *bench) readsAtScale(all []*scale) {
	var rows, ratios [][]string
	for _, s := range all {
		for _, c := range []*crowd{s.one, s.many} {
			took := latencies(c.target.samples())
			rows = append(rows, []string{
				s.release.name, c.target.name, count(median(c.target.each(rate))),
				milliseconds(percentile(took, 0.5)), milliseconds(percentile(took, 0.99)),
				microseconds(median(c.target.each(pluginTime))), megabytes(c.before), megabytes(c.after), megabytes(c.last),
			})
		}
		name := fmt.Sprintf("%s, with %s / with 1", s.release.name, s.many.target.name)
		ratios = append(ratios,
			ratioRow("p99, "+name, pairwise(s.many.target.each(p99), s.one.target.each(p99)), "1.1 or less"),
			ratioRow("mean time of a read, "+name, pairwise(s.one.target.each(rate), s.many.target.each(rate)), "1.1 or less"))
	}
	b.paragraph("Reads of one connection while all are in use. The plugin's processor time includes the refreshes and the other reads. Memory is the process's resident memory (VmRSS), after its first connection was read, when all were in use, and after the lists and the metrics below.")
	b.table([]string{"release", "connections", "requests/s", "p50, ms", "p99, ms", "plugin's processor time per read, µs", "memory at first, MB", "memory in use, MB", "after the metrics, MB"}, rows...)
	b.table([]string{"ratio in each block", "median", "95 % interval", "target"}, ratios...)
	for _, s := range all {
		grown := (s.many.after - s.many.before) - (s.one.after - s.one.before)
		b.paragraph("%s: the process uses %.1f kB more for each connection, Go's room for garbage included.",
			s.release.name, float64(grown)/1000/float64(max(b.connections-1, 1)))
	}
}

func p99(l load) float64 { return float64(percentile(latencies(l.samples), 0.99)) }

// processorTimeAtScale writes the processor time of the plugin in use and at rest.
func (b *bench) processorTimeAtScale(all []*scale) {
	rows := make([][]string, 0, len(all))
	share := func(used, period time.Duration) string {
		return fmt.Sprintf("%.2f %%", 100*used.Seconds()/period.Seconds())
	}
	hour := func(used, period time.Duration) string {
		return fmt.Sprintf("%.2f s", used.Seconds()*time.Hour.Seconds()/period.Seconds())
	}
	for _, s := range all {
		inUse, idle := s.inUse.end.Sub(s.inUse.begin), s.idle.end.Sub(s.idle.begin)
		rows = append(rows, []string{
			s.release.name, share(s.inUseTime, inUse), share(s.idleTimes[0], idle),
			hour(s.idleTimes[0], idle), hour(s.idleTimes[1], idle), strconv.Itoa(s.idleRequests),
		})
	}
	idle := all[0].idle.end.Sub(all[0].idle.begin).Round(time.Second)
	b.paragraph("Processor time of the plugin's process, of one processor. In use are all connections, each read once in %s. At rest nobody reads and no token is refreshed any more; this was measured for %s and scaled to an hour. The standby checks of that day are not in it: they come a day after the clients' secrets were set.", sweepTime, idle)
	b.table([]string{"release", "in use", "at rest", "an hour at rest", "an hour at rest, 1 connection", "requests to GBG at rest"}, rows...)
}

// answersAtScale writes the times of lists and metrics.
func (b *bench) answersAtScale(all []*scale) {
	var rows [][]string
	for _, s := range all {
		for _, a := range s.answers {
			rows = append(rows, []string{
				s.release.name, a.name, megabytes(a.size), fmt.Sprintf("%.0f", 1000*median(a.took)),
				fmt.Sprintf("%.0f", 1000*slices.Max(a.took)), fmt.Sprintf("%.0f", 1000*median(a.used)),
			})
		}
	}
	b.paragraph("The list and the metrics of %s connections, while all are in use: medians of %d. The plugin's processor time includes what the connections need meanwhile.", count(b.connections), b.times(listRounds))
	b.table([]string{"release", "answer", "size, MB", "time, ms", "slowest, ms", "plugin's processor time, ms"}, rows...)
}

// restartsAtScale writes the times after a restart.
func (b *bench) restartsAtScale(all []*scale) {
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		figure := func(f func(restart) float64) float64 {
			values := make([]float64, len(s.restarts))
			for i, r := range s.restarts {
				values[i] = f(r)
			}
			return median(values)
		}
		requests := 0
		for _, r := range s.restarts {
			requests = max(requests, r.requests)
		}
		rows = append(rows, []string{
			s.release.name,
			fmt.Sprintf("%.0f", 1000*figure(func(r restart) float64 { return r.ready })),
			fmt.Sprintf("%.0f", 1000*figure(func(r restart) float64 { return r.first })),
			fmt.Sprintf("%.0f", 1000*figure(func(r restart) float64 { return r.list })),
			fmt.Sprintf("%.0f", 1000*figure(func(r restart) float64 { return r.used })),
			fmt.Sprintf("%.1f", figure(func(r restart) float64 { return r.all })),
			strconv.Itoa(requests),
			megabytes(int(figure(func(r restart) float64 { return float64(r.memory) }))),
		})
	}
	b.paragraph("Start after a restart: Vault reloads the plugin (`vault plugin reload`), which starts a new process on the same storage with a valid token of each of the %s connections. Then, one after the other: one read, the list, a read of each connection through %d connections. Medians of %d. Requests to GBG are the maximum: those of tokens that came to their refresh meanwhile.",
		count(b.connections), writers, b.times(restarts))
	b.table([]string{"release", "reload, ms", "first read, ms", "first list, ms", "plugin's processor time so far, ms", "a read of each, s", "requests to GBG", "memory, MB"}, rows...)
}
