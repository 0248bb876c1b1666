package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/login"
	"github.com/nexthop-mail/nexthop/queue"
)

// Server takes mail in. Set the fields before Serve and leave them alone afterwards.
type Server struct {
	// Name is this host's name: in the greeting and in Received fields.
	Name string

	// Mark is a word after Name in the reply to EHLO and HELO, by which programs on one
	// machine that have one name are told apart. If empty, there is none.
	Mark string

	// MaxSize is how many octets a message may have; 0 is 50 MiB. MaxRecipients is
	// how many recipients; 0 is 1,000 (RFC 5321 section 4.5.3.1.8 wants 100 at least).
	MaxSize       int64
	MaxRecipients int

	// MaxConnections are served at one time; 0 is 1,000. A quarter is kept for clients
	// that are trusted. MaxPerClient is how many of
	// one client, that is an IPv4 address or an IPv6 network of 64 bits; 0 is 200.
	MaxConnections int
	MaxPerClient   int

	// MaxMemory limits the octets of envelopes and contents in memory. Default: 64 MiB.
	// A client that is not trusted has an eighth of it, and all such clients together
	// have half. Content that does not fit goes to TempDir, or is refused for now.
	MaxMemory int64

	// Idle is how long a client may be silent. Default: 5 min (RFC 5321 section
	// 4.5.3.2.7). Content must arrive at 256 octets a second on average, after the
	// first ten minutes.
	Idle time.Duration

	// TLS is what STARTTLS is offered with; nil is not at all.
	TLS *tls.Config

	// Logins are those who may log in by AUTH (RFC 4954), which is offered under TLS
	// alone. It is called for each login. Nil offers no AUTH.
	Logins func() *login.Users

	// TempDir is where large contents wait for Data; empty is the system's.
	TempDir string

	// Trusted says which clients are trusted: they may use unusual syntax, and their
	// errors are not counted. If nil, none are.
	Trusted func(client netip.Addr) bool

	// Names are further names of this host. Postmaster receives mail for the postmaster
	// of this host: "postmaster" without a domain, or with Name, one of Names, or the
	// address of this host that the client is connected to. It is accepted from all
	// clients (RFC 5321 section 4.5.1), without calling Rcpt. Default: postmaster@Name.
	Names      []string
	Postmaster string

	// Mail decides whether the reverse-path of t is accepted; t has no recipients yet.
	// Any reply that is not a refusal accepts it. If nil, all are accepted.
	Mail func(ctx context.Context, t *Transaction) Reply

	// Rcpt decides whether a recipient is accepted; t has the recipients before it.
	// destination is the recipient's domain in canonical form. Any reply that is not a
	// refusal accepts it. If nil, all are accepted.
	Rcpt func(ctx context.Context, t *Transaction, r *queue.Recipient, destination string) Reply

	// Data takes a message. Its content is gone when Data has returned. Required.
	Data func(ctx context.Context, t *Transaction, content queue.Content) Reply

	ledger   ledger
	guard    login.Guard
	mu       sync.Mutex
	open     map[*wire]struct{}
	stopping bool
	sessions sync.WaitGroup
	begun    atomic.Uint64 // transactions
	refused  atomic.Uint64 // connections
}

// answer is what the server says of itself in the reply to EHLO and HELO.
func (s *Server) answer() string {
	return strings.TrimSuffix(s.Name+" "+s.Mark, " ")
}

func (s *Server) maxSize() int64      { return or(s.MaxSize, 50<<20) }
func (s *Server) maxRecipients() int  { return or(s.MaxRecipients, 1000) }
func (s *Server) idle() time.Duration { return or(s.Idle, 5*time.Minute) }
func (s *Server) maxConnections() int { return or(s.MaxConnections, 1000) }
func (s *Server) maxPerClient() int   { return or(s.MaxPerClient, 200) }
func (s *Server) maxMemory() int64    { return or(s.MaxMemory, 64<<20) }
func (s *Server) trusts(client netip.Addr) bool {
	return s.Trusted != nil && s.Trusted(client)
}

func or[T int | int64 | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// Serve accepts connections until ctx ends. Those of type *tls.Conn have TLS from the
// start. It then lets messages that are being
// received arrive, tells all other clients to come back later (421), also those that l
// still accepts while it is closed, and returns when the last is gone, within the time
// given.
func (s *Server) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	err := s.accept(ctx, work, l)
	_ = l.Close()
	s.stop()
	timer := time.AfterFunc(grace, func() { cut(); s.cut() })
	defer timer.Stop()
	s.sessions.Wait()
	return err
}

func (s *Server) accept(ctx, work context.Context, l net.Listener) error {
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil && ctx.Err() != nil: // a client who came just before the end is told so
			s.stop()
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // no file descriptors are left, or such
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		s.sessions.Go(func() { s.serve(work, conn) })
	}
}

// serve is one connection from greeting to end.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	w := newWire(conn)
	client := plainAddr(conn.RemoteAddr())
	trusted := s.trusts(client)
	h, refusal := s.enter(w, client, trusted)
	if h == nil {
		s.refused.Add(1)
		w.reply(refusal)
		_ = w.raw.SetReadDeadline(time.Now().Add(time.Second)) // of a handshake
		_ = w.flush(time.Second)
		_ = w.raw.Close()
		return
	}
	defer s.leave(w, h)
	session := &session{server: s, wire: w, holder: h, client: client, trusted: trusted}
	session.run(ctx)
	_ = w.flush(10 * time.Second)
	_ = w.raw.Close()
}

// enter lets a connection in if there is room.
func (s *Server) enter(w *wire, client netip.Addr, trusted bool) (*holder, Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, Reply{421, "4.3.2", s.Name + " is shutting down"}
	}
	h := s.ledger.enter(clientKey(client, trusted), trusted, s.maxMemory(), s.maxPerClient(), s.maxConnections())
	if h == nil {
		return nil, Reply{421, "4.7.0", s.Name + " has too many connections"}
	}
	if s.open == nil {
		s.open = make(map[*wire]struct{})
	}
	s.open[w] = struct{}{}
	return h, Reply{}
}

func (s *Server) leave(w *wire, h *holder) {
	s.mu.Lock()
	delete(s.open, w)
	s.mu.Unlock()
	h.leave()
}

func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for w := range s.open {
		w.stop()
	}
}

func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.open {
		_ = w.raw.Close()
	}
}

// Stats says how many sessions are open, and how many transactions were begun and
// connections refused since the start.
func (s *Server) Stats() (open int, begun, refused uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open), s.begun.Load(), s.refused.Load()
}

func plainAddr(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone("")
}
