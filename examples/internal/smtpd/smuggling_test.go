package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// inner is what would be a second message to whoever takes what stands before it for
// the end of the first.
const inner = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<v@example.com>\r\nDATA\r\nsmuggled\r\n"

// takenOf is what a server hands over of all that a client says. Each of its reads
// yields one octet if slowly is true.
func takenOf(t *testing.T, dir, said string, slowly bool) (contents []string) {
	var in io.Reader = strings.NewReader(said)
	if slowly {
		in = iotest.OneByteReader(in)
	}
	s := &Server{Name: "relay.example", TempDir: dir, Trusted: everybody}
	s.Data = func(_ context.Context, _ *Transaction, c queue.Content) Reply {
		r, err := c.Open()
		if err != nil {
			t.Error(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		contents = append(contents, string(b))
		return Reply{250, "2.0.0", "taken"}
	}
	s.serve(t.Context(), &one{in: in})
	return contents
}

// sequences are all strings of n octets at most, of those that could be an end of
// content.
func sequences(n int) (list []string) {
	last := []string{""}
	for range n {
		var next []string
		for _, s := range last {
			for _, c := range []string{"\r", "\n", ".", "\x00", "x"} {
				next = append(next, s+c)
			}
		}
		list = append(list, next...)
		last = next
	}
	return list
}

// nextHop records what it is sent after DATA as it is, or as chunks. It believes the
// standard's end of content, and finds more behind it out.
type nextHop struct {
	chunking bool

	mu   sync.Mutex
	sent []string // each with its end, if it came by DATA
	odd  []string // lines that are no command of a client of ours
}

func (h *nextHop) Serve(_ context.Context, conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	reply := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	reply("220 next.example.com")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		var content []byte
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			if h.chunking {
				reply("250-next.example.com\r\n250-CHUNKING\r\n250-PIPELINING\r\n250 8BITMIME")
			} else {
				reply("250-next.example.com\r\n250-PIPELINING\r\n250 8BITMIME")
			}
			continue
		case "QUIT":
			reply("221 bye")
			return
		case "DATA":
			reply("354 go")
			for !bytes.HasSuffix(content, []byte("\r\n.\r\n")) && string(content) != ".\r\n" {
				c, err := r.ReadByte()
				if err != nil {
					return
				}
				content = append(content, c)
			}
		case "BDAT":
			var n int
			if _, err := fmt.Sscanf(line, "BDAT %d LAST\r\n", &n); err != nil {
				h.note(line)
			}
			content = make([]byte, n)
			if _, err := io.ReadFull(r, content); err != nil {
				return
			}
		default:
			if verb != "MAIL" && verb != "RCPT" && verb != "RSET" || strings.Contains(line, "evil") || strings.Contains(line, "<v@") {
				h.note(line)
			}
			reply("250 ok")
			continue
		}
		h.mu.Lock()
		h.sent = append(h.sent, string(content))
		h.mu.Unlock()
		reply("250 ok")
	}
}

func (h *nextHop) note(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.odd = append(h.odd, line)
}

// secondMessage is the first way to see an end of content before the last one, which
// has the last dot of all; empty where there is none. raw is as it is on the wire. Some
// servers take, or took, other ends of lines for one, and some leave NULs out.
func secondMessage(raw string) string {
	lines := []string{"\r\n", "\n", "\r", "\r\r\n"}
	for _, form := range []struct{ name, raw string }{{"", raw}, {"without NULs ", strings.ReplaceAll(raw, "\x00", "")}} {
		text := "\r\n" + form.raw
		for _, before := range lines {
			for _, after := range lines {
				i := strings.Index(text, before+"."+after)
				if i >= 0 && i+len(before) < strings.LastIndexByte(text, '.') {
					return fmt.Sprintf("%s%q", form.name, before+"."+after)
				}
			}
		}
	}
	return ""
}

// TestSmugglingMatrix brings every sequence of octets that could be an end of content
// to some server in by DATA and by BDAT, in packets and chunks of every kind, and looks
// at what goes out of the relay for it, by DATA and by BDAT: no server, however it reads
// that, sees a second message.
func TestSmugglingMatrix(t *testing.T) {
	const before = "Subject: s\r\n\r\ntext"
	contents := make(map[string]string) // what was handed over, and what it came in as
	forms, dir := 0, t.TempDir()
	for _, sequence := range append(sequences(4), "\r\n.\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\r\n.\r\r\n", "\r\n\x00\x00.\x00\r\n", "\r\n.\r\x00\n", "\r\x00\n.\r\n", "\n\r.\n\r", "\r\n..\r\n", "\r\n. \r\n") {
		raw := before + sequence + inner
		var wanted *string
		for _, in := range []struct {
			name, said string
			slowly     bool
		}{
			{"DATA", "DATA\r\n" + raw + ".\r\n", false},
			{"DATA, octet by octet", "DATA\r\n" + raw + ".\r\n", true},
			{"BDAT", chunks(raw, 1<<20), false},
			{"BDAT, octet by octet", chunks(raw, 1<<20), true},
			{"BDAT, chunks of 1", chunks(raw, 1), false},
			{"BDAT, chunks of 2", chunks(raw, 2), false},
			{"BDAT, chunks of 3", chunks(raw, 3), true},
		} {
			forms++
			got := takenOf(t, dir, envelope+in.said, in.slowly)
			if len(got) > 1 {
				t.Errorf("%q by %s: %d messages", sequence, in.name, len(got))
			}
			for _, c := range got {
				contents[c[strings.Index(c, "Subject"):]] = fmt.Sprintf("%q by %s", sequence, in.name)
			}
			if !strings.HasPrefix(in.name, "BDAT") {
				continue
			}
			text := strings.Join(got, "|")
			if text = text[strings.Index(text, "Subject")+1:]; wanted == nil {
				wanted = &text
			} else if *wanted != text {
				t.Errorf("%q by %s is %q, want %q", sequence, in.name, text, *wanted)
			}
		}
	}
	for _, hop := range []*nextHop{{}, {chunking: true}} {
		net := (&smtptest.Internet{
			Zone:    "example.com. MX 10 next.example.com.\nnext.example.com. A 192.0.2.1\n",
			Servers: map[string]smtptest.Server{"192.0.2.1": hop},
		}).Start(t)
		sender := &delivery.Sender{Hello: "relay.example.net", Resolver: net, Dial: net.DialContext, Content: delivery.ContentRelay}
		refused := 0
		for content, came := range contents {
			hop.mu.Lock()
			hop.sent = nil
			hop.mu.Unlock()
			_, err := sender.Send(t.Context(), &queue.Message{
				From: "a@example.org", Recipients: []queue.Recipient{{Address: "b@example.com"}}, Content: queue.String(content),
			})
			hop.mu.Lock()
			sent := hop.sent
			switch {
			case err != nil && len(sent) == 0:
				refused++
			case err != nil || len(sent) != 1:
				t.Errorf("%s: sent %d times: %v", came, len(sent), err)
			default:
				raw := sent[0]
				if hop.chunking { // as that host would send it on
					raw = strings.ReplaceAll("\r\n"+raw, "\r\n.", "\r\n..")[2:] + ".\r\n"
				}
				if end := secondMessage(raw); end != "" {
					t.Errorf("%s: %q ends at %s", came, raw, end)
				}
			}
			hop.mu.Unlock()
		}
		sender.Close()
		if len(hop.odd) > 0 {
			t.Errorf("smuggled: %q", hop.odd)
		}
		if refused == 0 || refused > len(contents)/2 {
			t.Errorf("%d of %d contents are refused", refused, len(contents))
		}
		t.Logf("%d ways in, %d contents, %d of them refused at the way out, CHUNKING %t", forms, len(contents), refused, hop.chunking)
	}
}
