package gbgauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// attemptDelay is the time between the connection attempts to two addresses of a host
// (RFC 8305 section 5, Connection Attempt Delay).
const attemptDelay = 250 * time.Millisecond

// dialer connects to a host over the first of its addresses that accepts (RFC 8305). It
// tries them in order and concurrently: the next one attemptDelay after the one before,
// or at once when an attempt fails. net.Dialer tries only the two address families
// concurrently, and waits at least 2 s for each address.
type dialer struct {
	timeout time.Duration // of the attempt for one address
	resolve func(ctx context.Context, host string) ([]string, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// newDialer returns a dialer that passes the host to dial as it is. If dial is nil, it
// resolves the host and connects over TCP.
func newDialer(timeout time.Duration, dial func(ctx context.Context, network, address string) (net.Conn, error)) *dialer {
	if dial != nil {
		return &dialer{
			timeout: timeout,
			resolve: func(_ context.Context, host string) ([]string, error) { return []string{host}, nil },
			dial:    dial,
		}
	}
	return &dialer{
		timeout: timeout,
		resolve: newResolver(net.DefaultResolver.LookupHost).resolve,
		dial:    (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext,
	}
}

// dialResult is the result of one attempt.
type dialResult struct {
	conn net.Conn
	err  error
}

// DialContext connects to a host and port. If all attempts fail, it returns the error
// of the first to fail.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempts in progress
	results := make(chan dialResult, len(addresses))
	next := time.NewTimer(0)
	defer next.Stop()
	started, ended := 0, 0
	defer func() { go closeRemaining(results, started-ended) }()
	var firstErr error
	for ended < len(addresses) {
		select {
		case <-next.C:
			if started == len(addresses) {
				continue
			}
			go func(address string) {
				conn, err := d.dialAddress(ctx, network, address)
				results <- dialResult{conn, err}
			}(net.JoinHostPort(addresses[started], port))
			started++
			next.Reset(attemptDelay)
		case r := <-results:
			ended++
			if r.err == nil {
				return r.conn, nil
			}
			if firstErr == nil {
				firstErr = r.err
			}
			next.Reset(0)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, firstErr
}

// dialAddress connects to one address.
func (d *dialer) dialAddress(ctx context.Context, network, address string) (net.Conn, error) {
	attemptCtx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dial(attemptCtx, network, address)
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() && ctx.Err() == nil {
		return nil, fmt.Errorf("connecting to %s took longer than %s", address, d.timeout)
	}
	return conn, err
}

// closeRemaining closes the connections of n attempts in progress.
func closeRemaining(results <-chan dialResult, n int) {
	for range n {
		if r := <-results; r.conn != nil {
			_ = r.conn.Close()
		}
	}
}
