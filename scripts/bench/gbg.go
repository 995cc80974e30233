package main

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// tokenLength is the length of a token in bytes: about what a signed JWT has.
const tokenLength = 900

// gbg is a simulated GBG on loopback, in this process, that records when token requests
// came and were answered.
type gbg struct {
	*gbgsim.Simulator
	server *http.Server
	served chan struct{}
	url    string

	mu       sync.Mutex
	requests []interval
}

// startGBG starts a GBG that issues tokens of a lifetime after a delay.
func startGBG(lifetime, delay time.Duration) (*gbg, error) {
	listener, err := gbgsim.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gbg{url: "http://" + listener.Addr().String(), served: make(chan struct{})}
	g.Simulator = gbgsim.New(gbgsim.Options{TokenLifetime: lifetime, BeforeToken: func(ctx context.Context, _ string) {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}})
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(g.served)
		_ = g.server.Serve(listener)
	}()
	return g, nil
}

func (g *gbg) stop() error {
	err := g.server.Close()
	<-g.served
	return err
}

func (g *gbg) tokenURL() string { return g.url + gbgsim.TokenPath }

func (g *gbg) newClient(id string) (secret string, err error) {
	c, err := g.CreateClient(gbgsim.NewClient{ID: id, Department: "bench", Roles: []string{gbgsim.RoleGoAPIAccess}})
	return c.Secret, err
}

// answered returns the token requests that have been answered so far, in the order of
// their answers.
func (g *gbg) answered() []interval {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.requests)
}

// ServeHTTP implements [http.Handler]. Its tokens are as long as real ones.
func (g *gbg) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != gbgsim.TokenPath {
		g.Simulator.ServeHTTP(w, r)
		return
	}
	began := time.Now()
	g.Simulator.ServeHTTP(longTokenWriter{w}, r)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = append(g.requests, interval{began, time.Now()})
}

type longTokenWriter struct{ http.ResponseWriter }

// Write implements [io.Writer]. The simulator writes an answer at once.
func (w longTokenWriter) Write(p []byte) (int, error) {
	const sample = gbgsim.TokenPrefix + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" // as long as crypto/rand.Text
	short := []byte(`"access_token":"` + gbgsim.TokenPrefix)
	long := append(bytes.Clone(short), strings.Repeat("0", tokenLength-len(sample))...)
	if _, err := w.ResponseWriter.Write(bytes.Replace(p, short, long, 1)); err != nil {
		return 0, err
	}
	return len(p), nil
}
