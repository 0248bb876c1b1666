package bench

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// Sink is an SMTP server that takes every message and forgets it, as fast as it
// can: smtp-sink with CHUNKING, counting.
type Sink struct {
	Pipelining bool
	Chunking   bool

	// TLS is offered by STARTTLS if it is not nil.
	TLS *tls.Config

	// Messages counts the messages taken, Bytes their octets, RoundTrips the
	// times it had answered all it was sent and had to wait for more.
	Messages, Bytes, RoundTrips, Connections atomic.Int64

	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
}

// Start listens on a free loopback port and returns the address.
func (s *Sink) Start() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.listener, s.conns = l, make(map[net.Conn]struct{})
	s.wg.Go(s.accept)
	return l.Addr().String(), nil
}

// Close ends the sink and every session.
func (s *Sink) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *Sink) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.Connections.Add(1)
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			defer func() {
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
				conn.Close()
			}()
			s.serve(conn)
		})
	}
}

// dialogue is one session with the sink.
type dialogue struct {
	sink *Sink
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	tls  bool
}

func (s *Sink) serve(conn net.Conn) {
	d := &dialogue{sink: s, conn: conn, r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriter(conn)}
	d.say("220 sink.test ESMTP\r\n")
	for {
		line, err := d.line()
		if err != nil || !d.command(line) {
			_ = d.w.Flush() // the client may be gone, which ends the session as well
			return
		}
	}
}

// say leaves an error to the next Flush, which answers it again.
func (d *dialogue) say(reply string) { _, _ = d.w.WriteString(reply) }

// line reads a line; before it has to wait for one it sends its replies.
func (d *dialogue) line() ([]byte, error) {
	if d.r.Buffered() == 0 && d.w.Buffered() > 0 {
		d.sink.RoundTrips.Add(1)
		if err := d.w.Flush(); err != nil {
			return nil, err
		}
	}
	return d.r.ReadSlice('\n')
}

// command answers one command, false ends the session.
func (d *dialogue) command(line []byte) bool {
	if len(line) < 4 {
		d.say("500 what\r\n")
		return true
	}
	switch verb := line[:4]; {
	case bytes.EqualFold(verb, []byte("EHLO")):
		d.hello()
	case bytes.EqualFold(verb, []byte("DATA")):
		d.say("354 go\r\n")
		return d.data()
	case bytes.EqualFold(verb, []byte("BDAT")):
		return d.bdat(line[4:])
	case bytes.EqualFold(verb, []byte("STAR")) && d.sink.TLS != nil && !d.tls:
		return d.startTLS()
	case bytes.EqualFold(verb, []byte("QUIT")):
		d.say("221 bye\r\n")
		return false
	default:
		d.say("250 2.0.0 ok\r\n")
	}
	return true
}

func (d *dialogue) hello() {
	d.say("250-sink.test\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n")
	if d.sink.Pipelining {
		d.say("250-PIPELINING\r\n")
	}
	if d.sink.Chunking {
		d.say("250-CHUNKING\r\n")
	}
	if d.sink.TLS != nil && !d.tls {
		d.say("250-STARTTLS\r\n")
	}
	d.say("250 SIZE 0\r\n")
}

// startTLS leaves the handshake to the first octets that are read.
func (d *dialogue) startTLS() bool {
	d.say("220 go\r\n")
	if d.w.Flush() != nil {
		return false
	}
	conn := tls.Server(d.conn, d.sink.TLS)
	d.r.Reset(conn)
	d.w.Reset(conn)
	d.tls = true
	return true
}

func (d *dialogue) data() bool {
	for {
		line, err := d.line()
		if err != nil {
			return false
		}
		if len(line) == 3 && line[0] == '.' {
			d.sink.Messages.Add(1)
			d.say("250 2.0.0 taken\r\n")
			return true
		}
		d.sink.Bytes.Add(int64(len(line)))
	}
}

func (d *dialogue) bdat(args []byte) bool {
	n, digits := 0, 0
	for args = bytes.TrimLeft(args, " "); digits < len(args) && '0' <= args[digits] && args[digits] <= '9'; digits++ {
		n = n*10 + int(args[digits]-'0')
	}
	last := bytes.HasPrefix(args[digits:], []byte(" LAST"))
	if _, err := d.r.Discard(n); err != nil {
		return false
	}
	d.sink.Bytes.Add(int64(n))
	if last {
		d.sink.Messages.Add(1)
	}
	d.say("250 2.0.0 taken\r\n")
	return true
}
