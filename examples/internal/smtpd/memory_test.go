package smtpd

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory measures what clients make the server hold, and holds it against what is
// promised: what one session has, and what all sessions of one client have.
func TestMemory(t *testing.T) {
	const session = 128 << 10 // buffers
	long := func(i int) string {
		return fmt.Sprintf("RCPT TO:<%d%s@example.com> ORCPT=rfc822;%s\r\n", i, strings.Repeat("x", 970), strings.Repeat("y", 490))
	}
	blanks := func(i int) string {
		return fmt.Sprintf("RCPT TO:<%d@example.com>%s\r\n", i, strings.Repeat(" ", 8000))
	}
	recipients := func(line func(int) string) func(c *client) {
		return func(c *client) {
			for i := range 1000 {
				c.say(line(i))
				if got := c.reply(); !strings.HasPrefix(got, "250") && !strings.HasPrefix(got, "452 4.") {
					c.t.Fatalf("recipient %d is answered %q", i, got)
				}
			}
		}
	}
	content := func(command string) func(c *client) {
		return func(c *client) {
			c.say("RCPT TO:<b@example.com>\r\n" + command)
			c.want("250")
			if strings.HasPrefix(command, "DATA") {
				c.want("354")
			}
			c.write(strings.Repeat(strings.Repeat("z", 70)+"\r\n", (inMemory-4000)/72))
		}
	}
	for _, c := range []struct {
		name        string
		sessions    int
		least, most int64 // for all of them, beside their buffers
		do          func(c *client)
	}{
		{"long recipients", 4, 3 * maxEnvelope, 4 * maxEnvelope, recipients(long)},
		{"long recipients, in many sessions", 30, 1 << 20, 2 << 20, recipients(long)},
		{"blanks, in many sessions", 10, 1 << 20, 2 << 20, recipients(blanks)},
		{"content by DATA, in many sessions", 30, 1 << 20, 2 << 20, content("DATA\r\n")},
		{"content by BDAT, in many sessions", 30, 1 << 20, 2 << 20, content("BDAT 1000000 LAST\r\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, &Server{MaxMemory: 16 << 20})
			before := heap()
			clients := make([]*client, c.sessions)
			for i := range clients {
				s := r.dial(t)
				clients[i] = s
				s.want("220")
				s.say("EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\n")
				s.want("250", "250")
				c.do(s)
			}
			eventually(func() bool { return r.held() >= c.least })
			held := heap() - before
			t.Logf("%d KiB for %d sessions", held>>10, c.sessions)
			// The client's side of a connection is 4 KiB and more.
			if most := c.most + int64(c.sessions)*session; held > most {
				t.Errorf("%d KiB, want %d at most", held>>10, most>>10)
			}
			for _, s := range clients {
				s.Close()
			}
			r.stop()
			<-r.done
			if l := &r.ledger; l.all != 0 || l.strangers != 0 || l.sessions != 0 || len(l.holders) != 0 {
				t.Errorf("held after the end: %d octets, %d sessions, %d clients", l.all, l.sessions, len(l.holders))
			}
		})
	}
}

// eventually waits for what the server does with what it was told; the test's own limit
// ends it.
func eventually(done func() bool) {
	for !done() {
		runtime.Gosched()
	}
}

func (r *rig) held() int64 {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	return r.ledger.all
}

// TestShares: one stranger has an eighth of the memory, all strangers a half, and
// clients that are trusted what is left.
func TestShares(t *testing.T) {
	addr := netip.MustParseAddr
	l := &ledger{}
	enter := func(a string, trusted bool) *holder {
		h := l.enter(clientKey(addr(a), trusted), trusted, 800, 3, 100)
		if h == nil {
			t.Fatalf("%s is not let in", a)
		}
		return h
	}
	a, again := enter("192.0.2.1", false), enter("192.0.2.1", false)
	if a != again || !a.hold(60) || again.hold(41) || !again.hold(40) {
		t.Error("two sessions of one client share 100 octets")
	}
	v6, other := enter("2001:db8::1", false), enter("2001:db8:0:0:ffff::2", false)
	if v6 != other {
		t.Error("a network of 64 bits is one client")
	}
	if next := enter("2001:db8:0:1::1", false); next == v6 {
		t.Error("another network is another client")
	}
	for i := range 3 {
		if !enter(fmt.Sprintf("192.0.2.%d", 10+i), false).hold(100) {
			t.Error("no room for four strangers")
		}
	}
	if v6.hold(1) {
		t.Error("strangers hold more than a half")
	}
	ours, neighbour := enter("2001:db8::1", true), enter("2001:db8::2", true)
	if ours == neighbour {
		t.Error("trusted clients are told apart by their addresses")
	}
	if !ours.hold(300) || !neighbour.hold(100) || neighbour.hold(1) {
		t.Error("trusted clients have what is left")
	}
	a.release(100)
	if !v6.hold(100) || a.hold(1) {
		t.Error("what is given back is another's")
	}
	enter("192.0.2.1", false)
	if l.enter(addr("192.0.2.1"), false, 800, 3, 100) != nil {
		t.Error("a fourth session of one client is let in")
	}
	a.leave()
	if l.enter(addr("192.0.2.1"), false, 800, 3, 100) == nil || l.enter(addr("192.0.2.99"), false, 800, 3, l.sessions) != nil {
		t.Error("sessions are not counted")
	}
}

// TestRoomForTrusted: strangers leave a quarter of the sessions to clients that are
// trusted.
func TestRoomForTrusted(t *testing.T) {
	l := &ledger{}
	enter := func(a string, trusted bool) *holder {
		return l.enter(netip.MustParseAddr(a), trusted, 800, 10, 8)
	}
	var strangers []*holder
	for i := range 6 {
		if h := enter(fmt.Sprintf("192.0.2.%d", i), false); h != nil {
			strangers = append(strangers, h)
		}
	}
	if len(strangers) != 6 || enter("192.0.2.7", false) != nil {
		t.Errorf("%d strangers are let in, or more than 6", len(strangers))
	}
	first, second := enter("198.51.100.1", true), enter("198.51.100.1", true)
	if first == nil || second == nil || enter("198.51.100.2", true) != nil {
		t.Error("two sessions are for trusted clients")
	}
	trusted := l.holders[netip.MustParseAddr("198.51.100.1")]
	trusted.leave()
	trusted.leave()
	if enter("192.0.2.7", false) != nil {
		t.Error("a trusted client that leaves makes room for a stranger")
	}
	if _, ok := l.holders[trusted.key]; ok {
		t.Error("a client without sessions is still known")
	}
	again := enter("198.51.100.1", true)
	if enter("198.51.100.1", true) != again {
		t.Error("two sessions of one client have two accounts")
	}
	again.leave()
	if l.holders[again.key] != again {
		t.Error("a client with a session is forgotten")
	}
	strangers[0].leave()
	if enter("192.0.2.7", false) == nil {
		t.Error("who leaves makes room")
	}
}

// TestNoRoom: a client without room for its content is served from a file, and one
// without room for recipients told to come later; what was taken is kept.
func TestNoRoom(t *testing.T) {
	r := start(t, &Server{MaxMemory: 8 * (3*(recipientCost+20) + 10)})
	c := r.dial(t)
	c.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\n" + rcpts(5, "example.com"))
	c.want("220", "250", "250", "250", "250", "250", "452 4.3.1", "452 4.3.1")
	c.say("DATA\r\n")
	c.want("354")
	c.say("small\r\n.\r\n")
	c.want("250")
	if m := r.all()[0]; len(m.Recipients) != 3 || cut(t, m.content) != "small\r\n" {
		t.Errorf("%+v", m)
	}
	c.say("MAIL FROM:<a@example.org>\r\n" + rcpts(3, "example.com") + "RSET\r\n")
	c.want("250", "250", "250", "250", "250")
	if held := r.held(); held != 0 {
		t.Errorf("%d octets are held after RSET", held)
	}
}

// TestLargeEnvelope: recipients are taken up to the limit of an envelope, of which each
// has the text of its parameters and a fixed part.
func TestLargeEnvelope(t *testing.T) {
	const each = 512
	address := strings.Repeat("a", 200-len("@example.com")) + "@example.com"
	rcpt := "RCPT TO:<" + address + "> ORCPT=rfc822;" + strings.Repeat("b", each-recipientCost-len(address)-len("rfc822")) + "\r\n"
	r := start(t, &Server{Trusted: everybody})
	c := r.dial(t)
	c.say("EHLO me\r\nMAIL FROM:<>\r\n")
	c.want("220", "250", "250")
	go c.write(strings.Repeat(rcpt, maxEnvelope/each+1))
	for range maxEnvelope / each {
		c.want("250 2.1.5")
	}
	c.want("452 4.5.3")
}

// TestTroubleOfThisHost: where contents cannot be kept, the client is told to come
// later, and the session goes on.
func TestTroubleOfThisHost(t *testing.T) {
	r := start(t, &Server{Data: func(context.Context, *Transaction, queue.Content) Reply {
		return Reply{452, "4.3.1", "no room"}
	}})
	r.TempDir = filepath.Join(r.TempDir, "gone")
	c := r.begin(t)
	c.say("DATA\r\n")
	c.want("354")
	c.say(strings.Repeat("12345678\r\n", inMemory/10+10) + ".\r\n")
	c.want("451 4.3.0")
	c.say(envelope + "BDAT 300000\r\n" + strings.Repeat("x", 300_000) + "BDAT 0 LAST\r\nRSET\r\n")
	c.want("250", "250", "250", "451 4.3.0", "503 5.5.1", "250")
	c.say(envelope + "BDAT 0 LAST\r\n")
	c.want("250", "250", "250", "452 4.3.1")
	if _, err := os.Stat(r.TempDir); err == nil {
		t.Error("there is such a directory after all")
	}
}

// widest is a client that has said everything, and sees how much it is told at a time.
type widest struct {
	one
	most int
}

func (w *widest) Write(p []byte) (int, error) {
	w.most = max(w.most, len(p))
	return len(p), nil
}

// TestRepliesWaiting: replies to a group of commands wait together, but not without
// bound.
func TestRepliesWaiting(t *testing.T) {
	long := strings.Repeat(strings.Repeat("n", 390)+"\n", 10) + "o"
	s := &Server{Name: "relay.example", TempDir: t.TempDir(), Trusted: everybody, Rcpt: func(context.Context, *Transaction, *queue.Recipient, string) Reply {
		return Reply{550, "5.7.1", long}
	}}
	w := &widest{one: one{in: strings.NewReader("EHLO me\r\nMAIL FROM:<>\r\n" + rcpts(2000, "x.example"))}}
	s.serve(t.Context(), w)
	if most := outBuffer + 2*len(long); w.most < outBuffer || w.most > most {
		t.Errorf("%d octets of replies at a time, want %d at most", w.most, most)
	}
}
