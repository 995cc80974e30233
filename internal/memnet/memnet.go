// Package memnet is a network in memory, for tests in a testing/synctest bubble, where
// nothing may wait for a real network.
package memnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// Network connects by names. The zero value has none. It is safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	conns     []*conn
	dials     map[string]int
}

// Listen returns a listener for an address, "host:port", in place of the one that may
// have been there.
func (n *Network) Listen(address string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
		n.dials = make(map[string]int)
	}
	l := &listener{address: address, accept: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[address] = l
	return l
}

// errRefused is the outcome of connecting to an address without a listener.
var errRefused = errors.New("connection refused")

// DialContext connects to an address that somebody listens on.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	if l != nil {
		n.dials[address]++
	}
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errRefused}
	}
	inner, theirs := net.Pipe()
	select {
	case l.accept <- theirs:
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Err: errRefused}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := &conn{Conn: inner}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, c)
	return c, nil
}

// Dials returns how many connections to an address were asked for.
func (n *Network) Dials(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

// DropTraffic makes all connections that exist go silent: what is sent on them is lost, in
// both directions, and nobody is told. New ones work.
func (n *Network) DropTraffic() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.dropped.Store(true)
	}
}

// ResetOnWrite makes the other side forget all connections that exist: each is reset when
// something is sent on it, and nothing is heard of it before.
func (n *Network) ResetOnWrite() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.resetOnWrite.Store(true)
	}
}

// OpenConns returns how many connections have not been closed by the side that dialled.
func (n *Network) OpenConns() (open int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if !c.closed.Load() {
			open++
		}
	}
	return open
}

// listener is a net.Listener for one address.
type listener struct {
	address string
	accept  chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.address) }

// address is a net.Addr.
type address string

func (address) Network() string  { return "memnet" }
func (a address) String() string { return string(a) }

// conn is the client's side of a connection.
type conn struct {
	net.Conn

	dropped, resetOnWrite, closed atomic.Bool
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.dropped.Load() {
			return n, err
		}
	}
}

func (c *conn) Write(p []byte) (int, error) {
	if c.resetOnWrite.Load() {
		// As TCP does it: what was sent is taken, and the answer is a reset.
		return len(p), c.Conn.Close()
	}
	if c.dropped.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}
