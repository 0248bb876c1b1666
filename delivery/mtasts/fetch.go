package mtasts

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/web"
	"github.com/nexthop-mail/nexthop/mx"
)

// Limits of a fetch (RFC 8461 section 3.3).
const (
	mostBytes = 64 << 10
	longest   = time.Minute
)

// Fetcher gets the text of policies over HTTPS. It only connects to public addresses,
// whatever DNS returns, and checks this when it connects. The zero value with a
// Resolver works. Set the fields and leave them alone after the first use; then it is
// safe for concurrent use. It keeps no connection and ignores environment variables
// about proxies.
type Fetcher struct {
	// Resolver finds the addresses of policy hosts; required.
	Resolver mx.Resolver

	// Dial makes the connections. If nil, net.Dialer is used. The address is an IP
	// address with a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Roots are the trusted certificate authorities. If nil, the system's are used.
	Roots *x509.CertPool

	// AllowLoopback allows policy hosts on this machine.
	AllowLoopback bool

	// Timeout limits the time of one fetch. Default: one minute.
	Timeout time.Duration

	// UserAgent is the client's name. Default: "nexthop-mta-sts". Some filters refuse
	// clients without one.
	UserAgent string
}

// Host returns the name of the policy host of a domain.
func Host(domain string) string { return "mta-sts." + domain }

// URL returns the address of a domain's policy.
func URL(domain string) string { return "https://" + Host(domain) + "/.well-known/mta-sts.txt" }

// Fetch gets the policy of a domain and parses it. The domain must be in canonical
// form. The error is an *Error, or that of ctx if it ends first.
func (f *Fetcher) Fetch(ctx context.Context, domain string) (Policy, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, URL(domain), nil)
	if err != nil {
		return Policy{}, failed("bad-domain", "the domain cannot be part of a URL", err)
	}
	request.Header.Set("User-Agent", cmp.Or(f.UserAgent, "nexthop-mta-sts"))
	request.Header.Set("Accept", "text/plain")
	client := web.Client{
		Peer: "the policy host", Resolver: f.Resolver, Dial: f.Dial, Roots: f.Roots, AllowLoopback: f.AllowLoopback,
		Timeout: longest, Most: mostBytes,
	}
	if f.Timeout > 0 {
		client.Timeout = f.Timeout
	}
	var text []byte
	err = client.Do(ctx, request, func(response *http.Response) (err error) {
		text, err = body(response)
		return err
	})
	if refusal, ok := errors.AsType[*web.Error](err); ok {
		e := failed(refusal.Reason, refusal.Text, refusal.Err)
		if refusal.Certificate {
			e.Type = WebPKIInvalid
		}
		return Policy{}, e
	} else if err != nil {
		return Policy{}, err
	}
	return ParsePolicy(text)
}

// failed is the error of a fetch.
func failed(reason, text string, cause error) *Error {
	return &Error{Type: FetchError, Reason: reason, Text: text, Err: cause}
}

// body is the text of the policy in a response.
func body(response *http.Response) ([]byte, error) {
	if err := acceptable(response); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(response.Body)
	switch {
	case len(text) > mostBytes:
		return nil, failed("too-large", fmt.Sprintf("the policy has more than %d octets", mostBytes), nil)
	case err != nil:
		return nil, failed("http-body", "the policy cannot be read to its end", err)
	}
	return text, nil
}

// acceptable returns why a response is not a policy (RFC 8461 sections 3.2 and 3.3).
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
