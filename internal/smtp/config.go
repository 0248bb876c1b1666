package smtp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Config is what a session needs to know. A zero field takes its default. It is
// only read, so that one Config may serve any number of sessions.
type Config struct {
	// Hello is the name given in EHLO: a domain name, in U-labels or A-labels,
	// or an address literal (RFC 5321 section 4.1.1.1). Empty is the address
	// literal of the connection's local end, and so is a literal of the other
	// address family than the connection's.
	Hello string

	// Without are the options that the session does without from the start,
	// because they are known not to work with the server (see Doubt).
	Without Option

	Timeouts Timeouts

	// Trace is called for every line of the dialogue, in order, from within the
	// session's methods. It may be nil.
	Trace func(Line)
}

// Timeouts limit the steps of a dialogue separately (RFC 5321 section 4.5.3.2). A zero
// field means the default stated with it. A reply must be complete within its time, so
// a server that sends single octets slowly gains nothing.
type Timeouts struct {
	Greeting time.Duration // the greeting; 5 min
	Hello    time.Duration // EHLO and HELO; 5 min
	StartTLS time.Duration // STARTTLS, and again for the handshake; 5 min
	Auth     time.Duration // each step of AUTH; 5 min
	Mail     time.Duration // 5 min
	Rcpt     time.Duration // each; 5 min
	Data     time.Duration // until 354; 2 min
	Write    time.Duration // each block written, while the server accepts nothing; 3 min
	Final    time.Duration // after the final dot or a chunk; 10 min
	Reset    time.Duration // 5 min
	Quit     time.Duration // 10 s

	// Backstop is how long a transaction may take beyond what its commands and
	// its content may: the time of each reply, and the size at 256 octets a
	// second. 4 h.
	Backstop time.Duration
}

// Line is one line of the dialogue.
type Line struct {
	Sent bool // by the client; else by the server
	// Text is the line without its end, control characters and octets beyond
	// ASCII escaped. Content is one line that says how long it was, and a
	// secret is never part of it.
	Text string
}

// WithDefaults is t with the defaults in place of zeros.
func (t Timeouts) WithDefaults() Timeouts {
	long := 5 * time.Minute
	for _, d := range []*time.Duration{&t.Greeting, &t.Hello, &t.StartTLS, &t.Auth, &t.Mail, &t.Rcpt, &t.Reset} {
		setDefault(d, long)
	}
	setDefault(&t.Data, 2*time.Minute)
	setDefault(&t.Write, 3*time.Minute)
	setDefault(&t.Final, 10*time.Minute)
	setDefault(&t.Quit, 10*time.Second)
	setDefault(&t.Backstop, 4*time.Hour)
	return t
}

// of is the time a reply may take at a stage.
func (t *Timeouts) of(stage Stage) time.Duration {
	switch stage {
	case StageReset:
		return t.Reset
	case StageMail:
		return t.Mail
	case StageRcpt:
		return t.Rcpt
	case StageData:
		return t.Data
	default:
		return t.Final
	}
}

func setDefault(v *time.Duration, d time.Duration) {
	if *v <= 0 {
		*v = d
	}
}

var errNoHello = errors.New("smtp: Config.Hello is empty and the connection has no IP address to take its place")

// helloName is the argument of EHLO for a connection (RFC 5321 sections
// 4.1.1.1 and 4.1.3).
func helloName(hello string, conn net.Conn) (string, error) {
	local, haveLocal := localIP(conn)
	if hello == "" {
		if !haveLocal {
			return "", errNoHello
		}
		return literal(local), nil
	}
	d, err := address.ParseHello(hello)
	if err != nil {
		return "", fmt.Errorf("smtp: Config.Hello: %w", err)
	}
	if ip, ok := d.Literal(); ok && haveLocal && ip.Is4() != local.Is4() {
		return literal(local), nil
	}
	return d.String(), nil
}

func localIP(conn net.Conn) (netip.Addr, bool) {
	tcp, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(tcp.IP)
	return ip.Unmap(), ok
}

func literal(ip netip.Addr) string {
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.WithZone("").String() + "]"
}
