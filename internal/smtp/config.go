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

	// HelloOn are replies to EHLO, beyond 500 and 502, that lead to HELO; such
	// as 501, 504 and 550.
	HelloOn []int

	// NoChunking makes the session use DATA even where CHUNKING is offered:
	// for a host whose BDAT is known not to work (see ChunkingBroken).
	NoChunking bool

	// LenientLF takes a bare LF for the end of a reply line, as some broken
	// servers send it. It says nothing about what is sent.
	LenientLF bool

	Timeouts Timeouts
	Limits   Limits

	// Trace is called for every line of the dialogue, in order, from within
	// the session's methods. nil is nobody.
	Trace func(Line)
}

// Timeouts bound the steps of a dialogue, each by itself (RFC 5321 section
// 4.5.3.2). A zero field takes the default stated with it. A reply must be
// complete within its time: a server that sends an octet now and then gains
// nothing by it.
type Timeouts struct {
	Greeting time.Duration // the greeting; 5 min
	Hello    time.Duration // EHLO and HELO; 5 min
	StartTLS time.Duration // STARTTLS, and again for the handshake; 5 min
	Auth     time.Duration // each step of AUTH; 5 min
	Mail     time.Duration // 5 min
	Rcpt     time.Duration // each; 5 min
	Data     time.Duration // until 354; 2 min
	Write    time.Duration // each block written, as long as the server takes nothing; 3 min
	Final    time.Duration // after the final dot or a chunk; 10 min
	Reset    time.Duration // 5 min
	Quit     time.Duration // 10 s
	Backstop time.Duration // a whole transaction, beside its size at Limits.MinRate; 4 h
}

// Limits bound what a server may make the session read or wait for. A zero field
// takes the default stated with it.
type Limits struct {
	LineKept     int   // octets of a reply line that are kept; 2,048
	LineRead     int   // octets of a reply line that are read before giving up; 64 KiB
	Lines        int   // lines of one reply; 128
	ReplyBytes   int   // octets of one reply; 256 KiB
	SessionBytes int64 // octets of all replies of a session; 64 MiB
	Keywords     int   // EHLO keywords that are looked at; 64
	MinRate      int64 // octets a second below which content is given up; 256
}

// Line is one line of the dialogue.
type Line struct {
	Sent bool // by the client; else by the server
	// Text is the line without its end, control characters and octets beyond
	// ASCII escaped. Content is one line that says how long it was, and a
	// secret is never part of it.
	Text string
}

func (t Timeouts) withDefaults() Timeouts {
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

func (l Limits) withDefaults() Limits {
	setDefault(&l.LineKept, 2048)
	setDefault(&l.LineRead, 64<<10)
	setDefault(&l.Lines, 128)
	setDefault(&l.ReplyBytes, 256<<10)
	setDefault(&l.SessionBytes, 64<<20)
	setDefault(&l.Keywords, 64)
	setDefault(&l.MinRate, 256)
	return l
}

func setDefault[T ~int | ~int64](v *T, d T) {
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
