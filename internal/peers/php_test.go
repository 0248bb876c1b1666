//go:build linux

package peers_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// TestPHP: mail() of a real PHP hands its mail to examples/sendmail, with a runner and
// without one, and is told what cannot be taken.
func TestPHP(t *testing.T) {
	dns := &mxtest.Server{Listen: "127.0.0.1:53", DNS: &mxtest.DNS{Zone: "e.test. MX 10 hop.e.test.\nhop.e.test. A 127.0.2.1\n"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	hop := &smtptest.Host{Name: "hop.e.test"}
	serve(t, "127.0.2.1:25", hop)
	if err := os.Chmod(os.Getenv(builtPath), 0o755); err != nil {
		t.Fatal(err)
	}
	s := peers.PHP(os.Getenv(builtPath), "domain = web.e.test\nhelo = web.e.test\nloopback = true\ndns = 127.0.0.1:53\ncollect-every = 100ms\n")
	s.Unpack(t)
	runner := func(args ...string) {
		t.Helper()
		if out, err := s.Run(t.Context(), strings.NewReader(""), append(append(peers.As("runner"), "/opt/sendmail/sendmail"), args...)...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	mail := func(code string) string {
		t.Helper()
		out, err := s.Run(t.Context(), strings.NewReader(""), append(append(peers.As("www"), peers.PHPProgram), "-c", "/etc/php.ini", "-r", "var_dump("+code+");")...)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	arrived := func(word string) string {
		t.Helper()
		var content string
		peers.Eventually(t, "the mail at the next hop", func() bool {
			for _, m := range hop.Messages() {
				if strings.Contains(string(m.Content), word) {
					content = m.From + "|" + strings.Join(m.To(), ",") + "|" + string(m.Content)
				}
			}
			return content != ""
		})
		return content
	}
	runner("-q") // which makes the maildrop
	if out := mail(`mail("u@e.test", "sent without a runner", "line one\nline two\n", "From: Shop <shop@e.test>\r\nBcc: v@e.test", "-fbounces@e.test")`); !strings.Contains(out, "bool(true)") {
		t.Errorf("without a runner: %s", out)
	}
	runner("-q")
	got := arrived("without a runner")
	if !strings.HasPrefix(got, "bounces@e.test|u@e.test,v@e.test|Received: by web.e.test (nexthop, from userid ") || strings.Contains(got[20:], "\r\nBcc") ||
		!strings.Contains(got, "\r\nFrom: Shop <shop@e.test>\r\n") || !strings.HasSuffix(got, "\r\n\r\nline one\r\nline two\r\n\r\n") {
		t.Errorf("%q", got)
	}
	s.Restart(t)
	t.Cleanup(s.Stop)
	if out := mail(`mail(["u@e.test"][0], "with a runner", ".\n..\nlast", ["X-One" => "1", "Cc" => "w@e.test"])`); !strings.Contains(out, "bool(true)") {
		t.Errorf("with a runner: %s", out)
	}
	if got := arrived("with a runner"); !strings.HasPrefix(got, "www@web.e.test|u@e.test,w@e.test|") || !strings.HasSuffix(got, "\r\n\r\n.\r\n..\r\nlast\r\n") || !strings.Contains(got, "\r\nFrom: www@web.e.test\r\n") {
		t.Errorf("%q", got)
	}
	if out := mail(`mail("a b", "to nobody", "x")`); !strings.Contains(out, "bool(false)") {
		t.Errorf("to nobody: %s", out)
	}
	hop.Check(t)
}
