package smtptest

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// DialContext connects to address, an IP address and port; names are refused. network is
// "tcp", "tcp4" or "tcp6". Its error is a *net.OpError, and it ends when ctx does.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := n.start(); err != nil {
		return nil, err
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	conn, err := n.dial(ctx, network, at)
	if err != nil {
		err = &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	n.mu.Lock()
	n.dials = append(n.dials, Dial{Addr: at, At: time.Now(), Err: err, Open: len(n.conns)})
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func (n *Network) dial(ctx context.Context, network string, at netip.AddrPort) (*Conn, error) {
	if (network == "tcp4" && !at.Addr().Is4()) || (network == "tcp6" && at.Addr().Is4()) {
		return nil, syscall.EAFNOSUPPORT
	}
	l, err := n.reach(ctx, at)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	server, known := n.servers[at], n.known[at.Addr()]
	n.mu.Unlock()
	way := l.get()
	switch {
	case way.Fault == ConnRefused, server == nil && known:
		return nil, syscall.ECONNREFUSED
	case server == nil:
		return nil, syscall.EHOSTUNREACH
	}
	return n.connect(at, l, server, way.Fault == ResetOnAccept)
}

// reach gets a SYN to at and the answer back, or fails on the way.
func (n *Network) reach(ctx context.Context, at netip.AddrPort) (*link, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n.mu.Lock()
		l, changed, closed := n.link(at.Addr()), n.changed, n.closed
		n.mu.Unlock()
		way := l.get()
		switch {
		case closed:
			return nil, net.ErrClosed
		case way.Fault == NoPorts:
			return nil, syscall.EADDRNOTAVAIL
		case way.Fault == NoFiles:
			return nil, syscall.EMFILE
		case way.Fault == BlackHole || l.down():
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if err := pause(ctx, 2*way.Latency+l.synDelay()); err != nil {
			return nil, err
		}
		if way.Fault == Unreachable {
			return nil, syscall.EHOSTUNREACH
		}
		return l, nil
	}
}

// connect makes the connection and has the server answer it.
func (n *Network) connect(at netip.AddrPort, l *link, server Server, reset bool) (*Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, net.ErrClosed
	}
	window := n.Window
	if window <= 0 {
		window = defaultWindow
	}
	client, far := pipe(l, window, n.localAddr(at.Addr()), net.TCPAddrFromAddrPort(at))
	n.conns[client] = struct{}{}
	client.closed = func() { n.forget(client) }
	if reset {
		_ = far.SetLinger(0)
		_ = far.Close()
		return client, nil
	}
	n.far[far] = struct{}{}
	n.serving.Go(func() {
		defer n.forget(far)
		defer far.Close()
		// The client's end stands half a round trip before the server's does.
		if pause(n.ctx, l.latency()) == nil {
			server.Serve(n.ctx, far)
		}
		if n.ctx.Err() != nil {
			abort(far)
		}
	})
	return client, nil
}

// localAddr is the client's end of a new connection. The caller holds mu.
func (n *Network) localAddr(remote netip.Addr) *net.TCPAddr {
	n.port = max(n.port+1, 49152)
	if remote.Is4() {
		return &net.TCPAddr{IP: net.IPv4(198, 51, 100, 25), Port: int(n.port)}
	}
	return &net.TCPAddr{IP: net.ParseIP("2001:db8:ffff::25"), Port: int(n.port)}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
