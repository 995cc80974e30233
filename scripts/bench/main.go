// Command bench measures the plugin on a real Vault server on loopback, with the
// simulator as GBG and hey (github.com/rakyll/hey) as the load generator. It
// prints Markdown tables; progress goes to standard error. Whatever it started
// ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// readers is how many connections hey reads through at once.
const readers = 32

// parts are what is measured, in this order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"reads", (*bench).measureReads},
	{"refresh", (*bench).measureRefresh},
	{"cold", (*bench).measureColdStart},
	{"connections", (*bench).measureConnections},
	{"handler", (*bench).measureHandler},
	{"start", (*bench).measureStart},
	{"leases", (*bench).measureLeases}, // last, for what they leave in Vault
}

// bench is one run of the benchmarks.
type bench struct {
	*world
	out         io.Writer
	length      float64
	connections int
	goCommand   string
}

// times scales how often something is repeated by the length of the run.
func (b *bench) times(n int) int {
	return max(int(math.Round(float64(n)*b.length)), 1)
}

func main() {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	var paths paths
	b := &bench{out: os.Stdout}
	flag.StringVar(&paths.vault, "vault", "bin/vault", "the vault executable")
	flag.StringVar(&paths.plugin, "plugin", "bin/plugins/vault-plugin-secrets-gbg", "the plugin")
	flag.StringVar(&paths.floor, "floor", "bin/floor", "the floor plugin")
	flag.StringVar(&paths.hey, "hey", "bin/hey", "the load generator")
	flag.StringVar(&b.goCommand, "go", "go", "the go command, for the micro-benchmarks")
	flag.Float64Var(&b.length, "length", 1, "repeat everything this many times as often as in the full run")
	flag.IntVar(&b.connections, "connections", 10_000, "how many connections are many")
	only := flag.String("only", strings.Join(names, ","), "the parts to run")
	flag.Parse()

	os.Exit(status(b, paths, strings.Split(*only, ",")))
}

// status runs the benchmarks and gives the exit status: 130 if a signal ended
// them, as shells have it.
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
	begun := time.Now()
	if b.world, err = startWorld(ctx, p); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.printMachine(ctx); err != nil {
		return err
	}
	for _, part := range parts {
		if !slices.Contains(only, part.name) {
			continue
		}
		if err := part.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w\nThe end of Vault's log:\n%s", part.name, err, b.logTail())
		}
	}
	progress("done in %s", time.Since(begun).Round(time.Second))
	return nil
}

// progress tells the person who waits.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
