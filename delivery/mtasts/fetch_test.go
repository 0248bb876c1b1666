package mtasts_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

func TestFetch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, err := w.fetcher().Fetch(t.Context(), "e.test")
		if err != nil || p.Mode != mtasts.Enforce || !slices.Equal(p.MX, []string{"mx.e.test"}) || p.MaxAge != 7*24*time.Hour {
			t.Errorf("TLS-13 policy is %+v, %v", p, err)
		}
		if want := []string{"GET mta-sts.e.test/.well-known/mta-sts.txt nexthop-mta-sts"}; !slices.Equal(w.gets, want) {
			t.Errorf("TLS-13 requests are %q, want %q", w.gets, want)
		}
		if !slices.Equal(w.names, []string{"mta-sts.e.test"}) {
			t.Errorf("TLS-13 the names of handshakes are %q", w.names)
		}
	})
}

// failure is the type and the reason of an error.
func failure(err error) string {
	if e, ok := errors.AsType[*mtasts.Error](err); ok {
		return e.ResultType() + " " + e.ReasonCode()
	}
	return fmt.Sprint(err)
}

func TestResponses(t *testing.T) {
	const ok = "<nil>"
	for _, test := range []struct {
		name string
		set  func(w *world)
		want string
	}{
		{"TLS-14 parameters of the type", func(w *world) { w.respond("200 OK", "text/plain; charset=utf-8; x=y", goodPolicy) }, ok},
		{"TLS-14 capitals in the type", func(w *world) { w.respond("200 OK", "Text/PLAIN ;charset=us-ascii", goodPolicy) }, ok},
		{"TLS-14 a page", func(w *world) { w.respond("200 OK", "text/html", goodPolicy) }, "sts-policy-fetch-error content-type"},
		{"TLS-14 a sign-in page", func(w *world) { w.respond("200 OK", "text/html", "<html>\n<form>\n") }, "sts-policy-fetch-error content-type"},
		{"TLS-14 a sign-in page that is called text", func(w *world) { w.respond("200 OK", "text/plain", "<html>\n<form>\n") }, "sts-policy-invalid policy-syntax"},
		{"TLS-14 no type", func(w *world) { w.respond("200 OK", "", goodPolicy) }, "sts-policy-fetch-error content-type"},
		{"TLS-14 a file", func(w *world) { w.respond("200 OK", "application/octet-stream", goodPolicy) }, "sts-policy-fetch-error content-type"},
		{"TLS-14 a type that begins like it", func(w *world) { w.respond("200 OK", "text/plainer", goodPolicy) }, "sts-policy-fetch-error content-type"},
		{"TLS-14 encoded", func(w *world) {
			w.reply("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\nx")
		}, "sts-policy-fetch-error content-encoding"},
		{"TLS-14 a large policy", func(w *world) { w.serve(goodPolicy + "x: " + strings.Repeat("a", 65000) + "\n") }, ok},
		{"TLS-14 64 KiB", func(w *world) { w.serve(goodPolicy + strings.Repeat("\n", 65536-len(goodPolicy))) }, ok},
		{"TLS-14 one octet more", func(w *world) { w.serve(goodPolicy + strings.Repeat("\n", 65537-len(goodPolicy))) }, "sts-policy-fetch-error too-large"},
		{"TLS-14 70 KiB", func(w *world) { w.serve(goodPolicy + strings.Repeat("\n", 70<<10)) }, "sts-policy-fetch-error too-large"},
		{"TLS-14 no end", func(w *world) {
			w.handle(func(conn net.Conn, _ *http.Request) {
				_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
				for err == nil {
					_, err = io.WriteString(conn, strings.Repeat("x: y\n", 1000))
				}
			})
		}, "sts-policy-fetch-error too-large"},
		{"TLS-14 headers without end", func(w *world) {
			w.handle(func(conn net.Conn, _ *http.Request) {
				_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
				for err == nil {
					_, err = io.WriteString(conn, "X-A: "+strings.Repeat("y", 1000)+"\r\n")
				}
			})
		}, "sts-policy-fetch-error no-response"},
		{"TLS-14 it says \"go on\" without end", func(w *world) {
			w.handle(func(conn net.Conn, _ *http.Request) {
				var err error
				for err == nil {
					_, err = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\n\r\n")
				}
			})
		}, "sts-policy-fetch-error no-response"},
		{"TLS-13 it says \"go on\" once", func(w *world) {
			w.reply("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + goodPolicy)
		}, ok},
		{"TLS-14 chunks", func(w *world) {
			w.reply(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(goodPolicy), goodPolicy))
		}, ok},
		{"TLS-14 chunks that break off", func(w *world) {
			w.reply("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nversion: STSv1\n")
		}, "sts-policy-fetch-error http-body"},
		{"TLS-14 less than was promised", func(w *world) {
			w.reply("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\n" + goodPolicy)
		}, "sts-policy-fetch-error http-body"},
		{"TLS-13 no HTTP at all", func(w *world) { w.reply("220 mta-sts.e.test ESMTP\r\n") }, "sts-policy-fetch-error no-response"},
		{"TLS-13 nothing", func(w *world) { w.reply("") }, "sts-policy-fetch-error no-response"},
		{"TLS-13 caching is not heeded", func(w *world) {
			w.reply("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nExpires: 0\r\n\r\n" + goodPolicy)
		}, ok},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				test.set(w)
				p, err := w.fetcher().Fetch(t.Context(), "e.test")
				if failure(err) != test.want {
					t.Errorf("error is %q, %v; want %q", failure(err), err, test.want)
				}
				if (err == nil) != (p.Mode == mtasts.Enforce) {
					t.Errorf("policy is %+v with error %v", p, err)
				}
			})
		})
	}
	for _, status := range []string{"201 Created", "204 No Content", "206 Partial Content", "304 Not Modified", "401 No", "403 Bots", "404 Not Found", "500 Broken", "503 Busy", "999 Odd"} {
		t.Run("TLS-13 status "+status, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.respond(status, "text/plain", goodPolicy)
				_, err := w.fetcher().Fetch(t.Context(), "e.test")
				if want := "sts-policy-fetch-error http-status-" + status[:3]; failure(err) != want {
					t.Errorf("error is %q, %v; want %q", failure(err), err, want)
				}
			})
		})
	}
	for _, status := range []string{"301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"} {
		t.Run("TLS-13 redirect "+status, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.reply("HTTP/1.1 " + status + "\r\nLocation: https://www.e.test/mta-sts.txt\xc3\xa9\r\nContent-Type: text/plain\r\n\r\n" + goodPolicy)
				_, err := w.fetcher().Fetch(t.Context(), "e.test")
				if want := "sts-policy-fetch-error http-status-" + status[:3]; failure(err) != want || !strings.Contains(err.Error(), "www.e.test") || strings.Contains(err.Error(), "\xc3") {
					t.Errorf("error is %q, %q; want %q with the place it leads to", failure(err), err, want)
				}
				if len(w.gets) != 1 || w.Count("www.e.test", mx.TypeA) > 0 {
					t.Errorf("requests are %q, want one", w.gets)
				}
			})
		})
	}
}

func TestCertificatesOfPolicyHosts(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*x509.Certificate)
		self   bool
		want   string
	}{
		{"TLS-13 of the web host alone", forName("e.test", "www.e.test"), false, "sts-webpki-invalid certificate-host-mismatch"},
		{"TLS-13 a wildcard", forName("*.e.test"), false, "<nil>"},
		{"TLS-13 by its common name alone", func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "mta-sts.e.test"} }, false, "sts-webpki-invalid certificate-host-mismatch"},
		{"TLS-13 expired", func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"mta-sts.e.test"}, time.Now().Add(-time.Minute)
		}, false, "sts-webpki-invalid certificate-expired"},
		{"TLS-13 not valid yet", func(c *x509.Certificate) {
			c.DNSNames, c.NotBefore = []string{"mta-sts.e.test"}, time.Now().Add(time.Minute)
		}, false, "sts-webpki-invalid certificate-expired"},
		{"TLS-13 self-signed", forName("mta-sts.e.test"), true, "sts-webpki-invalid certificate-not-trusted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				by, signer := w.caOf, &w.ca
				if test.self {
					by, signer = nil, nil
				}
				w.cert, _ = w.certificate(by, signer, test.change)
				if _, err := w.fetcher().Fetch(t.Context(), "e.test"); failure(err) != test.want {
					t.Errorf("error is %q, %v; want %q", failure(err), err, test.want)
				}
				if test.want != "<nil>" && w.fetched() > 0 {
					t.Error("something was asked of a host that is not the right one")
				}
			})
		})
	}
}

func TestSlowPolicyHosts(t *testing.T) {
	drip := func(conn net.Conn, _ *http.Request) {
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
		for i := 0; err == nil; i++ {
			pass(5 * time.Second)
			_, err = io.WriteString(conn, "\n")
		}
	}
	silent := func(conn net.Conn, _ *http.Request) { _, _ = conn.Read(make([]byte, 1)) }
	for _, test := range []struct {
		name   string
		set    func(w *world)
		within time.Duration
	}{
		{"TLS-14 it drips", func(w *world) { w.handle(drip) }, time.Minute},
		{"TLS-14 it says nothing", func(w *world) { w.handle(silent) }, time.Minute},
		{"TLS-14 nobody is there", func(w *world) { w.down(true) }, time.Minute},
		{"TLS-14 DNS does not answer", func(w *world) {
			w.DNS.Timeout = time.Hour
			if err := w.Set(mxtest.Rule{Name: "mta-sts.e.test", Fault: mxtest.Timeout}); err != nil {
				w.t.Fatal(err)
			}
		}, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				test.set(w)
				start := time.Now()
				_, err := w.fetcher().Fetch(t.Context(), "e.test")
				if !strings.HasPrefix(failure(err), "sts-policy-fetch-error") {
					t.Errorf("error is %q, %v", failure(err), err)
				}
				if took := time.Since(start); took > test.within {
					t.Errorf("it took %v, want %v at most", took, test.within)
				}
			})
		})
		t.Run(test.name+", and nobody wants it any more", func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				test.set(w)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				start := time.Now()
				_, err := w.fetcher().Fetch(ctx, "e.test")
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
					t.Errorf("error is %v after %v, want that of the context after 3s", err, time.Since(start))
				}
			})
		})
	}
	t.Run("TLS-14 one address is dead, the other is not", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.dead["[2001:db8::1]:443"] = true
			if _, err := w.fetcher().Fetch(t.Context(), "e.test"); err != nil || len(w.dialed) != 2 {
				t.Errorf("error is %v, dialled %q", err, w.dialed)
			}
		})
	})
	t.Run("TLS-14 one family has no answer", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			if err := w.Set(mxtest.Rule{Name: "mta-sts.e.test", Type: mx.TypeAAAA, Fault: mxtest.ServFail}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.fetcher().Fetch(t.Context(), "e.test"); err != nil {
				t.Errorf("error is %v", err)
			}
		})
	})
}

func TestAddressesOfPolicyHosts(t *testing.T) {
	for _, test := range []struct {
		name, addrs string
		loopback    bool
		want        string
		dialed      []string
	}{
		{"of the public Internet", "A 203.0.113.7", false, "<nil>", []string{"203.0.113.7:443"}},
		{"loopback", "A 127.0.0.1", false, "sts-policy-fetch-error address-not-public", nil},
		{"loopback of IPv6", "AAAA ::1", false, "sts-policy-fetch-error address-not-public", nil},
		{"loopback, allowed", "A 127.0.0.1", true, "<nil>", []string{"127.0.0.1:443"}},
		{"link-local", "A 169.254.169.254", false, "sts-policy-fetch-error address-not-public", nil},
		{"link-local, with loopback allowed", "A 169.254.169.254", true, "sts-policy-fetch-error address-not-public", nil},
		{"link-local of IPv6", "AAAA fe80::1", false, "sts-policy-fetch-error address-not-public", nil},
		{"private", "A 10.0.0.1", false, "sts-policy-fetch-error address-not-public", nil},
		{"private, 172.16", "A 172.16.0.1", false, "sts-policy-fetch-error address-not-public", nil},
		{"private, 192.168", "A 192.168.0.1", true, "sts-policy-fetch-error address-not-public", nil},
		{"shared by customers", "A 100.64.0.1", false, "sts-policy-fetch-error address-not-public", nil},
		{"unique local of IPv6", "AAAA fc00::1", false, "sts-policy-fetch-error address-not-public", nil},
		{"unspecified", "A 0.0.0.0", false, "sts-policy-fetch-error address-not-public", nil},
		{"multicast", "A 224.0.0.1", false, "sts-policy-fetch-error address-not-public", nil},
		{"private, by a translator", "AAAA 64:ff9b::10.0.0.1", false, "sts-policy-fetch-error address-not-public", nil},
		{"loopback, as IPv4 in IPv6", "AAAA ::ffff:127.0.0.1", false, "sts-policy-fetch-error address-not-public", nil},
		{"one that is private and one that is not", "A 10.0.0.1\nmta-sts.e.test A 203.0.113.7", false, "<nil>", []string{"203.0.113.7:443"}},
		{"none", "TXT nothing", false, "sts-policy-fetch-error no-address", nil},
		{"many", strings.Repeat("A 203.0.113.1\nmta-sts.e.test ", 1) + manyAddrs(), false, "sts-policy-fetch-error no-connection", []string{"203.0.113.1:443", "203.0.113.10:443", "203.0.113.11:443", "203.0.113.12:443"}},
	} {
		t.Run("TLS-13 "+test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				if err := w.SetZone("mta-sts.e.test " + test.addrs); err != nil {
					t.Fatal(err)
				}
				w.down(test.name == "many")
				f := w.fetcher()
				f.AllowLoopback = test.loopback
				if _, err := f.Fetch(t.Context(), "e.test"); failure(err) != test.want {
					t.Errorf("error is %q, %v; want %q", failure(err), err, test.want)
				}
				if !slices.Equal(w.dialed, test.dialed) {
					t.Errorf("dialled %q, want %q", w.dialed, test.dialed)
				}
			})
		})
	}
	t.Run("TLS-13 no answer about its addresses", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			if err := w.Set(mxtest.Rule{Name: "mta-sts.e.test", Fault: mxtest.ServFail}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.fetcher().Fetch(t.Context(), "e.test"); failure(err) != "sts-policy-fetch-error dns-lookup-failed" {
				t.Errorf("error is %q, %v", failure(err), err)
			}
		})
	})
}

func manyAddrs() string {
	var b strings.Builder
	for i := 10; i < 60; i++ {
		fmt.Fprintf(&b, "A 203.0.113.%d\nmta-sts.e.test ", i)
	}
	return b.String() + "TXT end"
}
