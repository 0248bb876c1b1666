package main

import (
	"errors"
	"net"
	"testing"
)

// TestConnectionsOfListenersThatAreClosed: what one of several listeners accepts while all
// are closed is given to the server, which has an answer for it.
func TestConnectionsOfListenersThatAreClosed(t *testing.T) {
	server, client := net.Pipe()
	defer client.Close()
	opened := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := &listeners{closed: make(chan struct{}), list: []net.Listener{opened(), &late{Listener: opened(), last: server}}}
	accepted := make(chan accepted)
	go func() {
		for {
			conn, err := l.Accept()
			accepted <- acceptedOf(conn, err)
			if err != nil {
				return
			}
		}
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if a := <-accepted; a.conn != server {
		t.Errorf("the first accepted is %v, %v", a.conn, a.err)
	} else if a = <-accepted; !errors.Is(a.err, net.ErrClosed) {
		t.Errorf("the second accepted is %v, %v", a.conn, a.err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener accepts: %v", err)
	}
}

func acceptedOf(conn net.Conn, err error) accepted { return accepted{conn, err} }

// late has a last connection once it is closed.
type late struct {
	net.Listener
	last net.Conn
}

func (l *late) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil && l.last != nil {
		conn, err, l.last = l.last, nil, nil
	}
	return conn, err
}
