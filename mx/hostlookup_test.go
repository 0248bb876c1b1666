package mx_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// files is a HostLookup of files with the texts given.
func files(t testing.TB, hosts, resolv string) *mx.HostLookup {
	t.Helper()
	dir := t.TempDir()
	l := &mx.HostLookup{HostsFile: filepath.Join(dir, "hosts"), ResolvConf: filepath.Join(dir, "resolv.conf")}
	for path, text := range map[string]string{l.HostsFile: hosts, l.ResolvConf: resolv} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// describeAddresses is what Addresses says, on a line.
func describeAddresses(host mx.Host, err error) string {
	if e, ok := errors.AsType[*mx.Error](err); ok {
		return e.Enhanced + " " + e.Error()
	}
	if err != nil {
		return "an error of another type: " + err.Error()
	}
	return describeHost(host)
}

func TestHostLookup(t *testing.T) {
	const hosts = `
127.0.0.1	localhost
127.0.1.1	box.corp.test box
# 192.0.2.66 commented
10.0.0.5	mailrelay MailRelay.Corp.Test # ours
10.0.0.6	both.test
fd00::6	both.test
fe80::7%eth0	scoped
0.0.0.0		blocked.test
none		of this
10.0.0.8	bücher`
	const resolv = "nameserver 192.0.2.1\nsearch cluster.test corp.test\noptions ndots:5\n"
	const zone = `
		mailhog.cluster.test A 192.0.2.20
		mailhog.corp.test    A 192.0.2.21
		smtp.corp.test       A 192.0.2.22
		bare                 A 192.0.2.23
		relay.test           A 192.0.2.24
		alias.corp.test      CNAME relay.test
		both.test            AAAA 2001:db8::1
		relay.test.corp.test A 192.0.2.66
		flaky.cluster.test   A SERVFAIL
		flaky.corp.test      A 192.0.2.66
		mailrelay.cluster.test A 192.0.2.66
		six.test             AAAA 2001:db8::6
		scoped               A 192.0.2.66`
	dns := func(t *testing.T) *mxtest.DNS { return readZone(t, zone, mxtest.None) }
	tests := []struct {
		name, host string
		router     mx.Router
		resolv     string
		want       string
		asked      []string
	}{
		{name: "in the hosts file alone", host: "mailrelay", want: "0 mailrelay 10.0.0.5", asked: []string{}},
		{name: "in the hosts file, in any spelling", host: "MAILRELAY.corp.test.", want: "0 mailrelay.corp.test 10.0.0.5", asked: []string{}},
		{name: "several lines of one name", host: "both.test", want: "0 both.test fd00::6 10.0.0.6", asked: []string{}},
		{name: "the family that the hosts file does not have", host: "box", router: mx.Router{Family: mx.IPv6Only},
			want:  "4.3.5 box: cannot be routed as configured: no address found for the host: not in HOSTS, no address of box.cluster.test in DNS, no address of box.corp.test in DNS, no address of box in DNS",
			asked: []string{"AAAA box.cluster.test", "AAAA box.corp.test", "AAAA box"}},
		{name: "a scope", host: "scoped", want: "0 scoped fe80::7%eth0", asked: []string{}},
		{name: "an address of no use in the hosts file is final", host: "blocked.test",
			want: "4.3.5 blocked.test: cannot be routed as configured: no address found for the host: unusable in HOSTS", asked: []string{}},
		{name: "commented out", host: "commented", want: "4.3.5 commented: cannot be routed as configured: no address found for the host: not in HOSTS, no address of commented.cluster.test in DNS, no address of commented.corp.test in DNS, no address of commented in DNS"},
		{name: "MX-1 without a dot, the first domain of the list", host: "mailhog", want: "0 mailhog=mailhog.cluster.test 192.0.2.20", asked: []string{"A mailhog.cluster.test", "AAAA mailhog.cluster.test"}},
		{name: "without a dot, the second", host: "smtp", want: "0 smtp=smtp.corp.test 192.0.2.22"},
		{name: "without a dot, as it is", host: "bare", want: "0 bare 192.0.2.23"},
		{name: "without a dot, an alias", host: "alias", want: "0 alias=relay.test 192.0.2.24"},
		{name: "a completed name without an answer for now", host: "flaky", want: "4.4.3 flaky: no answer from DNS for now (flaky.cluster.test): A of flaky.cluster.test: server failure"},
		{name: "a dot at the end", host: "mailhog.", want: "4.3.5 mailhog: cannot be routed as configured: no address found for the host: not in HOSTS, no address of mailhog in DNS", asked: []string{"A mailhog", "AAAA mailhog"}},
		{name: "with a dot it is complete", host: "relay.test", want: "0 relay.test 192.0.2.24", asked: []string{"A relay.test", "AAAA relay.test"}},
		{name: "with a dot it is never completed", host: "smtp.corp",
			want:  "4.3.5 smtp.corp: cannot be routed as configured: no address found for the host: not in HOSTS, a name with a dot is not completed, no address of smtp.corp in DNS",
			asked: []string{"A smtp.corp", "AAAA smtp.corp"}},
		{name: "no-tld-query", host: "bare", resolv: resolv + "options no-tld-query\n",
			want: "4.3.5 bare: cannot be routed as configured: no address found for the host: not in HOSTS, no address of bare.cluster.test in DNS, no address of bare.corp.test in DNS"},
		{name: "no-tld-query without a list", host: "bare", resolv: "search .\noptions no-tld-query\n", want: "0 bare 192.0.2.23"},
		{name: "an empty list", host: "mailhog", resolv: "search .\n",
			want: "4.3.5 mailhog: cannot be routed as configured: no address found for the host: not in HOSTS, no address of mailhog in DNS"},
		{name: "limit", host: "both.test", router: mx.Router{MaxAddrsPerHost: 2, Order: mx.PreferIPv4}, want: "0 both.test 10.0.0.6 fd00::6"},
		{name: "localhost needs nobody", host: "localhost", want: "0 localhost ::1 127.0.0.1", asked: []string{}},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			text := resolv
			if test.resolv != "" {
				text = test.resolv
			}
			l, d := files(t, hosts, text), dns(t)
			test.router.Resolver, test.router.HostLookup = d, l
			host, err := test.router.Addresses(t.Context(), test.host)
			got := strings.ReplaceAll(describeAddresses(host, err), l.HostsFile, "HOSTS")
			if got != test.want {
				t.Errorf("host is\n\t%s\nwant\n\t%s", got, test.want)
			}
			if asked := questions(d); test.asked != nil && !sameSet(asked, test.asked) {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
			if e, ok := errors.AsType[*mx.Error](err); ok && !e.Temporary() {
				t.Errorf("%v is final", e)
			}
		})
	}
}

// TestHostLookupIsForOperators: what recipients and DNS name is neither completed nor
// looked for in the hosts file.
func TestHostLookupIsForOperators(t *testing.T) {
	router := func(t *testing.T) (*mx.Router, *mxtest.DNS) {
		dns := readZone(t, `
			host.corp.test MX 1 host.corp.test
			host.corp.test A  192.0.2.1
			e.test         MX 10 mail.e.test
			mail.e.test    A  192.0.2.2
			srv.e.test     A  192.0.2.3`, mxtest.None)
		l := files(t, "192.0.2.66 host e.test mail.e.test srv.e.test\n", "search corp.test\n")
		return &mx.Router{Resolver: dns, HostLookup: l}, dns
	}
	t.Run("MX-1 a recipient's domain is not completed", func(t *testing.T) {
		r, dns := router(t)
		route, err := r.Route(t.Context(), "host")
		if got := describe(route, err); got != "550 5.1.2 no such domain" {
			t.Errorf("route is %s", got)
		}
		if asked := questions(dns); len(asked) != 1 || asked[0] != "MX host" {
			t.Errorf("asked %q", asked)
		}
	})
	t.Run("MX-1 nor are its hosts looked for in the hosts file", func(t *testing.T) {
		r, _ := router(t)
		route, err := r.Route(t.Context(), "e.test")
		if got := describe(route, err); got != "mx: 10 mail.e.test 192.0.2.2" {
			t.Errorf("route is %s", got)
		}
	})
	t.Run("a host that DNS has named", func(t *testing.T) {
		r, _ := router(t)
		if got := describeAddresses(r.DNSAddresses(t.Context(), "srv.e.test")); got != "0 srv.e.test 192.0.2.3" {
			t.Errorf("host is %s", got)
		}
	})
	t.Run("DNSOnly", func(t *testing.T) {
		r, _ := router(t)
		r.HostLookup = &mx.HostLookup{DNSOnly: true}
		if got := describeAddresses(r.Addresses(t.Context(), "srv.e.test")); got != "0 srv.e.test 192.0.2.3" {
			t.Errorf("host is %s", got)
		}
	})
	t.Run("MX-36 a completed name is not secure", func(t *testing.T) {
		r, dns := router(t)
		dns.SetSigned("corp.test", true)
		r.HostLookup = files(t, "", "search corp.test\n")
		host, err := r.Addresses(t.Context(), "host")
		if err != nil || host.Secure != mx.Insecure || host.NameSecure != mx.Insecure || host.Target != "host.corp.test" {
			t.Errorf("host is %+v, %v", host, err)
		}
	})
}

func TestHostsFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := files(t, "192.0.2.1 relay.test\nnone relay.test\n", "")
		var told []string
		l.Trace = &mx.Trace{Read: func(file string, ignored []string, err error) {
			if file == l.HostsFile {
				told = append(told, strings.Join(ignored, ";"))
				if err != nil {
					told[len(told)-1] = "of no use"
				}
			}
		}}
		r := &mx.Router{Resolver: &mxtest.DNS{}, HostLookup: l}
		want := func(want string) {
			t.Helper()
			if got := describeAddresses(r.Addresses(t.Context(), "relay.test")); got != want {
				t.Errorf("host is %s, want %s", got, want)
			}
		}
		c := &conf{t, l.HostsFile}
		want("0 relay.test 192.0.2.1")
		c.write("192.0.2.2 relay.test\n")
		time.Sleep(3 * time.Second)
		want("0 relay.test 192.0.2.2")
		c.replace("192.0.2.4 relay.test\n")
		l.Reread()
		want("0 relay.test 192.0.2.4")
		c.replace("192.0.2.3 relay.test\n")
		time.Sleep(3 * time.Second)
		want("0 relay.test 192.0.2.3")
		if err := os.Remove(l.HostsFile); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(3 * time.Second)
			want("0 relay.test 192.0.2.3") // the old one stays in force
		}
		if got := strings.Join(told, ", "); got != "line 2: none is not an IP address, , , , of no use" {
			t.Errorf("told %q", got)
		}
	})
}

func TestHostLookupWithoutFiles(t *testing.T) {
	dir := t.TempDir()
	l := &mx.HostLookup{HostsFile: filepath.Join(dir, "hosts"), ResolvConf: filepath.Join(dir, "resolv.conf")}
	dns := readZone(t, "bare A 192.0.2.1\n relay.test A 192.0.2.2", mxtest.None)
	r := &mx.Router{Resolver: dns, HostLookup: l}
	for host, want := range map[string]string{"bare": "0 bare 192.0.2.1", "relay.test": "0 relay.test 192.0.2.2"} {
		if got := describeAddresses(r.Addresses(t.Context(), host)); got != want {
			t.Errorf("host is %s, want %s", got, want)
		}
	}
	got := describeAddresses(r.Addresses(t.Context(), "gone.test"))
	if !strings.Contains(got, "no file "+l.HostsFile) {
		t.Errorf("error is %s, want it to say that there is no hosts file", got)
	}
	_, err := r.Addresses(t.Context(), "gone.test")
	if missing, ok := errors.AsType[*mx.HostNotFound](err); !ok || missing.Host != "gone.test" || len(missing.Looked) != 2 {
		t.Errorf("error is %v, want a *mx.HostNotFound", err)
	}
}

func TestLocalDomain(t *testing.T) {
	t.Setenv("LOCALDOMAIN", "env.test")
	l := files(t, "", "search corp.test\n")
	r := &mx.Router{Resolver: readZone(t, "box.env.test A 192.0.2.1\n box.corp.test A 192.0.2.66", mxtest.None), HostLookup: l}
	if got := describeAddresses(r.Addresses(t.Context(), "box")); got != "0 box=box.env.test 192.0.2.1" {
		t.Errorf("host is %s", got)
	}
}
