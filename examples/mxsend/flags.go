package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// options are the command line.
type options struct {
	dns            list
	trustAD        bool
	port           uint
	helo           string
	self           list
	tls            string
	source         list
	only4, only6   bool
	loopback       bool
	connectTimeout time.Duration
	verbose        bool
	json           bool
	explain        bool
	from           string
	fromGiven      bool
	recipients     []string
	notYet         list // flags of capabilities that are still to come
}

// cliError is an error of the command line with the exit code it leads to.
type cliError struct {
	code int
	err  error
}

func (e *cliError) Error() string {
	if e.err == nil {
		return "help was asked for"
	}
	return e.err.Error()
}

func usage(format string, args ...any) error {
	return &cliError{exitUsage, fmt.Errorf(format, args...)}
}

func config(format string, args ...any) error {
	return &cliError{exitConfig, fmt.Errorf(format, args...)}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("mxsend", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: mxsend [flags] -f FROM RCPT... < message\n")
		fs.PrintDefaults()
	}
	o.define(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, &cliError{code: exitOK}
		}
		return nil, err
	}
	fs.Visit(func(f *flag.Flag) { o.fromGiven = o.fromGiven || f.Name == "f" })
	o.recipients = fs.Args()
	return o, o.check()
}

func (o *options) define(fs *flag.FlagSet) {
	fs.Var(&o.dns, "dns", "ask the DNS server at `HOST:PORT` (repeatable, in order) instead of the system's resolvers")
	fs.BoolVar(&o.trustAD, "trust-ad", false, "believe the AD bit of the resolvers in use")
	fs.UintVar(&o.port, "port", 25, "TCP port `N` of MX hosts")
	fs.StringVar(&o.helo, "helo", "", "`NAME` given in EHLO (default: the host's name)")
	fs.Var(&o.self, "self", "a `NAME` under which this host stands in MX records (repeatable)")
	fs.StringVar(&o.tls, "tls", "may", "TLS `LEVEL` for MX hosts: none, may, dane, encrypt, verify")
	fs.Bool("no-dane", false, "do without DANE")
	fs.Bool("no-mta-sts", false, "do without MTA-STS")
	fs.Var(&o.source, "source", "local `ADDR` to send from (repeatable)")
	fs.BoolVar(&o.only4, "4", false, "IPv4 only")
	fs.BoolVar(&o.only6, "6", false, "IPv6 only")
	fs.BoolVar(&o.loopback, "loopback", false, "loopback addresses are real next hops")
	fs.DurationVar(&o.connectTimeout, "connect-timeout", 30*time.Second, "time for one connection attempt")
	fs.BoolVar(&o.verbose, "v", false, "the SMTP dialogue on standard error, secrets left out")
	fs.BoolVar(&o.json, "json", false, "one JSON object per recipient on standard output")
	fs.BoolVar(&o.explain, "explain", false, "connect to nothing, print the route")
	fs.StringVar(&o.from, "f", "", "the reverse-path `FROM`; \"\" is the null one")
	for _, name := range []string{"smarthost", "smarthost-for", "fallback"} {
		fs.Func(name, "not yet: next hops other than MX", func(string) error {
			o.notYet = append(o.notYet, "-"+name)
			return nil
		})
	}
}

// check finds what the flag package cannot: combinations that make no sense.
func (o *options) check() error {
	switch {
	case !o.fromGiven && !o.explain:
		return usage("-f FROM is missing (-f \"\" is the null reverse-path)")
	case len(o.recipients) == 0:
		return usage("no recipients")
	case o.only4 && o.only6:
		return usage("-4 and -6 exclude each other")
	case o.port == 0 || o.port > 65535:
		return usage("-port %d is no TCP port", o.port)
	case o.connectTimeout <= 0:
		return usage("-connect-timeout must be positive")
	case len(o.notYet) > 0:
		return config("%s: not yet", strings.Join(o.notYet, ", "))
	}
	for _, a := range o.source {
		if _, err := netip.ParseAddr(a); err != nil {
			return usage("-source %q is no IP address", a)
		}
	}
	for _, d := range o.dns {
		if _, err := netip.ParseAddrPort(d); err != nil {
			if _, _, err := net.SplitHostPort(d); err != nil {
				return usage("-dns %q is not HOST:PORT", d)
			}
		}
	}
	return nil
}

// sender is the Sender that the flags describe.
func (o *options) sender(stderr io.Writer) (*delivery.Sender, error) {
	level, err := o.level()
	if err != nil {
		return nil, err
	}
	resolver, err := o.resolver()
	if err != nil {
		return nil, err
	}
	s := &delivery.Sender{
		Hello:          o.hello(),
		Resolver:       resolver,
		AllowLoopback:  o.loopback,
		Port:           uint16(o.port),
		TLS:            level,
		ConnectTimeout: o.connectTimeout,
	}
	s.Self = o.self
	if s.Hello != "" {
		s.Self = append(s.Self, s.Hello)
	}
	switch {
	case o.only4:
		s.Family = mx.IPv4Only
	case o.only6:
		s.Family = mx.IPv6Only
	}
	for _, a := range o.source {
		s.Source = append(s.Source, netip.MustParseAddr(a))
	}
	if o.verbose {
		s.Trace = dialogue(stderr)
	}
	if err := s.Validate(); err != nil {
		return nil, config("%v", err)
	}
	return s, nil
}

func (o *options) level() (mx.TLSLevel, error) {
	switch o.tls {
	case "none":
		return mx.TLSNone, nil
	case "may":
		return mx.TLSMay, nil
	case "encrypt":
		return mx.TLSEncrypt, nil
	case "verify":
		return mx.TLSVerify, nil
	case "dane":
		return 0, config("-tls dane: not yet")
	default:
		return 0, usage("-tls %q is none of none, may, dane, encrypt, verify", o.tls)
	}
}

// hello is the EHLO name: as given, else the host's. A host that has no name of
// its own leaves it to the Sender, which gives the address.
func (o *options) hello() string {
	if o.helo != "" {
		return o.helo
	}
	name, err := os.Hostname()
	if err != nil || strings.HasPrefix(name, "localhost") {
		return ""
	}
	return name
}

// resolver asks the -dns servers, or the system's.
func (o *options) resolver() (mx.Resolver, error) {
	client, err := o.client()
	if err != nil {
		return nil, config("%v", err)
	}
	if o.trustAD {
		for i := range client.Servers {
			client.Servers[i].TrustAD = true
		}
	}
	return &mx.Cache{Resolver: client}, nil
}

func (o *options) client() (*mx.Client, error) {
	if len(o.dns) == 0 {
		return mx.System()
	}
	client := &mx.Client{}
	for _, d := range o.dns {
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

func (o *options) message() *queue.Message {
	m := &queue.Message{From: o.from}
	for _, r := range o.recipients {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: r})
	}
	return m
}
