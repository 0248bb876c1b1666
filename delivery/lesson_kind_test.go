package delivery

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/queue"
)

// said is a recipient that a host answered so at a stage; without a code nobody did.
func said(o queue.Outcome, s Stage, code int, enhanced string) RecipientReport {
	e := &Error{Stage: s, Code: code, Enhanced: enhanced, Err: errors.New("lost")}
	if code > 0 {
		e.Lines, e.Err = []string{"as it says"}, nil
	}
	return RecipientReport{Outcome: o, Err: e, Reply: e.Reply()}
}

func TestWhatAReportTellsOfTheSite(t *testing.T) {
	remembered := said(queue.Deferred, StageConnect, 0, "4.4.1")
	remembered.Err.Remembered = true
	delivered := RecipientReport{Outcome: queue.Delivered}
	untrusted, trusted := said(queue.Deferred, StageStartTLS, 0, "4.7.5"), said(queue.Deferred, StageStartTLS, 0, "4.7.5")
	untrusted.Decision, trusted.Decision = &Decision{}, &Decision{Accepted: true}
	for _, c := range []struct {
		name string
		of   []RecipientReport
		want sched.Kind
	}{
		{"nobody", nil, sched.Nothing},
		{"delivered", []RecipientReport{delivered}, sched.Works},
		{"deferred for nothing", []RecipientReport{{Outcome: queue.Deferred}}, sched.Nothing},
		{"deferred at the door", []RecipientReport{said(queue.Deferred, StageMessage, 0, "4.3.0")}, sched.Nothing},
		{"failed at the door", []RecipientReport{said(queue.Failed, StageMessage, 0, "5.1.3")}, sched.Nothing},
		{"the reply to the content was lost", []RecipientReport{said(queue.Unknown, StageContent, 0, "4.4.2")}, sched.Later},
		{"not asked again", []RecipientReport{remembered}, sched.Remembered},
		{"the login was refused", []RecipientReport{said(queue.Deferred, StageAuth, 535, "5.7.8")}, sched.LoginRefused},
		{"refused at MAIL", []RecipientReport{said(queue.Failed, StageMail, 550, "5.7.1")}, sched.Works},
		{"refused at RCPT", []RecipientReport{said(queue.Failed, StageRcpt, 550, "5.1.1")}, sched.Works},
		{"refused by the greeting", []RecipientReport{said(queue.Failed, StageBanner, 554, "5.3.2")}, sched.Nothing},
		{"failed without a reply", []RecipientReport{said(queue.Failed, StageMail, 0, "5.6.7")}, sched.Nothing},
		{"no connection", []RecipientReport{said(queue.Deferred, StageConnect, 0, "4.4.1")}, sched.Unreachable},
		{"deferred by the greeting", []RecipientReport{said(queue.Deferred, StageBanner, 421, "4.3.2")}, sched.Unreachable},
		{"a policy holds it back", []RecipientReport{untrusted}, sched.Nothing},
		{"a policy would let it go", []RecipientReport{trusted}, sched.Unreachable},
		{"deferred at MAIL", []RecipientReport{said(queue.Deferred, StageMail, 450, "4.7.1")}, sched.Busy},
		{"lost at MAIL", []RecipientReport{said(queue.Deferred, StageMail, 0, "4.4.2")}, sched.Busy},
		{"deferred at RCPT", []RecipientReport{said(queue.Deferred, StageRcpt, 450, "4.2.0")}, sched.Later},
		{"the session was ended at RCPT", []RecipientReport{said(queue.Deferred, StageRcpt, 421, "4.3.2")}, sched.Busy},
		{"lost at RCPT", []RecipientReport{said(queue.Deferred, StageRcpt, 0, "4.4.2")}, sched.Busy},
		{"deferred after the content", []RecipientReport{said(queue.Deferred, StageContent, 451, "4.3.0")}, sched.Later},
		{"the content could not be read", []RecipientReport{said(queue.Deferred, StageContent, 0, "4.3.0")}, sched.Nothing},
		{"lost in the content", []RecipientReport{said(queue.Deferred, StageContent, 0, "4.4.2")}, sched.Busy},
		{"a fault of ours before the content", []RecipientReport{said(queue.Deferred, StageData, 0, "4.3.0")}, sched.Busy},
		{"one deferred and one delivered", []RecipientReport{said(queue.Deferred, StageRcpt, 450, "4.2.0"), delivered}, sched.Works},
		{"one delivered and one deferred", []RecipientReport{delivered, said(queue.Deferred, StageRcpt, 450, "4.2.0")}, sched.Works},
	} {
		if got := kindOf(&Report{Recipients: c.of}); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWhatIsDeferredForTheRate(t *testing.T) {
	rate, mailbox, address := said(queue.Deferred, StageRcpt, 450, "4.7.1"), said(queue.Deferred, StageRcpt, 452, "4.2.2"), said(queue.Deferred, StageRcpt, 450, "4.1.1")
	delivered, lost := RecipientReport{Outcome: queue.Delivered}, said(queue.Unknown, StageContent, 0, "4.4.2")
	for _, c := range []struct {
		name string
		of   []RecipientReport
		want float64
	}{
		{"of nobody", nil, 0},
		{"of one", []RecipientReport{rate}, 1},
		{"of one whose mailbox is full", []RecipientReport{mailbox}, 0},
		{"of one whose address is doubtful", []RecipientReport{address}, 0},
		{"of one who was delivered", []RecipientReport{delivered}, 0},
		{"of one for whom the reply was lost", []RecipientReport{lost}, 0},
		{"of four", []RecipientReport{rate, mailbox, delivered, rate}, 0.5},
	} {
		if got := deferredIn(&Report{Recipients: c.of}); got != c.want {
			t.Errorf("which part %s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestLoginRefusedAtRecipients(t *testing.T) {
	mail, rcpt := said(queue.Deferred, StageMail, 530, "5.7.0"), said(queue.Deferred, StageRcpt, 530, "5.7.0")
	other, delivered := said(queue.Deferred, StageMail, 450, "4.7.1"), RecipientReport{Outcome: queue.Delivered}
	for _, c := range []struct {
		of   []RecipientReport
		want bool
	}{
		{[]RecipientReport{rcpt}, true}, {[]RecipientReport{mail}, false}, {[]RecipientReport{delivered, rcpt}, true},
		{[]RecipientReport{rcpt, mail}, false}, {[]RecipientReport{other, rcpt}, true},
	} {
		if got := atRecipients(&Report{Recipients: c.of}); got != c.want {
			t.Errorf("of %d: %t, want %t", len(c.of), got, c.want)
		}
	}
}

func TestTroubleOfOurs(t *testing.T) {
	at := func(s Stage, err error, lines ...string) *Attempt {
		return &Attempt{Err: &Error{Stage: s, Err: err, Lines: lines}}
	}
	for _, c := range []struct {
		name string
		of   *Attempt
		want sched.Cause
	}{
		{"taken", &Attempt{}, sched.NoTrouble},
		{"no network", at(StageConnect, syscall.ENETUNREACH), sched.NetworkFails},
		{"the network is down", at(StageConnect, fmt.Errorf("dial: %w", syscall.ENETDOWN)), sched.NetworkFails},
		{"no descriptors", at(StageConnect, syscall.EMFILE), sched.MachineFails},
		{"no descriptors on the machine", at(StageConnect, syscall.ENFILE), sched.MachineFails},
		{"no buffers", at(StageConnect, syscall.ENOBUFS), sched.MachineFails},
		{"no memory", at(StageConnect, syscall.ENOMEM), sched.MachineFails},
		{"no ports", at(StageConnect, syscall.EADDRNOTAVAIL), sched.MachineFails},
		{"no port free", at(StageConnect, syscall.EADDRINUSE), sched.MachineFails},
		{"refused", at(StageConnect, syscall.ECONNREFUSED), sched.NoTrouble},
		{"no network later", at(StageHello, syscall.ENETUNREACH), sched.NoTrouble},
		{"no descriptors later", at(StageDNS, syscall.EMFILE), sched.NoTrouble},
		{"a reply", at(StageConnect, syscall.ENETUNREACH, "421 no"), sched.NoTrouble},
	} {
		if got := causeOf(c.of); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestUndecided(t *testing.T) {
	lost, replied := said(queue.Deferred, StageConnect, 0, "4.4.1"), said(queue.Deferred, StageRcpt, 450, "4.2.0")
	failed := said(queue.Failed, StageMessage, 0, "5.1.3")
	for _, c := range []struct {
		name string
		of   []RecipientReport
		want bool
	}{
		{"nobody was asked", []RecipientReport{lost, lost}, true}, {"a host has deferred", []RecipientReport{lost, replied}, false},
		{"one has failed", []RecipientReport{lost, failed}, false}, {"one was delivered", []RecipientReport{{Outcome: queue.Delivered}}, false},
	} {
		if got := undecided(&Report{Recipients: c.of}); got != c.want {
			t.Errorf("where %s: %t, want %t", c.name, got, c.want)
		}
	}
}

func TestUnsent(t *testing.T) {
	for err, want := range map[error]bool{errUnmarked: true, errUnread: true, errLeaseLost: true, errExpired: false, errPanic: false} {
		if got := unsent(&Error{Err: fmt.Errorf("for this: %w", err)}); got != want {
			t.Errorf("nothing was sent for the queue's sake after %q: %t, want %t", err, got, want)
		}
	}
	if unsent(nil) {
		t.Error("nothing was sent of what was delivered")
	}
}

func TestWhoIsTold(t *testing.T) {
	for kind, want := range map[EventKind][2]reports.Fate{
		Failed: {reports.Failed, reports.Failed}, Expired: {reports.Expired, reports.Expired},
		Deferred: {reports.Untold, reports.Delayed}, UnknownOutcome: {reports.Untold, reports.Delayed},
		Delivered: {reports.Untold, reports.Untold}, Bounced: {reports.Untold, reports.Untold},
	} {
		for i, late := range []bool{false, true} {
			if got := fateOf(kind, late); got != want[i] {
				t.Errorf("of %v, late: %t: %v, want %v", kind, late, got, want[i])
			}
		}
	}
}
