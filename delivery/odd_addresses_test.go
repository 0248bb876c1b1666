package delivery_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// oddAddresses are mailboxes people have and no grammar: as they are written, and as
// a command names them.
func oddAddresses() [][2]string {
	return [][2]string{
		{"try..this..0511@e.test", `"try..this..0511"@e.test`},
		{"abc.@e.test", `"abc."@e.test`},
		{".abc@e.test", `".abc"@e.test`},
		{".@e.test", `"."@e.test`},
		{`"a..b"@e.test`, `"a..b"@e.test`},
		{"bob@my_host.e.test", "bob@my_host.e.test"},
		{"root@_web_01.e.test", "root@_web_01.e.test"},
		{"a@-b-.e.test", "a@-b-.e.test"},
		{"a@123.e.test", "a@123.e.test"},
		{"..a..@my_host.e.test", `"..a.."@my_host.e.test`},
	}
}

// TestOddAddresses: dots where none may be are sent in quotes, and names that no host
// may have are looked up, in either path.
func TestOddAddresses(t *testing.T) {
	const zone = "$ORIGIN e.test.\n@ MX 10 mx1\nmy_host MX 10 mx1\n_web_01 MX 10 mx1\n-b- MX 10 mx1\n123 MX 10 mx1\nmx1 A 192.0.2.1\n"
	for _, c := range oddAddresses() {
		t.Run("SMTP-11, MX-13 "+c[0], func(t *testing.T) {
			host := script()
			bubble(t, zone, map[string]smtptest.Server{"192.0.2.1:25": host}, func(t *testing.T, r *rig) {
				m := message(c[0])
				m.From = c[0]
				report := r.send(t, m)
				want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
				got := host.Messages()
				if len(got) != 1 || got[0].From != c[1] || !slices.Equal(got[0].To(), []string{c[1]}) {
					t.Errorf("%+v, want %s from and to", got, c[1])
				}
			})
		})
	}
	t.Run("MX-4 a domain that DNS does not know fails by its word", func(t *testing.T) {
		bubble(t, zone, nil, func(t *testing.T, r *rig) {
			report := r.send(t, message("bob@no_host.e.test"))
			want(t, &report.Recipients[0], queue.Failed, "", "5.1.2")
			if len(r.dns.Queries()) == 0 {
				t.Error("DNS was not asked")
			}
		})
	})
}

// TestOddAddressesQueued: the same through a queue, and back as a report.
func TestOddAddressesQueued(t *testing.T) {
	for _, c := range oddAddresses() {
		t.Run("SMTP-11, MX-13 "+c[0], func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{
					Zone:  "$ORIGIN e.test.\n@ MX 10 mx1\nmy_host MX 10 mx1\n_web_01 MX 10 mx1\n-b- MX 10 mx1\n123 MX 10 mx1\nmx1 A 192.0.2.1\n",
					Hosts: map[string]*smtptest.Host{"mx1.e.test": host},
				}).start()
				m := message(c[0], "u@nowhere.test")
				m.From = c[0]
				o.submit(m)
				pass(time.Minute)
				o.stop()
				from := make(map[string]bool)
				for _, m := range host.Messages() {
					from[m.From] = true
					if !slices.Equal(m.To(), []string{c[1]}) || m.From == "" && !strings.Contains(string(m.Content), "\r\nTo: <"+c[1]+">\r\n") {
						t.Errorf("to %q: %s", m.To(), m.Content)
					}
				}
				if len(from) != 2 || !from[""] || !from[c[1]] {
					t.Errorf("sent from %v, want a message from %s and a report", from, c[1])
				}
				host.Check(t)
			})
		})
	}
}
