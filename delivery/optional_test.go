package delivery_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestTLSRequiredNo is the header field that has a message delivered though a policy would
// keep it, from the door of an agent and without one.
func TestTLSRequiredNo(t *testing.T) {
	const (
		no    = "From: a@from.test\r\nTLS-Required: No\r\n\r\nbody\r\n"
		other = "From: a@from.test\r\nTLS-Required: Yes\r\n\r\nbody\r\n"
		both  = "TLS-Required: No\r\nTLS-Required: Maybe\r\n\r\nbody\r\n"
	)
	ca := authority(t)
	for _, c := range []struct {
		name, content string
		asked, want   queue.TLSRequirement
	}{
		{"TLS-53 the field", no, queue.TLSByPolicy, queue.TLSOptional},
		{"TLS-53 REQUIRETLS wins over it", no, queue.TLSRequired, queue.TLSRequired},
		{"TLS-53 the submitter says the same", no, queue.TLSOptional, queue.TLSOptional},
		{"TLS-53 the submitter alone says so", "S: s\r\n\r\n", queue.TLSOptional, queue.TLSOptional},
		{"TLS-53 another value", other, queue.TLSByPolicy, queue.TLSByPolicy},
		{"TLS-53 two that differ", both, queue.TLSByPolicy, queue.TLSByPolicy},
		{"TLS-53 two that differ, and REQUIRETLS", both, queue.TLSRequired, queue.TLSRequired},
		{"TLS-53 in the body", "S: s\r\n\r\nTLS-Required: No\r\n", queue.TLSByPolicy, queue.TLSByPolicy},
	} {
		t.Run(c.name+", at the door", func(t *testing.T) {
			q := &memory.Queue{}
			m := message("u@e.test")
			m.Content, m.TLS = queue.String(c.content), c.asked
			a := &delivery.Agent{Queue: q}
			id, err := a.Submit(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if m.TLS != c.asked {
				t.Error("the message given was changed")
			}
			entry, err := q.Show(t.Context(), id)
			if err != nil || entry.Message.TLS != c.want {
				t.Errorf("%v (%v), want %v", entry.Message.TLS, err, c.want)
			}
		})
		t.Run(c.name+", without an agent", func(t *testing.T) {
			h := &smtptest.Host{Name: "mx1.e.test", Extensions: append(full(), "STARTTLS", "REQUIRETLS"), Authority: ca}
			bubble(t, "e.test. MX 10 mx1.e.test.\nmx1.e.test. A 192.0.2.1\n", servers(h), func(t *testing.T, r *rig) {
				asked := 0
				r.dns.SetSigned("e.test", true)
				r.sender.TLSConfig = ca.ClientConfig()
				r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
					asked++
					return delivery.TLSPolicy{}, nil
				})
				m := message("u@e.test")
				m.Content, m.TLS = queue.String(c.content), c.asked
				want(t, &r.send(t, m).Recipients[0], queue.Delivered, "mx1.e.test", "")
				if (asked == 0) != (c.want == queue.TLSOptional) {
					t.Errorf("policies were asked %d times", asked)
				}
				for _, got := range h.Messages() {
					if required := strings.Contains(strings.Join(got.Params, " "), "REQUIRETLS"); required != (c.want == queue.TLSRequired) {
						t.Errorf("MAIL had %q", got.Params)
					}
				}
			})
		})
	}
}

// TestTLSRequiredNoIsPassedOn: the field stays in the message for the next host, and the
// report of a failure is held up by no policy either.
func TestTLSRequiredNoIsPassedOn(t *testing.T) {
	ca := authority(t)
	synctest.Test(t, func(t *testing.T) {
		next := &smtptest.Host{Name: "mx.test", Authority: ca, Extensions: append(full(), "STARTTLS")}
		o := newOffice(t, &smtptest.Internet{
			Zone:  "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nfrom.test. MX 10 mx.test.\nmx.test. A 192.0.2.1",
			Hosts: map[string]*smtptest.Host{"mx.test": next},
		})
		next.Script = []smtptest.Cue{{At: smtptest.Rcpt, Address: "u@b.test", Reply: "550 5.1.1 no such user"}}
		o.agent.Sender.TLSConfig = ca.ClientConfig()
		o.agent.Sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
			return delivery.TLSPolicy{Level: mx.TLSVerify, ServerName: "other.test"}, nil
		})
		o.start()
		m := message("u@a.test", "u@b.test")
		m.From, m.Content = "x@from.test", queue.String("From: x@from.test\r\nTLS-Required: No\r\n\r\nbody\r\n")
		o.submit(m)
		<-time.After(time.Minute)
		got := next.Messages()
		if len(got) != 2 {
			t.Fatalf("%d messages, want that for a.test and the report about b.test", len(got))
		}
		for _, m := range got {
			if to := m.Recipients[0].Address; to == "u@a.test" && !strings.Contains(string(m.Content), "TLS-Required: No\r\n") {
				t.Errorf("the field is gone:\n%s", m.Content)
			} else if to != "u@a.test" && to != "x@from.test" {
				t.Errorf("a message for %s", to)
			}
		}
	})
}
