package delivery_test

import (
	"net"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestSmartHostOnThisMachine: a relay passes mail on to another server on the same
// machine, under its outside address and at a port of its own; what is the relay
// itself all the same is known by its greeting.
func TestSmartHostOnThisMachine(t *testing.T) {
	for _, c := range []struct {
		name, greeting, hello, mark string
		want                        queue.Outcome
	}{
		{"MX-28 another server at another port", "filter.test", "", "", queue.Delivered},
		{"MX-28 another server at another port, with a mark", "filter.test", "", "m4rk", queue.Delivered},
		{"QUE-19 this relay at another port", "relay.test", "", "", queue.Failed},
		{"QUE-19 this relay at another port, with its mark", "relay.test", "250 relay.test hello m4rk at your service", "m4rk", queue.Failed},
		{"QUE-19 this relay in capitals, with its mark", "relay.test", "250 RELAY.test. m4rk", "m4rk", queue.Failed},
		{"QUE-19 another server of the same name, and nothing to tell it by", "relay.test", "250 relay.test m4rk", "", queue.Failed},
		{"MX-28 another server of the same name", "relay.test", "", "m4rk", queue.Delivered},
		{"MX-28 another server of the same name, with another mark", "relay.test", "250 relay.test M4RK m4rk2", "m4rk", queue.Delivered},
		{"MX-28 another server with our mark and a name of its own", "filter.test", "250 filter.test m4rk", "m4rk", queue.Delivered},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &smtptest.Host{Name: c.greeting}
			if c.hello != "" {
				h.Script = []smtptest.Cue{{At: smtptest.Hello, Reply: c.hello}}
			}
			in := (&smtptest.Internet{Zone: "mail.test. A 198.51.100.5\n", Hosts: map[string]*smtptest.Host{"mail.test:10026": h}}).Start(t)
			table := &smarthost.Table{Router: &mx.Router{
				Resolver: in, Relay: true, Self: []string{"relay.test"},
				InterfaceAddrs: func() ([]net.Addr, error) {
					return []net.Addr{&net.IPNet{IP: net.ParseIP("198.51.100.5"), Mask: net.CIDRMask(24, 32)}}, nil
				},
			}}
			if err := table.Set(smarthost.Rules{Default: []smarthost.Host{{Name: "mail.test", Port: 10026}}}); err != nil {
				t.Fatal(err)
			}
			s := &delivery.Sender{Hello: "relay.test", Router: table, Dial: in.DialContext, Self: []string{"relay.test"}, SelfMark: c.mark}
			defer s.Close()
			report, err := s.Send(t.Context(), &queue.Message{
				Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "a@a.test"}},
			})
			if got := report.Recipients[0].Outcome; got != c.want {
				t.Errorf("outcome is %v, want %v; %v", got, c.want, err)
			}
		})
	}
}

// TestMarkOfMXHosts: an MX host that gives a name of this host is this one, also without
// the mark, and so is the last resort of a domain's own address.
func TestMarkOfMXHosts(t *testing.T) {
	for _, domain := range []string{"e.test", "implicit.test", "[198.51.100.5]"} {
		t.Run("QUE-19 "+domain, func(t *testing.T) {
			h := &smtptest.Host{Name: "relay.test"}
			in := (&smtptest.Internet{
				Zone:  "e.test. MX 10 mail.test.\nmail.test. A 198.51.100.5\nimplicit.test. A 198.51.100.5\n",
				Hosts: map[string]*smtptest.Host{"mail.test": h},
			}).Start(t)
			s := &delivery.Sender{Resolver: in, Dial: in.DialContext, Self: []string{"relay.test"}, SelfMark: "m4rk"}
			defer s.Close()
			report, err := s.Send(t.Context(), &queue.Message{
				Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "a@" + domain}},
			})
			if r := report.Recipients[0]; r.Outcome != queue.Failed || r.Err.Enhanced != "5.4.6" {
				t.Errorf("%v, %v; want a loop", r.Outcome, err)
			}
		})
	}
}

// TestMarkOfFallback: a fallback is named by the operator like any smart host. A probe of
// it finds what an attempt finds.
func TestMarkOfFallback(t *testing.T) {
	for mark, want := range map[string]queue.Outcome{"m4rk": queue.Delivered, "other": queue.Failed} {
		h := &smtptest.Host{Name: "relay.test", Script: []smtptest.Cue{{At: smtptest.Hello, Reply: "250 relay.test other"}}}
		in := (&smtptest.Internet{
			Zone: "mail.test. A 198.51.100.5\n", Rules: []mxtest.Rule{{Name: "e.test", Fault: mxtest.ServFail}},
			Hosts: map[string]*smtptest.Host{"mail.test": h},
		}).Start(t)
		table := &smarthost.Table{Router: &mx.Router{Resolver: in, Self: []string{"relay.test"}}}
		if err := table.Set(smarthost.Rules{Fallback: []smarthost.Host{{Name: "mail.test"}}}); err != nil {
			t.Fatal(err)
		}
		s := &delivery.Sender{Router: table, Dial: in.DialContext, SelfMark: mark}
		defer s.Close()
		report, err := s.Send(t.Context(), &queue.Message{
			Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "a@e.test"}},
		})
		if got := report.Recipients[0].Outcome; (got == queue.Delivered) != (want == queue.Delivered) {
			t.Errorf("with the mark %s: %v, %v; want %v", mark, got, err, want)
		}
		if err := table.Set(smarthost.Rules{Default: []smarthost.Host{{Name: "mail.test"}}}); err != nil {
			t.Fatal(err)
		}
		e, _ := s.ExplainConnect(t.Context(), "", "e.test")
		if probe := e.Policies[0].Probe; (probe.Err == nil) != (want == queue.Delivered) {
			t.Errorf("probe with the mark %s: %v", mark, probe.Err)
		}
	}
}

// TestMarkOfSmartHostAndMXHost: a host of this name that the operator has named gets the mail
// for which it is named. It gets no other, although there is a session with it.
func TestMarkOfSmartHostAndMXHost(t *testing.T) {
	h := &smtptest.Host{Name: "relay.test"}
	in := (&smtptest.Internet{
		Zone:  "e.test. MX 10 mail.test.\nmail.test. A 198.51.100.5\n",
		Hosts: map[string]*smtptest.Host{"mail.test": h},
	}).Start(t)
	table := &smarthost.Table{Router: &mx.Router{Resolver: in, Self: []string{"relay.test"}}}
	if err := table.Set(smarthost.Rules{Special: []smarthost.Rule{{To: "a.test", Hosts: []smarthost.Host{{Name: "mail.test"}}}}}); err != nil {
		t.Fatal(err)
	}
	s := &delivery.Sender{Router: table, Dial: in.DialContext, SelfMark: "m4rk"}
	defer s.Close()
	for _, domain := range []string{"e.test", "a.test", "e.test", "a.test"} {
		report, err := s.Send(t.Context(), &queue.Message{
			Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "a@" + domain}},
		})
		if got := report.Recipients[0].Outcome; (got == queue.Delivered) != (domain == "a.test") {
			t.Errorf("QUE-19 mail for %s: %v, %v", domain, got, err)
		}
	}
}
