package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

const (
	handlerRepeats = 3
	// memoryBenchmark has units of its own.
	memoryBenchmark = "ConnectionMemory"
)

// result is a line of go test -bench.
var result = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// benchmarks are the Go micro-benchmarks of a release.
type benchmarks struct {
	release string
	// dir is its source code, and pkg the package with the benchmarks.
	dir, pkg string
	names    []string
	figures  map[string]map[string][]float64
}

// measureHandler runs the Go micro-benchmarks: the plugin's handler without Vault and
// without gRPC.
func (b *bench) measureHandler(ctx context.Context) error {
	repeats := b.times(handlerRepeats)
	progress("handler: go test -bench, %d times for each release", repeats)
	all := []*benchmarks{{release: "this release", dir: ".", pkg: "./plugintest"}}
	if b.lastSource != "" {
		all = append(all, &benchmarks{release: b.lastVersion, dir: b.lastSource, pkg: "."})
	}
	for _, order := range shuffledBlocks(repeats, len(all)) {
		for _, i := range order {
			if err := b.runBenchmarks(ctx, all[i]); err != nil {
				return fmt.Errorf("%s: %w", all[i].release, err)
			}
		}
	}
	b.section("The handler alone", fmt.Sprintf("Go micro-benchmarks: HandleRequest in one process, without Vault and gRPC, as `go test -bench . -benchmem ./plugintest` runs them. CredsFloor is the SDK's own part with a constant answer. Medians of %d runs of each release, in random order.", repeats))
	units := []string{"ns/op", "B/op", "allocs/op"}
	head := []string{"benchmark"}
	for _, unit := range units {
		for _, r := range all {
			head = append(head, unit+", "+r.release)
		}
	}
	var rows [][]string
	for _, name := range all[0].names {
		if !strings.HasPrefix(name, "Creds") {
			continue
		}
		row := []string{name}
		for _, unit := range units {
			for _, r := range all {
				row = append(row, r.figure(name, unit, 1))
			}
		}
		rows = append(rows, row)
	}
	b.table(head, rows...)
	rows = nil
	for _, r := range all {
		rows = append(rows, []string{
			r.release, r.figure(memoryBenchmark, "B/connection", 1), r.figure(memoryBenchmark, "ns/load", 1000),
		})
	}
	b.table([]string{"a connection in use (ConnectionMemory)", "bytes of heap", "µs to load it from storage"}, rows...)
	return nil
}

// figure returns the median of a benchmark's values, or "-" if there are none.
func (r *benchmarks) figure(name, unit string, divisor float64) string {
	values := r.figures[name][unit]
	if len(values) == 0 {
		return "-"
	}
	return count(median(values) / divisor)
}

// runBenchmarks runs the benchmarks of a release once more.
func (b *bench) runBenchmarks(ctx context.Context, r *benchmarks) error {
	out, err := b.goTest(ctx, r.dir, "-run", "^$", "-bench", "^Benchmark(Creds|"+memoryBenchmark+")", "-benchmem", "-benchtime", "500ms", r.pkg)
	if err != nil {
		return err
	}
	names, figures, err := parseBenchmarks(out)
	if err != nil {
		return err
	}
	if r.figures == nil {
		r.names, r.figures = names, figures
		return nil
	}
	for name, units := range figures {
		for unit, values := range units {
			r.figures[name][unit] = append(r.figures[name][unit], values...)
		}
	}
	return nil
}

// goTest runs go test in a directory and returns its output.
func (b *bench) goTest(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.goCommand, append([]string{"test"}, args...)...)
	cmd.Dir = dir
	// A signal reaches go, which then removes what it has built, and the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return out, nil
}

// parseBenchmarks reads the output of go test -bench: names in order, and the
// values of each by unit.
func parseBenchmarks(out []byte) (names []string, figures map[string]map[string][]float64, err error) {
	figures = map[string]map[string][]float64{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		found := result.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		name := found[1]
		if figures[name] == nil {
			names = append(names, name)
			figures[name] = map[string][]float64{}
		}
		fields := strings.Fields(found[2])
		for i := 0; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, nil, err
			}
			figures[name][fields[i+1]] = append(figures[name][fields[i+1]], value)
		}
	}
	return names, figures, lines.Err()
}
