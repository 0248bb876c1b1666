package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// story is the telling of it.
type story struct {
	*teller
	claims
	plan  *plan
	world *world
	alice *delivery.Sender // the program that sends
	eyes  *witness         // records alice's connections and questions
}

// tell builds the world, tells the story, and checks it.
func tell(ctx context.Context, t *teller, p plan) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "quickstart")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := build(t, &p, dir)
	if err != nil {
		return err
	}
	s := &story{teller: t, plan: &p, world: w, eyes: &witness{who: "alice", t: t}}
	err = s.chapters(ctx)
	if closing := w.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	s.standards()
	return s.check(t)
}

// chapters are the parts of the story, in order.
func (s *story) chapters(ctx context.Context) error {
	s.chapter("DNS says, on %s", s.world.dns.Addr())
	s.quote(s.plan.zone)
	resolver := s.eyes.resolver(s.world.dns.Addr())
	s.alice = s.sender(delivery.ByMX(&mx.Router{Resolver: resolver, AllowLoopback: true}))
	defer s.alice.Close()
	s.everythingUp(ctx)
	s.primaryDown(ctx)
	if err := s.primaryBack(ctx); err != nil {
		return err
	}
	return s.smartHosts(ctx)
}

// sender is what alice sends with.
func (s *story) sender(r delivery.Router) *delivery.Sender {
	return &delivery.Sender{
		Hello: "alice.example.org", Router: r, Port: s.world.port, Dial: s.eyes.connect, Trace: s.trace("alice"),
	}
}

func text(subject string) string {
	return "From: Alice <alice@example.org>\r\nTo: Bob <bob@example.com>\r\nSubject: " + subject +
		"\r\n\r\nHow are you?\r\n"
}

// send sends one message from alice, and returns its result.
func (s *story) send(ctx context.Context, subject string) *delivery.RecipientReport {
	s.say("alice", "sends %q to bob@example.com", subject)
	report, _ := s.alice.Send(ctx, &queue.Message{ // the report says more than its error
		From:       "alice@example.org",
		Recipients: []queue.Recipient{{Address: "bob@example.com"}},
		Content:    queue.String(text(subject)),
	})
	r := &report.Recipients[0]
	if r.Outcome == queue.Delivered {
		s.say("alice", "%s", s.paint(green, fmt.Sprintf("has delivered it: %s replied %d %s", r.Host, r.Reply.Code, r.Reply.Text)))
	}
	return r
}

func (s *story) everythingUp(ctx context.Context) {
	s.chapter("1. Everything is up")
	r := s.send(delivery.WithTrace(ctx, s.dialogue()), "one")
	s.took("the primary accepted the first message", r, "mail.example.com")
	s.has("and received it octet for octet, once", s.world.mail, 0, text("one"), false)
}

func (s *story) primaryDown(ctx context.Context) {
	s.chapter("2. The primary goes down")
	s.world.mail.down()
	s.say("mail", "is down")
	s.eyes.testimony()
	r := s.send(ctx, "two")
	s.fellThrough("when it was down, the sender fell through to mx2", r, "mail.example.com", relayName)
	attempts := 0
	for range 2 {
		if s.world.mx2.await(ctx, delivery.Deferred, s.plan.patience) {
			attempts++
		}
	}
	n := s.world.mx2.waiting(ctx)
	s.add("which kept it on disk, and tried twice without success", attempts == 2 && n == 1, "%d messages there after %d attempts", n, attempts)
}

func (s *story) primaryBack(ctx context.Context) error {
	s.chapter("3. The primary comes back")
	before := len(s.world.mail.Messages())
	if s.plan.meddle != nil {
		s.plan.meddle(s.world)
	}
	if !s.plan.stays {
		if err := s.world.mail.up(); err != nil {
			return err
		}
		s.say("mail", "is back")
	}
	delivered := s.world.mx2.await(ctx, delivery.Delivered, s.plan.patience)
	s.add("mx2 passed it on when the primary was back", delivered, "nothing for %v", s.plan.patience)
	s.has("the primary received it octet for octet, once, below mx2's Received field", s.world.mail, before, text("two"), true)
	asked, dialled := s.world.mx2.eyes.testimony()
	s.same("mx2 asked DNS for the MX records of example.com", asked, []string{"example.com"})
	s.same("and connected to no host but the primary", dialled, []string{s.world.mail.addr})
	n := s.world.mx2.waiting(ctx)
	s.add("its queue is empty", n == 0, "%d messages", n)
	return nil
}

// smartHosts is the same without MX records: hosts that are named in a table.
func (s *story) smartHosts(ctx context.Context) error {
	s.chapter("4. The same with smart hosts")
	smart := smarthost.Host{Name: "smart.example.net", Port: s.world.port}
	second := smarthost.Host{Name: relayName, Port: s.world.port}
	table := &smarthost.Table{Router: &mx.Router{Resolver: s.eyes.resolver(s.world.dns.Addr()), AllowLoopback: true}}
	err := errors.Join(
		table.Set(smarthost.Rules{Default: []smarthost.Host{smart, second}}),
		s.world.mx2.table.Set(smarthost.Rules{Default: []smarthost.Host{smart}}),
	)
	if err != nil {
		return err
	}
	s.say("alice", "now uses smart.example.net, then mx2.example.com, for all mail")
	s.say("mx2", "now uses smart.example.net for all mail, without a restart")
	s.say("smart", "is down")
	before := len(s.world.mail.Messages())
	s.world.mx2.drainEvents()
	s.eyes.testimony()
	s.alice.Close()
	s.alice = s.sender(table)
	defer s.alice.Close()

	s.fellThrough("with a smart host down, the sender fell through to the next in its table",
		s.send(ctx, "three"), "smart.example.net", relayName)
	deferred := s.world.mx2.await(ctx, delivery.Deferred, s.plan.patience)
	s.add("and the message waited there", deferred, "not deferred")
	if err := s.world.smart.up(); err != nil {
		return err
	}
	s.say("smart", "is back")
	delivered := s.world.mx2.await(ctx, delivery.Delivered, s.plan.patience)
	s.add("mx2 passed it on when the smart host was back", delivered, "nothing for %v", s.plan.patience)
	s.has("the smart host received it octet for octet, once, below mx2's Received field", s.world.smart, 0, text("three"), true)
	s.nobodyElse(before)
	return nil
}

// nobodyElse checks that mx2 connected only to the smart host, and that no MX records
// were asked for.
func (s *story) nobodyElse(mailBefore int) {
	asked, dialled := s.world.mx2.eyes.testimony()
	s.same("mx2 connected to no other host", dialled, []string{s.world.smart.addr})
	mine, _ := s.eyes.testimony()
	s.same("and no MX records were asked for", append(mine, asked...), nil)
	n := len(s.world.mail.Messages()) - mailBefore
	s.add("the primary, which was up, did not receive it", n == 0, "%d messages", n)
}

// standards checks that no client broke a rule: both hosts check their clients.
func (s *story) standards() {
	var broken []string
	for _, h := range []*host{s.world.mail, s.world.smart} {
		for _, v := range h.Violations() {
			broken = append(broken, h.Name+": "+v.String())
		}
	}
	s.add("no client broke a rule of SMTP", len(broken) == 0, "%s", strings.Join(broken, "; "))
}
