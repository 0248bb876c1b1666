package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// flushRig is a spool with messages that are due in an hour: "ab" to a.example and
// b.example, "b" to b.example and "c" to c.example, all of which are postponed.
type flushRig struct {
	t   *testing.T
	fs  *crashfs.FS
	s   *Spool
	now time.Time
	ids map[string]string
}

func newFlushRig(t *testing.T) *flushRig {
	t.Helper()
	r := &flushRig{t: t, now: time.Unix(1e9, 0), ids: map[string]string{}}
	r.fs, r.s = openSmall(t)
	for _, name := range []string{"ab", "b", "c"} {
		m := &queue.Message{NotBefore: r.now.Add(time.Hour), Content: queue.String("text")}
		for _, d := range name {
			m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@%c.example", d)})
		}
		id, err := r.s.Put(t.Context(), r.now, m)
		must(t, err)
		r.ids[name] = id
	}
	for _, name := range []string{"a", "b", "c"} {
		must(t, r.s.Postpone(t.Context(), r.now, queue.Postponement{Destination: name + ".example", Until: r.now.Add(time.Hour)}))
	}
	return r
}

// selection takes "message", "@destination" or "message@destination" apart.
func (r *flushRig) selection(what string) (q queue.Selection) {
	message, destination, _ := strings.Cut(what, "@")
	if message != "" {
		q.Message = r.ids[message]
	}
	if destination != "" {
		q.Destination = destination + ".example"
	}
	return q
}

// TestFlushOfSelections flushes what is selected in several ways at once: each delivery
// counts once, what is selected is due at once and nothing else, and the postponements
// of its destinations alone are ended, with one record for each.
func TestFlushOfSelections(t *testing.T) {
	for _, c := range []struct {
		what    []string
		n       int
		due     string // destinations and messages
		lifted  string
		written int // records of flushes
	}{
		{[]string{""}, 4, "a:ab b:ab b:b c:c", "a b c", 1},
		{[]string{"@a", "", "c"}, 4, "a:ab b:ab b:b c:c", "a b c", 1},
		{[]string{"ab"}, 2, "a:ab b:ab", "a b", 1},
		{[]string{"ab", "c"}, 3, "a:ab b:ab c:c", "a b c", 2},
		{[]string{"ab", "ab"}, 2, "a:ab b:ab", "a b", 1},
		{[]string{"@b"}, 2, "b:ab b:b", "b", 1},
		{[]string{"@b", "@b"}, 2, "b:ab b:b", "b", 1},
		{[]string{"ab", "@b"}, 3, "a:ab b:ab b:b", "a b", 2},
		{[]string{"ab@b"}, 1, "b:ab", "b", 1},
		{[]string{"ab@a", "ab@b"}, 2, "a:ab b:ab", "a b", 2},
		{[]string{"ab@b", "ab@b"}, 1, "b:ab", "b", 1},
		{[]string{"ab@b", "@b"}, 2, "b:ab b:b", "b", 1},
		{[]string{"ab@b", "ab"}, 2, "a:ab b:ab", "a b", 1},
		{[]string{"ab@c"}, 0, "", "", 1},
		{[]string{"c@c", "ab@a"}, 2, "a:ab c:c", "a c", 2},
	} {
		t.Run(strings.Join(c.what, " and "), func(t *testing.T) {
			r := newFlushRig(t)
			var list []queue.Selection
			for _, what := range c.what {
				list = append(list, r.selection(what))
			}
			from := r.s.current.size
			n, err := r.s.Flush(t.Context(), r.now, list...)
			must(t, err)
			if n != c.n {
				t.Errorf("%d deliveries were flushed, want %d", n, c.n)
			}
			if got, want := r.frames(from, record.KindDestination), len(strings.Fields(c.lifted)); got != want {
				t.Errorf("%d postponements are ended in the log, want %d", got, want)
			}
			if got := r.frames(from, record.KindFlush); got != c.written {
				t.Errorf("%d flushes are in the log, want %d", got, c.written)
			}
			r.check(c.due, c.lifted)
			must(t, r.s.save())
			r.s, err = openByHand(r.fs.Restart(), Options{})
			must(t, err)
			r.check(c.due, c.lifted)
		})
	}
}

// frames counts the records of a kind from an offset of the log on.
func (r *flushRig) frames(from int64, kind record.Kind) (n int) {
	groups := r.s.current.groups(from)
	for groups.Next() {
		for _, f := range groups.Frames() {
			if f.Kind == kind {
				n++
			}
		}
	}
	return n
}

// TestFlushEndsNoOtherPostponements flushes where nothing is postponed: nothing is said of
// that.
func TestFlushEndsNoOtherPostponements(t *testing.T) {
	for _, what := range []string{"", "@a", "ab", "ab@a", "@z"} {
		r := newFlushRig(t)
		for _, name := range []string{"a", "b", "c"} {
			must(t, r.s.Postpone(t.Context(), r.now, queue.Postponement{Destination: name + ".example"}))
		}
		from := r.s.current.size
		_, err := r.s.Flush(t.Context(), r.now, r.selection(what))
		must(t, err)
		if n := r.frames(from, record.KindDestination); n > 0 {
			t.Errorf("a flush of %q says of %d destinations that they are not postponed, which none was", what, n)
		}
	}
}

// TestFlushCountsEndedLeases has more leases end than are ended while the lock is held once,
// and then a flush: it counts their deliveries.
func TestFlushCountsEndedLeases(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	for name, all := range map[string]bool{"everything": true, "a message": false} {
		_, s := openSmall(t)
		const many = holdMax + 3
		var id string
		for range many {
			id = mustPut(t, s)
		}
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: many, Lease: time.Minute})
		must(t, err)
		if len(c.Deliveries) != many {
			t.Fatalf("%d of %d were claimed", len(c.Deliveries), many)
		}
		what, want := queue.Selection{}, many
		if !all {
			what, want = queue.Selection{Message: id}, 1
		}
		if n, err := s.Flush(ctx, now.Add(59*time.Second), what); n != 0 || err != nil {
			t.Errorf("%s while they are leased: %d, %v, want none", name, n, err)
		}
		if n, err := s.Flush(ctx, now.Add(time.Minute), what); n != want || err != nil {
			t.Errorf("%s when the leases have ended: %d, %v, want %d", name, n, err, want)
		}
	}
}

// TestFlushWakes: who waits for mail is told of a flush.
func TestFlushWakes(t *testing.T) {
	r := newFlushRig(t)
	for _, what := range []string{"c@c", "b", "@a", ""} {
		c, err := r.s.Claim(t.Context(), r.now, queue.ClaimOptions{Destinations: []string{"none.example"}})
		must(t, err)
		_, err = r.s.Flush(t.Context(), r.now, r.selection(what))
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := r.s.Wait(ctx, c.Seen); err != nil {
			t.Errorf("after a flush of %q, Wait = %v", what, err)
		}
		cancel()
	}
}

// check compares what is due at once and which destinations are not postponed.
func (r *flushRig) check(due, lifted string) {
	r.t.Helper()
	var at, free []string
	for name, id := range r.ids {
		e, err := r.s.Show(r.t.Context(), id)
		must(r.t, err)
		for _, w := range e.Waiting {
			if w.Next.IsZero() || !w.Next.After(r.now) {
				at = append(at, w.Destination[:1]+":"+name)
			}
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		if until, _ := r.s.index.Postponed(name + ".example"); until.IsZero() {
			free = append(free, name)
		}
	}
	slices.Sort(at)
	if got := strings.Join(at, " "); got != due {
		r.t.Errorf("due at once: %q, want %q", got, due)
	}
	if got := strings.Join(free, " "); got != lifted {
		r.t.Errorf("not postponed: %q, want %q", got, lifted)
	}
}

// TestFlushOfWhatIsNotThere flushes messages that are not there, and by what is not a
// name.
func TestFlushOfWhatIsNotThere(t *testing.T) {
	r := newFlushRig(t)
	for _, id := range []string{"no id", formatID(1 << 20)} {
		if n, err := r.s.Flush(t.Context(), r.now, queue.Selection{Message: id}); n != 0 || !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("Flush of message %q = %d, %v, want ErrNotFound", id, n, err)
		}
	}
	if n, err := r.s.Flush(t.Context(), r.now, queue.Selection{Tenant: "t"}); n != 0 || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Flush of a tenant = %d, %v, want ErrUnsupported", n, err)
	}
	r.check("", "")
}

// TestFlushOfTheLongestName flushes the longest name that may be postponed, and one that
// is longer, for which nothing is written.
func TestFlushOfTheLongestName(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	mustPut(t, s)
	name := strings.Repeat("x", maxName)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(time.Hour)}))
	_, err := s.Flush(ctx, now, queue.Selection{Destination: name})
	must(t, err)
	if s.index.IsPostponed(name) {
		t.Error("the longest name is postponed still")
	}
	before := s.current.size
	if n, err := s.Flush(ctx, now, queue.Selection{Destination: name + "x"}); n != 0 || err != nil || s.current.size != before {
		t.Errorf("Flush of a longer one = %d, %v, and %d bytes were written", n, err, s.current.size-before)
	}
}

// TestFlushThatFailsIsNoFlush has a flush not be written: what is written later is not
// due at once for it, and another flush can be made.
func TestFlushThatFailsIsNoFlush(t *testing.T) {
	r := newFlushRig(t)
	odd := errors.New("odd")
	for _, cause := range []error{odd, syscall.EFBIG} {
		r.fs.Inject(crashfs.FailNth(crashfs.OpWrite, 1, false, cause))
		if n, err := r.s.Flush(t.Context(), r.now, queue.Selection{}); n != 0 || !errors.Is(err, cause) {
			t.Fatalf("Flush that is not written = %d, %v", n, err)
		}
		r.fs.Inject(nil)
	}
	for _, id := range r.ids {
		must(t, r.s.Hold(t.Context(), id))
		must(t, r.s.Release(t.Context(), id))
	}
	r.check("", "")
	if n, err := r.s.Flush(t.Context(), r.now, r.selection("c")); n != 1 || err != nil {
		t.Errorf("another Flush = %d, %v", n, err)
	}
	r.check("c:c", "c")
}

// TestFlushEndsManyPostponements flushes everything, with more destinations postponed than
// are looked at while the lock is held once.
func TestFlushEndsManyPostponements(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	list := make([]queue.Postponement, 3*holdMax)
	for i := range list {
		list[i] = queue.Postponement{Destination: fmt.Sprintf("d%d.example", i), Until: now.Add(time.Hour)}
	}
	must(t, s.Postpone(ctx, now, list...))
	_, err := s.Flush(ctx, now, queue.Selection{})
	must(t, err)
	must(t, s.save())
	for range 2 {
		for _, p := range list {
			if until, _ := s.index.Postponed(p.Destination); !until.IsZero() {
				t.Fatalf("%s is postponed until %v", p.Destination, until)
			}
		}
		s, err = openByHand(fs.Restart(), Options{})
		must(t, err)
	}
}
