package memnet

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// bufferedConn is one end of a net.Pipe with buffered writes: like those of TCP, they do
// not wait for the other end to read. Close delivers the buffered data first if the
// other end is open.
type bufferedConn struct {
	net.Conn

	other   *bufferedConn
	mu      *sync.Mutex // of both ends
	changed *sync.Cond  // of the fields below
	pending bytes.Buffer
	closed  bool
	err     error // of the last write to Conn
}

// pipe returns both ends of a connection.
func pipe() (a, b *bufferedConn) {
	one, two := net.Pipe()
	mu := &sync.Mutex{}
	a = &bufferedConn{Conn: one, mu: mu, changed: sync.NewCond(mu)}
	b = &bufferedConn{Conn: two, mu: mu, changed: sync.NewCond(mu), other: a}
	a.other = b
	go a.deliver()
	go b.deliver()
	return a, b
}

// deliver writes pending data to Conn until the connection is closed.
func (c *bufferedConn) deliver() {
	defer func() { _ = c.Conn.Close() }()
	for {
		c.mu.Lock()
		for c.pending.Len() == 0 && !c.closed {
			c.changed.Wait()
		}
		p := bytes.Clone(c.pending.Bytes())
		c.pending.Reset()
		c.mu.Unlock()
		if len(p) == 0 {
			return
		}
		if _, err := c.Conn.Write(p); err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
	}
}

func (c *bufferedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.err != nil:
		return 0, c.err
	}
	c.changed.Signal()
	return c.pending.Write(p)
}

// SetWriteDeadline does nothing because writes do not block.
func (c *bufferedConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the deadline of reads.
func (c *bufferedConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *bufferedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.changed.Signal()
	if c.other.closed { // no reader is left
		_ = c.other.Conn.Close()
		return c.Conn.Close()
	}
	return c.SetReadDeadline(time.Unix(1, 0)) // ends a Read
}
