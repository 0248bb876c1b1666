//go:build unix

package smtp

import (
	"io"
	"net"
	"os"
	"syscall"
)

// poller reads from a socket without waiting: Go's sockets never block. It uses Control
// because Read of a RawConn heeds the deadline, which would have to be set before each look.
// It is made once per connection, for a function made for each read would be an allocation
// each.
type poller struct {
	raw syscall.RawConn
	f   func(fd uintptr)
	p   []byte
	n   int
	err error
}

// newPoller returns nil for connections that are not plain sockets, because a wrapper
// may handle the octets in any way.
func newPoller(conn net.Conn) *poller {
	o := &poller{}
	switch c := conn.(type) {
	case *net.TCPConn:
		o.raw, _ = c.SyscallConn()
	case *net.UnixConn:
		o.raw, _ = c.SyscallConn()
	}
	if o.raw == nil {
		return nil
	}
	o.f = func(fd uintptr) {
		for {
			o.n, o.err = syscall.Read(int(fd), o.p)
			if o.err != syscall.EINTR {
				return
			}
		}
	}
	return o
}

// room returns how many octets the system accepts at once if none wait to be sent, or
// zero if it does not say. The system needs a good part of the buffer for its own
// records, and counts those.
func (o *poller) room() (n int) {
	_ = o.raw.Control(func(fd uintptr) {
		n, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
	})
	return n / 4
}

func (o *poller) read(p []byte) (int, error) {
	o.p = p
	outer := o.raw.Control(o.f)
	n, err := o.n, o.err
	o.p, o.err = nil, nil
	switch {
	case outer != nil:
		return 0, outer
	case err == syscall.EAGAIN:
		return 0, errNothing{}
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}
