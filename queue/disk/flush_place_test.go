package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// writtenFlush has a flush be in the log, and nothing of it in the index.
func writtenFlush(t *testing.T, s *Spool, r record.Flush) *flush {
	t.Helper()
	f := s.newFlush(&r)
	s.mu.Lock()
	s.flushes, s.flushed = append(s.flushes, f), s.flushed+1
	s.mu.Unlock()
	flushed := f.ticket()
	s.pass(flushed, nil)
	must(t, s.passed(flushed, nil))
	return f
}

// TestFlushAmongRecordsOfSeveralSegments has records of deliveries before a flush and after it, in
// its segment and in others, and some of them written again, there or in another segment,
// while the index does not have the flush: what it names and was before it is due at once,
// and nothing else, then and after a restart.
func TestFlushAmongRecordsOfSeveralSegments(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for _, what := range []string{"everything", "a destination", "a message", "a destination of a message"} {
		for _, again := range []string{"none", "in its segment", "in another", "when it is in the index"} {
			fs, s := openSmall(t)
			ids := map[string]string{}
			put := func(name string) {
				m := textMessage(name)
				m.NotBefore = now.Add(time.Hour + 7) // which is less than the index keeps
				if name == "due" {
					m.NotBefore = now
				}
				m.Recipients = []queue.Recipient{{Address: "a@a.example"}, {Address: "a@b.example"}}
				id, err := s.Put(ctx, now, m)
				must(t, err)
				ids[name] = id
			}
			put("long before")
			s.rollNow = true
			put("before")
			put("due")
			put("held")
			must(t, s.Hold(ctx, ids["held"]))
			r := record.Flush{Since: now}
			if strings.Contains(what, "destination") {
				r.Destination = "a.example"
			}
			if strings.Contains(what, "message") {
				r.Message, _ = parseID(ids["long before"])
			}
			f := writtenFlush(t, s, r)
			put("after")
			s.rollNow = true
			put("long after")
			rewrite := func() {
				for _, name := range []string{"long before", "before", "due", "held", "after", "long after"} {
					if name != "held" {
						must(t, s.Hold(ctx, ids[name]))
					}
					must(t, s.Release(ctx, ids[name]))
				}
			}
			if strings.HasPrefix(again, "in") {
				s.rollNow = again == "in another"
				rewrite()
			}
			s.finish(f)
			if strings.HasPrefix(again, "when") {
				rewrite()
			}
			var want []string
			for _, name := range []string{"before", "long before"} {
				for _, d := range []string{"a", "b"} {
					if (r.Message == 0 || name == "long before") && (r.Destination == "" || d == "a") {
						want = append(want, name+" "+d)
					}
				}
			}
			for _, when := range []string{"then", "after a restart"} {
				var got []string
				for name, id := range ids {
					e, err := s.Show(ctx, id)
					must(t, err)
					for _, w := range e.Waiting {
						switch {
						case name == "due":
							if !w.Next.Equal(now) {
								t.Errorf("a flush of %s, written again: %s: what was due is due at %v %s", what, again, w.Next, when)
							}
						case w.Next.Equal(now.Add(time.Hour + 7)), name == "held" && again == "none":
						case !w.Next.IsZero():
							t.Errorf("a flush of %s, written again: %s: %s is due at %v %s", what, again, name, w.Next, when)
						default:
							got = append(got, name+" "+w.Destination[:1])
						}
					}
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("a flush of %s, written again: %s: %s are due %q, want %q", what, again, when, got, want)
				}
				must(t, s.save())
				fs = fs.Restart()
				var err error
				s, err = openByHand(fs, Options{})
				must(t, err)
			}
		}
	}
}

// TestFlushLeavesOutWhatIsLeased has the record of a delivery be written again that is
// leased, while a flush is in line whose time is before: it stays due when it was, also
// when the lease has ended in between.
func TestFlushLeavesOutWhatIsLeased(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for _, finish := range []bool{true, false} {
		fs, s := openSmall(t)
		m := textMessage("text")
		m.Guarantee, m.NotBefore = queue.AtMostOnce, now.Add(time.Hour)
		id, err := s.Put(ctx, now, m)
		must(t, err)
		c, err := s.Claim(ctx, m.NotBefore, queue.ClaimOptions{})
		must(t, err)
		f := writtenFlush(t, s, record.Flush{Since: now})
		must(t, s.Mark(ctx, []queue.Lease{c.Deliveries[0].Lease}))
		if finish {
			s.finish(f)
		}
		must(t, s.save())
		s, err = openByHand(fs.Restart(), Options{})
		must(t, err)
		c, err = s.Claim(ctx, m.NotBefore.Add(queue.DefaultLease), queue.ClaimOptions{})
		must(t, err)
		if len(c.Deliveries) != 1 || c.Deliveries[0].Lease.Message != id || !c.Deliveries[0].Due.Equal(m.NotBefore) {
			t.Errorf("finished %v: claimed after a restart: %+v, want that it was due at %v", finish, c.Deliveries, m.NotBefore)
		}
	}
}

// TestFlushThatFailsBesideAnother has a flush fail while another one is in the log and not in
// the index: that one goes on.
func TestFlushThatFailsBesideAnother(t *testing.T) {
	r := newFlushRig(t)
	for _, name := range []string{"a", "b", "c"} {
		must(t, r.s.Postpone(t.Context(), r.now, queue.Postponement{Destination: name + ".example"}))
	}
	number, _ := parseID(r.ids["ab"])
	f := writtenFlush(t, r.s, record.Flush{Since: r.now, Message: number})
	odd := errors.New("odd")
	r.fs.Inject(crashfs.FailNth(crashfs.OpWrite, 1, false, odd))
	if n, err := r.s.Flush(t.Context(), r.now, queue.Selection{}, r.selection("c")); n != 0 || !errors.Is(err, odd) {
		t.Fatalf("Flush that is not written = %d, %v", n, err)
	}
	r.fs.Inject(nil)
	if len(r.s.flushes) != 1 || r.s.flushes[0] != f {
		t.Fatalf("%d flushes are under way, want the other", len(r.s.flushes))
	}
	for _, id := range r.ids {
		must(t, r.s.Hold(t.Context(), id))
		must(t, r.s.Release(t.Context(), id))
	}
	r.s.finish(f)
	r.check("a:ab b:ab", "a b c")
}

// TestFlushOfManySelections flushes more than is in line at a time.
func TestFlushOfManySelections(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	var list []queue.Selection
	for i := range 2*maxFlushes + 1 {
		m := textMessage("text")
		m.NotBefore = now.Add(time.Hour)
		m.Recipients[0].Address = fmt.Sprintf("a@d%d.example", i)
		_, err := s.Put(ctx, now, m)
		must(t, err)
		list = append(list, queue.Selection{Destination: fmt.Sprintf("d%d.example", i)})
	}
	if n, err := s.Flush(ctx, now, list...); n != len(list) || err != nil {
		t.Errorf("Flush = %d, %v, want %d", n, err, len(list))
	}
	must(t, s.save())
	s, err := openByHand(fs.Restart(), Options{})
	must(t, err)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1 << 10})
	must(t, err)
	if len(c.Deliveries) != len(list) {
		t.Errorf("%d of %d are due after a restart", len(c.Deliveries), len(list))
	}
}

// TestFlushesWhoseTimesGoBack has two flushes in line, the second of an earlier time, and a
// record written again: the first counts, then and after a restart.
func TestFlushesWhoseTimesGoBack(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for _, rewrite := range []bool{false, true} {
		fs, s := openSmall(t)
		m := textMessage("text")
		m.NotBefore = now.Add(time.Hour)
		id, err := s.Put(ctx, now, m)
		must(t, err)
		first := now.Add(time.Minute)
		f := writtenFlush(t, s, record.Flush{Since: first})
		g := writtenFlush(t, s, record.Flush{Since: now})
		if rewrite {
			must(t, s.Hold(ctx, id))
			must(t, s.Release(ctx, id))
		}
		s.finish(g)
		if !f.done {
			t.Error("a flush is in the index before the one before it")
		}
		must(t, s.save())
		for range 2 {
			c, err := s.Claim(ctx, m.NotBefore, queue.ClaimOptions{})
			must(t, err)
			if len(c.Deliveries) != 1 || !c.Deliveries[0].Due.Equal(first) {
				t.Errorf("written again %v: claimed: %+v, want that it was due at %v", rewrite, c.Deliveries, first)
			}
			s, err = openByHand(fs.Restart(), Options{})
			must(t, err)
		}
	}
}

// TestCheckpointBesideAFlushInLine takes a checkpoint while a flush is in line and not in the
// log: it does not wait for it.
func TestCheckpointBesideAFlushInLine(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	m := textMessage("text")
	m.NotBefore = now.Add(time.Hour)
	_, err := s.Put(ctx, now, m)
	must(t, err)
	written := writtenFlush(t, s, record.Flush{Since: now, Destination: "other.example"})
	f := s.newFlush(&record.Flush{Since: now})
	s.mu.Lock()
	s.flushes, s.flushed = append(s.flushes, f), s.flushed+1
	s.mu.Unlock()
	must(t, s.takeCheckpoint(ctx))
	if !written.done || f.done {
		t.Errorf("the flush in the log is in the index: %v; that in line: %v", written.done, f.done)
	}
	flushed := f.ticket()
	s.pass(flushed, nil)
	must(t, s.passed(flushed, nil))
	s.finish(f)
	must(t, s.save())
	s, err = openByHand(fs.Restart(), Options{})
	must(t, err)
	c, err := s.Claim(ctx, now, queue.ClaimOptions{})
	must(t, err)
	if len(c.Deliveries) != 1 {
		t.Errorf("%d deliveries are due after a restart, want 1", len(c.Deliveries))
	}
}

// TestFlushOfMore flushes more deliveries than are gone through at a time: all are due, then
// and after a restart.
func TestFlushOfMore(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	const many = 2*holdMax + 3
	for _, what := range []queue.Selection{{}, {Destination: "example.com"}} {
		fs, s := openSmall(t)
		for range many {
			m := textMessage("text")
			m.NotBefore = now.Add(time.Hour)
			_, err := s.Put(ctx, now, m)
			must(t, err)
		}
		if n, err := s.Flush(ctx, now, what); n != many || err != nil {
			t.Errorf("Flush = %d, %v, want %d", n, err, many)
		}
		must(t, s.save())
		for range 2 {
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 2 * many})
			must(t, err)
			if len(c.Deliveries) != many {
				t.Errorf("%d of %d are due", len(c.Deliveries), many)
			}
			s, err = openByHand(fs.Restart(), Options{})
			must(t, err)
		}
	}
}
