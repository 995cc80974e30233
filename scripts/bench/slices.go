package main

import (
	"context"
	"fmt"
	"time"
)

// sliceTime is how long a target is read before the next one is. Slices are short so
// that what slows the machine slows all targets alike.
const sliceTime = 300 * time.Millisecond

// target is something that is read, slice after slice.
type target struct {
	name, url string
	// plugin and vault are process ids. plugin is zero if Vault answers by itself.
	plugin, vault int
	loads         []load
	// size is the length of an answer in bytes.
	size int
}

// each returns a figure of each slice.
func (t *target) each(figure func(load) float64) []float64 {
	all := make([]float64, len(t.loads))
	for i, l := range t.loads {
		all[i] = figure(l)
	}
	return all
}

// samples returns the reads of all slices.
func (t *target) samples() (all []sample) {
	for _, l := range t.loads {
		all = append(all, l.samples...)
	}
	return all
}

func rate(l load) float64       { return l.rate }
func pluginTime(l load) float64 { return float64(l.pluginTime) / float64(len(l.samples)) }
func totalTime(l load) float64 {
	return float64(l.pluginTime+l.vaultTime) / float64(len(l.samples))
}
func vaultTime(l load) float64 { return float64(l.vaultTime) / float64(len(l.samples)) }

func readHead() []string {
	return []string{"read", "requests/s", "p50, ms", "p99, ms", "plugin's processor time per read, µs", "Vault's, µs", "answer, bytes"}
}

// row is a target's row in a table of reads.
func (t *target) row() []string {
	took := latencies(t.samples())
	plugin := "-"
	if t.plugin != 0 {
		plugin = microseconds(median(t.each(pluginTime)))
	}
	return []string{
		t.name,
		count(median(t.each(rate))),
		milliseconds(percentile(took, 0.50)),
		milliseconds(percentile(took, 0.99)),
		plugin,
		microseconds(median(t.each(vaultTime))),
		count(t.size),
	}
}

func microseconds(nanoseconds float64) string { return fmt.Sprintf("%.1f", nanoseconds/1e3) }

// readSlices reads targets in short slices. In each block every target has one slice, in
// random order.
func (b *bench) readSlices(ctx context.Context, blocks int, targets []*target) error {
	rates := map[string]float64{}
	for _, t := range targets {
		body, err := b.get(ctx, t.url)
		if err != nil {
			return err
		}
		t.size = len(body)
		warm, err := b.hit(ctx, t.url, warmUp)
		if err != nil {
			return err
		}
		rates[t.url] = warm.rate
	}
	for _, order := range shuffledBlocks(blocks, len(targets)) {
		for _, i := range order {
			t := targets[i]
			l, err := b.readSlice(ctx, t, rates[t.url])
			if err != nil {
				return err
			}
			t.loads = append(t.loads, l)
		}
	}
	return nil
}

func (b *bench) readSlice(ctx context.Context, t *target, rate float64) (load, error) {
	measure := func() (plugin, vault time.Duration, err error) {
		if t.plugin != 0 {
			if plugin, err = processorTime(t.plugin); err != nil {
				return 0, 0, err
			}
		}
		vault, err = processorTime(t.vault)
		return plugin, vault, err
	}
	pluginBefore, vaultBefore, err := measure()
	if err != nil {
		return load{}, err
	}
	l, err := b.hitFor(ctx, t.url, sliceTime, rate)
	if err != nil {
		return load{}, err
	}
	pluginAfter, vaultAfter, err := measure()
	l.pluginTime, l.vaultTime = pluginAfter-pluginBefore, vaultAfter-vaultBefore
	return l, err
}
