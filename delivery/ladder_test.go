package delivery_test

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// The rungs of the ladder in ARCHITECTURE.md, which has the same lines; a test of
// the repository compares them.

// oneLine is the first rung.
func oneLine() (*delivery.Sender, error) {
	table, err := smarthost.Via("submission://alice:secret@[192.0.2.1]")
	sender := &delivery.Sender{Router: table}
	return sender, err
}

// defaults is the second rung.
func defaults(resolver mx.Resolver, relay, backup smarthost.Host) (*delivery.Sender, *smarthost.Table, error) {
	table := &smarthost.Table{Router: &mx.Router{Resolver: &mx.Cache{Resolver: resolver}}}
	err := table.Set(smarthost.Rules{
		Default: []smarthost.Host{relay, backup},
		Special: []smarthost.Rule{{To: "example.net", MX: true}},
	})
	sender := &delivery.Sender{Hello: "app.example.org", Router: table}
	return sender, table, err
}

// explicit is the third rung.
func explicit(resolver mx.Resolver, tokens smarthost.TokenSource, roots *tls.Config) (*delivery.Sender, error) {
	relay := smarthost.Host{
		Name: "mail.example.org", Port: 587, TLS: mx.TLSVerify, Preference: smarthost.Prefer(10),
		Login: &smarthost.Login{User: "alice", Token: tokens, Mechanism: "OAUTHBEARER"},
	}
	table := &smarthost.Table{Router: &mx.Router{
		Resolver: &mx.Cache{Resolver: resolver}, Self: []string{"app.example.org"}, Relay: true, Family: mx.IPv4Only,
	}}
	err := table.Set(smarthost.Rules{
		Default: []smarthost.Host{relay, {Name: "example.org", Lookup: smarthost.LookupSRV, Login: relay.Login}},
		Special: []smarthost.Rule{
			{To: ".lab.example", Hosts: []smarthost.Host{{Name: "lab.example", Lookup: smarthost.LookupMX}}},
			{To: "example.net", MX: true},
			{From: "news@example.org", Hosts: []smarthost.Host{{Name: "bulk.example.org", ImplicitTLS: true}}},
		},
		Fallback: []smarthost.Host{relay},
	})
	sender := &delivery.Sender{
		Hello: "app.example.org", Self: []string{"app.example.org"}, Router: table, TLSConfig: roots,
		MaxConnections: 8, MaxSessions: 3, Content: delivery.ContentRelay,
	}
	return sender, err
}

// All mail through one submission server, in two lines.
func ExampleSender_smartHost() {
	relay, ca := ladderHost()
	network := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1:587": relay}}
	defer network.Close()

	sender, err := oneLine()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.Close()
	sender.Dial, sender.TLSConfig = network.DialContext, ca.ClientConfig() // not with a real server

	report, err := sender.Send(context.Background(), hello("bob@example.com"))
	show(report, err)
	// Output: bob@example.com delivered by [192.0.2.1], smarthost, TLS verified
}

// Two submission servers in order, and one domain by MX records.
func ExampleSender_smartHosts() {
	relay, ca := ladderHost()
	internet := &smtptest.Internet{Zone: ladderZone, Authority: ca, Hosts: map[string]*smtptest.Host{
		"backup.example.org:587": relay, "mx.example.net": {},
	}}
	defer internet.Close()
	first, err := smarthost.Parse("submission://alice:secret@mail.example.org")
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := smarthost.Parse("submission://alice:secret@backup.example.org")
	if err != nil {
		fmt.Println(err)
		return
	}

	sender, _, err := defaults(internet, first, second)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.Close()
	sender.Dial, sender.TLSConfig = internet.DialContext, ca.ClientConfig() // not with real servers

	report, err := sender.Send(context.Background(), hello("bob@example.com", "carol@example.net"))
	show(report, err)
	// Output:
	// bob@example.com delivered by backup.example.org, smarthost, TLS verified
	// carol@example.net delivered by mx.example.net, mx, TLS none
}

// Everything said by name: a fallback when MX hosts are down.
func ExampleSender_fallback() {
	relay, ca := ladderHost()
	internet := &smtptest.Internet{Zone: ladderZone, Authority: ca, Hosts: map[string]*smtptest.Host{"mail.example.org:587": relay}}
	defer internet.Close()

	sender, err := explicit(internet, smarthost.StaticToken("secret"), ca.ClientConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.Close()
	sender.Dial = internet.DialContext // not with real servers

	m := hello("carol@example.net")
	m.Content = queue.String("Subject: Hello\r\n\r\nHow are you?\r\n") // a relay mends no line ends
	report, err := sender.Send(context.Background(), m)
	show(report, err)
	// Output: carol@example.net delivered by mail.example.org, fallback, TLS verified
}

const ladderZone = `
	$ORIGIN example.org.
	mail    A   192.0.2.1
	backup  A   192.0.2.2
	$ORIGIN example.net.
	@       MX  10 mx
	mx      A   192.0.2.3`

// ladderHost is a submission server, and the authority of its certificate.
func ladderHost() (*smtptest.Host, *smtptest.Authority) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		fmt.Println(err)
		return nil, nil
	}
	config, err := ca.ServerConfig("mail.example.org", "backup.example.org", "192.0.2.1")
	if err != nil {
		fmt.Println(err)
		return nil, nil
	}
	return &smtptest.Host{
		Extensions: []string{"STARTTLS"}, ExtensionsTLS: []string{"AUTH PLAIN OAUTHBEARER"}, TLS: config,
		Users: map[string]string{"alice": "secret"},
	}, ca
}

// show prints a line per recipient.
func show(report *delivery.Report, err error) {
	for _, r := range report.Recipients {
		fmt.Printf("%s %s by %s, %s, TLS %s\n", r.Address, r.Outcome, r.Host, r.Via, r.TLS)
	}
	if err != nil {
		fmt.Println(err)
	}
}
