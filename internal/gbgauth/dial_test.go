package gbgauth

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeNetwork is a resolver and a network of addresses that accept after a delay.
type fakeNetwork struct {
	addresses []string
	// delays are the times until an address accepts; one that is missing never does.
	delays map[string]time.Duration
	// failing are the addresses that refuse connections.
	failing []string

	mu     sync.Mutex
	dialed []string
	closed int
}

var errFake = errors.New("connection refused")

func (b *fakeNetwork) dialer(timeout time.Duration) *dialer {
	return &dialer{
		timeout: timeout,
		resolve: func(context.Context, string) ([]string, error) { return b.addresses, nil },
		dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			b.mu.Lock()
			b.dialed = append(b.dialed, host)
			b.mu.Unlock()
			if slices.Contains(b.failing, host) {
				return nil, errFake
			}
			delay, ok := b.delays[host]
			if !ok {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			time.Sleep(delay)
			return &fakeConn{address: host, network: b}, nil
		},
	}
}

type fakeConn struct {
	net.Conn

	address string
	network *fakeNetwork
}

func (c *fakeConn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.network.closed++
	return nil
}

func TestDial(t *testing.T) {
	const first, second, third = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	for _, c := range []struct {
		name    string
		book    *fakeNetwork
		address string
		err     error
		took    time.Duration
		closed  int
	}{
		{"one address", &fakeNetwork{addresses: []string{second}, delays: map[string]time.Duration{second: time.Second}}, second, nil, time.Second, 0},
		{"first address silent", &fakeNetwork{addresses: []string{first, second}, delays: map[string]time.Duration{second: 0}}, second, nil, attemptDelay, 0},
		{"first two addresses silent", &fakeNetwork{addresses: []string{first, "192.0.2.9", third}, delays: map[string]time.Duration{third: 0}}, third, nil, 2 * attemptDelay, 0},
		{"first address slow", &fakeNetwork{addresses: []string{second, third}, delays: map[string]time.Duration{second: 400 * time.Millisecond, third: time.Second}}, second, nil, 400 * time.Millisecond, 1},
		{"first address refuses", &fakeNetwork{addresses: []string{first, second}, failing: []string{first}, delays: map[string]time.Duration{second: 0}}, second, nil, 0, 0},
		{"all refuse", &fakeNetwork{addresses: []string{second, third}, failing: []string{second, third}}, "", errFake, 0, 0},
		{"all silent", &fakeNetwork{addresses: []string{first, second}}, "", errors.New("connecting to 192.0.2.1:443 took longer than 2s"), attemptDelay + 2*time.Second, 0},
		{"no address", &fakeNetwork{}, "", &net.DNSError{Err: "no addresses", Name: "gbg.example", IsNotFound: true}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				conn, err := c.book.dialer(2*time.Second).DialContext(t.Context(), "tcp", "gbg.example:443")
				require.Equal(t, c.took, time.Since(start))
				if c.err != nil {
					require.ErrorContains(t, err, c.err.Error())
					return
				}
				require.NoError(t, err)
				require.Equal(t, c.address, conn.(*fakeConn).address)
				time.Sleep(time.Minute)
				c.book.mu.Lock()
				defer c.book.mu.Unlock()
				require.Equal(t, c.closed, c.book.closed, "connections established too late")
			})
		})
	}
}

// A canceled context ends all attempts.
func TestDialCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &fakeNetwork{addresses: []string{"192.0.2.1", "192.0.2.2"}, delays: map[string]time.Duration{"192.0.2.2": time.Second}}
		ctx, cancel := context.WithTimeout(t.Context(), attemptDelay/2)
		defer cancel()
		_, err := book.dialer(2*time.Second).DialContext(ctx, "tcp", "gbg.example:443")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Minute)
		book.mu.Lock()
		defer book.mu.Unlock()
		require.Equal(t, []string{"192.0.2.1"}, book.dialed)
	})
}
