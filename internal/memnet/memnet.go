// Package memnet is an in-memory network for tests in a testing/synctest bubble, where
// time stands still while a goroutine waits for a real network.
package memnet

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// Network connects clients to listeners by address. The zero value has no listeners.
// It is safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	conns     []*conn
	dials     map[string]int
}

// Listen returns a listener for an address of the form "host:port". It replaces the
// previous listener for that address, if any.
func (n *Network) Listen(addr string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
		n.dials = make(map[string]int)
	}
	l := &listener{address: address(addr), accept: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l
}

// DialContext connects to the listener for an address. It returns an error if there is
// none.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	if l != nil {
		n.dials[addr]++
	}
	n.mu.Unlock()
	if l == nil {
		return nil, refused(network, addr)
	}
	clientConn, serverConn := pipe()
	select {
	case l.accept <- serverConn:
	case <-l.closed:
		_, _ = clientConn.Close(), serverConn.Close()
		return nil, refused(network, addr)
	case <-ctx.Done():
		_, _ = clientConn.Close(), serverConn.Close()
		return nil, ctx.Err()
	}
	c := &conn{Conn: clientConn}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, c)
	return c, nil
}

// refused returns the error of connecting to an address without a listener, which is
// that of the operating system.
func refused(network, addr string) error {
	return &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// Dials returns the number of attempts to connect to an address with a listener.
func (n *Network) Dials(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[addr]
}

// DropTraffic discards everything sent on the current connections, in both directions
// and without an error. New connections work.
func (n *Network) DropTraffic() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.dropped.Store(true)
	}
}

// ResetOnWrite makes every current connection fail at the next write of its client,
// like a TCP connection that the server has lost: the write succeeds and the
// connection is then reset.
func (n *Network) ResetOnWrite() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.resetOnWrite.Store(true)
	}
}

// OpenConns returns the number of connections that their clients have not closed.
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
	address address
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

func (l *listener) Addr() net.Addr { return l.address }

// address is the net.Addr of a listener.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// conn is the client side of a connection.
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
		// As with TCP, the write succeeds; the reset is seen by the next read.
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
