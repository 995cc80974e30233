package main

import (
	"context"
	"net/http"
	"sync"

	"github.com/hashicorp/vault/api"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// load is a number of readers that read tokens and call GBG with each of them.
type load struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu     sync.Mutex
	result loadResult
}

type loadResult struct {
	reads, failed, calls, refused int
	byClient                      map[string]int
	firstError                    string
}

func startLoad(ctx context.Context, vault *vaultserver.Server, gbg string, readers int) (*load, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel, result: loadResult{byClient: map[string]int{}}}
	for range readers {
		client, err := vault.Client("")
		if err != nil {
			cancel()
			return nil, err
		}
		l.wait.Go(func() {
			for ctx.Err() == nil {
				l.once(ctx, client, gbg)
			}
		})
	}
	return l, nil
}

// once reads a token and calls GBG with it.
func (l *load) once(ctx context.Context, client *api.Client, gbg string) {
	secret, err := client.Logical().ReadWithContext(ctx, "gbg/creds")
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		l.note(func(r *loadResult) { r.failed++ }, err)
		return
	}
	token, _ := secret.Data["access_token"].(string)
	clientID, _ := secret.Data["client_id"].(string)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gbg+"/api/check", http.NoBody)
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+token)
		_, err = do(req)
	}
	if ctx.Err() != nil {
		return
	}
	l.note(func(r *loadResult) {
		r.calls++
		r.byClient[clientID]++
		if err != nil {
			r.refused++
		}
	}, err)
}

func (l *load) note(count func(*loadResult), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.reads++
	count(&l.result)
	if err != nil && l.result.firstError == "" {
		l.result.firstError = err.Error()
	}
}

// stop ends the readers and gives what they saw.
func (l *load) stop() loadResult {
	l.cancel()
	l.wait.Wait()
	return l.result
}
