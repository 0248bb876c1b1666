package mx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// stragglersFor is how long a Client waits for a better response after one that cannot
// be read, which anyone may have sent.
const stragglersFor = time.Second

// exchange sends one query over a new connection and waits for its response, for at
// most limit. size is the UDP size that EDNS offers; with 0, EDNS is not used.
func (c *Client) exchange(ctx context.Context, limit time.Duration, network string, s Server, name string, t Type, size uint16) (*query, *message, *failure) {
	q, err := newQuery(name, t, size)
	if err != nil {
		return nil, nil, &failure{Malformed, err}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, done, err := c.connect(ctx, network, s.Addr)
	if err != nil {
		return nil, nil, connFailure(err)
	}
	sound := false
	defer func() { done(sound) }()
	release := endWith(ctx, conn)
	defer release()
	if err := send(conn, network, q.wire); err != nil {
		return nil, nil, connFailure(err)
	}
	m, f := q.await(conn, network)
	sound = f == nil && !q.doubtful && release()
	return q, m, f
}

func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx, network, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// endWith ends every wait on conn when ctx ends. release returns once that can
// no longer happen, and whether it has not.
func endWith(ctx context.Context, conn net.Conn) (release func() bool) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(time.Unix(1, 0)) // on a connection that is already closed, no wait begins
	})
	return sync.OnceValue(func() bool {
		if stop() {
			return true
		}
		<-done
		return false
	})
}

// connFailure tells a wait that was too long from a server that is not there.
func connFailure(err error) *failure {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return &failure{Timeout, nil}
	}
	return &failure{Unreachable, err}
}

// send writes one message; over TCP its length goes before it (RFC 1035
// section 4.2.2), in the same write.
func send(conn net.Conn, network string, wire []byte) error {
	if network == "tcp" {
		wire = append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
	}
	_, err := conn.Write(wire)
	return err
}

// buffers have room for what a socket receives.
var buffers = sync.Pool{New: func() any { return new([wideSize]byte) }}

// await reads until the response to q has arrived. Messages that are not a response to
// q, or cannot be read, may come from anyone and are ignored.
func (q *query) await(conn net.Conn, network string) (*message, *failure) {
	buf := buffers.Get().(*[wideSize]byte)
	defer buffers.Put(buf)
	var broken error // why the message closest to a response was not one
	for {
		wire, err := receive(conn, network, buf[:])
		if err != nil {
			f := connFailure(err)
			if broken != nil {
				f = &failure{Malformed, broken}
			}
			return nil, f
		}
		m, err := q.parse(bytes.Clone(wire))
		if err == nil {
			return m, nil
		}
		if errors.Is(err, errNotOurs) {
			continue
		}
		if network == "tcp" {
			return nil, &failure{Malformed, err} // only the server can have sent it
		}
		q.doubtful = true
		if broken == nil {
			stop := time.AfterFunc(stragglersFor, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
			defer stop.Stop()
		}
		broken = err
	}
}

// receive reads one message of at most 64 KiB.
func receive(conn net.Conn, network string, buf []byte) ([]byte, error) {
	if network == "udp" {
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	if n > len(buf) {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(conn, buf[:n])
	return buf[:n], err
}
