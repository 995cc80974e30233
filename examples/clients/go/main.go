// Command go keeps a GBG access token with Vault's Go library, and calls GBG's API
// with it once a second.
//
//	VAULT_ADDR, VAULT_TOKEN  the Vault server, and a token that may read the path
//	GBG_CREDS_PATH           the path to read, by default gbg/creds
//	GBG_API                  the URL to call
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
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
	keeper, err := StartKeeper(ctx, vault, cmp.Or(os.Getenv("GBG_CREDS_PATH"), "gbg/creds"))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := call(ctx, os.Getenv("GBG_API"), keeper); err != nil {
			fmt.Fprintln(os.Stderr, "call:", err)
		} else {
			fmt.Println("call: accepted")
		}
		sleep(ctx, time.Second)
	}
	return nil
}

// errRefused is the error of a call whose token GBG's API refuses.
var errRefused = errors.New("GBG refused the token")

// call calls GBG's API with the current token, and once more with a newer one if GBG
// refuses it.
func call(ctx context.Context, url string, keeper *Keeper) error {
	token, err := keeper.Token()
	if err != nil {
		return err
	}
	err = callWith(ctx, url, token)
	if !errors.Is(err, errRefused) || !keeper.Renew(ctx, token) {
		return err
	}
	if token, err = keeper.Token(); err != nil {
		return err
	}
	return callWith(ctx, url, token)
}

func callWith(ctx context.Context, url, token string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return errRefused
	}
	return fmt.Errorf("GBG answered %s", resp.Status)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
