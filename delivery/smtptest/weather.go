package smtptest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// SetLink changes the link to an address, written as in Links. Octets that are already
// under way are not affected.
func (n *Network) SetLink(addr string, to Link) error {
	if err := n.start(); err != nil {
		return err
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return fmt.Errorf("smtptest: link to %q: %w", addr, err)
	}
	n.mu.Lock()
	l := n.link(a.Unmap())
	n.mu.Unlock()
	l.set(to)
	n.announce()
	return nil
}

// SetServer puts a server at an address, written as in Servers. If s is nil, it removes
// the server there. Open connections are not affected.
func (n *Network) SetServer(addr string, s Server) error {
	if err := n.start(); err != nil {
		return err
	}
	at, err := parseAddress(addr)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[at.Addr()] = true
	if s == nil {
		delete(n.servers, at)
		return nil
	}
	n.servers[at] = s
	return nil
}

// Cut cuts the links to addresses until Heal. Nothing arrives, neither segments of open
// connections nor new dials. Each argument is an address or a prefix ("192.0.2.0/24"); a
// prefix means its addresses that have a server or a Link.
func (n *Network) Cut(where ...string) error { return n.setCut(true, where) }

// Heal undoes Cut. Segments that were under way then arrive, as after a retransmission.
func (n *Network) Heal(where ...string) error { return n.setCut(false, where) }

func (n *Network) setCut(cut bool, where []string) error {
	if err := n.start(); err != nil {
		return err
	}
	for _, text := range where {
		prefix, err := parsePrefix(text)
		if err != nil {
			return fmt.Errorf("smtptest: network %q: %w", text, err)
		}
		for _, l := range n.within(prefix) {
			l.setCut(cut)
		}
	}
	n.announce()
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// within lists the links into a prefix.
func (n *Network) within(prefix netip.Prefix) []*link {
	n.mu.Lock()
	defer n.mu.Unlock()
	if prefix.IsSingleIP() {
		n.link(prefix.Addr())
	}
	for a := range n.known {
		n.link(a)
	}
	var links []*link
	for a, l := range n.links {
		if prefix.Contains(a) {
			links = append(links, l)
		}
	}
	return links
}

// announce makes all waiters for a link check it again.
func (n *Network) announce() {
	n.mu.Lock()
	close(n.changed)
	n.changed = make(chan struct{})
	conns := slices.AppendSeq(slices.Collect(maps.Keys(n.conns)), maps.Keys(n.far))
	n.mu.Unlock()
	for _, c := range conns {
		c.in.rouse()
		c.out.rouse()
	}
}

// Dials returns the attempts to connect that have ended, in the order in which they ended.
func (n *Network) Dials() []Dial {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Dial(nil), n.dials...)
}

// Open returns the number of connections that the client has open.
func (n *Network) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// Close resets all connections, ends all servers' conversations, and waits for them. After
// that, dialling fails. A second Close does nothing.
func (n *Network) Close() {
	if n.start() != nil {
		return
	}
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		n.cancel()
		close(n.changed)
		n.changed = make(chan struct{})
	}
	n.mu.Unlock()
	n.serving.Wait()
}
