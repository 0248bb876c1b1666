package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// playCell sends through one fault and compares. A warm session has carried a
// message before, and meets the fault with the second.
func playCell(t *testing.T, stage, fault, want string, extensions []string, warm bool) {
	primary, secondary := &smtptest.Host{Extensions: extensions, Script: []smtptest.Cue{cellCue(stage, fault, warm)}}, &smtptest.Host{}
	if stage == "rset" {
		primary.Script = append(primary.Script, smtptest.Cue{At: smtptest.Rcpt, Address: "first@e.test", Reply: "450 4.2.0 later"})
	}
	if slices.Contains([]string{"starttls", "handshake", "hello-tls"}, stage) {
		primary.Extensions = append(slices.Clone(extensions), "STARTTLS")
	}
	in := (&smtptest.Internet{
		Zone:  "$ORIGIN e.test.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.1\nmx2 A 192.0.2.2",
		Hosts: map[string]*smtptest.Host{"mx1.e.test": primary, "mx2.e.test": secondary},
	}).Start(t)
	sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext, MaxIdle: -1}
	if stage == "auth" {
		primary.Extensions = append(slices.Clone(extensions), "AUTH PLAIN")
		primary.Users, primary.Allow = map[string]string{"user": password}, []smtptest.Rule{smtptest.RuleAuthClear}
		sender.Router = firstLogsIn{delivery.ByMX(&mx.Router{Resolver: in})}
	}
	if warm || stage == "rset" {
		sender.MaxIdle = 0
		if _, err := sender.Send(t.Context(), message("first@e.test")); err != nil {
			t.Fatal(err)
		}
	}
	m := message("a@e.test", "b@e.test")
	if !warm {
		m.Content = queue.String(text + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 3000))
	}

	began := time.Now()
	report, _ := sender.Send(t.Context(), m)
	sender.Close()
	took := time.Since(began)

	if got := cellLetter(report, primary, secondary); got != want {
		t.Errorf("got %s, want %s", got, want)
		for _, a := range report.Recipients[0].Attempts {
			t.Logf("%s %v: %v, %v, then %v", a.Host, a.Addr, a.Verdict, a.Err, a.Next)
		}
	}
	// The longest wait is for the final reply, 10 minutes; RFC 5321 section
	// 4.5.3.2 has none that is longer.
	if took > 16*time.Minute {
		t.Errorf("took %v", took)
	}
	checkCell(t, report, []*smtptest.Host{primary, secondary})
}

// firstLogsIn is a Router whose first host has a login, and consent to use it in
// clear.
type firstLogsIn struct{ delivery.Router }

func (f firstLogsIn) Route(ctx context.Context, from, domain string) (mx.Route, error) {
	route, err := f.Router.Route(ctx, from, domain)
	if err == nil {
		route.Hosts[0].Login, route.Hosts[0].TLS = user(), mx.TLSNone
	}
	return route, err
}

// cellCue is a fault at its place in the dialogue.
func cellCue(stage, fault string, warm bool) smtptest.Cue {
	at, nth, good := matrixStage(stage)
	cue := matrixFault(fault, good)
	cue.At, cue.Nth = at, nth
	switch {
	case at == smtptest.Content:
		cue.After = 1000
	case at == smtptest.Rcpt:
		cue.Address = []string{"a@e.test", "b@e.test"}[nth-1]
	case at == smtptest.Rset:
		cue.Conn = 1
	case warm && at != smtptest.Quit:
		cue.Nth, cue.Conn = 2, 1
	}
	return cue
}

// checkCell compares what the report says with what the hosts took.
func checkCell(t *testing.T, report *delivery.Report, hosts []*smtptest.Host) {
	taken := map[string]int{}
	for _, h := range hosts {
		h.Check(t)
		for _, m := range h.Messages() {
			for _, to := range m.To() {
				taken[to]++
			}
		}
	}
	for _, r := range report.Recipients {
		n := taken[r.Address]
		if r.Outcome == queue.Delivered && n == 0 {
			t.Errorf("%s was reported delivered, and nobody took it", r.Address)
		}
		if r.Outcome == queue.Failed && n > 0 {
			t.Errorf("%s was reported failed, and was taken", r.Address)
		}
	}
}

// cellLetter is what became of the message, in the letters of the matrix.
func cellLetter(report *delivery.Report, primary, secondary *smtptest.Host) string {
	a, b := &report.Recipients[0], &report.Recipients[1]
	connections := len(primary.Connections())
	asked := slices.ContainsFunc(secondary.Commands(), func(c string) bool { return strings.HasPrefix(c, "RCPT TO:<a@") || strings.HasPrefix(c, "RCPT TO:<b@") })
	says := fmt.Sprintf("%v by %s, %v by %s", a.Outcome, a.Host, b.Outcome, b.Host)
	if strings.Contains(says, "mx2") != asked {
		return says + " though the secondary was asked"
	}
	switch says {
	case "delivered by mx2.e.test, delivered by mx2.e.test":
		if a.Attempts[0].Verdict == delivery.HostRefuses {
			return "H"
		}
		return "N"
	case "delivered by mx1.e.test, delivered by mx1.e.test":
		switch {
		case connections == 2 && spokeStartTLS(primary):
			return "C"
		case connections == 3 && spokeStartTLS(primary):
			return "T"
		case connections == 2:
			return "A"
		case connections == 1 && spokeStartTLS(primary) && primary.Connections()[0].TLS == nil:
			return "P"
		case connections == 1:
			return "D"
		}
	case "delivered by mx1.e.test, delivered by mx2.e.test", "delivered by mx2.e.test, delivered by mx1.e.test":
		return "M"
	case "failed by mx1.e.test, delivered by mx1.e.test", "delivered by mx1.e.test, failed by mx1.e.test":
		return "R"
	case "failed by mx1.e.test, failed by mx1.e.test":
		return "F"
	case "unknown by mx1.e.test, unknown by mx1.e.test":
		return "U"
	}
	return fmt.Sprintf("%s after %d connections, secondary asked: %t", says, connections, asked)
}

func spokeStartTLS(h *smtptest.Host) bool { return slices.Contains(h.Commands(), "STARTTLS") }
