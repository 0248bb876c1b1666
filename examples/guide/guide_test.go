package guide

import (
	"context"
	"errors"
	"net"
	stdsmtp "net/smtp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/wneessen/go-mail"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
	"github.com/nexthop-mail/nexthop/smarthost"
)

const zone = `
	example.com.           MX 10 mail.example.com.
	mail.example.com.      A  192.0.2.1
	example.com.           MX 20 mx2.example.com.
	mx2.example.com.       A  192.0.2.4
	example.com.           MX 30 mx3.example.com.
	mx3.example.com.       A  192.0.2.5
	example.net.           MX 10 a.mx.provider.example.
	a.mx.provider.example. A  192.0.2.2
	mail.example.org.      A  192.0.2.3`

// world is hosts, and an agent that sends to them.
type world struct {
	net   *smtptest.Internet
	hosts map[string]*smtptest.Host
	agent *delivery.Agent
}

// newWorld is makeWorld with the agent running.
func newWorld(t *testing.T, settings delivery.Settings, events func(context.Context, delivery.Event)) *world {
	w := makeWorld(t, settings, events)
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- w.agent.Run(ctx) }()
	t.Cleanup(func() {
		if stop(); <-ended != nil {
			t.Error("the agent ended with an error")
		}
	})
	return w
}

// makeWorld makes hosts and an agent in a bubble. It calls events one at a time.
func makeWorld(t *testing.T, settings delivery.Settings, events func(context.Context, delivery.Event)) *world {
	w := &world{hosts: map[string]*smtptest.Host{
		"mail.example.com": {Script: []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "gone@example.com", Reply: "550 5.1.1 No such user"},
			{At: smtptest.Rcpt, Address: "ours@example.com", Reply: "550 5.1.8 Sender's domain does not exist"},
		}},
		"mx3.example.com":       {},
		"a.mx.provider.example": {},
		"mail.example.org:587": {
			Extensions: []string{"STARTTLS"}, ExtensionsTLS: []string{"AUTH PLAIN"}, Users: map[string]string{"app": "secret"},
			Script: []smtptest.Cue{{At: smtptest.Rcpt, Address: "gone@example.com", Reply: "550 5.1.1 No such user"}},
		},
	}}
	w.net = (&smtptest.Internet{Zone: zone, Hosts: w.hosts}).Start(t)
	w.agent = &delivery.Agent{
		Queue:    &memory.Queue{},
		Sender:   &delivery.Sender{Hello: "app.example.org", Resolver: w.net, Dial: w.net.DialContext},
		Settings: settings, Events: events,
	}
	return w
}

// arrived returns who got mail at a host.
func (w *world) arrived(host string) (list []string) {
	for _, m := range w.hosts[host].Messages() {
		list = append(list, m.To()...)
	}
	return list
}

func (w *world) want(t *testing.T, host string, want ...string) {
	t.Helper()
	if got := w.arrived(host); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s has mail for %q, want %q", host, got, want)
	}
}

func TestNewsletter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		suppressed := new(Suppressed)
		w := newWorld(t, newsletterSettings(), suppressed.Learn)
		subscribers := []string{"Gone@example.com", "bob@example.com", "carol@example.net", "no address", "ours@example.com"}
		publish := func(issue string) {
			t.Helper()
			text := "Subject: News\nDate: Mon, 02 Mar 2026 09:30:00 +0100\nMessage-ID: <" + issue + "@example.org>\n\nNews.\n"
			if err := Publish(t.Context(), w.agent, suppressed, issue, subscribers, text); err != nil {
				t.Error(err)
			}
		}
		if err := Pause(t.Context(), w.agent, "Example.NET.", "they asked us to wait"); err != nil {
			t.Error(err)
		}
		publish("1")
		time.Sleep(time.Hour)
		w.want(t, "mail.example.com", "bob@example.com")
		w.want(t, "a.mx.provider.example")
		if !suppressed.Has("gone@example.com") || suppressed.Has("ours@example.com") {
			t.Error("want an unknown user suppressed, and nobody for a failure of ours")
		}
		if n, err := Settled(t.Context(), w.agent, len(subscribers)); n != 4 || err != nil {
			t.Errorf("%d of 5 are settled, %v, want 4", n, err)
		}
		publish("1") // again, as after a crash
		if err := Resume(t.Context(), w.agent, "Example.NET."); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		w.want(t, "mail.example.com", "bob@example.com")
		w.want(t, "a.mx.provider.example", "carol@example.net")
		publish("2")
		time.Sleep(time.Hour)
		w.want(t, "mail.example.com", "bob@example.com", "bob@example.com")
	})
}

// TestNewsletterOnce: a copy that may have arrived is not sent again.
func TestNewsletterOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newsletterSettings(), nil)
		w.hosts["mail.example.com"].Script = []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}
		if err := Publish(t.Context(), w.agent, new(Suppressed), "1", []string{"bob@example.com"}, "Subject: News\n\nNews.\n"); err != nil {
			t.Error(err)
		}
		time.Sleep(72 * time.Hour)
		if n := len(w.hosts["mail.example.com"].Received()); n != 1 {
			t.Errorf("%d copies were sent, want 1", n)
		}
	})
}

// TestNewsletterLimits: twenty a second go to the provider, whatever the domain.
func TestNewsletterLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newsletterSettings(), nil)
		var subscribers []string
		for i := range 200 {
			subscribers = append(subscribers, "u"+strings.Repeat("x", i)[:i%50]+"@example.net")
		}
		for i := range 4 {
			issue := string(rune('a' + i))
			if err := Publish(t.Context(), w.agent, new(Suppressed), issue, subscribers[i*50:][:50], "Subject: News\n\nNews.\n"); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(5 * time.Second)
		if n := len(w.arrived("a.mx.provider.example")); n < 90 || n > 125 {
			t.Errorf("%d messages after 5 s, want 20 a second", n)
		}
		time.Sleep(time.Minute)
		if n := len(w.arrived("a.mx.provider.example")); n != 200 {
			t.Errorf("%d messages in the end, want 200", n)
		}
	})
}

func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := makeWorld(t, delivery.Settings{}, nil)
		w.agent.Sender.Self = []string{"mx2.example.com"}
		trusted := false
		relay := &Relay{
			Agent: w.agent, Name: "mx2.example.com", Domains: []string{"example.com"},
			Trusted: func(net.Addr) bool { return trusted },
		}
		listener, ended := newPipes(), make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		go func() { ended <- relay.Serve(ctx, listener) }()
		send := func(to, content string) error {
			client := smtp.NewClient(listener.dial())
			defer client.Close()
			return client.SendMail("alice@example.org", []string{to}, strings.NewReader(content))
		}
		const hello = "Subject: Hello\r\n\r\nHello!\r\n"
		for _, c := range []struct {
			name, to, content string
			trusted           bool
			code              int
			status            smtp.EnhancedCode
		}{
			{name: "a domain of ours", to: "bob@Example.COM", content: hello},
			{name: "another domain", to: "carol@example.net", content: hello, code: 550, status: smtp.EnhancedCode{5, 7, 1}},
			{name: "no domain", to: "carol@", content: hello, code: 501, status: smtp.EnhancedCode{5, 5, 2}},
			{name: "another domain, trusted", to: "carol@example.net", content: hello, trusted: true},
			{name: "a domain that does not exist, trusted", to: "eve@nowhere.example", content: hello, trusted: true, code: 550, status: smtp.EnhancedCode{5, 1, 2}},
			{name: "a loop", to: "bob@example.com", content: strings.Repeat("Received: from a by b; c\r\n", 101) + hello, code: 550, status: smtp.EnhancedCode{5, 4, 6}},
		} {
			trusted = c.trusted
			err := send(c.to, c.content)
			e, ok := errors.AsType[*smtp.SMTPError](err)
			if ok != (c.code != 0) || ok && (e.Code != c.code || e.EnhancedCode != c.status) || !ok && err != nil {
				t.Errorf("%s: %v, want %d %v", c.name, err, c.code, c.status)
			}
		}
		time.Sleep(time.Minute)
		w.want(t, "mail.example.com", "bob@Example.COM")
		w.want(t, "a.mx.provider.example", "carol@example.net")
		if m := w.hosts["mail.example.com"].Messages()[0]; !strings.HasPrefix(string(m.Content), "Received: from ") {
			t.Errorf("what arrived has no trace:\n%s", m.Content)
		}

		// The primary is down: the mail waits here, and goes to no host that is no better than this one.
		w.net.Cut("mail.example.com")
		if err := send("dave@example.com", hello); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		w.net.Heal("mail.example.com")
		time.Sleep(5 * time.Hour)
		w.want(t, "mail.example.com", "bob@Example.COM", "dave@example.com")
		if slices.Contains(w.net.Visits(), "mx3.example.com") {
			t.Error("mail went past this host")
		}
		idle := listener.dial() // does not keep the relay from ending
		defer idle.Close()
		synctest.Wait()
		if stop(); <-ended != nil {
			t.Error("the relay ended with an error")
		}
		w.net.Check(t)
	})
}

// TestRelayDSN: what the client says of reports goes with the message.
func TestRelayDSN(t *testing.T) {
	s := &session{relay: &Relay{Trusted: func(net.Addr) bool { return true }}}
	if err := s.Mail("alice@example.org", &smtp.MailOptions{EnvelopeID: "1", Return: smtp.DSNReturnHeaders}); err != nil {
		t.Error(err)
	}
	if s.message.EnvelopeID != "1" || s.message.Return != queue.ReturnHeaders {
		t.Errorf("%+v", s.message)
	}
	r := recipient("bob@example.com", &smtp.RcptOptions{
		Notify:                []smtp.DSNNotify{smtp.DSNNotifySuccess, smtp.DSNNotifyDelayed, smtp.DSNNotifyFailure},
		OriginalRecipientType: smtp.DSNAddressTypeRFC822, OriginalRecipient: "rob@example.net",
	})
	want := queue.Recipient{
		Address: "bob@example.com", OriginalType: "rfc822", Original: "rob@example.net",
		Notify: queue.NotifySuccess | queue.NotifyDelay | queue.NotifyFailure,
	}
	if r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
}

// TestBefore: the programs as they were send to the same kind of host.
func TestBefore(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"AUTH PLAIN"}, Users: map[string]string{"app": "secret"}}
	addr := host.Start(t)
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := withNetSMTP(addr, stdsmtp.PlainAuth("", "app", "secret", name), []string{"bob@example.com"}, []byte("Subject: Hello\r\n\r\n")); err != nil {
		t.Error(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	client, err := mail.NewClient(name, mail.WithPort(number), mail.WithTLSPolicy(mail.NoTLS),
		mail.WithSMTPAuth(mail.SMTPAuthPlainNoEnc), mail.WithUsername("app"), mail.WithPassword("secret"))
	if err != nil {
		t.Fatal(err)
	}
	m := mail.NewMsg()
	if err := errors.Join(m.From("app@example.org"), m.To("carol@example.net")); err != nil {
		t.Fatal(err)
	}
	if err := withGoMail(t.Context(), client, m); err != nil {
		t.Error(err)
	}
	if n := len(host.Messages()); n != 2 {
		t.Errorf("%d messages arrived, want 2", n)
	}
}

func TestReply(t *testing.T) {
	for err, want := range map[error]int{queue.ErrFull: 452, queue.ErrClosed: 451, context.Canceled: 451} {
		if e, ok := errors.AsType[*smtp.SMTPError](reply(err)); !ok || e.Code != want {
			t.Errorf("%v: %v, want %d", err, reply(err), want)
		}
	}
	if err := reply(nil); err != nil {
		t.Errorf("nil: %v", err)
	}
}

// TestCounted: the wrapper keeps the contract of a queue.
func TestCounted(t *testing.T) {
	queuetest.Run(t, queuetest.Implementation{Open: func() (*queuetest.Instance, error) {
		return &queuetest.Instance{Queue: &Counted{Queue: new(memory.Queue)}}, nil
	}})
}

func TestCounts(t *testing.T) {
	counted := &Counted{Queue: new(memory.Queue)}
	agent := &delivery.Agent{Queue: counted}
	for range 3 {
		_, err := agent.Submit(t.Context(), &queue.Message{
			Recipients: []queue.Recipient{{Address: "bob@example.com"}}, Content: queue.String("Subject: Hello\n\n"),
		})
		if err != nil {
			t.Error(err)
		}
	}
	if counted.N.Load() != 3 {
		t.Errorf("%d messages were counted, want 3", counted.N.Load())
	}
	if page, err := queue.List(t.Context(), counted, queue.ListOptions{}); err != nil || len(page.Entries) != 3 {
		t.Errorf("a list of %d, %v", len(page.Entries), err)
	}
}

func TestMigrated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, delivery.Settings{}, nil)
		sender, err := newSender()
		if err != nil {
			t.Fatal(err)
		}
		defer sender.Close()
		sender.Router.(*smarthost.Table).Router = &mx.Router{Resolver: w.net}
		sender.Dial, sender.TLSConfig = w.net.DialContext, w.net.Authority.ClientConfig()

		content := []byte("Subject: Hello\r\n\r\nHello!\r\n")
		if err := withNexthop(t.Context(), sender, []string{"bob@example.com"}, content); err != nil {
			t.Error(err)
		}
		m := mail.NewMsg()
		if err := m.From("app@example.org"); err != nil {
			t.Fatal(err)
		}
		if err := m.To("carol@example.net", "gone@example.com"); err != nil {
			t.Fatal(err)
		}
		m.SetBodyString(mail.TypeTextPlain, "Hello!")
		if err := withBoth(t.Context(), sender, m); err == nil || !strings.Contains(err.Error(), "gone@example.com") {
			t.Errorf("one of two recipients is refused: %v", err)
		}
		w.want(t, "mail.example.org:587", "bob@example.com", "carol@example.net")
	})
}
