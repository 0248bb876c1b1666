// Package web speaks HTTPS with hosts whose names strangers have chosen: those of
// MTA-STS policies and of TLS reports. It only connects to public addresses, whatever
// DNS returns, and checks this when it connects. Time and octets are limited, redirects
// are not followed, environment variables about proxies are ignored, and neither a
// connection nor a goroutine is left behind.
package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Client makes requests, each over a new connection. It is safe for concurrent use.
type Client struct {
	// Peer is what the host is called in errors, such as "the policy host".
	Peer string

	// Resolver finds the addresses of hosts.
	Resolver mx.Resolver

	// Dial makes the connections; nil is net.Dialer's DialContext. The address is an IP
	// address with a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Roots are the trusted certificate authorities; nil means the system's.
	// AnyCertificate turns verification off.
	Roots          *x509.CertPool
	AnyCertificate bool

	// AllowLoopback lets a host be on this machine.
	AllowLoopback bool

	// Timeout is how long a request may take.
	Timeout time.Duration

	// Most is how many octets the body of a response may have.
	Most int64
}

// Limits in addition to those of a Client.
const (
	mostHeaders = 16 << 10
	mostAddrs   = 4 // of a family
)

// Error says why there is no response.
type Error struct {
	// Reason is one word for programs.
	Reason string
	// Certificate is whether it was the host's certificate.
	Certificate bool
	// Text says it to people, and Err is the cause; it may be nil.
	Text string
	Err  error
}

// Error is the text, and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap is Err.
func (e *Error) Unwrap() error { return e.Err }

var errTooSlow = errors.New("the time is up")

// Do makes a request and calls read with the response, whose body ends after one octet
// more than Most. The error is that of read, an *Error, or that of ctx if it ends
// first.
func (c *Client) Do(ctx context.Context, request *http.Request, read func(*http.Response) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.Timeout, errTooSlow)
	defer cancel()
	err := c.do(limited, request, read)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && limited.Err() != nil:
		return &Error{Reason: "timeout", Text: c.Peer + " is too slow", Err: errTooSlow}
	}
	return err
}

func (c *Client) do(ctx context.Context, request *http.Request, read func(*http.Response) error) error {
	request.Close = true
	conn, err := c.connect(ctx, request)
	if err != nil {
		return c.refusal(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// A host may answer before it has read all of the request, and may be right.
	sent := request.Write(conn)
	response, err := c.respond(conn, request)
	if err != nil {
		return c.refusal(errors.Join(sent, err))
	}
	defer response.Body.Close()
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, c.Most+1), response.Body}
	return read(response)
}

// respond reads the response itself, of any kind: redirects are not followed, and only
// a few informational responses are accepted.
func (c *Client) respond(conn net.Conn, request *http.Request) (*http.Response, error) {
	// Chunks of one octet are six times as long as their content.
	r := bufio.NewReader(io.LimitReader(conn, mostHeaders+8*c.Most))
	for {
		response, err := http.ReadResponse(r, request)
		if err != nil || response.StatusCode >= 200 || response.StatusCode < 100 {
			return response, err
		}
	}
}

// connect makes a connection to the host of a request, with TLS.
func (c *Client) connect(ctx context.Context, request *http.Request) (net.Conn, error) {
	host := request.URL.Hostname()
	port := request.URL.Port()
	if port == "" {
		port = "443"
	}
	plain, err := c.dial(ctx, host, port)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, &tls.Config{
		RootCAs: c.Roots, ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.AnyCertificate,
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, c.noTLS(ctx, err)
	}
	return conn, nil
}

// noTLS returns the error of a handshake that fails or does not end in time.
func (c *Client) noTLS(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		reason := "certificate-not-trusted"
		if _, wrong := errors.AsType[x509.HostnameError](cert.Err); wrong {
			reason = "certificate-host-mismatch"
		} else if invalid, is := errors.AsType[x509.CertificateInvalidError](cert.Err); is && invalid.Reason == x509.Expired {
			reason = "certificate-expired"
		}
		return &Error{Reason: reason, Certificate: true, Text: "the certificate of " + c.Peer + " is not valid", Err: cert.Err}
	}
	// Package tls has no type for this error; a test checks its text.
	if strings.HasPrefix(err.Error(), "tls: failed to parse certificate from server: ") {
		return &Error{Reason: "certificate-unparsable", Certificate: true, Text: "the certificate of " + c.Peer + " cannot be read", Err: err}
	}
	return &Error{Reason: "handshake-failed", Text: "TLS with " + c.Peer + " fails", Err: err}
}

// refusal returns the error of a request that has no response.
func (c *Client) refusal(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return &Error{Reason: "no-response", Text: c.Peer + " does not answer", Err: err}
}

// dial connects to a host, at one of its addresses that may be connected to.
func (c *Client) dial(ctx context.Context, host, port string) (net.Conn, error) {
	addrs, err := c.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	var problems []error
	for _, addr := range addrs {
		// Those that do not answer leave half of the time.
		turn, cancel := context.WithTimeout(ctx, c.Timeout/time.Duration(2*len(addrs)))
		conn, err := dial(turn, "tcp", net.JoinHostPort(addr.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		problems = append(problems, err)
	}
	return nil, &Error{Reason: "no-connection", Text: "cannot connect to " + c.Peer, Err: errors.Join(problems...)}
}

// addresses returns those addresses of a host that may be connected to.
func (c *Client) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	allowed := mx.Router{AllowLoopback: c.AllowLoopback, RefusePrivate: true}
	var public []netip.Addr
	var problem error
	refused := false
	for _, t := range []mx.Type{mx.TypeAAAA, mx.TypeA} {
		answer := mx.Answer{}
		if addr, err := netip.ParseAddr(host); err == nil {
			if addr.Is6() == (t == mx.TypeAAAA) {
				answer.Addrs = []netip.Addr{addr}
			}
		} else if answer, err = mx.Follow(ctx, c.Resolver, host, t); err != nil {
			problem = err
		}
		n := 0
		for _, addr := range answer.Addrs {
			if !allowed.Permits(addr) {
				refused = true
			} else if n < mostAddrs {
				public = append(public, addr.Unmap())
				n++
			}
		}
	}
	switch {
	case len(public) > 0:
		return public, nil
	case refused:
		return nil, &Error{Reason: "address-not-public", Text: "the addresses of " + c.Peer + " are not of the public Internet"}
	case problem != nil:
		return nil, &Error{Reason: "dns-lookup-failed", Text: c.Peer + " cannot be looked up", Err: problem}
	}
	return nil, &Error{Reason: "no-address", Text: c.Peer + " has no address"}
}
