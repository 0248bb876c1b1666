package mx_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// zone is a DNS of lines, each "name TYPE data", or "name TYPE" and SERVFAIL or
// BOGUS; a type of "*" is every type. Names are absolute without their final dot.
// Several addresses may stand on a line. A name on any line exists. Responses
// carry an alias alone, without what it leads to.
func zone(t testing.TB, text string) *mxtest.DNS {
	t.Helper()
	return readZone(t, text, mxtest.AliasOnly)
}

// wideZone is a zone whose responses carry what an alias leads to.
func wideZone(t testing.TB, text string) *mxtest.DNS {
	t.Helper()
	return readZone(t, text, mxtest.None)
}

// readZone is a zone where every name has the last fault, unless it has another.
func readZone(t testing.TB, text string, last mxtest.Fault) *mxtest.DNS {
	t.Helper()
	dns := &mxtest.DNS{}
	var b strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name, kind, data := fields[0], fields[1], fields[2:]
		if fault, is := map[string]mxtest.Fault{"SERVFAIL": mxtest.ServFail, "BOGUS": mxtest.Bogus}[data[0]]; is {
			rule := mxtest.Rule{Name: name, Fault: fault}
			if kind != "*" {
				rule.Type = map[string]mx.Type{"A": mx.TypeA, "AAAA": mx.TypeAAAA, "MX": mx.TypeMX}[kind]
			}
			dns.Rules = append(dns.Rules, rule)
			fmt.Fprintf(&b, "%s TXT exists\n", name)
			continue
		}
		if kind == "A" || kind == "AAAA" {
			for _, addr := range data {
				fmt.Fprintf(&b, "%s %s %s\n", name, kind, addr)
			}
			continue
		}
		fmt.Fprintln(&b, strings.Join(fields, " "))
	}
	dns.Zone = b.String()
	dns.Rules = append(dns.Rules, mxtest.Rule{Fault: last})
	if err := dns.Validate(); err != nil {
		t.Fatal(err)
	}
	return dns
}

// questions is what was asked so far, as "TYPE name".
func questions(dns *mxtest.DNS) []string {
	list := []string{}
	for _, q := range dns.Queries() {
		list = append(list, q.Type.String()+" "+q.Name)
	}
	return list
}

// sign makes the names, and all below them, secure.
func sign(dns *mxtest.DNS, names []string) {
	for _, name := range names {
		dns.SetSigned(name, true)
	}
}
