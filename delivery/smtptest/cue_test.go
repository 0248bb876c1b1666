package smtptest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestCues(t *testing.T) {
	chunked := []string{"PIPELINING", "CHUNKING"}
	const envelope = "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: RCPT TO:<c@b.example>\nC: RCPT TO:<d@b.example>\n"
	cases := []struct {
		name       string
		extensions []string
		script     []smtptest.Cue
		dialogue   string
	}{
		{"a banner of its own", nil, []smtptest.Cue{{At: smtptest.Banner, Reply: "554 5.3.2 not here"}}, "S: 554 5.3.2 not here\n" + quit},
		{"banner and close", nil, []smtptest.Cue{{At: smtptest.Banner, Reply: "421 4.3.2 full", Then: smtptest.Close}}, "S: 421 4.3.2 full\nEOF"},
		{"several lines", nil, []smtptest.Cue{{At: smtptest.Hello, Reply: "250-a\n250-b\n250 c"}}, hello + "S: 250-a\nS: 250-b\nS: 250 c\n" + quit},
		{"raw octets", nil, []smtptest.Cue{{At: smtptest.Hello, Raw: "25\x000\n"}}, hello + "S: 25\x000"},
		{"two replies for one command", nil, []smtptest.Cue{{At: smtptest.Rset, Reply: "250 one\n250 two"}}, plain + "C: RSET\nS: 250 one\nS: 250 two\n" + quit},
		{"a recipient by address", nil, []smtptest.Cue{{At: smtptest.Rcpt, Address: "C@B.example", Reply: "550 no"}}, start + "C: RCPT TO:<c@b.example>\nS: 550 no\n" + rset + quit},
		{"a recipient by number", nil, []smtptest.Cue{{At: smtptest.Rcpt, Nth: 2, Reply: "450 no"}}, start + "C: RCPT TO:<b@b.example>\nS: 450 no\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\n" + rset + quit},
		{"the null reverse-path", nil, []smtptest.Cue{{At: smtptest.Mail, Address: "<>", Reply: "550 no"}}, plain + "C: MAIL FROM:<>\nS: 550 no\nC: MAIL FROM:<a@a.example>\nS: 250 2.1.0 ok\n" + rset + quit},
		{"a command that says something", nil, []smtptest.Cue{{At: smtptest.Rcpt, Said: "to:<C@", Reply: "450 no"}}, start + "C: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: RCPT TO:<c@b.example>\nS: 450 no\n" + rset + quit},
		{"a command in a group", chunked, []smtptest.Cue{{At: smtptest.Rcpt, Grouped: true, Times: 1, Reply: "503 one by one"}}, offering("PIPELINING;CHUNKING") + "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nS: 250 2.1.0 ok\nS: 503 one by one\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\n" + rset + quit},
		{"a command alone", nil, []smtptest.Cue{{At: smtptest.Rcpt, Grouped: true, Reply: "503 one by one"}}, start + "C: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\n" + rset + quit},
		{"the first time only", nil, []smtptest.Cue{{At: smtptest.Rset, Times: 1, Reply: "451 no"}}, plain + "C: RSET\nS: 451 no\n" + rset + quit},
		{"another connection", nil, []smtptest.Cue{{At: smtptest.Rset, Conn: 2, Reply: "451 no"}}, plain + rset + quit},
		{"one before the other", nil, []smtptest.Cue{{At: smtptest.Rset, Nth: 2, Reply: "451 no"}, {At: smtptest.Rset, Reply: "452 no"}}, plain + "C: RSET\nS: 452 no\nC: RSET\nS: 451 no\n" + quit},
		{"before the command", nil, []smtptest.Cue{{At: smtptest.Mail, When: smtptest.Early, Reply: "250 early"}}, plain + "S: 250 early\nC: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\n"},
		{"a command lost", chunked, []smtptest.Cue{{At: smtptest.Rcpt, Nth: 2, Then: smtptest.Skip}}, offering("PIPELINING;CHUNKING") + envelope + "S: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 250 2.1.5 ok\n" + rset + quit},
		{"a chunk refused", chunked, []smtptest.Cue{{At: smtptest.Chunk, Nth: 2, Reply: "552 5.3.4 big"}}, offering("PIPELINING;CHUNKING") + "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: BDAT 1\nC> a\nC: BDAT 1\nC> b\nC: BDAT 1 LAST\nC> c\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 250 2.0.0 1 octets\nS: 552 5.3.4 big\nS: 503 5.5.1 a chunk was refused\n" + rset + quit},
		{"the last chunk is a final dot, too", chunked, []smtptest.Cue{{At: smtptest.Final, Reply: "452 4.3.1 full"}}, offering("PIPELINING;CHUNKING") + "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: BDAT 1 LAST\nC> a\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 452 4.3.1 full\n" + quit},
		{"close without a reply", nil, []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}, body + "C: .\nEOF"},
		{"mid-content", nil, []smtptest.Cue{{At: smtptest.Content, After: 10, Reply: "552 5.3.4 enough", Then: smtptest.Close}}, body + "C: 12345678\nS: 552 5.3.4 enough\nEOF"},
		{"hard limits", nil, nil, start + "C: DATA\nS: 354 go ahead\n" + taken + quit},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &smtptest.Host{Extensions: c.extensions, Script: c.script}
				talk(t, h, c.dialogue)
				if got := h.Violations(); len(got) != 0 && strings.HasSuffix(c.dialogue, quit) {
					t.Errorf("violations of a client that broke no rule: %v", got)
				}
			})
		})
	}
}

// open dials a host in memory and ends both when the test does.
func open(t *testing.T, h *smtptest.Host) net.Conn {
	client, server := smtptest.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { h.Serve(ctx, server) })
	t.Cleanup(func() {
		cancel()
		client.Close()
		serving.Wait()
	})
	return client
}

func TestCuesInTime(t *testing.T) {
	cases := []struct {
		name string
		cue  smtptest.Cue
		want string
		took time.Duration
		err  error
	}{
		{"delay", smtptest.Cue{Delay: time.Minute}, "220 host.example ESMTP\r\n", time.Minute, nil},
		{"drip", smtptest.Cue{Reply: "220 x", Drip: time.Second}, "220 x\r\n", 6 * time.Second, nil},
		{"stall", smtptest.Cue{Then: smtptest.Stall}, "", time.Hour, os.ErrDeadlineExceeded},
		{"stop reading", smtptest.Cue{Then: smtptest.StopReading}, "", time.Hour, os.ErrDeadlineExceeded},
		{"close", smtptest.Cue{Then: smtptest.Close}, "", 0, io.EOF},
		{"reset", smtptest.Cue{Then: smtptest.Reset}, "", 0, syscall.ECONNRESET},
		{"reply and reset", smtptest.Cue{Reply: "421 bye", Then: smtptest.Reset}, "421 bye\r\n", 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := open(t, &smtptest.Host{Script: []smtptest.Cue{c.cue}})
				conn.SetReadDeadline(time.Now().Add(time.Hour))
				began := time.Now()
				got, err := bufio.NewReader(conn).ReadString('\n')
				if got != c.want || !errors.Is(err, c.err) {
					t.Errorf("read %q, %v; want %q, %v", got, err, c.want, c.err)
				}
				// What the host waits to see whether the client talks first.
				if took := time.Since(began).Truncate(time.Microsecond); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}

func TestReplyAfterClientClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Quit, When: smtptest.AfterClosed, Reply: "221 late"}}}
		conn := open(t, h)
		converse(t, conn, plain+"C: QUIT")
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d octets, %v, before closing", n, err)
		}
		conn.Close()
		synctest.Wait()
		lines := h.Connections()[0].Lines
		if last := lines[len(lines)-1]; last.String() != "S: 221 late" {
			t.Errorf("last line %q", last)
		}
		if got := h.Violations(); len(got) != 0 {
			t.Errorf("violations %v", got)
		}
	})
}

func TestContentReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Content, Every: 4096, Delay: time.Minute}}}
		conn := open(t, h)
		converse(t, conn, body)
		began := time.Now()
		for range 64 << 10 / 64 * 2 {
			io.WriteString(conn, strings.Repeat("x", 62)+"\r\n")
		}
		if took := time.Since(began); took < 15*time.Minute || took > 17*time.Minute {
			t.Errorf("writing twice the window took %v, want 16 minutes", took)
		}
		converse(t, conn, taken+quit)
		if m := h.Messages(); len(m) != 1 || m[0].Size != 128<<10 {
			t.Errorf("messages %d", len(m))
		}
	})
}

func TestMostRecipientsAndMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{MaxRecipients: 1, MaxMessages: 1}
		talk(t, h, start+"C: RCPT TO:<c@b.example>\nS: 452 4.5.3 too many recipients\n"+rset+"C: MAIL FROM:<>\nS: 421 4.7.0 enough messages\nEOF")
		if got := h.Violations(); len(got) != 0 {
			t.Errorf("limits that nobody announced broke %v", got)
		}
	})
}

// TestGreylisting goes by the client's address, the sender and the recipient together, and
// by the time since they came for the first time.
func TestGreylisting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Until: 5 * time.Minute, Reply: "450 4.7.1 Greylisted"}}}
		network := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": h, "2001:db8::1": h}}
		defer network.Close()
		try := func(addr, from, to, want string) {
			t.Helper()
			conn, err := network.DialContext(t.Context(), "tcp", net.JoinHostPort(addr, "25"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			converse(t, conn, plain+"C: MAIL FROM:<"+from+">\nS: 250 2.1.0 ok\nC: RCPT TO:<"+to+">\nS: "+want+"\n"+quit)
		}
		const later, ok = "450 4.7.1 Greylisted", "250 2.1.5 ok"
		try("192.0.2.1", "a@a.example", "b@b.example", later)
		time.Sleep(4 * time.Minute)
		try("192.0.2.1", "a@a.example", "b@b.example", later) // too early, which prolongs nothing
		try("192.0.2.1", "a@a.example", "c@b.example", later)
		time.Sleep(time.Minute)
		try("192.0.2.1", "A@a.example", "B@b.example", ok)
		try("192.0.2.1", "a@a.example", "c@b.example", later)
		try("192.0.2.1", "", "b@b.example", later)
		try("2001:db8::1", "a@a.example", "b@b.example", later) // the client has another address there
		time.Sleep(5 * time.Minute)
		try("192.0.2.1", "a@a.example", "c@b.example", ok)
		try("192.0.2.1", "", "b@b.example", ok)
		try("2001:db8::1", "a@a.example", "b@b.example", ok)
	})
}

func TestResetOnLoopback(t *testing.T) {
	h := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Hello, Then: smtptest.Reset}}}
	conn, err := net.Dial("tcp", h.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	converse(t, conn, hello)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestLines(t *testing.T) {
	if got, want := smtptest.Lines(250, 3, "x"), "250-x\n250-x\n250 x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
