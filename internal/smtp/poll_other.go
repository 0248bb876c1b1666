//go:build !unix

package smtp

import "net"

// poller is for sockets that can be looked at; here a look at one is a read with
// a short deadline.
type poller struct{}

func newPoller(net.Conn) *poller { return nil }

func (*poller) room() int { return 0 }

func (*poller) read([]byte) (int, error) { return 0, errNothing{} }
