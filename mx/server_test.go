package mx_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/miekg/dns"
	"github.com/nexthop-mail/nexthop/mx"
)

// exchange is one query that reached a scripted server.
type exchange struct {
	network string
	query   *dns.Msg
	send    func(wire []byte) // one datagram, or one message over TCP
}

// script is what a scripted server does with a query. One that sends nothing
// leaves the client waiting.
type script func(x exchange)

// errRefused is what dialling a server without a script gives.
var errRefused = errors.New("connection refused")

// dialTo connects a Client to scripts, by address, over in-memory connections.
// Of a "udp" connection each write is one datagram because the reader's buffer is
// larger than any.
func dialTo(t testing.TB, servers map[string]script) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		serve := servers[address]
		if serve == nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errRefused}
		}
		client, server := net.Pipe()
		go attend(t, server, network, serve)
		return client, nil
	}
}

// attend serves one connection until the client closes it.
func attend(t testing.TB, conn net.Conn, network string, serve script) {
	defer conn.Close()
	for {
		buf := make([]byte, 65537)
		var n int
		var err error
		if network == "tcp" {
			if _, err = io.ReadFull(conn, buf[:2]); err == nil {
				n, err = io.ReadFull(conn, buf[:binary.BigEndian.Uint16(buf)])
			}
		} else {
			n, err = conn.Read(buf)
		}
		if err != nil {
			return
		}
		query := new(dns.Msg)
		if err := query.Unpack(buf[:n]); err != nil {
			t.Errorf("the client sent a query that cannot be read: %v", err)
			return
		}
		serve(exchange{network, query, func(wire []byte) {
			if network == "tcp" {
				wire = append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
			}
			_, _ = conn.Write(wire) // the client may have what it wanted
		}})
	}
}

// reply is a response to x with the records given, in zone file notation, those
// after "authority" in that section.
func (x exchange) reply(t testing.TB, rcode int, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetRcode(x.query, rcode)
	m.RecursionAvailable = true
	m.Compress = true
	if x.query.IsEdns0() != nil {
		m.SetEdns0(1232, false) // RFC 6891 section 7
	}
	section := &m.Answer
	for _, text := range records {
		if text == "authority" {
			section = &m.Ns
			continue
		}
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			t.Fatalf("record %q: %v", text, err)
		}
		*section = append(*section, rr)
	}
	return m
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatalf("packing a response: %v", err)
	}
	return wire
}

// answering is a server that always gives the same records.
func answering(t testing.TB, rcode int, records ...string) script {
	return func(x exchange) { x.send(pack(t, x.reply(t, rcode, records...))) }
}

// silent is a server that never answers.
func silent(exchange) {}

const (
	first  = "192.0.2.53:53"
	second = "198.51.100.53:53"
)

// clientOf is a Client of the first server, with the script given.
func clientOf(t testing.TB, s script) *mx.Client {
	return &mx.Client{
		Servers: []mx.Server{{Addr: first}},
		Dial:    dialTo(t, map[string]script{first: s}),
	}
}

// wantFailure checks that err is a *mx.ResolveError of the kind.
func wantFailure(t testing.TB, err error, kind mx.ResolveErrorKind) *mx.ResolveError {
	t.Helper()
	re, ok := errors.AsType[*mx.ResolveError](err)
	if !ok {
		t.Fatalf("error is %v (%T), want a *mx.ResolveError", err, err)
	}
	if re.Kind != kind {
		t.Fatalf("failure is %q (%v), want %q", re.Kind, err, kind)
	}
	return re
}
