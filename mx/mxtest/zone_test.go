package mxtest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// brief is an answer in one line: status, records or final name, and TTL.
func brief(a mx.Answer, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	status := map[mx.Status]string{mx.NoData: "no data", mx.NXDomain: "no such name", mx.Aliased: "alias"}[a.Status]
	var data []string
	for _, m := range a.MX {
		data = append(data, fmt.Sprintf("%d %s.", m.Preference, m.Host))
	}
	for _, addr := range a.Addrs {
		data = append(data, addr.String())
	}
	for _, text := range a.TXT {
		data = append(data, fmt.Sprintf("%q", text))
	}
	for _, r := range a.TLSA {
		data = append(data, fmt.Sprintf("%d %d %d %x", r.Usage, r.Selector, r.MatchingType, r.Data))
	}
	for _, r := range a.SRV {
		data = append(data, fmt.Sprintf("%d %d %d %s.", r.Priority, r.Weight, r.Port, r.Target))
	}
	if len(a.Aliases) > 0 {
		data = append(data, "by "+a.Name)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s", status, strings.Join(data, ", "))) + fmt.Sprintf(" for %v", a.TTL)
}

const operatorZone = `; example.com, as it was typed
$TTL 2h
$ORIGIN example.com.
@	IN	SOA	ns1.example.com. hostmaster.example.com. (
			2026010101 ; serial
			7200       ; refresh
			3600       ; retry
			1209600    ; expire
			300 )      ; minimum
	IN	NS	ns1
	IN	MX	10 mail.example.com.
	IN	MX	20 Mail2            ; relative, in capitals
	300 IN	TXT	"v=spf1 mx -all"
mail		IN A	192.0.2.25
		IN AAAA	2001:db8::25
mail2	60	A	192.0.2.26
forgot		IN MX	10 mail.example.com
www		CNAME	mail
null		MX	0 .
*.wild		MX	5 mail
deep.down	TXT	( "one " "two;" )
_25._tcp.mail	TLSA	3 1 1 ( 0123456789abcdef
			  fedcba )
_submission._tcp SRV	0 1 587 mail
$GENERATE 1-3 host$ 60 A 198.51.100.$
old		DNAME	example.net.
$ORIGIN example.net.
$TTL 30
a		MX	1 a.mx
chain		CNAME	www.example.com.
`

func TestZoneNotation(t *testing.T) {
	tests := []struct {
		name string
		ask  string
		t    mx.Type
		want string
	}{
		{"owner, class and TTL", "example.com", mx.TypeMX, "10 mail.example.com., 20 mail2.example.com. for 2h0m0s"},
		{"TTL of one record", "example.com", mx.TypeTXT, `"v=spf1 mx -all" for 5m0s`},
		{"no owner is the owner before", "mail.example.com", mx.TypeAAAA, "2001:db8::25 for 2h0m0s"},
		{"TTL without class", "mail2.example.com", mx.TypeA, "192.0.2.26 for 1m0s"},
		{"the forgotten dot", "forgot.example.com", mx.TypeMX, "10 mail.example.com.example.com. for 2h0m0s"},
		{"alias", "www.example.com", mx.TypeA, "192.0.2.25, by mail.example.com for 2h0m0s"},
		{"null MX", "null.example.com", mx.TypeMX, "0 . for 2h0m0s"},
		{"wildcard", "any.thing.wild.example.com", mx.TypeMX, "5 mail.example.com. for 2h0m0s"},
		{"wildcard without the type", "any.wild.example.com", mx.TypeA, "no data for 5m0s"},
		{"wildcards are not for their own domain", "wild.example.com", mx.TypeMX, "no data for 5m0s"},
		{"text of several strings", "deep.down.example.com", mx.TypeTXT, `"one two;" for 2h0m0s`},
		{"name that others are below", "down.example.com", mx.TypeTXT, "no data for 5m0s"},
		{"name that does not exist", "up.example.com", mx.TypeTXT, "no such name for 5m0s"},
		{"name below one that exists", "a.mail.example.com", mx.TypeA, "no such name for 5m0s"},
		{"TLSA over two lines", "_25._tcp.mail.example.com", mx.TypeTLSA, "3 1 1 0123456789abcdeffedcba for 2h0m0s"},
		{"SRV", "_submission._tcp.example.com", mx.TypeSRV, "0 1 587 mail.example.com. for 2h0m0s"},
		{"generated", "host3.example.com", mx.TypeA, "198.51.100.3 for 1m0s"},
		{"second zone", "a.example.net", mx.TypeMX, "1 a.mx.example.net. for 30s"},
		{"alias into another zone", "chain.example.net", mx.TypeA, "192.0.2.25, by mail.example.com for 30s"},
		{"DNAME", "a.old.example.com", mx.TypeMX, "1 a.mx.example.net., by a.example.net for 30s"},
		{"DNAME says nothing about its own name", "old.example.com", mx.TypeMX, "no data for 5m0s"},
		{"no zone, no SOA", "example.org", mx.TypeMX, "no such name for 0s"},
	}
	dns := &mxtest.DNS{Zone: operatorZone}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := brief(dns.Resolve(t.Context(), test.ask, test.t)); got != test.want {
				t.Errorf("%v of %s is %q, want %q", test.t, test.ask, got, test.want)
			}
		})
	}
}

func TestZoneIndentation(t *testing.T) {
	for name, zone := range map[string]string{
		"none":             "$ORIGIN e.test.\na A 192.0.2.1\n  A 192.0.2.2",
		"tabs":             "\n\t\t$ORIGIN e.test.\n\t\ta A 192.0.2.1\n\t\t  A 192.0.2.2\n\t",
		"first line more":  "\t\t; about a\n\t$ORIGIN e.test.\n\ta A 192.0.2.1\n\t\tA 192.0.2.2",
		"tabs and blanks":  "\t $ORIGIN e.test.\n\t a A 192.0.2.1\n\t \tA 192.0.2.2",
		"carriage returns": "\t$ORIGIN e.test.\r\n\r\n\ta A 192.0.2.1\r\n\t A 192.0.2.2\r\n",
	} {
		d := &mxtest.DNS{Zone: zone}
		if got := brief(d.Resolve(t.Context(), "a.e.test", mx.TypeA)); got != "192.0.2.1, 192.0.2.2 for 5m0s" {
			t.Errorf("%s: the answer is %q", name, got)
		}
	}
}

// TestUnevenIndentation: the error of zones that were joined names the cause.
func TestUnevenIndentation(t *testing.T) {
	for zone, hint := range map[string]bool{
		"\n\ta.test. MX 10 mail.test.\n\tmail.test. A 192.0.2.1" + "\nb.test. MX 10 mail.test.": true,
		"\ta.test. A 192.0.2.1\n\tb.test. MX ten mail.test.\n":                                  false,
	} {
		err := (&mxtest.DNS{Zone: zone}).Validate()
		if err == nil || strings.Contains(err.Error(), "indented more than others") != hint {
			t.Errorf("%q: %v, want the hint: %t", zone, err, hint)
		}
	}
}

func TestZoneErrors(t *testing.T) {
	tests := []struct {
		name string
		zone string
		line int
		text string
	}{
		{"bad number", "a.test. A 192.0.2.1\nb.test. MX ten mail.test.\n", 2, "b.test. MX ten mail.test."},
		{"last line, not ended", "a.test. A 192.0.2.1\n\n\nb.test. MX 10", 4, "b.test. MX 10"},
		{"first line", "$ORIGIN ..\na.test. A 192.0.2.1", 1, "$ORIGIN .."},
		{"bad hexadecimal", "a.test. TXT ok\n_25._tcp.a.test. TLSA 3 1 1 xyz\nb.test. TXT ok", 2, "_25._tcp.a.test. TLSA 3 1 1 xyz"},
		{"bad address", "a.test. AAAA 192.0.2.1.5\nb.test. TXT ok", 1, "a.test. AAAA 192.0.2.1.5"},
		{"no type", "a.test. IN 300", 1, "a.test. IN 300"},
		{"nothing but a name", "b.test. A 192.0.2.1\n\na.test.", 3, "a.test."},
		{"type without data", "a.test. A", 1, "a.test. A"},
		{"MX without data", "a.test. MX\n\na.test. MX 0 .", 1, "a.test. MX"},
		{"without data, with a comment", "a.test. MX 0 .\na.test. TXT ; none\na.test. A 192.0.2.1", 2, "a.test. TXT ; none"},
		{"include", "$INCLUDE /etc/passwd\n", 1, "$INCLUDE /etc/passwd"},
		{"quote never closed", "a.test. TXT \"open\nb.test. A 192.0.2.1\n", 2, "b.test. A 192.0.2.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: test.zone}
			for what, err := range map[string]error{
				"Validate":      dns.Validate(),
				"Resolve":       second(dns.Resolve(t.Context(), "a.test", mx.TypeA)),
				"SetZone":       new(mxtest.DNS).SetZone(test.zone),
				"Server.Start":  (&mxtest.Server{DNS: dns}).Start(),
				"over the wire": overWire(t, test.zone),
			} {
				if what == "over the wire" && err != nil {
					continue // the text does not travel
				}
				syntax, ok := errors.AsType[*mxtest.SyntaxError](err)
				if !ok {
					t.Errorf("%s: error is %v, want a *SyntaxError", what, err)
				} else if syntax.Line != test.line || syntax.Text != test.text {
					t.Errorf("%s: line %d %q, want %d %q", what, syntax.Line, syntax.Text, test.line, test.text)
				}
			}
		})
	}
}

func second(_ mx.Answer, err error) error { return err }

// overWire asks a DNS with a bad zone through a client.
func overWire(t *testing.T, zone string) error {
	dns := &mxtest.DNS{Zone: zone}
	client := &mx.Client{Servers: []mx.Server{{Addr: "192.0.2.53:53"}}, Dial: dns.Dial}
	return second(client.Resolve(t.Context(), "a.test", mx.TypeA))
}

func TestRuleErrors(t *testing.T) {
	tests := []struct {
		name string
		rule mxtest.Rule
		want string
	}{
		{"transport", mxtest.Rule{Transport: "quic"}, `Transport: "quic" is neither udp nor tcp`},
		{"fault", mxtest.Rule{Fault: 200}, "Fault: undefined value mxtest.Fault(200)"},
		{"times", mxtest.Rule{Times: -1}, "Times: -1 is negative"},
		{"delay", mxtest.Rule{Delay: -time.Second}, "Delay: -1s is negative"},
		{"records of nobody", mxtest.Rule{Records: "A 192.0.2.1"}, "Records: Name is required, too"},
		{"records of many", mxtest.Rule{Name: "*.a.test", Records: "A 192.0.2.1"}, "Records: Name is required, too"},
		{"bad records", mxtest.Rule{Name: "a.test", Records: "A 192.0.2.1\nMX mail"},
			`Records: zone text, line 2: @ MX mail: dns: bad MX Pref: "mail" at line: 2:9`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dns := &mxtest.DNS{Zone: "a.test. A 192.0.2.9", Rules: []mxtest.Rule{{}, test.rule}}
			if err := dns.Validate(); err == nil || err.Error() != "mxtest.DNS.Rules[1]: "+test.want {
				t.Errorf("Validate says %v, want %q", err, test.want)
			}
			if _, err := dns.Resolve(t.Context(), "a.test", mx.TypeA); err == nil {
				t.Error("a DNS with a bad rule answers")
			}
			dns = &mxtest.DNS{Zone: "a.test. A 192.0.2.9"}
			if err := dns.Set(test.rule); err == nil || err.Error() != "mxtest.Rule: "+test.want {
				t.Errorf("Set says %v, want %q", err, test.want)
			}
			if got := brief(dns.Resolve(t.Context(), "a.test", mx.TypeA)); got != "192.0.2.9 for 5m0s" {
				t.Errorf("after a rule that was refused the answer is %q", got)
			}
		})
	}
	t.Run("negative timeout", func(t *testing.T) {
		if err := (&mxtest.DNS{Timeout: -1}).Validate(); err == nil {
			t.Error("a negative Timeout is valid")
		}
	})
}

func TestFakeRefusesNamesThatAreNotCanonical(t *testing.T) {
	dns := &mxtest.DNS{Zone: "a.test. A 192.0.2.1"}
	for _, name := range []string{"A.test", "a.test.", "bücher.test", "."} {
		if _, err := dns.Resolve(t.Context(), name, mx.TypeA); err == nil {
			t.Errorf("%q is answered", name)
		}
	}
	if n := len(dns.Queries()); n != 0 {
		t.Errorf("%d questions came through", n)
	}
}

func TestZeroDNS(t *testing.T) {
	if got := brief(new(mxtest.DNS).Resolve(t.Context(), "example.com", mx.TypeMX)); got != "no such name for 0s" {
		t.Errorf("the zero DNS says %q", got)
	}
}
