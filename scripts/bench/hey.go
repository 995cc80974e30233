package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// load is what hey saw of a number of reads.
type load struct {
	samples []sample
	// rate is reads per second.
	rate float64
	// pluginTime and vaultTime are the processor times of the two processes, if they were
	// measured.
	pluginTime, vaultTime time.Duration
}

// sample is one read, in tenths of a millisecond, which is what hey gives.
type sample struct {
	begin time.Time
	took  time.Duration
}

// latencies returns how long reads took.
func latencies(samples []sample) []time.Duration {
	all := make([]time.Duration, len(samples))
	for i, s := range samples {
		all[i] = s.took
	}
	return all
}

// overlaps reports whether the read was under way at some time between two moments.
func (s sample) overlaps(from, to time.Time) bool {
	return s.begin.Before(to) && s.begin.Add(s.took).After(from)
}

// warmUp is how many reads it takes to know about how fast they are.
const warmUp = 200 * readers

// hit has hey read a URL n times, rounded to what its connections share
// equally. A read that fails is an error.
func (w *world) hit(ctx context.Context, url string, n int) (load, error) {
	n = max(n/readers, 1) * readers
	cmd := exec.CommandContext(ctx, w.hey, "-n", strconv.Itoa(n), "-c", strconv.Itoa(readers), "-o", "csv",
		"-H", "X-Vault-Token: "+w.vault.Token(), url)
	cmd.Stderr = os.Stderr
	var out bytes.Buffer
	cmd.Stdout = &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return load{}, fmt.Errorf("hey: %w", err)
	}
	l, err := readCSV(&out, began)
	if err != nil {
		return load{}, fmt.Errorf("hey: %w", err)
	}
	// hey leaves out of its table the reads that got no answer at all.
	if len(l.samples) != n {
		return load{}, fmt.Errorf("%s: %d of %d reads got no answer", url, n-len(l.samples), n)
	}
	return l, nil
}

// hitFor has hey read a URL for about a duration at a rate that was seen before.
func (w *world) hitFor(ctx context.Context, url string, d time.Duration, rate float64) (load, error) {
	return w.hit(ctx, url, int(d.Seconds()*rate))
}

// hitUntil has hey read a URL until a moment, in runs of some seconds.
func (w *world) hitUntil(ctx context.Context, url string, end time.Time, rate float64) (all load, err error) {
	const run = 3 * time.Second
	for time.Now().Before(end) {
		l, err := w.hitFor(ctx, url, min(run, time.Until(end)), rate)
		if err != nil {
			return load{}, err
		}
		rate = l.rate
		all.samples = append(all.samples, l.samples...)
	}
	return all, nil
}

// readCSV reads hey's table. Its offsets count from when hey began.
func readCSV(r io.Reader, began time.Time) (load, error) {
	table := csv.NewReader(r)
	head, err := table.Read()
	if err != nil {
		return load{}, err
	}
	took, offset, status := slices.Index(head, "response-time"), slices.Index(head, "offset"), slices.Index(head, "status-code")
	if took < 0 || offset < 0 || status < 0 {
		return load{}, fmt.Errorf("its table has the columns %q", head)
	}
	var l load
	var first, last time.Duration
	for {
		row, err := table.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return load{}, err
		}
		if row[status] != strconv.Itoa(http.StatusOK) {
			return load{}, fmt.Errorf("a read got status %s", row[status])
		}
		d, err := seconds(row[took])
		if err != nil {
			return load{}, err
		}
		at, err := seconds(row[offset])
		if err != nil {
			return load{}, err
		}
		if len(l.samples) == 0 || at < first {
			first = at
		}
		last = max(last, at+d)
		l.samples = append(l.samples, sample{begin: began.Add(at), took: d})
	}
	if last > first {
		l.rate = float64(len(l.samples)) / (last - first).Seconds()
	}
	return l, nil
}

func seconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	return time.Duration(s * float64(time.Second)), err
}
