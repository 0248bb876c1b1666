package smtptest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Server answers one connection. Host is one; so is anything a test puts at an
// address. Serve returns when the conversation is over or ctx ends, and does
// not leave a goroutine behind.
type Server interface {
	Serve(ctx context.Context, conn net.Conn)
}

// Network is an internet in memory: servers by address. Fill in the fields,
// dial with DialContext, and Close it at the end. It is safe for concurrent use
// once it is in use; make it inside the bubble where testing/synctest is used.
type Network struct {
	// Servers are the servers by address: "192.0.2.1" is port 25 there, and
	// "192.0.2.1:465" or "[2001:db8::1]:465" names another port. An address
	// without any server is unreachable; another port of one that has a server
	// refuses.
	Servers map[string]Server

	// Links are the ways to addresses, without a port; those not named are
	// perfect.
	Links map[string]Link

	// Window is how many octets an end may send unread; 0 is 64 KiB.
	Window int

	// Seed makes losses repeatable.
	Seed uint64

	mu      sync.Mutex
	started bool
	ctx     context.Context
	cancel  context.CancelFunc
	servers map[netip.AddrPort]Server
	links   map[netip.Addr]*link
	known   map[netip.Addr]bool
	conns   map[*Conn]struct{} // the client's ends that are open
	far     map[*Conn]struct{} // the ends of servers at work
	dials   []Dial
	port    uint16
	changed chan struct{} // closed and replaced when a link changes
	closed  bool
	serving sync.WaitGroup
	invalid error
}

// Dial is one connection attempt a Network saw.
type Dial struct {
	Addr netip.AddrPort
	At   time.Time
	Err  error // nil where the connection was made
	Open int   // connections open right after it, this one among them
}

// start reads the exported fields once.
func (n *Network) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.started {
		return n.invalid
	}
	n.started = true
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.servers = make(map[netip.AddrPort]Server)
	n.links = make(map[netip.Addr]*link)
	n.known = make(map[netip.Addr]bool)
	n.conns = make(map[*Conn]struct{})
	n.far = make(map[*Conn]struct{})
	n.changed = make(chan struct{})
	n.port = 49151
	for text, s := range n.Servers {
		at, err := parseAddress(text)
		if err != nil {
			n.invalid = err
			return err
		}
		n.servers[at] = s
		n.known[at.Addr()] = true
	}
	for text, l := range n.Links {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			n.invalid = fmt.Errorf("smtptest: link to %q: %w", text, err)
			return n.invalid
		}
		n.links[addr.Unmap()] = newLink(l, n.Seed)
	}
	return nil
}

// parseAddress reads an address with or without a port.
func parseAddress(text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), 25), nil
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return at, fmt.Errorf("smtptest: address %q: %w", text, err)
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// link is the way to addr, made when first asked for. The caller holds mu.
func (n *Network) link(addr netip.Addr) *link {
	l := n.links[addr]
	if l == nil {
		l = newLink(Link{}, n.Seed)
		n.links[addr] = l
	}
	return l
}

// DialContext connects to address, an IP address and port; names are refused,
// for DNS is somebody else's matter. network is "tcp", "tcp4" or "tcp6". Its
// error is a *net.OpError, and it ends when ctx does.
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
	case way.Fault == Refused, server == nil && known:
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

func (n *Network) forget(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	delete(n.far, c)
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
