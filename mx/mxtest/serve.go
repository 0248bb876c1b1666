package mxtest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// errorPause is the time between a socket's error and the next try.
const errorPause = 10 * time.Millisecond

// serveUDP answers datagrams until the socket is closed, each on its own: a
// delayed answer holds up no other.
func (s *Server) serveUDP() {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, client, err := s.udp.ReadFromUDPAddrPort(buf)
		select {
		case <-s.done:
			return
		default:
		}
		if err != nil {
			if !s.sleep(errorPause) { // such as a client that went away (ICMP)
				return
			}
			continue
		}
		r := s.DNS.respond(buf[:n], "udp", s.addr, client.String())
		if r.delay == 0 {
			s.send(r, client)
			continue
		}
		s.work.Go(func() {
			if s.sleep(r.delay) {
				s.send(r, client)
			}
		})
	}
}

// send sends the datagrams of a response.
func (s *Server) send(r response, client netip.AddrPort) {
	for _, wire := range r.messages {
		// A client that has gone does not want it.
		_, _ = s.udp.WriteToUDPAddrPort(wire, client)
	}
}

// serveTCP takes connections until the listener is closed.
func (s *Server) serveTCP() {
	for {
		conn, err := s.tcp.Accept()
		select {
		case <-s.done:
			if err == nil {
				_ = conn.Close()
			}
			return
		default:
		}
		if err != nil {
			if !s.sleep(errorPause) { // such as no file descriptor left
				return
			}
			continue
		}
		if s.hold(conn) {
			s.work.Go(func() { s.serveConn(conn) })
		}
	}
}

// hold keeps a connection so that Close can end it; it returns false if the server is
// closed already.
func (s *Server) hold(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

// release closes a connection that Close has not closed.
func (s *Server) release(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, held := s.conns[conn]; held {
		delete(s.conns, conn)
		_ = conn.Close()
	}
}

// serveConn answers the queries of one connection, one after another.
func (s *Server) serveConn(conn net.Conn) {
	defer s.release(conn)
	buf := make([]byte, dns.MaxMsgSize)
	for {
		if _, err := io.ReadFull(conn, buf[:2]); err != nil {
			return
		}
		n := binary.BigEndian.Uint16(buf)
		if _, err := io.ReadFull(conn, buf[:n]); err != nil {
			return
		}
		r := s.DNS.respond(buf[:n], "tcp", s.addr, conn.RemoteAddr().String())
		if r.delay > 0 && !s.sleep(r.delay) || r.hangup {
			return
		}
		if r.reset {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // closing it is then a reset
			}
			return
		}
		for _, wire := range r.messages {
			if _, err := conn.Write(framed(wire)); err != nil {
				return
			}
		}
	}
}

// framed is a message as it goes over TCP (RFC 1035 section 4.2.2).
func framed(wire []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
}
