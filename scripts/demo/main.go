// Command demo shows the plugin at work: a real Vault on loopback, a simulated
// GBG, a token, and a rotation while readers read. With -stay it only starts
// them, configured, and stays up. Whatever it started ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	vault := flag.String("vault", "", "the server: a path, or a name in PATH; by default vault or bao in PATH, or else bin/vault")
	find := flag.Bool("find", false, "only print the path of the server")
	plugins := flag.String("plugins", "bin/plugins", "the folder with the plugin")
	simulator := flag.String("simulator", "bin/gbg-simulator", "the simulator executable")
	stay := flag.Bool("stay", false, "start, configure, and stay up until Ctrl-C")
	flag.Parse()

	if *find {
		path, err := findServer(context.Background(), *vault)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(path)
		return
	}
	os.Exit(status(parts{vault: *vault, plugins: *plugins, simulator: *simulator}, *stay))
}

// status runs the demo and gives its exit status: 130 if a signal ended it, as
// shells have it.
func status(p parts, stay bool) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, p, stay)
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Println("\nInterrupted. Everything that was started has been stopped.")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "\nThe demo failed:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, p parts, stay bool) (err error) {
	out := newScreen(os.Stdout)
	if err := unsetServerEnv(); err != nil {
		return err
	}
	server, err := findServer(ctx, p.vault)
	if err != nil {
		return err
	}
	p.vault = server
	w, err := startWorld(ctx, p, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if stay {
		return w.stayUp(ctx)
	}
	return w.tour(ctx)
}
