package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Client is a Resolver that asks recursive DNS servers: over UDP with EDNS0, over TCP if
// the answer is truncated, and in other ways if a server, or the path to it, shows that it
// cannot do that. Each query has a random id and a socket of its own, and so a random
// port. Only to a server on this machine, at a loopback address, a socket is used again for
// up to a second, and up to 16 of them stay open until the Client is garbage.
// Datagrams that are not the answer are ignored until the Timeout. Set the fields before
// the first use and do not change them afterwards; then it is safe for concurrent use. It
// keeps no other connection open, and no goroutine runs after a call has returned.
//
// A question takes at most Attempts times twice the Timeout for each server, and four
// queries each time. What a server cannot do is remembered for ten minutes to an hour, for
// at most 64 servers; inability.go has the table.
//
// It does not cache; see Cache.
type Client struct {
	// Servers are asked in order until one answers. Required unless there is a File.
	Servers []Server

	// File is a file in the form of resolv.conf(5). It sets the Servers, the Timeout and
	// the Attempts that the fields leave out, and may turn on Rotate and TCPOnly. While
	// questions are asked, it is checked every 3 seconds and read again if it has changed.
	// If it can no longer be read, or names no server, its previous settings stay in
	// force. If empty, no file is read.
	File string

	// TrustAD makes the Client believe the AD bit of every server; see Server.TrustAD.
	// IgnoreAD makes it ignore the AD bit of all servers, regardless of Servers and
	// File. Then no answer is secure.
	TrustAD, IgnoreAD bool

	// Timeout is how long to wait for one response. Default: 5 s.
	Timeout time.Duration

	// MaxTimeout bounds the Timeout, also one that the File sets. Default: no bound.
	MaxTimeout time.Duration

	// Attempts is how often to ask a server that does not answer. Default: 2. A server
	// that refuses is asked once.
	Attempts int

	// Rotate makes each question begin with another server.
	Rotate bool

	// UDPSize is the largest response to accept over UDP, at least 512. Default: 1232,
	// which no network fragments.
	UDPSize uint16

	// TCPOnly makes the Client use TCP only.
	TCPOnly bool

	// Dial makes the connections. network is "udp" or "tcp". Default: net.Dialer's
	// DialContext. Each write to a "udp" connection sends one datagram, and each read
	// receives one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Trace has hooks. It may be nil.
	Trace *Trace

	habits  habits
	conf    confFile
	sockets sockets
}

// Server is one DNS server.
type Server struct {
	// Addr is host:port. The host must be an IP address.
	Addr string

	// TrustAD makes the Client believe the server's AD bit. Set it only if the server
	// validates and its answers cannot be changed on the way, because it runs on this
	// machine or the path to it is protected (RFC 6840 section 5.8, RFC 7672 section
	// 2.1.1).
	TrustAD bool
}

// The defaults of a Client.
const (
	defaultQueryTimeout  = 5 * time.Second
	defaultQueryAttempts = 2
	defaultUDPSize       = 1232
)

// Validate reports everything that is wrong with the fields, each problem with the name of
// its field. If nothing is wrong, it returns nil.
func (c *Client) Validate() error {
	var problems []error
	if len(c.Servers) == 0 && c.File == "" {
		problems = append(problems, errors.New("mx.Client.Servers: at least one is required if there is no File"))
	}
	for i, s := range c.Servers {
		if _, _, err := net.SplitHostPort(s.Addr); err != nil {
			problems = append(problems, fmt.Errorf("mx.Client.Servers[%d].Addr: %w", i, err))
		}
	}
	if c.Timeout < 0 {
		problems = append(problems, fmt.Errorf("mx.Client.Timeout: %v is negative", c.Timeout))
	}
	if c.MaxTimeout < 0 {
		problems = append(problems, fmt.Errorf("mx.Client.MaxTimeout: %v is negative", c.MaxTimeout))
	}
	if c.Attempts < 0 {
		problems = append(problems, fmt.Errorf("mx.Client.Attempts: %d is negative", c.Attempts))
	}
	if c.UDPSize > 0 && c.UDPSize < 512 {
		problems = append(problems, fmt.Errorf("mx.Client.UDPSize: %d is less than 512", c.UDPSize))
	}
	return errors.Join(problems...)
}

// Resolve asks the servers in turn. The error is always a *ResolveError. If no server
// answers, it is about the one that came closest. If a server finds the data bogus, no
// other is asked. Resolve knows the record types that this package names.
func (c *Client) Resolve(ctx context.Context, name string, t Type) (Answer, error) {
	if !known(t) {
		return Answer{}, &ResolveError{Name: name, Type: t, Err: errors.ErrUnsupported}
	}
	if err := c.Validate(); err != nil {
		return Answer{}, &ResolveError{Name: name, Type: t, Err: err}
	}
	set, err := c.settings()
	if err != nil {
		return Answer{}, &ResolveError{Name: name, Type: t, Err: err}
	}
	a, re := c.resolve(ctx, set, name, t)
	if re == nil {
		return a, nil
	}
	// The servers may have changed while it asked.
	if again, err := c.settings(); err == nil && re.NoServer() && !slices.Equal(again.servers, set.servers) {
		if a, re = c.resolve(ctx, again, name, t); re == nil {
			return a, nil
		}
	}
	return Answer{}, re
}

// resolve asks the servers of set.
func (c *Client) resolve(ctx context.Context, set *settings, name string, t Type) (Answer, *ResolveError) {
	servers := c.habits.inOrder(set.servers, set.rotate, time.Now())
	turns := make([]turn, len(servers))
	for i, s := range servers {
		s.TrustAD = (s.TrustAD || c.TrustAD) && !c.IgnoreAD
		turns[i] = turn{client: c, server: s, name: name, t: t, timeout: set.timeout, tcpOnly: set.tcpOnly}
	}
	worst := &ResolveError{Name: name, Type: t}
	for range set.attempts {
		for i := range turns {
			u := &turns[i]
			if u.over {
				continue
			}
			a, f := u.run(ctx)
			if f == nil {
				return a, nil
			}
			err := &ResolveError{Name: name, Type: t, Server: u.server.Addr, Kind: f.kind, Err: f.cause}
			if over := ended(ctx); over != nil {
				err.Kind, err.Err = Canceled, over
				return Answer{}, err
			}
			if f.kind == Bogus || f.kind == AliasLoop {
				return Answer{}, err
			}
			if c := closeness(err.Kind) - closeness(worst.Kind); worst.Server == "" || c > 0 || c == 0 && worst.Server == err.Server {
				worst = err
			}
		}
	}
	return Answer{}, worst
}

// known is whether the Client reads records of type t.
func known(t Type) bool {
	switch t {
	case TypeA, TypeAAAA, TypeCNAME, TypeMX, TypeNS, TypeTXT, TypeTLSA, TypeSRV:
		return true
	}
	return false
}

// closeness orders failures by how much they say about the question.
func closeness(f ResolveErrorKind) int {
	switch f {
	case ServFail:
		return 6
	case Truncated:
		return 5
	case Malformed:
		return 4
	case Lame:
		return 3
	case QueryRefused:
		return 2
	case Timeout:
		return 1
	default:
		return 0
	}
}

func (c *Client) udpSize() uint16 {
	if c.UDPSize == 0 {
		return defaultUDPSize
	}
	return c.UDPSize
}
