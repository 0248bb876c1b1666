package smtptest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// talk plays a dialogue against a host over an in-memory connection. Lines that
// begin with "C: " are sent, those that begin with "S: " expected; consecutive
// C lines go out in one write. "C> " sends without CRLF. Each of inside is
// played after a TLS handshake. At the end the client closes.
func talk(t *testing.T, h *smtptest.Host, dialogue string, inside ...string) {
	t.Helper()
	client, server := smtptest.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() { h.Serve(context.Background(), server) })
	defer serving.Wait()
	defer client.Close()
	converse(t, client, dialogue)
	for _, d := range inside {
		conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		converse(t, conn, d)
	}
}

// converse plays a dialogue on a connection.
func converse(t *testing.T, conn net.Conn, dialogue string) {
	t.Helper()
	in := bufio.NewReader(conn)
	var out strings.Builder
	flush := func() {
		if _, err := io.WriteString(conn, out.String()); err != nil && out.Len() > 0 {
			t.Errorf("writing %q: %v", out.String(), err)
		}
		out.Reset()
	}
	for line := range strings.SplitSeq(strings.TrimSpace(dialogue), "\n") {
		line = strings.TrimLeft(line, "\t ")
		if line == "" {
			continue
		}
		if line == "C:" {
			line += " "
		}
		switch said, want := line[:min(3, len(line))], line[min(3, len(line)):]; said {
		case "C: ":
			out.WriteString(want + "\r\n")
		case "C> ":
			out.WriteString(strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\0`, "\x00").Replace(want))
		case "S: ":
			flush()
			got, err := in.ReadString('\n')
			if strings.TrimRight(got, "\r\n") != want {
				t.Fatalf("got %q (%v), want %q", got, err, want)
			}
		case "EOF":
			flush()
			if got, err := in.ReadString('\n'); err != io.EOF || got != "" {
				t.Fatalf("got %q (%v), want the end of the connection", got, err)
			}
		default:
			t.Fatalf("dialogue line %q", line)
		}
	}
	flush()
}

// rules lists the names of the rules a host saw broken.
func rules(h *smtptest.Host) []smtptest.Rule {
	var list []smtptest.Rule
	for _, v := range h.Violations() {
		list = append(list, v.Rule)
	}
	return list
}
