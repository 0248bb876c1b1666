package mx

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Limits of resolv.conf(5), and our own: the C library no longer has one for the search
// list.
const (
	mostServers     = 3
	mostTimeout     = 30 * time.Second
	mostAttempts    = 5
	mostSearch      = 16
	mostConfigBytes = 64 << 10
)

// resolvConf is the content of a file in the form of resolv.conf(5). The table of
// options below says what each option sets.
type resolvConf struct {
	servers    []Server
	named      bool // the servers are the file's
	timeout    time.Duration
	attempts   int
	rotate     bool
	tcpOnly    bool
	trustAD    bool
	noReload   bool
	noTLD      bool
	search     []string // canonical
	searchSaid bool     // there is a list, be it empty
	ignored    []string // settings that are not followed, for people
}

// effect is what becomes of an option of resolv.conf(5).
type effect uint8

const (
	unknownOption effect = iota // reported
	followed
	needless // it has no effect on this client
	reported // not followed, and said so
)

// resolvOption is an option by its name.
type resolvOption struct {
	name   string
	effect effect
	why    string // the reason, if it is reported
	set    func(c *resolvConf, value string) bool
}

// resolvOptions has every option in the manual page of the GNU C library, including
// those of former versions.
var resolvOptions = [...]resolvOption{
	{"attempts", followed, "", func(c *resolvConf, v string) bool { return number(v, 1, mostAttempts, &c.attempts) }},
	{"debug", reported, "there is a Trace", nil},
	{"edns0", needless, "", nil},
	{"inet6", reported, "addresses of both families are asked for, each by its own type", nil},
	{"ip6-bytestring", needless, "", nil},
	{"ip6-dotint", needless, "", nil},
	{"ndots", reported, "only names without a dot are completed", nil},
	{"no-aaaa", reported, "the families in use are those of the sender", nil},
	{"no-check-names", needless, "", nil},
	{"no-ip6-dotint", needless, "", nil},
	{"no-reload", followed, "", func(c *resolvConf, _ string) bool { c.noReload = true; return true }},
	{"no-tld-query", followed, "", func(c *resolvConf, _ string) bool { c.noTLD = true; return true }},
	{"rotate", followed, "", func(c *resolvConf, _ string) bool { c.rotate = true; return true }},
	{"single-request", reported, "each question has a socket of its own, which is what single-request-reopen gives", nil},
	{"single-request-reopen", needless, "", nil},
	{"timeout", followed, "", func(c *resolvConf, v string) bool {
		seconds := 0
		if !number(v, 1, int(mostTimeout/time.Second), &seconds) {
			return false
		}
		c.timeout = time.Duration(seconds) * time.Second
		return true
	}},
	{"trust-ad", followed, "", func(c *resolvConf, _ string) bool { c.trustAD = true; return true }},
	{"use-vc", followed, "", func(c *resolvConf, _ string) bool { c.tcpOnly = true; return true }},
}

// number sets n to a decimal number, limited to its bounds. It returns false if text is
// not a number.
func number(text string, least, most int, n *int) bool {
	if text == "" {
		return false
	}
	if text = strings.TrimLeft(text, "0"); text == "" {
		text = "0"
	}
	if strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }) >= 0 {
		return false
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		value = most // it is too long for a number
	}
	*n = min(max(value, least), most)
	return true
}

// machine is where the rest of the configuration comes from: the environment and
// the name of the host.
type machine struct {
	getenv   func(string) string
	hostname func() (string, error)
}

// parseResolvConf parses the text of a file in the form of resolv.conf(5). Invalid
// settings are ignored and reported, as the C library ignores them. Without a server,
// the server is on this machine.
func parseResolvConf(text string, m machine) *resolvConf {
	c := &resolvConf{timeout: defaultQueryTimeout, attempts: defaultQueryAttempts}
	for line := range strings.Lines(text) {
		// Tools put comments behind settings, too, whose words must not become domains
		// or options.
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		if fields := strings.Fields(line); len(fields) > 0 {
			c.directive(fields[0], fields[1:])
		}
	}
	if list := m.getenv("LOCALDOMAIN"); strings.TrimSpace(list) != "" {
		c.setSearch(strings.Fields(list))
	}
	for _, option := range strings.Fields(m.getenv("RES_OPTIONS")) {
		c.option(option)
	}
	if !c.searchSaid {
		// resolv.conf(5): the part of the host's name after the first dot.
		if name, err := m.hostname(); err == nil {
			if _, domain, ok := strings.Cut(strings.TrimSuffix(name, "."), "."); ok && domain != "" {
				c.setSearch([]string{domain})
			}
		}
	}
	if c.named = len(c.servers) > 0; !c.named {
		c.servers = []Server{{Addr: "127.0.0.1:53"}, {Addr: "[::1]:53"}}
	}
	for i := range c.servers {
		c.servers[i].TrustAD = c.trustAD
	}
	return c
}

// directive takes one line.
func (c *resolvConf) directive(keyword string, values []string) {
	switch keyword {
	case "nameserver":
		c.server(strings.Join(values[:min(len(values), 1)], ""))
	case "domain":
		c.setSearch(values[:min(len(values), 1)])
	case "search":
		c.setSearch(values)
	case "options":
		for _, option := range values {
			c.option(option)
		}
	case "sortlist":
		c.ignore("sortlist: addresses keep the order of the response")
	default:
		c.ignore("%s: unknown keyword", cut(keyword))
	}
}

// server takes the address of a server: an IP address, with a scope if it is
// link-local, or as OpenBSD has it "[address]:port".
func (c *resolvConf) server(text string) {
	addr, err := netip.ParseAddr(text)
	port := "53"
	if err != nil {
		host, p, splitErr := net.SplitHostPort(text)
		n, numErr := strconv.ParseUint(p, 10, 16)
		if splitErr == nil && numErr == nil && n > 0 && strings.HasPrefix(text, "[") {
			addr, err = netip.ParseAddr(host)
			port = p
		}
	}
	switch {
	case err != nil:
		c.ignore("nameserver %s: not an IP address", cut(text))
	case len(c.servers) == mostServers:
		c.ignore("nameserver %s: only the first %d are asked", cut(text), mostServers)
	default:
		c.servers = append(c.servers, Server{Addr: net.JoinHostPort(addr.String(), port)})
	}
}

// setSearch makes a search list in place of the one before: the last instance of
// domain and search wins.
func (c *resolvConf) setSearch(domains []string) {
	c.search, c.searchSaid = nil, true
	for _, d := range domains {
		name, err := address.ParseHost(d)
		switch {
		case d == ".":
		case err != nil:
			c.ignore("search %s: not a domain", cut(d))
		case len(c.search) == mostSearch:
			c.ignore("search %s: only the first %d are used", cut(d), mostSearch)
		case !slices.Contains(c.search, name):
			c.search = append(c.search, name)
		}
	}
}

// option takes one option, "name" or "name:value".
func (c *resolvConf) option(text string) {
	name, value, _ := strings.Cut(text, ":")
	for _, o := range resolvOptions {
		if o.name != name {
			continue
		}
		switch {
		case o.effect == followed && !o.set(c, value):
			c.ignore("options %s: not a number", cut(text))
		case o.effect == reported && !(name == "ndots" && value == "1"):
			c.ignore("options %s: %s", cut(text), o.why)
		}
		return
	}
	c.ignore("options %s: unknown", cut(text))
}

// ignore records a setting that is not followed.
func (c *resolvConf) ignore(format string, args ...any) {
	const most = 32
	if len(c.ignored) < most {
		c.ignored = append(c.ignored, fmt.Sprintf(format, args...))
	}
}

// cut is a word of a file for people to read.
func cut(word string) string {
	const most = 64
	return cmp.Or(printable(word[:min(len(word), most)]), `""`)
}
