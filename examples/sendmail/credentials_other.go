//go:build unix && !linux && !darwin && !freebsd

package main

import (
	"errors"
	"net"
)

// peerID is not known here: mail goes by way of the maildrop.
func peerID(net.Conn) (int, error) { return 0, errors.ErrUnsupported }
