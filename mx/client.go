package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Client is a Resolver that asks recursive DNS servers: over UDP with EDNS0, over
// TCP if the answer is truncated, and in other ways if a server, or the path to it,
// shows that it cannot do that. Each query has a random id and a socket, so a random
// port, of its own. Datagrams that are not the answer are ignored until the time is
// up. Set the fields before the first use and leave them alone afterwards; then it is
// safe for concurrent use. It keeps no connection open and starts no goroutine that
// outlives a call.
//
// A question takes at most Attempts times twice the Timeout for each server, and
// four queries each time. What a server does without is remembered for ten minutes
// to an hour, of 64 servers at most; inability.go has the table.
//
// It does not cache; see Cache.
type Client struct {
	// Servers are asked in order until one answers; required unless there is a
	// File.
	Servers []Server

	// File is a file in the form of resolv.conf(5). It gives the Servers, the
	// Timeout and the Attempts if the fields do not, and may ask for Rotate and
	// TCPOnly. While questions come it is looked at every 3 seconds, and read
	// again if it has changed; if it cannot be read any more, or names no
	// server, what it said before stays in force. Empty is no file.
	File string

	// TrustAD is whether the AD bit of every server is believed; see
	// Server.TrustAD.
	TrustAD bool

	// Timeout is how long a Client waits for one response. Default: 5 s.
	Timeout time.Duration

	// MaxTimeout bounds the Timeout, whatever the File says. Default: no bound.
	MaxTimeout time.Duration

	// Attempts is how often a server that does not answer is asked. Default: 2.
	// Servers that refuse are asked once.
	Attempts int

	// Rotate asks another server first each time.
	Rotate bool

	// UDPSize is the largest response asked for over UDP, at least 512; 0 is
	// 1232, which no network fragments.
	UDPSize uint16

	// TCPOnly never uses UDP.
	TCPOnly bool

	// Dial makes the connections, network being "udp" or "tcp". Default:
	// net.Dialer's DialContext. Each write to a "udp" connection is one
	// datagram, and so is each read.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Trace are hooks; it may be nil.
	Trace *Trace

	habits habits
	conf   confFile
}

// Server is one DNS server.
type Server struct {
	// Addr is host:port, the host an IP address.
	Addr string

	// TrustAD is whether the server's AD bit is believed. It says that the
	// server validates and that nobody can change its answers on their way: it
	// runs on this machine, or the path to it is protected (RFC 6840
	// section 5.8, RFC 7672 section 2.1.1).
	TrustAD bool
}

// The defaults of a Client.
const (
	defaultQueryTimeout  = 5 * time.Second
	defaultQueryAttempts = 2
	defaultUDPSize       = 1232
)

// Validate says everything that is wrong with the fields, each problem with the
// name of its field; nil if they make sense.
func (c *Client) Validate() error {
	var problems []error
	if len(c.Servers) == 0 && c.File == "" {
		problems = append(problems, errors.New("mx.Client.Servers: at least one is required where there is no File"))
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

// Resolve asks the servers in turn. The error is always a *ResolveError: of the
// server that came closest to answering, if none did. A server that finds
// the data bogus is believed, no other is asked. Of the record types it
// knows those this package names.
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
		s.TrustAD = s.TrustAD || c.TrustAD
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
func closeness(f Failure) int {
	switch f {
	case ServFail:
		return 6
	case Truncated:
		return 5
	case Malformed:
		return 4
	case Lame:
		return 3
	case Refused:
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
