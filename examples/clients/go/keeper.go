package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
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
}

type token struct {
	value   string
	expires time.Time
	ttl     time.Duration // time from the read until a newer token is available
}

// StartKeeper reads the first token and refreshes it until ctx ends.
func StartKeeper(ctx context.Context, vault *api.Client, path string) (*Keeper, error) {
	k := &Keeper{vault: vault, path: path}
	first, err := k.read(ctx)
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

func (k *Keeper) keep(ctx context.Context) {
	for {
		sleep(ctx, k.current.Load().ttl)
		for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
			next, err := k.read(ctx)
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

func (k *Keeper) read(ctx context.Context) (*token, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	secret, err := k.vault.Logical().ReadWithContext(ctx, k.path)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, fmt.Errorf("no value found at %s", k.path)
	}
	var data struct {
		AccessToken string    `json:"access_token"`
		ExpireTime  time.Time `json:"expire_time"`
		TTL         int64     `json:"ttl"` // seconds
	}
	plain, err := json.Marshal(secret.Data)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(plain, &data); err != nil {
		return nil, fmt.Errorf("the answer of %s is not a token", k.path)
	}
	return &token{value: data.AccessToken, expires: data.ExpireTime, ttl: time.Duration(data.TTL) * time.Second}, nil
}
