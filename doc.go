// Package nexthop delivers mail the way the Internet does it: it finds the hosts
// that take mail for a domain, walks them in order of preference, speaks SMTP
// with them, retries later if mail cannot be delivered now, and reports the outcome
// for every recipient. It is a library for programs that send mail themselves or
// pass on that of others. This package is documentation only.
//
// # Packages
//
//   - [github.com/nexthop-mail/nexthop/mx] answers where mail for a domain goes:
//     one question to DNS in, hosts in order out.
//   - [github.com/nexthop-mail/nexthop/delivery] delivers: its Sender makes one
//     attempt, now, through the hosts in order, and reports per recipient; its
//     Agent takes from a queue, retries, keeps to limits, and bounces.
//   - [github.com/nexthop-mail/nexthop/queue] has the nouns that all packages
//     use (Message, Recipient, Content, Outcome), and the contract of a queue.
//     Package memory below it forgets when the program ends, package disk is
//     durable, and package queuetest checks any other queue.
//   - [github.com/nexthop-mail/nexthop/smarthost] is next hops other than MX: by
//     recipient, by sender, or when every MX host is down, with AUTH.
//   - [github.com/nexthop-mail/nexthop/mx/mxtest] and
//     [github.com/nexthop-mail/nexthop/delivery/smtptest] are DNS and mail hosts
//     for tests: names, hosts, latency and faults, in memory or on loopback.
//
// # Send one message
//
// The zero Sender asks the system's resolvers, goes by MX, and uses TLS where it
// is offered:
//
//	sender := &delivery.Sender{Hello: "client.example.org"}
//	defer sender.Close()
//	report, err := sender.Send(ctx, &queue.Message{
//		From:       "alice@example.org",
//		Recipients: []queue.Recipient{{Address: "bob@example.com"}},
//		Content:    queue.String(text),
//	})
//
// The error is nil exactly when all recipients were delivered. Otherwise it is a
// *delivery.Error that says whether to try again; the report has every step of
// the walk. Keep the Sender for further messages: it keeps connections.
//
// # Send mail that has to arrive
//
// A message that an Agent has accepted is in its queue until every recipient is
// settled:
//
//	spool, err := disk.Open("spool", disk.Options{})
//	if err != nil {
//		return err
//	}
//	defer spool.Close()
//	agent := &delivery.Agent{Queue: spool, Sender: sender}
//	ended := make(chan error, 1)
//	go func() { ended <- agent.Run(ctx) }()
//	id, err := agent.Submit(ctx, message)
//	// ... and when ctx is over:
//	return <-ended // Run drains first; close the queue after it
//
// It tries for five days, on a schedule that can be replaced, tells
// Agent.Events what becomes of each recipient, and reports a failure to the
// sender in the same step as it is settled.
//
// # Look up a route
//
// A Router finds the hosts without sending anything, and says which it left out
// and why:
//
//	resolver, err := mx.System()
//	router := &mx.Router{Resolver: &mx.Cache{Resolver: resolver}}
//	route, err := router.Route(ctx, "example.com")
//	for _, host := range route.Hosts {
//		fmt.Println(host.Preference, host.Name, host.Addrs)
//	}
//
// Sender.Explain adds what TLS each host must give.
//
// # Test against an Internet of your own
//
// An Internet is DNS and hosts in memory. It works in a bubble of
// testing/synctest, where a host that stalls for an hour costs no time:
//
//	internet := (&smtptest.Internet{
//		Zone:  "example.com. MX 10 mail.example.com.\nmail.example.com. A 192.0.2.1",
//		Hosts: map[string]*smtptest.Host{"mail.example.com": {Script: []smtptest.Cue{
//			{At: smtptest.Rcpt, Reply: "450 4.2.1 Try again later"},
//		}}},
//	}).Start(t)
//	sender := &delivery.Sender{Hello: "client.test", Resolver: internet, Dial: internet.DialContext}
//
// # Guarantees
//
//   - Order of preference is never violated, neither for address families nor
//     for speed. Equals are shuffled without bias at each attempt.
//   - "No answer" is never taken for "no records": trouble with DNS defers.
//   - An outcome is decided over all hosts, per recipient. A firm refusal of a
//     recipient ends it; a host's own failure moves what is still open to the
//     next host, and never outranks another host's "not now".
//   - A recipient that was delivered is not offered again in the same attempt,
//     and nothing is offered elsewhere once the reply to the content was lost:
//     that outcome is Unknown, and Message.Guarantee says what it means.
//   - Content that cannot be read to its end never becomes a message, and an
//     address never becomes a command.
//   - Everything that strangers say is bounded in length, in number and in time.
//     Every wait ends when its context does.
//   - Mail that a durable queue has accepted survives a power cut (queue, rule P2).
//
// # What is to come
//
// DANE and MTA-STS, for which Sender.Policy is the place, and a queue on
// PostgreSQL.
package nexthop
