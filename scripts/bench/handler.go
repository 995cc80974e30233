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
	// perConnection is the unit of the benchmark of memory, whose time and
	// allocations are those of ten thousand connections.
	perConnection = "B/connection"
)

// result is a line of go test -bench.
var result = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// measureHandler runs the Go micro-benchmarks of package plugintest: the plugin's
// handler without Vault and without gRPC.
func (b *bench) measureHandler(ctx context.Context) error {
	progress("handler: go test -bench")
	repeats := b.times(handlerRepeats)
	cmd := exec.CommandContext(ctx, b.goCommand, "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", "500ms", "-count", strconv.Itoa(repeats), "./plugintest")
	// If this is interrupted, so are go, which then removes what it has built, and
	// the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	names, figures, err := parseBenchmarks(out)
	if err != nil {
		return err
	}
	b.section("The handler alone", fmt.Sprintf("Go micro-benchmarks: HandleRequest in one process, without Vault and gRPC, as `go test -bench . -benchmem ./plugintest` runs them. CredsFloor is the SDK's own part with a constant answer. Medians of %d.", repeats))
	units := []string{"ns/op", "B/op", "allocs/op"}
	var rows [][]string
	for _, name := range names {
		if figures[name][perConnection] != nil {
			continue
		}
		row := []string{name}
		for _, unit := range units {
			row = append(row, count(median(figures[name][unit])))
		}
		rows = append(rows, row)
	}
	b.table(append([]string{"benchmark"}, units...), rows...)
	for _, name := range names {
		if memory := figures[name][perConnection]; memory != nil {
			fmt.Fprintf(b.out, "\nThe state of a connection in use, its token of %d bytes and its timer included, takes %s bytes of heap; loading one with its token from storage takes %s µs (%s).\n",
				tokenLength, count(median(memory)), count(median(figures[name]["ns/load"])/1000), name)
		}
	}
	return nil
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
