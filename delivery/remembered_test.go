package delivery_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// babbler says as much as it can in each reply: 128 lines of octets that are
// escaped. It keeps nothing, so that what the heap grows by is the client's.
type babbler struct{ greeting int }

func (b babbler) Serve(_ context.Context, conn net.Conn) {
	defer conn.Close()
	say := func(code int) {
		io.WriteString(conn, strings.ReplaceAll(smtptest.Lines(code, 127, strings.Repeat("\xff", 2040)), "\n", "\r\n"))
	}
	if say(b.greeting); b.greeting != 220 {
		return
	}
	r := bufio.NewReader(conn)
	for data := false; ; {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return
		case data && line == ".\r\n":
			data = false
			say(250)
		case data:
		case line == "DATA\r\n":
			data = true
			say(354)
		default:
			say(250)
		}
	}
}

// babel is a world of n domains whose hosts talk like that.
func babel(n, greeting int) (zone string, net *smtptest.Network) {
	var b strings.Builder
	servers := map[string]smtptest.Server{}
	for i := range n {
		ip := fmt.Sprintf("198.51.%d.%d", 100+i/250, 1+i%250)
		fmt.Fprintf(&b, "d%d.test. MX 10 h%d.test.\nh%d.test. A %s\n", i, i, i, ip)
		servers[ip] = babbler{greeting}
	}
	return b.String(), &smtptest.Network{Servers: servers}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestWorstCase is how much a stranger can make nexthop remember. The figures are
// those of ARCHITECTURE.md.
func TestWorstCase(t *testing.T) {
	const n = 60
	within := func(t *testing.T, what string, each, most int64) {
		t.Helper()
		t.Logf("%d octets %s", each, what)
		if each > most {
			t.Errorf("%d octets %s, want %d at most", each, what, most)
		}
	}
	t.Run("SMTP-18 of an address that fails", func(t *testing.T) {
		zone, net := babel(n, 554)
		defer net.Close()
		sender := &delivery.Sender{Hello: "from.test", Resolver: &mxtest.DNS{Zone: zone}, Dial: net.DialContext}
		for i := range n {
			report, err := sender.Send(t.Context(), message(fmt.Sprintf("a@d%d.test", i)))
			if err == nil {
				t.Fatal("delivered")
			}
			if text := report.Recipients[0].Reply.Text; len(text) > 2048 {
				t.Fatalf("%d octets of a reply in a report", len(text))
			}
		}
		with := heap()
		sender.Close()
		sender = nil //nolint:wastedassign // what it remembers is to go
		within(t, "for each address that failed", (with-heap())/n, 6<<10)
		runtime.KeepAlive(net)
	})
	t.Run("SMTP-18 of a session that is kept", func(t *testing.T) {
		zone, net := babel(n, 220)
		defer net.Close()
		sender := &delivery.Sender{Hello: "from.test", Resolver: &mxtest.DNS{Zone: zone}, Dial: net.DialContext, IdleTimeout: time.Hour}
		for i := range n {
			if _, err := sender.Send(t.Context(), message(fmt.Sprintf("a@d%d.test", i))); err != nil {
				t.Fatal(err)
			}
		}
		with := heap()
		sender.Close()
		// The connections in memory, of which the kit has a part, go with it.
		within(t, "for each session that is kept", (with-heap())/n, 24<<10)
		runtime.KeepAlive(sender)
		runtime.KeepAlive(net)
	})
	t.Run("SMTP-18 of a site whose hosts fail", func(t *testing.T) {
		zone, net := babel(n, 454)
		synctest.Test(t, func(t *testing.T) {
			defer net.Close()
			q := &memory.Queue{}
			told := 0
			agent := &delivery.Agent{
				Queue: q, Sender: &delivery.Sender{Hello: "from.test", Resolver: &mxtest.DNS{Zone: zone + "from.test. A 192.0.2.9\n"}, Dial: net.DialContext},
				Events: func(_ context.Context, e delivery.Event) {
					if told += len(e.Reply); len(e.Reply) > 2048 {
						t.Errorf("%d octets of a reply in an event", len(e.Reply))
					}
				},
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- agent.Run(ctx) }()
			submit := func(i int) {
				if _, err := agent.Submit(ctx, &queue.Message{Recipients: []queue.Recipient{{Address: fmt.Sprintf("a@d%d.test", i)}}, Content: queue.String("Subject: s\r\n\r\nx\r\n")}); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
			}
			for i := range n / 2 {
				submit(i)
			}
			before := heap()
			for i := range n / 2 {
				submit(n/2 + i)
			}
			// The message and its outcome in the queue, the site and its back-off, the
			// address.
			within(t, "for each site that fails, with a message for it", (heap()-before)/(n/2), 10<<10)
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if told == 0 {
				t.Error("no event had a reply")
			}
		})
	})
}
