// Package nexthop delivers mail the way the Internet does: it looks up a domain's
// MX records, tries the hosts in order of preference, keeps mail that cannot be
// delivered yet, retries it later, and reports the outcome for every recipient. It is
// a library for programs that send mail themselves or pass on other people's mail.
// This package contains only documentation.
//
// # Packages
//
//   - [github.com/nexthop-mail/nexthop/mx] finds the hosts that accept mail for a
//     domain, in the order to try them.
//   - [github.com/nexthop-mail/nexthop/delivery] delivers. Its Sender makes one
//     attempt, now, and reports the outcome for each recipient. Its Agent delivers
//     the mail in a queue: it retries, keeps to limits, and bounces.
//   - [github.com/nexthop-mail/nexthop/queue] defines the types that all packages
//     use (Message, Recipient, Content, Outcome) and the contract of a queue. Its
//     subpackage disk is a durable queue, memory one that is lost with the process,
//     and queuetest checks any other implementation. queue/postgres, a module of its
//     own, is a queue in PostgreSQL that agents on many machines share.
//   - [github.com/nexthop-mail/nexthop/delivery/trust] holds hosts to what their domains
//     publish: DANE, else MTA-STS. Package tlsrpt reports to the domains how TLS went.
//   - [github.com/nexthop-mail/nexthop/smarthost] routes mail to hosts that the
//     operator names instead of MX hosts: by recipient, by sender, or if every MX host
//     is down. It supports AUTH.
//   - [github.com/nexthop-mail/nexthop/mx/mxtest] and
//     [github.com/nexthop-mail/nexthop/delivery/smtptest] provide DNS and mail hosts
//     for tests, with latency and faults, in memory or on loopback.
//
// # Send one message
//
// The zero Sender asks the system's resolvers, sends to MX hosts, and uses TLS if a
// host offers it:
//
//	sender := &delivery.Sender{Hello: "client.example.org"}
//	defer sender.Close()
//	report, err := sender.Send(ctx, &queue.Message{
//		From:       "alice@example.org",
//		Recipients: []queue.Recipient{{Address: "bob@example.com"}},
//		Content:    queue.String(text),
//	})
//
// The error is nil if and only if all recipients were delivered. Otherwise it is a
// *delivery.Error, which says whether to try again. The report lists every attempt.
// Use the same Sender for further messages: it reuses connections.
//
// # Send mail that has to arrive
//
// A message that an Agent has accepted stays in its queue until the outcome for every
// recipient is final:
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
// The Agent tries for five days, on a schedule that can be replaced. It calls
// Agent.Events with the outcome for each recipient. If a recipient fails, the report to
// the sender enters the queue in the same step in which the failure is recorded.
//
// # Look up a route
//
// A Router finds the hosts without sending anything. The route also lists the hosts
// that were left out, each with the reason:
//
//	resolver, err := mx.System()
//	router := &mx.Router{Resolver: &mx.Cache{Resolver: resolver}}
//	route, err := router.Route(ctx, "example.com")
//	for _, host := range route.Hosts {
//		fmt.Println(host.Preference, host.Name, host.Addrs)
//	}
//
// Sender.Explain adds the TLS that each host must offer.
//
// # Test without a network
//
// A smtptest.Internet is DNS and mail hosts in memory. In a bubble of testing/synctest
// time is virtual, and a host that stalls for an hour costs no time:
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
//   - Hosts are tried in order of preference. Neither address families nor speed
//     change that. Hosts of equal preference are shuffled without bias at each attempt.
//   - A failed DNS lookup is never taken for "no records": the mail is deferred.
//   - The outcome for a recipient is decided from the replies of all hosts. If a host
//     permanently refuses the recipient, that is final. If a host fails altogether, its
//     recipients move on to the next host. Even if that failure is permanent, it never
//     outranks a temporary one of another host.
//   - A recipient that was delivered is not offered again in the same attempt. If the
//     reply to the content is lost, the message is not offered to another host: the
//     outcome is Unknown, and Message.Guarantee decides whether to try again.
//   - If content cannot be read to its end, no host accepts it as a complete message.
//     An address can never inject an SMTP command.
//   - Everything that a remote host says is bounded in length, number and time. Every
//     wait ends when its context does.
//   - Mail that a durable queue has accepted survives a power cut (queue, rule P2).
package nexthop
