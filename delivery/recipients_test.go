package delivery_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

func addresses(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("u%03d@e.test", i))
	}
	return list
}

// TestRecipients is what a report says of each of several.
func TestRecipients(t *testing.T) {
	t.Run("SMTP-23, QUE-4 each has its own verdict, and only the open one goes on", func(t *testing.T) {
		first := script(
			smtptest.Cue{At: smtptest.Rcpt, Address: "no@e.test", Reply: "550 5.1.1 who"},
			smtptest.Cue{At: smtptest.Rcpt, Address: "later@e.test", Reply: "450 4.2.0 later"},
		)
		second := script()
		bubble(t, zone, servers(first, second), func(t *testing.T, r *rig) {
			report := r.send(t, message("yes@e.test", "no@e.test", "later@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
			want(t, &report.Recipients[1], queue.Failed, "mx1.e.test", "5.1.1")
			want(t, &report.Recipients[2], queue.Delivered, "mx2.e.test", "")
			if m := first.Messages(); len(m) != 1 || !slices.Equal(m[0].To(), []string{"yes@e.test"}) {
				t.Errorf("first host: %+v", m)
			}
			if m := second.Messages(); len(m) != 1 || !slices.Equal(m[0].To(), []string{"later@e.test"}) {
				t.Errorf("second host: %+v", m)
			}
		})
	})
	t.Run("MX-14, I18N-3, SMTP-13 spellings of one domain are one lookup and one transaction", func(t *testing.T) {
		host := script()
		bubble(t, "$ORIGIN xn--bcher-kva.test.\n@ MX 10 m\nm A 192.0.2.1\n", servers(host), func(t *testing.T, r *rig) {
			r.send(t, message("a@b\u00fccher.test", "b@B\u00dcCHER.test", "c@XN--BCHER-KVA.test", "d@xn--bcher-kva.test."))
			if n := r.dns.Count("xn--bcher-kva.test", 15); n != 1 {
				t.Errorf("%d MX queries, want 1", n)
			}
			if m := host.Messages(); len(m) != 1 || len(m[0].Recipients) != 4 {
				t.Errorf("messages %+v", m)
			}
		})
	})
	t.Run("SMTP-13 a limit of 100 makes three transactions of 250", func(t *testing.T) {
		host := &smtptest.Host{Extensions: full(), MaxRecipients: 100}
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(250)...))
			exactlyOnce(t, report, host, 3, 100)
			if n := len(host.Connections()); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	})
	t.Run("SMTP-13 a hundred at a time where the host states no limit", func(t *testing.T) {
		host := &smtptest.Host{Extensions: full()}
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			exactlyOnce(t, r.send(t, message(addresses(250)...)), host, 3, 100)
		})
	})
	t.Run("SMTP-24 a smaller limit is met again at once", func(t *testing.T) {
		host := &smtptest.Host{Extensions: []string{"PIPELINING"}, MaxRecipients: 30}
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(70)...))
			exactlyOnce(t, report, host, 3, 30)
		})
	})
	t.Run("EXT-27 RCPTMAX is kept to", func(t *testing.T) {
		host := &smtptest.Host{Extensions: append(full(), "LIMITS RCPTMAX=2")}
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(5)...))
			exactlyOnce(t, report, host, 3, 2)
		})
	})
	t.Run("SMTP-42, EXT-27 MAILMAX makes new connections", func(t *testing.T) {
		host := &smtptest.Host{Extensions: append(full(), "LIMITS MAILMAX=2")}
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			for i := range 5 {
				report := r.send(t, message(fmt.Sprintf("u%d@e.test", i)))
				want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
			}
			if n := len(host.Connections()); n != 3 {
				t.Errorf("%d connections, want 3", n)
			}
		})
	})
	t.Run("a recipient named twice is offered once and reported twice", func(t *testing.T) {
		host := script()
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			report := r.send(t, message("u@e.test", `"u"@E.test`, "U@e.test"))
			for i := range report.Recipients {
				want(t, &report.Recipients[i], queue.Delivered, "mx1.e.test", "")
			}
			if m := host.Messages(); len(m) != 1 || !slices.Equal(m[0].To(), []string{"u@e.test", "U@e.test"}) {
				t.Errorf("messages %+v", m)
			}
		})
	})
	t.Run("destinations do not wait for each other", func(t *testing.T) {
		stuck := script(smtptest.Cue{At: smtptest.Banner, Then: smtptest.Stall})
		good := script()
		bubble(t, zone+"$ORIGIN f.test.\n@ MX 10 m\nm A 192.0.2.2\n$ORIGIN g.test.\n@ MX 10 m\nm A 192.0.2.1\n",
			servers(stuck, good), func(t *testing.T, r *rig) {
				report := r.send(t, message("u@g.test", "u@f.test"))
				want(t, &report.Recipients[0], queue.Deferred, "m.g.test", "")
				want(t, &report.Recipients[1], queue.Delivered, "m.f.test", "")
				if d := report.Recipients[1].Attempts[0].Duration; d.Seconds() > 1 {
					t.Errorf("the good one took %v", d)
				}
			})
	})
	t.Run("FAULTS 1: at most five sessions that reach MAIL", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("$ORIGIN e.test.\n")
		hosts := map[string]smtptest.Server{}
		for i := range 9 {
			fmt.Fprintf(&b, "@ MX %d m%d\nm%d A 192.0.2.%d\n", i, i, i, 100+i)
			hosts[fmt.Sprintf("192.0.2.%d", 100+i)] = script(smtptest.Cue{At: smtptest.Rcpt, Reply: "450 4.7.1 greylisted"})
		}
		bubble(t, b.String(), hosts, func(t *testing.T, r *rig) {
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Deferred, "m4.e.test", "4.7.1")
			if n := len(r.net.Dials()); n != 5 {
				t.Errorf("%d sessions, want 5", n)
			}
		})
	})
}

// exactlyOnce checks that every recipient got the message once, in so many
// transactions of at most so many recipients.
func exactlyOnce(t *testing.T, report *delivery.Report, host *smtptest.Host, transactions, most int) {
	t.Helper()
	got := map[string]int{}
	messages := host.Messages()
	for _, m := range messages {
		if len(m.Recipients) > most {
			t.Errorf("a transaction of %d recipients, want at most %d", len(m.Recipients), most)
		}
		for _, to := range m.To() {
			got[to]++
		}
	}
	if len(messages) != transactions {
		t.Errorf("%d transactions, want %d", len(messages), transactions)
	}
	for i := range report.Recipients {
		rr := &report.Recipients[i]
		if rr.Outcome != queue.Delivered || got[rr.Address] != 1 {
			t.Fatalf("%s: %v (%v), arrived %d times", rr.Address, rr.Outcome, rr.Err, got[rr.Address])
		}
	}
}

// TestDoor is bad input: refused by name, and nothing of it on the wire.
func TestDoor(t *testing.T) {
	long := strings.Repeat("x", 999) + "\r\n"
	cases := []struct {
		name     string
		from     string
		to       string
		content  queue.Content
		enhanced string
		outcome  queue.Outcome
	}{
		{"SMTP-10 CRLF in a recipient", "a@b.test", "a@b\r\nRCPT TO:<x@y.test>", queue.String(text), "5.1.3", queue.Failed},
		{"SMTP-10 CRLF in a quoted part", "a@b.test", "\"a\r\nb\"@e.test", queue.String(text), "5.1.3", queue.Failed},
		{"SMTP-10 CRLF in the reverse-path", "a@b.test>\r\nRCPT TO:<x@y.test", "u@e.test", queue.String(text), "5.1.7", queue.Failed},
		{"SMTP-10 NUL", "a@b.test", "a\x00@e.test", queue.String(text), "5.1.3", queue.Failed},
		{"no domain", "a@b.test", "postmaster", queue.String(text), "5.1.3", queue.Failed},
		{"no address", "a@b.test", "", queue.String(text), "5.1.3", queue.Failed},
		{"MX-13 empty label", "a@b.test", "u@a..b", queue.String(text), "5.1.2", queue.Failed},
		{"MX-12 bad literal", "a@b.test", "u@[300.1.1.1]", queue.String(text), "5.1.3", queue.Failed},
		{"overlong", "a@b.test", strings.Repeat("x", 2000) + "@e.test", queue.String(text), "5.1.3", queue.Failed},
		{"SMTP-30 NUL in the content", "a@b.test", "u@e.test", queue.String("a\x00b\r\n"), "5.6.0", queue.Failed},
		{"SMTP-31 a long line", "a@b.test", "u@e.test", queue.String(long), "5.6.0", queue.Failed},
		{"no content", "a@b.test", "u@e.test", nil, "5.6.0", queue.Failed},
		{"content that cannot be read", "a@b.test", "u@e.test", queue.File("/nowhere/at/all"), "4.3.0", queue.Deferred},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			host := script()
			bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
				report := r.send(t, &queue.Message{
					From: c.from, Recipients: []queue.Recipient{{Address: c.to}}, Content: c.content,
				})
				rr := &report.Recipients[0]
				if rr.Outcome != c.outcome || rr.Err.Stage != delivery.StageMessage || rr.Err.Enhanced != c.enhanced {
					t.Errorf("%v, %s at %v: %v", rr.Outcome, rr.Err.Enhanced, rr.Err.Stage, rr.Err)
				}
				if len(r.net.Dials()) != 0 || len(r.dns.Queries()) != 0 {
					t.Error("somebody was asked")
				}
			})
		})
	}
	t.Run("a bad address is named once, and in one line", func(t *testing.T) {
		err := delivery.ValidateEnvelope(message("a b@e.test"))
		if got := err.Error(); strings.Count(got, "a b@e.test") != 1 || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%s", got)
		}
	})
	t.Run("a bad recipient does not hold up a good one", func(t *testing.T) {
		host := script()
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			report := r.send(t, message("bad", "u@e.test"))
			want(t, &report.Recipients[0], queue.Failed, "", "5.1.3")
			want(t, &report.Recipients[1], queue.Delivered, "mx1.e.test", "")
		})
	})
	t.Run("a Sender that makes no sense defers, and says everything that is wrong", func(t *testing.T) {
		bubble(t, zone, servers(script()), func(t *testing.T, r *rig) {
			r.sender.Hello, r.sender.MaxSessions = "no name", -1
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Deferred, "", "4.3.5")
			for _, field := range []string{"Sender.Hello", "Sender.MaxSessions"} {
				if err := report.Err(); !strings.Contains(err.Error(), field) {
					t.Errorf("no %s in %v", field, err)
				}
			}
			if len(r.net.Dials()) != 0 {
				t.Error("somebody was dialled")
			}
		})
	})
	t.Run("no recipients", func(t *testing.T) {
		var s delivery.Sender
		_, err := s.Send(t.Context(), &queue.Message{Content: queue.String(text)})
		var e *delivery.Error
		if !errors.As(err, &e) || e.Temporary() {
			t.Errorf("error %v", err)
		}
	})
	t.Run("SMTP-32 a relay's content is passed on unchanged or not at all", func(t *testing.T) {
		host := &smtptest.Host{Extensions: full(), Allow: []smtptest.Rule{smtptest.RuleContentLine}}
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			r.sender.Content = delivery.ContentRelay
			m := message("u@e.test")
			relayed := "Return-Path: <x@y.test>\r\nreceived: by z\r\n\tfolded\r\n\r\n" + long + ".\r\n"
			m.Content = queue.String(relayed)
			r.send(t, m)
			if got := host.Messages(); len(got) != 1 || string(got[0].Content) != relayed {
				t.Errorf("messages %+v", got)
			}
			m.Content = queue.String("bare\nLF\r\n")
			report := r.send(t, m)
			want(t, &report.Recipients[0], queue.Failed, "", "5.6.0")
		})
	})
	t.Run("SMTP-8, SMTP-14 the null reverse-path stays null and nothing is added to the message", func(t *testing.T) {
		host := script()
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			m := message("u@e.test", "v@e.test")
			m.From = ""
			r.send(t, m)
			got := host.Messages()
			if len(got) != 1 || got[0].From != "" || string(got[0].Content) != text {
				t.Errorf("messages %+v", got)
			}
		})
	})
}
