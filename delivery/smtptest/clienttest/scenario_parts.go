package clienttest

import (
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// The parts most scenarios are made of.
const (
	someContent = "Subject: x\r\n\r\nhello\r\n"

	// twoHosts is a domain with a primary, a secondary, and an address of its
	// own that nobody may use.
	twoHosts = `
		$ORIGIN example.com.
		@    MX   10 mx1
		@    MX   20 mx2
		@    A    192.0.2.99
		mx1  A    192.0.2.1
		mx2  A    192.0.2.2
	`
	mx1, mx2 = "mx1.example.com", "mx2.example.com"
)

// at makes a scenario of twoHosts with one message to bob.
func at(name, section string, primary, secondary *smtptest.Host, change ...func(*Scenario)) *Scenario {
	s := &Scenario{
		Name: name, Section: section, content: someContent,
		internet: smtptest.Internet{Zone: twoHosts, Hosts: map[string]*smtptest.Host{mx1: primary, mx2: secondary, "example.com": {}}},
		message:  mail("bob@example.com"),
		shuns:    []string{"example.com"},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// mail is a message with the usual content.
func mail(to ...string) queue.Message {
	m := queue.Message{From: "alice@sender.example", Content: queue.String(someContent)}
	for _, a := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: a})
	}
	return m
}

// The changes.

func to(addresses ...string) func(*Scenario) {
	return func(s *Scenario) { s.message = mail(addresses...) }
}

func wants(outcomes ...queue.Outcome) func(*Scenario) {
	return func(s *Scenario) { s.want = outcomes }
}

func visits(names ...string) func(*Scenario) {
	return func(s *Scenario) { s.visits = names }
}

func faults(rules ...mxtest.Rule) func(*Scenario) {
	return func(s *Scenario) { s.internet.Rules = rules }
}

func sends(content queue.Content, arrives string) func(*Scenario) {
	return func(s *Scenario) { s.message.Content, s.content = content, arrives }
}

func judged(j func(*Scenario) string) func(*Scenario) {
	return func(s *Scenario) { s.judge = j }
}

// says is a host with one line of script.
func says(at smtptest.Stage, reply string) *smtptest.Host {
	return &smtptest.Host{Script: []smtptest.Cue{{At: at, Reply: reply}}}
}

// offers is a polite host with extensions.
func offers(extensions ...string) *smtptest.Host { return &smtptest.Host{Extensions: extensions} }
