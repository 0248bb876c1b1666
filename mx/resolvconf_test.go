package mx

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// alone is a machine without an environment, called host.
func alone() machine {
	return machine{func(string) string { return "" }, func() (string, error) { return "host", nil }}
}

// said is what resolv.conf says where it says nothing else.
func said(change func(c *resolvConf)) *resolvConf {
	c := &resolvConf{
		servers: []Server{{Addr: "192.0.2.1:53"}}, named: true, timeout: 5 * time.Second, attempts: 2,
	}
	change(c)
	return c
}

func TestParseResolvConf(t *testing.T) {
	servers := func(addrs ...string) []Server {
		var list []Server
		for _, a := range addrs {
			list = append(list, Server{Addr: a})
		}
		return list
	}
	tests := []struct {
		name, text string
		env        map[string]string
		hostname   string
		want       func(c *resolvConf)
	}{
		{name: "servers, comments, blanks", text: "# made by hand\n; or not\n\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # mine\n", want: func(c *resolvConf) {
			c.servers = servers("192.0.2.53:53", "[2001:db8::53]:53")
		}},
		{name: "no server is this machine", text: "", want: func(c *resolvConf) {
			c.servers, c.named = servers("127.0.0.1:53", "[::1]:53"), false
		}},
		{name: "comments after a setting", text: "nameserver 192.0.2.1#dns.example\nnameserver 192.0.2.2;rotate\nsearch a.test # set by tools, see example.test\noptions timeout:3 ; not rotate, nor trust-ad : both are bad\noptions timeout:3 # no trust-ad\n", want: func(c *resolvConf) {
			c.servers = servers("192.0.2.1:53", "192.0.2.2:53")
			c.search, c.searchSaid, c.timeout = []string{"a.test"}, true, 3*time.Second
		}},
		{name: "comments that leave nothing", text: "nameserver 192.0.2.1\nnameserver # none\nsearch # none\noptions;rotate\n", hostname: "box.corp.test", want: func(c *resolvConf) {
			c.searchSaid, c.ignored = true, []string{`nameserver "": not an IP address`}
		}},
		{name: "a scope and a port", text: "nameserver fe80::1%eth0\nnameserver [192.0.2.1]:5353\nnameserver [fe80::2%3]:54\n", want: func(c *resolvConf) {
			c.servers = servers("[fe80::1%eth0]:53", "192.0.2.1:5353", "[fe80::2%3]:54")
		}},
		{name: "the fourth server", text: "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", want: func(c *resolvConf) {
			c.servers = servers("192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53")
			c.ignored = []string{"nameserver 192.0.2.4: only the first 3 are asked"}
		}},
		{name: "servers that are none", text: "nameserver\nnameserver dns.example\nnameserver 192.0.2.1:53\nnameserver [192.0.2.1]:0\nnameserver 192.0.2.1\n", want: func(c *resolvConf) {
			c.ignored = []string{
				`nameserver "": not an IP address`, "nameserver dns.example: not an IP address",
				"nameserver 192.0.2.1:53: not an IP address", "nameserver [192.0.2.1]:0: not an IP address",
			}
		}},
		{name: "the last of domain and search", text: "nameserver 192.0.2.1\ndomain one.test\nsearch two.test Three.Test. . two.test\n", want: func(c *resolvConf) {
			c.search, c.searchSaid = []string{"two.test", "three.test"}, true
		}},
		{name: "domain takes one", text: "nameserver 192.0.2.1\nsearch a.test\ndomain one.test two.test\n", want: func(c *resolvConf) {
			c.search, c.searchSaid = []string{"one.test"}, true
		}},
		{name: "the domain of the host's name", text: "nameserver 192.0.2.1\n", hostname: "box.corp.test", want: func(c *resolvConf) {
			c.search, c.searchSaid = []string{"corp.test"}, true
		}},
		{name: "an empty search list is one", text: "nameserver 192.0.2.1\nsearch .\n", hostname: "box.corp.test", want: func(c *resolvConf) {
			c.searchSaid = true
		}},
		{name: "LOCALDOMAIN comes before the file", text: "nameserver 192.0.2.1\nsearch a.test\n", env: map[string]string{"LOCALDOMAIN": "b.test c.test"}, want: func(c *resolvConf) {
			c.search, c.searchSaid = []string{"b.test", "c.test"}, true
		}},
		{name: "RES_OPTIONS comes after the file", text: "nameserver 192.0.2.1\noptions timeout:7 attempts:4\n", env: map[string]string{"RES_OPTIONS": "timeout:2 use-vc"}, want: func(c *resolvConf) {
			c.timeout, c.attempts, c.tcpOnly = 2*time.Second, 4, true
		}},
		{name: "all that is followed", text: "nameserver 192.0.2.1\noptions rotate trust-ad use-vc no-reload no-tld-query\noptions timeout:3 attempts:1\n", want: func(c *resolvConf) {
			c.servers[0].TrustAD = true
			c.rotate, c.trustAD, c.tcpOnly, c.noReload, c.noTLD = true, true, true, true, true
			c.timeout, c.attempts = 3*time.Second, 1
		}},
		{name: "bounds", text: "nameserver 192.0.2.1\noptions timeout:9999999999999999999999 attempts:999\n", want: func(c *resolvConf) {
			c.timeout, c.attempts = 30*time.Second, 5
		}},
		{name: "nought counts as one", text: "nameserver 192.0.2.1\noptions timeout:0 attempts:000\n", want: func(c *resolvConf) {
			c.timeout, c.attempts = time.Second, 1
		}},
		{name: "options that are so already", text: "nameserver 192.0.2.1\noptions edns0 ip6-bytestring ip6-dotint no-ip6-dotint no-check-names single-request-reopen ndots:1\n", want: func(*resolvConf) {}},
		{name: "what is not followed is reported", text: "nameserver 192.0.2.1\nsortlist 192.0.2.0\noptions ndots:5 single-request no-aaaa inet6 debug\n", want: func(c *resolvConf) {
			c.ignored = []string{
				"sortlist: addresses keep the order of the response",
				"options ndots:5: only names without a dot are completed",
				"options single-request: each question has a socket of its own, which is what single-request-reopen gives",
				"options no-aaaa: the families in use are those of the sender",
				"options inet6: addresses of both families are asked for, each by its own type",
				"options debug: there is a Trace",
			}
		}},
		{name: "what nobody knows is reported", text: "nameserver 192.0.2.1\nlookup file bind\noptions future timeout:soon attempts:-1 timeout: attempts\nsearch a..b\n", want: func(c *resolvConf) {
			c.searchSaid = true
			c.ignored = []string{
				"lookup: unknown keyword", "options future: unknown", "options timeout:soon: not a number", "options attempts:-1: not a number",
				"options timeout:: not a number", "options attempts: not a number",
				"search a..b: not a domain",
			}
		}},
		{name: "text that is none", text: "nameserver 192.0.2.1\noptions \x1b[31m\n", want: func(c *resolvConf) {
			c.ignored = []string{`options "\x1b[31m": unknown`}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := alone()
			m.getenv = func(name string) string { return test.env[name] }
			if test.hostname != "" {
				m.hostname = func() (string, error) { return test.hostname, nil }
			}
			if got, want := parseResolvConf(test.text, m), said(test.want); !reflect.DeepEqual(got, want) {
				t.Errorf("it says\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// TestResolvOptions: each option of the manual page is followed, needless or
// reported, and none is forgotten.
func TestResolvOptions(t *testing.T) {
	manual := strings.Fields(`debug ndots timeout attempts rotate no-aaaa no-check-names inet6 ip6-bytestring ip6-dotint
		no-ip6-dotint edns0 single-request single-request-reopen no-tld-query use-vc no-reload trust-ad`)
	base := parseResolvConf("nameserver 192.0.2.1", alone())
	for _, name := range manual {
		text := name
		if slices.Contains([]string{"ndots", "timeout", "attempts"}, name) {
			text += ":3"
		}
		c := parseResolvConf("nameserver 192.0.2.1\noptions "+text, alone())
		at := slices.IndexFunc(resolvOptions[:], func(o resolvOption) bool { return o.name == name })
		if at < 0 {
			t.Errorf("options %s: not in the table", text)
			continue
		}
		changes, reports := !reflect.DeepEqual(c, base), len(c.ignored) > 0
		switch effect := resolvOptions[at].effect; {
		case effect == followed && (!changes || reports), effect == reported && !reports, effect == needless && changes:
			t.Errorf("options %s: changes something: %v, reported: %v, and the effect is %d", text, changes, reports, effect)
		}
	}
	if len(manual) != len(resolvOptions) {
		t.Errorf("the table has %d options, the manual page %d", len(resolvOptions), len(manual))
	}
}

func TestParseResolvConfWithoutAHostName(t *testing.T) {
	m := alone()
	m.hostname = func() (string, error) { return "", errors.New("no name") }
	if c := parseResolvConf("", m); c.searchSaid || len(c.ignored) > 0 {
		t.Errorf("it says %+v", c)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.53\noptions trust-ad timeout:1 attempts:2\n")
	f.Add("nameserver\noptions\nsearch\ndomain\n\x00")
	f.Add("options timeout:soon")
	f.Add("nameserver [::1]:53\nsearch a b c\nsortlist 1\noptions ndots:9 :")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseResolvConf(text, alone())
		if n := len(c.servers); n < 1 || n > mostServers {
			t.Errorf("%d servers", n)
		}
		if c.timeout <= 0 || c.timeout > mostTimeout || c.attempts <= 0 || c.attempts > mostAttempts {
			t.Errorf("timeout %v, attempts %d", c.timeout, c.attempts)
		}
		if len(c.search) > mostSearch || len(c.ignored) > 32 {
			t.Errorf("%d domains, %d notes", len(c.search), len(c.ignored))
		}
		if err := (&Client{Servers: c.servers}).Validate(); err != nil {
			t.Error(err)
		}
	})
}
