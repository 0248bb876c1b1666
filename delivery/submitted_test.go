package delivery_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// readCounter is a queue whose contents are read as from a disk. It counts how often.
type readCounter struct {
	*memory.Queue
	reads atomic.Int64
	claim chan struct{} // until it is closed, no claim is answered; nil: at once
}

func (q *readCounter) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	if q.claim != nil {
		<-q.claim
	}
	return q.Queue.Claim(ctx, now, want)
}

func (q *readCounter) Open(ctx context.Context, id string) (queue.Content, error) {
	c, err := q.Queue.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return counted{c, &q.reads}, nil
}

// counted is content that must be read. Its type has no method Bytes.
type counted struct {
	content queue.Content
	reads   *atomic.Int64
}

func (c counted) Size() int64 { return c.content.Size() }
func (c counted) Open() (io.ReadCloser, error) {
	c.reads.Add(1)
	return c.content.Open()
}

// TestJustSubmitted: mail is sent as it was submitted, whether its content is still in
// memory or must be read from the queue.
func TestJustSubmitted(t *testing.T) {
	head := "Subject: hello\r\n\r\n"
	long := head + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 2000)
	for _, c := range []struct {
		name    string
		content string
		want    string // if it is not the content
		script  []smtptest.Cue
		change  func(o *office, m *queue.Message)
		reads   int64
	}{
		{name: "as it was submitted", content: head + "text\r\n"},
		{name: "in canonical form", content: "Subject: hello\n\n.text", want: head + ".text\r\n"},
		{name: "empty", content: "", want: ""},
		{name: "with its signature", content: head + "text\r\n", want: "X-Signed: yes\r\n" + head + "text\r\n",
			change: func(o *office, _ *queue.Message) {
				o.agent.Sign = func(_ context.Context, m *queue.Message) (queue.Content, error) { return prefixed{m.Content}, nil }
			}},
		{name: "a second attempt reads the queue", content: head + "text\r\n", reads: 1,
			script: []smtptest.Cue{{At: smtptest.Final, Times: 1, Reply: "450 4.2.1 busy"}}},
		{name: "long content is read from the queue", content: long, reads: 1},
		{name: "mail for later is read from the queue", content: head + "text\r\n", reads: 1,
			change: func(_ *office, m *queue.Message) { m.NotBefore = time.Now().Add(time.Minute) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: full(), Script: c.script}
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				q := &readCounter{Queue: &memory.Queue{}, claim: make(chan struct{})}
				o.queue, o.agent.Queue = q, q
				m := message("u@e.test")
				octets := []byte(c.content)
				m.Content = queue.Bytes(octets)
				if c.change != nil {
					c.change(o, m)
				}
				o.start()
				synctest.Wait()
				o.submit(m)
				close(q.claim) // the agent may find it before Submit has returned, and then reads the queue
				for i := range octets {
					octets[i] = '!' // they are the caller's again
				}
				pass(time.Hour)
				want := c.want
				if want == "" {
					want = c.content
				}
				got := host.Messages()
				if len(got) != 1 || string(got[0].Content) != want {
					t.Errorf("the host has %d messages %+v, want %q", len(got), got, want)
				}
				if n := q.reads.Load(); n != c.reads {
					t.Errorf("the content was read %d times from the queue, want %d", n, c.reads)
				}
			})
		})
	}
}

// TestManyJustSubmitted: what does not fit into memory is read from the queue, and every
// message is sent with its own content.
func TestManyJustSubmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: full()}
		o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
		q := &readCounter{Queue: &memory.Queue{}}
		o.queue, o.agent.Queue = q, q
		o.agent.Settings.Limits.Connections = 1
		o.start()
		synctest.Wait()
		const n = 200
		want := make(map[string]bool)
		for i := range n {
			m := message("u@e.test")
			text := "Subject: " + strings.Repeat("i", i) + "\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 800)
			m.Content, want[text] = queue.String(text), true
			o.submit(m)
		}
		pass(time.Hour)
		for _, m := range host.Messages() {
			if !want[string(m.Content)] {
				t.Fatalf("a message of %d octets that nobody has submitted, or a second time", len(m.Content))
			}
			delete(want, string(m.Content))
		}
		if len(want) > 0 {
			t.Errorf("%d messages have not arrived", len(want))
		}
		t.Logf("%d of %d contents were read from the queue", q.reads.Load(), n)
	})
}
