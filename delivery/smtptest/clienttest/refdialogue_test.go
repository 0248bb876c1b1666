package clienttest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// dialogue is a session of the reference client.
type dialogue struct {
	*reference
	conn       net.Conn
	in         *bufio.Reader
	extensions map[string]string
	broken     bool // no more is said, not even QUIT
}

// reply is one reply of a host; code 0 is nonsense or a lost connection.
type reply struct {
	code  int
	lines []string
}

func (r reply) class() int { return r.code / 100 }

// visit holds a session with one address, and reports whether it got as far as
// a greeting that was not a refusal.
func (r *reference) visit(ctx context.Context, m *queue.Message, addr netip.Addr, group []*state) bool {
	var open []*state
	for _, s := range group {
		if s.open() || r.has("what was taken is offered again") && s.outcome() == queue.Delivered {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := r.Internet.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, 25).String())
	if err != nil {
		mark(open, notNow)
		return false
	}
	defer conn.Close()
	d := &dialogue{reference: r, conn: conn, in: bufio.NewReader(conn)}
	if v, ok := d.greet(); !ok {
		mark(open, v)
		d.quit()
		return false
	}
	if d.offers("STARTTLS") && !d.secure() {
		mark(open, notNow)
		return false
	}
	d.transactions(m, open)
	d.quit()
	return true
}

func mark(states []*state, v verdict) {
	for _, s := range states {
		s.verdicts = append(s.verdicts, v)
	}
}

// greet reads the banner and says EHLO.
func (d *dialogue) greet() (verdict, bool) {
	if d.has("talks before the greeting") {
		d.write("EHLO " + d.Hello + "\r\n")
	}
	banner := d.read(5 * time.Minute)
	switch {
	case banner.class() == 5 && d.has("a 5yz greeting is the end"):
		return refused, false
	case banner.class() == 5:
		return hostRefuses, false
	case banner.class() != 2:
		return notNow, false
	}
	return d.hello()
}

// secure turns TLS on.
func (d *dialogue) secure() bool {
	if r := d.ask("STARTTLS", 5*time.Minute); r.code != 220 {
		return r.code != 0
	}
	early, _ := d.in.Peek(d.in.Buffered())
	believed := d.has("what came before TLS is believed")
	if len(early) > 0 && !believed {
		return false
	}
	secure := tls.Client(d.conn, &tls.Config{InsecureSkipVerify: true})
	if secure.Handshake() != nil {
		return false
	}
	d.conn = secure
	d.in = bufio.NewReader(io.MultiReader(strings.NewReader(string(early)), secure))
	if d.has("what was offered in clear is kept") {
		d.ask("EHLO "+d.Hello, 5*time.Minute)
		return true
	}
	if d.has("no EHLO inside TLS") {
		return true
	}
	_, ok := d.hello()
	return ok
}

// hello says EHLO, or HELO where that is not known.
func (d *dialogue) hello() (verdict, bool) {
	hello := d.ask("EHLO "+d.Hello, 5*time.Minute)
	if (hello.code == 500 || hello.code == 502) && !d.has("HELO is not known") {
		hello = d.ask("HELO "+d.Hello, 5*time.Minute)
		hello.lines = hello.lines[:min(1, len(hello.lines))]
	}
	if hello.class() != 2 {
		return notNow, false
	}
	d.extensions = map[string]string{}
	for i, line := range hello.lines {
		if i == 0 && !d.has("the first line of EHLO is a keyword") {
			continue
		}
		keyword, args, _ := strings.Cut(line, " ")
		if !d.has("keywords are compared with case") {
			keyword = strings.ToUpper(keyword)
		}
		d.extensions[keyword] = args
	}
	return 0, true
}

func (d *dialogue) offers(keyword string) bool { _, ok := d.extensions[keyword]; return ok }

func (d *dialogue) write(text string) bool {
	if d.broken {
		return false
	}
	d.conn.SetWriteDeadline(time.Now().Add(3 * time.Minute))
	_, err := io.WriteString(d.conn, text)
	d.broken = d.broken || err != nil
	return err == nil
}

// ask sends a command and reads the reply.
func (d *dialogue) ask(command string, wait time.Duration) reply {
	if !d.write(command + "\r\n") {
		return reply{}
	}
	return d.read(wait)
}

// read reads a reply of one or several lines.
func (d *dialogue) read(wait time.Duration) (r reply) {
	if d.broken {
		return reply{}
	}
	d.conn.SetReadDeadline(time.Now().Add(wait))
	if d.has("waits for ever") {
		d.conn.SetReadDeadline(time.Time{})
	}
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			d.broken = true
			return reply{}
		}
		code, text, last, ok := d.parse(strings.TrimRight(line, "\r\n"))
		if !ok || r.code != 0 && code != r.code && !d.has("the last line's code counts") {
			d.broken = true
			return reply{}
		}
		r.code = code
		r.lines = append(r.lines, text)
		if last {
			if code == 421 {
				d.broken = true
			}
			return r
		}
	}
}

// parse reads one line of a reply.
func (d *dialogue) parse(line string) (code int, text string, last, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || len(line) == 3 && d.has("a reply needs text") {
		return 0, "", false, false
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, "", false, false
		}
		code = code*10 + int(c-'0')
	}
	if d.has("the text of a reply decides") && strings.Contains(line[3:], "550") {
		code = 550
	}
	if d.has("the text of a reply decides") && strings.Contains(line[3:], "250") {
		code = 250
	}
	if len(line) == 3 {
		return code, "", true, true
	}
	return code, line[4:], line[3] != '-', line[3] == ' ' || line[3] == '-'
}

func (d *dialogue) quit() {
	if d.has("closes without QUIT") {
		return
	}
	if d.has("does not wait for the reply to QUIT") {
		d.write("QUIT\r\n")
		return
	}
	d.ask("QUIT", 10*time.Second)
}
