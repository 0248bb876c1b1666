package tlsrpt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// packed is what is posted in these tests.
func packed(t *testing.T) []byte {
	t.Helper()
	text, err := oneFailure().JSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Whoever publishes a record must not be able to have us speak to hosts of our own network.
func TestReportsGoToThePublicInternetAlone(t *testing.T) {
	zone := `
public.test    A     203.0.113.1
private.test   A     10.0.0.1
private.test   AAAA  fd00::1
local.test     A     127.0.0.1
local.test     AAAA  ::1
link.test      A     169.254.169.254
link.test      AAAA  fe80::1
mapped.test    AAAA  ::ffff:192.168.0.1
nowhere.test   A     0.0.0.0
both.test      A     192.168.0.1
both.test      A     203.0.113.7
alias.test     CNAME local.test
`
	for _, test := range []struct {
		url      string
		loopback bool
		dialed   string // empty if nothing is
	}{
		{"https://public.test/", false, "203.0.113.1:443"},
		{"https://public.test:8443/", false, "203.0.113.1:8443"},
		{"https://203.0.113.9/", false, "203.0.113.9:443"},
		{"https://both.test/", false, "203.0.113.7:443"},
		{"https://private.test/", false, ""},
		{"https://local.test/", false, ""},
		{"https://link.test/", false, ""},
		{"https://mapped.test/", false, ""},
		{"https://nowhere.test/", false, ""},
		{"https://alias.test/", false, ""},
		{"https://127.0.0.1/", false, ""},
		{"https://[::1]/", false, ""},
		{"https://[::ffff:10.0.0.1]/", false, ""},
		{"https://169.254.169.254/latest", false, ""},
		{"https://local.test/", true, "[::1]:443"},
		{"https://127.0.0.1/", true, "127.0.0.1:443"},
		{"https://private.test/", true, ""},
		{"https://10.0.0.1/", true, ""},
	} {
		t.Run(fmt.Sprintf("TLS-49 %s loopback=%t", test.url, test.loopback), func(t *testing.T) {
			bubble(t, zone, func(t *testing.T, w *world) {
				p := tlsrpt.Poster{Resolver: w.DNS, Dial: w.Dial, AnyCertificate: true, AllowLoopback: test.loopback}
				err := p.Post(t.Context(), test.url, packed(t))
				if got := strings.Join(w.dialed, " "); got != test.dialed || (err == nil) != (test.dialed != "") {
					t.Errorf("dialed is %q, want %q; %v", got, test.dialed, err)
				}
				if test.dialed == "" && !strings.Contains(err.Error(), "not of the public Internet") {
					t.Errorf("error is %v", err)
				}
			})
		})
	}
}

func TestCertificatesOfCollectors(t *testing.T) {
	for _, test := range []struct {
		name string
		host string
		any  bool
		ok   bool
	}{
		{"TLS-49 one for the host", "r.test", false, true},
		{"TLS-49 one for others", "r.other.example", false, false},
		{"TLS-49 one for others, where any will do", "r.other.example", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, "r.test A 203.0.113.1\nr.other.example A 203.0.113.1\n", func(t *testing.T, w *world) {
				p := tlsrpt.Poster{Resolver: w.DNS, Dial: w.Dial, Roots: w.roots, AnyCertificate: test.any}
				if err := p.Post(t.Context(), "https://"+test.host+"/", packed(t)); (err == nil) != test.ok {
					t.Errorf("error is %v", err)
				}
			})
		})
	}
}

func TestAnswersOfCollectors(t *testing.T) {
	for _, test := range []struct {
		status int
		ok     bool
	}{{200, true}, {201, true}, {202, true}, {204, true}, {301, false}, {302, false}, {400, false}, {404, false}, {413, false}, {429, false}, {500, false}, {503, false}} {
		t.Run(fmt.Sprintf("TLS-49 %d", test.status), func(t *testing.T) {
			bubble(t, "r.test A 203.0.113.1\nother.test A 203.0.113.2\n", func(t *testing.T, w *world) {
				w.answerAll(test.status)
				p := tlsrpt.Poster{Resolver: w.DNS, Dial: w.Dial, Roots: w.roots, UserAgent: "me"}
				err := p.Post(t.Context(), "https://r.test/x?y=z", packed(t))
				answer, _ := errors.AsType[*tlsrpt.StatusError](err)
				if (err == nil) != test.ok || !test.ok && (answer == nil || answer.Status != test.status) {
					t.Errorf("error is %v", err)
				}
				if got := w.reports(); len(got) != 1 || got[0].url != "POST https://r.test/x?y=z" || got[0].agent != "me" {
					t.Errorf("posts are %v by %q", got, got[0].agent)
				}
			})
		})
	}
}

// A collector that is slow, or says more than anybody wants to hear, is left in a minute.
func TestCollectorsWithoutEnd(t *testing.T) {
	for name, serve := range map[string]func(conn net.Conn){
		"says nothing": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"drips": func(conn net.Conn) {
			for {
				if _, err := conn.Write([]byte{0x16}); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		},
	} {
		t.Run("TLS-49 "+name, func(t *testing.T) {
			bubble(t, "r.test A 203.0.113.1\n", func(t *testing.T, w *world) {
				dial := func(context.Context, string, string) (net.Conn, error) {
					client, server := smtptest.Pipe()
					w.wg.Go(func() {
						defer server.Close()
						serve(server)
					})
					return client, nil
				}
				p := tlsrpt.Poster{Resolver: w.DNS, Dial: dial, Roots: w.roots}
				began := time.Now()
				err := p.Post(t.Context(), "https://r.test/", packed(t))
				if took := time.Since(began); err == nil || took > time.Minute {
					t.Errorf("it took %v, %v", took, err)
				}
				p.Timeout = time.Second
				began = time.Now()
				if err := p.Post(t.Context(), "https://r.test/", packed(t)); err == nil || time.Since(began) > time.Second {
					t.Errorf("it took %v, %v", time.Since(began), err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				if err := p.Post(ctx, "https://r.test/", packed(t)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("when its context ends the error is %v", err)
				}
			})
		})
	}
	bubble(t, "r.test A 203.0.113.1\n", func(t *testing.T, w *world) {
		w.answerAll(0)
		p := tlsrpt.Poster{Resolver: w.DNS, Dial: w.Dial, Roots: w.roots}
		began := time.Now()
		if err := p.Post(t.Context(), "https://r.test/", packed(t)); err == nil || time.Since(began) > time.Minute {
			t.Errorf("a host that is not there took %v, %v", time.Since(began), err)
		}
		if err := p.Post(t.Context(), "https://none.test/", packed(t)); err == nil || !strings.Contains(err.Error(), "has no address") {
			t.Errorf("error is %v", err)
		}
		if err := p.Post(t.Context(), "https://a b/", packed(t)); err == nil {
			t.Error("it posts to no URL")
		}
	})
}
