package mtasts

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// The bounds of a fetch (RFC 8461 section 3.3).
const (
	mostBytes   = 64 << 10
	longest     = time.Minute
	mostHeaders = 16 << 10
	mostAddrs   = 4 // of a family
)

// Fetcher gets the text of policies over HTTPS. It connects to addresses of the public
// Internet alone, whatever DNS says, and looks at them when it connects. The zero value
// with a Resolver works. Set the fields and leave them alone after the first use; then it
// is safe for concurrent use. It keeps no connection and reads no variables of the
// environment about proxies.
type Fetcher struct {
	// Resolver finds the addresses of policy hosts; required.
	Resolver mx.Resolver

	// Dial makes the connections; nil is net.Dialer's DialContext. The address is an IP
	// address with a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Roots are who vouches for certificates; nil is the system's.
	Roots *x509.CertPool

	// AllowLoopback lets a policy host be on this machine.
	AllowLoopback bool

	// Timeout is how long a fetch may take; 0 is one minute.
	Timeout time.Duration

	// UserAgent is the client's name; empty is "nexthop-mta-sts". Some filters refuse
	// clients without one.
	UserAgent string
}

// Host is the name of the policy host of a domain.
func Host(domain string) string { return "mta-sts." + domain }

// URL is where the policy of a domain is.
func URL(domain string) string { return "https://" + Host(domain) + "/.well-known/mta-sts.txt" }

// Fetch gets the policy of a domain and reads it. The domain is in canonical form. The error
// is an *Error, or that of ctx if it ends first.
func (f *Fetcher) Fetch(ctx context.Context, domain string) (Policy, error) {
	limited, cancel := context.WithTimeoutCause(ctx, f.timeout(), errTooSlow)
	defer cancel()
	text, err := f.get(limited, domain)
	switch {
	case ctx.Err() != nil:
		return Policy{}, ctx.Err()
	case err != nil && limited.Err() != nil:
		return Policy{}, failed("timeout", "the policy host is too slow", errTooSlow)
	case err != nil:
		return Policy{}, err
	}
	return ParsePolicy(text)
}

var errTooSlow = errors.New("the time is up")

func (f *Fetcher) timeout() time.Duration {
	if f.Timeout > 0 {
		return f.Timeout
	}
	return longest
}

// failed is the error of a fetch.
func failed(reason, text string, cause error) *Error {
	return &Error{Type: FetchError, Reason: reason, Text: text, Err: cause}
}

// get is the text of the policy.
func (f *Fetcher) get(ctx context.Context, domain string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, URL(domain), nil)
	if err != nil {
		return nil, failed("bad-domain", "the domain makes no URL", err)
	}
	request.Header.Set("User-Agent", "nexthop-mta-sts")
	if f.UserAgent != "" {
		request.Header.Set("User-Agent", f.UserAgent)
	}
	request.Header.Set("Accept", "text/plain")
	request.Close = true
	conn, err := f.connect(ctx, Host(domain))
	if err != nil {
		return nil, refusal(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := request.Write(conn); err != nil {
		return nil, refusal(err)
	}
	response, err := respond(conn, request)
	if err != nil {
		return nil, refusal(err)
	}
	defer response.Body.Close()
	if err := acceptable(response); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, mostBytes+1))
	switch {
	case len(text) > mostBytes:
		return nil, failed("too-large", fmt.Sprintf("the policy has more than %d octets", mostBytes), nil)
	case err != nil:
		return nil, failed("http-body", "the policy cannot be read to its end", err)
	}
	return text, nil
}

// respond reads the response itself, whatever it is: none leads elsewhere, and those of
// the kind "go on" are few.
func respond(conn net.Conn, request *http.Request) (*http.Response, error) {
	// Chunks of one octet are six times as long as what is in them.
	r := bufio.NewReader(io.LimitReader(conn, mostHeaders+8*mostBytes))
	for {
		response, err := http.ReadResponse(r, request)
		if err != nil || response.StatusCode >= 200 || response.StatusCode < 100 {
			return response, err
		}
	}
}

// connect makes a connection to a policy host, with TLS.
func (f *Fetcher) connect(ctx context.Context, host string) (net.Conn, error) {
	plain, err := f.dial(ctx, host)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, &tls.Config{RootCAs: f.Roots, ServerName: host, MinVersion: tls.VersionTLS12})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}

// acceptable is why a response is no policy (RFC 8461 sections 3.2 and 3.3).
func acceptable(response *http.Response) error {
	if response.StatusCode != http.StatusOK {
		text := fmt.Sprintf("the policy host answers %d", response.StatusCode)
		if to := response.Header.Get("Location"); to != "" {
			text += ", and leads to " + shorten(to) + ", which a policy host must not"
		}
		return failed(fmt.Sprintf("http-status-%d", response.StatusCode), text, nil)
	}
	value := response.Header.Get("Content-Type")
	kind, _, _ := strings.Cut(value, ";")
	if !strings.EqualFold(strings.Trim(kind, " \t"), "text/plain") {
		return failed("content-type", "the policy is not text/plain but "+shorten(value), nil)
	}
	if coding := response.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return failed("content-encoding", "the policy is encoded as "+shorten(coding), nil)
	}
	return nil
}

// refusal is the error of a request that has no response.
func refusal(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		reason := "certificate-not-trusted"
		if _, wrong := errors.AsType[x509.HostnameError](cert.Err); wrong {
			reason = "certificate-host-mismatch"
		} else if invalid, is := errors.AsType[x509.CertificateInvalidError](cert.Err); is && invalid.Reason == x509.Expired {
			reason = "certificate-expired"
		}
		return &Error{Type: WebPKIInvalid, Reason: reason, Text: "the certificate of the policy host is not valid", Err: cert.Err}
	}
	return failed("no-response", "the policy host does not answer", err)
}

// dial connects to a policy host, at one of its addresses that may be connected to.
func (f *Fetcher) dial(ctx context.Context, host string) (net.Conn, error) {
	addrs, err := f.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	dial := f.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	var problems []error
	for _, addr := range addrs {
		// Those that do not answer leave half of the time.
		turn, cancel := context.WithTimeout(ctx, f.timeout()/time.Duration(2*len(addrs)))
		conn, err := dial(turn, "tcp", net.JoinHostPort(addr.String(), "443"))
		cancel()
		if err == nil {
			return conn, nil
		}
		problems = append(problems, err)
	}
	return nil, failed("no-connection", "there is no connection to the policy host", errors.Join(problems...))
}

// addresses are those of a policy host that may be connected to.
func (f *Fetcher) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	allowed := mx.Router{AllowLoopback: f.AllowLoopback, RefusePrivate: true}
	var public []netip.Addr
	var problem error
	refused := false
	for _, t := range []mx.Type{mx.TypeAAAA, mx.TypeA} {
		answer, err := mx.Follow(ctx, f.Resolver, host, t)
		if err != nil {
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
		return nil, failed("address-not-public", "the addresses of the policy host are not of the public Internet", nil)
	case problem != nil:
		return nil, failed("dns-lookup-failed", "the policy host cannot be looked up", problem)
	}
	return nil, failed("no-address", "the policy host has no address", nil)
}
