package mx

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

const (
	// mostSockets is how many sockets are kept that are not in use, each for socketUses
	// queries and no longer than socketAge.
	mostSockets = 16
	socketUses  = 64
	socketAge   = time.Second
)

// sockets are UDP sockets connected to servers on this machine, for further queries: to
// make one costs more than the query. Nobody else can send such a socket an answer, for
// the system takes nothing from outside for a datagram of a loopback address. Whoever can
// all the same must guess a new port every second.
type sockets struct {
	mu   sync.Mutex
	free []*socket
}

// socket is one of them.
type socket struct {
	net.Conn
	addr string
	made time.Time
	uses int
}

// keeps reports whether sockets to a server are kept.
func (c *Client) keeps(network, addr string) bool {
	if network != "udp" || c.Dial != nil {
		return false
	}
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().IsLoopback()
}

// connect returns a connection to a server. done ends it, or keeps it if it is sound.
func (c *Client) connect(ctx context.Context, network, addr string) (conn net.Conn, done func(sound bool), err error) {
	if !c.keeps(network, addr) {
		conn, err = c.dial(ctx, network, addr)
		return conn, func(bool) { conn.Close() }, err
	}
	s := c.sockets.take(addr)
	if s == nil {
		conn, err := c.dial(ctx, network, addr)
		if err != nil {
			return nil, nil, err
		}
		s = &socket{Conn: conn, addr: addr, made: time.Now()}
	}
	return s.Conn, func(sound bool) { c.sockets.giveBack(s, sound) }, nil
}

// take returns a kept socket to a server, or nil.
func (k *sockets) take(addr string) *socket {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := len(k.free) - 1; i >= 0; i-- {
		s := k.free[i]
		old := age.Since(s.made) >= socketAge
		if !old && s.addr != addr {
			continue
		}
		k.free = slices.Delete(k.free, i, i+1)
		if !old {
			return s
		}
		s.Close()
	}
	return nil
}

// giveBack keeps a socket for the next query if it is sound, or closes it.
func (k *sockets) giveBack(s *socket, sound bool) {
	s.uses++
	k.mu.Lock()
	defer k.mu.Unlock()
	if !sound || s.uses >= socketUses || len(k.free) >= mostSockets {
		s.Close()
		return
	}
	k.free = append(k.free, s)
}
