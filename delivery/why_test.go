package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// why is why the recipients of a message wait.
func (o *office) why(id string) []delivery.Wait {
	o.t.Helper()
	synctest.Wait()
	list, err := o.agent.Why(o.t.Context(), id)
	if err != nil {
		o.t.Fatalf("Why = %v", err)
	}
	return list
}

// brief is a Wait with its times as so long after the beginning, "-" where there is none.
func (o *office) brief(w delivery.Wait) string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Sub(o.began).Round(time.Second).String()
	}
	text := fmt.Sprintf("%s %s %s %s..%s", w.Destination, w.State, w.Reason, at(w.Since), at(w.Until))
	for _, more := range []string{w.Site, w.Host, w.Last, w.Note} {
		text += "|" + more
	}
	return text
}

func (o *office) wantWhy(id string, want ...string) {
	o.t.Helper()
	var got []string
	for _, w := range o.why(id) {
		if w.ID != id || !strings.HasSuffix(w.Recipient, "@"+w.Destination) {
			o.t.Errorf("it is about %s of %s", w.Recipient, w.ID)
		}
		got = append(got, o.brief(w))
	}
	if !slices.Equal(got, want) {
		o.t.Errorf("Why is\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// stored is an agent that does not run, on the same queue.
func (o *office) stored() *office {
	other := newOfficeIn(o.t, o.net)
	other.queue, other.agent.Queue, other.began = o.queue, o.queue, o.began
	return other
}

// TestWhy says for mail in every state why it waits, by a running agent and by what is
// stored.
func TestWhy(t *testing.T) {
	down := func() *smtptest.Host {
		return &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 4.3.2 no mail today"}}}
	}
	later := func(o *office, m *queue.Message) *queue.Message {
		m.NotBefore = o.began.Add(time.Hour)
		return m
	}
	for _, c := range []struct {
		name   string
		hosts  map[string]*smtptest.Host
		set    func(o *office)
		make   func(o *office) string
		wait   time.Duration
		want   []string // by the agent at work
		stored []string // by one that is not; nil is the same
		norun  bool
	}{
		{
			name:  "new",
			make:  func(o *office) string { return o.submit(to("t", "u@a.test", "u@b.test")) },
			norun: true, wait: time.Minute,
			want: []string{"a.test due new 0s..-||||", "b.test due new 0s..-||||"},
		},
		{
			name: "not before a time",
			make: func(o *office) string { return o.submit(later(o, to("t", "u@a.test"))) },
			wait: time.Minute,
			want: []string{"a.test waiting not-before 0s..1h0m0s||||"},
		},
		{
			name:   "deferred, by the schedule",
			hosts:  map[string]*smtptest.Host{"mx.a.test": {Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "450 4.2.1 later"}}}},
			make:   func(o *office) string { return o.submit(to("t", "u@a.test")) },
			wait:   time.Minute,
			want:   []string{"a.test waiting schedule 0s..5m0s|mx.a.test|mx.a.test|450 4.2.1 later|"},
			stored: []string{"a.test waiting schedule 0s..5m0s||mx.a.test|450 4.2.1 later|"},
		},
		{
			name:   "the site is down, and it was tried itself",
			hosts:  map[string]*smtptest.Host{"mx.a.test": down()},
			make:   func(o *office) string { return o.submit(to("t", "u@a.test")) },
			wait:   time.Minute,
			want:   []string{"a.test waiting schedule 0s..5m0s|mx.a.test|mx.a.test|421 4.3.2 no mail today|"},
			stored: []string{"a.test waiting schedule 0s..5m0s||mx.a.test|421 4.3.2 no mail today|"},
		},
		{
			name:  "the site is down, and it was never tried itself",
			hosts: map[string]*smtptest.Host{"mx.a.test": down()},
			make: func(o *office) string {
				o.submit(to("t", "u@a.test"))
				pass(time.Minute)
				return o.submit(to("t", "other@a.test"))
			},
			wait:   time.Minute,
			want:   []string{"a.test waiting site-down 0s..5m0s|mx.a.test|mx.a.test|421 4.3.2 no mail today|"},
			stored: []string{"a.test waiting site-down 0s..5m0s||mx.a.test|421 4.3.2 no mail today|"},
		},
		{
			name:  "the site is down for long, and it came late",
			hosts: map[string]*smtptest.Host{"mx.a.test": down()},
			make: func(o *office) string {
				o.submit(to("t", "u@a.test"))
				pass(time.Hour)
				return o.submit(to("t", "other@a.test"))
			},
			wait:   time.Minute,
			want:   []string{"a.test waiting site-down 0s..1h50m0s|mx.a.test|mx.a.test|421 4.3.2 no mail today|"},
			stored: []string{"a.test waiting site-down 0s..1h50m0s||mx.a.test|421 4.3.2 no mail today|"},
		},
		{
			name:  "another domain at a site that is down",
			hosts: map[string]*smtptest.Host{"mx.shared.test": down()},
			make: func(o *office) string {
				o.submit(to("t", "u@b.test"))
				pass(time.Minute)
				return o.submit(to("t", "u@c.test"))
			},
			wait:   time.Minute,
			want:   []string{"c.test waiting site-down 0s..5m0s|mx.shared.test|mx.shared.test|421 4.3.2 no mail today|"},
			stored: []string{"c.test waiting site-down 0s..5m0s||mx.shared.test|421 4.3.2 no mail today|"},
		},
		{
			name: "on hold",
			make: func(o *office) string {
				id := o.submit(later(o, to("t", "u@a.test")))
				pass(time.Minute)
				if err := o.agent.HoldUntil(o.t.Context(), id, queue.Terms{Until: o.began.Add(2 * time.Hour), Reason: "looks odd"}); err != nil {
					o.t.Fatal(err)
				}
				return id
			},
			wait: time.Minute,
			want: []string{"a.test held held 1m0s..2h0m0s||||looks odd"},
		},
		{
			name: "on hold until a time that has come",
			make: func(o *office) string {
				id := o.submit(later(o, to("t", "u@a.test")))
				if err := o.agent.HoldUntil(o.t.Context(), id, queue.Terms{Until: o.began.Add(time.Minute)}); err != nil {
					o.t.Fatal(err)
				}
				return id
			},
			wait: 2 * time.Minute, norun: true,
			want: []string{"a.test waiting not-before 0s..1h0m0s||||"},
		},
		{
			name: "suspended, the domain and the tenant",
			make: func(o *office) string {
				o.suspend(suspensionOf(queue.OfDestination, "a.test", o.began.Add(time.Hour)))
				id := o.submit(to("u", "u@a.test", "u@c.test"))
				pass(time.Minute)
				o.suspend(suspensionOf(queue.OfTenant, "u", time.Time{}))
				return id
			},
			norun: true, wait: time.Minute,
			want: []string{"a.test waiting suspended 0s..1h0m0s||||maintenance", "c.test waiting suspended 1m0s..-||||maintenance"},
		},
		{
			name: "suspended, the site",
			make: func(o *office) string {
				o.suspend(suspensionOf(queue.OfSite, "mx.shared.test", time.Time{}))
				return o.submit(to("u", "u@b.test"))
			},
			wait: time.Minute,
			want: []string{"b.test waiting suspended 0s..-|mx.shared.test|||maintenance"},
		},
		{
			name:   "no DNS server answers",
			set:    func(o *office) { o.agent.Sender.Resolver = noServer{} },
			make:   func(o *office) string { return o.submit(to("u", "u@b.test")) },
			wait:   time.Minute,
			want:   []string{"b.test leased dns 0s..-|||no DNS server answers|"},
			stored: []string{"b.test leased claimed -..-||||"},
		},
		{
			name:   "in flight",
			hosts:  map[string]*smtptest.Host{"mx.a.test": slowHost(5 * time.Minute)},
			make:   func(o *office) string { return o.submit(to("t", "u@a.test")) },
			wait:   time.Minute,
			want:   []string{"a.test leased claimed 0s..-|mx.a.test|||"},
			stored: []string{"a.test leased claimed -..-||||"},
		},
		{
			name:  "the site is full",
			hosts: map[string]*smtptest.Host{"mx.a.test": slowHost(5 * time.Minute)},
			set:   func(o *office) { o.agent.Settings.Limits.PerSite = 1 },
			make: func(o *office) string {
				o.submit(to("t", "u@a.test"))
				pass(time.Second)
				return o.submit(to("t", "v@a.test"))
			},
			wait:   time.Minute,
			want:   []string{"a.test leased site-full 1s..-|mx.a.test|||"},
			stored: []string{"a.test leased claimed -..-||||"},
		},
		{
			name: "the rate of the site",
			set:  func(o *office) { o.agent.Settings.Limits.Rate = 1.0 / 3600 },
			make: func(o *office) string {
				o.submit(to("t", "u@a.test"))
				pass(time.Second)
				return o.submit(to("t", "v@a.test"))
			},
			wait:   time.Minute,
			want:   []string{"a.test leased rate 1s..1h0m0s|mx.a.test|||"},
			stored: []string{"a.test leased claimed -..-||||"},
		},
		{
			name:  "the group is full",
			hosts: map[string]*smtptest.Host{"mx.a.test": slowHost(5 * time.Minute)},
			set: func(o *office) {
				o.agent.Settings.Groups = map[string]delivery.Group{"provider": {Connections: 1}}
				o.agent.Settings.Rules = []delivery.Rule{
					{Match: delivery.Match{MX: "mx.a.test"}, Group: "provider"}, {Match: delivery.Match{MX: "mx.shared.test"}, Group: "provider"},
				}
			},
			make: func(o *office) string {
				o.submit(to("t", "u@a.test"))
				pass(time.Second)
				return o.submit(to("t", "v@b.test"))
			},
			wait:   time.Minute,
			want:   []string{"b.test leased site-full 1s..-|mx.shared.test|||"},
			stored: []string{"b.test leased claimed -..-||||"},
		},
		{
			name: "suspended, the host of a domain with limits of its own",
			set: func(o *office) {
				o.agent.Settings.Rules = []delivery.Rule{{Match: delivery.Match{Domain: "b.test"}, Connections: 1}}
			},
			make: func(o *office) string {
				o.suspend(suspensionOf(queue.OfSite, "mx.shared.test", time.Time{}))
				return o.submit(to("u", "u@b.test"))
			},
			wait:   time.Minute,
			want:   []string{"b.test waiting suspended 0s..-|mx.shared.test for b.test|||maintenance"},
			stored: []string{"b.test waiting suspended 0s..-|mx.shared.test|||maintenance"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := map[string]*smtptest.Host{}
				for _, name := range []string{"mx.a.test", "mx.shared.test", "mx1.d.test", "mx2.d.test"} {
					hosts[name] = &smtptest.Host{Extensions: full()}
					if h := c.hosts[name]; h != nil {
						hosts[name] = h
					}
				}
				o := newOffice(t, &smtptest.Internet{Zone: threeSites, Hosts: hosts})
				o.agent.Settings.Warn = -1
				if c.set != nil {
					c.set(o)
				}
				if !c.norun {
					o.start()
				}
				id := c.make(o)
				pass(c.wait)
				o.wantWhy(id, c.want...)
				if c.stored == nil {
					c.stored = c.want
				}
				if !c.norun {
					o.stored().wantWhy(id, c.stored...)
				}
			})
		})
	}
}

// noServer is a resolver none of whose servers answers.
type noServer struct{}

func (noServer) Resolve(_ context.Context, name string, typ mx.Type) (mx.Answer, error) {
	return mx.Answer{}, &mx.ResolveError{Name: name, Type: typ, Kind: mx.Timeout}
}

// TestSites says of every site what its mail waits for.
func TestSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := map[string]*smtptest.Host{
			"mx.a.test":      {Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "450 4.2.1 later"}}},
			"mx.shared.test": {Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 4.3.2 no mail today"}}},
			"mx1.d.test":     slowHost(time.Hour), "mx2.d.test": slowHost(time.Hour),
		}
		o := newOffice(t, &smtptest.Internet{Zone: threeSites, Hosts: hosts})
		o.agent.Settings.Warn = -1
		o.agent.Settings.Limits.PerSite = 1
		o.start()
		o.suspend(suspensionOf(queue.OfDestination, "e.test", time.Time{}))
		o.submit(to("t", "u@b.test"))
		pass(time.Minute)
		for _, r := range []string{"u@a.test", "u@c.test", "u@c.test", "u@d.test", "u@d.test", "u@e.test"} {
			o.submit(to("t", r))
		}
		pass(time.Minute)
		brief := func(a *delivery.Agent) (list []string) {
			sites, err := a.Sites(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range sites {
				text := fmt.Sprintf("%s %v %d waiting, %d of %d, %s", s.Site, s.Destinations, s.Waiting, s.Connections, s.Window, s.State)
				for _, more := range []string{s.Host, s.Last, s.Note} {
					text += "|" + more
				}
				list = append(list, text)
			}
			return list
		}
		want := func(got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("the sites are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		}
		want(brief(o.agent),
			" [e.test] 1 waiting, 0 of 0, suspended|||maintenance",
			"mx.a.test [a.test] 1 waiting, 0 of 1, new|||",
			"mx.shared.test [b.test c.test] 3 waiting, 0 of 1, site-down|mx.shared.test|421 4.3.2 no mail today|",
			"mx1.d.test;,mx2.d.test; [d.test] 2 waiting, 1 of 1, site-full|||",
		)
		want(brief(o.stored().agent),
			" [a.test] 1 waiting, 0 of 0, new|||",
			" [b.test] 1 waiting, 0 of 0, new|||", // which was tried itself
			" [c.test] 2 waiting, 0 of 0, site-down|mx.shared.test|421 4.3.2 no mail today|",
			" [d.test] 2 waiting, 0 of 0, new|||",
			" [e.test] 1 waiting, 0 of 0, suspended|||maintenance",
		)
	})
}
