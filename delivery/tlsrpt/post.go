package tlsrpt

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/web"
	"github.com/nexthop-mail/nexthop/mx"
)

// mediaType is the media type of a compressed report.
const mediaType = "application/tlsrpt+gzip"

// Poster sends reports over HTTPS. It only connects to public addresses, whatever DNS
// returns, and checks this when it connects. The zero value with a Resolver works. Set
// the fields and leave them alone after the first use; then it is safe for concurrent
// use. It keeps no connection, follows no redirects and ignores environment variables
// about proxies.
type Poster struct {
	// Resolver finds the addresses of hosts; required.
	Resolver mx.Resolver

	// Dial makes the connections. If nil, net.Dialer is used. The address is an IP
	// address with a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Roots are the trusted certificate authorities. If nil, the system's are used.
	// AnyCertificate turns verification off, which RFC 8460 section 3 allows, since the
	// report may be about the very problem.
	Roots          *x509.CertPool
	AnyCertificate bool

	// AllowLoopback allows reports to this machine.
	AllowLoopback bool

	// Timeout limits the time to send one report. Default: one minute.
	Timeout time.Duration

	// UserAgent is the client's name. Default: "nexthop-tlsrpt".
	UserAgent string
}

// StatusError is a response that does not accept a report.
type StatusError struct {
	// Status is the status code.
	Status int
}

// Error includes the status code.
func (e *StatusError) Error() string { return fmt.Sprintf("the host answers %d", e.Status) }

// Post compresses a report and sends it to a URL. The host accepts it with a status
// from 200 to 299 (RFC 8460 section 5.4); with any other, the error is a *StatusError.
func (p *Poster) Post(ctx context.Context, url string, report []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(report))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("User-Agent", cmp.Or(p.UserAgent, "nexthop-tlsrpt"))
	client := web.Client{
		Peer: "the host", Resolver: p.Resolver, Dial: p.Dial, Roots: p.Roots, AnyCertificate: p.AnyCertificate,
		AllowLoopback: p.AllowLoopback, Timeout: time.Minute, Most: 16 << 10,
	}
	if p.Timeout > 0 {
		client.Timeout = p.Timeout
	}
	return client.Do(ctx, request, func(response *http.Response) error {
		if response.StatusCode < 200 || response.StatusCode > 299 {
			return &StatusError{Status: response.StatusCode}
		}
		// The rest of the response is not used, but must be read.
		_, _ = io.Copy(io.Discard, response.Body)
		return nil
	})
}
