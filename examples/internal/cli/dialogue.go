package cli

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/nexthop-mail/nexthop/delivery"
)

// dialogue prints every line of every session.
func dialogue(w io.Writer) *delivery.Trace {
	return &delivery.Trace{
		Connect: func(host string, addr netip.AddrPort) {
			fmt.Fprintf(w, "* connecting to %s (%s)\n", host, addr)
		},
		Connected: func(_ string, addr netip.AddrPort, err error) {
			if err != nil {
				fmt.Fprintf(w, "* %v\n", err)
			}
		},
		Line: func(_ string, _ netip.AddrPort, l delivery.Line) {
			mark := "<"
			if l.Sent {
				mark = ">"
			}
			fmt.Fprintf(w, "%s %s\n", mark, l.Text)
		},
	}
}
