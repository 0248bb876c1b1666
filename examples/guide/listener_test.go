package guide

import (
	"net"
	"sync"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// pipes is a listener for connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn, 10), closed: make(chan struct{})}
}

// dial connects to the listener.
func (l *pipes) dial() net.Conn {
	ours, theirs := smtptest.Pipe()
	l.conns <- theirs
	return ours
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }
