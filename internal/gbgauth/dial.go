package gbgauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// attemptDelay is how long after one address of a host the next one is tried beside
// it (RFC 8305 section 5, Connection Attempt Delay).
const attemptDelay = 250 * time.Millisecond

// dialer connects to a host by all its addresses: the next one is tried beside the
// one before after attemptDelay, or at once if that has failed, and the first that
// answers is used (RFC 8305). net.Dialer does so for the two address families only,
// and gives each address at least 2 s.
type dialer struct {
	// timeout bounds connecting to one address.
	timeout time.Duration
	resolve func(ctx context.Context, host string) ([]string, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// newDialer returns one that connects by dial, to names as they are; over TCP if dial
// is nil.
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

// dialResult is the outcome of one attempt.
type dialResult struct {
	conn net.Conn
	err  error
}

// DialContext connects to a host and port. If no address answers, the error is the
// first one's.
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
	defer cancel() // ends the attempts that are still under way
	outcomes := make(chan dialResult, len(addresses))
	next := time.NewTimer(0)
	defer next.Stop()
	started, ended := 0, 0
	defer func() { go closeRemaining(outcomes, started-ended) }()
	var firstErr error
	for ended < len(addresses) {
		select {
		case <-next.C:
			if started == len(addresses) {
				continue
			}
			go func(address string) {
				conn, err := d.dialAddress(ctx, network, address)
				outcomes <- dialResult{conn, err}
			}(net.JoinHostPort(addresses[started], port))
			started++
			next.Reset(attemptDelay)
		case o := <-outcomes:
			ended++
			if o.err == nil {
				return o.conn, nil
			}
			if firstErr == nil {
				firstErr = o.err
			}
			next.Reset(0)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, firstErr
}

func (d *dialer) dialAddress(ctx context.Context, network, address string) (net.Conn, error) {
	attemptCtx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dial(attemptCtx, network, address)
	var timeout interface {
		error
		Timeout() bool
	}
	if errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
		return nil, fmt.Errorf("connecting to %s took longer than %s", address, d.timeout)
	}
	return conn, err
}

// closeRemaining closes what n further attempts bring.
func closeRemaining(outcomes <-chan dialResult, n int) {
	for range n {
		if o := <-outcomes; o.conn != nil {
			_ = o.conn.Close()
		}
	}
}
