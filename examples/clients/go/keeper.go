package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	requestTimeout = 15 * time.Second
	firstPause     = time.Second // after a failed read, doubled each time
	longestPause   = 30 * time.Second
)

// Keeper holds the current token and replaces it in the background.
//
// A newer token is available after ttl; the old one is still valid then. While
// reads fail, the keeper keeps the old token and retries with growing pauses. It
// reads from Vault once per token, for any number of callers. It is safe for
// concurrent use.
type Keeper struct {
	vault   *api.Client
	path    string
	current atomic.Pointer[token]
	renewal sync.Mutex
}

type token struct {
	value   string
	fetched string // last_vault_rotation
	expires time.Time
	ttl     time.Duration // time from the read until a newer token is available
	renewed bool          // read because the one before was refused
}

// StartKeeper reads the first token and refreshes it until ctx ends.
func StartKeeper(ctx context.Context, vault *api.Client, path string) (*Keeper, error) {
	k := &Keeper{vault: vault, path: path}
	first, err := k.read(ctx, "")
	if err != nil {
		return nil, err
	}
	k.current.Store(first)
	go k.keep(ctx)
	return k, nil
}

// Token returns the token without waiting.
func (k *Keeper) Token() (string, error) {
	t := k.current.Load()
	if !time.Now().Before(t.expires) {
		return "", errors.New("no valid token: Vault could not be read in time")
	}
	return t.value, nil
}

// Renew replaces a token that GBG's API has refused, and reports whether there is
// another one now. It asks Vault for one newer token until the next one is due: if GBG
// refuses that, too, tokens are not the problem.
func (k *Keeper) Renew(ctx context.Context, refused string) bool {
	k.renewal.Lock()
	defer k.renewal.Unlock()
	t := k.current.Load()
	if t.value != refused || t.renewed {
		return t.value != refused
	}
	next, err := k.read(ctx, t.fetched)
	if err != nil {
		fmt.Fprintln(os.Stderr, "reading a newer token:", err)
		return false
	}
	next.renewed = true
	k.current.Store(next)
	return next.value != refused
}

func (k *Keeper) keep(ctx context.Context) {
	for {
		sleep(ctx, k.current.Load().ttl)
		for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
			next, err := k.read(ctx, "")
			if err == nil {
				k.current.Store(next)
				break
			}
			fmt.Fprintln(os.Stderr, "reading the token:", err)
			sleep(ctx, time.Duration(float64(pause)*(0.8+0.2*rand.Float64())))
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// read reads the token, or if newerThan is not empty one that was fetched after that.
func (k *Keeper) read(ctx context.Context, newerThan string) (*token, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	query := map[string][]string{}
	if newerThan != "" {
		query["newer_than"] = []string{newerThan}
	}
	secret, err := k.vault.Logical().ReadWithDataWithContext(ctx, k.path, query)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, fmt.Errorf("no value found at %s", k.path)
	}
	var data struct {
		AccessToken string    `json:"access_token"`
		ExpireTime  time.Time `json:"expire_time"`
		Fetched     string    `json:"last_vault_rotation"`
		TTL         int64     `json:"ttl"` // seconds
	}
	plain, err := json.Marshal(secret.Data)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(plain, &data); err != nil {
		return nil, fmt.Errorf("the answer of %s is not a token", k.path)
	}
	return &token{value: data.AccessToken, fetched: data.Fetched, expires: data.ExpireTime, ttl: time.Duration(data.TTL) * time.Second}, nil
}
