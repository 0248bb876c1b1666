//go:build !unix

package smtp

import (
	"net"
	"syscall"
)

// rawConn is nil: here a look at a socket is a read with a short deadline.
func rawConn(net.Conn) syscall.RawConn { return nil }

// readNow is never called where rawConn is nil.
func readNow(syscall.RawConn, []byte) (int, error) { return 0, errNothing{} }
