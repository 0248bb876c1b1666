package tlsrpt_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// targets are the URIs of a record, or why there are none.
func targets(r tlsrpt.Record, err error) string {
	if bad, ok := errors.AsType[*tlsrpt.RecordError](err); ok {
		return "none: " + bad.Reason
	}
	if err != nil {
		return "error: " + err.Error()
	}
	var all []string
	for _, t := range r.Targets {
		all = append(all, t.URI)
	}
	return strings.Join(all, " ")
}

func TestRecordsAsTheyAreFound(t *testing.T) {
	const a = "mailto:a@e.test"
	for _, test := range []struct {
		name    string
		records []string
		want    string
		note    string // a part of one
	}{
		{"the RFC's mailto", []string{"v=TLSRPTv1;rua=mailto:reports@example.com"}, "mailto:reports@example.com", ""},
		{"the RFC's https", []string{"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"}, "https://reporting.example.com/v1/tlsrpt", ""},
		{"a semicolon at the end", []string{"v=TLSRPTv1; rua=mailto:a@e.test;"}, a, ""},
		{"blanks before the semicolon", []string{"v=TLSRPTv1 \t; rua=mailto:a@e.test ;"}, a, ""},
		{"two semicolons", []string{"v=TLSRPTv1;; rua=mailto:a@e.test;;"}, a, ""},
		{"several targets", []string{"v=TLSRPTv1; rua=mailto:a@e.test , https://r.test/x,mailto:b@e.test"}, a + " https://r.test/x mailto:b@e.test", ""},
		{"rua twice", []string{"v=TLSRPTv1; rua=mailto:a@e.test; rua=mailto:b@e.test"}, a + " mailto:b@e.test", ""},
		{"the same target twice", []string{"v=TLSRPTv1; rua=mailto:a@e.test,MAILTO:a@E.Test"}, a, "twice"},
		{"unknown fields", []string{"v=TLSRPTv1; ruf=mailto:x@y.test; rua=mailto:a@e.test; ext.1_-=!\"#"}, a, ""},
		{"a field without a value", []string{"v=TLSRPTv1; rua; ext; rua=mailto:a@e.test; =; x="}, a, ""},
		{"blanks around the sign", []string{"v=TLSRPTv1; rua = mailto:a@e.test"}, a, ""},
		{"encoded characters", []string{"v=TLSRPTv1; rua=mailto:a%2Cb%21c%3Bd@e.test"}, "none: no rua is a target for reports", "address is none"},
		{"an encoded exclamation mark", []string{"v=TLSRPTv1; rua=mailto:a%21b@e.test"}, "mailto:a!b@e.test", ""},
		{"an encoded comma between addresses", []string{"v=TLSRPTv1; rua=mailto:a@e.test%2Cb@e.test"}, a, ""},
		{"a subject", []string{"v=TLSRPTv1; rua=mailto:a@e.test?subject=TLS"}, a, ""},
		{"a limit of size, as in DMARC", []string{"v=TLSRPTv1; rua=mailto:a@e.test!10m"}, a, ""},
		{"a mailto with slashes", []string{"v=TLSRPTv1; rua=mailto://a@e.test"}, a, ""},
		{"a domain beyond ASCII", []string{"v=TLSRPTv1; rua=mailto:a@b%C3%BCcher.test"}, "mailto:a@xn--bcher-kva.test", ""},
		{"a capital scheme", []string{"v=TLSRPTv1; rua=HTTPS://R.Test:443/x#y"}, "https://r.test/x", ""},
		{"a port and a query", []string{"v=TLSRPTv1; rua=https://r.test:8443?k=v"}, "https://r.test:8443/?k=v", ""},
		{"an address as host", []string{"v=TLSRPTv1; rua=https://[2001:db8::1]/"}, "https://[2001:db8::1]/", ""},
		{"other TXT records", []string{"v=spf1 -all", "v=TLSRPTv1; rua=mailto:a@e.test", "v=STSv1; id=1"}, a, ""},

		{"no record", nil, "none: the domain has none", ""},
		{"a wildcard's", []string{"v=spf1 -all"}, "none: the domain has none", ""},
		{"two records", []string{"v=TLSRPTv1; rua=mailto:a@e.test", "v=TLSRPTv1; rua=mailto:b@e.test"}, "none: there are several", ""},
		{"two records, one of which is empty", []string{"v=TLSRPTv1; rua=mailto:a@e.test", "v=TLSRPTv1;"}, "none: there are several", ""},
		{"another version", []string{"v=TLSRPTv10; rua=mailto:a@e.test"}, "none: the domain has none", ""},
		{"the version in other letters", []string{"v=tlsrptv1; rua=mailto:a@e.test"}, "none: the domain has none", ""},
		{"the version in capitals", []string{"V=TLSRPTv1; rua=mailto:a@e.test"}, "none: the domain has none", ""},
		{"no semicolon", []string{"v=TLSRPTv1 rua=mailto:a@e.test"}, "none: the domain has none", ""},
		{"commas for semicolons", []string{"v=TLSRPTv1, rua=mailto:a@e.test"}, "none: the domain has none", ""},
		{"blanks at the beginning", []string{" v=TLSRPTv1; rua=mailto:a@e.test"}, "none: the domain has none", ""},
		{"quotes in the record", []string{`"v=TLSRPTv1; rua=mailto:a@e.test"`}, "none: the domain has none", ""},
		{"the version alone", []string{"v=TLSRPTv1"}, "none: the domain has none", ""},
		{"no rua", []string{"v=TLSRPTv1;"}, "none: it has no rua", ""},
		{"rua in capitals", []string{"v=TLSRPTv1; RUA=mailto:a@e.test"}, "none: it has no rua", ""},
		{"an empty rua", []string{"v=TLSRPTv1; rua="}, "none: no rua is a target for reports", "empty"},
		{"ftp", []string{"v=TLSRPTv1; rua=ftp://e.test/x"}, "none: no rua is a target for reports", "mailto and https"},
		{"http", []string{"v=TLSRPTv1; rua=http://e.test/x"}, "none: no rua is a target for reports", "mailto and https"},
		{"ftp beside mailto", []string{"v=TLSRPTv1; rua=ftp://e.test/x,mailto:a@e.test"}, a, "mailto and https"},
		{"no scheme", []string{"v=TLSRPTv1; rua=a@e.test"}, "none: no rua is a target for reports", "no scheme"},
		{"no scheme behind the comma", []string{"v=TLSRPTv1; rua=mailto:a@e.test,b@e.test"}, a, "no scheme"},
		{"a blank for the comma", []string{"v=TLSRPTv1; rua=mailto:a@e.test mailto:b@e.test"}, "none: no rua is a target for reports", "no URI"},
		{"brackets", []string{"v=TLSRPTv1; rua=mailto:<a@e.test>"}, a, ""},
		{"no domain", []string{"v=TLSRPTv1; rua=mailto:postmaster"}, "none: no rua is a target for reports", "address is none"},
		{"an address literal", []string{"v=TLSRPTv1; rua=mailto:a@[192.0.2.1]"}, "none: no rua is a target for reports", "no domain"},
		{"a local part beyond ASCII", []string{"v=TLSRPTv1; rua=mailto:%C3%BC@e.test"}, "none: no rua is a target for reports", "not ASCII"},
		{"octets beyond ASCII", []string{"v=TLSRPTv1; rua=mailto:\xfc@e.test"}, "none: no rua is a target for reports", "no URI"},
		{"a broken encoding", []string{"v=TLSRPTv1; rua=mailto:a%2@e.test"}, "none: no rua is a target for reports", "not encoded"},
		{"a URL without a host", []string{"v=TLSRPTv1; rua=https:///x"}, "none: no rua is a target for reports", "no host"},
		{"a URL with a password", []string{"v=TLSRPTv1; rua=https://u:p@e.test/x"}, "none: no rua is a target for reports", "user name"},
		{"a URL with a bad host", []string{"v=TLSRPTv1; rua=https://a..b/x"}, "none: no rua is a target for reports", "host is none"},
		{"a URL that is none", []string{"v=TLSRPTv1; rua=https://e.test:x/"}, "none: no rua is a target for reports", "not a valid URL"},
		{"a long URI", []string{"v=TLSRPTv1; rua=https://e.test/" + strings.Repeat("a", 1100)}, "none: no rua is a target for reports", "too long"},
		{"many targets", []string{"v=TLSRPTv1; rua=" + strings.Repeat("mailto:x@e.test,", 9) + many(12)},
			"mailto:x@e.test " + strings.ReplaceAll(many(9), ",", " "), "too many"},
	} {
		t.Run("TLS-42 "+test.name, func(t *testing.T) {
			r, err := tlsrpt.ParseRecord(test.records)
			if got := targets(r, err); got != test.want {
				t.Errorf("targets are %q, want %q", got, test.want)
			}
			notes := strings.Join(r.Notes, "\n")
			if bad, ok := errors.AsType[*tlsrpt.RecordError](err); ok {
				notes = bad.Error()
			}
			if !strings.Contains(notes, test.note) || test.note == "" && err == nil && notes != "" {
				t.Errorf("notes are %q, want %q", notes, test.note)
			}
		})
	}
}

// many are so many targets.
func many(n int) string {
	var all []string
	for i := range n {
		all = append(all, "mailto:r"+string(rune('a'+i))+"@e.test")
	}
	return strings.Join(all, ",")
}

func TestLookup(t *testing.T) {
	dns := &mxtest.DNS{Zone: `
_smtp._tls.e.test     TXT "v=TLSRPTv1; rua=mail" "to:a@e.test"
_smtp._tls.moved.test CNAME _smtp._tls.e.test
parent.test           TXT "v=TLSRPTv1; rua=mailto:a@e.test"
_smtp._tls.parent.test TXT "v=TLSRPTv1; rua=mailto:a@e.test"
`, Rules: []mxtest.Rule{{Name: "_smtp._tls.failing.test", Fault: mxtest.ServFail}}}
	for _, test := range []struct{ name, domain, want string }{
		{"TLS-42 strings are joined without blanks", "e.test", "mailto:a@e.test"},
		{"TLS-42 an alias is followed", "moved.test", "mailto:a@e.test"},
		{"TLS-42 the parent is not asked", "sub.parent.test", "none: the domain has none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := targets(tlsrpt.Lookup(t.Context(), dns, test.domain)); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	t.Run("TLS-42 a question that fails is no verdict", func(t *testing.T) {
		_, err := tlsrpt.Lookup(t.Context(), dns, "failing.test")
		if _, ok := errors.AsType[*mx.ResolveError](err); !ok {
			t.Errorf("error is %v", err)
		}
	})
}

// FuzzRecord: whatever a record is, it has a verdict, and its targets are what they say.
func FuzzRecord(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:a@e.test,https://r.test/x?y#z; x=y")
	f.Add("v=TLSRPTv1 ;rua=mailto:a%2Cb@e.test!10m;rua=HTTPS://[::1]:8443")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := tlsrpt.ParseRecord([]string{text})
		if err != nil {
			if bad, ok := errors.AsType[*tlsrpt.RecordError](err); !ok || bad.Reason == "" || len(r.Targets) > 0 {
				t.Errorf("error is %#v, targets are %v", err, r.Targets)
			}
			return
		}
		if len(r.Targets) == 0 || len(r.Targets) > 10 {
			t.Errorf("%d targets", len(r.Targets))
		}
		for _, target := range r.Targets {
			if strings.ContainsFunc(target.URI+target.Address+target.Host, func(c rune) bool { return c < ' ' || c > '~' }) || target.Host == "" {
				t.Errorf("target is %q", target)
			}
			if target.Kind == tlsrpt.HTTPS {
				again, err := tlsrpt.ParseRecord([]string{"v=TLSRPTv1; rua=" + strings.NewReplacer(",", "%2C", ";", "%3B").Replace(target.URI)})
				if err != nil || len(again.Targets) != 1 || again.Targets[0].Host != target.Host {
					t.Errorf("%q read again is %v, %v", target.URI, again.Targets, err)
				}
			} else if !strings.HasSuffix(strings.ToLower(target.Address), "@"+target.Host) || !slices.Contains([]tlsrpt.Kind{tlsrpt.Mail}, target.Kind) {
				t.Errorf("target is %+v", target)
			}
		}
	})
}
