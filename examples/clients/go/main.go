// Command go calls GBG's API once a second with a token from Vault.
//
//	VAULT_ADDR, VAULT_TOKEN  the Vault server, and a token that may read the path
//	GBG_CREDS_PATH           the path to read, by default gbg/creds
//	GBG_API                  the URL to call
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"gbg.example/vault-plugin-secrets-gbg/client"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// DefaultConfig reads VAULT_ADDR, VAULT_TOKEN and the other variables of the
	// vault command.
	vault, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return err
	}
	source, err := client.New(vault, cmp.Or(os.Getenv("GBG_CREDS_PATH"), "gbg/creds"), client.WithLogger(slog.Default()))
	if err != nil {
		return err
	}
	gbg := &http.Client{Transport: &client.Transport{Source: source}, Timeout: 15 * time.Second}
	for ctx.Err() == nil {
		if err := call(ctx, gbg, os.Getenv("GBG_API")); err != nil {
			fmt.Fprintln(os.Stderr, "call:", err)
		} else {
			fmt.Println("call: accepted")
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

func call(ctx context.Context, gbg *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := gbg.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GBG answered %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
