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

// mediaType is that of a compressed report.
const mediaType = "application/tlsrpt+gzip"

// Poster sends reports over HTTPS. Like those who fetch policies, it connects to addresses
// of the public Internet alone, whatever DNS says, and looks at them when it connects. The
// zero value with a Resolver works. Set the fields and leave them alone after the first
// use; then it is safe for concurrent use. It keeps no connection, follows no redirects and
// reads no variables of the environment about proxies.
type Poster struct {
	// Resolver finds the addresses of hosts; required.
	Resolver mx.Resolver

	// Dial makes the connections; nil is net.Dialer's DialContext. The address is an IP
	// address with a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Roots are who vouches for certificates; nil is the system's. AnyCertificate has
	// none looked at, which RFC 8460 section 3 allows: what is wrong may be the very
	// thing that is reported.
	Roots          *x509.CertPool
	AnyCertificate bool

	// AllowLoopback lets reports go to this machine.
	AllowLoopback bool

	// Timeout is how long it may take to send a report. Default: one minute.
	Timeout time.Duration

	// UserAgent is the client's name. Default: "nexthop-tlsrpt".
	UserAgent string
}

// StatusError is an answer that does not take a report.
type StatusError struct {
	// Status is the status code.
	Status int
}

// Error says which status it was.
func (e *StatusError) Error() string { return fmt.Sprintf("the host answers %d", e.Status) }

// Post sends a report, compressed, to a URL. It is taken if the host answers 200 to 299
// (RFC 8460 section 5.4); else the error says why not.
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
		// What it says beside that is of no interest, as long as it ends.
		_, _ = io.Copy(io.Discard, response.Body)
		return nil
	})
}
