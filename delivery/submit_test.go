package delivery_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// submitted is an agent that is not running, and what its queue has.
func submitted(t *testing.T, a *delivery.Agent, m *queue.Message) (stored string, err error) {
	t.Helper()
	q := &memory.Queue{}
	a.Queue = q
	id, err := a.Submit(t.Context(), m)
	total, terr := q.Total(t.Context())
	if terr != nil {
		t.Fatal(terr)
	}
	if err != nil {
		if total.Messages != 0 {
			t.Errorf("refused (%v), and %d messages are in the queue", err, total.Messages)
		}
		return "", err
	}
	c, err := q.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

// streamed is content that is not in memory, of a size nobody knows.
type streamed struct{ queue.String }

func (streamed) Size() int64 { return -1 }

func TestSubmitRefuses(t *testing.T) {
	big := queue.String("S: s\r\n\r\n" + strings.Repeat("x\r\n", 2000))
	hops := func(n int) queue.Content {
		return queue.String(strings.Repeat("received: from a\r\n\tby b\r\n", n) + "S: s\r\n\r\nReceived: no\r\n")
	}
	past := time.Now().Add(-time.Minute)
	for _, c := range []struct {
		name      string
		agent     *delivery.Agent
		change    func(m *queue.Message)
		enhanced  string
		temporary bool
	}{
		{"QUE-20 CRLF in a recipient", &delivery.Agent{}, func(m *queue.Message) { m.Recipients[0].Address = "u@e.test>\r\nDATA" }, "5.1.3", false},
		{"QUE-20 CRLF in the sender", &delivery.Agent{}, func(m *queue.Message) { m.From = "a@b\r\n.test" }, "5.1.7", false},
		{"QUE-20 a domain of 300 octets", &delivery.Agent{}, func(m *queue.Message) {
			m.Recipients[0].Address = "u@" + strings.Repeat("abcdefgh.", 33) + "tst"
		}, "5.1.2", false},
		{"QUE-20 no recipient", &delivery.Agent{}, func(m *queue.Message) { m.Recipients = nil }, "5.1.0", false},
		{"QUE-20 EXT-3 a parameter that is none", &delivery.Agent{}, func(m *queue.Message) {
			m.Recipients[0].Notify = queue.NotifyNever | queue.NotifySuccess
		}, "5.5.4", false},
		{"QUE-20 too large", &delivery.Agent{MaxSize: 3000}, func(m *queue.Message) { m.Content = big }, "5.3.4", false},
		{"QUE-20 too large, which turns out late", &delivery.Agent{MaxSize: 3000}, func(m *queue.Message) { m.Content = streamed{big} }, "5.3.4", false},
		{"QUE-20 without end", &delivery.Agent{MaxSize: 3 << 20}, func(m *queue.Message) { m.Content = neverEnding{} }, "5.3.4", false},
		{"QUE-20 too large once it is canonical", &delivery.Agent{MaxSize: 8}, func(m *queue.Message) { m.Content = queue.String("\n\n\n\n\n") }, "5.3.4", false},
		{"QUE-20 a NUL", &delivery.Agent{}, func(m *queue.Message) { m.Content = queue.String("S: s\r\n\r\n\x00\r\n") }, "5.6.0", false},
		{"QUE-20 a bare LF where nothing may be changed", &delivery.Agent{Sender: &delivery.Sender{Content: delivery.ContentRelay}}, func(m *queue.Message) {
			m.Content = queue.String("S: s\n\nx\n")
		}, "5.6.0", false},
		{"QUE-18 101 hops", &delivery.Agent{}, func(m *queue.Message) { m.Content = hops(101) }, "5.4.6", false},
		{"QUE-18 fewer by configuration", &delivery.Agent{MaxHops: 3}, func(m *queue.Message) { m.Content = hops(4) }, "5.4.6", false},
		{"expired", &delivery.Agent{}, func(m *queue.Message) { m.Expires = past }, "5.4.7", false},
		{"expires before it may be sent", &delivery.Agent{}, func(m *queue.Message) {
			m.Expires, m.NotBefore = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}, "5.4.7", false},
		{"content that cannot be read", &delivery.Agent{}, func(m *queue.Message) { m.Content = broken{} }, "4.3.0", true},
		{"a signature that fails", &delivery.Agent{Sign: func(context.Context, *queue.Message) (queue.Content, error) {
			return nil, errors.New("no key")
		}}, func(*queue.Message) {}, "4.7.0", true},
		{"a signature that panics", &delivery.Agent{Sign: func(context.Context, *queue.Message) (queue.Content, error) {
			panic("sign")
		}}, func(*queue.Message) {}, "4.7.0", true},
		{"a signature that panics when it is read", &delivery.Agent{Sign: func(context.Context, *queue.Message) (queue.Content, error) {
			return explosive{}, nil
		}}, func(*queue.Message) {}, "4.3.0", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := message("u@e.test")
			c.change(m)
			_, err := submitted(t, c.agent, m)
			var e *delivery.Error
			if !errors.As(err, &e) || e.Enhanced != c.enhanced || e.Temporary() != c.temporary || e.Stage != delivery.StageMessage {
				t.Errorf("%#v, want %s, temporary: %t", err, c.enhanced, c.temporary)
			}
		})
	}
	t.Run("QUE-18 100 hops are taken, and what is no hop does not count", func(t *testing.T) {
		m := message("u@e.test")
		m.Content = hops(100)
		if _, err := submitted(t, &delivery.Agent{}, m); err != nil {
			t.Error(err)
		}
	})
}

// neverEnding is content that never ends.
type neverEnding struct{}

func (neverEnding) Size() int64                  { return -1 }
func (neverEnding) Open() (io.ReadCloser, error) { return neverEnding{}, nil }
func (neverEnding) Close() error                 { return nil }
func (neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "abcdefg\n"[i%8]
	}
	return len(p), nil
}

func TestSubmitStores(t *testing.T) {
	long := strings.Repeat("0123456789\n", 200_000)
	for _, c := range []struct {
		name    string
		agent   *delivery.Agent
		content queue.Content
		want    string
	}{
		{"canonical content as it is", &delivery.Agent{}, queue.String(text), text},
		{"line ends made canonical", &delivery.Agent{}, queue.String("S: s\n\nx"), "S: s\r\n\r\nx\r\n"},
		{"long content too", &delivery.Agent{}, streamed{queue.String("S: s\n\n" + long)}, strings.ReplaceAll("S: s\n\n"+long, "\n", "\r\n")},
		{"what the hook signed", &delivery.Agent{Sign: func(_ context.Context, m *queue.Message) (queue.Content, error) {
			b := queue.BytesOf(m.Content)
			if strings.Contains(strings.ReplaceAll(string(b), "\r\n", ""), "\n") || m.Arrived.IsZero() {
				return nil, errors.New("not canonical, or has not arrived")
			}
			return prefixed{m.Content}, nil
		}}, queue.String("S: s\n\nx\n"), "X-Signed: yes\r\nS: s\r\n\r\nx\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := message("u@e.test")
			m.Content = c.content
			got, err := submitted(t, c.agent, m)
			if err != nil || got != c.want {
				t.Errorf("%.100q (%d octets), %v; want %.100q (%d)", got, len(got), err, c.want, len(c.want))
			}
			if m.Content != c.content || !m.Arrived.IsZero() {
				t.Error("the message was changed")
			}
		})
	}
	t.Run("QUE-17 the sender as it was given, null or not", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			c.start()
			m := message("u@e.test")
			m.From = ""
			c.submit(m)
			c.submit(message("u@e.test"))
			pass(time.Second)
			var from []string
			for _, e := range c.of(delivery.Delivered) {
				from = append(from, e.From)
			}
			if strings.Join(from, ",") != ",a@from.test" && strings.Join(from, ",") != "a@from.test," {
				t.Errorf("from %q", from)
			}
		})
	})
	t.Run("QUE-21 what a header says changes nothing", func(t *testing.T) {
		correspond(t, nil, func(t *testing.T, c *correspondence) {
			c.start()
			m := message("u@e.test")
			m.Content = queue.String("To: v@x.test\r\nCc: w@null.test\r\nResent-To: a@from.test\r\n\r\n")
			c.submit(m)
			pass(time.Minute)
			if got := c.of(delivery.Delivered); len(got) != 1 || got[0].Recipient != "u@e.test" || got[0].Host != "mx1.e.test" || len(c.home.Connections()) != 0 {
				t.Errorf("delivered %+v", got)
			}
		})
	})
	t.Run("a key that is known", func(t *testing.T) {
		a := &delivery.Agent{Queue: &memory.Queue{}}
		m := message("u@e.test")
		m.Key = "k"
		id, err := a.Submit(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := a.Submit(t.Context(), m); again != id || !errors.Is(err, queue.ErrDuplicate) {
			t.Errorf("%q, %v; want %q and ErrDuplicate", again, err, id)
		}
	})
	t.Run("without a queue", func(t *testing.T) {
		if _, err := new(delivery.Agent).Submit(t.Context(), message("u@e.test")); err == nil {
			t.Error("no error")
		}
	})
}

func TestSubmitTimes(t *testing.T) {
	correspond(t, nil, func(t *testing.T, c *correspondence) {
		c.start()
		m := message("u@e.test", "v@x.test")
		m.NotBefore = c.began.Add(3 * time.Hour)
		m.Metadata = map[string]string{"k": "v"}
		c.submit(m)
		m.Metadata["k"] = "changed"
		pass(3*time.Hour - time.Second)
		queued := c.of(delivery.Queued)
		if len(queued) != 2 || !queued[0].Next.Equal(m.NotBefore) || queued[1].Destination != "x.test" || queued[0].Metadata["k"] != "v" {
			t.Errorf("queued %+v", queued)
		}
		if len(c.of(delivery.Delivered)) != 0 {
			t.Error("delivered too early")
		}
		pass(2 * time.Second)
		if len(c.of(delivery.Delivered)) != 2 {
			t.Error("not delivered in time")
		}
	})
}

// TestAddressOfAHeader: what net/mail calls an address is refused at every door, with the
// remedy, for what is stored and returned is the mailbox alone.
func TestAddressOfAHeader(t *testing.T) {
	for address, remedy := range map[string]string{
		"<bob@e.test>":     "leave them out",
		"Bob <bob@e.test>": "has a display name; use net/mail.ParseAddress and its Address",
	} {
		to := message(address)
		from := message("u@e.test")
		from.From = address
		for name, m := range map[string]*queue.Message{"to": to, "from": from} {
			s := &delivery.Sender{Resolver: &mxtest.DNS{Zone: bothZone}}
			_, submitErr := submitted(t, &delivery.Agent{Sender: s}, m)
			_, sendErr := s.Send(t.Context(), m)
			for door, err := range map[string]error{
				"Submit": submitErr, "Send": sendErr, "ValidateEnvelope": delivery.ValidateEnvelope(m), "Message.Validate": m.Validate(),
			} {
				if err == nil || !strings.Contains(err.Error(), remedy) {
					t.Errorf("%s %s of %s: %v, want %q", name, address, door, err, remedy)
				}
			}
		}
		if err := new(delivery.Sender).Routable(t.Context(), "", address); err == nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("Routable to %s: %v", address, err)
		}
	}
}

func TestRoutable(t *testing.T) {
	dns := &mxtest.DNS{Zone: bothZone, Rules: []mxtest.Rule{{Name: "broken.test", Fault: mxtest.ServFail}}}
	s := &delivery.Sender{Resolver: dns}
	for _, c := range []struct {
		name, to  string
		code      int
		enhanced  string
		temporary bool
	}{
		{"QUE-20 a good domain", "u@e.test", 0, "", false},
		{"QUE-20 one that takes no mail", "u@null.test", 556, "5.1.10", false},
		{"QUE-20 one that does not exist", "u@none.test", 0, "5.1.2", false},
		{"QUE-20 no address", "u", 0, "5.1.3", false},
		{"QUE-20 nobody knows", "u@broken.test", 0, "4.4.3", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.Routable(t.Context(), "a@from.test", c.to)
			var e *delivery.Error
			if c.enhanced == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &e) || e.Code != c.code || e.Enhanced != c.enhanced || e.Temporary() != c.temporary || e.Recipient == "" {
				t.Errorf("%#v, want %d %s, temporary: %t", err, c.code, c.enhanced, c.temporary)
			}
		})
	}
}
