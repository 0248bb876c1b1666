package smtptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// Internet is DNS and hosts in memory. DNS is zone text, and each Host is at the addresses
// that the zone has for its name. It is an mx.Resolver, and DialContext connects to the
// hosts. Set the fields and call Start or Open; with testing/synctest, do this inside the
// bubble. After that it is safe for concurrent use.
type Internet struct {
	// Zone, Rules and Signed are the fields of mxtest.DNS: zone text in BIND's notation,
	// faults of DNS, and the names that DNSSEC authenticates.
	Zone   string
	Rules  []mxtest.Rule
	Signed map[string]bool

	// Hosts are the mail hosts by name. Each is on port 25 at every address that the zone
	// has for the name; "mail.example.com:465" names another port. A Host without a Name
	// gets this name. A Host without TLS and Authority gets a certificate of the
	// Internet's Authority.
	Hosts map[string]*Host

	// Servers are further servers by address, as in Network.
	Servers map[string]Server

	// Links are the links to hosts, by host name or by address.
	Links map[string]Link

	// Window and Seed are those of Network.
	Window int
	Seed   uint64

	// Authority signs the hosts' certificates. If nil, one is made when a host needs it.
	// Read it after Start, for clients that should trust the hosts.
	Authority *Authority

	once    sync.Once
	invalid error
	dns     mxtest.DNS
	records mxtest.DNS // Zone without faults
	network Network
	addrs   map[string][]netip.Addr   // of every host name
	names   map[netip.AddrPort]string // keys of Hosts
}

// Open makes the Internet from its fields. The other methods call it if necessary. If a
// field is invalid, every method returns the error. Call Close at the end.
func (in *Internet) Open() error {
	in.once.Do(func() { in.invalid = in.open() })
	return in.invalid
}

// Start calls Open, and Close at the end of the test. An error of Open fails the test.
func (in *Internet) Start(tb testing.TB) *Internet {
	tb.Helper()
	if err := in.Open(); err != nil {
		tb.Fatalf("smtptest: %v", err)
	}
	tb.Cleanup(in.Close)
	return in
}

func (in *Internet) open() error {
	in.dns.Zone, in.dns.Rules, in.dns.Signed = in.Zone, in.Rules, in.Signed
	in.records.Zone = in.Zone
	if err := in.dns.Validate(); err != nil {
		return err
	}
	in.network.Window, in.network.Seed = in.Window, in.Seed
	in.network.Servers = make(map[string]Server)
	in.network.Links = make(map[string]Link)
	for text, s := range in.Servers {
		in.network.Servers[text] = s
	}
	in.addrs = make(map[string][]netip.Addr)
	in.names = make(map[netip.AddrPort]string)
	var problems []error
	for key, h := range in.Hosts {
		problems = append(problems, in.place(key, h))
	}
	for where, l := range in.Links {
		addrs, err := in.addresses(where)
		problems = append(problems, err)
		for _, a := range addrs {
			in.network.Links[a.String()] = l
		}
	}
	return errors.Join(append(problems, in.network.start())...)
}

// place puts a host at its addresses.
func (in *Internet) place(key string, h *Host) error {
	name, port := key, uint16(25)
	if host, number, err := net.SplitHostPort(key); err == nil {
		p, err := netip.ParseAddrPort("192.0.2.1:" + number)
		if err != nil {
			return fmt.Errorf("Hosts[%q]: %w", key, err)
		}
		name, port = host, p.Port()
	}
	addrs, err := in.addresses(name)
	if err != nil {
		return fmt.Errorf("Hosts[%q]: %w", key, err)
	}
	if h.Name == "" {
		h.Name = name
	}
	if h.TLS == nil && h.Authority == nil && h.secures() {
		if in.Authority == nil {
			if in.Authority, err = NewAuthority(); err != nil {
				return err
			}
		}
		h.Authority = in.Authority
	}
	for _, a := range addrs {
		at := netip.AddrPortFrom(a, port)
		in.names[at] = key
		in.network.Servers[at.String()] = h
	}
	return nil
}

// secures reports whether the host has any use for a certificate.
func (h *Host) secures() bool {
	return h.ImplicitTLS || slices.ContainsFunc(h.Extensions, func(e string) bool {
		keyword, _, _ := strings.Cut(e, " ")
		return strings.EqualFold(keyword, "STARTTLS")
	})
}

// addresses returns the addresses of a host name in the zone, ignoring faults of DNS,
// or the address in text.
func (in *Internet) addresses(text string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if known, ok := in.addrs[name]; ok {
		return known, nil
	}
	var addrs []netip.Addr
	for _, t := range []mx.Type{mx.TypeA, mx.TypeAAAA} {
		answer, err := in.records.Resolve(context.Background(), name, t)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, answer.Addrs...)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address in the zone", name)
	}
	in.addrs[name] = addrs
	return addrs, nil
}

// Close ends all conversations and waits for them.
func (in *Internet) Close() { in.network.Close() }

// Resolve answers questions from the zone and the rules.
func (in *Internet) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	if err := in.Open(); err != nil {
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Err: err}
	}
	return in.dns.Resolve(ctx, name, t)
}

// DialContext connects to an IP address and port, as Network.DialContext does.
func (in *Internet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := in.Open(); err != nil {
		return nil, err
	}
	return in.network.DialContext(ctx, network, address)
}

// DNS returns the Internet's DNS, which has a log of questions, and whose records can be
// changed.
func (in *Internet) DNS() *mxtest.DNS { return &in.dns }

// Network returns the Internet's network, which has a log of dials, and whose links can be
// changed.
func (in *Internet) Network() *Network { return &in.network }
