// Command gbg-simulator is GBG on loopback, for demos: package gbgsim as a
// process. Its first line of output says where it listens, and with -tls-listen
// the second says where with HTTPS. A JSON line with the credentials of each
// client created at the start follows: those of GBG GO in the order of the
// flags, then those of the identity provider. GET / lists what it can do. It
// exits with status 0 on SIGINT and SIGTERM.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gbg-simulator:", err)
		os.Exit(1)
	}
}
