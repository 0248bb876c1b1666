//go:build linux

package peers_test

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// wiretap stands between clients and a relay, and notes what is said.
type wiretap struct {
	mu    sync.Mutex
	calls []*call
}

// call is one connection.
type call struct {
	mu           sync.Mutex
	said, answer bytes.Buffer
}

// wiretapped listens on an address and passes everything on to another.
func wiretapped(t *testing.T, at, to string) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			c := &call{}
			w.mu.Lock()
			w.calls = append(w.calls, c)
			w.mu.Unlock()
			all.Go(func() { c.pass(server, client, &c.said) })
			all.Go(func() { c.pass(client, server, &c.answer) })
		}
	})
	return w
}

// pass copies one direction until its end, and notes it before it goes on.
func (c *call) pass(to, from net.Conn, note *bytes.Buffer) {
	defer to.(*net.TCPConn).CloseWrite()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		note.Write(buf[:n])
		c.mu.Unlock()
		if _, broken := to.Write(buf[:n]); err != nil || broken != nil {
			_, _ = io.Copy(io.Discard, from)
			return
		}
	}
}

// sent is a message as it was on the wire.
type sent struct {
	from    string
	to      []string // those that were taken
	refused string   // a recipient; then there is no content
	content string
	chunked bool
}

// read is what all connections so far amount to, as far as it is in clear.
func (w *wiretap) read() (all []sent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		c.mu.Lock()
		d := dialog{said: c.said.String(), answer: c.answer.String()}
		c.mu.Unlock()
		d.reply() // the greeting
		for d.command() {
		}
		all = append(all, d.all...)
	}
	return all
}

// dialog is what is left of the two directions of a connection, and what the rest has
// been.
type dialog struct {
	said, answer string
	m            sent // the message under way
	all          []sent
}

// line is the client's next line.
func (d *dialog) line() (line string, ok bool) {
	line, d.said, ok = strings.Cut(d.said, "\r\n")
	return line, ok
}

// reply is the last line of the relay's next reply.
func (d *dialog) reply() (line string) {
	for {
		var ok bool
		if line, d.answer, ok = strings.Cut(d.answer, "\r\n"); !ok || len(line) < 4 || line[3] != '-' {
			return line
		}
	}
}

// command reads a command and its replies. It returns false where no more is there, or
// no more in clear.
func (d *dialog) command() bool {
	line, ok := d.line()
	if !ok {
		return false
	}
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	if verb == "BDAT" {
		return d.chunk(line)
	}
	path, _, _ := strings.Cut(line[strings.Index(line, "<")+1:], ">")
	switch code, _, _ := strings.Cut(d.reply(), " "); verb + " " + code {
	case "STARTTLS 220":
		return false
	case "MAIL 250":
		d.m = sent{from: path}
	case "RCPT 250":
		d.m.to = append(d.m.to, path)
	case "DATA 354":
		content, rest, ok := strings.Cut("\r\n"+d.said, "\r\n.\r\n")
		if !ok {
			return false
		}
		d.said = rest
		d.m.content = strings.ReplaceAll(content, "\r\n.", "\r\n")[2:] + "\r\n"
		d.end()
	default:
		if verb == "RCPT" {
			d.all = append(d.all, sent{from: d.m.from, refused: path}) // it may go no further
		}
	}
	return true
}

// chunk reads the rest of a BDAT.
func (d *dialog) chunk(line string) bool {
	fields := strings.Fields(line)
	n, err := strconv.Atoi(fields[1])
	if err != nil || n > len(d.said) {
		return false
	}
	d.m.content, d.m.chunked, d.said = d.m.content+d.said[:n], true, d.said[n:]
	if len(fields) == 3 {
		d.end()
	} else {
		d.reply()
	}
	return true
}

// end reads the reply to the content.
func (d *dialog) end() {
	if strings.HasPrefix(d.reply(), "250") {
		d.all = append(d.all, d.m)
	}
}
