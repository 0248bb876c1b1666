package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// Transport is the flags that say how mail leaves the machine.
type Transport struct {
	DNS            List
	TrustAD        bool
	DNSSEC         string
	Port           uint
	Helo           string
	Self           List
	TLS            string
	NoDANE         bool
	Ratchet        trust.Ratchet
	NoMTASTS       bool
	TLSCache       string
	Source         List
	Only4, Only6   bool
	Loopback       bool
	RefusePrivate  bool
	DeferNXDomain  bool
	ConnectTimeout Duration
	Timeout        Duration // zero is the RFC's times
	Verbose        bool
	SmartHosts     SmartHosts

	table  *smarthost.Table // of the Sender; nil if there are no smart hosts
	client *mx.Client       // of the Sender, and what keeps its answers
	cache  *mx.Cache
	lookup *mx.HostLookup
}

// Define adds the flags to a set.
func (t *Transport) Define(fs *flag.FlagSet) {
	t.ConnectTimeout = Duration(30 * time.Second)
	fs.Var(&t.DNS, "dns", "ask the DNS server at `HOST:PORT` (repeatable, in order) instead of the system's resolvers")
	fs.BoolVar(&t.TrustAD, "trust-ad", false, "believe the AD bit of the resolvers in use")
	fs.StringVar(&t.DNSSEC, "dnssec", "ad", "DNSSEC `MODE`: ad (believe the AD bit of a trusted resolver) or off")
	fs.UintVar(&t.Port, "port", 25, "TCP port `N` to connect to on MX hosts")
	fs.StringVar(&t.Helo, "helo", "", "`NAME` given in EHLO (default: the host's name)")
	fs.Var(&t.Self, "self", "a `NAME` of this host in MX records, or an address of it in brackets, such as the public address of a NAT (repeatable)")
	fs.StringVar(&t.TLS, "tls", "may", "TLS `LEVEL` for MX hosts: none, may, dane, encrypt or verify")
	fs.BoolVar(&t.NoDANE, "no-dane", false, "switch DANE off")
	fs.BoolVar(&t.NoMTASTS, "no-mta-sts", false, "switch MTA-STS off")
	fs.TextVar(&t.Ratchet, "ratchet", trust.Tell, "what to do if a host that was authenticated no longer is, and its policy was not withdrawn: `MODE` tell (send and report), refuse or forget")
	fs.StringVar(&t.TLSCache, "tls-cache", "", "keep MTA-STS policies, and which hosts were authenticated, in this `DIR` (default: mxsend keeps them in memory, relay in its queue)")
	fs.Var(&t.Source, "source", "local `ADDR` to send from (repeatable)")
	fs.BoolVar(&t.Only4, "4", false, "use only IPv4")
	fs.BoolVar(&t.Only6, "6", false, "use only IPv6")
	fs.BoolVar(&t.Loopback, "loopback", false, "allow loopback addresses as next hops")
	fs.BoolVar(&t.RefusePrivate, "refuse-private", false, "leave out addresses of MX hosts in private networks")
	fs.BoolVar(&t.DeferNXDomain, "defer-nxdomain", false, "defer mail to domains that do not exist, as if DNS had failed")
	fs.Var(&t.ConnectTimeout, "connect-timeout", "time limit for one connection attempt")
	fs.Var(&t.Timeout, "timeout", "the longest wait for a single reply of a host or a DNS answer (default: the times of the RFCs)")
	fs.BoolVar(&t.Verbose, "v", false, "print the SMTP dialogue on standard error, without secrets")
	t.SmartHosts.define(fs)
}

// Check checks for invalid values and combinations that the flag package cannot detect.
func (t *Transport) Check() error {
	switch {
	case t.Only4 && t.Only6:
		return Usage("-4 and -6 exclude each other")
	case t.Port == 0 || t.Port > 65535:
		return Usage("-port %d is not a TCP port", t.Port)
	case t.ConnectTimeout <= 0:
		return Usage("-connect-timeout must be positive")
	}
	for _, a := range t.Source {
		if _, err := netip.ParseAddr(a); err != nil {
			return Usage("-source %q is not an IP address", a)
		}
	}
	for _, d := range t.DNS {
		if _, _, err := net.SplitHostPort(d); err != nil {
			return Usage("-dns %q is not HOST:PORT", d)
		}
	}
	if _, err := t.level(); err != nil {
		return err
	}
	switch {
	case t.DNSSEC != "ad" && t.DNSSEC != "off":
		return Usage("-dnssec %q: want ad or off", t.DNSSEC)
	case t.DNSSEC == "off" && t.TrustAD:
		return Usage("-dnssec off and -trust-ad exclude each other")
	case t.DNSSEC == "off" && t.TLS == "dane":
		return Usage("-dnssec off and -tls dane exclude each other")
	case t.TLS == "dane" && t.NoDANE:
		return Usage("-tls dane and -no-dane exclude each other")
	}
	_, err := t.SmartHosts.rules()
	return err
}

// Role is what a program does with the mail it sends.
type Role struct {
	// Relay is whether it passes on the mail of others: then the addresses of this
	// machine's interfaces are its own too, and content is passed on as it came or
	// not at all.
	Relay bool
	// Ports are those at which it takes mail, and Mark is the word that its server gives
	// after its name. Without a mark it has no server.
	Ports []uint16
	Mark  string
}

// Sender is the Sender that the flags describe.
func (t *Transport) Sender(role Role, stderr io.Writer) (*delivery.Sender, error) {
	level, err := t.level()
	if err != nil {
		return nil, err
	}
	notes := t.notes(role, stderr)
	resolver, err := t.resolver(notes)
	if err != nil {
		return nil, err
	}
	s := &delivery.Sender{
		Hello:          t.Hello(),
		SelfMark:       cmp.Or(role.Mark, rand.Text()), // no server gives a random one
		Port:           uint16(t.Port),
		TLS:            level,
		ConnectTimeout: time.Duration(t.ConnectTimeout),
	}
	if t.Timeout > 0 {
		s.Timeouts = s.Timeouts.AtMost(time.Duration(t.Timeout))
	}
	router := t.router(resolver, s.Hello, role)
	t.lookup = &mx.HostLookup{Trace: notes}
	router.HostLookup = t.lookup
	s.Router = delivery.ByMX(router)
	if t.SmartHosts.given() {
		table := &smarthost.Table{Router: router}
		rules, err := t.SmartHosts.rules()
		if err != nil {
			return nil, err
		}
		if err := table.Set(rules); err != nil {
			return nil, Usage("%v", err)
		}
		s.Router, t.table = table, table
	}
	if role.Relay {
		s.Content = delivery.ContentRelay
	}
	for _, a := range t.Source {
		s.Source = append(s.Source, netip.MustParseAddr(a))
	}
	if t.Verbose {
		s.Trace = dialogue(stderr)
	}
	if level != mx.TLSNone {
		s.Policy = t.policy(resolver)
	}
	if t.TLS == "dane" {
		if err := dane.Probe(context.Background(), resolver); errors.Is(err, dane.ErrNoDNSSEC) {
			return nil, Config("-tls dane: %w", AdviseOn(err))
		} else if err != nil {
			fmt.Fprintf(stderr, "* -tls dane: it is not known whether the resolver can do DNSSEC: %v\n", err)
		}
	}
	if err := s.Validate(); err != nil {
		return nil, Config("%v", err)
	}
	return s, nil
}

// AdviseOn is an error about TLS policies, with what people can do about it if that is
// known.
func AdviseOn(err error) error {
	if errors.Is(err, dane.ErrNoDNSSEC) {
		return fmt.Errorf("%w; %s", err, dnssecAdvice)
	}
	return err
}

// dnssecAdvice is what people can do about a resolver of which no answer is secure.
const dnssecAdvice = "use a validating resolver on this machine, or -trust-ad if the one in use validates and its answers cannot be changed on the way"

// policy is whom mail may be given to: DANE, else MTA-STS, unless they are off.
func (t *Transport) policy(resolver mx.Resolver) *trust.Source {
	s := &trust.Source{
		Resolver: resolver, NoDANE: t.NoDANE || t.DNSSEC == "off", NoMTASTS: t.NoMTASTS, Ratchet: t.Ratchet, Reuse: 2 * time.Second,
		Fetcher: &mtasts.Fetcher{Resolver: resolver, AllowLoopback: t.Loopback},
	}
	if t.TLSCache != "" {
		s.Store = &mtasts.Dir{Path: t.TLSCache}
	}
	return s
}

// Resolver is what the Sender that was made asks, for others who need DNS.
func (t *Transport) Resolver() mx.Resolver { return t.cache }

// Reread has resolv.conf and the hosts file read again for the Sender that was made,
// also where they seem not to have changed, and forgets what DNS has said.
func (t *Transport) Reread() {
	t.client.Reread()
	t.lookup.Reread()
	t.cache.Clear()
}

// Reload reads the files of smart hosts again, for the Sender that was made. If they
// are invalid, the rules stay as they were.
func (t *Transport) Reload() error {
	if t.table == nil {
		return nil
	}
	rules, err := t.SmartHosts.rules()
	if err != nil {
		return err
	}
	return t.table.Set(rules)
}

func (t *Transport) router(resolver mx.Resolver, hello string, role Role) *mx.Router {
	r := &mx.Router{
		Resolver: resolver, Self: t.Self, Relay: role.Relay, SelfPorts: role.Ports,
		AllowLoopback: t.Loopback, RefusePrivate: t.RefusePrivate, DeferNoSuchDomain: t.DeferNXDomain,
	}
	if hello != "" {
		r.Self = append(r.Self, hello)
	}
	switch {
	case t.Only4:
		r.Family = mx.IPv4Only
	case t.Only6:
		r.Family = mx.IPv6Only
	}
	return r
}

func (t *Transport) level() (mx.TLSLevel, error) {
	switch t.TLS {
	case "none":
		return mx.TLSNone, nil
	case "may":
		return mx.TLSMay, nil
	case "encrypt":
		return mx.TLSEncrypt, nil
	case "verify":
		return mx.TLSVerify, nil
	case "dane":
		return mx.TLSMay, nil
	default:
		return 0, Usage("-tls %q: want none, may, dane, encrypt or verify", t.TLS)
	}
}

// Hello is the EHLO name: as given, else the host's, if it is one. Otherwise it is
// left to the Sender, which gives the address.
func (t *Transport) Hello() string {
	if t.Helo != "" {
		return t.Helo
	}
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return helloName(name)
}

// resolver asks the -dns servers, or the system's.
func (t *Transport) resolver(notes *mx.Trace) (mx.Resolver, error) {
	client, err := t.servers()
	if err != nil {
		return nil, Config("%v", err)
	}
	cache := &mx.Cache{Resolver: client}
	changed := *notes
	changed.Read = func(file string, ignored []string, err error) {
		if err == nil {
			cache.Clear() // other servers may know other things
		}
		notes.Read(file, ignored, err)
	}
	client.TrustAD, client.IgnoreAD = t.TrustAD, t.DNSSEC == "off"
	client.Trace, client.MaxTimeout = &changed, time.Duration(t.Timeout)
	t.client, t.cache = client, cache
	return cache, nil
}

func (t *Transport) servers() (*mx.Client, error) {
	if len(t.DNS) == 0 {
		client, err := mx.System()
		if err != nil && t.SmartHosts.given() {
			// Smart hosts that are addresses need no DNS. Every question fails, until the
			// system has servers.
			return &mx.Client{File: "/etc/resolv.conf"}, nil
		}
		return client, err
	}
	client := &mx.Client{}
	for _, d := range t.DNS {
		server := mx.Server{Addr: d}
		if ap, err := netip.ParseAddrPort(d); err == nil {
			// The answers of an explicit loopback resolver cannot be changed on
			// the way.
			server.TrustAD = ap.Addr().IsLoopback()
		}
		client.Servers = append(client.Servers, server)
	}
	return client, nil
}
