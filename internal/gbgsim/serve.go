package gbgsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Timeouts of [Simulator.Serve].
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 60 * time.Second

	// shutdownTimeout is how long requests in progress may take to finish.
	shutdownTimeout = 2 * time.Second
)

// Listen opens a TCP listener on a loopback address such as "127.0.0.1:8090",
// "[::1]:0" or "localhost:0"; port 0 means any free port. It rejects every other
// address, including an empty host, because the portal has no authentication.
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

// Serve serves requests from listener until ctx is done. It then closes the
// listener, waits up to two seconds for requests in progress, closes the remaining
// connections and returns nil. It returns an error if the listener fails before.
//
// The contexts of all requests end with ctx, so a request blocked in
// [Options.BeforeToken] does not delay the return of Serve.
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
