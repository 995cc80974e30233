// Command gbg-simulator serves the GBG simulator of package gbgsim on loopback, for
// demos. It prints its URL on the first line and, with -tls-listen, its HTTPS URL on
// the second. One line of JSON with the credentials of each client follows: first the
// clients of GBG GO in the order of the flags, then those of the identity provider.
// GET / returns a list of the API. It exits with status 0 on SIGINT and SIGTERM.
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
