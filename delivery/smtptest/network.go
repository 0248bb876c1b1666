package smtptest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Server answers the connections to an address. A Host is a Server. Serve returns when the
// conversation is over or ctx ends, and leaves no goroutine behind.
type Server interface {
	Serve(ctx context.Context, conn net.Conn)
}

// Network is a network in memory, with servers by address. Set the fields, dial with
// DialContext, and call Close at the end. With testing/synctest, make it inside the
// bubble. After its first use it is safe for concurrent use.
type Network struct {
	// Servers are the servers by address: "192.0.2.1" is port 25 at that address, and
	// "192.0.2.1:465" or "[2001:db8::1]:465" names another port. An address without a
	// server is unreachable. If it has a server, its other ports refuse connections.
	Servers map[string]Server

	// Links are the links to addresses, without a port. Default: perfect links.
	Links map[string]Link

	// Window is how many octets an end may send before they are read. Default: 64 KiB.
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

// Dial is one attempt to connect to a Network.
type Dial struct {
	Addr netip.AddrPort
	At   time.Time
	Err  error // nil if the connection was made
	Open int   // the number of open connections right after it, including this one
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

func (n *Network) forget(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	delete(n.far, c)
}
