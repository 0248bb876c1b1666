//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// compareTLS has a host with STARTTLS and an RSA key of 2,048 bits, as most have. Postfix is
// measured with and without reuse of connections with TLS, which is off by default, and with
// a cache of TLS sessions in both cases.
func compareTLS(t *testing.T, to *table, c candidate) {
	const name = "one domain, STARTTLS"
	measure := func(column string, messages int, start func(t *testing.T, s settings) *running, s settings) {
		t.Run(column, func(t *testing.T) {
			got := measureTLS(t, messages, start, s)
			to.add(name, "messages/s", column, got.perSecond, gate{over: postfix, or: reusing, least: true, bound: 10})
			to.add(name, "CPU ms/message", column, ms(got.cpu), gate{over: postfix, or: reusing, bound: 1.0 / 15})
			to.add(name, "connections/message", column, got.connections, atMost(max(0.01, float64(sessions)/float64(messages))))
		})
	}
	switch c.name {
	case nexthop:
		measure(nexthop, c.messages / *divide, c.start, settings{})
	case postfix:
		measure(postfix, c.messages / *divide, c.start, settings{tls: true})
		measure(reusing, c.messages / *divide, c.start, settings{tls: true, reuse: true})
	}
}

// measureTLS has a relay take messages over many sessions and forward them with TLS.
func measureTLS(t *testing.T, messages int, start func(t *testing.T, s settings) *running, s settings) throughput {
	t.Helper()
	sink := startTLSSink(t)
	relay := start(t, s)
	account := relay.account(t)
	before := account.used(t)
	began := time.Now()
	if _, err := smtpSource(t.Context(), relayAddr, sessions, messages, size, "user@"+oneDomain); err != nil {
		t.Fatal(err)
	}
	arrivals, err := sink.await(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	cpu := account.used(t) - before
	relay.stop()
	connections, resumed, clear := sink.totals()
	if clear > 0 {
		t.Errorf("%d of %d messages came in clear", clear, messages)
	}
	t.Logf("%d connections, %d of which resumed TLS", connections, resumed)
	return throughput{
		perSecond:   float64(messages) / arrivals[messages-1].Sub(began).Seconds(),
		cpu:         cpu / time.Duration(messages),
		connections: float64(connections) / float64(messages),
	}
}

// tlsSink is what smtp-sink would be if it had STARTTLS: it takes every message and forgets
// it.
type tlsSink struct {
	config *tls.Config
	done   sync.WaitGroup

	mu          sync.Mutex
	conns       map[net.Conn]bool
	connections int // on which something was said
	resumed     int
	clear       int         // messages without TLS
	arrivals    []time.Time // of the messages
	changed     chan struct{}
}

// startTLSSink starts one at sinkAddr; it ends with the test.
func startTLSSink(t *testing.T) *tlsSink {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.bench.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", sinkAddr)
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsSink{
		config: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		conns:  make(map[net.Conn]bool), changed: make(chan struct{}),
	}
	s.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.done.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.done.Wait()
	})
	return s
}

// serve is one connection.
func (s *tlsSink) serve(conn net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	var secure *tls.Conn
	offer, content, spoke := "250-STARTTLS\r\n", false, false
	_, _ = w.WriteString("220 mx.bench.test ESMTP\r\n")
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if content {
			if content = string(line) != "."; !content {
				s.arrived(secure == nil)
				_, _ = w.WriteString("250 2.0.0 ok\r\n")
			}
			continue
		}
		reply := "250 2.0.0 ok\r\n"
		switch verb := string(bytes.ToUpper(line[:min(len(line), 4)])); verb {
		case "EHLO":
			reply = "250-mx.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n" + offer + "250 ENHANCEDSTATUSCODES\r\n"
			if !spoke {
				spoke = true
				s.mu.Lock()
				s.connections++
				s.mu.Unlock()
			}
		case "STAR":
			_, _ = w.WriteString("220 2.0.0 go\r\n")
			if w.Flush() != nil {
				return
			}
			secure, offer = tls.Server(conn, s.config), ""
			if secure.Handshake() != nil {
				return
			}
			if secure.ConnectionState().DidResume {
				s.mu.Lock()
				s.resumed++
				s.mu.Unlock()
			}
			r.Reset(secure)
			w.Reset(secure)
			continue
		case "DATA":
			reply, content = "354 go\r\n", true
		case "QUIT":
			_, _ = w.WriteString("221 2.0.0 bye\r\n")
			_ = w.Flush() // the client may have gone
			return
		}
		_, _ = w.WriteString(reply) // an error comes again with Flush
	}
}

// arrived notes a message.
func (s *tlsSink) arrived(inClear bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.arrivals = append(s.arrivals, now); inClear {
		s.clear++
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// totals are what came in all.
func (s *tlsSink) totals() (connections, resumed, clear int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections, s.resumed, s.clear
}

// await waits until n messages have arrived and returns when each did. The error is that
// none came for as long as patience is.
func (s *tlsSink) await(ctx context.Context, n int) ([]time.Time, error) {
	for {
		s.mu.Lock()
		arrivals, changed := s.arrivals, s.changed
		s.mu.Unlock()
		if len(arrivals) >= n {
			return arrivals[:n], nil
		}
		timer := time.NewTimer(patience)
		select {
		case <-changed:
			timer.Stop()
		case <-timer.C:
			return arrivals, fmt.Errorf("%d of %d messages have arrived, and no more for %v", len(arrivals), n, patience)
		case <-ctx.Done():
			timer.Stop()
			return arrivals, ctx.Err()
		}
	}
}
