package clienttest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// Scenarios lists all scenarios, new ones at every call.
func Scenarios() []*Scenario {
	return slices.Concat(routeScenarios(), hostScenarios(), greetingScenarios(), replyScenarios(),
		recipientScenarios(), endScenarios(), contentScenarios(), extensionScenarios())
}

// zoned replaces the zone and the hosts.
func zoned(zone string, hosts map[string]*smtptest.Host) func(*Scenario) {
	return func(s *Scenario) {
		s.internet.Zone, s.internet.Hosts, s.shuns = zone, hosts, nil
	}
}

// asks is how often DNS must have been asked for something.
func asks(name string, t mx.Type, times int) func(*Scenario) {
	return judged(func(s *Scenario) string {
		if n := s.internet.DNS().Count(name, t); n != times {
			return fmt.Sprintf("%d queries of type %v for %q, want %d", n, t, name, times)
		}
		return ""
	})
}

// questions is how often DNS must have been asked in all.
func questions(n int) func(*Scenario) {
	return judged(func(s *Scenario) string {
		if got := len(s.internet.DNS().Queries()); got != n {
			return fmt.Sprintf("%d questions to DNS, want %d", got, n)
		}
		return ""
	})
}

// routeScenarios are about DNS: who is a mail host of a domain.
func routeScenarios() []*Scenario {
	const rfc5321 = "RFC 5321 section 5.1"
	return []*Scenario{
		at("the host of the best preference is tried first", rfc5321, offers(), offers(), visits(mx1)),
		at("a domain without MX records is its own mail host", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ A 192.0.2.1", map[string]*smtptest.Host{"example.com": {}})),
		at("SERVFAIL for MX records is temporary and the domain's address not used", rfc5321, offers(), offers(),
			faults(mxtest.Rule{Name: "example.com", Type: mx.TypeMX, Fault: mxtest.ServFail}), wants(queue.Deferred), visits()),
		at("no answer for MX records is temporary and the domain's address not used", rfc5321, offers(), offers(),
			faults(mxtest.Rule{Name: "example.com", Type: mx.TypeMX, Fault: mxtest.Timeout}), wants(queue.Deferred), visits()),
		at("a domain that does not exist is final", rfc5321, offers(), offers(),
			faults(mxtest.Rule{Name: "example.com", Fault: mxtest.NXDomain}), wants(queue.Failed), visits(), asks("example.com", mx.TypeA, 0)),
		at("null MX is final and nobody is dialled", "RFC 7505 section 3", nil, nil,
			zoned("$ORIGIN example.com.\n@ MX 0 .\n@ A 192.0.2.1", map[string]*smtptest.Host{"example.com": {}}),
			wants(queue.Failed), visits(), questions(1)),
		at("null MX beside other records is passed over", "RFC 7505 section 3", offers(), offers(), func(s *Scenario) {
			s.internet.Zone = strings.Replace(twoHosts, "@    MX   10 mx1", "@    MX   0 .\n\t\t@    MX   10 mx1", 1)
		}, visits(mx1)),
		at("where all MX hosts fail the domain's address is not used", rfc5321, offers(), offers(), func(s *Scenario) {
			s.internet.Links = map[string]smtptest.Link{mx1: {Fault: smtptest.ConnRefused}, mx2: {Fault: smtptest.Unreachable}}
		}, wants(queue.Deferred), visits(mx1, mx2)),
		at("an MX host without an address is passed over", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ MX 10 gone\n@ MX 20 mx2\nmx2 A 192.0.2.2", map[string]*smtptest.Host{mx2: {}}), visits(mx2)),
		at("MX hosts none of which has an address are final", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ MX 10 gone\n@ MX 20 lost\n@ A 192.0.2.9", nil), wants(queue.Failed), visits()),
		at("an address that cannot be looked up for now is temporary", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ MX 10 gone\n@ MX 20 mx2\nmx2 A 192.0.2.2", nil),
			faults(mxtest.Rule{Name: mx2, Fault: mxtest.ServFail}), wants(queue.Deferred), visits()),
		at("a failing AAAA query does not hide the A record", "RFC 3974 section 5", offers(), offers(),
			faults(mxtest.Rule{Name: mx1, Type: mx.TypeAAAA, Fault: mxtest.ServFail}), visits(mx1)),
		at("an alias of the domain changes the route and not the recipient", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ CNAME real.example.net.\n$ORIGIN example.net.\nreal MX 10 mx\nmx A 192.0.2.1", map[string]*smtptest.Host{"mx.example.net": {}})),
		at("an address literal is dialled without a question to DNS", "RFC 5321 section 4.1.3", offers(), offers(),
			to("bob@[192.0.2.2]"), visits(mx2), questions(0)),
		at("an MX host at a loopback address is not dialled", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ MX 10 mx1\n@ MX 20 here\nhere A 127.0.0.1\nmx1 A 192.0.2.1", map[string]*smtptest.Host{"here.example.com": {}, mx1: {}}),
			func(s *Scenario) { s.internet.Links = map[string]smtptest.Link{mx1: {Fault: smtptest.ConnRefused}} }, wants(queue.Deferred), visits(mx1)),
	}
}

const threeLevels = `
	$ORIGIN example.com.
	@    MX   10 mx1
	@    MX   20 mx2
	@    MX   20 mx3
	@    MX   30 mx4
	mx1  A    192.0.2.1
	mx2  A    192.0.2.2
	mx3  A    192.0.2.3
	mx4  A    192.0.2.4
`

// hostScenarios are about the order of hosts, and about oneself among them.
func hostScenarios() []*Scenario {
	const rfc5321 = "RFC 5321 section 5.1"
	mx3, mx4 := "mx3.example.com", "mx4.example.com"
	four := func() map[string]*smtptest.Host {
		return map[string]*smtptest.Host{mx1: {}, mx2: {}, mx3: {}, mx4: {}}
	}
	self := func(name string) func(*Scenario) { return func(s *Scenario) { s.self = []string{name} } }
	return []*Scenario{
		at("hosts of equal preference are shuffled without bias", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ MX 10 mx1\n@ MX 10 mx2\n@ MX 10 mx3\nmx1 A 192.0.2.1\nmx2 A 192.0.2.2\nmx3 A 192.0.2.3", map[string]*smtptest.Host{mx1: {}, mx2: {}, mx3: {}}),
			func(s *Scenario) { s.repeat, s.judge = 600, evenly }),
		at("every address of a host is tried before the next host", rfc5321, nil, nil,
			zoned("$ORIGIN example.com.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.11\nmx1 A 192.0.2.12\nmx1 A 192.0.2.13\nmx2 A 192.0.2.2", map[string]*smtptest.Host{mx1: {}, mx2: {}}),
			func(s *Scenario) {
				s.internet.Links = map[string]smtptest.Link{"192.0.2.11": {Fault: smtptest.ConnRefused}, "192.0.2.12": {Fault: smtptest.BlackHole}}
			}, visits(mx1, mx1, mx1)),
		at("oneself, and what is equal or worse, is left out", rfc5321, nil, nil, zoned(threeLevels, four()),
			self("MX2.example.com."), func(s *Scenario) { s.internet.Links = map[string]smtptest.Link{mx1: {Fault: smtptest.ConnRefused}} },
			wants(queue.Deferred), visits(mx1)),
		at("better hosts than oneself are used", rfc5321, nil, nil, zoned(threeLevels, four()), self(mx2), visits(mx1)),
		at("oneself as the best host is a loop and final", rfc5321, nil, nil, zoned(threeLevels, four()), self(mx1), wants(queue.Failed), visits()),
	}
}

// evenly judges that each of three hosts came first about as often: a fair
// client misses once in a million.
func evenly(s *Scenario) string {
	count := map[string]int{}
	for _, name := range s.internet.Visits() {
		count[name]++
	}
	expected := float64(s.repeat) / float64(len(s.internet.Hosts))
	sum := 0.0
	for name := range s.internet.Hosts {
		d := float64(count[name]) - expected
		sum += d * d / expected
	}
	if sum > 27.6 { // chi squared of two degrees of freedom at one in a million
		return fmt.Sprintf("hosts of equal preference came first %v times", count)
	}
	return ""
}
