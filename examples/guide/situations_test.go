package guide

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// situation is an Internet with an agent, and what became of its mail.
type situation struct {
	*smtptest.Internet
	t      *testing.T
	agent  *delivery.Agent
	mu     sync.Mutex
	events []delivery.Event
}

// host is the mail host of example.com.
const host = "mail.example.com"

// internet has one mail host, which follows a script.
func internet(script ...smtptest.Cue) *smtptest.Internet {
	return &smtptest.Internet{
		Zone: `
			example.com.      MX 10 mail.example.com.
			mail.example.com. A  192.0.2.1`,
		Hosts: map[string]*smtptest.Host{host: {Script: script}},
	}
}

// try runs a test with an agent in a bubble. change may change the agent before it runs.
func try(t *testing.T, in *smtptest.Internet, change func(*delivery.Agent), test func(*testing.T, *situation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &situation{Internet: in.Start(t), t: t}
		s.agent = &delivery.Agent{
			Queue:  &memory.Queue{},
			Sender: &delivery.Sender{Hello: "app.example.org", Resolver: in, Dial: in.DialContext},
			Bounce: func(delivery.Event) bool { return false },
			Events: func(_ context.Context, e delivery.Event) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.events = append(s.events, e)
			},
		}
		if change != nil {
			change(s.agent)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.agent.Run(ctx) }()
		test(t, s)
		if stop(); <-ended != nil {
			t.Error("the agent ended with an error")
		}
		in.Check(t)
	})
}

// submit queues a message, to bob@example.com if it has no recipients.
func (s *situation) submit(m queue.Message) (id string) {
	s.t.Helper()
	m.From, m.Content = "app@example.org", queue.String("Subject: Hello\n\nHello.\n")
	if m.Recipients == nil {
		m.Recipients = []queue.Recipient{{Address: "bob@example.com"}}
	}
	id, err := s.agent.Submit(s.t.Context(), &m)
	if err != nil {
		s.t.Error(err)
	}
	return id
}

// told compares the events so far with the kinds that are wanted, and returns the last.
func (s *situation) told(want ...delivery.EventKind) (last delivery.Event) {
	s.t.Helper()
	time.Sleep(time.Second) // for what is under way
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []delivery.EventKind
	for _, e := range s.events {
		got, last = append(got, e.Kind), e
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("the events are %v, want %v", got, want)
	}
	return last
}

// visited compares the hosts that were connected to.
func (s *situation) visited(want ...string) {
	s.t.Helper()
	if got := s.Visits(); !slices.Equal(got, want) {
		s.t.Errorf("the agent connected to %v, want %v", got, want)
	}
}

func TestGreylisting(t *testing.T) {
	in := internet(smtptest.Cue{At: smtptest.Rcpt, Until: 5 * time.Minute, Reply: "450 4.7.1 Greylisted"})
	try(t, in, nil, func(t *testing.T, s *situation) {
		s.submit(queue.Message{})
		time.Sleep(10 * time.Minute)
		s.told(delivery.Queued, delivery.Deferred, delivery.Delivered)
	})
}

func TestDownForTwoHours(t *testing.T) {
	try(t, internet(), nil, func(t *testing.T, s *situation) {
		began := time.Now()
		s.Cut(host)
		s.submit(queue.Message{})
		time.Sleep(2 * time.Hour)
		s.Heal(host)
		time.Sleep(3 * time.Hour)
		if got := s.Hosts[host].Messages(); len(got) != 1 || got[0].At.Sub(began) < 2*time.Hour {
			t.Errorf("arrived: %v", got)
		}
	})
}

func TestNullMX(t *testing.T) {
	try(t, &smtptest.Internet{Zone: "example.com. MX 0 ."}, nil, func(t *testing.T, s *situation) {
		s.submit(queue.Message{})
		if e := s.told(delivery.Queued, delivery.Failed); e.Code != 556 || e.Enhanced != "5.1.10" {
			t.Errorf("%d %s, want 556 5.1.10", e.Code, e.Enhanced)
		}
	})
}

func TestServFail(t *testing.T) {
	in := internet()
	in.Rules = []mxtest.Rule{{Name: "example.com", Type: mx.TypeMX, Fault: mxtest.ServFail, Times: 2}}
	try(t, in, nil, func(t *testing.T, s *situation) {
		s.submit(queue.Message{})
		time.Sleep(time.Hour)
		s.told(delivery.Queued, delivery.Deferred, delivery.Deferred, delivery.Delivered)
	})
}

// TestDANE: TLSA records count if a resolver that is trusted vouches for them by its AD bit.
func TestDANE(t *testing.T) {
	for name, c := range map[string]struct {
		record  bool // is it that of the host's authority?
		ad      bool // is the AD bit trusted?
		arrives bool
		tls     string
	}{
		"the right record": {record: true, ad: true, arrives: true, tls: "dane"},
		"another record":   {ad: true},
		"without AD":       {arrives: true, tls: "encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			in := internet()
			var err error
			if in.Authority, err = smtptest.NewAuthority(); err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256(in.Authority.Root().RawSubjectPublicKeyInfo)
			if !c.record {
				digest[0]++
			}
			in.Zone += fmt.Sprintf("\n\t\t\t_25._tcp.mail.example.com. TLSA 2 1 1 %x", digest)
			in.Signed = map[string]bool{"example.com": true}
			in.Hosts[host].Extensions = []string{"STARTTLS"}
			try(t, in, func(a *delivery.Agent) {
				// A real client, whose messages go to the Internet's DNS.
				a.Sender.Resolver = &mx.Client{Servers: []mx.Server{{Addr: "192.0.2.53:53", TrustAD: c.ad}}, Dial: in.DNS().Dial}
				a.Sender.Policy = &trust.Source{Resolver: a.Sender.Resolver, NoMTASTS: true}
				a.Events = delivery.Hooks(a.Events, func(_ context.Context, e delivery.Event) {
					if e.Kind == delivery.Delivered && e.TLS.String() != c.tls {
						t.Errorf("TLS is %v, want %s", e.TLS, c.tls)
					}
				})
			}, func(t *testing.T, s *situation) {
				id := s.submit(queue.Message{})
				time.Sleep(time.Minute)
				if n := len(s.Hosts[host].Messages()); (n == 1) != c.arrives {
					t.Errorf("%d messages arrived", n)
				}
				if why, err := s.agent.Why(t.Context(), id); !c.arrives && (err != nil || !strings.Contains(why[0].Last, "DANE")) {
					t.Errorf("it waits because of %v, %v; want DANE", why, err)
				}
			})
		})
	}
}

// TestMTASTS: mail goes to no host that the policy does not name, whatever its preference.
func TestMTASTS(t *testing.T) {
	in := internet()
	in.Zone += `
			example.com.          MX  5 evil.example.net.
			evil.example.net.     A   192.0.2.6
			_mta-sts.example.com. TXT "v=STSv1; id=1;"`
	in.Hosts["evil.example.net"] = &smtptest.Host{Extensions: []string{"STARTTLS"}}
	in.Hosts[host].Extensions = []string{"STARTTLS"}
	policy, err := mtasts.ParsePolicy([]byte("version: STSv1\nmode: enforce\nmx: mail.example.com\nmax_age: 604800\n"))
	if err != nil {
		t.Fatal(err)
	}
	try(t, in, func(a *delivery.Agent) {
		store, now := &mtasts.Memory{}, time.Now()
		if err := store.Save(context.Background(), mtasts.Entry{Domain: "example.com", ID: "1", Policy: policy, Fetched: now, Used: now}); err != nil {
			t.Fatal(err)
		}
		a.Sender.Policy = &trust.Source{Resolver: in, Store: store, NoDANE: true}
		a.Sender.TLSConfig = in.Authority.ClientConfig()
	}, func(t *testing.T, s *situation) {
		s.submit(queue.Message{})
		if e := s.told(delivery.Queued, delivery.Delivered); e.TLS.String() != "mta-sts" {
			t.Errorf("TLS is %v, want mta-sts", e.TLS)
		}
		s.visited(host)
	})
}

// TestSmartHost: a login needs a certificate that is trusted, here that of the test's authority.
func TestSmartHost(t *testing.T) {
	for password, want := range map[string]delivery.EventKind{"secret": delivery.Delivered, "wrong": delivery.LoginRefused} {
		in := &smtptest.Internet{
			Zone: "smart.example.org. A 192.0.2.9",
			Hosts: map[string]*smtptest.Host{"smart.example.org:587": {
				Extensions: []string{"STARTTLS"}, ExtensionsTLS: []string{"AUTH PLAIN"}, Users: map[string]string{"app": "secret"},
			}},
		}
		try(t, in, func(a *delivery.Agent) {
			table, err := smarthost.Via("submission://app:" + password + "@smart.example.org")
			if err != nil {
				t.Fatal(err)
			}
			table.Router = &mx.Router{Resolver: in} // else it asks the system's
			a.Sender.Router, a.Sender.Resolver = table, nil
			a.Sender.TLSConfig = in.Authority.ClientConfig()
		}, func(t *testing.T, s *situation) {
			s.submit(queue.Message{})
			s.told(delivery.Queued, want)
		})
	}
}

// TestOwnHost: neither we nor a host of equal preference gets the mail.
func TestOwnHost(t *testing.T) {
	in := internet()
	in.Zone += `
			example.com.      MX 20 us.example.org.
			example.com.      MX 20 peer.example.org.
			us.example.org.   A  192.0.2.2
			peer.example.org. A  192.0.2.3`
	in.Hosts["peer.example.org"] = &smtptest.Host{}
	try(t, in, func(a *delivery.Agent) { a.Sender.Self = []string{"us.example.org"} }, func(t *testing.T, s *situation) {
		s.Cut(host)
		s.submit(queue.Message{})
		time.Sleep(2 * time.Minute)
		s.told(delivery.Queued, delivery.Deferred)
		s.visited(host)
	})
}

// TestPaused: nothing is sent while a destination is suspended, and mail expires on time.
func TestPaused(t *testing.T) {
	try(t, internet(), nil, func(t *testing.T, s *situation) {
		domain := queue.Subject{Kind: queue.OfDestination, Name: "example.com"}
		if err := s.agent.Suspend(t.Context(), queue.Suspension{Subject: domain}); err != nil {
			t.Fatal(err)
		}
		s.submit(queue.Message{})
		s.submit(queue.Message{Expires: time.Now().Add(time.Hour)})
		time.Sleep(2 * time.Hour)
		s.visited()
		if n, err := s.agent.Resume(t.Context(), domain); n != 1 || err != nil {
			t.Errorf("%d resumed, %v, want 1", n, err)
		}
		s.told(delivery.Suspended, delivery.Queued, delivery.Queued, delivery.Expired, delivery.Resumed, delivery.Delivered)
	})
}

func TestExpiry(t *testing.T) {
	try(t, internet(), func(a *delivery.Agent) {
		a.Settings = delivery.Settings{Expire: time.Hour, Warn: -1, Schedule: delivery.Delays{20 * time.Minute}}
	}, func(t *testing.T, s *situation) {
		s.Cut(host)
		s.submit(queue.Message{})
		time.Sleep(2 * time.Hour)
		s.told(delivery.Queued, delivery.Deferred, delivery.Deferred, delivery.Deferred, delivery.Expired)
	})
}

func TestAtMostOnce(t *testing.T) {
	try(t, internet(smtptest.Cue{At: smtptest.Final, Then: smtptest.Close}), nil, func(t *testing.T, s *situation) {
		s.submit(queue.Message{Guarantee: queue.AtMostOnce})
		time.Sleep(24 * time.Hour)
		s.told(delivery.Queued, delivery.Failed)
		if n := len(s.Hosts[host].Received()); n != 1 {
			t.Errorf("%d copies were sent, want 1", n)
		}
	})
}

func TestLimits(t *testing.T) {
	try(t, internet(), func(a *delivery.Agent) {
		a.Settings.Groups = map[string]delivery.Group{"provider": {Connections: 2, Rate: 10}}
		a.Settings.Rules = []delivery.Rule{{Match: delivery.Match{MX: host}, Group: "provider"}}
	}, func(t *testing.T, s *situation) {
		for range 100 {
			s.submit(queue.Message{})
		}
		time.Sleep(time.Minute)
		got := s.Hosts[host].Messages()
		if took := got[len(got)-1].At.Sub(got[0].At); len(got) != 100 || took < 9*time.Second || took > 11*time.Second {
			t.Errorf("%d messages in %v, want 100 in 10 s", len(got), took)
		}
		for _, d := range s.Network().Dials() {
			if d.Open > 2 {
				t.Errorf("%d connections, want 2 at most", d.Open)
			}
		}
	})
}

// TestOneOfThree: the error names the recipient who was refused, and the others have the mail.
func TestOneOfThree(t *testing.T) {
	in := internet(smtptest.Cue{At: smtptest.Rcpt, Address: "b@example.com", Reply: "550 5.1.1 No such user"})
	try(t, in, nil, func(t *testing.T, s *situation) {
		report, err := s.agent.Sender.Send(t.Context(), &queue.Message{
			From: "app@example.org", Content: queue.String("Subject: Hello\n\nHello.\n"),
			Recipients: []queue.Recipient{{Address: "a@example.com"}, {Address: "b@example.com"}, {Address: "c@example.com"}},
		})
		if left := report.Undelivered(); !slices.Equal(left, []string{"b@example.com"}) {
			t.Errorf("undelivered: %v; %v", left, err)
		}
	})
}
