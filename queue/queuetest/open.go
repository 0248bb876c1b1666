package queuetest

import (
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/nexthop-mail/nexthop/queue"
)

func openChecks() []check {
	return []check{
		{ruleO1, "the same bytes however often it is read", 0, readAgain},
		{ruleO1, "by many readers at once", 0, readTogether},
		{ruleO1, "contents of every size", 0, everySize},
		{ruleO2, "a message that is not there", 0, notThere},
		{ruleO2, "content opened before its message left", 0, readAfterwards},
		{ruleO3, "damage is told", needDamage, damagedContent},
	}
}

func (r *run) wantNotFound(what string, call func() error) {
	r.Helper()
	if err := call(); !errors.Is(err, queue.ErrNotFound) {
		r.Errorf("%s of a message that is not there = %v, want ErrNotFound", what, err)
	}
}

func readAgain(r *run) {
	m := r.message()
	id := r.put(m)
	c, err := r.q.Open(r.ctx, id)
	r.check("Open", err)
	if c.Size() != m.Content.Size() {
		r.Errorf("Size is %d, want %d", c.Size(), m.Content.Size())
	}
	for i := range 3 {
		if text, err := readAll(c); err != nil || text != textOf(m) {
			r.Errorf("reading %d is %q, %v, want %q", i, text, err, textOf(m))
		}
	}
	r.settle(deferred(r.one(), r.now))
	if text := r.content(id); text != textOf(m) {
		r.Errorf("the content after a deferral is %q, want %q", text, textOf(m))
	}
	if b := queue.BytesOf(c); b != nil && string(b) != textOf(m) {
		r.Errorf("its bytes in memory are %q, want %q", b, textOf(m))
	}
}

func readTogether(r *run) {
	text := strings.Repeat("many readers of one text\n", 4000)
	m := r.message()
	m.Content = queue.String(text)
	c, err := r.q.Open(r.ctx, r.put(m))
	r.check("Open", err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if got, err := readAll(c); err != nil || got != text {
				r.Errorf("one of eight readers got %d bytes and %v, want %d bytes", len(got), err, len(text))
			}
		})
	}
	group.Wait()
}

func everySize(r *run) {
	for _, size := range []int{0, 1, 4096, 65536, 262143, 262144, 300_000} {
		text := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for _, c := range []queue.Content{queue.String(text), stream(int64(size), text)} {
			m := r.message()
			m.Content = c
			id := r.put(m)
			opened, err := r.q.Open(r.ctx, id)
			r.check("Open", err)
			if got, err := readAll(opened); err != nil || got != text || opened.Size() != int64(size) {
				r.Errorf("%d bytes came back as %d and %v, said to be %d", size, len(got), err, opened.Size())
			}
			r.settle(all(r.one(), queue.Delivered))
		}
	}
}

func notThere(r *run) {
	r.put(r.message())
	for _, id := range []string{"", "nosuchmessage", "0", strings.Repeat("z", 40), "../x", "\x00"} {
		r.wantNotFound("Open", func() error { _, err := r.q.Open(r.ctx, id); return err })
	}
}

func readAfterwards(r *run) {
	text := strings.Repeat("here today\n", 30_000)
	m := r.message()
	m.Content = queue.String(text)
	c, err := r.q.Open(r.ctx, r.put(m))
	r.check("Open", err)
	rd, err := c.Open()
	r.check("Open of the content", err)
	head := make([]byte, 10)
	_, err = io.ReadFull(rd, head)
	r.check("reading", err)
	r.settle(all(r.one(), queue.Delivered))
	for range 20 {
		other := r.message()
		other.Content = queue.String(strings.Repeat("gone later\n", 3000))
		r.put(other)
	}
	rest, err := io.ReadAll(rd)
	if got := string(head) + string(rest); !strings.HasPrefix(text, got) || err == nil && got != text {
		r.Errorf("content whose message has left goes on as %d other bytes, want the %d that were put or an error", len(got), len(text))
	}
	r.check("Close of the content", rd.Close())
}

// damagedContent damages a message and wants every byte that still comes to be
// right, or an error.
func damagedContent(r *run) {
	text := strings.Repeat("0123456789\n", 1000)
	m := r.message()
	m.Content = queue.String(text)
	id := r.put(m)
	r.check("Damage", r.in.Damage(id))
	c, err := r.q.Open(r.ctx, id)
	got := ""
	if err == nil {
		got, err = readAll(c)
	}
	got1 := r.claim(queue.ClaimOptions{})
	told := errors.Is(err, queue.ErrDamaged) || len(got1.Unreadable) == 1 && errors.Is(got1.Unreadable[0].Err, queue.ErrDamaged)
	if !told {
		r.Errorf("reading a damaged message = %v and the claim has %d unreadable, want ErrDamaged from one of them",
			err, len(got1.Unreadable))
	}
	if err == nil && got != text {
		r.Errorf("a damaged message read as %d other bytes and a clean end", len(got))
	}
}
