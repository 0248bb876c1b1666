package smtptest

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Host is an SMTP server that follows its Script, records everything, and checks that
// clients follow the standards. The zero value is a correct server without extensions. Set
// the fields before the first connection and do not change them afterwards; the methods
// are safe for concurrent use.
type Host struct {
	// Name is the name in the greeting and in the reply to EHLO. Default: "host.example".
	Name string

	// Extensions are the lines after the first in the reply to EHLO, such as "PIPELINING"
	// and "SIZE 1000". The Host implements these: PIPELINING, CHUNKING, BINARYMIME, SIZE,
	// 8BITMIME, SMTPUTF8, DSN, STARTTLS, AUTH, LIMITS, ENHANCEDSTATUSCODES, REQUIRETLS,
	// DELIVERBY, MT-PRIORITY, FUTURERELEASE, RRVS. STARTTLS is left out once TLS is on.
	Extensions []string

	// ExtensionsTLS replace Extensions once TLS is on. Default: the same.
	ExtensionsTLS []string

	// NoEHLO makes the Host answer 502 to EHLO, as a server that knows only HELO.
	NoEHLO bool

	// TLS is the configuration for STARTTLS and ImplicitTLS. Default: a certificate for
	// Name from Authority.
	TLS *tls.Config

	// Authority signs the certificate. Default: one of the Host's own, which no client
	// trusts.
	Authority *Authority

	// ImplicitTLS makes every connection begin with the TLS handshake (RFC 8314).
	ImplicitTLS bool

	// Users are the passwords, or tokens, by user name, for the mechanisms of an AUTH
	// extension: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-256, SCRAM-SHA-256-PLUS, XOAUTH2,
	// OAUTHBEARER. For EXTERNAL, the user is the first DNS name of the client's
	// certificate.
	Users map[string]string

	// Script says what the Host does differently.
	Script []Cue

	// MaxRecipients bounds the recipients of a transaction; further ones are answered
	// with 452. MaxMessages bounds the messages on a connection; MAIL is then answered
	// with 421. Default: no limit. RCPTMAX and MAILMAX in a LIMITS extension do the same.
	MaxRecipients, MaxMessages int

	// Patience is how long the Host watches for more octets before it answers. If none
	// come, it knows that the client waits. This makes the count of round trips and the
	// rules about talking too early exact. Default: one nanosecond on in-memory
	// connections, which is exact in a bubble of testing/synctest. On other connections
	// the default is not to watch; those rules are then applied only to octets that have
	// arrived already.
	Patience time.Duration

	// Discard makes the Host count the octets of contents without keeping them, for large
	// messages.
	Discard bool

	// Capture makes the Host keep all octets of each connection, below TLS.
	Capture bool

	// Allow are rules whose violations are not reported.
	Allow []Rule

	once     sync.Once
	tls      *tls.Config
	tlsError error

	mu         sync.Mutex
	conns      []*record
	messages   []Message
	violations []Violation
	taken      []int                 // how often each Cue was taken
	visitors   map[visitor]time.Time // when a Cue with Until met each for the first time
}

// name is Name or its default.
func (h *Host) name() string {
	if h.Name == "" {
		return "host.example"
	}
	return h.Name
}

// Serve answers one connection, and returns when it is over or ctx ends. It
// closes conn.
func (h *Host) Serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { abort(conn) })
	defer stop()
	newSession(ctx, h, conn).run()
}

// abort resets a connection where it can be reset, so that a client notices at
// once, and closes it.
func abort(conn net.Conn) {
	if l, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = conn.Close()
}

// Start listens on a free port of 127.0.0.1 until the test ends, and returns
// the address to dial. At the end of the test it ends all conversations and
// waits for them.
func (h *Host) Start(tb testing.TB) string {
	tb.Helper()
	addr, end, err := h.Listen("127.0.0.1:0")
	if err != nil {
		tb.Fatalf("smtptest: %v", err)
	}
	tb.Cleanup(end)
	return addr.String()
}

// Listen listens on a TCP address, such as "127.0.0.1:2525", until end is called, which ends
// all conversations and waits for them. It is for programs; tests have Start.
func (h *Host) Listen(address string) (addr net.Addr, end func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { h.Serve(ctx, conn) })
		}
	})
	return l.Addr(), func() {
		_ = l.Close()
		cancel()
		serving.Wait()
	}, nil
}

// config is the TLS configuration of the server's side.
func (h *Host) config() (*tls.Config, error) {
	h.once.Do(func() {
		if h.TLS != nil {
			h.tls = h.TLS
			return
		}
		a := h.Authority
		if a == nil {
			if a, h.tlsError = NewAuthority(); h.tlsError != nil {
				return
			}
		}
		if h.tls, h.tlsError = a.ServerConfig(h.name()); h.tlsError == nil && h.takesCertificates() {
			h.tls.ClientAuth = tls.RequestClientCert
		}
	})
	return h.tls, h.tlsError
}

// takesCertificates reports whether clients may log in with a certificate.
func (h *Host) takesCertificates() bool {
	offered := parseExtensions(slices.Concat(h.Extensions, h.ExtensionsTLS))["AUTH"]
	return slices.Contains(strings.Fields(strings.ToUpper(offered)), "EXTERNAL")
}
