// Command quickstart shows a delivery step by step, with real sockets and real
// DNS packets on loopback:
//
//	go run -C examples ./quickstart
//
// example.com has two mail exchangers, and the better one is down. One message
// is sent; the walk from DNS to the second host is printed as it happens. The
// exit code is 1 if anything is not as told.
package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// zone is what DNS says. The primary's address has nobody behind it.
const zone = `
$ORIGIN example.com.
@     MX  10 mail
@     MX  20 mx2
mail  A   127.0.0.2
mx2   A   127.0.0.3
`

const text = "From: Alice <alice@example.org>\r\nTo: Bob <bob@example.com>\r\nSubject: Hello\r\n\r\nHow are you?\r\n"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run tells the story on w and checks it.
func run(ctx context.Context, w io.Writer) error {
	t := teller{w: w, start: time.Now()}
	secondary := &smtptest.Host{Name: "mx2.example.com", Extensions: []string{"PIPELINING", "CHUNKING", "8BITMIME", "SIZE 1000000"}}
	world, err := build(secondary)
	if err != nil {
		return err
	}
	defer world.Close()

	t.heading("DNS says, on %s:", world.dns.Addr())
	t.quote(strings.TrimSpace(zone))
	t.heading("Nobody listens on 127.0.0.2:%d. mx2.example.com does on 127.0.0.3:%d.", world.port, world.port)

	sender := &delivery.Sender{
		Hello:         "client.example.org",
		Resolver:      &mx.Cache{Resolver: &mx.Client{Servers: []mx.Server{{Addr: world.dns.Addr()}}}},
		Port:          world.port,
		AllowLoopback: true,
		Trace:         t.trace(),
	}
	defer sender.Close()

	t.heading("Sending a message to bob@example.com:")
	report, err := sender.Send(ctx, &queue.Message{
		From:       "alice@example.org",
		Recipients: []queue.Recipient{{Address: "bob@example.com"}},
		Content:    queue.String(text),
	})
	t.outcome(report)
	if err != nil {
		return err
	}
	return t.check(report, secondary.Messages())
}

// check holds what happened against what was told.
func (t *teller) check(report *delivery.Report, arrived []smtptest.Message) error {
	bob := &report.Recipients[0]
	checks := []struct {
		claim string
		true  bool
	}{
		{"the primary was tried first and refused the connection", len(bob.Attempts) == 2 &&
			bob.Attempts[0].Host == "mail.example.com" && bob.Attempts[0].Err != nil &&
			bob.Attempts[0].Err.Stage == delivery.StageConnect},
		{"the second host took the message", bob.Outcome == queue.Delivered && bob.Host == "mx2.example.com"},
		{"it arrived there once, octet for octet", len(arrived) == 1 && string(arrived[0].Content) == text},
	}
	t.heading("Checked:")
	for _, c := range checks {
		if !c.true {
			return fmt.Errorf("not as told: %s", c.claim)
		}
		t.line("  yes", c.claim)
	}
	return nil
}

// teller prints what happens, when it happens.
type teller struct {
	w     io.Writer
	start time.Time
}

func (t *teller) heading(format string, args ...any) {
	fmt.Fprintf(t.w, "\n"+format+"\n", args...)
}

func (t *teller) quote(text string) {
	for l := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(t.w, "    %s\n", l)
	}
}

func (t *teller) line(what, text string) { fmt.Fprintf(t.w, "%-12s %s\n", what, text) }

// step is a line with the time since the start.
func (t *teller) step(what, format string, args ...any) {
	fmt.Fprintf(t.w, "  %6.1f ms  %-10s %s\n", float64(time.Since(t.start).Microseconds())/1000, what, fmt.Sprintf(format, args...))
}

// trace prints the steps of a walk.
func (t *teller) trace() *delivery.Trace {
	return &delivery.Trace{
		Route: func(domain string, route mx.Route, err error) {
			if err != nil {
				t.step("route", "%v", err)
				return
			}
			for i, h := range route.Hosts {
				t.step("route", "%s, choice %d: %s, preference %d, %v", domain, i+1, h.Name, h.Preference, h.Addrs)
			}
		},
		Connect: func(host string, addr netip.AddrPort) { t.step("connect", "to %s at %s", host, addr) },
		Connected: func(_ string, _ netip.AddrPort, err error) {
			if err != nil {
				t.step("failed", "%v", err)
			}
		},
		Line: func(_ string, _ netip.AddrPort, l delivery.Line) {
			who := "server:"
			if l.Sent {
				who = "client:"
			}
			t.step(who, "%s", l.Text)
		},
		Attempt: func(_ string, _ []string, a delivery.Attempt) {
			t.step("so", "%s: %s; %s", a.Host, a.Verdict, a.Next)
		},
	}
}

func (t *teller) outcome(report *delivery.Report) {
	for _, r := range report.Recipients {
		t.heading("%s: %s by %s, which said %d %s", r.Address, r.Outcome, r.Host, r.Reply.Code, r.Reply.Text)
	}
}
