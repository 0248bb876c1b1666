package delivery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestEightBitToSevenBitHosts: a host without 8BITMIME gets 8-bit content in a 7-bit
// form, octet for octet what the other end decodes; and where there is no such form
// another host gets it, or it fails with the reason.
func TestEightBitToSevenBitHosts(t *testing.T) {
	const (
		header  = "From: a@from.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		eight   = header + "Content-Transfer-Encoding: 8bit\r\n\r\nan \u00e9 in a text\r\n"
		quoted  = header + "Content-Transfer-Encoding: quoted-printable\r\n\r\nan =C3=A9 in a text\r\n"
		signed  = "DKIM-Signature: v=1; d=from.test\r\n" + eight
		badMIME = header + "Content-Transfer-Encoding: base64\r\n\r\n\u00e9\r\n"
	)
	long := strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 1<<21/72)
	for _, c := range []struct {
		name    string
		convert delivery.Conversion
		content string
		hosts   [3][]string // what they offer
		takes   int         // which takes it; 0 if none
		want    string      // what it gets, or why none does
	}{
		{name: "DATA", content: eight, hosts: [3][]string{{"SIZE"}}, takes: 1, want: quoted},
		{name: "PIPELINING and CHUNKING", content: eight, hosts: [3][]string{{"PIPELINING", "CHUNKING"}}, takes: 1, want: quoted},
		{name: "a long message", content: eight + long, hosts: [3][]string{{"CHUNKING", "SIZE"}}, takes: 1, want: quoted + long},
		{name: "QUE-16 a signed message goes to a host that can", content: signed, hosts: [3][]string{{}, {"8BITMIME"}}, takes: 2, want: signed},
		{name: "a signed message, on demand", convert: delivery.ConvertSigned, content: signed, hosts: [3][]string{{}, {"8BITMIME"}}, takes: 1, want: "DKIM-Signature: v=1; d=from.test\r\n" + quoted},
		{name: "a signed message that no host can have", content: signed, want: "a signed message is not converted"},
		{name: "the application does not want it", convert: delivery.ConvertNothing, content: eight, want: "8-bit content is not to be converted"},
		{name: "the part is said to be encoded", content: badMIME, want: "said to be encoded"},
		{name: "7-bit content is nobody's business", content: quoted, takes: 1, want: quoted},
		{name: "a host with 8BITMIME gets it as it is", content: eight, hosts: [3][]string{{"8BITMIME"}}, takes: 1, want: eight},
	} {
		t.Run("EXT-12 "+c.name, func(t *testing.T) {
			var hosts [3]*smtptest.Host
			servers := make(map[string]smtptest.Server)
			for i := range hosts {
				hosts[i] = &smtptest.Host{Extensions: append(c.hosts[i], "ENHANCEDSTATUSCODES")}
				servers[fmt.Sprintf("192.0.2.%d", i+1)] = hosts[i]
			}
			bubble(t, zone, servers, func(t *testing.T, r *rig) {
				r.sender.Convert = c.convert
				m := message("u@e.test")
				m.Content = queue.String(c.content)
				report := r.send(t, m)
				rr := &report.Recipients[0]
				if c.takes == 0 {
					if rr.Outcome != queue.Failed || rr.Reply.Enhanced != "5.6.3" || !strings.Contains(rr.Err.Error(), c.want) {
						t.Errorf("%v, %s, %v; want it to fail with 5.6.3: %s", rr.Outcome, rr.Reply.Enhanced, rr.Err, c.want)
					}
					return
				}
				for i, h := range hosts {
					got := h.Messages()
					switch {
					case i+1 != c.takes && len(got) > 0:
						t.Errorf("mx%d got it", i+1)
					case i+1 == c.takes && (len(got) != 1 || string(got[0].Content) != c.want):
						t.Errorf("mx%d got %d messages, want one, in this form: %.300s", i+1, len(got), c.want)
					}
				}
			})
		})
	}
	t.Run("EXT-12 domains at the same time, some of them with 7-bit hosts", func(t *testing.T) {
		inet := map[string]smtptest.Server{}
		domains := "$TTL 300\n"
		var to []string
		for i := range 20 {
			h := &smtptest.Host{Extensions: []string{"PIPELINING"}}
			if i%2 == 0 {
				h.Extensions = append(h.Extensions, "8BITMIME")
			}
			addr, name := fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("d%d.test", i)
			inet[addr] = h
			domains += fmt.Sprintf("%[1]s. MX 10 mx.%[1]s.\nmx.%[1]s. A %[2]s\n", name, addr)
			to = append(to, "u@"+name)
		}
		bubble(t, domains, inet, func(t *testing.T, r *rig) {
			m := message(to...)
			m.Content = queue.String(eight)
			r.send(t, m)
			for addr, s := range inet {
				h := s.(*smtptest.Host)
				wanted := quoted
				if len(h.Extensions) > 1 {
					wanted = eight
				}
				if got := h.Messages(); len(got) != 1 || string(got[0].Content) != wanted {
					t.Errorf("%s got %d messages, want one, in this form: %s", addr, len(got), wanted)
				}
			}
		})
	})
}
