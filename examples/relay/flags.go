package main

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// options are the command line.
type options struct {
	cli.Transport
	listen       string
	listenTLS    string
	logins       string
	version      bool
	unknown      []string // environment variables that are not flags
	queue        string
	relayDomains cli.List
	trust        cli.List
	retry        string
	expire, warn cli.Duration
	concurrency  int
	lease        cli.Duration
	maxSize      int64
	events       string
	http         string
	actions      actions
	checkRoutes  bool
	postmaster   string
	cert, key    string
	limits       string
	tlsReports   string
}

const (
	defaultListen = "127.0.0.1:2525"
	defaultQueue  = "./queue"
	defaultRetry  = "5m,15m,30m,1h,2h,4h"
)

const relayUsage = `relay [flags]
       relay queue -help
       ` + sitesUsage + `
       ` + tlsReportsUsage + `
       relay passwd -help
       ` + migrateUsage + `
Each flag can also be set by an environment variable, such as NEXTHOP_RELAY_DOMAIN for -relay-domain.
Values of a repeatable flag are separated by blanks. The command line takes precedence.`

// parseEnvironment parses a command line, and takes missing flags from the environment;
// for a command these are only the queue and the users. It returns variables that are
// not flags.
func parseEnvironment(fs *flag.FlagSet, args []string, stdout, stderr io.Writer, usage string) (unknown []string, err error) {
	if err := cli.Parse(fs, args, stderr, usage); err != nil {
		return nil, err
	}
	var only []string
	if v := fs.Lookup("version"); v != nil && v.Value.String() == "true" {
		fmt.Fprintln(stdout, cli.Version("relay"))
		return nil, &cli.Error{Code: cli.ExitOK}
	}
	if fs.Name() != "relay" { // a command that shares the environment of a relay
		only = []string{"queue", "logins"}
	}
	return cli.FromEnvironment(fs, "NEXTHOP_", os.Environ(), only...)
}

func parseFlags(args []string, stdout, stderr io.Writer) (*options, error) {
	o := &options{expire: cli.Duration(5 * 24 * time.Hour), warn: cli.Duration(4 * time.Hour), lease: cli.Duration(2 * time.Minute)}
	fs := flag.NewFlagSet("relay", flag.ContinueOnError)
	o.Define(fs)
	fs.StringVar(&o.listen, "listen", defaultListen, "listen for SMTP on this `ADDR`")
	fs.StringVar(&o.listenTLS, "listen-tls", "", "listen for SMTP with implicit TLS on this `ADDR`, usually with port 465 (needs -cert)")
	fs.StringVar(&o.queue, "queue", defaultQueue, "`WHERE` mail waits: memory, a directory, or a PostgreSQL database as a postgres:// URL (with ?schema=NAME if that is not nexthop) or @FILE with one in it")
	fs.Var(&o.relayDomains, "relay-domain", "accept mail from anyone for this `DOMAIN` (repeatable); .DOMAIN means its subdomains")
	fs.Var(&o.trust, "trust", "network of clients that may relay anywhere, as `CIDR` (repeatable; default: loopback)")
	fs.StringVar(&o.retry, "retry", defaultRetry, "delays between attempts, the last repeats: a `LIST` separated by commas")
	fs.Var(&o.expire, "expire", "give up after this time")
	fs.Var(&o.warn, "warn", "notify the sender of a delay after this time; 0: never")
	fs.IntVar(&o.concurrency, "concurrency", 20, "maximum of connections to one site")
	fs.Var(&o.lease, "lease", "with a database: how long mail that a relay was delivering when it died waits for another relay, at least 30s; attempts go on if the database is unreachable for less than half of this")
	fs.Int64Var(&o.maxSize, "max-size", 52428800, "largest message accepted, in `BYTES`")
	fs.StringVar(&o.events, "events", "", "append one JSON object per line to `FILE` (-: standard output; SIGHUP opens it again)")
	fs.StringVar(&o.http, "http", "", "serve /metrics, /healthz, /readyz and a dashboard on this `ADDR`")
	fs.Var(&o.actions, "actions", "let the dashboard of -http act on mail; only on a loopback address unless -actions=anywhere")
	fs.BoolVar(&o.checkRoutes, "check-routes", false, "ask DNS at RCPT, and refuse domains that do not exist or accept no mail")
	fs.StringVar(&o.postmaster, "postmaster", "", "`ADDRESS` for mail to the postmaster of this host (default: postmaster of the first -relay-domain, else of this host)")
	fs.StringVar(&o.cert, "cert", "", "certificate `FILE` (PEM); the relay then offers STARTTLS")
	fs.StringVar(&o.key, "key", "", "private key `FILE` (PEM) of -cert")
	fs.StringVar(&o.limits, "limits", "", "JSON `FILE` with limits and TLS levels by domain, MX host or site, and with groups of hosts (read again when it changes)")
	fs.StringVar(&o.logins, "logins", "", "`FILE` of users who may log in over TLS and send to any address; made by relay passwd (needs -cert; read again when it changes)")
	fs.StringVar(&o.tlsReports, "tls-reports", "", "send TLS reports (RFC 8460) from this `ADDRESS` to domains that ask for them")
	fs.BoolVar(&o.version, "version", false, "print the version")
	var err error
	if o.unknown, err = parseEnvironment(fs, args, stdout, stderr, relayUsage); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, cli.Usage("what is %q? Flags come first, and the commands are queue, sites, tls-reports, passwd and migrate", fs.Arg(0))
	}
	return o, o.check()
}

// check finds what the flag package cannot.
func (o *options) check() error {
	switch {
	case o.concurrency <= 0:
		return cli.Usage("-concurrency must be positive")
	case time.Duration(o.lease) < 30*time.Second:
		return cli.Usage("-lease must be at least 30s")
	case o.maxSize <= 0:
		return cli.Usage("-max-size must be positive")
	case o.expire <= 0:
		return cli.Usage("-expire must be positive")
	case (o.cert == "") != (o.key == ""):
		return cli.Usage("-cert and -key go together")
	case o.cert == "" && (o.logins != "" || o.listenTLS != ""):
		return cli.Usage("-logins and -listen-tls need -cert and -key: logins need TLS")
	}
	if _, err := o.delays(); err != nil {
		return err
	}
	if err := o.checkTLSReports(); err != nil {
		return err
	}
	if _, err := o.policy(); err != nil {
		return err
	}
	report := &queue.Message{
		Recipients: []queue.Recipient{{Address: o.postmasterAt("localhost")}}, Content: queue.String(""),
	}
	if err := report.Validate(); err != nil {
		return cli.Usage("-postmaster: %v", err)
	}
	return o.Check()
}

// postmasterAt is where mail for the postmaster of this host goes; host is its name.
func (o *options) postmasterAt(host string) string {
	if o.postmaster != "" {
		return o.postmaster
	}
	for _, d := range o.relayDomains {
		if !strings.HasPrefix(d, ".") {
			return "postmaster@" + d
		}
	}
	return "postmaster@" + host
}

// settings returns the settings of the agent, without those in the file of -limits.
func (o *options) settings() (delivery.Settings, error) {
	delays, err := o.delays()
	s := delivery.Settings{
		Schedule: delays, Expire: time.Duration(o.expire), Warn: time.Duration(o.warn),
		Limits: delivery.Limits{PerSite: o.concurrency},
	}
	if s.Warn == 0 {
		s.Warn = -1
	}
	return s, err
}

func (o *options) delays() (delivery.Delays, error) {
	var list delivery.Delays
	for word := range strings.SplitSeq(o.retry, ",") {
		d, err := cli.ParseDuration(strings.TrimSpace(word))
		if err != nil || d <= 0 {
			return nil, cli.Usage("-retry %q: %q is not a delay, such as 30s, 4h or 1d", o.retry, word)
		}
		list = append(list, d)
	}
	return list, nil
}

// policy is who may send to whom.
func (o *options) policy() (*policy, error) {
	p := &policy{}
	for _, d := range o.relayDomains {
		name, sub := strings.CutPrefix(d, ".")
		destination, err := queue.ParseDestination(name)
		if err != nil {
			return nil, cli.Usage("-relay-domain %q: %v", d, err)
		}
		if sub {
			p.subdomains = append(p.subdomains, "."+destination)
		} else {
			p.domains = append(p.domains, destination)
		}
	}
	if len(o.trust) == 0 {
		p.trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	for _, c := range o.trust {
		prefix, err := parsePrefix(c)
		if err != nil {
			return nil, cli.Usage("-trust %q is not a CIDR prefix, such as 192.0.2.0/24", c)
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

// parsePrefix parses a network, or an address as the network of itself.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	return netip.ParsePrefix(s)
}
