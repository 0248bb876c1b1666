package delivery_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// slow is a host that takes its time, another one for each stage.
func slow(extensions ...string) *smtptest.Host {
	return &smtptest.Host{
		Name: "mx1.e.test", Extensions: extensions,
		Script: []smtptest.Cue{
			{At: smtptest.Banner, Delay: 2 * time.Second}, {At: smtptest.Hello, Delay: 3 * time.Second},
			{At: smtptest.StartTLS, Delay: 5 * time.Second}, {At: smtptest.HelloTLS, Delay: 7 * time.Second},
			{At: smtptest.Mail, Delay: 11 * time.Second}, {At: smtptest.Rcpt, Delay: 13 * time.Second},
			{At: smtptest.Final, Delay: 19 * time.Second},
		},
	}
}

// rounded are stages in whole seconds, as the hosts of these tests take them.
func rounded(s delivery.Stages) delivery.Stages {
	for _, d := range []*time.Duration{&s.DNS, &s.Connect, &s.Hello, &s.TLS, &s.Mail, &s.Content, &s.Reply} {
		*d = d.Round(time.Second)
	}
	return s
}

// TestStages is how long each stage of an attempt took: at a host that is slow in all of
// them, on a session that is used again, and at one that fails on the way.
func TestStages(t *testing.T) {
	s := time.Second
	content := queue.String(text)
	for _, c := range []struct {
		name   string
		host   *smtptest.Host
		change func(r *rig)
		want   delivery.Stages
		again  delivery.Stages // with the next message
	}{
		{"a command at a time", slow("STARTTLS"), func(*rig) {},
			delivery.Stages{Hello: 12 * s, TLS: 5 * s, Mail: 24 * s, Reply: 19 * s}, delivery.Stages{Mail: 24 * s, Reply: 19 * s}},
		{"commands in groups", slow("PIPELINING"), func(*rig) {},
			delivery.Stages{Hello: 5 * s, Mail: 24 * s, Reply: 19 * s}, delivery.Stages{Mail: 24 * s, Reply: 19 * s}},
		{"content in chunks, then along with the envelope", slow("PIPELINING", "CHUNKING"), func(*rig) {},
			delivery.Stages{Hello: 5 * s, Mail: 24 * s, Reply: 19 * s}, delivery.Stages{Mail: 24 * s, Reply: 19 * s}},
		{"DNS that is slow", slow(), func(r *rig) {
			if err := r.dns.Set(mxtest.Rule{Name: "e.test.", Delay: 4 * s}); err != nil {
				t.Fatal(err)
			}
		}, delivery.Stages{DNS: 4 * s, Hello: 5 * s, Mail: 24 * s, Reply: 19 * s}, delivery.Stages{Mail: 24 * s, Reply: 19 * s, DNS: 4 * s}},
		{"a network that is slow", &smtptest.Host{Name: "mx1.e.test"}, func(r *rig) {
			if err := r.net.SetLink("192.0.2.1", smtptest.Link{Latency: s}); err != nil {
				t.Fatal(err)
			}
		}, delivery.Stages{Connect: 2 * s, Hello: 4 * s, Mail: 6 * s, Reply: 2 * s}, delivery.Stages{Mail: 6 * s, Reply: 2 * s}},
		{"a refusal", &smtptest.Host{Name: "mx1.e.test", Script: []smtptest.Cue{{At: smtptest.Rcpt, Delay: 6 * s, Reply: "550 5.1.1 who"}}}, func(*rig) {},
			delivery.Stages{Mail: 6 * s}, delivery.Stages{Mail: 6 * s}},
		{"a host that stops reading for a while", &smtptest.Host{
			Name:   "mx1.e.test",
			Script: []smtptest.Cue{{At: smtptest.Content, After: 1 << 10, Delay: 17 * s}, {At: smtptest.Final, Delay: 19 * s}},
		}, func(*rig) { content = queue.String(text + strings.Repeat("a line that is long\r\n", 1<<17)) },
			delivery.Stages{Content: 17 * s, Reply: 19 * s}, delivery.Stages{Content: 17 * s, Reply: 19 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": c.host}, func(t *testing.T, r *rig) {
				c.change(r)
				for i, want := range []delivery.Stages{c.want, c.again} {
					m := message("u@e.test")
					m.Content = content
					began := time.Now()
					report := r.send(t, m)
					a := report.Recipients[0].Attempts[0]
					if got := rounded(a.Stages); got != want {
						t.Errorf("message %d: %+v, want %+v", i+1, got, want)
					}
					all := a.Stages
					sum := all.Connect + all.Hello + all.TLS + all.Mail + all.Content + all.Reply
					if d := (a.Duration - sum).Abs(); d > s/2 || a.Began.Sub(began.Add(all.DNS)).Round(s) != 0 {
						t.Errorf("message %d: it took %v from %v, and its stages %v", i+1, a.Duration, a.Began, sum)
					}
				}
			})
		})
	}
}
