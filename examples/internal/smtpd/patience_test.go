package smtpd

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience: how long a client may take over a command, and a stranger over nothing.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name    string
		trusted func(netip.Addr) bool
		every   time.Duration
		said    string
		want    string
		after   time.Duration // at least, and not much more
	}{
		{"a command that drips", everybody, time.Minute, "NOOP NOOP NOOP", "421 4.4.2", 5 * time.Minute},
		{"a command that never begins", everybody, time.Hour, "", "421 4.4.2", 5 * time.Minute},
		{"a stranger with nothing to send", nil, 4 * time.Minute, strings.Repeat("NOOP\r\n", 30), "421 4.4.2", time.Hour},
		{"a stranger with an envelope and nothing to send", nil, 4 * time.Minute, envelope + strings.Repeat("RCPT TO:<c@example.com>\r\n", 30), "421 4.4.2", time.Hour},
		{"a trusted client with nothing to send", everybody, 4 * time.Minute, strings.Repeat("NOOP\r\n", 30), "", 2 * time.Hour},
		{"content that drips by DATA", everybody, time.Minute, envelope + "DATA\r\n" + strings.Repeat("x", 30), "421 4.4.2", 10 * time.Minute},
		{"content that drips by BDAT", everybody, time.Minute, envelope + "BDAT 1000 LAST\r\n" + strings.Repeat("x", 30), "421 4.4.2", 10 * time.Minute},
		{"a stranger who sends", nil, 4 * time.Minute, "EHLO me\r\n" + strings.Repeat("MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nBDAT 0 LAST\r\n", 15), "", 3 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{Server: &Server{Name: "relay.example", TempDir: t.TempDir(), Trusted: c.trusted}}
				r.Data = r.take
				ours, theirs := net.Pipe()
				began := time.Now()
				go r.serve(t.Context(), theirs)
				var writing sync.WaitGroup
				defer writing.Wait()
				writing.Go(func() { // a line, or an octet where there is no line, at a time
					for rest := c.said; rest != ""; {
						n := strings.Index(rest, "\n") + 1
						if n == 0 {
							n = 1
						}
						if _, err := io.WriteString(ours, rest[:n]); err != nil {
							return
						}
						rest = rest[n:]
						<-time.After(c.every)
					}
					if c.want == "" {
						_, _ = io.WriteString(ours, "QUIT\r\n")
					}
				})
				last, farewells := "", 0
				for lines := bufio.NewScanner(ours); lines.Scan(); {
					last = lines.Text()
					if strings.HasPrefix(last, "421") {
						farewells++
					}
				}
				if farewells > 1 {
					t.Errorf("the session went on after a farewell: %d", farewells)
				}
				want := c.want
				if want == "" {
					want = "221"
				}
				if took := time.Since(began); !strings.HasPrefix(last, want) || took < c.after || took > c.after+5*time.Minute {
					t.Errorf("the last reply is %q after %v, want %s after %v", last, took, want, c.after)
				}
				if n := len(r.all()); c.want != "" && n != 0 {
					t.Errorf("%d messages are taken of which a part is missing", n)
				}
				ours.Close()
			})
		})
	}
}

// TestPatienceForReaders: a client has the time for a command from when sending its replies
// begins, however slowly it takes them.
func TestPatienceForReaders(t *testing.T) {
	for name, read := range map[string]func(io.Reader){
		"it reads nothing": func(io.Reader) {},
		"it begins to read late and says nothing": func(r io.Reader) {
			<-time.After(4 * time.Minute)
			_, _ = io.Copy(io.Discard, r)
		},
		"it reads an octet a minute": func(r io.Reader) {
			for _, err := r.Read(make([]byte, 1)); err == nil; _, err = r.Read(make([]byte, 1)) {
				<-time.After(time.Minute)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{Name: "relay.example", TempDir: t.TempDir(), Trusted: everybody}
				ours, theirs := net.Pipe()
				var reading sync.WaitGroup
				reading.Go(func() { read(ours) })
				began := time.Now()
				s.serve(t.Context(), theirs)
				const farewell = 10 * time.Second
				if took := time.Since(began); took < s.idle() || took > s.idle()+farewell {
					t.Errorf("it is served for %v, want %v and the time for a farewell", took, s.idle())
				}
				ours.Close()
				reading.Wait()
			})
		})
	}
}
