// Command bench measures the plugin, and the last release beside it, on a real Vault
// server on loopback, with the simulator as GBG and hey (github.com/rakyll/hey) as the
// load generator. It writes tables and plots into docs/performance.md; progress goes to
// standard error. Whatever it started ends with it.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// readers is the number of connections through which hey reads.
const readers = 32

// parts are what is measured, in this order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"machine", (*bench).printMachine},
	{"reads", (*bench).measureReads},
	{"timeline", (*bench).measureTimeline},
	{"cold", (*bench).measureColdStart},
	{"comeback", (*bench).measureComeBack},
	{"scale", (*bench).measureScale},
	{"checks", (*bench).measureChecks},
	{"handler", (*bench).measureHandler},
	{"start", (*bench).measureStart},
	{"leases", (*bench).measureLeases}, // last, because leases stay in Vault
}

// bench is one run of the benchmarks.
type bench struct {
	*world
	page        page
	length      float64
	connections int
	goCommand   string
	// lastVersion is the version of the last release, lastSource its source code.
	lastVersion, lastSource string

	// out collects the results of the current part, which began at partBegan with the
	// load average partLoad.
	out       bytes.Buffer
	partBegan time.Time
	partLoad  string
}

// times scales a number of repetitions by the length of the run.
func (b *bench) times(n int) int {
	return max(int(math.Round(float64(n)*b.length)), 1)
}

// scaled scales a duration by the length of the run, down to a minimum. Long runs take
// no longer.
func (b *bench) scaled(d, least time.Duration) time.Duration {
	return max(time.Duration(min(b.length, 1)*float64(d)), least)
}

// release is a build of the plugin to be measured.
type release struct {
	// name is for tables, label for mounts.
	name, label, path string
}

// releases returns this release and, if there is one, the last.
func (b *bench) releases() []release {
	all := []release{{name: "this release", label: "this", path: b.plugin}}
	if b.last != "" {
		all = append(all, release{name: b.lastVersion, label: "last", path: b.last})
	}
	return all
}

func main() {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	var paths paths
	b := &bench{}
	flag.StringVar(&paths.vault, "vault", "bin/vault", "the vault executable")
	flag.StringVar(&paths.plugin, "plugin", "bin/plugins/vault-plugin-secrets-gbg", "the plugin")
	flag.StringVar(&paths.last, "last", "", "the plugin of the last release; empty leaves it out")
	flag.StringVar(&b.lastVersion, "last-version", "the last release", "its version")
	flag.StringVar(&b.lastSource, "last-source", "", "its source code, for the micro-benchmarks; empty leaves it out")
	flag.StringVar(&paths.floor, "floor", "bin/floor", "the floor plugin")
	flag.StringVar(&paths.hey, "hey", "bin/hey", "the load generator")
	flag.StringVar(&b.page.path, "page", "docs/performance.md", "the page to write; a run with a length below 1 writes a copy in bin")
	flag.StringVar(&b.goCommand, "go", "go", "the go command, for the micro-benchmarks")
	flag.Float64Var(&b.length, "length", 1, "repeat everything this many times as often as in the full run")
	flag.IntVar(&b.connections, "connections", 10_000, "number of connections in the test of scale; fewer in a short run")
	only := flag.String("only", strings.Join(names, ","), "the parts to run")
	flag.Parse()

	os.Exit(status(b, paths, strings.Split(*only, ",")))
}

// status runs the benchmarks and returns the exit status: 130 if a signal ended them.
func status(b *bench, p paths, only []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, b, p, only)
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "Interrupted; everything that was started has been stopped.")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "The benchmarks failed:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, b *bench, p paths, only []string) (err error) {
	began := time.Now()
	if b.page, err = openPage(b.page.path, b.length); err != nil {
		return err
	}
	if b.length < 1 {
		b.connections = max(int(b.length*float64(b.connections)), 1)
	}
	if b.world, err = startWorld(ctx, p); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	for _, part := range parts {
		if !slices.Contains(only, part.name) {
			continue
		}
		b.beginPart()
		if err := part.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w\nThe end of Vault's log:\n%s", part.name, err, b.logTail())
		}
		if err := b.page.write(part.name, b.out.String()); err != nil {
			return err
		}
	}
	progress("done in %s, results are in %s", time.Since(began).Round(time.Second), b.page.path)
	return nil
}

// progress reports to the person who waits.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
