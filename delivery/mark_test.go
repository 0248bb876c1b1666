package delivery_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// markWatcher is a queue of which the test sees each Mark.
type markWatcher struct {
	*memory.Queue
	mark func(leases []queue.Lease)
}

func (q *markWatcher) Mark(ctx context.Context, leases []queue.Lease) error {
	q.mark(leases)
	return q.Queue.Mark(ctx, leases)
}

// transaction is the dialogue from the last MAIL on.
func transaction(host *smtptest.Host) []smtptest.Line {
	all := host.Connections()
	lines := all[len(all)-1].Lines
	for i, l := range slices.Backward(lines) {
		if l.Client && strings.HasPrefix(l.Text, "MAIL") {
			return lines[i:]
		}
	}
	return nil
}

// TestMarkRightBeforeContent: mail that may be sent at most once is marked when its
// recipients have been answered and its content is what comes next, and other mail never;
// nor is what does not come so far.
func TestMarkRightBeforeContent(t *testing.T) {
	for name, extensions := range map[string][]string{
		"BDAT": full(), "DATA": {"PIPELINING", "8BITMIME"}, "without extensions": nil,
	} {
		t.Run("SMTP-21 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: extensions, Script: []smtptest.Cue{
					{At: smtptest.Rcpt, Address: "later@e.test", Reply: "451 4.2.0 later", Times: 1},
					{At: smtptest.Rcpt, Address: "refused@e.test", Reply: "550 5.1.1 nobody"},
				}}
				o := newOffice(t, toHost(host))
				o.agent.Settings.Limits.PerSite = 1
				marked := make(map[string]int)
				q := &markWatcher{Queue: new(memory.Queue)}
				q.mark = func(leases []queue.Lease) {
					synctest.Wait()
					for _, l := range leases {
						marked[l.Message]++
					}
					said := transaction(host)
					rcpts, answers := 0, 0
					for _, l := range said {
						switch {
						case l.Client && strings.HasPrefix(l.Text, "RCPT"):
							rcpts++
						case l.Client && (strings.HasPrefix(l.Text, "[") || strings.HasPrefix(l.Text, "BDAT")):
							t.Errorf("it is marked after content was sent: %v", said)
						case !l.Client && l.Text[3] == ' ':
							answers++
						}
					}
					if data := strings.HasPrefix(said[len(said)-1].Text, "354"); rcpts == 0 || data && answers != rcpts+2 || !data && answers != rcpts+1 {
						t.Errorf("it is marked before all was answered: %v", said)
					}
				}
				o.queue, o.agent.Queue = q, q
				var once, often []string
				for i := range 3 {
					for _, to := range [][]string{{"u@e.test", "refused@e.test"}, {"later@e.test"}} {
						m := numbered(i, queue.AtMostOnce, to[0])
						m.Recipients = nil
						for _, r := range to {
							m.Recipients = append(m.Recipients, queue.Recipient{Address: r})
						}
						once = append(once, o.submit(m))
						m.Guarantee = queue.AtLeastOnce
						often = append(often, o.submit(m))
					}
				}
				refused := o.submit(numbered(9, queue.AtMostOnce, "refused@e.test"))
				o.start()
				pass(24 * time.Hour)
				if n := len(host.Messages()); n != 12 || o.left() != 0 {
					t.Fatalf("the host has %d messages and %d deliveries are left, want 12 and none", n, o.left())
				}
				for _, id := range once {
					if marked[id] != 1 {
						t.Errorf("%s, to be sent at most once, was marked %d times, want once", id, marked[id])
					}
				}
				for _, id := range append(often, refused) {
					if marked[id] != 0 {
						t.Errorf("%s was marked %d times, want never", id, marked[id])
					}
				}
			})
		})
	}
}

// dyingAtMark is a spool of a machine that dies around a Mark: before it is called, or as
// soon as it has returned.
type dyingAtMark struct {
	*disk.Spool
	at            int // the number of that Mark
	before, after func()
	marks         int
}

func (q *dyingAtMark) Mark(ctx context.Context, leases []queue.Lease) error {
	q.marks++
	if q.marks == q.at {
		q.before()
	}
	err := q.Spool.Mark(ctx, leases)
	if q.marks == q.at {
		q.after()
	}
	return err
}

// TestKilledAroundMark: of 200 messages that may be sent at most once and were claimed
// ahead, a kill before one is marked costs none, and a kill after it that one alone.
func TestKilledAroundMark(t *testing.T) {
	const n, at = 200, 10
	for _, c := range []struct {
		name   string
		marked bool
		lost   int
	}{{"before the mark", false, 0}, {"after the mark", true, 1}} {
		t.Run("QUE-5 "+c.name, func(t *testing.T) {
			dir, copied := t.TempDir(), t.TempDir()+"/after"
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full()}
				o := newOffice(t, toHost(host))
				q := &dyingAtMark{Spool: spool(t, dir), at: at}
				sent := 0
				die := func() {
					pass(5 * time.Second) // until what was settled before is on the disk
					if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
						t.Error(err)
					}
					sent = len(host.Messages())
				}
				if q.before, q.after = die, func() {}; c.marked {
					q.before, q.after = q.after, q.before
				}
				o.queue, o.agent.Queue = q, q
				o.agent.Settings.Limits.PerSite = 1
				for i := range n {
					o.submit(numbered(i, queue.AtMostOnce, "u@e.test"))
				}
				o.start()
				pass(time.Minute)
				o.stop()
				closeQueue(t, q.Spool)
				if sent != at-1 {
					t.Fatalf("%d messages had been sent, want %d", sent, at-1)
				}
				left := spool(t, copied)
				before := len(host.Messages())
				next := o.again(left).start()
				pass(24 * time.Hour)
				failed, delivered := len(next.of(delivery.Failed)), len(next.of(delivery.Delivered))
				arrived := len(host.Messages()) - before
				if failed != c.lost || delivered != n-sent-c.lost || arrived != delivered || next.left() != 0 {
					t.Errorf("after %d had been sent %d were given up, %d delivered and %d arrived; want %d and %d",
						sent, failed, delivered, arrived, c.lost, n-sent-c.lost)
				}
				next.stop()
				closeQueue(t, left)
			})
		})
	}
}
