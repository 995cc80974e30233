package gbgsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Timeouts of [Simulator.Serve], for one request each.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 60 * time.Second

	// shutdownTimeout is how long requests under way may go on after the end.
	shutdownTimeout = 2 * time.Second
)

// Listen opens a TCP listener on a loopback address such as "127.0.0.1:8090",
// "[::1]:0" or "localhost:0"; port 0 is any free one. It refuses every other
// address, an empty host included: the portal asks nobody for a password.
func Listen(addr string) (net.Listener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	if !resolved.IP.IsLoopback() {
		return nil, fmt.Errorf("address %q is not a loopback address such as 127.0.0.1:8090", addr)
	}
	listener, err := net.ListenTCP("tcp", resolved)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}

	return listener, nil
}

// Serve answers requests from listener until ctx ends, then closes it, lets
// the requests under way end, cuts off those that go on for two seconds more,
// and returns nil. If the listener fails before that, it returns why.
//
// The contexts of all requests end with ctx, so that none that
// [Options.BeforeToken] holds keeps Serve from returning.
func (s *Simulator) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:      s,
		ReadTimeout:  readTimeout,
		WriteTimeout: writeTimeout,
		IdleTimeout:  idleTimeout,
		BaseContext:  func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serving on %v: %w", listener.Addr(), err)
	case <-ctx.Done():
	}

	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(shutdownCtx); err != nil {
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %v: %w", listener.Addr(), err)
	}

	return nil
}
