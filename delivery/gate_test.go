package delivery_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestWaitingForAHost: whoever waits for a connection to a host takes one up as
// soon as another is done with it.
func TestWaitingForAHost(t *testing.T) {
	const shared = "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nb.test. MX 20 other.test.\n" +
		"mx.test. A 192.0.2.1\nother.test. A 192.0.2.2"
	for name, limits := range map[string]delivery.Limits{
		"PerHost": {PerHost: 1}, "PerAddress": {PerAddress: 1}, "Connections": {Connections: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: time.Second}}}
				o := newOffice(t, &smtptest.Internet{Zone: shared, Hosts: map[string]*smtptest.Host{"mx.test": host}})
				o.agent.Settings.Limits = limits
				o.start()
				for range 3 {
					for _, to := range []string{"u@a.test", "u@b.test"} {
						o.submit(message(to))
					}
				}
				<-time.After(7 * time.Second)
				if n := len(o.of(delivery.Delivered)); n != 6 {
					t.Errorf("%d delivered after 7 s, want 6", n)
				}
			})
		})
	}
}

// TestKeptSessionMakesRoom: a connection that a limit leaves no room for takes the
// place of the kept one that has been unused longest among those the limit counts, and
// the others stay.
func TestKeptSessionMakesRoom(t *testing.T) {
	ca := authority(t)
	// The policies of a.test and b.test are not the same, so no session serves both.
	// d.test has another host at the same address, and c.test has nothing in common
	// with any.
	const zone = "a.test. MX 10 one.test.\nb.test. MX 10 one.test.\nc.test. MX 10 two.test.\nd.test. MX 10 three.test.\n" +
		"one.test. A 192.0.2.1\ntwo.test. A 192.0.2.2\nthree.test. A 192.0.2.1\n"
	first := map[string]int{"c": 2, "a": 1} // the connections to each address before the last message
	for _, c := range []struct {
		name   string
		limits delivery.Limits
		last   string // the domain of the last message
		ends   string // the domain whose session ends for it, if any
	}{
		{"Connections", delivery.Limits{Connections: 2}, "b", "c"},
		{"PerSite", delivery.Limits{PerSite: 1, PerHost: 5, PerAddress: 5}, "b", "a"},
		{"PerHost", delivery.Limits{PerHost: 1}, "b", "a"},
		{"PerAddress", delivery.Limits{PerAddress: 1}, "d", "a"},
		{"Connections and room for all", delivery.Limits{Connections: 3}, "b", ""},
		{"PerSite and room for both", delivery.Limits{PerSite: 2, PerHost: 5, PerAddress: 5}, "b", ""},
		{"PerHost and room for both", delivery.Limits{PerHost: 2}, "b", ""},
		{"PerAddress and room for both", delivery.Limits{PerAddress: 2}, "d", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := map[string]*smtptest.Host{}
				for address, name := range map[string]string{"192.0.2.1": "one.test", "192.0.2.2": "two.test"} {
					hosts[address] = &smtptest.Host{Name: name, Extensions: append(full(), "STARTTLS"), Authority: ca}
				}
				o := newOffice(t, &smtptest.Internet{Zone: zone, Servers: map[string]smtptest.Server{
					"192.0.2.1": hosts["192.0.2.1"], "192.0.2.2": hosts["192.0.2.2"],
				}})
				o.agent.Settings.Limits = c.limits
				o.agent.Sender.TLSConfig = ca.ClientConfig()
				o.agent.Sender.Policy = policyFunc(func(r *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
					if r.Domain == "b.test" {
						return delivery.TLSPolicy{Level: mx.TLSVerify, Source: "b"}, nil
					}
					return delivery.TLSPolicy{}, nil
				})
				o.start()
				for _, domain := range []string{"c", "a", c.last} {
					o.submit(message("u@" + domain + ".test"))
					<-time.After(time.Second)
				}
				if n := len(o.of(delivery.Delivered)); n != 3 {
					t.Fatalf("%d delivered after a second each, want 3", n)
				}
				for domain, address := range first {
					at := hosts[fmt.Sprintf("192.0.2.%d", address)].Connections()
					if ended := !at[0].Closed.IsZero(); ended != (domain == c.ends) {
						t.Errorf("the session for %s.test has ended: %t, want %t", domain, ended, !ended)
					}
					if last := at[len(at)-1]; (domain == "a") != (len(at) == 2) || !last.Closed.IsZero() && domain != c.ends {
						t.Errorf("%d connections to 192.0.2.%d, the last until %v", len(at), address, last.Closed)
					}
				}
			})
		})
	}
}

// TestWaitsForRoomOnly: whoever waits for a limit dials no host once the agent has
// stopped.
func TestWaitsForRoomOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Stall}}, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
		o := newOffice(t, &smtptest.Internet{
			Zone:  "a.test. MX 10 one.test.\nb.test. MX 10 two.test.\none.test. A 192.0.2.1\ntwo.test. A 192.0.2.1\n",
			Hosts: map[string]*smtptest.Host{"one.test": host},
		})
		o.agent.Settings.Limits = delivery.Limits{PerAddress: 1}
		var connects []string
		o.agent.Sender.Trace = &delivery.Trace{Connect: func(host string, _ netip.AddrPort) { connects = append(connects, host) }}
		o.start()
		o.submit(message("u@a.test"))
		<-time.After(time.Second)
		o.submit(message("u@b.test"))
		<-time.After(time.Second)
		o.stop()
		if !slices.Equal(connects, []string{"one.test"}) {
			t.Errorf("dialled %v, want one.test alone", connects)
		}
	})
}

// TestLimitsLowered: connections over a limit that has been lowered end as they become
// free, those under it stay.
func TestLimitsLowered(t *testing.T) {
	ca := authority(t)
	const zone = "a.test. MX 10 one.test.\nb.test. MX 10 one.test.\none.test. A 192.0.2.1\n"
	for _, c := range []struct {
		name   string
		limits delivery.Limits
		want   int // connections that are open in the end
	}{
		{"Connections", delivery.Limits{Connections: 1}, 1},
		{"PerSite", delivery.Limits{PerSite: 1, PerHost: 5, PerAddress: 5}, 1},
		{"PerHost", delivery.Limits{PerHost: 1}, 1},
		{"PerAddress", delivery.Limits{PerAddress: 1}, 1},
		{"all of them, and as many as there are", delivery.Limits{Connections: 2, PerSite: 2}, 2},
	} {
		t.Run("QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: append(full(), "STARTTLS"), Authority: ca}
				o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"one.test": host}})
				o.agent.Sender.TLSConfig = ca.ClientConfig()
				o.agent.Sender.Policy = policyFunc(func(r *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
					return delivery.TLSPolicy{Level: mx.TLSVerify, Key: r.Domain}, nil
				})
				o.start()
				send := func(domain string) {
					o.submit(message("u@" + domain))
					<-time.After(time.Second)
				}
				send("a.test")
				send("b.test")
				if n := o.net.Network().Open(); n != 2 {
					t.Fatalf("%d connections open, want 2", n)
				}
				if err := o.agent.Configure(delivery.Settings{Jitter: -1, Limits: c.limits}); err != nil {
					t.Fatal(err)
				}
				send("a.test")
				if n := o.net.Network().Open(); n != c.want || len(o.of(delivery.Delivered)) != 3 {
					t.Errorf("%d connections open and %d messages delivered, want %d and 3", n, len(o.of(delivery.Delivered)), c.want)
				}
			})
		})
	}
}

// TestWhatAConnectionCarries is how many messages go over each connection.
func TestWhatAConnectionCarries(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits delivery.Limits
		every  time.Duration
		want   []int
	}{
		{"no limit", delivery.Limits{}, 5 * time.Second, []int{7}},
		{"a number of messages", delivery.Limits{Messages: 3}, 5 * time.Second, []int{3, 3, 1}},
		{"its life", delivery.Limits{ConnectionLife: 10 * time.Second}, 5 * time.Second, []int{2, 2, 2, 1}},
		{"its life by default", delivery.Limits{}, 29 * time.Second, []int{7}},
		{"both", delivery.Limits{Messages: 3, ConnectionLife: 10 * time.Second}, 4 * time.Second, []int{3, 3, 1}},
	} {
		t.Run("QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full()}
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				o.agent.Settings.Limits = c.limits
				o.start()
				for range 7 {
					o.submit(message("u@e.test"))
					<-time.After(c.every)
				}
				got := make([]int, len(host.Connections()))
				for _, m := range host.Messages() {
					got[m.Conn-1]++
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%v messages on the connections, want %v", got, c.want)
				}
			})
		})
	}
}

// TestLimitsRaised: whoever waits for a limit goes on once it has been raised.
func TestLimitsRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalls := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Conn: 1, Delay: time.Minute}}}
		o := newOffice(t, &smtptest.Internet{
			Zone:    "a.test. MX 10 one.test.\nb.test. MX 10 two.test.\none.test. A 192.0.2.1\ntwo.test. A 192.0.2.1\n",
			Servers: map[string]smtptest.Server{"192.0.2.1": stalls},
		})
		o.agent.Settings.Limits = delivery.Limits{PerAddress: 1}
		o.start()
		o.submit(message("u@a.test"))
		<-time.After(time.Second)
		o.submit(message("u@b.test"))
		<-time.After(time.Second)
		if n := len(stalls.Connections()); n != 1 {
			t.Fatalf("%d connections, want 1", n)
		}
		if err := o.agent.Configure(delivery.Settings{Jitter: -1, Limits: delivery.Limits{PerAddress: 2}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if n := len(o.of(delivery.Delivered)); n != 1 {
			t.Errorf("%d delivered a second after the limit was raised, want 1", n)
		}
	})
}
