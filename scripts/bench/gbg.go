package main

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// tokenLength is the length of a token in bytes: about what a signed JWT has.
const tokenLength = 900

// gbg is a simulated GBG on loopback, in this process, that notes when token
// requests came and went.
type gbg struct {
	*gbgsim.Simulator
	server *http.Server
	served chan struct{}
	url    string

	mu       sync.Mutex
	requests []interval
}

// interval is a stretch of time.
type interval struct{ begin, end time.Time }

// startGBG starts one that grants tokens of a lifetime after a delay.
func startGBG(lifetime, delay time.Duration) (*gbg, error) {
	listener, err := gbgsim.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gbg{url: "http://" + listener.Addr().String(), served: make(chan struct{})}
	g.Simulator = gbgsim.New(gbgsim.Options{TokenLifetime: lifetime, BeforeToken: func(ctx context.Context, _ string) {
		begin := time.Now()
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.requests = append(g.requests, interval{begin, time.Now()})
	}})
	g.server = &http.Server{Handler: longTokens{g.Simulator}, ReadHeaderTimeout: time.Minute}
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

// answered are the token requests that were answered so far.
func (g *gbg) answered() []interval {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]interval(nil), g.requests...)
}

// longTokens makes the simulator's short tokens as long as real ones.
type longTokens struct{ http.Handler }

func (l longTokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == gbgsim.TokenPath {
		w = longTokenWriter{w}
	}
	l.Handler.ServeHTTP(w, r)
}

type longTokenWriter struct{ http.ResponseWriter }

// Write implements io.Writer. The simulator writes an answer at once.
func (w longTokenWriter) Write(p []byte) (int, error) {
	const sample = gbgsim.TokenPrefix + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" // as crypto/rand.Text gives it
	short := []byte(`"access_token":"` + gbgsim.TokenPrefix)
	long := append(bytes.Clone(short), strings.Repeat("0", tokenLength-len(sample))...)
	if _, err := w.ResponseWriter.Write(bytes.Replace(p, short, long, 1)); err != nil {
		return 0, err
	}
	return len(p), nil
}
