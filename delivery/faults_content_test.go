package delivery_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// odd is content that may lie about its size, or fail.
type odd struct {
	text  string
	size  int64 // announced
	fails int   // octets after which reading fails; 0 is never
}

var errUnreadable = errors.New("the disk is gone")

func (o odd) Size() int64 { return o.size }

func (o odd) Open() (io.ReadCloser, error) {
	if o.fails > 0 {
		return io.NopCloser(io.MultiReader(strings.NewReader(o.text[:o.fails]), failingReader{})), nil
	}
	return io.NopCloser(strings.NewReader(o.text)), nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errUnreadable }

// ways are the ways content goes over the wire.
func ways() map[string][]string {
	return map[string][]string{
		"DATA":            nil,
		"pipelined DATA":  {"PIPELINING", "SIZE", "8BITMIME"},
		"BDAT":            {"CHUNKING", "SIZE", "8BITMIME"},
		"pipelined BDAT":  {"PIPELINING", "CHUNKING", "SIZE", "8BITMIME"},
		"BDAT inside TLS": {"PIPELINING", "CHUNKING", "SIZE", "8BITMIME", "STARTTLS"},
	}
}

// sendOdd sends content through a host and returns what became of it, and what
// arrived; nil is nothing.
func sendOdd(t *testing.T, extensions []string, policy delivery.ContentPolicy, c queue.Content) (*delivery.RecipientReport, []byte) {
	t.Helper()
	h := &smtptest.Host{Extensions: extensions}
	in := (&smtptest.Internet{
		Zone: "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1", Hosts: map[string]*smtptest.Host{"mx1.e.test": h},
	}).Start(t)
	sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext, Content: policy}
	defer sender.Close()
	m := message("u@e.test")
	m.Content = c
	report := sendContext(t, t.Context(), sender, m)
	in.Check(t)
	got := h.Received()
	switch len(got) {
	case 0:
		return &report.Recipients[0], nil
	case 1:
		return &report.Recipients[0], append([]byte{}, got[0].Content...)
	default:
		t.Fatalf("%d messages arrived", len(got))
		return nil, nil
	}
}

// TestOddContent is content that is not what it says, or not what mail may be.
func TestOddContent(t *testing.T) {
	long := text + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 5000)
	n := int64(len(long))
	cases := []struct {
		name    string
		content queue.Content
		policy  delivery.ContentPolicy
		want    queue.Outcome
		arrives string // empty is nothing
		status  string
	}{
		{name: "a read error half way", content: odd{text: long, size: n, fails: len(long) / 2}, want: queue.Deferred},
		{name: "a read error at the first octet", content: odd{text: long, size: n, fails: 1}, want: queue.Deferred},
		{name: "a read error before the last octet", content: odd{text: long, size: n, fails: len(long) - 1}, want: queue.Deferred},
		{name: "shorter than announced", content: odd{text: long, size: n + 1}, want: queue.Deferred},
		{name: "longer than announced", content: odd{text: long, size: n - 1}, want: queue.Deferred},
		{name: "of unknown size", content: odd{text: long, size: -1}, want: queue.Delivered, arrives: long},
		{name: "empty", content: queue.String(""), want: queue.Delivered, arrives: ""},
		{name: "SMTP-29 no final newline", content: queue.String("Subject: x\r\n\r\nend"), want: queue.Delivered, arrives: "Subject: x\r\n\r\nend\r\n"},
		{name: "SMTP-30 bare LF, originated", content: queue.String("Subject: x\n\n.\nend\n"), want: queue.Delivered, arrives: "Subject: x\r\n\r\n.\r\nend\r\n"},
		{name: "SMTP-30 bare CR, originated", content: queue.String("Subject: x\r\n\r\na\r.\rb\r\n"), want: queue.Delivered, arrives: "Subject: x\r\n\r\na\r\n.\r\nb\r\n"},
		{name: "SMTP-30 bare LF, relayed", content: queue.String("Subject: x\r\n\r\na\n.\nb\r\n"), policy: delivery.ContentRelay, want: queue.Failed},
		{name: "SMTP-30 bare CR, relayed", content: queue.String("Subject: x\r\n\r\na\r.\rb\r\n"), policy: delivery.ContentRelay, want: queue.Failed},
		{name: "SMTP-30 NUL", content: queue.String("Subject: x\r\n\r\na\x00b\r\n"), want: queue.Failed},
		{name: "SMTP-31 a line of 999 octets", content: queue.String("Subject: x\r\n\r\n" + strings.Repeat("x", 999) + "\r\n"), want: queue.Failed},
		{name: "SMTP-31 a line of 10 MiB", content: queue.String("Subject: x\r\n\r\n" + strings.Repeat("x", 10<<20) + "\r\n"), want: queue.Failed},
		{name: "SMTP-31 a line of 998 octets", content: queue.String("Subject: x\r\n\r\n" + strings.Repeat(".", 998) + "\r\n"), want: queue.Delivered, arrives: "Subject: x\r\n\r\n" + strings.Repeat(".", 998) + "\r\n"},
	}
	for way, extensions := range ways() {
		for _, c := range cases {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r, got := sendOdd(t, extensions, c.policy, c.content)
					if r.Outcome != c.want {
						t.Errorf("%v (%v), want %v", r.Outcome, r.Err, c.want)
					}
					if delivered := c.want == queue.Delivered; delivered != (got != nil) || string(got) != c.arrives {
						t.Errorf("%d octets arrived (%.60q), want %d", len(got), got, len(c.arrives))
					}
				})
			})
		}
	}
}

// TestDotLinesAtEveryBoundary puts a dot line, and a line that begins with one,
// at every offset around the sizes that buffers have.
func TestDotLinesAtEveryBoundary(t *testing.T) {
	for _, boundary := range []int{4 << 10, 16 << 10, 32 << 10, 64 << 10} {
		t.Run(fmt.Sprintf("SMTP-28, SMTP-30 around %d octets", boundary), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for at := boundary - 6; at <= boundary+6; at++ {
					head := "Subject: x\r\n\r\n"
					fill := at - len(head) - 2
					for ; fill > 900; fill -= 900 {
						head += strings.Repeat("x", 898) + "\r\n"
					}
					all := head + strings.Repeat("y", fill) + "\r\n.\r\n..\r\n.z\r\n" + strings.Repeat(strings.Repeat("z", 70)+"\r\n", 1500)
					for _, c := range []queue.Content{queue.String(all), odd{text: all, size: int64(len(all))}} {
						if _, got := sendOdd(t, nil, delivery.ContentOriginate, c); string(got) != all {
							t.Errorf("dots at %d: %d octets arrived, want %d", at, len(got), len(all))
						}
					}
				}
			})
		})
	}
}

// endless yields the same line for ever.
type endless struct{ line []byte }

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], e.line)
		e.line = append(e.line[k:], e.line[:k]...)
		n += k
	}
	return n, nil
}

// huge is content of any size that is nowhere kept.
type huge int64

func (h huge) Size() int64 { return int64(h) }

func (h huge) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(&endless{line: bytes.Repeat([]byte(strings.Repeat("x", 62)+"\r\n"), 1024)}, int64(h))), nil
}

// TestLargeContent is a message whose size fits no int32, when NEXTHOP_LONG is
// set; else a smaller one.
func TestLargeContent(t *testing.T) {
	size := int64(16 << 20)
	if os.Getenv("NEXTHOP_LONG") != "" {
		size = 2<<30 + 64
	}
	for _, extensions := range [][]string{{"SIZE"}, {"CHUNKING", "SIZE"}} {
		t.Run("EXT-5 "+extensions[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &smtptest.Host{Extensions: extensions, Discard: true}
				in := (&smtptest.Internet{
					Zone: "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1", Hosts: map[string]*smtptest.Host{"mx1.e.test": h}, Window: 1 << 20,
				}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext}
				defer sender.Close()
				m := message("u@e.test")
				m.Content = huge(size)
				sendContext(t, t.Context(), sender, m)
				got := h.Messages()
				if len(got) != 1 || got[0].Size != size || got[0].Params[0] != fmt.Sprintf("SIZE=%d", size) {
					t.Errorf("messages %+v", got)
				}
				in.Check(t)
			})
		})
	}
}
