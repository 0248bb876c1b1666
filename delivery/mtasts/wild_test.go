package mtasts_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// wild is how a policy was found on the Internet, and what becomes of it. In its record, ID
// is replaced.
type wild struct {
	name   string
	policy string         // served as it is; empty: serve does it
	serve  func(w *world) // what else the policy host does
	record string         // default: a valid one; none: there is none
	want   string         // the policy in force, or the failure and its reason, or "no policy"
	zone   string         // more lines
	change func(w *world) // of the world
}

// longAlias is a chain of n aliases from a name on, and what stands at its end.
func longAlias(from string, n int, end string) string {
	var b strings.Builder
	for i := range n {
		to := fmt.Sprintf("n%d.cloud.test", i)
		fmt.Fprintf(&b, "%s CNAME %s\n", from, to)
		from = to
	}
	return b.String() + from + " " + end
}

func wilds() []wild {
	policy := func(lines ...string) string { return strings.Join(lines, "\n") + "\n" }
	good := policy("version: STSv1", "mode: enforce", "mx: mx.e.test", "max_age: 604800")
	changed := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	page := "<!DOCTYPE html>\n<html><head><title>Sign in: e.test</title></head>\n<body>...</body></html>\n"
	typed := func(kind, body string) func(w *world) {
		return func(w *world) { w.respond("200 OK", kind, body) }
	}
	moved := func(status string) func(w *world) {
		return func(w *world) {
			w.reply("HTTP/1.1 " + status + "\r\nLocation: https://www.e.test/.well-known/mta-sts.txt\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n")
		}
	}
	certified := func(change func(*x509.Certificate), self bool) func(w *world) {
		return func(w *world) {
			by, signer := w.caOf, &w.ca
			if self {
				by, signer = nil, nil
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.cert, _ = w.certificate(by, signer, change)
		}
	}
	const (
		inForce = "enforce mx.e.test"
		syntax  = "sts-policy-invalid policy-syntax"
		kind    = "sts-policy-fetch-error content-type"
		pki     = "sts-webpki-invalid "
	)
	return []wild{
		{name: "CRLF and LF mixed", policy: "version: STSv1\r\nmode: enforce\nmx: mx.e.test\r\nmax_age: 604800\n", want: inForce},
		{name: "no end of the last line", policy: strings.TrimSuffix(good, "\n"), want: inForce},
		{name: "empty lines at the end", policy: good + "\n\r\n\n", want: inForce},
		{name: "a byte order mark", policy: "\ufeff" + good, want: inForce},
		{name: "text/html", serve: typed("text/html", good), want: kind},
		{name: "text/html with a charset", serve: typed("text/html; charset=UTF-8", good), want: kind},
		{name: "no content type", serve: typed("", good), want: kind},
		{name: "application/octet-stream", serve: typed("application/octet-stream", good), want: kind},
		{name: "a sign-in page with 200", serve: typed("text/html", page), want: kind},
		{name: "a sign-in page that is called text", serve: typed("text/plain", page), want: syntax},
		{name: "a page for what is not there, with 200", serve: typed("text/plain", "404 page not found\n"), want: syntax},
		{name: "301 to www", serve: moved("301 Moved Permanently"), want: "sts-policy-fetch-error http-status-301"},
		{name: "302 to www", serve: moved("302 Found"), want: "sts-policy-fetch-error http-status-302"},
		{name: "the policy at /mta-sts.txt", serve: func(w *world) {
			w.handle(func(conn net.Conn, r *http.Request) {
				status, body := "404 Not Found", ""
				if r.URL.Path == "/mta-sts.txt" {
					status, body = "200 OK", good
				}
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
			})
		}, want: "sts-policy-fetch-error http-status-404"},
		{name: "mx as in certificates of old", policy: changed("mx.e.test", ".e.test"), want: syntax},
		{name: "mx with a port", policy: changed("mx.e.test", "mx.e.test:25"), want: syntax},
		{name: "mx with a final dot", policy: changed("mx.e.test", "mx.e.test."), want: inForce},
		{name: "mx an address", policy: changed("mx.e.test", "203.0.113.25"), want: syntax},
		{name: "mx an address among names", policy: changed("mx.e.test", "mx.e.test\nmx: 203.0.113.25"), want: inForce},
		{name: "mx a star", policy: changed("mx.e.test", "*"), want: syntax},
		{name: "mx in one line with commas", policy: changed("mx.e.test", "mx.e.test,mx2.e.test"), want: syntax},
		{name: "mx with a preference", policy: changed("mx.e.test", "10 mx.e.test"), want: syntax},
		{name: "mx with a remark", policy: changed("mx.e.test", "mx.e.test # the first"), want: syntax},
		{name: "mx beyond ASCII", policy: changed("mx.e.test", "*.müller.test"), want: "enforce *.xn--mller-kva.test"},
		{name: "mode with a capital", policy: changed("enforce", "Enforce"), want: syntax},
		{name: "all in one line with semicolons, as in the record", policy: "version: STSv1; mode: enforce; mx: mx.e.test; max_age: 604800\n", want: syntax},
		{name: "lines that end in semicolons", policy: strings.ReplaceAll(good, "\n", ";\n"), want: syntax},
		{name: "signs of equality", policy: strings.ReplaceAll(good, ": ", "="), want: syntax},
		{name: "max_age 0", policy: changed("604800", "0"), want: inForce},
		{name: "max_age of ten digits", policy: changed("604800", "3155760000"), want: inForce},
		{name: "max_age with a semicolon", policy: changed("604800", "604800;"), want: syntax},
		{name: "max_age with a unit", policy: changed("604800", "7d"), want: syntax},
		{name: "mode none without mx", policy: policy("version: STSv1", "mode: none", "max_age: 604800"), want: "none "},
		{name: "mode twice", policy: changed("mode: enforce", "mode: enforce\nmode: none"), want: inForce},
		{name: "an id with dashes", record: "v=STSv1; id=2026-ID;", want: "no policy"},
		{name: "no id", record: "v=STSv1;", want: "no policy"},
		{name: "V=STSv1", record: "V=STSv1; id=ID;", want: "no policy"},
		{name: "two records", record: "v=STSv1; id=ID;\"\n_mta-sts.e.test TXT \"v=STSv1; id=7ID;", want: "no policy"},
		{name: "a record beside another's", record: "v=STSv1; id=ID;\"\n_mta-sts.e.test TXT \"v=spf1 -all", want: inForce},
		{name: "a record in pieces", record: "v=STS\" \"v1; i\" \"d=ID;", want: inForce},
		{name: "a record that is an alias", record: "alias", zone: "_mta-sts.e.test CNAME _mta-sts.p.test.\n_mta-sts.p.test. TXT \"v=STSv1; id=ID;\"", want: inForce},
		{name: "a certificate for the web host alone", change: certified(forName("e.test", "www.e.test"), false), want: pki + "certificate-host-mismatch"},
		{name: "an expired certificate", change: certified(func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"mta-sts.e.test"}, time.Now().Add(-time.Minute)
		}, false), want: pki + "certificate-expired"},
		{name: "a self-signed certificate", change: certified(forName("mta-sts.e.test"), true), want: pki + "certificate-not-trusted"},
		{name: "a certificate that cannot be read", change: func(w *world) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.cert = unparsable(w.cert)
		}, want: pki + "certificate-unparsable"},
		{name: "a host that hangs up at TLS", change: func(w *world) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.cert = tls.Certificate{}
		}, want: "sts-policy-fetch-error handshake-failed"},
		{name: "clients of certain names alone", serve: func(w *world) {
			w.handle(func(conn net.Conn, r *http.Request) {
				status, body := "200 OK", good
				if agent := r.UserAgent(); agent == "" || strings.HasPrefix(agent, "Go-http-client") {
					status, body = "403 Forbidden", page
				}
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
			})
		}, want: inForce},
		{name: "no clients at all", serve: func(w *world) { w.respond("403 Forbidden", "text/html", page) }, want: "sts-policy-fetch-error http-status-403"},
		{name: "a policy host at the end of ten aliases", zone: longAlias("mta-sts.e.test", 10, "A 203.0.113.1"), want: inForce},
		{name: "IPv6 alone", zone: "mta-sts.e.test AAAA 2001:db8::1", want: inForce},
		{name: "an IPv6 address that is dead", change: func(w *world) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.dead["[2001:db8::1]:443"] = true
		}, want: inForce},
		{name: "no answer about IPv6", change: func(w *world) {
			if err := w.Set(mxtest.Rule{Name: "mta-sts.e.test", Type: mx.TypeAAAA, Fault: mxtest.ServFail}); err != nil {
				w.t.Fatal(err)
			}
		}, want: inForce},
		{name: "a slow drip", serve: func(w *world) {
			w.handle(func(conn net.Conn, _ *http.Request) {
				_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
				for _, c := range good {
					if err == nil {
						pass(2 * time.Second)
						_, err = io.WriteString(conn, string(c))
					}
				}
			})
		}, want: "sts-policy-fetch-error "},
		{name: "an old version of TLS", change: func(w *world) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.most = tls.VersionTLS11
		}, want: "sts-policy-fetch-error handshake-failed"},
	}
}

// unparsable is a certificate that crypto/x509 cannot parse, for its version.
func unparsable(c tls.Certificate) tls.Certificate {
	der := bytes.Clone(c.Certificate[0])
	der[bytes.Index(der, []byte{0xa0, 3, 2, 1, 2})+4] = 9
	c.Certificate = [][]byte{der}
	return c
}

// TestPoliciesOfTheWild is a policy host with each of them: what becomes of it if nothing is
// known of the domain, and if an older policy is in force, which a newer one alone replaces.
func TestPoliciesOfTheWild(t *testing.T) {
	says := func(found mtasts.Found) string {
		switch {
		case found.Err != nil:
			return failure(found.Err)
		case found.Origin == mtasts.Fetched:
			return found.Policy.Mode.String() + " " + strings.Join(found.Policy.MX, " ")
		default:
			return "no policy"
		}
	}
	for _, c := range wilds() {
		appear := func(w *world, id string) {
			if c.serve != nil {
				c.serve(w)
			} else if c.policy != "" {
				w.serve(c.policy)
			}
			if c.change != nil {
				c.change(w)
			}
			record := c.record
			if record == "" {
				record = "v=STSv1; id=ID;"
			}
			zone := "_mta-sts.e.test TXT \"" + record + "\"\n"
			if record == "alias" {
				zone = ""
			}
			if !strings.Contains(c.zone, "mta-sts.e.test AAAA") && !strings.HasPrefix(c.zone, "mta-sts.e.test CNAME") {
				zone += "mta-sts.e.test A 203.0.113.1\nmta-sts.e.test AAAA 2001:db8::1\n"
			}
			if err := w.SetZone(strings.ReplaceAll(zone+c.zone, "ID", id)); err != nil {
				w.t.Fatal(err)
			}
		}
		t.Run("TLS-12, TLS-13, TLS-14, TLS-15, TLS-16 "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				appear(w, "1")
				found := w.source().Find(t.Context(), "e.test")
				if got := says(found); !strings.HasPrefix(got, c.want) {
					t.Errorf("it is %q, want %q:\n%s", got, c.want, found.String())
				}
				if found.Applies() != strings.HasPrefix(c.want, "enforce") {
					t.Errorf("it applies: %t", found.Applies())
				}
			})
		})
		t.Run("TLS-17 after a good one, "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				s := w.source()
				w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
				pass(time.Hour)
				appear(w, "2")
				found := s.Find(t.Context(), "e.test")
				if got := says(found); !strings.HasPrefix(got, c.want) {
					t.Errorf("it is %q, want %q:\n%s", got, c.want, found.String())
				}
				if found.Enforced() != (c.want != "none ") {
					t.Errorf("a policy is enforced: %t:\n%s", found.Enforced(), found.String())
				}
			})
		})
	}
}
