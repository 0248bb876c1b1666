package delivery_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// careless is a server that does not discard a chunk that it refuses: it reads it as
// commands. Servers did so for years. The only recipient there is somebody.
type careless struct {
	taken  []string      // contents
	groups int           // of commands that came with a chunk
	pause  time.Duration // before it reads on behind a chunk that it has refused
}

func (s *careless) Serve(_ context.Context, conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say("220 careless")
	open, recipients := false, 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.ToUpper(strings.TrimSpace(line))
		switch verb, _, _ := strings.Cut(line, " "); {
		case verb == "EHLO":
			say("250-careless\r\n250-PIPELINING\r\n250 CHUNKING")
		case verb == "MAIL" && !open:
			open = true
			say("250 ok")
		case strings.HasPrefix(verb, "RCPT") && open && strings.Contains(line, "TO:<SOMEBODY@"):
			recipients++
			say("250 ok")
		case strings.HasPrefix(verb, "RCPT"):
			say("550 5.1.1 nobody")
		case verb == "RSET":
			open, recipients = false, 0
			say("250 ok")
		case verb == "BDAT" && recipients == 0:
			s.groups++
			say("503 5.5.1 no recipients") // and the chunk is still to come
			<-time.After(s.pause)
		case verb == "BDAT":
			var size int
			_, _ = fmt.Sscan(line[len("BDAT "):], &size)
			content := make([]byte, size)
			if _, err := io.ReadFull(in, content); err != nil {
				return
			}
			s.taken = append(s.taken, string(content))
			open, recipients = false, 0
			say("250 ok")
		case verb == "DATA" && recipients > 0:
			say("354 go")
			content := ""
			for line, err = in.ReadString('\n'); err == nil && line != ".\r\n"; line, err = in.ReadString('\n') {
				content += line
			}
			s.taken = append(s.taken, content)
			open, recipients = false, 0
			say("250 ok")
		case slices.Contains([]string{"NOOP", "HELP:", "VRFY", "HELO"}, verb):
			say("250 as you wish")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("500 5.5.2 what")
		}
	}
}

// TestContentIsNotTakenForCommands: content that a server refuses, because it has refused
// all recipients, may be read as commands there. It must not become another message, sent
// by us, with an envelope of its own. Other content still goes out with the envelope.
func TestContentIsNotTakenForCommands(t *testing.T) {
	const forged = "DATA\r\nSubject: forged\r\n\r\n.\r\n"
	for name, c := range map[string]struct {
		content string
		along   bool
	}{
		"a recipient":                       {"RCPT TO:<somebody@e.test>\r\n" + forged, false},
		"a recipient, behind a header":      {"From: a@from.test\r\nSubject: x\r\n\r\nhello\r\nRcpt To:<somebody@e.test>\r\n" + forged, false},
		"a transaction":                     {"RSET\r\nmail from:<x@e.test>\r\nrcpt to:<somebody@e.test>\r\n" + forged, false},
		"a transaction, with blanks before": {"RSET\r\n \tMAIL FROM:<x@e.test>\r\n \tRCPT TO:<somebody@e.test>\r\n" + forged, false},
		"blanks of other kinds before it":   {"RSET\r\n\v\fMAIL FROM:<x@e.test>\r\n\x01\v RCPT TO:<somebody@e.test>\r\n" + forged, false},
		"a recipient without a blank":       {"RCPTTO:<somebody@e.test>\r\n" + forged, false},
		"a recipient in the last line":      {"Subject: x\r\n\r\nRCPT TO:<somebody@e.test>", false},
		"a verb alone":                      {"Subject: x\r\n\r\nmail\r\n", false},
		"words that begin like them":        {"Mailing-List: x\r\nMail-Followup-To: y\r\nData-Source: z\r\nSender: a@from.test\r\n\r\nMailbox\r\nmai\r\nrcp\r\nHelper\r\nauthentication\r\n", true},
		"words that begin like RCPT":        {"Rcpt2: z\r\n\r\nbody\r\n", false},
		"a long word that does":             {"Subject: s\r\n\r\nrcpt-to-nobody\r\n", false},
		"such words further on in a line":   {"Subject: MAIL FROM:<x@e.test>\r\n\r\n- RCPT TO:<y@e.test>\r\n", true},
		"nothing":                           {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &careless{}
			bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": s}, func(t *testing.T, r *rig) {
				to := func(address, content string) *delivery.RecipientReport {
					m := message(address)
					m.Content = queue.String(content)
					return &r.send(t, m).Recipients[0]
				}
				want(t, to("somebody@e.test", text), queue.Delivered, "mx1.e.test", "")
				want(t, to("nobody@e.test", c.content), queue.Failed, "mx1.e.test", "5.1.1")
				want(t, to("somebody@e.test", text), queue.Delivered, "mx1.e.test", "")
				if !slices.Equal(s.taken, []string{text, text}) {
					t.Errorf("the server has taken %q", s.taken)
				}
				if along := s.groups > 0; along != c.along {
					t.Errorf("the content went along with the envelope: %t, want %t", along, c.along)
				}
			})
		})
	}
}

// TestRepliesToContentAreNotTakenForOthers: where a server reads the content of one
// message as commands, it replies to them. Those replies may come when the next message
// is on its way, and must not be taken for replies to that.
func TestRepliesToContentAreNotTakenForOthers(t *testing.T) {
	for _, verb := range []string{"NOOP", "noop ", "Help:", "VRFY x", " helo x", "\tRSET"} {
		for _, n := range []int{1, 2, 3, 4, 5, 9} {
			t.Run(fmt.Sprintf("%s, %d times", verb, n), func(t *testing.T) {
				s := &careless{pause: time.Second}
				bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": s}, func(t *testing.T, r *rig) {
					to := func(address, content string) *delivery.RecipientReport {
						m := message(address)
						m.Content = queue.String(content)
						return &r.send(t, m).Recipients[0]
					}
					want(t, to("somebody@e.test", text), queue.Delivered, "mx1.e.test", "")
					want(t, to("nobody@e.test", strings.Repeat(verb+"\r\n", n)), queue.Failed, "mx1.e.test", "5.1.1")
					want(t, to("nobody@e.test", text), queue.Failed, "mx1.e.test", "5.1.1")
				})
			})
		}
	}
}
