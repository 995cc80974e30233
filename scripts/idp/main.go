// Command idp is an OAuth server that is not ours, github.com/ory/fosite, as a
// process on loopback. The end-to-end tests use it where an identity provider or
// a revocation endpoint is needed, so that our reading of the standards is not
// tested against ourselves alone. Its first line of output is JSON: where it
// listens, and the secrets of its clients.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// announcement is the first line of output.
type announcement struct {
	URL     string            `json:"url"`
	Secrets map[string]string `json:"secrets"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "idp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	clients := flag.String("clients", "idp-client-a,idp-client-b", "client `ids`, separated by commas")
	lifetime := flag.Duration("lifetime", 5*time.Minute, "how long access tokens are valid")
	flag.Parse()

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	idp := newProvider(url, key, *lifetime)
	secrets := map[string]string{}
	for id := range strings.SplitSeq(*clients, ",") {
		if secrets[id], err = idp.renew(id); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(announcement{URL: url, Secrets: secrets}); err != nil {
		return err
	}
	server := &http.Server{Handler: idp.routes(), ReadHeaderTimeout: 10 * time.Second}
	detach := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer detach()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
