package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// seen is a Schedule that remembers what it was asked.
type seen struct {
	mu   sync.Mutex
	list []delivery.Retry
}

func (s *seen) Delay(r delivery.Retry) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, r)
	return 7 * time.Minute
}

// TestWhatIsTriedAgain: an attempt that decides differently about its recipients is
// followed by another for those that are left, at the time that the schedule says for
// what became of them, which their events tell and those of the others do not.
func TestWhatIsTriedAgain(t *testing.T) {
	lost := smtptest.Cue{At: smtptest.Final, Times: 1, Then: smtptest.Close}
	for _, c := range []struct {
		name    string
		to      []string
		script  []smtptest.Cue
		kind    delivery.EventKind
		outcome queue.Outcome
		code    int
	}{
		{"after one that is deferred, others are settled", []string{"later@e.test", "u@e.test", "refused@e.test"}, nil, delivery.Deferred, queue.Deferred, 450},
		{"before one that is deferred, others are settled", []string{"u@e.test", "refused@e.test", "later@e.test"}, nil, delivery.Deferred, queue.Deferred, 450},
		{"of one it is not known", []string{"u@e.test", "refused@e.test"}, []smtptest.Cue{lost}, delivery.UnknownOutcome, queue.Unknown, 0},
	} {
		t.Run("QUE-2 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: append(c.script,
					smtptest.Cue{At: smtptest.Rcpt, Address: "later@e.test", Times: 1, Reply: "450 4.2.1 later"},
					smtptest.Cue{At: smtptest.Rcpt, Address: "refused@e.test", Reply: "550 5.1.1 nobody"},
				)}))
				schedule := &seen{}
				o.agent.Settings.Schedule = schedule
				o.start()
				m := message(c.to...)
				m.From = ""
				o.submit(m)
				pass(7*time.Minute - time.Second)
				first := o.of(c.kind)
				if len(first) != 1 || first[0].Next.Sub(first[0].Time) != 7*time.Minute {
					t.Fatalf("events %+v, want one that is tried again after 7 m", first)
				}
				if len(schedule.list) != 1 {
					t.Fatalf("the schedule was asked %d times, want once", len(schedule.list))
				}
				if r := schedule.list[0]; r.Outcome != c.outcome || r.Reply.Code != c.code || r.Attempts != 1 {
					t.Errorf("the schedule was asked about %v with the reply %d after %d attempts, want %v and %d", r.Outcome, r.Reply.Code, r.Attempts, c.outcome, c.code)
				}
				pass(2 * time.Second)
				if n := len(o.of(delivery.Delivered)); o.left() != 0 || n == 0 {
					t.Errorf("%d are left and %d delivered when the schedule's time has come", o.left(), n)
				}
				for _, kind := range []delivery.EventKind{delivery.Delivered, delivery.Failed} {
					for _, e := range o.of(kind) {
						if !e.Next.IsZero() {
							t.Errorf("%s is %v, and tried again at %v", e.Recipient, kind, e.Next)
						}
					}
				}
			})
		})
	}
}

// TestPauseForTheQueue: what could not be sent because of the queue is tried again soon: a
// second after the queue could not mark it, and not sooner than after five if it did not
// hand out its content, for that may be all of it.
func TestPauseForTheQueue(t *testing.T) {
	for _, c := range []struct {
		name        string
		fails       func(q *faultyQueue, count func() error)
		least, most int // tries in a minute
	}{
		{"it does not mark", func(q *faultyQueue, count func() error) { q.mark = count }, 55, 61},
		{"it does not hand out content", func(q *faultyQueue, count func() error) { q.open = count }, 11, 13},
	} {
		t.Run("QUE-13 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
				q := &faultyQueue{Queue: new(memory.Queue)}
				o.queue, o.agent.Queue = q, q
				tries := 0
				c.fails(q, func() error { tries++; return errStorage })
				o.start()
				o.submit(numbered(1, queue.AtMostOnce, "u@e.test"))
				pass(time.Minute)
				q.set(func() {
					if tries < c.least || tries > c.most {
						t.Errorf("%d tries in a minute, want %d to %d", tries, c.least, c.most)
					}
					q.mark, q.open = nil, nil
				})
				pass(6 * time.Second)
				if got := o.of(delivery.Delivered); len(got) != 1 || got[0].Attempt != 1 {
					t.Errorf("delivered %+v, want it at the first attempt", got)
				}
			})
		})
	}
}

// TestWhatIsSaidOfWhatWasNotSent: mail that is given up for its time says what a host said
// last, and says that it may have been delivered only if it may.
func TestWhatIsSaidOfWhatWasNotSent(t *testing.T) {
	for _, guarantee := range []queue.Guarantee{queue.AtLeastOnce, queue.AtMostOnce} {
		t.Run(fmt.Sprint("QUE-4 in suspended mail, ", guarantee), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "450 4.2.2 full"}}}))
				o.agent.Settings.Warn = -1
				o.start()
				send := func(to string) {
					m := numbered(1, guarantee, to)
					m.Expires = o.began.Add(time.Hour)
					o.submit(m)
				}
				send("tried@e.test")
				pass(time.Minute)
				o.suspend(suspensionOf(queue.OfDestination, "e.test", time.Time{}))
				send("untried@e.test")
				pass(2 * time.Hour)
				got := make(map[string]string)
				for _, e := range o.of(delivery.Expired) {
					got[e.Recipient] = fmt.Sprint(e.Code, " ", e.Host, " ", e.Enhanced)
					if e.Err == nil || e.Err.AtMostOnce {
						t.Errorf("%s: %v, may have been delivered", e.Recipient, e.Err)
					}
				}
				if want := map[string]string{"tried@e.test": "450 mx1.e.test 4.2.2", "untried@e.test": "0  4.4.7"}; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("expired %v, want %v", got, want)
				}
			})
		})
	}
}

// TestHookPanicsAfterTheContent: a panic once the content is sent leaves the outcome
// unknown, and one before it does not.
func TestHookPanicsAfterTheContent(t *testing.T) {
	for _, c := range []struct {
		name      string
		at        delivery.Stage
		guarantee queue.Guarantee
		kind      delivery.EventKind
		doubt     bool // that it was delivered, and it is not sent again for that
	}{
		{"before it", delivery.StageRcpt, queue.AtLeastOnce, delivery.Deferred, false},
		{"before it, at most once", delivery.StageRcpt, queue.AtMostOnce, delivery.Deferred, false},
		{"after it", delivery.StageContent, queue.AtLeastOnce, delivery.UnknownOutcome, false},
		{"after it, at most once", delivery.StageContent, queue.AtMostOnce, delivery.Failed, true},
	} {
		t.Run("QUE-5 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Allow: []smtptest.Rule{}, Script: []smtptest.Cue{
					{At: map[delivery.Stage]smtptest.Stage{delivery.StageRcpt: smtptest.Rcpt, delivery.StageContent: smtptest.Final}[c.at], Times: 1, Reply: "450 4.3.0 later"},
				}}))
				panics := 0
				o.agent.Panic = func(any) { panics++ }
				o.agent.Sender.Judge = func(s delivery.Stage, _ int, _ string) delivery.Verdict {
					if s != c.at {
						t.Errorf("the verdict at %v is asked for", s)
					}
					panic("Judge")
				}
				o.start()
				o.submit(numbered(1, c.guarantee, "u@e.test"))
				pass(time.Minute)
				if got := o.of(c.kind); panics != 1 || len(got) != 1 || got[0].Err.AtMostOnce != c.doubt {
					t.Errorf("%d panics, events %+v", panics, o.events)
				}
				pass(time.Hour)
				if n := len(o.of(delivery.Delivered)); n != map[bool]int{true: 0, false: 1}[c.doubt] {
					t.Errorf("it was delivered %d times later", n)
				}
			})
		})
	}
}

// TestWhoReports is the name in a report: the one that is set, else the one that hosts are
// greeted with, else the machine's.
func TestWhoReports(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ reporter, hello, want string }{
		{"reports.test", "from.test", "dns; reports.test"}, {"", "from.test", "dns; from.test"}, {"", "", machine},
	} {
		t.Run(fmt.Sprintf("DSN-14 Reporter %q, Hello %q", c.reporter, c.hello), func(t *testing.T) {
			correspond(t, refuse("550 5.1.1 nobody"), func(t *testing.T, o *correspondence) {
				o.agent.Reporter, o.agent.Sender.Hello = c.reporter, c.hello
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Minute)
				if got := o.one().Message.Get("Reporting-MTA"); !strings.HasSuffix(got, c.want) {
					t.Errorf("Reporting-MTA %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestToldOfEachOnce: the sender is told once that one recipient was refused, and once that
// another's mail is late, though both reports are about one message to one domain.
func TestToldOfEachOnce(t *testing.T) {
	t.Run("DSN-5", func(t *testing.T) {
		correspond(t, []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "u@e.test", Reply: "550 5.1.1 nobody"}, {At: smtptest.Rcpt, Address: "v@e.test", Reply: "450 4.2.1 busy"},
		}, func(t *testing.T, o *correspondence) {
			o.start()
			o.submit(message("u@e.test", "v@e.test"))
			pass(48 * time.Hour)
			if bounced, delayed := len(o.of(delivery.Bounced)), len(o.of(delivery.Delayed)); bounced != 1 || delayed != 1 {
				t.Errorf("told of a refusal %d times and of a delay %d times, want once each", bounced, delayed)
			}
			if n := len(o.reports()); n != 2 {
				t.Errorf("%d reports, want 2", n)
			}
		})
	})
}

// TestDelayOfWhatIsNotTried: the report that mail is late which waits without being tried
// has the last reply to it, or else says that no host could be asked.
func TestDelayOfWhatIsNotTried(t *testing.T) {
	for _, tried := range []bool{true, false} {
		t.Run(fmt.Sprintf("DSN-5 tried before: %t", tried), func(t *testing.T) {
			correspond(t, refuse("450 4.2.2 full"), func(t *testing.T, o *correspondence) {
				o.start()
				s := suspensionOf(queue.OfDestination, "e.test", time.Time{})
				want := "4.2.2"
				if !tried {
					want = "4.4.1"
					o.suspend(s)
				}
				o.submit(message("u@e.test"))
				pass(time.Minute)
				if tried {
					o.suspend(s)
				}
				pass(5 * time.Hour)
				if got := o.one().Recipients[0]; got.Get("Action") != "delayed" || got.Get("Status") != want {
					t.Errorf("told %q, want the status %s", got, want)
				}
			})
		})
	}
}

// TestLateOnce: mail that waits without being tried is late once, also if nobody is to be
// told.
func TestLateOnce(t *testing.T) {
	t.Run("DSN-4 DSN-5", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
			o.start()
			o.suspend(suspensionOf(queue.OfDestination, "e.test", time.Time{}))
			m := message("u@e.test")
			m.Recipients[0].Notify = queue.NotifyNever
			o.submit(m)
			late := func() (late []bool) {
				c, err := o.queue.Claim(t.Context(), time.Now(), queue.ClaimOptions{Lease: time.Second})
				if err != nil {
					t.Fatal(err)
				}
				for i := range c.Deliveries {
					late = append(late, c.Deliveries[i].Warned)
				}
				return late
			}
			pass(3 * time.Hour)
			before := late()
			pass(2 * time.Hour)
			if after := late(); fmt.Sprint(before, after) != "[false] [true]" || len(o.of(delivery.Delayed)) != 0 {
				t.Errorf("late before the time: %v, after it: %v; told %+v", before, after, o.of(delivery.Delayed))
			}
		})
	})
}

// TestReturnNoMoreThan: a message larger than the agent returns whole is returned by its
// header.
func TestReturnNoMoreThan(t *testing.T) {
	for most, whole := range map[int64]bool{0: true, 10: false, -1: false, 1 << 20: true} {
		t.Run(fmt.Sprint("DSN-9 MaxReturn ", most), func(t *testing.T) {
			correspond(t, refuse("550 5.1.1 nobody"), func(t *testing.T, o *correspondence) {
				o.agent.MaxReturn = most
				o.start()
				m := message("u@e.test")
				m.Return, m.Content = queue.ReturnFull, queue.String("Subject: s\r\n\r\nwhat is in the body\r\n")
				o.submit(m)
				pass(time.Minute)
				list := o.home.Received()
				if len(list) != 1 || strings.Contains(string(list[0].Content), "what is in the body") != whole {
					t.Errorf("%d reports, want one with the body: %t", len(list), whole)
				}
			})
		})
	}
}

// TestSettlementOfLostLease: what has become of mail that is another agent's by now is told
// only if it really happened.
func TestSettlementOfLostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "later@e.test", Reply: "450 4.2.1 later"}, {At: smtptest.Rcpt, Address: "refused@e.test", Reply: "550 5.1.1 nobody"},
		}}))
		q := &faultyQueue{Queue: new(memory.Queue), one: func(*queue.Settlement) error { return queue.ErrLeaseLost }}
		o.queue, o.agent.Queue = q, q
		o.start()
		o.submit(message("u@e.test", "later@e.test", "refused@e.test"))
		pass(time.Minute)
		for kind, want := range map[delivery.EventKind]int{
			delivery.Delivered: 1, delivery.Deferred: 0, delivery.Failed: 0, delivery.Bounced: 0, delivery.Trouble: 0,
		} {
			if got := len(o.of(kind)); got != want {
				t.Errorf("%v told %d times, want %d", kind, got, want)
			}
		}
	})
}

// TestFailWhoseSettlementFails: Fail says why it could not record that mail is given up,
// and records what it can.
func TestFailWhoseSettlementFails(t *testing.T) {
	const signed = "DKIM-Signature: x\r\nSubject: signed\r\n\r\n"
	invalid := &queue.MessageError{Field: "Content", Index: -1, Err: errors.New("as it is signed")}
	for _, c := range []struct {
		name    string
		notify  queue.Notify
		signs   bool
		fails   func(q *faultyQueue, s *queue.Settlement) error
		whole   error // of all settlements
		want    error
		bounced int
		left    int
	}{
		{name: "the queue stores nothing", whole: errStorage, want: errStorage, left: 1},
		{name: "it does not store this", fails: func(*faultyQueue, *queue.Settlement) error { return queue.ErrDamaged }, want: queue.ErrDamaged, left: 1},
		{name: "it takes no report", fails: func(_ *faultyQueue, s *queue.Settlement) error {
			if len(s.Create) > 0 {
				return invalid
			}
			return nil
		}},
		{name: "it takes no report that is signed", signs: true, fails: func(_ *faultyQueue, s *queue.Settlement) error {
			if len(s.Create) > 0 && s.Create[0].Content.Size() == int64(len(signed)) {
				return invalid
			}
			return nil
		}, bounced: 1},
		{name: "it finds fault with a report where there is none", notify: queue.NotifyNever, fails: func(*faultyQueue, *queue.Settlement) error { return invalid }, want: invalid, left: 1},
	} {
		t.Run("QUE-3 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
				q := &faultyQueue{Queue: new(memory.Queue)}
				if c.whole != nil {
					q.settle = func([]queue.Settlement) error { return c.whole }
				}
				if c.fails != nil {
					q.one = func(s *queue.Settlement) error { return c.fails(q, s) }
				}
				o.queue, o.agent.Queue = q, q
				if c.signs {
					o.agent.Sign = func(context.Context, *queue.Message) (queue.Content, error) {
						return queue.String(signed), nil
					}
				}
				m := message("u@e.test")
				m.Recipients[0].Notify = c.notify
				id := o.submit(m)
				if err := o.agent.Fail(t.Context(), id, "not wanted"); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
					t.Errorf("Fail = %v, want %v", err, c.want)
				}
				if left, failed := o.left(), len(o.of(delivery.Failed)); left != c.left+c.bounced || failed != 1-c.left {
					t.Errorf("%d left and %d failed, want %d left and %d reports", left, failed, c.left, c.bounced)
				}
				if n := len(o.of(delivery.Bounced)); n != c.bounced {
					t.Errorf("%d reports, want %d", n, c.bounced)
				}
			})
		})
	}
}
