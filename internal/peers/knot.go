//go:build linux

package peers

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Zone is a zone of [Knot].
type Zone struct {
	Name string // "." is the root
	Text string // its records, without SOA and NS records
	Sign string // lines of a signing policy of Knot's, such as "algorithm: ed25519"; empty: not signed
	More string // more lines about the zone in Knot's configuration
	NS   string // the name of its server; default: "ns.invalid."

	Whole string // all of its text, in the place of what is made of the fields above
}

// TTL is that of records in zones of [Knot] that do not say theirs.
const TTL = 60

// KnotSigns is how a zone is signed by default.
const KnotSigns = "algorithm: ecdsap256sha256\nsingle-type-signing: on"

// Knot is Knot DNS on port 53 of ip. It is authoritative for the zones, and signs them by
// itself.
func Knot(ip string, zones ...Zone) *Server {
	var conf strings.Builder
	conf.WriteString("server:\n  listen: " + ip + "@53\n  rundir: /run/knot\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 16\n" +
		"database:\n  storage: /var/lib/knot\n  journal-db-max-size: 10M\n  kasp-db-max-size: 10M\n  timer-db-max-size: 1M\n  catalog-db-max-size: 5M\n" +
		"log:\n  - target: stderr\n    any: info\n" +
		"remote:\n  - id: itself\n    address: " + ip + "@53\n" +
		"acl:\n  - id: itself\n    address: 127.0.0.0/8\n    action: update\n" +
		"submission:\n  - id: itself\n    parent: itself\n    check-interval: 1s\n")
	files := map[string]string{}
	for i, z := range zones {
		if z.Sign != "" {
			fmt.Fprintf(&conf, "policy:\n  - id: p%d\n    %s\n", i, strings.ReplaceAll(z.Sign, "\n", "\n    "))
		}
	}
	for i, z := range zones {
		file := fmt.Sprintf("/etc/knot/zone.%d", i)
		fmt.Fprintf(&conf, "zone:\n  - domain: %q\n    file: %s\n    zonefile-sync: -1\n    zonefile-load: difference-no-serial\n    journal-content: all\n", z.Name, file)
		if z.Sign != "" {
			fmt.Fprintf(&conf, "    dnssec-signing: on\n    dnssec-policy: p%d\n", i)
		}
		for line := range strings.Lines(z.More) {
			conf.WriteString("    " + line)
		}
		conf.WriteByte('\n')
		ns := z.NS
		if ns == "" {
			ns = "ns.invalid."
		}
		if files[file] = z.Whole; z.Whole != "" {
			continue
		}
		files[file] = fmt.Sprintf("$ORIGIN %s\n$TTL %d\n@ SOA %s root.invalid. 1 3600 600 86400 %[2]d\n@ NS %[3]s\n%[4]s\n", dns.Fqdn(z.Name), TTL, ns, z.Text)
	}
	files["/etc/knot/knot.conf"] = conf.String()
	return &Server{
		Package: "knot",
		Dirs:    map[string]Dir{"/var/lib/knot": {}, "/run/knot": {}},
		Files:   files,
		Command: []string{"/usr/sbin/knotd", "-c", "/etc/knot/knot.conf"},
		Listen:  ip + ":53",
	}
}

// Control has a running Knot do what knotc can have it do.
func Control(t testing.TB, s *Server, args ...string) string {
	t.Helper()
	out, err := s.Run(context.WithoutCancel(t.Context()), nil, append([]string{"/usr/sbin/knotc", "-c", "/etc/knot/knot.conf"}, args...)...)
	if err != nil {
		t.Fatalf("peers: knotc %v: %v\n%s\n%s", args, err, out, s.Log())
	}
	return out
}

// Anchor waits until the server at ip has signed a zone, and returns the key that
// vouches for it, as zone text.
func Anchor(t testing.TB, ip, zone string) string {
	t.Helper()
	var key string
	Eventually(t, "the key of "+zone, func() bool {
		m := new(dns.Msg).SetQuestion(dns.Fqdn(zone), dns.TypeDNSKEY)
		m.SetEdns0(4096, true)
		r, _, err := new(dns.Client).Exchange(m, ip+":53")
		if err != nil {
			return false
		}
		signed := false
		for _, rr := range r.Answer {
			switch rr := rr.(type) {
			case *dns.DNSKEY:
				if rr.Flags&dns.SEP != 0 {
					key = strings.ReplaceAll(rr.String(), "\t", " ")
				}
			case *dns.RRSIG:
				signed = true
			}
		}
		return key != "" && signed
	})
	return key
}
