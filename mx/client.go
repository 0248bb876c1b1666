package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Client is a Resolver that asks recursive DNS servers: over UDP with EDNS0, over
// TCP where the answer is truncated. Each query has a random id and a socket, so
// a random port, of its own. Datagrams that are not the answer are ignored until
// the time is up. Set the fields before the first use and leave them alone
// afterwards; then it is safe for concurrent use. It keeps no connection open
// and starts no goroutine that outlives a call.
//
// It does not cache; see Cache.
type Client struct {
	// Servers are asked in order until one answers; required.
	Servers []Server

	// Timeout is how long one server is given for one query; 0 is 5 s.
	Timeout time.Duration

	// Attempts is how often a server that does not answer is asked; 0 is 2.
	// Servers that refuse are asked once.
	Attempts int

	// UDPSize is the largest response asked for over UDP, at least 512; 0 is
	// 1232, which no network fragments.
	UDPSize uint16

	// TCPOnly never uses UDP.
	TCPOnly bool

	// Dial makes the connections, network being "udp" or "tcp"; nil is
	// net.Dialer's DialContext. Each write to a "udp" connection is one
	// datagram, and so is each read.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	dead map[string]time.Time // servers that did not answer, and until when they come last
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

// The defaults of a Client, and how long a server that did not answer is asked
// after all others.
const (
	defaultQueryTimeout  = 5 * time.Second
	defaultQueryAttempts = 2
	defaultUDPSize       = 1232
	deadFor              = 30 * time.Second
)

// Validate says everything that is wrong with the fields, each problem with the
// name of its field; nil where they make sense.
func (c *Client) Validate() error {
	var problems []error
	if len(c.Servers) == 0 {
		problems = append(problems, errors.New("mx.Client.Servers: at least one is required"))
	}
	for i, s := range c.Servers {
		if _, _, err := net.SplitHostPort(s.Addr); err != nil {
			problems = append(problems, fmt.Errorf("mx.Client.Servers[%d].Addr: %w", i, err))
		}
	}
	if c.Timeout < 0 {
		problems = append(problems, fmt.Errorf("mx.Client.Timeout: %v is negative", c.Timeout))
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
// server that came closest to answering, where none did. A server that finds
// the data bogus is believed, no other is asked. Of the record types it
// knows those this package names.
func (c *Client) Resolve(ctx context.Context, name string, t Type) (Answer, error) {
	if !known(t) {
		return Answer{}, &ResolveError{Name: name, Type: t, Err: errors.ErrUnsupported}
	}
	if err := c.Validate(); err != nil {
		return Answer{}, &ResolveError{Name: name, Type: t, Err: err}
	}
	servers := c.inOrder()
	var worst *ResolveError
	for range c.attempts() {
		servers = slices.DeleteFunc(servers, func(s Server) bool { return s.Addr == "" })
		for i, s := range servers {
			a, f := c.askServer(ctx, s, name, t)
			if f == nil {
				return a, nil
			}
			err := &ResolveError{Name: name, Type: t, Server: s.Addr, Kind: f.kind, Err: f.cause}
			if over := ended(ctx); over != nil {
				err.Kind, err.Err = Canceled, over
				return Answer{}, err
			}
			if f.kind == Bogus || f.kind == AliasLoop {
				return Answer{}, err
			}
			if worst == nil || closeness(err.Kind) > closeness(worst.Kind) {
				worst = err
			}
			if f.kind != Timeout && f.kind != Unreachable {
				servers[i].Addr = "" // it has said what it has to say
			}
		}
	}
	return Answer{}, worst
}

// known is whether the Client reads records of type t.
func known(t Type) bool {
	switch t {
	case TypeA, TypeAAAA, TypeCNAME, TypeMX, TypeTXT, TypeTLSA, TypeSRV:
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

// askServer asks one server: without EDNS where it does not know that, over TCP
// where the answer is truncated.
func (c *Client) askServer(ctx context.Context, s Server, name string, t Type) (Answer, *failure) {
	network := "udp"
	if c.TCPOnly {
		network = "tcp"
	}
	q, m, f := c.exchange(ctx, network, s, name, t, true)
	if f == nil && q.misunderstood(m) {
		q, m, f = c.exchange(ctx, network, s, name, t, false)
	}
	if f == nil && m.flags&flagTC != 0 {
		// A truncated answer is discarded, never used in part (RFC 2181
		// section 9).
		q, m, f = c.exchange(ctx, "tcp", s, name, t, q.edns)
		if f == nil && m.flags&flagTC != 0 {
			f = &failure{kind: Truncated}
		} else if f != nil {
			f.kind = Truncated
		}
	}
	if ended(ctx) == nil { // else the time was too short, not the server too slow
		c.note(s.Addr, f)
	}
	if f != nil {
		return Answer{}, f
	}
	return q.interpret(m, s.TrustAD)
}

// note remembers whether a server answers.
func (c *Client) note(addr string, f *failure) {
	answers := f == nil || f.kind != Timeout && f.kind != Unreachable
	c.mu.Lock()
	defer c.mu.Unlock()
	if answers {
		delete(c.dead, addr)
		return
	}
	if c.dead == nil {
		c.dead = make(map[string]time.Time)
	}
	c.dead[addr] = time.Now().Add(deadFor)
}

// inOrder is the servers in their order, those that lately did not answer last.
func (c *Client) inOrder() []Server {
	servers := make([]Server, 0, len(c.Servers))
	var last []Server
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.Servers {
		if until, dead := c.dead[s.Addr]; dead && now.Before(until) {
			last = append(last, s)
		} else {
			servers = append(servers, s)
		}
	}
	return append(servers, last...)
}

func (c *Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return defaultQueryTimeout
	}
	return c.Timeout
}

func (c *Client) attempts() int {
	if c.Attempts == 0 {
		return defaultQueryAttempts
	}
	return c.Attempts
}

func (c *Client) udpSize() uint16 {
	if c.UDPSize == 0 {
		return defaultUDPSize
	}
	return c.UDPSize
}
